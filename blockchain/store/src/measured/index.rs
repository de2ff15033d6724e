//! An index whose calls are measured.

use std::sync::Arc;

use super::Call;
use crate::StoreError;
use crate::contract::index::{Change, Index, IndexMemory, Row};

/// Stands before an index.
pub struct MeasuredIndex {
    rows: Arc<dyn Index>,
    get: Call,
    scan: Call,
    write: Call,
    flush: Call,
}

impl MeasuredIndex {
    /// Measures the calls of this index.
    pub fn over(rows: Arc<dyn Index>) -> Self {
        let [get, scan, write, flush] =
            ["get", "scan", "write", "flush"].map(|call| Call::of("index", call));
        Self { rows, get, scan, write, flush }
    }
}

impl Index for MeasuredIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get.count(|| self.rows.get(key))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        self.scan.time(|| self.rows.scan(from, to, limit, backwards))
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write.time(|| self.rows.write(changes))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flush.time(|| self.rows.flush())
    }

    fn distrust(&self) -> Result<(), StoreError> {
        self.rows.distrust()
    }

    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        self.rows.frozen()
    }

    fn memory(&self) -> IndexMemory {
        self.rows.memory()
    }
}
