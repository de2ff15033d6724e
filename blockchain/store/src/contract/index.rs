//! Derived rows: where a chunk is, and what the owner of the store projects from its facts.
//!
//! Nothing lives here alone. Every row follows from the log and the segments, the whole index can be
//! deleted and rebuilt, and the [`Position`] row says up to which commit the rows are complete; it is
//! written in one atomic batch with the rows it vouches for. So an index that is older than its log is
//! merely behind, and absence is only said when the index is complete.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::StoreError;
use crate::contract::fact_log::Position;
use crate::registry::vault;

/// A key with its value, or with `None` where it is to be removed.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key with its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What an index holds in memory, and what that spared it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexMemory {
    /// Bytes of blocks that were read and are at hand.
    pub cache_bytes: u64,
    /// How many these may be.
    pub cache_bytes_max: u64,
    /// Bytes of rows that were written and are in no file of their own yet.
    pub unmerged_bytes: u64,
    /// How often a block that was asked for was at hand, since the index was opened.
    pub cache_hits: u64,
    /// How often one had to be read from its file.
    pub cache_misses: u64,
}

/// An ordered map of bytes.
pub trait Index: Send + Sync {
    /// The value of a key, if it has one.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` rows with `from <= key < to`, in the order of keys, or backwards.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError>;

    /// Makes all changes or none. They need not be durable on return: the log is.
    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Makes everything written so far durable, so that a later start has less to catch up.
    fn flush(&self) -> Result<(), StoreError>;

    /// Has the next start build it anew: something in it was found to be wrong. Durable on return.
    fn distrust(&self) -> Result<(), StoreError>;

    /// All rows as they are now, however they change meanwhile, to be read only; `None` where that cannot be had.
    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        Ok(None)
    }

    /// What it holds in memory; nothing, where it has no bound of its own. It must not wait for anything.
    fn memory(&self) -> IndexMemory {
        IndexMemory::default()
    }
}

/// Rows as an op saw them, absent ones included: what a submission rests on.
pub type Seen = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An index as one op sees it: it remembers every row that is asked for by its key, and answers the same
/// when it is asked again. Ranges are read as they are at that moment: an op that rests on a range asks for a
/// row that changes with it, before it reads the range.
pub struct Look<'a> {
    index: &'a dyn Index,
    seen: Mutex<Seen>,
}

impl<'a> Look<'a> {
    /// Nothing is seen yet.
    pub fn new(index: &'a dyn Index) -> Self {
        Self { index, seen: Mutex::default() }
    }

    /// All that was seen.
    pub fn seen(self) -> Seen {
        self.seen.into_inner()
    }
}

impl Index for Look<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(known) = self.seen.lock().get(key) {
            return Ok(known.clone());
        }
        let value = self.index.get(key)?;
        Ok(self.seen.lock().entry(key.to_vec()).or_insert(value).clone())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        self.index.scan(from, to, limit, backwards)
    }

    fn write(&self, _changes: Vec<Change>) -> Result<(), StoreError> {
        Err(StoreError::Index("whoever only looks writes nothing".into()))
    }

    fn flush(&self) -> Result<(), StoreError> {
        Err(StoreError::Index("whoever only looks flushes nothing".into()))
    }

    fn distrust(&self) -> Result<(), StoreError> {
        self.index.distrust()
    }
}

/// Changes on their way into an index, which read their own writes.
pub struct Changes<'a> {
    index: &'a dyn Index,
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What was pending before each change since [`Changes::begin`], so that it can be taken back.
    before: Option<Vec<(Vec<u8>, Pending)>>,
}

/// A change on its way, if there is one.
type Pending = Option<Option<Vec<u8>>>;

impl<'a> Changes<'a> {
    /// No changes yet.
    pub fn new(index: &'a dyn Index) -> Self {
        Self { index, pending: BTreeMap::new(), before: None }
    }

    /// What is changed from here on can be taken back, until it is kept.
    pub fn begin(&mut self) {
        self.before = Some(Vec::new());
    }

    /// Keeps what was changed since [`Changes::begin`].
    pub fn keep(&mut self) {
        self.before = None;
    }

    /// Takes back what was changed since [`Changes::begin`].
    pub fn take_back(&mut self) {
        for (key, before) in self.before.take().into_iter().flatten().rev() {
            match before {
                Some(change) => self.pending.insert(key, change),
                None => self.pending.remove(&key),
            };
        }
    }

    /// Those of the rows that are not as they were seen any more.
    pub fn changed(&self, seen: &Seen) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut changed = Vec::new();
        for (key, value) in seen {
            if self.get(key)? != *value {
                changed.push(key.clone());
            }
        }
        Ok(changed)
    }

    fn set(&mut self, key: Vec<u8>, change: Option<Vec<u8>>) {
        match &mut self.before {
            None => drop(self.pending.insert(key, change)),
            Some(before) => {
                let was = self.pending.insert(key.clone(), change);
                before.push((key, was));
            }
        }
    }

    /// The value of a key as it will be.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.pending.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.index.get(key),
        }
    }

    /// The value of a key as it is in the index, where no change can be taken back any more.
    pub fn written(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.get(key)
    }

    /// Sets a value.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.set(key, Some(value));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.set(key, None);
    }

    /// How many keys change.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Hands the changes to the index.
    pub fn write(self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.index.write(self.pending.into_iter().collect())
    }
}

/// What the owner of a store makes of its facts. Called in the order of the log, by the committer and
/// by recovery alike, so both build the same rows.
pub trait Project: Send + Sync {
    /// Whether facts of this kind, the first byte, mean anything to this version. Those of any other were written by a
    /// later one, and are not shown to it.
    fn knows(&self, kind: u8) -> bool;

    /// Turns one fact into rows. A fact of a known kind that it does not understand is damage of the owner's making and
    /// is reported, never a reason to stop.
    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError>;

    /// Why a fact of a known kind is not understood, if so. Where several follow one log, none may pass over what
    /// another takes in: it is asked before the fact is projected, and an answer stops the following.
    fn fault(&self, _fact: &[u8]) -> Option<String> {
        None
    }

    /// Whether the row of a key tells how much there ever was in the log, and not what follows from what matters there.
    /// A copy that starts from what was left of a log has another one.
    fn is_of_history(&self, _key: &[u8]) -> bool {
        false
    }

    /// What the rows come to, for owners that count. Where several follow one log, the writer's is in its commits, and
    /// a copy that comes to another stops.
    fn tally(&self, _rows: &Changes<'_>) -> Result<Option<Tally>, StoreError> {
        Ok(None)
    }
}

/// What the rows of an owner come to. Two indexes that have followed the same commits come to the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions.
    pub sessions: u64,
    /// Different chunks that are referred to.
    pub chunks: u64,
    /// References to chunks.
    pub references: u64,
}

/// The row that says that values are encrypted each under the key of its row.
const BOUND: [u8; 1] = [vault::key::BOUND];

/// Whether the index's values are encrypted each under the key of its row. A new index is marked as one
/// whose values are, before it has any; one without the mark was made by an earlier version, and stays as
/// it is until it is made anew.
pub(crate) fn is_bound(index: &dyn Index) -> Result<bool, StoreError> {
    if index.get(&BOUND)?.is_some() {
        return Ok(true);
    }
    // Encrypted values are only ever written together with a position.
    if Position::of(index)?.is_some() {
        return Ok(false);
    }
    index.write(vec![(BOUND.to_vec(), Some(Vec::new()))])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::index::MemoryIndex;

    #[test]
    fn changes_are_taken_back_to_where_they_were_begun() {
        let index = MemoryIndex::new();
        let key = |byte: u8| vec![0x40, byte];
        index.write(vec![(key(1), Some(vec![1])), (key(2), Some(vec![2]))]).unwrap();
        let mut changes = Changes::new(&index);
        changes.put(key(1), vec![10]);
        changes.begin();
        changes.put(key(1), vec![11]);
        changes.put(key(1), vec![12]);
        changes.remove(key(2));
        changes.put(key(3), vec![3]);
        changes.take_back();
        let rows = [1, 2, 3].map(|byte| changes.get(&key(byte)).unwrap());
        assert_eq!(rows, [Some(vec![10]), Some(vec![2]), None]);
        // What came before the beginning stays changed, and what comes after it is kept.
        changes.begin();
        changes.remove(key(1));
        changes.begin();
        changes.take_back();
        changes.write().unwrap();
        let left = [1, 2].map(|byte| index.get(&key(byte)).unwrap());
        assert_eq!(left, [None, Some(vec![2])]);
    }

    #[test]
    fn a_look_sees_a_row_once_and_absence_too() {
        let index = MemoryIndex::new();
        let (there, absent) = (vec![0x40, 1], vec![0x40, 2]);
        index.write(vec![(there.clone(), Some(vec![1]))]).unwrap();
        let look = Look::new(&index);
        assert_eq!(look.get(&there).unwrap(), Some(vec![1]));
        assert_eq!(look.get(&absent).unwrap(), None);
        index.write(vec![(there.clone(), None), (absent.clone(), Some(vec![2]))]).unwrap();
        assert_eq!(look.get(&there).unwrap(), Some(vec![1]));
        assert_eq!(look.get(&absent).unwrap(), None);
        let seen = look.seen();
        let mut changes = Changes::new(&index);
        assert_eq!(changes.changed(&seen).unwrap(), [there.clone(), absent.clone()]);
        changes.put(there, vec![1]);
        changes.remove(absent);
        assert_eq!(changes.changed(&seen).unwrap(), Vec::<Vec<u8>>::new());
    }
}
