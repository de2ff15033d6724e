//! The chunks of a store that has none: a block-manager's, whose blocks are not chunks.

use lucid_core::digest::ChunkName;

use crate::contract::blobs::{
    Blobs, Contents, Entry, Extent, NewUnit, Origin, Placement, UnitKind, UnitState, Units, Written,
};
use crate::frame::{Header, Record};
use crate::{CommitError, Damage, StoreError};

/// Keeps no chunks, and takes none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoChunks;

const WHY: &str = "this store keeps no chunks";

fn nothing(unit: u32) -> Damage {
    Damage::new(format!("unit {unit}"), 0, WHY)
}

impl Blobs for NoChunks {
    /// So many that the writer comes to be refused, and does not wait for a unit with room.
    fn fits(&self, records: &[Record]) -> usize {
        records.len()
    }

    fn room(&self, _bytes: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn write(&self, _records: &mut [Record]) -> Result<Written, CommitError> {
        Err(CommitError::Failed(WHY.into()))
    }

    fn settle(&self, _written: &Written) -> Result<(), CommitError> {
        Ok(())
    }

    fn take_back(&self, _written: &Written) -> Result<(), CommitError> {
        Ok(())
    }

    fn end(&self, _now: bool) -> Result<(), CommitError> {
        Ok(())
    }

    fn places(&self, _extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        Ok(Vec::new())
    }

    fn read(&self, _name: &ChunkName, at: &Placement) -> Result<(Header, Vec<u8>), StoreError> {
        Err(StoreError::Damaged(nothing(at.unit)))
    }

    fn title(&self, unit: u32) -> String {
        format!("unit {unit}")
    }

    fn place_of(&self, _damage: &Damage) -> Option<(u32, u64)> {
        None
    }

    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError> {
        Ok(None)
    }

    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        Ok(Vec::new())
    }

    fn begun(&self) -> u32 {
        0
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn records_max(&self) -> usize {
        0
    }

    fn draft_bytes(&self) -> u64 {
        0
    }

    fn state(&self, _unit: u32) -> Result<UnitState, StoreError> {
        Ok(UnitState::Damaged)
    }

    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError> {
        Ok(Err(nothing(unit)))
    }

    fn contents(&self, unit: u32, _from: u64) -> Result<Result<Contents, Damage>, StoreError> {
        Ok(Err(nothing(unit)))
    }

    fn begin(&self, _behind: u32, _origin: Origin) -> Result<Box<dyn NewUnit>, StoreError> {
        Err(StoreError::Folder(WHY.into()))
    }

    fn remove(&self, _units: &[u32]) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Units for NoChunks {
    fn kind(&self, _unit: u32) -> Option<UnitKind> {
        None
    }

    fn entries(&self, _unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(None)
    }

    fn sequence(&self, _name: &ChunkName, _at: &Placement) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::RecordKind;

    #[test]
    fn a_chunk_is_refused_and_surely_not_kept() {
        let record = Record::plain(RecordKind::Chunk, [1; 32], b"chunk".to_vec()).unwrap();
        let refused = NoChunks.write(&mut [record]).unwrap_err();
        assert!(!refused.maybe_applied() && refused.to_string().contains(WHY), "{refused}");
        assert_eq!(NoChunks.numbers().unwrap(), Vec::<u32>::new());
    }
}
