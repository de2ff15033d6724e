//! What is found again when a store is opened.
//!
//! Recovery starts at the index's watermark and walks to the end of the log. What follows the last
//! valid commit is torn, and cut. Anything invalid *before* that, or at or below a place that something
//! else vouches for (the watermark, the clean-close mark, the header of a later log file), is damage:
//! kept, named, and read around. A damaged commit record costs nothing but itself: the facts before it
//! stand on their own digests and are replayed.
//!
//! Everything accepted is synced before the store opens, since after a kill it may be in the page cache
//! alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use lucid_core::digest::ChunkName;

use crate::codec::Packer;
use crate::contract::index::Changes;
use crate::crypt::Unopened;
use crate::damage::DamageList;
use crate::files::disk::{self, DiskFile};
use crate::files::log::{self, Beginning, COMMIT_RECORD_BYTES, Commit, FileHeader, Summary};
use crate::files::rewrite;
use crate::files::segment::{self, Footer, placement_of};
use crate::files::units::FileUnits;
use crate::files::watermark::Watermark;
use crate::files::{ToRecover, segment_rows};
use crate::frame::{self, Header, HeadersDigest, Kind, Scanner, Step};
use crate::vault::unit_rows::Unread;
use crate::vault::{chunk_rows, unit_rows};
use crate::{Damage, StoreError};

/// Index changes are written when this many keys have gathered.
const CHANGES_MAX: usize = 8_192;
/// A start looks at the first records of old segments for so long at most: enough for all of some hundred
/// thousand, but for those of a disk that has to seek for each.
const LOOKING_MAX: Duration = Duration::from_secs(5);

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// Where the next commit goes.
    pub at: Watermark,
    /// No log file has a higher number: the next one that is begun does.
    pub newest_log: u32,
    /// What is wrong, none of it in the way of the rest.
    pub damage: DamageList,
    /// Why nothing may be written, if so: acknowledged facts are missing from the log.
    pub read_only: Option<String>,
    /// Segments that are not there, or not whole.
    pub unread: BTreeMap<u32, Unread>,
}

/// A batch as found in the log.
#[derive(Default)]
struct Group {
    facts: Vec<(u64, Header, Vec<u8>)>,
    damaged: bool,
}

/// A batch with its commit, waiting to be judged: strictly if it proves to be the last.
struct Batch {
    group: Group,
    commit: Commit,
    digest: [u8; 32],
    sequence: u64,
    log: u32,
    start: u64,
    end: u64,
    /// Where it stands in its file.
    first: First,
}

/// Whether a batch is the first of its file, and follows the commit that the file was begun behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// It is.
    Follows,
    /// It is the first, and what the file was begun behind cannot be read.
    Unknown,
    /// It stands behind another one, or does not follow.
    No,
}

struct Recovery<'a> {
    parts: ToRecover<'a>,
    /// How far the log went when the store was last closed in order.
    mark: Option<Watermark>,
    changes: Changes<'a>,
    packer: Packer,
    at: Watermark,
    bound: (u32, u64),
    damage: DamageList,
    last: Option<Batch>,
    newest_log: u32,
    /// The last batch, and facts behind it without a commit, if nothing vouches for them.
    torn: (Option<Batch>, Option<(Group, String)>),
    /// The segments that were there when recovery began.
    segments: BTreeSet<u32>,
    /// Those of them that are no part of the store.
    foreign: BTreeSet<u32>,
    /// Whether chunks may be there whose commits are not. Where that is so because of the log, the index knows,
    /// until a start has taken in all that are there ([`Recovery::miss_commits`]).
    commits_are_missing: bool,
    /// Whether the commit that the index stopped at could not be read.
    watermark_in_doubt: bool,
    /// Bytes of the log behind and in front: in the files done, and in all.
    passed: u64,
    total: u64,
    /// Segments that were looked for in vain: lost, unless they turn out to have been replaced.
    missing: Vec<RangeInclusive<u32>>,
    /// Segments that are there and could not be opened to make their rows, or do not reach where commits say:
    /// which is where.
    unopened: BTreeMap<u32, u64>,
    unread: BTreeMap<u32, Unread>,
}

/// Brings the index up to the log, and the log to its last commit.
pub fn recover(parts: ToRecover<'_>, mark: Option<Watermark>) -> Result<Recovered, StoreError> {
    let start = segment_rows::watermark(parts.index)?;
    let mut bound = start.place();
    if let Some(mark) = &mark {
        bound = bound.max(mark.place());
    }
    let changes = Changes::new(parts.index);
    let commits_are_missing = segment_rows::are_commits_missing(parts.index)?;
    let mut recovery = Recovery {
        parts,
        mark,
        changes,
        packer: Packer::new(),
        at: start,
        bound,
        damage: DamageList::default(),
        last: None,
        newest_log: 0,
        torn: (None, None),
        segments: BTreeSet::new(),
        foreign: BTreeSet::new(),
        commits_are_missing,
        watermark_in_doubt: false,
        passed: 0,
        total: 0,
        missing: Vec::new(),
        unopened: BTreeMap::new(),
        unread: BTreeMap::new(),
    };
    let read_only = recovery.run()?;
    let Recovery { at, newest_log, damage, unread, .. } = recovery;
    Ok(Recovered { at, newest_log, damage, read_only, unread })
}

/// What is to be done with a log file.
enum Looked {
    /// It is read.
    Walk(LogFile),
    /// It stays as it is, and nothing in it counts.
    PassOver,
    /// Nothing came into it before a crash: it goes.
    OnlyBegun,
}

/// A log file that has to be walked.
struct LogFile {
    number: u32,
    path: String,
    begin: u64,
    length: u64,
    /// What the file before it ended with, where that is known.
    previous: Option<[u8; 32]>,
}

impl Recovery<'_> {
    fn run(&mut self) -> Result<Option<String>, StoreError> {
        let numbers = log::numbers(self.parts.disk.as_ref())?;
        self.list_segments()?;
        self.check_watermark(&numbers)?;
        // Every beginning first: a later file vouches for all of the files before it.
        let mut files = Vec::new();
        let mut begun = Vec::new();
        let from = self.at.log;
        for number in numbers.iter().rev().copied().filter(|number| *number >= from) {
            match self.look_at(number)? {
                Looked::Walk(file) => files.push(file),
                Looked::OnlyBegun => begun.push(number),
                Looked::PassOver => {}
            }
        }
        files.reverse();
        self.total = files.iter().map(|file| file.length.saturating_sub(file.begin)).sum();
        let mut found_end = (0, 0);
        let mut expected = self.at.log.max(1);
        let known = self.at.log;
        for file in files {
            self.name_gap(expected, known, &file);
            expected = file.number.saturating_add(1);
            found_end = (file.number, file.length);
            self.walk(&file)?;
            self.passed += file.length.saturating_sub(file.begin);
        }
        self.judge_last()?;
        let mut missing = self.missing_end(found_end)?;
        if let Some(mark) = self.mark.filter(|mark| mark.place() > self.at.place()) {
            // The mark vouches for chunks even where the commits that named them are damaged, and the
            // next commit follows the one that it names.
            self.take_in_chunks((mark.segment, mark.segment_offset))?;
            if missing.is_none() && found_end >= mark.place() {
                self.at = Watermark { sequence: mark.sequence.max(self.at.sequence), ..mark };
                segment_rows::set_watermark(&mut self.changes, &self.at);
            }
        } else if let Some(mark) = self.mark
            && (mark.segment, mark.segment_offset) > (self.at.segment, self.at.segment_offset)
        {
            // Of chunks whose commits were lost, and that loss accepted, it alone says how far they go: also
            // where commits without chunks came after it, and whether or not the segment is there that it
            // names, which may have been replaced. No commit vouches for any of them.
            let said = std::mem::replace(&mut self.commits_are_missing, true);
            self.take_in_chunks((mark.segment, mark.segment_offset))?;
            self.commits_are_missing = said;
            segment_rows::set_watermark(&mut self.changes, &self.at);
        }
        // Also behind the mark there may be some.
        if self.commits_are_missing && missing.is_none() {
            self.take_in_all_chunks()?;
        }
        if missing.is_none() {
            self.keep_unreadable_end()?;
        }
        if self.commits_are_missing {
            // No commit brings the index this far, and the next start cuts what is behind its watermark.
            segment_rows::set_watermark(&mut self.changes, &self.at);
        }
        self.write_changes()?;
        self.settle_segments(missing.is_some())?;
        missing = missing.or_else(|| self.segment_of_others_ahead());
        if missing.is_none() && !self.parts.accept_loss {
            missing = self.no_segment_is_there()?;
        }
        if missing.is_none() {
            if self.commits_are_missing {
                // All that were to be kept are in front of the watermark now.
                segment_rows::forget_commits_missing(&mut self.changes);
                self.write_changes()?;
            }
            self.cut_tail(&begun)?;
            if self.missing.is_empty() {
                rewrite::clear(&self.units(), self.parts.index, &mut self.damage)?;
            }
            for number in numbers {
                let path = log::fresh_path(number);
                let context = StoreError::io(format!("removing {path}"));
                self.parts.disk.unlink(&path).map_err(context)?;
            }
        }
        Ok(missing)
    }

    /// Lists the segments that are there. What is no part of the store is told by the first record of each,
    /// and is as if it were not there.
    fn list_segments(&mut self) -> Result<(), StoreError> {
        self.segments = self.segment_numbers()?.into_iter().collect();
        // The walk and the writing begin at the watermark's: none from there on goes unlooked at.
        let (mut older, ahead): (Vec<u32>, Vec<u32>) =
            self.segments.iter().partition(|number| **number < self.at.segment);
        let there = segment::numbers(self.parts.disk.as_ref())?;
        older.extend(there.into_iter().filter(|number| number & segment::REWRITTEN != 0));
        for number in ahead {
            self.tell_foreign(number)?;
        }
        let begun = Instant::now();
        for (looked, number) in older.iter().enumerate() {
            if begun.elapsed() > LOOKING_MAX {
                let left = older.len() - looked;
                tracing::warn!(left, "segments are looked at by the next scrub: the disk is slow");
                break;
            }
            self.tell_foreign(*number)?;
        }
        self.segments.retain(|number| !self.foreign.contains(number));
        Ok(())
    }

    /// Names a segment's file that is no part of the store: the segment is missing.
    fn tell_foreign(&mut self, number: u32) -> Result<(), StoreError> {
        let ToRecover { disk, store, index, .. } = &self.parts;
        let is_rewritten = number & segment::REWRITTEN != 0;
        // What was never switched to is looked at by whoever takes it in, or removes it.
        if is_rewritten && !unit_rows::is_rewritten(*index, number)? {
            return Ok(());
        }
        let path = segment::path(number);
        // One that cannot be opened is named where it is read.
        let Ok(file) = disk::find(disk.as_ref(), &path)? else { return Ok(()) };
        let Some(why) = rewrite::foreign(file.as_ref(), number, store)? else { return Ok(()) };
        self.damage.push(Damage::new(path, 0, why));
        if is_rewritten {
            self.missing.push(number..=number);
        } else {
            // Its number is a gap among those that are there.
            self.foreign.insert(number);
        }
        Ok(())
    }

    /// Brings what is known of segments, and the files that are there, together.
    fn settle_segments(&mut self, lacks_end: bool) -> Result<(), StoreError> {
        let ToRecover { index, accept_loss, .. } = self.parts;
        let units = self.units();
        self.find_gaps();
        rewrite::settle(&units, index, lacks_end, &mut self.missing)?;
        if !lacks_end {
            self.pass_replaced_segments()?;
        }
        let absent = rewrite::Absent {
            lost: &self.missing,
            unopened: &self.unopened,
            accepted: accept_loss,
        };
        let end = (self.at.segment, self.at.segment_offset);
        let damage = &mut self.damage;
        self.unread = rewrite::settle_unread(&units, index, end, &absent, damage)?;
        unit_rows::leave_accepted(&self.unread, &mut self.missing);
        let lost = self.missing.iter().cloned();
        self.damage.extend(lost.map(|gap| Damage::missing(gap, segment::path)));
        Ok(())
    }

    /// Looks for every segment that chunks were written to, whether or not its rows are made already.
    fn find_gaps(&mut self) {
        let last = self.at.last_segment();
        let mut expected = 1;
        for number in self.segments.range(..=last).copied().chain([last.saturating_add(1)]) {
            if expected < number {
                self.missing.push(expected..=number - 1);
            }
            expected = number.saturating_add(1);
        }
    }

    /// No new segment gets the number of one that has been replaced, whatever the log lost: it would go
    /// with that one. Nor is a new record older than one that was copied.
    fn pass_replaced_segments(&mut self) -> Result<(), StoreError> {
        let (disk, index) = (self.parts.disk.as_ref(), self.parts.index);
        let retired = unit_rows::retired(index)?;
        let newest = retired.range(..segment::REWRITTEN).next_back().copied().unwrap_or(0);
        if newest <= self.at.segment {
            return Ok(());
        }
        (self.at.segment, self.at.segment_offset) = (newest, 0);
        for number in segment::numbers(disk)? {
            if number & segment::REWRITTEN == 0 {
                continue;
            }
            let Ok(file) = disk::find(disk, &segment::path(number))? else { continue };
            if let Some((_, footer)) = Footer::of_ended(file.as_ref(), number, true)? {
                let last = footer.entries.iter().map(|entry| entry.sequence).max().unwrap_or(0);
                self.at.pass(last);
            }
        }
        segment_rows::set_watermark(&mut self.changes, &self.at);
        self.write_changes()
    }

    /// A segment that is another store's, where new ones of this one would be: it is neither taken in nor
    /// written over.
    fn segment_of_others_ahead(&self) -> Option<String> {
        let path = segment::path(*self.foreign.range(self.at.segment..).next()?);
        Some(format!(
            "{path} is no part of this store, and stands where its next chunks would: move the file out \
             of the folder"
        ))
    }

    /// Where every segment is missing, their folder is not the one that it was.
    fn no_segment_is_there(&self) -> Result<Option<String>, StoreError> {
        if self.missing.is_empty() || !segment::numbers(self.parts.disk.as_ref())?.is_empty() {
            return Ok(None);
        }
        let folder = segment::FOLDER;
        Ok(Some(format!(
            "{folder}/: none of the segments that the store wrote is there; if the folder is on another \
             disk, mount that, or put the files back from a copy, or run `lucid reindex --accept-loss` to \
             go on without them"
        )))
    }

    /// Opens a log file and judges how it begins. Later ones have been looked at.
    fn look_at(&mut self, number: u32) -> Result<Looked, StoreError> {
        let path = log::path(number);
        let file = match disk::find(self.parts.disk.as_ref(), &path)? {
            Ok(file) => file,
            Err(damage) => {
                self.damage.push(damage);
                self.keep_file(number);
                return Ok(Looked::PassOver);
            }
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let begin = if number == self.at.log { self.at.offset } else { 0 };
        let mut previous = None;
        if begin > 0
            && let Beginning::Foreign(why) =
                log::beginning(file.as_ref(), number, &path, &self.parts.store)?
        {
            // The index stopped in it, so it was this store's: it is read on, and not written on.
            self.damage.push(Damage::new(path.as_str(), 0, why));
        }
        if begin == 0 {
            match log::beginning(file.as_ref(), number, &path, &self.parts.store)? {
                Beginning::Sound(digest) => {
                    // A new file is begun only after the commits before it were synced.
                    self.bound = self.bound.max((number, 0));
                    previous = Some(digest);
                }
                Beginning::Foreign(why) => {
                    self.damage.push(Damage::new(path, 0, why));
                    self.keep_file(number);
                    return Ok(Looked::PassOver);
                }
                // The first record is synced before anything follows it: so a file in which nothing is
                // sound and that is no longer than that was only just begun, if nothing vouches for it.
                Beginning::Damaged(_)
                    if self.bound < (number, 1)
                        && length <= self.first_bytes(number)?
                        && !holds_any(file.as_ref(), &path, length)? =>
                {
                    return Ok(Looked::OnlyBegun);
                }
                Beginning::Damaged(why) => {
                    self.damage.push(Damage::new(path.as_str(), 0, why));
                    self.bound = self.bound.max((number, 0));
                }
            }
        }
        self.keep_file(number);
        Ok(Looked::Walk(LogFile { number, path, begin, length, previous }))
    }

    /// The next log file is begun behind this one.
    fn keep_file(&mut self, number: u32) {
        self.newest_log = self.newest_log.max(number);
    }

    /// Bytes of a log file's first record.
    fn first_bytes(&self, number: u32) -> Result<u64, StoreError> {
        let store = self.parts.store;
        let first = FileHeader { store, role: "log", number, previous: [0; 32] }.seal(0)?;
        Ok(first.record_bytes())
    }

    /// Names the files that are missing before this one: unless it follows the very commit at which the
    /// walk stands, so that nothing was in them. `known` was there once in any case.
    fn name_gap(&mut self, expected: u32, known: u32, file: &LogFile) {
        let stands_at = self.last.as_ref().map_or(self.at.digest, |batch| batch.digest);
        let nothing_lost = expected != known && file.previous == Some(stands_at);
        if expected < file.number && !nothing_lost {
            self.damage.push(Damage::missing(expected..=file.number - 1, log::path));
        }
    }

    /// The commit the index stopped at must be where the index says, or the two do not belong together.
    fn check_watermark(&mut self, numbers: &[u32]) -> Result<(), StoreError> {
        if self.at.commit == 0 || !numbers.contains(&self.at.log) {
            return Ok(());
        }
        let path = log::path(self.at.log);
        let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else { return Ok(()) };
        let Some(begin) = self.at.offset.checked_sub(COMMIT_RECORD_BYTES) else { return Ok(()) };
        match frame::read_header(file.as_ref(), &path, begin)? {
            Some(Ok(header)) if header.kind == Kind::Commit && header.name == self.at.digest => {}
            Some(Ok(header)) if header.kind == Kind::Summary => {
                match frame::read_payload(file.as_ref(), &path, begin, &header)? {
                    Ok(payload) => {
                        let stands_for = Summary::decode(&payload).map(|summary| summary.digest);
                        if stands_for != Ok(self.at.digest) {
                            return Err(other_log());
                        }
                    }
                    Err(why) => {
                        self.watermark_in_doubt = true;
                        self.damage.push(Damage::new(path, begin, why));
                    }
                }
            }
            Some(Ok(_)) => return Err(other_log()),
            Some(Err(why)) => {
                // Either the commit is damaged, or the index is another log's: the next commit tells.
                self.watermark_in_doubt = true;
                self.damage.push(Damage::new(path, begin, why));
            }
            // It has been condensed since, unless it is the newest, whose end may be missing.
            None if numbers.iter().any(|number| *number > self.at.log) => return Err(other_log()),
            None => {}
        }
        Ok(())
    }

    /// What the medium does not give back is no tear: a crash leaves old bytes, new ones, or none. So it
    /// was written, and stays.
    fn vouch_unreadable(&mut self, number: u32, to: u64) {
        if to > 0 {
            self.bound = self.bound.max((number, to));
        }
    }

    /// Walks one file.
    fn walk(&mut self, walked: &LogFile) -> Result<(), StoreError> {
        let LogFile { number, path, begin, length, .. } = walked;
        let (number, begin, length) = (*number, *begin, *length);
        // Opened once more: there may be more files than may be open.
        let file = match disk::find(self.parts.disk.as_ref(), path)? {
            Ok(file) => file,
            Err(damage) => {
                self.damage.push(damage);
                return Ok(());
            }
        };
        let file = file.as_ref();
        let mut group = Group::default();
        let mut first = begin == 0;
        let mut start = begin;
        let mut scanner = Scanner::new(file, path, begin, length);
        let mut unsure: Vec<Damage> = Vec::new();
        let first_bytes = self.first_bytes(number)?;
        while let Some(step) = scanner.step()? {
            let (offset, header) = match step {
                Step::Damaged(damage) => {
                    // The file's first record is judged by itself, and has no part in any batch; what is
                    // damaged behind it has.
                    if damage.offset > 0 || begin > 0 || scanner.offset() > first_bytes {
                        unsure.push(damage);
                        group.damaged = true;
                    }
                    self.vouch_unreadable(number, scanner.unreadable_to());
                    continue;
                }
                Step::Record(offset, header) => (offset, header),
            };
            let end = offset + header.record_bytes();
            let read = match header.kind {
                Kind::Fact | Kind::Commit | Kind::Summary => {
                    frame::read_payload(file, path, offset, &header)?
                }
                _ => Ok(Vec::new()),
            };
            let payload = match read {
                Ok(payload) => payload,
                Err(why) => {
                    if why == frame::UNREADABLE {
                        self.vouch_unreadable(number, end);
                    }
                    unsure.push(Damage::new(path, offset, why));
                    group.damaged = true;
                    continue;
                }
            };
            if !(self.parts.progress)(self.passed + offset.saturating_sub(begin), self.total) {
                return Err(StoreError::Stopped);
            }
            match header.kind {
                Kind::File if offset == 0 => start = end,
                Kind::Fact => group.facts.push((offset, header, payload)),
                Kind::Commit => {
                    let sound = header.name == header.payload_digest;
                    let Some(commit) = Commit::decode(&payload).ok().filter(|_| sound) else {
                        unsure.push(Damage::new(
                            path,
                            offset,
                            "the record is no commit that can be",
                        ));
                        group.damaged = true;
                        continue;
                    };
                    // A sound commit: what was in doubt before the previous one is damage for sure.
                    self.accept_last()?;
                    let previous = commit.previous;
                    self.last = Some(Batch {
                        group: std::mem::take(&mut group),
                        digest: header.name,
                        sequence: header.sequence,
                        commit,
                        log: number,
                        start,
                        end,
                        first: match walked.previous {
                            Some(behind) if first && behind == previous => First::Follows,
                            None if first => First::Unknown,
                            _ => First::No,
                        },
                    });
                    first = false;
                    start = end;
                    self.damage_in_last(&mut unsure, path);
                }
                Kind::Summary => {
                    let sound = header.name == header.payload_digest;
                    let Some(summary) = Summary::decode(&payload).ok().filter(|_| sound) else {
                        let why = "the record is no summary that can be";
                        unsure.push(Damage::new(path, offset, why));
                        group.damaged = true;
                        continue;
                    };
                    // It was written when all that it stands for had long been durable.
                    self.accept_last()?;
                    self.damage.extend(unsure.drain(..));
                    self.accept_summary(
                        std::mem::take(&mut group),
                        &summary,
                        (number, start, end),
                    )?;
                    first = false;
                    start = end;
                }
                _ => {
                    unsure.push(Damage::new(path, offset, "the record does not belong in a log"));
                    group.damaged = true;
                }
            }
        }
        // What is left has no commit: torn if nothing vouches for it, damage if something does.
        for damage in unsure {
            if (number, damage.offset) < self.bound {
                self.damage.push(damage);
            }
        }
        if (number, start) < self.bound && (group.damaged || !group.facts.is_empty()) {
            // The commit record itself is damaged, and its facts were acknowledged: those that are kept.
            self.miss_commits();
            self.accept_last()?;
            group.facts.retain(|(offset, ..)| (number, *offset) < self.bound);
            self.replay(&group, path)?;
        } else if !group.facts.is_empty() {
            self.torn.1 = Some((group, path.clone()));
        }
        Ok(())
    }

    /// Damage inside a batch that has its commit is kept aside until the batch is judged.
    fn damage_in_last(&mut self, unsure: &mut Vec<Damage>, path: &str) {
        let Some(last) = &mut self.last else { return };
        if unsure.is_empty() {
            return;
        }
        last.group.damaged = true;
        tracing::warn!(path, count = unsure.len(), "damage before a commit");
        self.damage.extend(unsure.drain(..));
    }

    /// The batch before a sound later commit: it had been synced, so what is wrong in it is damage.
    fn accept_last(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.last.take() else { return Ok(()) };
        self.accept(batch)
    }

    /// The first commit behind the watermark must follow the one that the index names.
    fn settle_doubt(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let doubt = std::mem::replace(&mut self.watermark_in_doubt, false);
        if doubt && !self.follows(&batch.commit) { Err(other_log()) } else { Ok(()) }
    }

    fn follows(&self, commit: &Commit) -> bool {
        commit.number == self.at.commit + 1 && commit.previous == self.at.digest
    }

    fn accept(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.settle_doubt(&batch)?;
        let path = log::path(batch.log);
        let at = batch.end - COMMIT_RECORD_BYTES;
        if !self.follows(&batch.commit) {
            let (number, before) = (batch.commit.number, self.at.commit);
            let why = match number > before {
                true => {
                    // It would have said how far its chunks go.
                    self.miss_commits();
                    format!(
                        "commit {number} does not follow commit {before}: what was between them is \
                         missing"
                    )
                }
                false => format!("commit {number} stands behind commit {before}"),
            };
            self.damage.push(Damage::new(path.as_str(), batch.start, why));
        } else if !batch.group.damaged && !facts_match(&batch) {
            self.damage.push(Damage::new(
                path.as_str(),
                at,
                "the commit's facts are not the ones before it",
            ));
        }
        self.replay(&batch.group, &path)?;
        if batch.commit.segment > 0 {
            // Its own begin where it says, whatever may be wrong with what is before them.
            let (from, to) = (batch.commit.segment_from, batch.commit.segment_to);
            self.take_in_chunks((batch.commit.segment, from.min(to)))?;
            self.take_in_chunks((batch.commit.segment, to))?;
        }
        self.at.log = batch.log;
        self.at.offset = batch.end;
        self.at.commit = batch.commit.number;
        self.at.digest = batch.digest;
        self.at.pass(batch.sequence);
        segment_rows::set_watermark(&mut self.changes, &self.at);
        if self.changes.len() >= CHANGES_MAX {
            self.write_changes()?;
        }
        Ok(())
    }

    fn accept_summary(
        &mut self,
        group: Group,
        summary: &Summary,
        (log, start, end): (u32, u64, u64),
    ) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.watermark_in_doubt, false) {
            return Err(other_log());
        }
        let path = log::path(log);
        if summary.previous != self.at.digest {
            let why = format!("what was before commit {} here is missing", summary.number);
            self.damage.push(Damage::new(path.as_str(), start, why));
        }
        let mut digest = HeadersDigest::new();
        group.facts.iter().for_each(|(_, header, _)| digest.add(header));
        let same =
            group.facts.len() == summary.facts as usize && digest.finish() == summary.facts_digest;
        if !group.damaged && !same {
            let why = "the summary's facts are not the ones before it";
            self.damage.push(Damage::new(path.as_str(), end - COMMIT_RECORD_BYTES, why));
        }
        // The chunks first: some of the facts may be about them.
        self.take_in_chunks((summary.segment, summary.segment_to))?;
        self.replay(&group, &path)?;
        self.at.log = log;
        self.at.offset = end;
        self.at.commit = summary.number;
        self.at.digest = summary.digest;
        self.at.sequence = self.at.sequence.max(summary.sequence);
        segment_rows::set_watermark(&mut self.changes, &self.at);
        if self.changes.len() >= CHANGES_MAX {
            self.write_changes()?;
        }
        Ok(())
    }

    fn replay(&mut self, group: &Group, path: &str) -> Result<(), StoreError> {
        for (offset, header, payload) in &group.facts {
            self.at.pass(header.sequence);
            match self.parts.sealer.open(&mut self.packer, header, payload.clone()) {
                Ok(plain) => self.parts.project.project(&plain, &mut self.changes)?,
                // Without the key nothing is passed over, unless that is accepted: the facts would be behind
                // the watermark. They stay in the log, and are read when it is gone through anew.
                Err(why @ Unopened::NoKey(_)) if self.parts.accept_loss => {
                    self.damage.push(Damage::new(path, *offset, why.to_string()));
                }
                Err(why @ Unopened::NoKey(_)) => {
                    return Err(StoreError::Key(format!(
                        "{why}, or run `lucid reindex --accept-loss` to go on without the facts that it opens"
                    )));
                }
                Err(Unopened::Damaged(why)) => self.damage.push(Damage::new(path, *offset, why)),
            }
        }
        Ok(())
    }

    /// Takes in the chunk records up to a place, from where the last commit ended.
    fn take_in_chunks(&mut self, to: (u32, u64)) -> Result<(), StoreError> {
        while to.0 > 0 && (self.at.segment, self.at.segment_offset) < to {
            let number = self.at.segment.max(1);
            if number != self.at.segment {
                (self.at.segment, self.at.segment_offset) = (number, 0);
            }
            let there = self.segments.range(number..=to.0).next().copied().unwrap_or(to.0);
            if number < there || !self.segments.contains(&number) {
                // However far ahead a number is: what is not there is one gap.
                let gap = number..=there.saturating_sub(1).max(number);
                if self.missing.last() != Some(&gap) {
                    self.missing.push(gap);
                }
                if number < there {
                    (self.at.segment, self.at.segment_offset) = (there, 0);
                    continue;
                }
            }
            let end = if number == to.0 { Some(to.1) } else { None };
            self.take_in_segment(number, end)?;
            if end.is_some() {
                self.at.segment_offset = to.1;
            } else {
                (self.at.segment, self.at.segment_offset) = (number + 1, 0);
            }
        }
        Ok(())
    }

    fn take_in_segment(&mut self, number: u32, end: Option<u64>) -> Result<(), StoreError> {
        let path = segment::path(number);
        if !self.segments.contains(&number) {
            return Ok(());
        }
        let context = || StoreError::io(format!("reading {path}"));
        let file = match disk::find(self.parts.disk.as_ref(), &path)? {
            Ok(file) => file,
            Err(damage) => {
                self.damage.push(damage);
                self.unopened.entry(number).or_insert(0);
                return Ok(());
            }
        };
        // Asked for only when the whole file is: it may be large, and is read for every commit otherwise.
        let footer = if end.is_none() { Footer::find(file.as_ref(), number)? } else { None };
        if self.at.segment_offset == 0
            && let Some(Ok((_, footer))) = &footer
        {
            for entry in &footer.entries {
                chunk_rows::place(&mut self.changes, &entry.name, &entry.placement);
                self.at.pass(entry.sequence);
            }
            return Ok(());
        }
        let length = file.length().map_err(context())?;
        if let Some(end) = end.filter(|end| *end > length) {
            let reaches = self.unopened.entry(number).or_insert(0);
            *reaches = end.max(*reaches);
        }
        let end = end.unwrap_or(length);
        let mut scanner = Scanner::new(file.as_ref(), &path, self.at.segment_offset, end);
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(offset, header) => {
                    self.at.pass(header.sequence);
                    match header.kind {
                        Kind::Chunk
                            if !self.is_less_than_whole(
                                file.as_ref(),
                                &path,
                                offset,
                                &header,
                            )? =>
                        {
                            let place = placement_of(number, offset, &header);
                            chunk_rows::place(
                                &mut self.changes,
                                &ChunkName::new(header.name),
                                &place,
                            );
                        }
                        // The segment's records end here; what follows is a trailer, not a record.
                        Kind::Footer => {
                            self.damage.extend(footer.and_then(Result::err));
                            break;
                        }
                        _ => {}
                    }
                }
                Step::Damaged(damage) => self.damage.push(damage),
            }
            if self.changes.len() >= CHANGES_MAX {
                self.write_changes()?;
            }
        }
        Ok(())
    }

    /// Whether a record that no commit vouches for is less than whole: that is damage, and must not be
    /// taken for a copy of the chunk.
    fn is_less_than_whole(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        offset: u64,
        header: &Header,
    ) -> Result<bool, StoreError> {
        if !self.commits_are_missing {
            return Ok(false);
        }
        let read = frame::read_payload(file, path, offset, header)?;
        if let Err(why) = read {
            self.damage.push(Damage::new(path, offset, why));
        }
        Ok(read.is_err())
    }

    /// The log lacks a commit that would have said how far its chunks go. The walk leaves that place behind, and
    /// the index with it: so it is told, lest a start after this one, if this one is killed, cuts them off.
    fn miss_commits(&mut self) {
        self.commits_are_missing = true;
        segment_rows::note_commits_missing(&mut self.changes);
    }

    /// Takes in every chunk there is, when the commits that would say how many are missing.
    fn take_in_all_chunks(&mut self) -> Result<(), StoreError> {
        self.commits_are_missing = true;
        let Some(last) = self.segments.last().copied() else { return Ok(()) };
        let path = segment::path(last);
        let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else {
            return self.begin_behind(last);
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, length);
        let mut end = 0;
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(_, header) if header.kind == Kind::Footer => break,
                Step::Record(offset, header) => end = offset + header.record_bytes(),
                Step::Damaged(_) => {}
            }
            // What the medium does not give back is there all the same, and none of it is cut off.
            end = end.max(scanner.unreadable_to());
        }
        self.take_in_chunks((last, end))
    }

    /// What the medium does not give back behind the last chunk is no tear, so it is not cut off: the next segment
    /// is begun behind it.
    fn keep_unreadable_end(&mut self) -> Result<(), StoreError> {
        let (number, end) = (self.at.segment, self.at.segment_offset);
        if !self.segments.contains(&number) || unit_rows::is_retired(self.parts.index, number)? {
            return Ok(());
        }
        let path = segment::path(number);
        let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else { return Ok(()) };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        // A sound footer there is not cut off.
        if length <= end
            || matches!(Footer::find(file.as_ref(), number)?, Some(Ok((at, _))) if at == end)
            || !is_unreadable(file.as_ref(), &path, end, length)?
        {
            return Ok(());
        }
        // Of what is taken in now, no commit says that it is whole.
        self.commits_are_missing = true;
        match self.segments.last() {
            // An earlier start has begun it.
            Some(last) if *last > number => self.take_in_all_chunks(),
            _ => self.begin_behind(number),
        }
    }

    /// Takes in every chunk before the newest segment, which cannot be read to its end, and begins another one behind
    /// it: where it ends is not known, and so nothing is cut off should it be read again.
    fn begin_behind(&mut self, newest: u32) -> Result<(), StoreError> {
        let number = newest.saturating_add(1);
        if number > log::FILE_MAX {
            let path = segment::path(newest);
            return Err(StoreError::Folder(format!(
                "{path} cannot be read, and no number is free behind it: move it away"
            )));
        }
        self.take_in_chunks((number, 0))?;
        if self.foreign.contains(&number) {
            // Nothing is written until that one is moved away.
            return Ok(());
        }
        let ToRecover { disk, store, .. } = self.parts;
        let header = FileHeader { store, role: "chunks", number, previous: [0; 32] };
        let first = header.seal(self.at.sequence)?;
        let path = segment::path(number);
        disk.create(&path)
            .and_then(|file| {
                file.append(&[&first.header.encode(), &first.payload])?;
                file.sync()
            })
            .and_then(|()| disk.sync_folder(segment::FOLDER))
            .map_err(StoreError::io(format!("writing {path}")))?;
        self.segments.insert(number);
        self.at.sequence += 1;
        self.at.segment_offset = first.record_bytes();
        Ok(())
    }

    /// Judges the last commit: torn if it is not wholly there and nothing vouches for it.
    fn judge_last(&mut self) -> Result<(), StoreError> {
        let Some(batch) = self.last.take() else { return Ok(()) };
        self.settle_doubt(&batch)?;
        // What vouches for a part of it, or for the place behind it, vouches for all of it.
        let vouched = (batch.log, batch.start) < self.bound;
        if vouched || self.is_whole(&batch)? {
            if !vouched {
                // It may be in the page cache alone, and the index must not be ahead of it.
                self.sync(&log::path(batch.log))?;
                if batch.commit.segment > 0 {
                    self.sync(&segment::path(batch.commit.segment))?;
                }
            }
            self.bound = self.bound.max((batch.log, batch.end));
            return self.accept(batch);
        }
        // Damage named while walking this batch was only its tear.
        let (path, start) = (log::path(batch.log), batch.start);
        self.damage.retain(|damage| damage.file != path || damage.offset < start);
        tracing::info!(commit = batch.commit.number, "the last commit was torn and is cut off");
        self.torn.0 = Some(batch);
        Ok(())
    }

    fn sync(&self, path: &str) -> Result<(), StoreError> {
        let Ok(file) = disk::find(self.parts.disk.as_ref(), path)? else { return Ok(()) };
        file.sync().map_err(StoreError::io(format!("syncing {path}")))
    }

    fn is_whole(&self, batch: &Batch) -> Result<bool, StoreError> {
        let commit = &batch.commit;
        let follows = self.follows(commit);
        // This batch was begun after the one before it was synced. So if all of its own is there, what
        // is damaged in front of it, or at the end of the file before, and broke the chain, is no part
        // of a tear. A file's own first record says behind what it was begun, even if that was not the
        // last commit: the one that was could not be read then, and can be now.
        let behind_damage = (batch.group.damaged || batch.first == First::Unknown)
            && commit.number > self.at.commit;
        if !facts_match(batch) || !(follows || behind_damage || batch.first == First::Follows) {
            return Ok(false);
        }
        if commit.segment == 0 {
            return Ok(true);
        }
        let ToRecover { disk, store, .. } = &self.parts;
        let range = (commit.segment_from, commit.segment_to);
        segment::is_not_torn(disk.as_ref(), store, commit.segment, range, &commit.segment_digest)
    }

    /// Whether the log ends before something that vouches for more.
    fn missing_end(&mut self, found: (u32, u64)) -> Result<Option<String>, StoreError> {
        let (path, have, why) = if found < self.bound {
            let (number, offset) = self.bound;
            let have = if found.0 == number { found.1 } else { 0 };
            let why =
                format!("the log ended at byte {offset} here once, and what was there is missing");
            (log::path(number), have, why)
        } else if let Some(why) = self.segment_without_commits(found)? {
            (log::path(found.0.max(1)), found.1, why)
        } else if let Some(segment) = self.switched_behind_the_end()? {
            let why = commits_missing(&segment);
            (log::path(found.0.max(1)), found.1, why)
        } else {
            return Ok(None);
        };
        self.damage.push(Damage::new(path.as_str(), have, &why));
        if self.parts.accept_loss {
            // What is there is kept, whether or not it was torn, and counts from now on.
            self.bound = found.max(self.at.place());
            if let Some(batch) = self.torn.0.take() {
                self.accept(batch)?;
            }
            if let Some((group, path)) = self.torn.1.take() {
                self.replay(&group, &path)?;
            }
            // A new copy of a chunk is newer than what was copied.
            if let Some((last, _)) = self.newest_unsaid()? {
                self.at.pass(last);
            }
            // Chunks may have outlived the facts that named them: keep every one.
            self.take_in_all_chunks()?;
            return Ok(None);
        }
        Ok(Some(lost(&path, &why)))
    }

    /// A segment that was switched to, as its sources show, and has records that are newer than the log's end.
    fn switched_behind_the_end(&mut self) -> Result<Option<String>, StoreError> {
        if let Some(mark) = self.mark.filter(|mark| mark.place() == self.at.place()) {
            self.at.sequence = self.at.sequence.max(mark.sequence);
        }
        if self.commits_are_missing {
            return Ok(None);
        }
        // Of those that the log names, the index knows.
        self.write_changes()?;
        let newest = self.newest_unsaid()?.filter(|(last, _)| *last >= self.at.sequence);
        Ok(newest.map(|(_, number)| segment::path(number)))
    }

    fn newest_unsaid(&self) -> Result<Option<(u64, u32)>, StoreError> {
        rewrite::newest_unsaid(&self.units(), self.parts.index)
    }

    fn units(&self) -> FileUnits {
        FileUnits::new(self.parts.disk.clone(), self.parts.store)
    }

    /// What proves that commits are missing: a segment's footer is written when they are durable, and it is
    /// not begun before the first log file is; so what is behind the last commit without such a proof is
    /// torn, and with it must not be removed. What cannot be read is no tear, and there may be a proof in it.
    fn segment_without_commits(&self, found: (u32, u64)) -> Result<Option<String>, StoreError> {
        if self.commits_are_missing {
            return Ok(None);
        }
        // One that was written from others was so because of commits.
        if found == (0, 0)
            && let Some(number) = segment::numbers(self.parts.disk.as_ref())?.last().copied()
            && number & segment::REWRITTEN != 0
        {
            return Ok(Some(commits_missing(&segment::path(number))));
        }
        let marked = self.mark.map_or((0, 0), |mark| (mark.segment, mark.segment_offset));
        let place = marked.max((self.at.segment, self.at.segment_offset));
        for number in self.segments.range(place.0..).rev() {
            let path = segment::path(*number);
            let context = || StoreError::io(format!("reading {path}"));
            let is_behind = *number > place.0;
            let Ok(file) = disk::find(self.parts.disk.as_ref(), &path)? else {
                if is_behind {
                    return Ok(Some(commits_maybe_missing(&path)));
                }
                continue;
            };
            let length = file.length().map_err(context())?;
            let sealed_behind = match Footer::find(file.as_ref(), *number)? {
                Some(Ok((footer_at, footer))) => {
                    (*number, footer_at) > place && !footer.entries.is_empty()
                }
                _ => false,
            };
            if sealed_behind || (found == (0, 0) && length > 0) {
                return Ok(Some(commits_missing(&path)));
            }
            if is_behind && is_unreadable(file.as_ref(), &path, 0, length)? {
                return Ok(Some(commits_maybe_missing(&path)));
            }
        }
        Ok(None)
    }

    fn segment_numbers(&self) -> Result<Vec<u32>, StoreError> {
        let names = self
            .parts
            .disk
            .list(segment::FOLDER)
            .map_err(StoreError::io(format!("listing {}", segment::FOLDER)))?;
        Ok(names.iter().filter_map(|name| log::number_of(name, "seg")).collect())
    }

    fn write_changes(&mut self) -> Result<(), StoreError> {
        let fresh = Changes::new(self.parts.index);
        std::mem::replace(&mut self.changes, fresh).write()
    }

    /// Cuts what is torn, and makes durable what is kept: everything up to the last commit, or to the
    /// last place that something vouches for, however damaged.
    fn cut_tail(&mut self, begun: &[u32]) -> Result<(), StoreError> {
        let disk = self.parts.disk;
        for number in begun {
            let path = log::path(*number);
            disk.unlink(&path).map_err(StoreError::io(format!("removing {path}")))?;
        }
        let (last, mut keep) = self.at.place().max(self.bound);
        let path = log::path(last);
        if let Ok(file) = disk::find(disk.as_ref(), &path)? {
            let length = file.length().map_err(StoreError::io(format!("cutting {path}")))?;
            if keep == 0 {
                // It holds no commit yet: its first record stands, or what is left of that.
                let mut scanner = Scanner::new(file.as_ref(), &path, 0, length);
                while keep == 0
                    && let Some(step) = scanner.step()?
                {
                    if let Step::Record(0, header) = &step {
                        self.at.pass(header.sequence);
                    }
                    keep = scanner.offset();
                }
            }
            self.cut(file.as_ref(), &path, length, keep)?;
            (self.at.log, self.at.offset) = (last, keep.min(length));
        }
        self.cut_segments()?;
        // A log begun just before a kill is written on, and its name may not be durable; a segment's is,
        // before a commit refers to it. The root holds the folders' own names.
        for folder in [log::FOLDER, ""] {
            disk.sync_folder(folder).map_err(StoreError::io(format!("syncing {folder}/")))?;
        }
        Ok(())
    }

    /// Cuts a file and makes it durable. Where the medium does not let it be cut, it stays as it is: it is
    /// not written on, and what is behind is read as damage.
    fn cut(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        length: u64,
        keep: u64,
    ) -> Result<(), StoreError> {
        if length > keep {
            match file.truncate(keep).map_err(StoreError::reading(path, keep)) {
                Err(StoreError::Damaged(damage)) => self.damage.push(damage),
                cut => cut?,
            }
        }
        file.sync().map_err(StoreError::io(format!("cutting {path}")))
    }

    fn cut_segments(&mut self) -> Result<(), StoreError> {
        let disk = self.parts.disk;
        for number in self.segment_numbers()? {
            let path = segment::path(number);
            let context = || StoreError::io(format!("cutting {path}"));
            // One that has been replaced is not cut: while others are missing, it may be what is left.
            if number < self.at.segment
                || self.foreign.contains(&number)
                || unit_rows::is_retired(self.parts.index, number)?
            {
                continue;
            }
            if number > self.at.segment {
                // Begun, and no commit refers to it.
                disk.unlink(&path).map_err(context())?;
                continue;
            }
            let Ok(file) = disk::find(disk.as_ref(), &path)? else { continue };
            let end = self.at.segment_offset;
            let length = file.length().map_err(context())?;
            let sealed = matches!(
                Footer::find(file.as_ref(), number)?,
                Some(Ok((footer_at, _))) if footer_at == end
            );
            if sealed {
                // The footer has a sequence of its own, which no commit has passed on.
                if let Some(Ok(footer)) = frame::read_header(file.as_ref(), &path, end)? {
                    self.at.pass(footer.sequence);
                }
            } else if length < end {
                let why =
                    format!("the segment reached byte {end} once, and what was there is missing");
                self.damage.push(Damage::new(path.as_str(), length, why));
            }
            let keep = if sealed { length } else { end };
            self.cut(file.as_ref(), &path, length, keep)?;
        }
        Ok(())
    }
}

/// Whether anything is in a file that was not torn: a sound record, or something that cannot be read.
fn holds_any(file: &dyn DiskFile, path: &str, length: u64) -> Result<bool, StoreError> {
    let mut scanner = Scanner::new(file, path, 0, length);
    while let Some(step) = scanner.step()? {
        if matches!(step, Step::Record(..)) || scanner.unreadable_to() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the medium does not give back something of the records from one place to another.
fn is_unreadable(file: &dyn DiskFile, path: &str, from: u64, to: u64) -> Result<bool, StoreError> {
    let mut scanner = Scanner::new(file, path, from, to);
    while let Some(step) = scanner.step()? {
        if let Step::Record(offset, header) = step
            && frame::read_payload(file, path, offset, &header)? == Err(frame::UNREADABLE)
        {
            return Ok(true);
        }
    }
    Ok(scanner.unreadable_to() > 0)
}

fn commits_maybe_missing(segment: &str) -> String {
    format!("{segment} cannot be read, and may hold chunks whose commits are missing from the log")
}

fn commits_missing(segment: &str) -> String {
    format!("{segment} holds chunks whose commits are missing from the log")
}

/// Why nothing is written, and what to do.
fn lost(path: &str, why: &str) -> String {
    format!(
        "{path}: {why}; put the file back from a copy, or run `lucid reindex --accept-loss` to go on \
         without it"
    )
}

fn other_log() -> StoreError {
    StoreError::Index("it belongs to another log; run `lucid reindex` to rebuild it".into())
}

/// Whether a batch's facts are those its commit was made for. Facts of an earlier batch, whose own
/// commit is damaged, may stand in front of them.
fn facts_match(batch: &Batch) -> bool {
    let first = batch.commit.first_sequence;
    let (own, earlier): (Vec<_>, Vec<_>) =
        batch.group.facts.iter().partition(|(_, header, _)| header.sequence >= first);
    let mut digest = HeadersDigest::new();
    for (_, header, _) in &own {
        digest.add(header);
    }
    own.len() == batch.commit.facts as usize
        && digest.finish() == batch.commit.facts_digest
        && (earlier.is_empty() || batch.group.damaged)
}
