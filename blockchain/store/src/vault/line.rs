//! The line below which no unit is named any more, where several processes may write units.
//!
//! A unit is there before the commit that names it, and a put may come true long after its process ended. So a unit
//! that nothing names may be one that a commit is about to name, and nobody can tell by looking. The *line* ends that:
//! a fact that says up to which number no commit names a unit for the first time, from then on. It is where numbers
//! stood at the collection before, so a process that goes about its work is far above it, and one that slept takes new
//! numbers when it has followed the log to the line (`committer`). What is at or below the line and has no row is
//! nobody's for ever.
//!
//! Units go by their names in such a fact, and one collection after they were named there: units that nothing names,
//! and units that others stand for. Who puts the database back to yesterday's finds yesterday's units.

use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::StoreError;
use crate::contract::index::{Changes, Index};
use crate::registry::vault::key::LINE;

/// The key of the row.
const ROW: [u8; 1] = [LINE];

/// What a collection of shared units goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// No commit names a unit for the first time whose number is up to this.
    pub(super) line: u32,
    /// Up to where numbers were taken when the line was drawn: the next line.
    pub(super) taken: u32,
    /// When that was.
    pub(super) drawn_at: Timestamp,
    /// The units that go with the next one.
    pub(super) going: Vec<u32>,
}

impl Line {
    /// The line that is in force; `None` before the first.
    pub(super) fn of(index: &dyn Index) -> Result<Option<Self>, StoreError> {
        let Some(row) = index.get(&ROW)? else { return Ok(None) };
        let mut from = Reader::new(&row);
        let read = Self::read(&mut from).and_then(|line| from.finish().map(|()| line));
        read.map(Some).map_err(|fault| StoreError::Index(format!("the row of the line: {fault}")))
    }

    /// Makes it the one that is in force.
    pub(super) fn put(&self, changes: &mut Changes<'_>) {
        changes.put(ROW.to_vec(), self.encode());
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.line).u32(self.taken).i64(self.drawn_at.as_micros()).count(self.going.len());
        for unit in &self.going {
            to.u32(*unit);
        }
        to.finish()
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let (line, taken) = (from.u32("line")?, from.u32("taken")?);
        let (drawn_at, count) = (from.time("time")?, from.u32("count")?);
        let going = (0..count).map(|_| from.u32("unit")).collect::<Result<_, _>>()?;
        Ok(Self { line, taken, drawn_at, going })
    }
}
