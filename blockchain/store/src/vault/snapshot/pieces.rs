//! The row that says which snapshots there are.

use std::collections::BTreeSet;

use lucid_core::wire::{Reader, WireFault, Writer};

use crate::StoreError;
use crate::contract::fact_log::snapshot::{PieceId, Snapshot};
use crate::contract::index::{Changes, Index};
use crate::registry::vault::key;

/// The key of the row.
const ROW: [u8; 1] = [key::SNAPSHOTS];

/// Which snapshots there are, and which pieces may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The newest snapshots, two at most, the newer one first.
    pub snapshots: Vec<Snapshot>,
    /// Commits up to this one are hollow.
    pub hollow: u64,
    /// Names under which pieces may be put.
    pub named: Vec<PieceId>,
    /// Names of pieces that no snapshot has any more: they go with the next.
    pub going: Vec<PieceId>,
}

impl Pieces {
    /// What the index says.
    pub fn of(index: &dyn Index) -> Result<Self, StoreError> {
        let Some(row) = index.get(&ROW)? else { return Ok(Self::default()) };
        let mut from = Reader::new(&row);
        let read = Self::read(&mut from).and_then(|pieces| from.finish().map(|()| pieces));
        read.map_err(|fault| StoreError::Index(format!("the row of snapshots: {fault}")))
    }

    /// Makes it what the index says.
    pub fn put(&self, changes: &mut Changes<'_>) {
        changes.put(ROW.to_vec(), self.encode());
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.count(self.snapshots.len());
        for snapshot in &self.snapshots {
            to.raw(&snapshot.encode());
        }
        to.u64(self.hollow);
        for names in [&self.named, &self.going] {
            to.count(names.len());
            for name in names {
                to.raw(name);
            }
        }
        to.finish()
    }

    pub fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let count = from.u32("snapshots")?;
        let snapshots = (0..count).map(|_| Snapshot::read(from)).collect::<Result<_, _>>()?;
        let hollow = from.u64("hollow")?;
        let mut names = || -> Result<Vec<PieceId>, WireFault> {
            let count = from.u32("pieces")?;
            (0..count).map(|_| from.array("piece")).collect()
        };
        let (named, going) = (names()?, names()?);
        Ok(Self { snapshots, hollow, named, going })
    }

    /// The names of pieces that a snapshot has.
    pub fn needed(&self) -> BTreeSet<PieceId> {
        let pieces = self.snapshots.iter().flat_map(|snapshot| &snapshot.pieces);
        pieces.map(|piece| piece.id).collect()
    }
}
