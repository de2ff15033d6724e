//! The log in numbered files: each commit goes to the end of the newest one.

mod condense;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::blobs::Extent;
use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Passed, Position, Replayed, Reread, Unsettled,
};
use crate::files::Limits;
use crate::files::append::{Failure, PANICKED, Tail, both};
use crate::files::disk::lengths::Lengths;
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log::{self, Beginning, Commit, FOLDER, FileHeader, HeadersDigest, Summary};
use crate::files::watermark::{Ends, Watermark, write_mark};
use crate::frame::{self, Kind, NUMBER_MAX, Record, Scanner, Step};
use crate::{CommitError, Damage, StoreError};

/// Nothing is written when sequences or commits come this near to [`NUMBER_MAX`].
const NUMBERS_END: u64 = NUMBER_MAX - (1 << 40);

/// The log files of a folder.
pub struct FileLog {
    disk: Arc<dyn Disk>,
    store: [u8; 16],
    limits: Limits,
    ends: Ends,
    open: Mutex<Open>,
    /// Where the store was last closed in order.
    mark: Option<Watermark>,
    lengths: Lengths,
}

/// The file that is written to.
#[derive(Default)]
struct Open {
    tail: Option<Tail>,
    /// No file there is has a higher number; one of them may be none of ours, or unreadable.
    newest: u32,
}

impl FileLog {
    /// A log that is only read, until [`FileLog::go_on`].
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        store: [u8; 16],
        limits: Limits,
        ends: Ends,
        mark: Option<Watermark>,
    ) -> Self {
        let (open, lengths) = (Mutex::default(), Lengths::default());
        Self { disk, store, limits, ends, open, mark, lengths }
    }

    /// Writes on behind the last commit, if that can be: otherwise the next one begins a file, behind `newest`.
    pub(super) fn go_on(&self, newest: u32) -> Result<(), StoreError> {
        let at = *self.ends.lock();
        let mut open = self.open.lock();
        open.newest = newest;
        open.tail = match Tail::reopen(self.disk.as_ref(), log::path(at.log), at.offset)? {
            Some(tail) if at.log >= newest && goes_on(&tail, &at, &self.store)? => Some(tail),
            _ => None,
        };
        Ok(())
    }

    /// Begins the next file, if none is open.
    fn begin<'a>(&self, open: &'a mut Open) -> Result<&'a mut Tail, Failure> {
        if open.tail.is_none() {
            let mut ends = self.ends.lock();
            let number = ends.log.max(open.newest) + 1;
            if number > log::FILE_MAX {
                return Err(Failure::no_number(&log::path(number - 1)));
            }
            let previous = ends.digest;
            let header = FileHeader { store: self.store, role: "log", number, previous };
            let first = header.seal(ends.sequence).map_err(Failure::unmade)?;
            let path = log::path(number);
            let tail = Tail::begin_durably(self.disk.as_ref(), FOLDER, path, &first)?;
            ends.sequence += 1;
            (ends.log, ends.offset) = (number, tail.length());
            open.tail = Some(tail);
        }
        open.tail.as_mut().ok_or_else(|| Failure::before("no log file is open"))
    }

    /// Appends facts with their commit, and syncs them beside the chunks; says where the log ends then.
    fn append(
        &self,
        open: &mut Open,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Watermark, Stopped> {
        let tail = self.begin(open)?;
        let mut ends = self.ends.lock();
        let first_fact = ends.sequence;
        let mut digest = HeadersDigest::new();
        for fact in facts.iter_mut() {
            // Sequences are never used again, even those of a commit that fails.
            fact.header.sequence = ends.sequence;
            ends.sequence += 1;
            digest.add(&fact.header);
        }
        let extent = chunks.map(|chunks| &chunks.written.extent);
        let commit = Commit {
            number: ends.commit + 1,
            previous: ends.digest,
            first_sequence: extent.map_or(first_fact, |extent| extent.first_sequence),
            facts: u32::try_from(facts.len())
                .map_err(|_| Failure::before("a commit counts at most 2^32-1 facts"))?,
            facts_digest: digest.finish(),
            segment: extent.map_or(0, |extent| extent.unit),
            segment_from: extent.map_or(0, |extent| extent.from),
            segment_to: extent.map_or(0, |extent| extent.to),
            segment_digest: extent.map_or([0; 32], |extent| extent.digest),
        };
        let mut sealed = commit.seal().map_err(Failure::unmade)?;
        sealed.header.sequence = ends.sequence;
        ends.sequence += 1;
        drop(ends);
        tail.append(facts.iter().chain(std::iter::once(&sealed)), &[])?;
        match chunks {
            None => tail.sync()?,
            // At once: a commit is only there with its chunks, so neither has to come first.
            Some(chunks) => {
                let panicked = || Err(CommitError::Failed(PANICKED.into()));
                let (synced, settled) = both(|| tail.sync(), || chunks.settle(), panicked);
                settled.map_err(Stopped::Chunks)?;
                synced?;
            }
        }
        let mut ends = self.ends.lock();
        (ends.offset, ends.commit, ends.digest) =
            (tail.length(), commit.number, sealed.header.name);
        Ok(*ends)
    }

    /// Reads the records of one file again; says where it was stopped, unless it came to the end.
    fn reread_file(
        &self,
        number: u32,
        offset: u64,
        to: &Watermark,
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<u64>, StoreError> {
        let path = log::path(number);
        let file = match disk::find(self.disk.as_ref(), &path)? {
            Ok(file) => file,
            Err(damage) => {
                each(Reread::Damaged(damage))?;
                return Ok(None);
            }
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let end = if number == to.log { to.offset.min(length) } else { length };
        let from = boundary(file.as_ref(), &path, offset.min(end), end)?;
        let mut scanner = Scanner::new(file.as_ref(), &path, from, end);
        while let Some(step) = scanner.step()? {
            let goes_on = match step {
                Step::Damaged(damage) => each(Reread::Damaged(damage))?,
                Step::Record(offset, header) => {
                    let payload = frame::read_payload(file.as_ref(), &path, offset, &header)?;
                    each(Reread::Record { header, payload, file: &path, offset })?
                }
            };
            if !goes_on {
                return Ok(Some(scanner.offset()));
            }
        }
        Ok(None)
    }
}

/// Where a record begins, at a place or behind it: the file may have been condensed since the place was
/// noted, and then it is in the middle of one.
fn boundary(file: &dyn DiskFile, path: &str, at: u64, end: u64) -> Result<u64, StoreError> {
    if at == 0 || !matches!(frame::read_header(file, path, at)?, Some(Err(_))) {
        return Ok(at);
    }
    let mut scanner = Scanner::new(file, path, 0, end);
    while scanner.offset() < at && scanner.step()?.is_some() {}
    Ok(scanner.offset())
}

/// Why a commit was not made.
enum Stopped {
    /// The log could not be written.
    Log(Failure),
    /// Its chunks could not be made durable.
    Chunks(CommitError),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Log(failure)
    }
}

impl FactLog for FileLog {
    /// A segment that is there without any log file tells that the log is lost, so the log is begun first.
    fn ready(&self) -> Result<(), CommitError> {
        let at = *self.ends.lock();
        if at.sequence.max(at.commit) >= NUMBERS_END {
            return Err(Failure::no_number("the log").taken_back());
        }
        self.begin(&mut self.open.lock()).map(|_| ()).map_err(Failure::taken_back)
    }

    fn commit(
        &self,
        after: &Position,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError> {
        let mut open = self.open.lock();
        let end = *self.ends.lock();
        if Watermark::at(after).map_err(|error| CommitError::Failed(error.to_string()))?.digest
            != end.digest
        {
            return Ok(Appended::Overtaken);
        }
        match self.append(&mut open, facts, chunks) {
            Ok(at) => {
                if at.offset >= self.limits.log_bytes {
                    open.tail = None;
                }
                Ok(Appended::Here(at.position()))
            }
            Err(stopped) => {
                // Also where it is synced, and only its chunks are not.
                let from = self.ends.lock().offset;
                let cut = open.tail.as_mut().map_or(Ok(()), |tail| tail.cut_to(from));
                let (error, at_sync) = match stopped {
                    Stopped::Log(failure) => {
                        let at_sync = failure.at_sync;
                        (failure.after(cut), at_sync)
                    }
                    Stopped::Chunks(error) => match cut {
                        Ok(()) => (error, true),
                        Err(cut) => {
                            let why = "what was written could not be cut off";
                            (CommitError::Broken(format!("{error}, and {why}: {cut}")), true)
                        }
                    },
                };
                if at_sync {
                    // What a file says after a failed sync is not to be trusted: the next commit begins another.
                    open.tail = None;
                }
                Err(error)
            }
        }
    }

    fn begin_part(&self) -> Result<(), CommitError> {
        self.open.lock().tail = None;
        Ok(())
    }

    fn replay(
        &self,
        after: Option<&Position>,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let from = after.map_or(Ok(Watermark::START), Watermark::at)?;
        Walk { disk: self.disk.as_ref(), store: &self.store, from, to: *self.ends.lock() }.all(each)
    }

    fn reread(
        &self,
        (number, offset): (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let (to, mut number, mut offset) = (*self.ends.lock(), number.max(1), offset);
        let listed = log::listed(self.disk.as_ref(), &self.store, to.log)?;
        while number <= to.log {
            if !listed.files.contains(&number) {
                let there = listed.files.iter().copied().find(|there| *there > number);
                let next = there.unwrap_or(to.log.saturating_add(1));
                for gap in &listed.missing {
                    let gap = number.max(*gap.start())..=*gap.end();
                    if gap.start() < &next && !gap.is_empty() {
                        each(Reread::Damaged(Damage::missing(gap, log::path)))?;
                    }
                }
                for (_, damage) in listed.foreign.range(number..next) {
                    each(Reread::Damaged(damage.clone()))?;
                }
                (number, offset) = (next, 0);
                continue;
            }
            if let Some(stopped_at) = self.reread_file(number, offset, &to, each)? {
                return Ok(Some((number, stopped_at)));
            }
            (number, offset) = (number.saturating_add(1), 0);
        }
        Ok(None)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let measured = self.lengths.total(self.disk.as_ref(), &[FOLDER]);
        measured.map_err(StoreError::io("measuring the log"))
    }

    fn condense(&self, how: &mut Condensing<'_>) -> Result<Condensed, StoreError> {
        condense::condense(self, how)
    }

    fn close(&self) -> Result<(), StoreError> {
        let at = *self.ends.lock();
        // An accepted loss may leave no commit at all: then the old mark must go all the same.
        if self.mark == Some(at) || (at.commit == 0 && self.mark.is_none()) {
            return Ok(());
        }
        write_mark(self.disk.as_ref(), &at)
    }
}

/// From one place of the log to another.
struct Walk<'a> {
    disk: &'a dyn Disk,
    store: &'a [u8; 16],
    from: Watermark,
    to: Watermark,
}

impl Walk<'_> {
    /// Shows what is there, in order; what is damaged or missing in its place.
    fn all(
        &self,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let listed = log::listed(self.disk, self.store, self.to.log)?;
        let files = listed.files.iter().copied().filter(|number| *number >= self.from.log);
        let mut missing = listed.missing.into_iter().peekable();
        let mut passed = Passed::default();
        for number in files.clone() {
            passed.total +=
                self.open(number)?.map_or(0, |file| file.end.saturating_sub(file.begin));
        }
        // One at a time: there may be more of them than may be open.
        for number in files {
            while let Some(gap) = missing.next_if(|gap| *gap.start() < number) {
                if *gap.end() > self.from.log
                    && !each(Replayed::Damaged(Damage::missing(gap, log::path)), passed)?
                {
                    return Ok(false);
                }
            }
            let goes_on = match self.open(number)? {
                Err(damage) => each(Replayed::Damaged(damage), passed)?,
                Ok(file) => {
                    let goes_on = self.file(&file, passed, each)?;
                    passed.done += file.end.saturating_sub(file.begin);
                    goes_on
                }
            };
            if !goes_on {
                return Ok(false);
            }
        }
        for gap in missing {
            if !each(Replayed::Damaged(Damage::missing(gap, log::path)), passed)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn open(&self, number: u32) -> Result<Result<Walked, Damage>, StoreError> {
        let path = log::path(number);
        let file = match disk::find(self.disk, &path)? {
            Ok(file) => file,
            Err(damage) => return Ok(Err(damage)),
        };
        let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
        let end = if number == self.to.log { self.to.offset.min(length) } else { length };
        let begin = if number == self.from.log { self.from.offset } else { 0 };
        Ok(Ok(Walked { number, path, file, begin, end }))
    }

    fn file(
        &self,
        walked: &Walked,
        passed: Passed,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let Walked { path, file, begin, end, .. } = walked;
        let mut scanner = Scanner::new(file.as_ref(), path, *begin, *end);
        while let Some(step) = scanner.step()? {
            let shown = match step {
                Step::Damaged(damage) => Replayed::Damaged(damage),
                Step::Record(offset, header) => {
                    let is_told = matches!(header.kind, Kind::Fact | Kind::Commit | Kind::Summary);
                    if !is_told {
                        continue;
                    }
                    match frame::read_payload(file.as_ref(), path, offset, &header)? {
                        Err(why) => Replayed::Damaged(Damage::new(path.as_str(), offset, why)),
                        Ok(payload) if header.kind == Kind::Fact => {
                            let file = path.clone();
                            Replayed::Fact { record: Record { header, payload }, file, offset }
                        }
                        Ok(payload) => match behind(walked, offset, &header, &payload) {
                            Some(commit) => commit,
                            None => continue,
                        },
                    }
                }
            };
            let done = passed.done + scanner.offset().saturating_sub(*begin);
            if !each(shown, Passed { done, ..passed })? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A file that is gone through.
struct Walked {
    number: u32,
    path: String,
    file: Arc<dyn DiskFile>,
    begin: u64,
    end: u64,
}

/// A commit, or what stands for several.
fn behind(
    walked: &Walked,
    offset: u64,
    header: &frame::Header,
    payload: &[u8],
) -> Option<Replayed> {
    let end = offset + header.record_bytes();
    let at = |commit: u64, digest: [u8; 32], unit: u32, to: u64| Watermark {
        log: walked.number,
        offset: end,
        commit,
        digest,
        sequence: header.sequence.saturating_add(1),
        segment: unit,
        segment_offset: to,
    };
    if header.kind == Kind::Summary {
        let sum = Summary::decode(payload).ok()?;
        let at = at(sum.number, sum.digest, sum.segment, sum.segment_to);
        return Some(Replayed::Commit { chunks: None, position: at.position() });
    }
    let commit = Commit::decode(payload).ok()?;
    let at = at(commit.number, header.name, commit.segment, commit.segment_to);
    let chunks = (commit.segment > 0).then_some(Extent {
        unit: commit.segment,
        from: commit.segment_from,
        to: commit.segment_to,
        digest: commit.segment_digest,
        first_sequence: commit.first_sequence,
    });
    Some(Replayed::Commit { chunks, position: at.position() })
}

/// Whether a log goes on here: right behind the commit that the next one will name, or behind the first
/// record of a file that was begun behind it. Behind anything else a new file is begun: what is cut short
/// or damaged could swallow what follows it, and a file that begins as another store's is passed over by a
/// start that reads all of it.
fn goes_on(tail: &Tail, at: &Watermark, store: &[u8; 16]) -> Result<bool, StoreError> {
    let (file, path, length) = (tail.file(), tail.path(), tail.length());
    let context = StoreError::io(format!("reading {path}"));
    if !disk::ends_readably(file, length).map_err(context)? {
        return Ok(false);
    }
    let header = |offset| frame::read_header(file, path, offset);
    let Beginning::Sound(behind) = log::beginning(file, at.log, path, store)? else {
        return Ok(false);
    };
    if let Some(Ok(first)) = header(0)?
        && first.record_bytes() == length
    {
        return Ok(behind == at.digest);
    }
    let Some(begin) = length.checked_sub(log::COMMIT_RECORD_BYTES) else { return Ok(false) };
    let Some(Ok(last)) = header(begin)? else { return Ok(false) };
    let Ok(payload) = frame::read_payload(file, path, begin, &last)? else {
        return Ok(false);
    };
    Ok(match last.kind {
        Kind::Commit => last.name == at.digest && Commit::decode(&payload).is_ok(),
        Kind::Summary => Summary::decode(&payload).is_ok_and(|last| last.digest == at.digest),
        _ => false,
    })
}
