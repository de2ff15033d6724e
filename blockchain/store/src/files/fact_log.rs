//! The log in numbered files: each commit goes to the end of the newest one.

mod condense;
mod walk;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::blobs::{Extent, Written};
use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Passed, Position, Replayed, Reread, Unsettled,
};
use crate::files::Limits;
use crate::files::append::{Failure, PANICKED, Tail, both};
use crate::files::disk::lengths::Lengths;
use crate::files::disk::{self, Disk};
use crate::files::log::{self, Beginning, Commit, FOLDER, FileHeader, Places, Summary};
use crate::files::room::Room;
use crate::files::watermark::{Ends, Watermark, write_mark};
use crate::frame::{self, Header, HeadersDigest, NUMBER_MAX, Record, RecordKind};
use crate::{CommitError, Damage, StoreError};
use walk::{Met, Walk, Walked};

/// Nothing is written when sequences or commits come this near to [`NUMBER_MAX`].
const NUMBERS_END: u64 = NUMBER_MAX - (1 << 40);

/// The log files of a folder.
pub struct FileLog {
    disk: Arc<dyn Disk>,
    store: [u8; 16],
    limits: Limits,
    ends: Ends,
    open: Mutex<OpenFile>,
    /// Where the store was last closed in order.
    mark: Option<Watermark>,
    /// Whether chunks are kept elsewhere: they are settled before their commit is written, which says where they are.
    chunks_are_elsewhere: bool,
    lengths: Lengths,
    room: Room,
}

/// The file that is written to.
#[derive(Default)]
struct OpenFile {
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
        let room = Room::new(disk.clone(), FOLDER);
        let chunks_are_elsewhere = false;
        Self { disk, store, limits, ends, open, mark, chunks_are_elsewhere, lengths, room }
    }

    /// The same log beside chunks that are kept elsewhere.
    pub(super) fn beside_chunks_elsewhere(self) -> Self {
        Self { chunks_are_elsewhere: true, ..self }
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
    fn begin<'a>(&self, open: &'a mut OpenFile) -> Result<&'a mut Tail, Failure> {
        if open.tail.is_none() {
            let mut ends = self.ends.lock();
            let number = ends.log.max(open.newest) + 1;
            if number > log::FILE_MAX {
                return Err(Failure::no_number(&log::path(number - 1)));
            }
            let previous = ends.digest;
            let header = FileHeader { store: self.store, role: "log", number, previous };
            let first = header.to_record(ends.sequence).map_err(Failure::unmade)?;
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
        open: &mut OpenFile,
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
        let mut places = None;
        if let Some(chunks) = chunks.filter(|_| self.chunks_are_elsewhere) {
            let mut record = places_of(chunks.written)?;
            record.header.sequence = ends.sequence;
            ends.sequence += 1;
            digest.add(&record.header);
            places = Some(record);
        }
        let beside = chunks.filter(|_| places.is_none());
        let extent = beside.map(|chunks| &chunks.written.extent);
        let commit = Commit {
            number: ends.commit + 1,
            previous: ends.digest,
            first_sequence: extent.map_or(first_fact, |extent| extent.first_sequence),
            facts: u32::try_from(facts.len() + places.iter().len())
                .map_err(|_| Failure::before("a commit counts at most 2^32-1 facts"))?,
            facts_digest: digest.finish(),
            segment: extent.map_or(0, |extent| extent.unit),
            segment_from: extent.map_or(0, |extent| extent.from),
            segment_to: extent.map_or(0, |extent| extent.to),
            segment_digest: extent.map_or([0; 32], |extent| extent.digest),
        };
        let mut record = commit.to_record().map_err(Failure::unmade)?;
        record.header.sequence = ends.sequence;
        ends.sequence += 1;
        drop(ends);
        tail.append(facts.iter().chain(&places).chain(std::iter::once(&record)), &[])?;
        match beside {
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
            (tail.length(), commit.number, record.header.name);
        Ok(*ends)
    }

    fn walk(&self, from: (u32, u64)) -> Walk<'_> {
        Walk { disk: self.disk.as_ref(), store: &self.store, from, to: *self.ends.lock() }
    }
}

/// The record that says where chunks of a commit are.
fn places_of(written: &Written) -> Result<Record, Failure> {
    let places = Places { extent: written.extent.clone(), chunks: written.places.clone() };
    places.to_record().map_err(Failure::unmade)
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

    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.room.ask(bytes)
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
        if let Some(chunks) = chunks.filter(|_| self.chunks_are_elsewhere) {
            // What a commit names is there before it is: a crash in between leaves what nothing names.
            chunks.settle()?;
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
        let walk = self.walk(from.place());
        let total = walk.bytes()?;
        let mut places = None;
        let stopped_at = walk.each(&mut |met, done| {
            let shown = match met {
                Met::Damaged(damage) => {
                    places = None;
                    Some(Replayed::Damaged(damage))
                }
                // Nothing of the log is missing because of it.
                Met::Foreign(_) => None,
                Met::Record { walked, offset, header } => {
                    replayed(walked, offset, header, &mut places)?
                }
            };
            shown.map_or(Ok(true), |shown| each(shown, Passed { done, total }))
        })?;
        Ok(stopped_at.is_none())
    }

    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        self.walk(from).each(&mut |met, _| {
            each(match met {
                Met::Damaged(damage) | Met::Foreign(damage) => Reread::Damaged(damage),
                Met::Record { walked, offset, header } => {
                    let payload = walked.payload(offset, &header)?;
                    Reread::Record { header, payload, file: &walked.path, offset }
                }
            })
        })
    }

    fn is_start(&self, at: &Position) -> Result<bool, StoreError> {
        Ok(Watermark::at(at)?.commit == 0)
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

/// What a record is to a replay of the log; `None` where it says nothing to it. What says where chunks are is kept
/// until their commit comes.
fn replayed(
    walked: &Walked,
    offset: u64,
    header: Header,
    places: &mut Option<Places>,
) -> Result<Option<Replayed>, StoreError> {
    let says = [RecordKind::Fact, RecordKind::Places, RecordKind::Commit, RecordKind::Summary];
    if !says.contains(&header.kind) {
        return Ok(None);
    }
    let file = &walked.path;
    let damaged = |why: &dyn std::fmt::Display| {
        Some(Replayed::Damaged(Damage::new(file.as_str(), offset, why)))
    };
    Ok(match walked.payload(offset, &header)? {
        Err(why) => {
            // It may have been the commit that they are of.
            *places = None;
            damaged(&why)
        }
        Ok(payload) if header.kind == RecordKind::Places => match Places::decode(&payload) {
            Ok(read) => {
                *places = Some(read);
                None
            }
            Err(fault) => damaged(&fault),
        },
        Ok(payload) if header.kind == RecordKind::Fact => {
            let record = Record { header, payload };
            Some(Replayed::Fact { record, file: file.clone(), offset })
        }
        Ok(payload) => behind(walked, offset, &header, &payload, places.take()),
    })
}

/// A commit, or what stands for several.
fn behind(
    walked: &Walked,
    offset: u64,
    header: &Header,
    payload: &[u8],
    places: Option<Places>,
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
    if header.kind == RecordKind::Summary {
        let sum = Summary::decode(payload).ok()?;
        let at = at(sum.number, sum.digest, sum.segment, sum.segment_to);
        return Some(Replayed::Commit { chunks: None, places: None, position: at.position() });
    }
    let commit = Commit::decode(payload).ok()?;
    let at = at(commit.number, header.name, commit.segment, commit.segment_to);
    let position = at.position();
    if let Some(Places { extent, chunks }) = places {
        return Some(Replayed::Commit { chunks: Some(extent), places: Some(chunks), position });
    }
    let chunks = (commit.segment > 0).then_some(Extent {
        unit: commit.segment,
        from: commit.segment_from,
        to: commit.segment_to,
        digest: commit.segment_digest,
        first_sequence: commit.first_sequence,
    });
    Some(Replayed::Commit { chunks, places: None, position })
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
        RecordKind::Commit => last.name == at.digest && Commit::decode(&payload).is_ok(),
        RecordKind::Summary => Summary::decode(&payload).is_ok_and(|last| last.digest == at.digest),
        _ => false,
    })
}
