//! Removes units that are left over where several processes may write units: those that nothing names, and those that
//! others stand for.
//!
//! What makes that safe is the line (`vault/line`): it is drawn first, and what is looked for is below it. Two
//! processes that clear at once draw one: the line that each draws takes the place of the one it saw.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_core::time::Timestamp;

use super::Collection;
use crate::codec::Packer;
use crate::vault::committer::Submission;
use crate::vault::facts::VaultFact;
use crate::vault::line::Line;
use crate::vault::unit_rows;
use crate::{CommitError, StoreError};

/// Between two lines there is so much time at least: a backup of the database that is younger finds its units.
const REST: Duration = Duration::from_secs(24 * 60 * 60);
/// So many units are named to go at once: a mebibyte of numbers.
const GOING_MAX: usize = 1 << 18;

/// What was cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Units that were removed.
    pub units_removed: u64,
    /// Units that go with the next line.
    pub units_going: u64,
}

impl Collection<'_> {
    /// Draws a line, a day after the last one, removes the units that were named to go when that was drawn, and names
    /// those that go next. Does nothing where nothing can be left over, or where the last line is younger.
    pub fn clear(&self, now: Timestamp) -> Result<Cleared, StoreError> {
        let blobs = self.vault.blobs();
        if !blobs.is_shared() {
            return Ok(Cleared::default());
        }
        // Asked for before the line is looked up: what others take meanwhile is above it.
        let taken = blobs.taken()?;
        let before = Line::of(self.vault.index())?;
        if before.as_ref().is_some_and(|before| !is_due(before.drawn_at, now)) {
            return Ok(Cleared::default());
        }
        let line = Line {
            line: before.as_ref().map_or(0, |before| before.taken),
            taken,
            drawn_at: now,
            going: before.as_ref().map_or_else(Vec::new, |before| before.going.clone()),
        };
        if !self.draw(before.as_ref(), &line)? {
            return Ok(Cleared::default());
        }
        // From here on no unit up to the line comes to be named: what has no row has none for ever.
        let used = self.bytes_by_unit(None)?;
        let left = self.left_over(&line, &used)?;
        let (gone, mut going): (Vec<u32>, Vec<u32>) =
            left.into_iter().partition(|unit| line.going.contains(unit));
        blobs.remove(&gone)?;
        going.truncate(GOING_MAX);
        let next = Line { going, ..line.clone() };
        let units_going = match next == line || self.draw(Some(&line), &next)? {
            true => next.going.len() as u64,
            false => 0,
        };
        Ok(Cleared { units_removed: gone.len() as u64, units_going })
    }

    /// Draws a line in the place of another; `false` where that one is not in force any more: another process clears.
    fn draw(&self, instead_of: Option<&Line>, line: &Line) -> Result<bool, StoreError> {
        let look = self.vault.look();
        if Line::of(&look)?.as_ref() != instead_of {
            return Ok(false);
        }
        let fact = self.vault.fact(&mut Packer::new(), VaultFact::Lined(line.clone()).encode())?;
        let (facts, rests_on) = (vec![fact], look.seen());
        match self.vault.commit(Submission { facts, rests_on, ..Submission::upkeep() }) {
            Ok(_) => Ok(true),
            Err(CommitError::Overtaken(_)) => Ok(false),
            Err(error) => Err(StoreError::commit("drawing the line of a collection")(error)),
        }
    }

    /// The units that are there and count for nothing, for ever.
    fn left_over(&self, line: &Line, used: &BTreeMap<u32, u64>) -> Result<Vec<u32>, StoreError> {
        let (index, blobs) = (self.vault.index(), self.vault.blobs());
        let mut left = Vec::new();
        for unit in blobs.numbers()? {
            // One that was switched to stands for others, even if nothing is left in it.
            let is_nobodys = !blobs.is_above(unit, line.line)
                && !used.contains_key(&unit)
                && !unit_rows::is_rewritten(index, unit)?;
            if is_nobodys || unit_rows::is_retired(index, unit)? {
                left.push(unit);
            }
        }
        Ok(left)
    }
}

/// Whether the next line may be drawn. A line from a day or more in the future was drawn by a wrong clock.
fn is_due(drawn_at: Timestamp, now: Timestamp) -> bool {
    let micros = now.as_micros().abs_diff(drawn_at.as_micros());
    Duration::from_micros(micros) >= REST
}

#[cfg(test)]
mod tests;
