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

mod alone;
mod end;
mod log_files;
mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::StoreError;
use crate::codec::Packer;
use crate::contract::index::Changes;
use crate::damage::DamageList;
use crate::files::log::Commit;
use crate::files::units::FileUnits;
use crate::files::watermark::Watermark;
use crate::files::{ChunksAre, ToRecover, disk, log, rewrite, segment_rows};
use crate::frame::Header;
use crate::vault::unit_rows::Unread;
pub(super) use alone::{SegmentsAlone, recover_segments};
use log_files::Looked;

/// Index changes are written when this many keys have gathered.
const CHANGES_MAX: usize = 8_192;

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
    pub loss: Option<String>,
    /// Segments that are not there, or not whole.
    pub unread: BTreeMap<u32, Unread>,
    /// Whether chunks may be there whose commits are not.
    pub commits_are_missing: bool,
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
    first: FirstOfFile,
}

/// Whether a batch is the first of its file, and follows the commit that the file was begun behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstOfFile {
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
    parts.projection.check(parts.index)?;
    let start = segment_rows::watermark(parts.index)?;
    let mut recovery = Recovery::at(start, parts, mark)?;
    let loss = recovery.run()?;
    let Recovery { at, newest_log, damage, unread, commits_are_missing, .. } = recovery;
    Ok(Recovered { at, newest_log, damage, loss, unread, commits_are_missing })
}

impl<'a> Recovery<'a> {
    /// Begins behind a watermark.
    fn at(
        start: Watermark,
        parts: ToRecover<'a>,
        mark: Option<Watermark>,
    ) -> Result<Self, StoreError> {
        let mut bound = start.place();
        if let Some(mark) = &mark {
            bound = bound.max(mark.place());
        }
        let changes = Changes::new(parts.index);
        let commits_are_missing = segment_rows::are_commits_missing(parts.index)?;
        Ok(Self {
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
        })
    }
}

impl Recovery<'_> {
    fn run(&mut self) -> Result<Option<String>, StoreError> {
        let numbers = log::numbers(self.parts.disk.as_ref())?;
        if self.has_segments() {
            self.list_segments()?;
        }
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
        if self.has_segments() {
            self.settle_segments(missing.is_some())?;
        }
        missing = missing.or_else(|| self.segment_of_others_ahead());
        if missing.is_none() && !self.parts.accept_loss {
            missing = self.no_segment_is_there()?;
        }
        if missing.is_none() {
            if self.commits_are_missing && self.has_segments() {
                // All that were to be kept are in front of the watermark now.
                segment_rows::forget_commits_missing(&mut self.changes);
                self.write_changes()?;
            }
            self.cut_tail(&begun)?;
            if self.missing.is_empty() {
                rewrite::clear(&self.units(), self.parts.index, false, &mut self.damage)?;
            }
            for number in numbers {
                let path = log::fresh_path(number);
                let context = StoreError::io(format!("removing {path}"));
                self.parts.disk.unlink(&path).map_err(context)?;
            }
        }
        Ok(missing)
    }

    /// Whether the log is beside the segments that its chunks are in.
    fn has_segments(&self) -> bool {
        !matches!(self.parts.chunks, ChunksAre::Elsewhere(_))
    }

    /// Whether its segments are beside no log.
    fn is_log_elsewhere(&self) -> bool {
        matches!(self.parts.chunks, ChunksAre::LogElsewhere)
    }

    fn sync(&self, path: &str) -> Result<(), StoreError> {
        let Ok(file) = disk::find(self.parts.disk.as_ref(), path)? else { return Ok(()) };
        file.sync().map_err(StoreError::io(format!("syncing {path}")))
    }

    fn units(&self) -> FileUnits {
        FileUnits::new(self.parts.disk.clone(), self.parts.store)
    }

    fn write_changes(&mut self) -> Result<(), StoreError> {
        let fresh = Changes::new(self.parts.index);
        std::mem::replace(&mut self.changes, fresh).write()
    }
}
