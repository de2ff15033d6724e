//! A keeper of chunks whose calls are measured.

use std::sync::Arc;

use lucid_core::digest::ChunkName;

use super::Call;
use crate::contract::blobs::{
    Blobs, Contents, Entry, Extent, Missed, NewUnit, Origin, Placement, UnitKind, UnitState, Units,
    Written,
};
use crate::contract::fact_log::Place;
use crate::contract::index::Changes;
use crate::frame::{Header, Record};
use crate::{CommitError, Damage, StoreError};

/// Stands before a keeper of chunks.
pub struct MeasuredBlobs {
    blobs: Arc<dyn Blobs>,
    write: Call,
    settle: Call,
    end: Call,
    read: Call,
    contents: Call,
    remove: Call,
    mark: Call,
}

impl MeasuredBlobs {
    /// Measures the calls of this keeper.
    pub fn over(blobs: Arc<dyn Blobs>) -> Self {
        let [write, settle, end, read, contents, remove, mark] =
            ["write", "settle", "end", "read", "contents", "remove", "mark"]
                .map(|call| Call::of("chunks", call));
        Self { blobs, write, settle, end, read, contents, remove, mark }
    }
}

impl Units for MeasuredBlobs {
    fn kind(&self, unit: u32) -> Option<UnitKind> {
        self.blobs.kind(unit)
    }

    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
        self.blobs.entries(unit)
    }

    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
        self.blobs.sequence(name, at)
    }
}

impl Blobs for MeasuredBlobs {
    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.blobs.room(bytes)
    }

    fn fits(&self, records: &[Record]) -> usize {
        self.blobs.fits(records)
    }

    fn write(&self, records: &mut [Record]) -> Result<Written, CommitError> {
        self.write.time(|| self.blobs.write(records))
    }

    fn settle(&self, written: &Written) -> Result<(), CommitError> {
        self.settle.time(|| self.blobs.settle(written))
    }

    fn take_back(&self, written: &Written) -> Result<(), CommitError> {
        self.blobs.take_back(written)
    }

    fn end(&self, now: bool) -> Result<(), CommitError> {
        self.end.time(|| self.blobs.end(now))
    }

    fn note(&self, named: Option<(&Extent, usize)>, changes: &mut Changes<'_>) {
        self.blobs.note(named, changes);
    }

    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
        self.blobs.places(extent)
    }

    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        self.read.time(|| self.blobs.read(name, placement))
    }

    fn title(&self, unit: u32) -> String {
        self.blobs.title(unit)
    }

    fn place_of(&self, damage: &Damage) -> Option<(u32, u64)> {
        self.blobs.place_of(damage)
    }

    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError> {
        self.blobs.open_unit()
    }

    fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        self.blobs.numbers()
    }

    fn begun(&self) -> u32 {
        self.blobs.begun()
    }

    fn look_again(&self, unit: u32) -> Result<Missed, StoreError> {
        self.blobs.look_again(unit)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.blobs.bytes()
    }

    fn records_max(&self) -> usize {
        self.blobs.records_max()
    }

    fn draft_bytes(&self) -> u64 {
        self.blobs.draft_bytes()
    }

    fn state(&self, unit: u32) -> Result<UnitState, StoreError> {
        self.blobs.state(unit)
    }

    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError> {
        self.blobs.origin(unit)
    }

    fn contents(&self, unit: u32, from: u64) -> Result<Result<Contents, Damage>, StoreError> {
        self.contents.time(|| self.blobs.contents(unit, from))
    }

    fn begin(&self, behind: u32, origin: Origin) -> Result<Box<dyn NewUnit>, StoreError> {
        self.blobs.begin(behind, origin)
    }

    fn mark(&self, place: &Place) -> Result<(), StoreError> {
        self.mark.time(|| self.blobs.mark(place))
    }

    fn marked(&self) -> Result<Option<Place>, StoreError> {
        self.blobs.marked()
    }

    fn is_shared(&self) -> bool {
        self.blobs.is_shared()
    }

    fn taken(&self) -> Result<u32, StoreError> {
        self.blobs.taken()
    }

    fn rise(&self, line: u32) {
        self.blobs.rise(line);
    }

    fn is_above(&self, unit: u32, line: u32) -> bool {
        self.blobs.is_above(unit, line)
    }

    fn remove(&self, units: &[u32]) -> Result<(), StoreError> {
        self.remove.time(|| self.blobs.remove(units))
    }
}
