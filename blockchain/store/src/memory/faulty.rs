//! An index in memory for tests that let calls of it fail or panic, or that watch what is written.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::StoreError;
use crate::contract::index::{Change, Index, Row};
use crate::memory::index::MemoryIndex;

/// What is about to be done to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexCall {
    /// A row is looked at.
    Get,
    /// A range is looked at.
    Scan,
    /// Rows change.
    Write,
    /// What changed is to be durable.
    Flush,
    /// The next start is to build it anew.
    Distrust,
}

impl IndexCall {
    /// Whether it only looks.
    pub fn is_look(self) -> bool {
        matches!(self, Self::Get | Self::Scan)
    }
}

type Before = dyn Fn(IndexCall) -> Result<(), StoreError> + Send + Sync;
type OnWritten = dyn Fn(&MemoryIndex) + Send + Sync;

/// The index.
pub struct FaultyIndex {
    rows: Arc<MemoryIndex>,
    before: Box<Before>,
    written: Box<OnWritten>,
}

impl FaultyIndex {
    /// An index over these rows. `before` runs before every call and can fail it.
    pub fn over(
        rows: Arc<MemoryIndex>,
        before: impl Fn(IndexCall) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { rows, before: Box::new(before), written: Box::new(|_| {}) }
    }

    /// Runs `written` after every write, with the rows as they are then.
    pub fn shown_to(self, written: impl Fn(&MemoryIndex) + Send + Sync + 'static) -> Self {
        Self { written: Box::new(written), ..self }
    }
}

/// Counts the calls of an index, and lets some of them fail.
#[derive(Debug, Default)]
pub struct IndexFaults {
    state: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    good: usize,
    bad: usize,
    /// Calls so far.
    calls: usize,
}

impl IndexFaults {
    /// An index over these rows.
    pub fn over(self: &Arc<Self>, rows: Arc<MemoryIndex>) -> FaultyIndex {
        let faults = self.clone();
        FaultyIndex::over(rows, move |_| faults.meet())
    }

    /// Lets `good` calls pass, and then `times` fail.
    pub fn fail(&self, good: usize, times: usize) {
        let mut state = self.state.lock();
        (state.good, state.bad) = (good, times);
    }

    /// Lets none fail any more.
    pub fn repair(&self) {
        self.fail(0, 0);
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.state.lock().calls
    }

    fn meet(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.calls += 1;
        if let Some(good) = state.good.checked_sub(1) {
            state.good = good;
        } else if let Some(bad) = state.bad.checked_sub(1) {
            state.bad = bad;
            return Err(StoreError::Index("the disk under it is away".into()));
        }
        Ok(())
    }
}

impl Index for FaultyIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (self.before)(IndexCall::Get)?;
        self.rows.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        (self.before)(IndexCall::Scan)?;
        self.rows.scan(from, to, limit, backwards)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        (self.before)(IndexCall::Write)?;
        self.rows.write(changes)?;
        (self.written)(&self.rows);
        Ok(())
    }

    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        self.rows.frozen()
    }

    fn flush(&self) -> Result<(), StoreError> {
        (self.before)(IndexCall::Flush)?;
        self.rows.flush()
    }

    fn distrust(&self) -> Result<(), StoreError> {
        (self.before)(IndexCall::Distrust)?;
        self.rows.distrust()
    }
}
