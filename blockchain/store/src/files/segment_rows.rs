//! The rows that the files keep in an index: what has become of segments, and how far the rows go.

use std::collections::{BTreeMap, BTreeSet};

use crate::StoreError;
use crate::contract::index::{Changes, Index, Row};
use crate::files::watermark::Watermark;

/// The first byte of each key of the files'.
const WATERMARK: u8 = b'\x03';
const RETIRED: u8 = b'\x04';
const REWRITTEN: u8 = b'\x05';
const BOUND: u8 = b'\x06';
const UNREAD: u8 = b'\x07';
const LACKING: u8 = b'\x08';

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

/// Whether a segment will have been replaced.
pub fn is_retired_in(changes: &Changes<'_>, segment: u32) -> Result<bool, StoreError> {
    Ok(changes.get(&numbered_key(RETIRED, segment))?.is_some())
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
