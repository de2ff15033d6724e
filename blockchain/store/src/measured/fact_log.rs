//! A log whose calls are measured.

use std::sync::Arc;

use super::Call;
use crate::contract::fact_log::snapshot::Snapshots;
use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Following, Passed, Place, Position, Replayed, Reread,
    Unsettled,
};
use crate::frame::Record;
use crate::{CommitError, StoreError};

/// Stands before a log.
pub struct MeasuredLog {
    log: Arc<dyn FactLog>,
    commit: Call,
    replay: Call,
    reread: Call,
    condense: Call,
}

impl MeasuredLog {
    /// Measures the calls of this log.
    pub fn over(log: Arc<dyn FactLog>) -> Self {
        let [commit, replay, reread, condense] =
            ["commit", "replay", "reread", "condense"].map(|call| Call::of("log", call));
        Self { log, commit, replay, reread, condense }
    }
}

impl FactLog for MeasuredLog {
    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.log.room(bytes)
    }

    fn ready(&self) -> Result<(), CommitError> {
        self.log.ready()
    }

    fn commit(
        &self,
        after: &Position,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError> {
        self.commit.time(|| self.log.commit(after, facts, chunks))
    }

    fn begin_part(&self) -> Result<(), CommitError> {
        self.log.begin_part()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.log.snapshots()
    }

    fn replay(
        &self,
        after: Option<&Position>,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        self.replay.time(|| self.log.replay(after, each))
    }

    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        self.reread.time(|| self.log.reread(from, each))
    }

    fn following(&self, at: &Position) -> Result<Following, StoreError> {
        self.log.following(at)
    }

    fn place(&self, at: &Position) -> Result<Option<Place>, StoreError> {
        self.log.place(at)
    }

    fn has(&self, place: &Place) -> Result<Option<bool>, StoreError> {
        self.log.has(place)
    }

    fn begin_incarnation(&self, after: &Position) -> Result<Appended, CommitError> {
        self.log.begin_incarnation(after)
    }

    fn is_start(&self, at: &Position) -> Result<bool, StoreError> {
        self.log.is_start(at)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.log.bytes()
    }

    fn condense(&self, how: &mut Condensing<'_>) -> Result<Condensed, StoreError> {
        self.condense.time(|| self.log.condense(how))
    }

    fn close(&self) -> Result<(), StoreError> {
        self.log.close()
    }
}
