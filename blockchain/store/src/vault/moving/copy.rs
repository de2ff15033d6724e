//! Brings what is not there yet: the chunks in any order, and then the facts, in theirs.

use lucid_core::digest::ChunkName;
use lucid_core::words::many;

use super::{
    Facts, Found, MoveError, Stage, Work, each_of, each_page, facts_of, moving, read, stretch,
};
use crate::contract::blobs::Placement;
use crate::contract::fact_log::Position;
use crate::contract::index::Seen;
use crate::damage::DamageList;
use crate::registry::vault::key::POSITION;
use crate::vault::committer::{Fact, Submission};
use crate::vault::{Vault, chunk_rows};
use crate::{CommitError, StoreError};

/// A commit has facts of so many bytes, unless one fact has more.
const FACTS_BYTES: u64 = 4 << 20;

impl Work<'_, '_> {
    pub(super) fn step(&mut self, stage: Stage) -> Result<(), StoreError> {
        match (self.progress)(stage, self.done.min(self.total), self.total) {
            true => Ok(()),
            false => Err(StoreError::Stopped),
        }
    }

    /// Brings every chunk that is not there: unit by unit, so that what lies together stays together; then those
    /// that are in no unit that can be listed.
    pub(super) fn copy_chunks(&mut self) -> Result<(), StoreError> {
        let from = self.from;
        for unit in from.blobs().numbers()? {
            let Ok(contents) = from.blobs().contents(unit, 0)? else { continue };
            let mut wanted = Vec::new();
            for (name, placement) in contents.chunks {
                let now = chunk_rows::placement(from.index(), &name)?;
                if now == Some(placement) && !self.is_there(&name)? {
                    wanted.push((name, placement));
                }
            }
            wanted.sort_unstable_by_key(|(_, placement)| placement.offset);
            self.bring(&wanted)?;
        }
        self.settle()?;
        each_page(from, |mut page| {
            let mut wanted = Vec::new();
            for (name, placement) in page.drain(..) {
                if !self.is_there(&name)? && !self.lost.contains(&name) {
                    wanted.push((name, placement));
                }
            }
            wanted.sort_unstable_by_key(|(_, placement)| placement.place());
            self.bring(&wanted)
        })?;
        self.settle()
    }

    fn is_there(&self, name: &ChunkName) -> Result<bool, StoreError> {
        Ok(chunk_rows::placement(self.to.index(), name)?.is_some())
    }

    fn bring(&mut self, mut wanted: &[(ChunkName, Placement)]) -> Result<(), StoreError> {
        while !wanted.is_empty() {
            let (now, later) = stretch(wanted, |(_, placement)| placement.record_bytes());
            wanted = later;
            let from = self.from;
            let read = each_of(now, |packer, (name, at)| read(from, packer, name, at))?;
            let mut chunks = Vec::new();
            for ((name, placement), read) in now.iter().zip(read) {
                self.done += placement.record_bytes();
                match read {
                    Ok(record) => chunks.push(record),
                    Err(damage) => {
                        self.lost.insert(*name);
                        self.damage.push(damage);
                    }
                }
            }
            if !chunks.is_empty() {
                self.send(Submission { chunks, ..Submission::default() })?;
            }
            self.step(Stage::Copying)?;
        }
        Ok(())
    }

    /// Hands chunks over. The order in which they arrive does not matter, so nobody waits for each.
    fn send(&self, submission: Submission) -> Result<(), StoreError> {
        if let Some(error) = self.failed.lock().clone() {
            return Err(moving()(error));
        }
        let failed = self.failed.clone();
        let told = move |outcome: Result<_, CommitError>| {
            if let Err(error) = outcome {
                failed.lock().get_or_insert(error);
            }
        };
        self.to.submit(submission, Box::new(told));
        Ok(())
    }

    /// Waits until everything has arrived that was handed over.
    fn settle(&self) -> Result<(), StoreError> {
        self.to.commit(Submission::default()).map_err(moving())?;
        match self.failed.lock().clone() {
            Some(error) => Err(moving()(error)),
            None => Ok(()),
        }
    }

    /// Damage in the log, before any fact moves: behind a fact that is missing the others would not follow what an
    /// earlier try brought, once it is healed.
    pub(super) fn look_for_damaged_facts(&mut self) -> Result<DamageList, StoreError> {
        let mut damaged = DamageList::default();
        let (mut shown, from) = (true, self.from);
        from.each_fact(&mut |found, _| {
            if let Found::Damaged(damage) = found {
                damaged.push(damage);
            }
            shown = (self.progress)(Stage::Copying, self.done.min(self.total), self.total);
            Ok(shown)
        })?;
        if shown { Ok(damaged) } else { Err(StoreError::Stopped) }
    }

    /// Brings the facts behind those that are there, in order, each commit behind the one before it and nobody
    /// else's.
    pub(super) fn copy_facts(&mut self) -> Result<(), MoveError> {
        let mut behind = Position::of(self.to.index())?;
        let there = facts_of(self.to, false)?;
        let condensed = || MoveError::Condensed(many(there.count, "fact"));
        let (mut passed_by, mut pending, mut bytes) = (Facts::default(), Vec::new(), 0);
        let (from, to, chunks_done) = (self.from, self.to, self.done);
        let log_bytes = self.total.saturating_sub(chunks_done);
        let mut is_condensed = there.count > 0;
        let shown = from.each_fact(&mut |found, passed| {
            let Found::Owners(fact) = found else { return Ok(true) };
            if passed_by.count < there.count {
                passed_by.add(&fact.record);
                if passed_by.count == there.count {
                    is_condensed = passed_by.finish() != there.finish();
                }
                return Ok(passed_by.count < there.count || !is_condensed);
            }
            let more = fact.record.record_bytes();
            if !pending.is_empty() && bytes + more > FACTS_BYTES {
                behind = add(to, std::mem::take(&mut pending), behind.take())?;
                bytes = 0;
                let share = u128::from(log_bytes) * u128::from(passed.done);
                let share = share / u128::from(passed.total.max(1));
                self.done = chunks_done + u64::try_from(share).unwrap_or(log_bytes);
                self.step(Stage::Copying)?;
            }
            bytes += more;
            pending.push(fact);
            Ok(true)
        })?;
        if is_condensed {
            return Err(condensed());
        }
        if shown && !pending.is_empty() {
            add(to, pending, behind)?;
        }
        self.moved.facts_before = there.count;
        self.done = self.total;
        Ok(self.step(Stage::Copying)?)
    }
}

/// Adds facts behind a place, and says where the log ends then.
fn add(
    to: &Vault,
    facts: Vec<Fact>,
    behind: Option<Position>,
) -> Result<Option<Position>, StoreError> {
    let behind = behind.map(|place| place.as_bytes().to_vec());
    let rests_on = Seen::from([(vec![POSITION], behind)]);
    to.commit(Submission { facts, rests_on, ..Submission::default() }).map_err(moving())?;
    Position::of(to.index())
}
