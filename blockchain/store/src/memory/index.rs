//! An index in memory: what tests compare the embedded one with, what crash simulations run on, and what
//! serves where a store may only be read and nowhere else is room.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;

use crate::StoreError;
use crate::contract::index::{Change, Index, Row};
use crate::files::index::temporary::no_room;

/// What a row takes besides its bytes: its place in the map, which is not always full, and what the
/// allocator adds to two buffers.
const ROW_BYTES: u64 = 144;

/// A map behind a lock.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    rows: RwLock<Rows>,
    /// How much memory it may take, and the folder that had no room for it.
    bound: Option<(u64, PathBuf)>,
}

#[derive(Debug, Default)]
struct Rows {
    by_key: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: u64,
}

impl Rows {
    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let bytes = |key: usize, value: &Vec<u8>| ROW_BYTES + (key + value.len()) as u64;
        let length = key.len();
        self.bytes += value.as_ref().map_or(0, |value| bytes(length, value));
        let before = match value {
            Some(value) => self.by_key.insert(key, value),
            None => self.by_key.remove(&key),
        };
        self.bytes -= before.map_or(0, |value| bytes(length, &value));
    }
}

impl MemoryIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty index that takes so much memory at most, since a folder has no room for it.
    pub fn bounded(bytes_max: u64, no_room_in: &Path) -> Self {
        Self { bound: Some((bytes_max, no_room_in.to_owned())), ..Self::default() }
    }

    /// Every row, for comparing two indexes.
    pub fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.rows.read().by_key.clone()
    }
}

impl Index for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.read().by_key.get(key).cloned())
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
        let rows = self.rows.read();
        let range = rows
            .by_key
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(if backwards { range.rev().take(limit).collect() } else { range.take(limit).collect() })
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut rows = self.rows.write();
        for (key, value) in changes {
            rows.set(key, value);
        }
        match &self.bound {
            Some((bytes_max, folder)) if rows.bytes > *bytes_max => Err(no_room(folder)),
            _ => Ok(()),
        }
    }

    /// It begins anew in any case.
    fn distrust(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        let rows = Rows { by_key: self.rows(), bytes: 0 };
        Ok(Some(Box::new(Self { rows: RwLock::new(rows), bound: None })))
    }
}
