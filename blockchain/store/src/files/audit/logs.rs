//! Audits `log/`: every record, and the chain of commits through all files.

use lucid_core::words::many_do;

use std::sync::Arc;

use super::pool::Work;
use super::{Auditor, OtherHalf, Range};
use crate::files::disk::DiskFile;
use crate::files::log::{self, Beginning, Commit, FileHeader, Places, Summary};
use crate::files::segment;
use crate::files::watermark::Watermark;
use crate::frame::{Header, HeadersDigest, RecordKind, Scanner, Step};
use crate::{Damage, StoreError};

/// Where the chain of commits stands.
#[derive(Clone, Copy)]
struct Chain {
    number: u64,
    digest: [u8; 32],
    /// Whether what comes next can be compared: not behind damage, which has been named already.
    known: bool,
}

/// What has been read since the last commit.
struct Batch {
    start: u64,
    facts: u32,
    digest: HeadersDigest,
    damaged: bool,
    /// Which ranges of units elsewhere its commits answer for.
    ranges: Vec<(u32, Range)>,
}

impl Batch {
    fn from(start: u64) -> Self {
        let (digest, ranges) = (HeadersDigest::new(), Vec::new());
        Self { start, facts: 0, digest, damaged: false, ranges }
    }
}

/// The last commit: whether it counts depends on what follows.
struct Last {
    file: u32,
    start: u64,
    range: Option<(u32, u64)>,
}

/// The state of the walk over all log files.
struct LogWalk {
    chain: Chain,
    last: Option<Last>,
    /// Where the first record of the newest file that begins soundly ends: everything before was synced.
    begun: (u32, u64),
    marks: Vec<Watermark>,
}

impl LogWalk {
    /// Takes note that the chain stands at a place that a mark may name: behind a commit, or behind
    /// the beginning of a file that has none yet.
    fn pass(&mut self, number: u32, offset: u64) {
        let chain = self.chain;
        self.marks.retain(|mark| {
            let is_it = mark.place() == (number, offset);
            !(is_it && mark.commit == chain.number && mark.digest == chain.digest)
        });
    }
}

impl Auditor<'_> {
    pub(super) fn logs(&mut self, numbers: &[u32], work: &mut Work<'_>) -> Result<(), StoreError> {
        let mut walk = LogWalk {
            chain: Chain { number: 0, digest: [0; 32], known: true },
            last: None,
            begun: (0, 0),
            marks: self.marks.clone(),
        };
        let newest = numbers.last().copied().unwrap_or(0).max(self.bound.0);
        let mut end = (0, 0);
        let mut before = 0;
        let there = numbers.iter().copied().filter(|number| *number < newest);
        for number in there.chain(Some(newest).filter(|newest| *newest > 0)) {
            let path = log::path(number);
            let opened = self.open(&path)?;
            let mut nothing_lost = false;
            if let Some((file, _)) = &opened {
                match log::beginning(file.as_ref(), number, &path, &self.store)? {
                    // Recovery passes it over, and so does every reader of the log.
                    Beginning::Foreign(why) => {
                        self.damage(&path, 0, why);
                        continue;
                    }
                    Beginning::Sound(previous) => {
                        nothing_lost = walk.chain.known && previous == walk.chain.digest;
                    }
                    Beginning::Damaged(_) => {}
                }
            }
            let gap = !nothing_lost && self.name_gap(before, number, log::path);
            before = number;
            if gap || opened.is_none() {
                walk.chain.known = false;
                self.log_was_damaged = true;
            }
            let Some((file, length)) = opened else { continue };
            self.found.bytes += length;
            end = (number, length);
            self.log_file(&file, number, length, &mut walk, work)?;
        }
        self.bound = self.bound.max(walk.begun);
        if end < self.bound && self.bound.1 > 0 {
            let (number, to) = self.bound;
            let have = if end.0 == number { end.1 } else { 0 };
            let why = format!("the log reached byte {to} once, and what was there is missing");
            self.damage(&log::path(number), have, &why);
            self.log_was_damaged = true;
        }
        for mark in walk.marks {
            if mark.place() <= self.log_end && !self.log_was_damaged {
                let why = format!("commit {} is not where a mark says it ended", mark.commit);
                self.damage(&log::path(mark.log), mark.offset, &why);
            } else if mark.place() > self.log_end && mark.log < end.0 {
                // A file behind it, no matter what it holds, does not stand in for what is missing.
                let (to, path) = (mark.offset, log::path(mark.log));
                let why = format!("the log reached byte {to} once, and what was there is missing");
                let have = if self.log_end.0 == mark.log { self.log_end.1 } else { 0 };
                self.damage(&path, have, &why);
                self.log_was_damaged = true;
            }
        }
        self.set_zones(walk.last, end)
    }

    /// Decides from where on damage is only torn.
    fn set_zones(&mut self, last: Option<Last>, end: (u32, u64)) -> Result<(), StoreError> {
        self.log_zone = self.log_end.max(self.bound);
        let last_range = last.as_ref().and_then(|last| last.range);
        let before_last = self.covered_before(last_range);
        self.chunk_zone = self.covered_before(None);
        self.chunk_end = self.chunk_zone;
        if end > self.log_zone {
            let (number, offset) = self.log_zone;
            let from = if number == end.0 { offset } else { 0 };
            self.found.torn.push(Damage::new(
                log::path(end.0),
                from,
                format!("{} the last commit", many_do(end.1 - from, "byte", "follows", "follow")),
            ));
        }
        // Nothing vouches for the last commit but itself: if it is not whole, it is torn.
        if let Some(last) = last.filter(|_| self.log_end > self.bound) {
            // What a mark names was whole once, also where the last commit stands a second time behind it.
            self.log_zone = self.bound.max((last.file, last.start));
            if self.may_be_torn(last.range)? {
                // Wherever it says that its chunks are, those of other commits are no part of the tear.
                self.chunk_zone = last.range.unwrap_or(self.chunk_zone).max(before_last);
            }
        }
        Ok(())
    }

    /// The end of the last chunk that a mark, a summary or a commit answers for: any commit but the last one, if
    /// the beginning of that one's chunks is given.
    fn covered_before(&self, last_range: Option<(u32, u64)>) -> (u32, u64) {
        let commits = self.ranges.iter().flat_map(|(segment, ranges)| {
            // It was walked last, so it is the last one of its segment.
            let left_out = usize::from(last_range.is_some_and(|(of, _)| of == *segment));
            let ends = ranges.iter().rev().skip(left_out).map(|range| range.to);
            ends.map(|to| (*segment, to))
        });
        let marks = self.marks.iter().map(|mark| (mark.segment, mark.segment_offset));
        commits.chain(marks).max().unwrap_or((0, 0)).max(self.summed)
    }

    /// Whether recovery would take what is wrong with the last commit's chunks for a tear.
    fn may_be_torn(&self, begin: Option<(u32, u64)>) -> Result<bool, StoreError> {
        let Some((number, _)) = begin else { return Ok(false) };
        let Some(range) = self.ranges.get(&number).and_then(|ranges| ranges.last()) else {
            return Ok(false);
        };
        let place = (range.from, range.to);
        segment::is_not_torn(self.disk, &self.store, number, place, &range.digest).map(|no| !no)
    }

    fn log_file(
        &mut self,
        file: &Arc<dyn DiskFile>,
        number: u32,
        length: u64,
        walk: &mut LogWalk,
        work: &mut Work<'_>,
    ) -> Result<(), StoreError> {
        let path: Arc<str> = log::path(number).into();
        let mut batch = Batch::from(0);
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, length);
        while let Some(step) = scanner.step()? {
            let (offset, header) = match step {
                Step::Damaged(damage) => {
                    self.found.damage.push(damage);
                    self.vouch_unreadable(number, scanner.unreadable_to());
                    batch.damaged = true;
                    continue;
                }
                Step::Record(offset, header) => (offset, header),
            };
            self.found.records += 1;
            let end = offset + header.record_bytes();
            match header.kind {
                RecordKind::File if offset == 0 => {
                    work.passed(end);
                    self.log_begins(file.as_ref(), &path, number, &header, walk)?;
                    batch.start = end;
                }
                RecordKind::Fact => {
                    self.found.facts += 1;
                    batch.facts = batch.facts.saturating_add(1);
                    batch.digest.add(&header);
                    work.add(file, &path, offset, header);
                }
                RecordKind::Places if matches!(self.other, Some(OtherHalf::Chunks(_))) => {
                    work.passed(header.record_bytes());
                    batch.facts = batch.facts.saturating_add(1);
                    batch.digest.add(&header);
                    let last = walk.chain.number;
                    let range = self.places(file.as_ref(), (&path, offset), &header, last)?;
                    batch.ranges.extend(range);
                }
                RecordKind::Commit => {
                    work.passed(header.record_bytes());
                    self.found.commits += 1;
                    let ended = std::mem::replace(&mut batch, Batch::from(end));
                    self.commit(file.as_ref(), (&path, number, offset), &header, ended, walk)?;
                }
                RecordKind::Summary => {
                    work.passed(header.record_bytes());
                    let ended = std::mem::replace(&mut batch, Batch::from(end));
                    self.summary(file.as_ref(), (&path, number, offset), &header, ended, walk)?;
                }
                _ => {
                    work.passed(header.record_bytes());
                    self.damage(&path, offset, "the record does not belong in a log");
                }
            }
        }
        if batch.damaged {
            // A commit may have been in what is damaged.
            walk.chain.known = false;
            self.log_was_damaged = true;
        }
        Ok(())
    }

    /// Where chunks of the commit behind the last one are that are kept elsewhere.
    fn places(
        &mut self,
        file: &dyn DiskFile,
        (path, offset): (&str, u64),
        header: &Header,
        last: u64,
    ) -> Result<Option<(u32, Range)>, StoreError> {
        let Some(payload) = self.small_payload(file, path, offset, header)? else {
            return Ok(None);
        };
        Ok(match Places::decode(&payload) {
            Err(fault) => {
                self.damage(path, offset, &fault.to_string());
                None
            }
            Ok(Places { extent, .. }) => {
                let (from, to, digest) = (extent.from, extent.to, extent.digest);
                let (commit, log) = (last.saturating_add(1), format!("{path} at byte {offset}"));
                Some((extent.unit, Range { commit, from, to, digest, log }))
            }
        })
    }

    /// The first record of a log file: this store's, this number's, behind that commit.
    fn log_begins(
        &mut self,
        file: &dyn DiskFile,
        path: &str,
        number: u32,
        header: &Header,
        walk: &mut LogWalk,
    ) -> Result<(), StoreError> {
        let payload = self.small_payload(file, path, 0, header)?;
        let Some(payload) = payload else { return Ok(()) };
        match FileHeader::decode(&payload) {
            Err(fault) => self.damage(path, 0, &fault.to_string()),
            Ok(begin) if begin.store != self.store => {
                self.damage(path, 0, "the file belongs to another store");
            }
            Ok(begin) if (begin.role, begin.number) != ("log", number) => {
                self.damage(path, 0, "the file was another one before it was renamed");
            }
            Ok(begin) => {
                walk.begun = (number, header.record_bytes());
                walk.pass(number, header.record_bytes());
                if walk.chain.known && begin.previous != walk.chain.digest {
                    let (before, offset) = self.log_end;
                    let why = "the log went on here once: the next file follows another commit";
                    self.damage(&log::path(before.max(1)), offset, why);
                    walk.chain.known = false;
                    self.log_was_damaged = true;
                }
            }
        }
        Ok(())
    }

    /// A crash leaves nothing that the medium does not give back: what is there was written, and is
    /// kept, as recovery keeps it.
    fn vouch_unreadable(&mut self, number: u32, to: u64) {
        if to > 0 {
            self.bound = self.bound.max((number, to));
        }
    }

    /// The end of a batch in a condensed log.
    fn summary(
        &mut self,
        file: &dyn DiskFile,
        (path, number, offset): (&str, u32, u64),
        header: &Header,
        batch: Batch,
        walk: &mut LogWalk,
    ) -> Result<(), StoreError> {
        let payload = self.small_payload(file, path, offset, header)?;
        let summary = payload.map(|payload| Summary::decode(&payload));
        let summary = match summary {
            Some(Ok(summary)) => summary,
            other => {
                if let Some(Err(fault)) = other {
                    self.damage(path, offset, &fault.to_string());
                }
                walk.chain.known = false;
                self.log_was_damaged = true;
                return Ok(());
            }
        };
        if walk.chain.known && !batch.damaged && summary.previous != walk.chain.digest {
            let why = format!("the summary does not follow commit {}", walk.chain.number);
            self.damage(path, offset, &why);
            self.log_was_damaged = true;
        }
        if !batch.damaged
            && (summary.facts != batch.facts || summary.facts_digest != batch.digest.finish())
        {
            self.damage(path, offset, "the summary's facts are not the ones before it");
        }
        walk.chain = Chain { number: summary.number, digest: summary.digest, known: true };
        self.answers_for(batch.ranges);
        self.log_end = (number, offset + header.record_bytes());
        self.summed = self.summed.max((summary.segment, summary.segment_to));
        // What a mark named in here was condensed since.
        walk.marks.retain(|mark| mark.commit > summary.number);
        walk.last = None;
        Ok(())
    }

    /// Notes what of units elsewhere the commits of a batch answer for.
    fn answers_for(&mut self, ranges: Vec<(u32, Range)>) {
        for (unit, range) in ranges {
            self.ranges.entry(unit).or_default().push(range);
        }
    }

    fn commit(
        &mut self,
        file: &dyn DiskFile,
        (path, number, offset): (&str, u32, u64),
        header: &Header,
        batch: Batch,
        walk: &mut LogWalk,
    ) -> Result<(), StoreError> {
        let decoded = self
            .small_payload(file, path, offset, header)?
            .map(|payload| Commit::decode(&payload).map_err(|fault| fault.to_string()));
        let commit = match decoded {
            Some(Ok(commit)) => commit,
            other => {
                if let Some(Err(fault)) = other {
                    self.damage(path, offset, &fault);
                }
                walk.chain.known = false;
                self.log_was_damaged = true;
                return Ok(());
            }
        };
        // In a damaged batch a commit may have been lost, or a fact that the digest covers.
        let known = walk.chain.known && !batch.damaged;
        let follows =
            commit.number == walk.chain.number + 1 && commit.previous == walk.chain.digest;
        if known && !follows {
            let why =
                format!("commit {} does not follow commit {}", commit.number, walk.chain.number);
            self.damage(path, offset, &why);
            self.log_was_damaged = true;
        } else if known
            && (commit.facts != batch.facts || commit.facts_digest != batch.digest.finish())
        {
            self.damage(path, offset, "the commit's facts are not the ones before it");
        }
        if !follows {
            self.log_was_damaged = true;
        }
        walk.chain = Chain { number: commit.number, digest: header.name, known: true };
        self.answers_for(batch.ranges);
        let end = offset + header.record_bytes();
        self.log_end = (number, end);
        walk.pass(number, end);
        let mut last = Last { file: number, start: batch.start, range: None };
        if commit.segment > 0 {
            last.range = Some((commit.segment, commit.segment_from));
            self.ranges.entry(commit.segment).or_default().push(Range {
                commit: commit.number,
                from: commit.segment_from,
                to: commit.segment_to,
                digest: commit.segment_digest,
                log: format!("{path} at byte {offset}"),
            });
        }
        walk.last = Some(last);
        Ok(())
    }
}
