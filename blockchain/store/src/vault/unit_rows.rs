//! The rows that the vault keeps of units: which stand for which, and which could not be read; and what a switch
//! from some to another means for the rows of their chunks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::StoreError;
use crate::contract::blobs::Units;
use crate::contract::index::{Changes, Index, Row};
use crate::vault::chunk_rows;

const RETIRED: u8 = b'\x04';
const REWRITTEN: u8 = b'\x05';
const UNREAD: u8 = b'\x07';

fn numbered_key(prefix: u8, number: u32) -> Vec<u8> {
    [[prefix].as_slice(), &number.to_be_bytes()].concat()
}

/// Notes that a unit has been replaced by another, and that it is no loss.
pub fn retire(changes: &mut Changes<'_>, unit: u32) {
    changes.put(numbered_key(RETIRED, unit), Vec::new());
}

/// Whether a unit has been replaced.
pub fn is_retired(index: &dyn Index, unit: u32) -> Result<bool, StoreError> {
    Ok(index.get(&numbered_key(RETIRED, unit))?.is_some())
}

/// Whether a unit will have been replaced.
pub fn is_retired_in(changes: &Changes<'_>, unit: u32) -> Result<bool, StoreError> {
    Ok(changes.get(&numbered_key(RETIRED, unit))?.is_some())
}

/// The units that have been replaced.
pub fn retired(index: &dyn Index) -> Result<BTreeSet<u32>, StoreError> {
    let rows = index.scan(&[RETIRED], &[RETIRED + 1], usize::MAX, false)?;
    Ok(rows.iter().filter_map(number_in_key).collect())
}

fn number_in_key((key, _): &Row) -> Option<u32> {
    key.last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Notes that a unit was written from others, and that it must be there until it is replaced itself.
pub fn note_rewritten(changes: &mut Changes<'_>, unit: u32) {
    changes.put(numbered_key(REWRITTEN, unit), Vec::new());
}

/// Whether a unit was written from others, and switched to.
pub fn is_rewritten(index: &dyn Index, unit: u32) -> Result<bool, StoreError> {
    Ok(index.get(&numbered_key(REWRITTEN, unit))?.is_some())
}

/// The units that were written from others, replaced ones among them.
pub fn rewritten(index: &dyn Index) -> Result<Vec<u32>, StoreError> {
    let rows = index.scan(&[REWRITTEN], &[REWRITTEN + 1], usize::MAX, false)?;
    Ok(rows.iter().filter_map(number_in_key).collect())
}

/// What is known of a unit that could not be read when it should have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// Whether its loss is accepted.
    pub accepted: bool,
    /// Where records are to be that the file did not reach, if it was there; else zero.
    pub end: u64,
}

/// Notes that a unit, or its end, could not be read when it should have been: it may have no rows, and
/// what has rows in it is not there.
pub fn note_unread(changes: &mut Changes<'_>, unit: u32, unread: Unread) {
    let value = [[u8::from(unread.accepted)].as_slice(), &unread.end.to_le_bytes()].concat();
    changes.put(numbered_key(UNREAD, unit), value);
}

/// Takes back [`note_unread`].
pub fn forget_unread(changes: &mut Changes<'_>, unit: u32) {
    changes.remove(numbered_key(UNREAD, unit));
}

/// The units that could not be read when they should have been.
pub fn unread(index: &dyn Index) -> Result<BTreeMap<u32, Unread>, StoreError> {
    let rows = index.scan(&[UNREAD], &[UNREAD + 1], usize::MAX, false)?;
    let read = |row: &Row| {
        let (accepted, end) = row.1.split_first()?;
        let end = end.first_chunk().map_or(0, |end| u64::from_le_bytes(*end));
        Some((number_in_key(row)?, Unread { accepted: *accepted == 1, end }))
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Of units that are not there, keeps those that have not been replaced.
pub fn keep_lost(
    index: &dyn Index,
    missing: &mut Vec<RangeInclusive<u32>>,
) -> Result<(), StoreError> {
    leave_out(&retired(index)?, missing);
    Ok(())
}

/// Of units that are not there, keeps those whose loss nobody has accepted.
pub fn leave_accepted(unread: &BTreeMap<u32, Unread>, missing: &mut Vec<RangeInclusive<u32>>) {
    let accepted = unread.iter().filter(|(_, unread)| unread.accepted).map(|(number, _)| *number);
    leave_out(&accepted.collect(), missing);
}

/// Takes numbers out of ranges.
pub(crate) fn leave_out(numbers: &BTreeSet<u32>, missing: &mut Vec<RangeInclusive<u32>>) {
    missing.sort_unstable_by_key(|gap| (*gap.start(), *gap.end()));
    let (mut lost, mut from) = (Vec::new(), 0);
    for gap in missing.drain(..) {
        from = from.max(*gap.start());
        while from <= *gap.end() {
            let next = numbers.range(from..=*gap.end()).next().copied();
            let end = next.map_or(*gap.end(), |next| next.saturating_sub(1));
            if from <= end {
                lost.push(from..=end);
            }
            from = next.unwrap_or(end).saturating_add(1);
        }
    }
    *missing = lost;
}

/// Makes the rows of a unit that was made of others: its sources are no more, and its records are where it has
/// them. Where it is not there it has been replaced itself, or is missing, and recovery tells which.
pub fn switch(
    units: &dyn Units,
    to: u32,
    replaces: &[u32],
    changes: &mut Changes<'_>,
) -> Result<(), StoreError> {
    for old in replaces {
        retire(changes, *old);
        // Whoever comes later finds one gone that was made and replaced again: nobody waits for it.
        forget_unread(changes, *old);
    }
    note_rewritten(changes, to);
    let Some(entries) = units.entries(to)? else {
        note_unread(changes, to, Unread::default());
        return Ok(());
    };
    for entry in &entries {
        chunk_rows::move_chunk(changes, &entry.name, &entry.placement, |known| {
            Ok(units.sequence(&entry.name, known)? > Some(entry.sequence))
        })?;
    }
    Ok(())
}
