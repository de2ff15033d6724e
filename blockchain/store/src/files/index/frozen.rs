//! The rows of an index as they were at one moment. The library keeps what is changed meanwhile for as long as this
//! lives.

use fjall::{Database, Keyspace, Readable as _, Snapshot};

use super::{fault, page};
use crate::StoreError;
use crate::contract::index::{Change, Index, Row};

/// Rows that do not change.
pub(super) struct FrozenRows {
    at: Snapshot,
    rows: Keyspace,
}

impl FrozenRows {
    /// As they are now.
    pub(super) fn of(database: &Database, rows: &Keyspace) -> Self {
        Self { at: database.snapshot(), rows: rows.clone() }
    }
}

fn refused() -> StoreError {
    StoreError::Index("rows as they were are read only".into())
}

impl Index for FrozenRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.at.get(&self.rows, key).map_err(fault)?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        page(self.at.range(&self.rows, from.to_vec()..to.to_vec()), limit, backwards)
    }

    fn write(&self, _changes: Vec<Change>) -> Result<(), StoreError> {
        Err(refused())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Err(refused())
    }

    fn distrust(&self) -> Result<(), StoreError> {
        Err(refused())
    }
}
