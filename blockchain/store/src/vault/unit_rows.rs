//! The rows that the vault keeps of units: which stand for which, and which could not be read; and what a switch
//! from some to another means for the rows of their chunks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::StoreError;
use crate::contract::blobs::{Entry, Units};
use crate::contract::index::{Changes, Index, Row};
use crate::registry::vault::key::{RETIRED, REWRITTEN, UNREAD};
use crate::vault::chunk_rows;

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

/// Whether a unit will have been written from others, and switched to.
pub fn is_rewritten_in(changes: &Changes<'_>, unit: u32) -> Result<bool, StoreError> {
    Ok(changes.get(&numbered_key(REWRITTEN, unit))?.is_some())
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

/// A unit that was made of others and stands for them from now on, with all that has to be read of units before
/// rows can be made of that.
pub struct Switch<'a> {
    to: u32,
    replaces: &'a [u32],
    /// Its records, the later of two behind the earlier; `None` where it is not there.
    entries: Option<Vec<Entry>>,
    /// Where rows name other copies of its chunks that may count: the sequences of these, as far as they can be
    /// read.
    others: BTreeMap<(u32, u64), u64>,
}

impl<'a> Switch<'a> {
    /// Reads what is needed of units.
    pub fn read(
        units: &dyn Units,
        to: u32,
        replaces: &'a [u32],
        changes: &Changes<'_>,
    ) -> Result<Self, StoreError> {
        let (mut entries, mut others) = (units.entries(to)?, BTreeMap::new());
        for entry in entries.iter_mut().flatten() {
            let Some(known) = chunk_rows::placement_in(changes, &entry.name)? else { continue };
            let is_replaced = replaces.contains(&known.unit) || is_retired_in(changes, known.unit)?;
            if known != entry.placement
                && !is_replaced
                && let Some(sequence) = units.sequence(&entry.name, &known)?
            {
                others.insert(known.place(), sequence);
            }
        }
        if let Some(entries) = &mut entries {
            entries.sort_by_key(|entry| entry.sequence);
        }
        Ok(Self { to, replaces, entries, others })
    }

    /// Makes the rows: its sources are no more, and its records are where it has them. Where it is not there it has
    /// been replaced itself, or is missing, and recovery tells which.
    pub fn project(self, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        for old in self.replaces {
            retire(changes, *old);
            // A log that is followed late names units that were made and replaced again: nobody waits for these.
            forget_unread(changes, *old);
        }
        note_rewritten(changes, self.to);
        let Some(entries) = self.entries else {
            note_unread(changes, self.to, Unread::default());
            return Ok(());
        };
        for entry in entries {
            chunk_rows::move_chunk(changes, &entry.name, &entry.placement, |known| {
                Ok(self.others.get(&known.place()) > Some(&entry.sequence))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lucid_core::digest::ChunkName;

    use super::*;
    use crate::contract::blobs::{Placement, UnitKind};
    use crate::memory::index::MemoryIndex;

    const MADE: u32 = 9;

    fn name(number: u8) -> ChunkName {
        ChunkName::new([number; 32])
    }

    fn at(unit: u32, offset: u64) -> Placement {
        Placement { unit, offset, stored_length: 1, plain_length: 1, encrypted: false }
    }

    fn entry(number: u8, sequence: u64, offset: u64) -> Entry {
        Entry { name: name(number), sequence, placement: at(MADE, offset) }
    }

    /// One unit that was made, and what can be read of the records of others.
    struct Few {
        made: Option<Vec<Entry>>,
        others: BTreeMap<(u32, u64), u64>,
    }

    impl Units for Few {
        fn kind(&self, _unit: u32) -> Option<UnitKind> {
            Some(UnitKind::Made)
        }

        fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError> {
            assert_eq!(unit, MADE);
            Ok(self.made.clone())
        }

        fn sequence(&self, _name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError> {
            Ok(self.others.get(&at.place()).copied())
        }
    }

    #[test]
    fn a_switch_moves_the_chunks_of_which_no_later_copy_counts() {
        let index = MemoryIndex::new();
        let mut changes = Changes::new(&index);
        retire(&mut changes, 3);
        note_unread(&mut changes, 1, Unread::default());
        let before = [at(1, 10), at(2, 20), at(2, 30), at(2, 40), at(3, 50), at(2, 60)];
        for (number, placement) in (1..).zip(&before) {
            chunk_rows::place(&mut changes, &name(number), placement);
        }
        chunk_rows::quarantine(&mut changes, &name(2), (2, 20)).unwrap();
        chunk_rows::quarantine(&mut changes, &name(3), (2, 30)).unwrap();
        // The copy of chunk 2 is earlier, that of 3 is later, and that of 4 is as old; that of 6 cannot be read.
        // Those of 1 and 5 are in units that are replaced. Chunk 7 is twice in the unit, and chunk 8 is known
        // already.
        chunk_rows::place(&mut changes, &name(8), &at(MADE, 800));
        let others = [(1, 10, 99), (2, 20, 1), (2, 30, 8), (2, 40, 7), (3, 50, 99)];
        let others = others.map(|(unit, offset, sequence)| ((unit, offset), sequence));
        let made = (1..7).map(|number| entry(number, 7, u64::from(number) * 100));
        let twice = [entry(7, 9, 700), entry(7, 8, 701), entry(8, 7, 800)];
        let units = Few { made: Some(made.chain(twice).collect()), others: others.into() };
        Switch::read(&units, MADE, &[1], &changes).unwrap().project(&mut changes).unwrap();
        changes.write().unwrap();
        let now = |number| chunk_rows::placement(&index, &name(number)).unwrap().unwrap();
        let expected = [100, 200, 0, 400, 500, 600, 700, 800].map(|offset| at(MADE, offset));
        for (number, expected) in (1..).zip(expected) {
            let expected = if number == 3 { at(2, 30) } else { expected };
            assert_eq!(now(number), expected, "{number}");
        }
        let is_quarantined = |number| chunk_rows::is_quarantined(&index, &name(number)).unwrap();
        assert_eq!([2, 3].map(is_quarantined), [false, true]);
        assert_eq!(retired(&index).unwrap(), BTreeSet::from([1, 3]));
        assert_eq!(rewritten(&index).unwrap(), [MADE]);
        assert_eq!(unread(&index).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_switch_to_a_unit_that_is_not_there_waits_for_it() {
        let index = MemoryIndex::new();
        let mut changes = Changes::new(&index);
        chunk_rows::place(&mut changes, &name(1), &at(1, 10));
        let units = Few { made: None, others: BTreeMap::new() };
        Switch::read(&units, MADE, &[1], &changes).unwrap().project(&mut changes).unwrap();
        changes.write().unwrap();
        assert_eq!(unread(&index).unwrap(), BTreeMap::from([(MADE, Unread::default())]));
        assert_eq!(chunk_rows::placement(&index, &name(1)).unwrap(), Some(at(1, 10)));
        assert_eq!(retired(&index).unwrap(), BTreeSet::from([1]));
    }
}
