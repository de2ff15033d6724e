//! Derived rows: where a chunk is, and whatever the owner of the store projects from its facts.
//!
//! Nothing lives here alone. Every row follows from the log and the segments, the whole index can be
//! deleted and rebuilt, and the [`Watermark`] row says up to which commit the rows are complete; it is
//! written in one atomic batch with the rows it vouches for. So an index that is older than its log is
//! merely behind, and absence is only said when the index is complete.

pub mod embedded;
pub mod memory;
pub mod temporary;

use std::collections::{BTreeMap, BTreeSet};

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};
use parking_lot::Mutex;

use crate::log::FILE_MAX;
use crate::{StoreError, frame};

/// The first byte of each key the store itself keeps. Owners use bytes from `0x40` on.
const CHUNK: u8 = b'\x01';
const QUARANTINE: u8 = b'\x02';
const WATERMARK: u8 = b'\x03';
const RETIRED: u8 = b'\x04';
const REWRITTEN: u8 = b'\x05';
const BOUND: u8 = b'\x06';
const UNREAD: u8 = b'\x07';
const LACKING: u8 = b'\x08';

/// A key with its value, or with `None` where it is to be removed.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key with its value.
pub type Row = (Vec<u8>, Vec<u8>);

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
}

/// Rows as somebody saw them, absent ones included: what a submission rests on.
pub type Seen = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An index as one op sees it: it remembers every row that is asked for by its key, and answers the same
/// when it is asked again. Ranges are read as they are: whoever rests on one asks for a row that changes
/// with it, and before it reads the range.
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
    /// Turns one fact into rows. A fact it does not understand is damage of the owner's making and is
    /// reported, never a reason to stop.
    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError>;
}

/// Where a chunk's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The segment's number.
    pub segment: u32,
    /// Where its record begins.
    pub offset: u64,
    /// Bytes of the payload as stored.
    pub stored_length: u32,
    /// Bytes of the chunk.
    pub plain_length: u32,
    /// Whether the payload is encrypted.
    pub encrypted: bool,
}

impl Placement {
    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.segment).u64(self.offset).u32(self.stored_length).u32(self.plain_length);
        to.u8(u8::from(self.encrypted));
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let placement = Self {
            segment: from.u32("segment")?,
            offset: frame::number(&mut from, "offset")?,
            stored_length: from.u32("stored length")?,
            plain_length: from.u32("plain length")?,
            encrypted: flag(from.u8("encrypted")?)?,
        };
        from.finish()?;
        Ok(placement)
    }
}

/// A yes or a no, and nothing else: one value has one encoding.
pub(crate) fn flag(byte: u8) -> Result<bool, WireFault> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireFault::Invalid { what: "yes or no" }),
    }
}

fn chunk_key(prefix: u8, name: &ChunkName) -> Vec<u8> {
    [&[prefix], name.as_bytes().as_slice()].concat()
}

/// Where a chunk is, unless it is unknown.
pub fn placement(index: &dyn Index, name: &ChunkName) -> Result<Option<Placement>, StoreError> {
    index.get(&chunk_key(CHUNK, name))?.map(|value| read_placement(&value)).transpose()
}

fn read_placement(value: &[u8]) -> Result<Placement, StoreError> {
    Placement::decode(value).map_err(|fault| StoreError::Index(format!("a chunk's row: {fault}")))
}

/// Notes where a chunk is. A fresh copy heals: it ends the quarantine of the name.
pub fn place(changes: &mut Changes<'_>, name: &ChunkName, placement: &Placement) {
    changes.put(chunk_key(CHUNK, name), placement.encode());
    changes.remove(chunk_key(QUARANTINE, name));
}

/// Whether a chunk's only copy is known to be damaged.
pub fn is_quarantined(index: &dyn Index, name: &ChunkName) -> Result<bool, StoreError> {
    Ok(index.get(&chunk_key(QUARANTINE, name))?.is_some())
}

/// Notes that the copy at this place is damaged, unless a newer copy has taken its place.
pub fn quarantine(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    segment: u32,
    offset: u64,
) -> Result<(), StoreError> {
    let known = changes.get(&chunk_key(CHUNK, name))?;
    let known = known.map(|value| read_placement(&value)).transpose()?;
    if known.is_none_or(|known| (known.segment, known.offset) == (segment, offset)) {
        changes.put(chunk_key(QUARANTINE, name), Vec::new());
    }
    Ok(())
}

/// Takes a chunk out of the index, if it is still at this place.
pub fn drop_chunk(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    place: (u32, u64),
) -> Result<(), StoreError> {
    let known = changes.get(&chunk_key(CHUNK, name))?;
    let known = known.map(|value| read_placement(&value)).transpose()?;
    if known.is_some_and(|known| (known.segment, known.offset) == place) {
        changes.remove(chunk_key(CHUNK, name));
        changes.remove(chunk_key(QUARANTINE, name));
    }
    Ok(())
}

/// Notes where a chunk has been copied to, unless the copy that is known is `newer` than the one that was
/// copied. Nothing is known of it when the file it was copied from had been removed before the index was
/// built.
pub fn move_chunk(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    to: &Placement,
    newer: impl FnOnce(&Placement) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let known = changes.get(&chunk_key(CHUNK, name))?;
    let known = known.map(|value| read_placement(&value)).transpose()?;
    if known == Some(*to) {
        return Ok(());
    }
    if let Some(known) = known
        && changes.get(&numbered_key(RETIRED, known.segment))?.is_none()
        && newer(&known)?
    {
        return Ok(());
    }
    // What was said of another copy, be it gone, does not hold for this one.
    place(changes, name, to);
    Ok(())
}

/// Notes where a chunk is, of which the segment could not be read when its row should have been made.
/// Something may have been said of it since.
pub fn find_chunk(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    at: &Placement,
    newer: impl FnOnce(&Placement) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    if changes.get(&chunk_key(CHUNK, name))?.is_some() {
        return move_chunk(changes, name, at, newer);
    }
    changes.put(chunk_key(CHUNK, name), at.encode());
    Ok(())
}

/// The chunks there are, from a name on and in the order of names.
pub fn chunks(
    index: &dyn Index,
    from: &ChunkName,
    limit: usize,
) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
    let rows = index.scan(&chunk_key(CHUNK, from), &[CHUNK + 1], limit, false)?;
    rows.into_iter()
        .map(|(key, value)| {
            let name = key.last_chunk::<32>().copied().unwrap_or_default();
            Ok((ChunkName::new(name), read_placement(&value)?))
        })
        .collect()
}

fn numbered_key(prefix: u8, number: u32) -> Vec<u8> {
    [[prefix].as_slice(), &number.to_be_bytes()].concat()
}

/// Notes that a segment has been replaced by another, and that its file is no loss.
pub fn retire(changes: &mut Changes<'_>, segment: u32) {
    changes.put(numbered_key(RETIRED, segment), Vec::new());
}

/// Whether a segment has been replaced.
pub fn is_retired(index: &dyn Index, segment: u32) -> Result<bool, StoreError> {
    Ok(index.get(&numbered_key(RETIRED, segment))?.is_some())
}

/// The segments that have been replaced.
pub fn retired(index: &dyn Index) -> Result<BTreeSet<u32>, StoreError> {
    let rows = index.scan(&[RETIRED], &[RETIRED + 1], usize::MAX, false)?;
    Ok(rows.iter().filter_map(number_in_key).collect())
}

fn number_in_key((key, _): &Row) -> Option<u32> {
    key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Notes that a segment was written from others, and that its file must be there until it is replaced
/// itself.
pub fn note_rewritten(changes: &mut Changes<'_>, segment: u32) {
    changes.put(numbered_key(REWRITTEN, segment), Vec::new());
}

/// Whether a segment was written from others, and switched to.
pub fn is_rewritten(index: &dyn Index, segment: u32) -> Result<bool, StoreError> {
    Ok(index.get(&numbered_key(REWRITTEN, segment))?.is_some())
}

/// The segments that were written from others, replaced ones among them.
pub fn rewritten(index: &dyn Index) -> Result<Vec<u32>, StoreError> {
    let rows = index.scan(&[REWRITTEN], &[REWRITTEN + 1], usize::MAX, false)?;
    Ok(rows.iter().filter_map(number_in_key).collect())
}

/// What is known of a segment that could not be read when it should have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// Whether its loss is accepted.
    pub accepted: bool,
    /// Where records are to be that the file did not reach, if it was there; else zero.
    pub end: u64,
}

/// Notes that a segment, or its end, could not be read when it should have been: it may have no rows, and
/// what has rows in it is not there.
pub fn note_unread(changes: &mut Changes<'_>, segment: u32, unread: Unread) {
    let value = [[u8::from(unread.accepted)].as_slice(), &unread.end.to_le_bytes()].concat();
    changes.put(numbered_key(UNREAD, segment), value);
}

/// Takes back [`note_unread`].
pub fn forget_unread(changes: &mut Changes<'_>, segment: u32) {
    changes.remove(numbered_key(UNREAD, segment));
}

/// The segments that could not be read when they should have been.
pub fn unread(index: &dyn Index) -> Result<BTreeMap<u32, Unread>, StoreError> {
    let rows = index.scan(&[UNREAD], &[UNREAD + 1], usize::MAX, false)?;
    let read = |row: &Row| {
        let (accepted, end) = row.1.split_first()?;
        let end = end.first_chunk().map_or(0, |end| u64::from_le_bytes(*end));
        Some((number_in_key(row)?, Unread { accepted: *accepted == 1, end }))
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Notes that chunks may be there whose commits are not, and that the watermark is not behind them: the next
/// start takes them in, should this one not come to that.
pub fn note_commits_missing(changes: &mut Changes<'_>) {
    changes.put(vec![LACKING], Vec::new());
}

/// Takes back [`note_commits_missing`].
pub fn forget_commits_missing(changes: &mut Changes<'_>) {
    changes.remove(vec![LACKING]);
}

/// Whether [`note_commits_missing`] holds.
pub fn are_commits_missing(index: &dyn Index) -> Result<bool, StoreError> {
    Ok(index.get(&[LACKING])?.is_some())
}

/// Up to where the log has been taken in, and where the next commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The log file.
    pub log: u32,
    /// The end of the last commit in it.
    pub offset: u64,
    /// The last commit's number; zero before the first.
    pub commit: u64,
    /// The last commit's digest.
    pub digest: [u8; 32],
    /// The next record's sequence.
    pub sequence: u64,
    /// The segment the last chunk was written to; zero before the first.
    pub segment: u32,
    /// The end of the last chunk in it.
    pub segment_offset: u64,
}

impl Watermark {
    /// Before anything was written.
    pub const START: Self = Self {
        log: 0,
        offset: 0,
        commit: 0,
        digest: [0; 32],
        sequence: 1,
        segment: 0,
        segment_offset: 0,
    };

    /// The next record comes behind one of this sequence, however high that claims to stand: where only one
    /// more could, nothing is written any more, and what the row says can still be read.
    pub fn pass(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence.saturating_add(1).min(frame::NUMBER_MAX - 1));
    }

    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.log).u64(self.offset).u64(self.commit).raw(&self.digest);
        to.u64(self.sequence).u32(self.segment).u64(self.segment_offset);
        to.finish()
    }

    /// Reads [`Watermark::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let mark = Self {
            log: from.u32("log")?,
            offset: frame::number(&mut from, "offset")?,
            commit: frame::number(&mut from, "commit")?,
            digest: from.array("digest")?,
            sequence: frame::number(&mut from, "sequence")?,
            segment: from.u32("segment")?,
            segment_offset: frame::number(&mut from, "segment offset")?,
        };
        from.finish()?;
        if mark.log.max(mark.segment) > FILE_MAX {
            return Err(WireFault::Invalid { what: "file number" });
        }
        Ok(mark)
    }

    /// The newest segment that must be there: of one without a byte, only the number is taken.
    pub fn last_segment(&self) -> u32 {
        self.segment.saturating_sub(u32::from(self.segment_offset == 0))
    }

    /// The place in the log, for comparing.
    pub fn place(&self) -> (u32, u64) {
        (self.log, self.offset)
    }
}

/// How far the index has come.
pub fn watermark(index: &dyn Index) -> Result<Watermark, StoreError> {
    match index.get(&[WATERMARK])? {
        None => Ok(Watermark::START),
        Some(value) => Watermark::decode(&value)
            .map_err(|fault| StoreError::Index(format!("the watermark: {fault}"))),
    }
}

/// Whether the index's values are sealed each under the key of its row. A new index is marked as one
/// whose values are, before it has any; one without the mark was made by an earlier version, and stays as
/// it is until it is made anew.
pub(crate) fn is_bound(index: &dyn Index) -> Result<bool, StoreError> {
    if index.get(&[BOUND])?.is_some() {
        return Ok(true);
    }
    // Sealed values are only ever written together with a watermark.
    if index.get(&[WATERMARK])?.is_some() {
        return Ok(false);
    }
    index.write(vec![(vec![BOUND], Some(Vec::new()))])?;
    Ok(true)
}

/// Notes how far the index has come, in the same batch as the rows that brought it there.
pub fn set_watermark(changes: &mut Changes<'_>, mark: &Watermark) {
    changes.put(vec![WATERMARK], mark.encode());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_are_taken_back_to_where_they_were_begun() {
        let index = memory::MemoryIndex::new();
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
        let index = memory::MemoryIndex::new();
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

    proptest! {
        #[test]
        fn placements_read_back_and_nothing_else_does(
            segment: u32, offset in 0..frame::NUMBER_MAX, stored_length: u32, plain_length: u32,
            encrypted: bool,
            noise in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let placement = Placement { segment, offset, stored_length, plain_length, encrypted };
            let bytes = placement.encode();
            prop_assert_eq!(Placement::decode(&bytes), Ok(placement));
            prop_assert!(Placement::decode(&bytes[1..]).is_err());
            if let Ok(read) = Placement::decode(&noise) {
                prop_assert_eq!(read.encode(), noise);
            }
        }
    }
}
