//! An index in memory that lets another op in at one of the looks that are taken at it, and that remembers what
//! its rows were at every place of the log: for tests of ops that overtake each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

use crate::StoreError;
use crate::contract::fact_log::Position;
use crate::contract::index::{Change, Index, Row};
use crate::memory::index::MemoryIndex;

/// Who is let in, at which look of whose thread.
type Meddler = (usize, ThreadId, Box<dyn FnOnce() + Send>);

/// The index.
#[derive(Default)]
pub struct MeddledIndex {
    index: Arc<MemoryIndex>,
    next: Mutex<Option<Meddler>>,
    seen: Mutex<BTreeMap<Vec<u8>, blake3::Hash>>,
}

impl MeddledIndex {
    /// The index itself.
    pub fn index(&self) -> &Arc<MemoryIndex> {
        &self.index
    }

    /// BLAKE3 of all rows, by the bytes of the place of the log that they were made up to.
    pub fn seen(&self) -> BTreeMap<Vec<u8>, blake3::Hash> {
        self.seen.lock().clone()
    }

    /// Does the first, interrupted by the second from beginning to end at one of the first one's looks; `None`
    /// once the first does not look so often.
    pub fn interrupt<A, B: Send + 'static>(
        &self,
        look: usize,
        first: impl FnOnce() -> A,
        second: impl FnOnce() -> B + Send + 'static,
    ) -> Option<(A, B)> {
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        let meddle = Box::new(move || *told.lock() = Some(second()));
        *self.next.lock() = Some((look, thread::current().id(), meddle));
        let done = first();
        *self.next.lock() = None;
        let second = outcome.lock().take()?;
        Some((done, second))
    }

    fn look(&self) {
        let meddler = {
            let mut next = self.next.lock();
            match next.as_mut() {
                Some((left, of, _)) if *of == thread::current().id() => match left.checked_sub(1) {
                    Some(fewer) => {
                        *left = fewer;
                        None
                    }
                    None => next.take(),
                },
                _ => None,
            }
        };
        if let Some((_, _, meddle)) = meddler {
            meddle();
        }
    }
}

impl Index for MeddledIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.look();
        self.index.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        self.look();
        self.index.scan(from, to, limit, backwards)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.index.write(changes)?;
        if let Some(at) = Position::of(self.index.as_ref())? {
            let mut rows = blake3::Hasher::new();
            for (key, value) in self.index.rows() {
                for part in [key, value] {
                    rows.update(&part.len().to_le_bytes()).update(&part);
                }
            }
            self.seen.lock().insert(at.as_bytes().to_vec(), rows.finalize());
        }
        Ok(())
    }

    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        self.index.frozen()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.index.flush()
    }

    fn distrust(&self) -> Result<(), StoreError> {
        self.index.distrust()
    }
}
