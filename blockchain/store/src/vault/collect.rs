//! Gives back the space of what nobody refers to, and packs what stays more tightly.
//!
//! The caller says what is referred to; this drops the rest and rewrites the units it was in. It runs
//! beside ingest and reads. Between the moment the caller began to look and the moment a chunk is
//! dropped, another caller may come to want it. So from [`Vault::collect`] on the committer remembers every
//! chunk that is asked for, and refuses to drop those.
//!
//! A stop, an error or a crash that ends it half-way leaves a sound store: dropping and switching are commits,
//! and the next run goes on with what is left.
//!
//! In one file because survey, choice and rewriting are one protocol, in which no chunk may be lost between two
//! steps.
//!
//! Where several processes may write units, [`Collection::clear`] removes what is left over, one collection later.

mod clear;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lucid_core::digest::ChunkName;
use parking_lot::Mutex;

pub use self::clear::Cleared;

use crate::codec::{Compression, Packer};
use crate::contract::blobs::{Entry, NewUnit, Origin, Placement, Unit, UnitKind, UnitState};
use crate::contract::fact_log::Condensed;
use crate::crypt::{ChunkKey, Owner};
use crate::frame::{Header, Record};
use crate::vault::committer::{Submission, short};
use crate::vault::{CollectingTurn, IsFree, Matters, Vault, chunk_rows, unit_rows};
use crate::{CommitError, Damage, StoreError, threads};

/// Rows read at once.
const PAGE: usize = 4_096;
/// Chunks dropped in one commit.
const DROP_MAX: usize = 1_000;
/// A rewritten unit is ended at so many records, if it has not reached [`Blobs::draft_bytes`] before.
///
/// [`Blobs::draft_bytes`]: crate::contract::blobs::Blobs::draft_bytes
const DRAFT_RECORDS: usize = 100_000;
/// Nor are units joined that would stand for more than this: a mebibyte of numbers, in the file and in
/// the fact.
const STANDS_FOR_MAX: usize = 1 << 18;
/// Recompressed at once, on all threads together.
const STRETCH_BYTES: u64 = 16 << 20;

/// Chunks by the first eight bytes of their names: two that share them are only kept too long. Eight
/// bytes a chunk, and half as much again while they are added.
#[derive(Debug, Clone, Default)]
pub struct Names {
    sorted: Vec<u64>,
    added: Vec<u64>,
}

impl Names {
    /// Adds a name; it may be there already.
    pub fn add(&mut self, name: &ChunkName) {
        self.added.push(short(name));
        if self.added.len() > self.sorted.len() / 2 + PAGE {
            self.settle();
        }
    }

    /// Ends adding.
    pub fn settle(&mut self) {
        self.sorted.append(&mut self.added);
        self.sorted.sort_unstable();
        self.sorted.dedup();
    }

    /// Whether a name was added before [`Names::settle`].
    pub fn has(&self, name: &ChunkName) -> bool {
        self.sorted.binary_search(&short(name)).is_ok()
    }

    /// How many different names there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The names that are in here and not in the other.
    pub fn without(&self, other: &Self) -> Self {
        let differs = |name: &&u64| other.sorted.binary_search(name).is_err();
        let sorted = self.sorted.iter().filter(differs).copied().collect();
        Self { sorted, added: Vec::new() }
    }

    /// A name that is in here and not in the other, by its first eight bytes.
    pub fn not_in(&self, other: &Self) -> Option<u64> {
        self.sorted.iter().find(|name| other.sorted.binary_search(name).is_err()).copied()
    }
}

/// Hears how far the work is, and may slow it down or stop it.
pub trait Control {
    /// So many bytes of so many are done. `false` stops the work in order.
    fn step(&mut self, done: u64, total: u64) -> bool;
}

impl<F: FnMut(u64, u64) -> bool> Control for F {
    fn step(&mut self, done: u64, total: u64) -> bool {
        self(done, total)
    }
}

/// What is there, and what of it nobody refers to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Chunks that are referred to.
    pub live_chunks: u64,
    /// Bytes of their records.
    pub live_bytes: u64,
    /// Chunks that are not.
    pub dead_chunks: u64,
    /// Bytes of their records.
    pub dead_bytes: u64,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Chunks that were dropped.
    pub chunks_removed: u64,
    /// Chunks that came to be wanted while they were being dropped, and were kept.
    pub chunks_spared: u64,
    /// Units that were replaced.
    pub units_replaced: u64,
    /// Units left alone: they are damaged, or may hold the last copy of something.
    pub units_damaged: u64,
    /// By how much the files got smaller, or get smaller one collection later.
    pub bytes_freed: u64,
    /// Bytes that were read from the replaced units to be kept.
    pub bytes_copied: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// The right to collect: while it lives, nothing that is asked for is forgotten.
pub struct Collection<'a> {
    vault: &'a Vault,
    /// Files that are rewritten in any case.
    untidy: BTreeSet<String>,
    /// Records that a unit may have; see [`Collection::splitting_over`].
    records_max: usize,
    _turn: CollectingTurn<'a>,
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        self.vault.set_collecting(false);
    }
}

impl Vault {
    /// Begins a collection or a repacking; `None` while another one runs. Look for what is referred to
    /// only after this.
    pub fn begin_collection(&self) -> Option<Collection<'_>> {
        let turn = self.turn_to_collect()?;
        self.set_collecting(true);
        let (untidy, records_max) = (BTreeSet::new(), self.blobs().records_max());
        Some(Collection { vault: self, untidy, records_max, _turn: turn })
    }
}

/// What is done, and which units were left alone on the way.
#[derive(Default)]
struct Work {
    done: Collected,
    left: BTreeSet<u32>,
    /// How many bytes of records the index says are in each unit, once that is counted.
    rows: Option<BTreeMap<u32, u64>>,
    /// Where the log says that chunks were dropped, of units of which the index has nothing, once that
    /// is asked for.
    dropped: Option<BTreeSet<(u32, u64)>>,
}

impl Work {
    fn ended(self) -> Collected {
        Collected { units_damaged: self.left.len() as u64, ..self.done }
    }
}

/// A unit that is to be replaced.
struct Victim {
    number: u32,
    length: u64,
    /// Its live records, by offset.
    records: Vec<Entry>,
    /// Everything that it stands for.
    stands_for: Vec<u32>,
    level: u8,
}

impl<'a> Collection<'a> {
    /// Condenses what is left of the log ([`Vault::condense`]).
    pub fn condense(
        &self,
        matters: &Matters<'_>,
        control: &mut dyn Control,
    ) -> Result<Condensed, StoreError> {
        self.vault.condense(matters, &mut |done, total| control.step(done, total))
    }

    /// Has these files rewritten even if little of them is dead: what is damaged in them was healed, and
    /// goes with them.
    #[must_use]
    pub fn tidying(mut self, files: BTreeSet<String>) -> Self {
        self.untidy = files;
        self
    }

    /// Makes no unit with more records than this, and splits those that have more. Unsaid, it is
    /// [`Blobs::records_max`](crate::contract::blobs::Blobs::records_max); only tests have reason to change it.
    #[must_use]
    pub fn splitting_over(mut self, records: usize) -> Self {
        self.records_max = records;
        self
    }

    /// Counts, and changes nothing.
    pub fn survey(&self, live: &Names) -> Result<Survey, StoreError> {
        let mut survey = Survey::default();
        self.each_chunk(|name, placement| {
            let bytes = placement.record_bytes();
            if live.has(name) {
                survey.live_chunks += 1;
                survey.live_bytes += bytes;
            } else {
                survey.dead_chunks += 1;
                survey.dead_bytes += bytes;
            }
            Ok(())
        })?;
        Ok(survey)
    }

    fn each_chunk(
        &self,
        mut visit: impl FnMut(&ChunkName, &Placement) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = ChunkName::new([0; 32]);
        loop {
            let page = chunk_rows::chunks(self.vault.index(), &from, PAGE)?;
            for (name, placement) in &page {
                visit(name, placement)?;
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => match after(last) {
                    Some(next) => from = next,
                    None => return Ok(()),
                },
                _ => return Ok(()),
            }
        }
    }

    /// Drops every chunk that is not in `live` and is free when its turn comes, and rewrites units of which
    /// over a third is dead.
    pub fn run(
        &self,
        live: &Names,
        is_free: &IsFree<'_>,
        control: &mut dyn Control,
    ) -> Result<Collected, StoreError> {
        let mut work = Work::default();
        // What is filled while this looks is not looked at.
        let there = self.vault.blobs().numbers()?;
        let (used, named) = self.drop_dead(live, is_free, &mut work.done)?;
        let wasteful = |bytes: u64, number: u32| {
            let live = used.get(&number).copied().unwrap_or(0);
            live * 3 < bytes * 2 || self.untidy.contains(&self.vault.blobs().title(number))
        };
        self.end_open_unit(wasteful)?;
        work.rows = Some(used.clone());
        self.split_overfull(Some(live), &mut work)?;
        let mut victims = Vec::new();
        for number in there {
            // A commit may be about to name it: `clear` knows when none is.
            if self.vault.blobs().is_shared()
                && !named.contains(&number)
                && !unit_rows::is_rewritten(self.vault.index(), number)?
            {
                continue;
            }
            let Some(unit) = self.ended(number, &mut work)? else { continue };
            // What stands for units that are wholly dead has no records, and nothing to give.
            if !unit.entries.is_empty() && wasteful(unit.records_bytes, number) {
                victims.push((number, unit.bytes));
            }
        }
        self.rewrite(&victims, Some(live), None, &mut work, control)?;
        Ok(work.ended())
    }

    /// Rewrites every unit that has ended that was not packed at this zstd level yet, the open one included
    /// if `all`. Roots, ids and names do not notice.
    pub fn repack(
        &self,
        level: u8,
        threads: usize,
        all: bool,
        control: &mut dyn Control,
    ) -> Result<Collected, StoreError> {
        let mut work = Work::default();
        if all {
            self.end_open_unit(|_, _| true)?;
        }
        self.split_overfull(None, &mut work)?;
        let mut victims = Vec::new();
        for number in self.vault.blobs().numbers()? {
            let Some(unit) = self.ended(number, &mut work)? else { continue };
            match self.origin(number)? {
                Some(origin) if origin.level >= level => {}
                Some(_) => victims.push((number, unit.bytes)),
                None => {
                    work.left.insert(number);
                }
            }
        }
        self.rewrite(&victims, None, Some((level, threads.max(1))), &mut work, control)?;
        Ok(work.ended())
    }

    /// Drops dead chunks, and says how many bytes of each unit are live, and which units had any chunks at all.
    fn drop_dead(
        &self,
        live: &Names,
        is_free: &IsFree<'_>,
        done: &mut Collected,
    ) -> Result<(BTreeMap<u32, u64>, BTreeSet<u32>), StoreError> {
        let mut used: BTreeMap<u32, u64> = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut dead = Vec::new();
        let mut packer = Packer::new();
        let mut drop = |dead: &mut Vec<(ChunkName, Placement)>, used: &mut BTreeMap<u32, u64>| {
            let spared = self.vault.drop_chunks(&mut packer, dead, is_free)?;
            done.chunks_removed += (dead.len() - spared.len()) as u64;
            done.chunks_spared += spared.len() as u64;
            for (_, at) in dead.drain(..).filter(|(name, _)| spared.contains(name)) {
                *used.entry(at.unit).or_default() += at.record_bytes();
            }
            Ok::<_, StoreError>(())
        };
        self.each_chunk(|name, placement| {
            named.insert(placement.unit);
            if live.has(name) {
                *used.entry(placement.unit).or_default() += placement.record_bytes();
                return Ok(());
            }
            dead.push((*name, *placement));
            if dead.len() >= DROP_MAX { drop(&mut dead, &mut used) } else { Ok(()) }
        })?;
        drop(&mut dead, &mut used)?;
        Ok((used, named))
    }

    /// How many bytes of records the index says are in each unit, or in one.
    fn bytes_by_unit(&self, only: Option<u32>) -> Result<BTreeMap<u32, u64>, StoreError> {
        let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
        self.each_chunk(|_, placement| {
            if only.is_none_or(|only| only == placement.unit) {
                *bytes.entry(placement.unit).or_default() += placement.record_bytes();
            }
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Ends the unit that is being added to, if it is worth it.
    fn end_open_unit(&self, worth: impl Fn(u64, u32) -> bool) -> Result<(), StoreError> {
        let open = self.vault.blobs().open_unit()?;
        if open.is_some_and(|(number, bytes)| worth(bytes, number)) {
            self.vault.end_unit().map_err(dropping())?;
        }
        Ok(())
    }

    /// A unit that never changes any more, unless it is damaged: then it is left alone.
    fn ended(&self, number: u32, work: &mut Work) -> Result<Option<Unit>, StoreError> {
        Ok(match self.state_of(number)? {
            UnitState::Ended(unit) => Some(unit),
            UnitState::Open => None,
            UnitState::Damaged => {
                work.left.insert(number);
                None
            }
        })
    }

    fn state_of(&self, number: u32) -> Result<UnitState, StoreError> {
        let (index, blobs) = (self.vault.index(), self.vault.blobs());
        let is_made = blobs.kind(number) == Some(UnitKind::Made);
        // What was never switched to has no say in anything.
        if unit_rows::is_retired(index, number)?
            || (is_made && !unit_rows::is_rewritten(index, number)?)
        {
            return Ok(UnitState::Open);
        }
        blobs.state(number)
    }

    /// Earlier versions filled units with more records than a footer may list, and one cannot be
    /// rewritten as one. So the live ones move to where new chunks go, and what is left is rewritten.
    fn split_overfull(&self, live: Option<&Names>, work: &mut Work) -> Result<(), StoreError> {
        for number in self.vault.blobs().numbers()? {
            let Some(Unit { bytes, entries, .. }) = self.ended(number, work)? else { continue };
            if entries.len() <= self.records_max {
                continue;
            }
            drop(entries);
            let moved = match self.victim(number, bytes, live, work)? {
                Some(victim) => {
                    // Their rows are others now.
                    work.rows = None;
                    self.write_again(&victim.records)
                }
                None => {
                    work.left.insert(number);
                    continue;
                }
            };
            match moved {
                // It is quarantined, and the unit left alone from now on.
                Err(StoreError::Damaged(_)) => {
                    work.left.insert(number);
                }
                moved => moved?,
            }
        }
        Ok(())
    }

    /// Has the committer write records once more.
    fn write_again(&self, records: &[Entry]) -> Result<(), StoreError> {
        let commit = |chunks: Vec<Record>| {
            let submission = Submission { chunks, again: true, ..Submission::upkeep() };
            self.vault.commit(submission).map_err(dropping()).map(|_| ())
        };
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        for entry in records {
            let (header, payload) = noting(self.vault, entry, read(self.vault, entry))?;
            bytes += header.record_bytes();
            chunks.push(Record { header, payload });
            if bytes >= STRETCH_BYTES {
                commit(std::mem::take(&mut chunks))?;
                bytes = 0;
            }
        }
        commit(chunks)
    }

    /// What a unit stands for beside itself, and at which level it was packed; `None` when that is damaged. Then the
    /// unit is left alone: to replace it, it has to be known what it stands for.
    fn origin(&self, number: u32) -> Result<Option<Origin>, StoreError> {
        let origin = self.vault.blobs().origin(number)?;
        if let Err(damage) = &origin {
            tracing::error!(%damage, "a unit is left alone");
        }
        Ok(origin.ok())
    }

    /// Looks a unit's live records up; `None` when one of them is known to be damaged, or its first
    /// record is.
    ///
    /// So it is, too, where the index may lack the unit's rows: it was away when they were made. What has
    /// no row is dead only if nobody refers to it; and where nobody tells what is referred to, a unit of
    /// which the index knows nothing at all is left alone, unless the log says that all of it was dropped: a
    /// collection ended between dropping and rewriting. And so it is where the file lacks what the index
    /// says is in it: it is an older copy, or another one, and what is missing may be put back.
    fn victim(
        &self,
        number: u32,
        length: u64,
        live: Option<&Names>,
        work: &mut Work,
    ) -> Result<Option<Victim>, StoreError> {
        let unread = self.vault.unread();
        if unread.contains_key(&number) {
            return Ok(None);
        }
        let UnitState::Ended(unit) = self.state_of(number)? else { return Ok(None) };
        let Some(Origin { replaces: mut stands_for, level }) = self.origin(number)? else {
            return Ok(None);
        };
        // A unit that it says it replaces, but that is still part of the store, is not replaced by it.
        for old in std::mem::take(&mut stands_for) {
            if unit_rows::is_retired(self.vault.index(), old)? {
                stands_for.push(old);
            }
        }
        stands_for.push(number);
        let mut records = Vec::new();
        let mut is_unknown = false;
        let mut without_row = Vec::new();
        for entry in unit.entries {
            let now = chunk_rows::placement(self.vault.index(), &entry.name)?;
            if now.is_none() && live.is_none_or(|live| live.has(&entry.name)) {
                is_unknown = true;
                if live.is_none() {
                    without_row.push((number, entry.placement.offset));
                }
            }
            if now != Some(entry.placement) {
                // Where the copy that counts is not there, this one may be the last.
                if now.is_some_and(|now| unread.contains_key(&now.unit)) {
                    return Ok(None);
                }
                continue;
            }
            if chunk_rows::is_quarantined(self.vault.index(), &entry.name)? {
                return Ok(None);
            }
            records.push(entry);
        }
        if is_unknown
            && (live.is_some() || records.is_empty())
            && !(live.is_none() && self.were_dropped(&without_row, work)?)
        {
            let unit = self.vault.blobs().title(number);
            tracing::warn!(unit, "it is left alone: the index has nothing of it");
            return Ok(None);
        }
        let bytes = records.iter().map(|entry| entry.placement.record_bytes()).sum::<u64>();
        if work.rows.is_none() {
            work.rows = Some(self.bytes_by_unit(None)?);
        }
        let said = work.rows.as_ref().and_then(|rows| rows.get(&number)).copied().unwrap_or(0);
        // A chunk that was healed since has its row elsewhere: so it is counted once more.
        if said > bytes && self.bytes_by_unit(Some(number))?.values().any(|said| *said > bytes) {
            let unit = self.vault.blobs().title(number);
            tracing::error!(unit, "it is left alone: it lacks what the index has in it");
            return Ok(None);
        }
        records.sort_by_key(|entry| entry.placement.offset);
        Ok(Some(Victim { number, length, records, stands_for, level }))
    }

    /// Whether the log says of all these places that what was there was dropped. While a unit is away,
    /// what came to be wanted again may be in that one, so that the copy here would be the last.
    fn were_dropped(&self, places: &[(u32, u64)], work: &mut Work) -> Result<bool, StoreError> {
        if !self.vault.unread().is_empty() {
            return Ok(false);
        }
        if work.dropped.is_none() {
            let rows = match work.rows.take() {
                Some(rows) => rows,
                None => self.bytes_by_unit(None)?,
            };
            let dropped = self.vault.dropped(&|unit| !rows.contains_key(&unit));
            work.rows = Some(rows);
            work.dropped = Some(match dropped {
                // What it says is not known then.
                Err(StoreError::Damaged(_)) => BTreeSet::new(),
                dropped => dropped?,
            });
        }
        let dropped = work.dropped.as_ref();
        Ok(dropped.is_some_and(|dropped| places.iter().all(|place| dropped.contains(place))))
    }

    fn rewrite(
        &self,
        victims: &[(u32, u64)],
        live: Option<&Names>,
        repack: Option<(u8, usize)>,
        work: &mut Work,
        control: &mut dyn Control,
    ) -> Result<(), StoreError> {
        let total = victims.iter().map(|(_, length)| length).sum();
        let mut passed = 0;
        let mut waiting: VecDeque<(u32, u64)> = victims.iter().copied().collect();
        let mut retries = victims.len();
        let draft_bytes = self.vault.blobs().draft_bytes();
        loop {
            // As many units as fill one; their records are known before the first is written.
            let (mut group, mut bytes, mut records, mut stands_for) = (Vec::new(), 0, 0, 0);
            while bytes < draft_bytes && records < DRAFT_RECORDS {
                let Some((number, length)) = waiting.pop_front() else { break };
                let Some(victim) = self.victim(number, length, live, work)? else {
                    work.left.insert(number);
                    passed += length;
                    continue;
                };
                bytes += victim.records.iter().map(|e| e.placement.record_bytes()).sum::<u64>();
                records += victim.records.len();
                stands_for += victim.stands_for.len();
                if !group.is_empty() && (records > self.records_max || stands_for > STANDS_FOR_MAX)
                {
                    // It begins the next one.
                    waiting.push_front((number, length));
                    break;
                }
                group.push(victim);
            }
            if group.is_empty() {
                return Ok(());
            }
            match self.rewrite_group(&group, repack, &mut work.done, &mut passed, total, control) {
                Ok(true) => {}
                Ok(false) => {
                    work.done.stopped = true;
                    return Ok(());
                }
                Err(StoreError::Damaged(_)) if retries > 0 => {
                    // It is quarantined once this is answered; then its unit is left alone.
                    retries -= 1;
                    self.vault.commit(Submission::default()).map_err(dropping())?;
                    for victim in group.iter().rev() {
                        waiting.push_front((victim.number, victim.length));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes one unit from several and switches to it. `false` when it was told to stop; what had
    /// been written by then never counts.
    fn rewrite_group(
        &self,
        group: &[Victim],
        repack: Option<(u8, usize)>,
        done: &mut Collected,
        passed: &mut u64,
        total: u64,
        control: &mut dyn Control,
    ) -> Result<bool, StoreError> {
        let mut replaces: Vec<u32> = group.iter().flat_map(|v| v.stands_for.clone()).collect();
        replaces.sort_unstable();
        let level = match repack {
            Some((level, _)) => level,
            None => group.iter().map(|victim| victim.level).min().unwrap_or(0),
        };
        let known = unit_rows::rewritten(self.vault.index())?.last().copied().unwrap_or(0);
        let origin = Origin { replaces: replaces.clone(), level };
        let mut unit = self.vault.blobs().begin(known, origin)?;
        let number = unit.number();
        let mut copier = Copier { vault: self.vault, repack, unit: unit.as_mut() };
        let mut copied = 0;
        for victim in group {
            let started = *passed;
            let goes_on = copier.copy(victim, &mut |bytes| {
                *passed = started + bytes;
                control.step(*passed, total)
            });
            match goes_on {
                Ok(true) => {}
                ended => {
                    drop(unit);
                    self.vault.blobs().remove(&[number])?;
                    return ended;
                }
            }
            *passed = started + victim.length;
            copied += victim.records.iter().map(|e| e.placement.record_bytes()).sum::<u64>();
        }
        let length = match unit.finish() {
            Ok(length) => length,
            Err(error) => {
                self.vault.blobs().remove(&[number])?;
                return Err(error);
            }
        };
        let old: u64 = group.iter().map(|victim| victim.length).sum();
        let from: Vec<u32> = group.iter().map(|victim| victim.number).collect();
        if let Err(error) = self.vault.switch(&mut Packer::new(), number, &from, replaces) {
            // Only where the commit surely did not happen: once it did, the file is what counts.
            if matches!(error, StoreError::Commit { .. }) && !error.maybe_applied() {
                self.vault.blobs().remove(&[number])?;
            }
            return Err(error);
        }
        done.units_replaced += group.len() as u64;
        done.bytes_freed += old.saturating_sub(length);
        done.bytes_copied += copied;
        Ok(control.step(*passed, total))
    }
}

/// Copies records from unit to unit.
struct Copier<'a> {
    vault: &'a Vault,
    repack: Option<(u8, usize)>,
    unit: &'a mut dyn NewUnit,
}

impl Copier<'_> {
    /// Copies a victim's live records, in stretches; `step` hears how far into the file it is.
    fn copy(
        &mut self,
        victim: &Victim,
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StoreError> {
        let mut packers: Vec<Packer> = Vec::new();
        packers.resize_with(self.repack.map_or(1, |(_, threads)| threads), Packer::new);
        let mut rest = victim.records.as_slice();
        while let Some(first) = rest.first() {
            let mut bytes = 0;
            let fits = |entry: &&Entry| {
                bytes += entry.placement.record_bytes();
                bytes <= STRETCH_BYTES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (stretch, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = after;
            for (header, payload) in self.records(stretch, &mut packers)? {
                self.unit.add(&header, &payload)?;
            }
            if !step(first.placement.offset) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads records, and packs them anew if that is asked for, on as many threads as there are packers.
    fn records(
        &self,
        stretch: &[Entry],
        packers: &mut [Packer],
    ) -> Result<Vec<(Header, Vec<u8>)>, StoreError> {
        let Some((level, _)) = self.repack else {
            return stretch
                .iter()
                .map(|entry| noting(self.vault, entry, read(self.vault, entry)))
                .collect();
        };
        let threads = packers.len();
        let shares = stretch.chunks(stretch.len().div_ceil(threads)).zip(packers).enumerate();
        let shares: Mutex<Vec<_>> = Mutex::new(shares.collect());
        let vault = self.vault;
        let work = || -> Result<Vec<_>, StoreError> {
            let mut parts = Vec::new();
            loop {
                let next = shares.lock().pop();
                let Some((place, (entries, packer))) = next else { return Ok(parts) };
                let pack = |entry| noting(vault, entry, repacked(vault, packer, level, entry));
                let part = entries.iter().map(pack).collect::<Result<Vec<_>, StoreError>>()?;
                parts.push((place, part));
            }
        };
        let outcomes = threads::run_on(threads, "repacking", work);
        let mut parts: Vec<_> =
            outcomes.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        parts.sort_unstable_by_key(|(place, _)| *place);
        Ok(parts.into_iter().flat_map(|(_, part)| part).collect())
    }
}

/// Reads a record as it is. One that is damaged is quarantined, and ends the work on its unit.
fn read(vault: &Vault, entry: &Entry) -> Result<(Header, Vec<u8>), StoreError> {
    let found = vault.blobs().read(&entry.name, &entry.placement)?;
    if found.0.matches(&found.1) { Ok(found) } else { Err(damaged(vault, entry, PAYLOAD)) }
}

const PAYLOAD: &str = "the record's payload does not match its digest";

fn damaged(vault: &Vault, entry: &Entry, why: impl std::fmt::Display) -> StoreError {
    let title = vault.blobs().title(entry.placement.unit);
    StoreError::Damaged(Damage::new(title, entry.placement.offset, why))
}

/// Quarantines a record that was found damaged, so that the next look leaves its unit alone.
fn noting<T>(vault: &Vault, entry: &Entry, read: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(StoreError::Damaged(damage)) = &read {
        vault.quarantine(&mut Packer::new(), &entry.name, &entry.placement, damage);
    }
    read
}

/// A record packed at a level; as it was when that gains nothing.
fn repacked(
    vault: &Vault,
    packer: &mut Packer,
    level: u8,
    entry: &Entry,
) -> Result<(Header, Vec<u8>), StoreError> {
    let (header, payload) = read(vault, entry)?;
    let opened = vault.cipher().open(packer, &header, payload.clone());
    let title = vault.blobs().title(entry.placement.unit);
    let plain = opened.map_err(|why| why.at(&title, entry.placement.offset))?;
    let key = ChunkKey::of(Owner::new(header.owner), blake3::hash(&plain).into());
    let how = Compression::Zstd(level.into());
    let Record { header: mut fresh, payload: packed } =
        vault.cipher().chunk_record(packer, how, entry.placement.encrypted, key, &plain)?;
    if packed.len() >= payload.len() || fresh.name != header.name {
        return Ok((header, payload));
    }
    fresh.sequence = header.sequence;
    Ok((fresh, packed))
}

/// The name behind this one.
pub(super) fn after(name: &ChunkName) -> Option<ChunkName> {
    let mut bytes = *name.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            return Some(ChunkName::new(bytes));
        }
    }
    None
}

fn dropping() -> impl FnOnce(CommitError) -> StoreError {
    StoreError::commit("collecting")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_each_name_is_the_next_one_and_behind_the_last_is_none() {
        let name = |end: [u8; 2]| {
            let mut bytes = [0xff; 32];
            bytes[30..].copy_from_slice(&end);
            ChunkName::new(bytes)
        };
        assert_eq!(after(&name([1, 0])), Some(name([1, 1])));
        assert_eq!(after(&name([1, 0xff])), Some(name([2, 0])));
        assert_eq!(after(&name([0xff, 0xff])), None);
    }
}
