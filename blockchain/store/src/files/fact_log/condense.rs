//! Log files written anew without the facts that do not matter any more.
//!
//! Tails that have been cut since, and sessions that were removed, fill a log with what nothing reads. A
//! file of which over a third is such is replaced, whole, under its own name: the facts that still
//! matter, verbatim, and summaries in the place of commits, from the last of which the chain of commits
//! goes on in the next file. The newest file is never condensed.

use super::FileLog;
use super::walk::{Met, Walk, Walked};
use crate::contract::fact_log::{Condensed, Condensing};
use crate::files::disk::{Disk, DiskFile};
use crate::files::log::{self, Commit, Places, Summary};
use crate::files::segment;
use crate::frame::{Header, HeadersDigest, Record, RecordKind};
use crate::{Damage, StoreError};

/// A summary ends a batch at the next commit behind so many bytes. The newest file is not ended for less.
const BATCH_BYTES: u64 = 1 << 20;

/// Whether a record of a batch has to stay: a fact that matters, or places in a unit that is there.
fn stays(
    how: &Condensing<'_>,
    record: &Record,
    walked: &Walked,
    offset: u64,
) -> Result<bool, StoreError> {
    if record.header.kind != RecordKind::Places {
        return (how.matters)(record, &walked.path, offset);
    }
    let places = Places::decode(&record.payload).map_err(|fault| damaged(walked, offset, fault))?;
    (how.stands)(places.extent.unit)
}

/// Condenses every log file of which over a third does not matter any more, the newest included: it is ended
/// first.
pub(super) fn condense(log: &FileLog, how: &mut Condensing<'_>) -> Result<Condensed, StoreError> {
    let mut done = Condensed::default();
    let disk = log.disk.as_ref();
    // A fact that goes because its segment is no more must not come to be needed by a name that reappears after
    // a power cut.
    if !log.chunks_are_elsewhere {
        let context = StoreError::io(format!("syncing {}/", segment::FOLDER));
        disk.sync_folder(segment::FOLDER).map_err(context)?;
    }
    let newest = *log.ends.lock();
    let listed = log::listed(disk, &log.store, newest.log)?;
    if let Some(gap) = listed.missing.into_iter().next() {
        return Err(StoreError::Damaged(Damage::missing(gap, log::path)));
    }
    let up_to = |to| Walk { disk, store: &log.store, from: (0, 0), to };
    let (mut passed, total) = (0, up_to(newest).bytes()?);
    for number in listed.files {
        let mut file = up_to(newest).open(number)?.map_err(StoreError::Damaged)?;
        let kept = weigh(&file, how)?;
        passed += file.bytes();
        let worth = number < newest.log || file.bytes() - kept >= BATCH_BYTES;
        if worth && kept * 3 < file.bytes() * 2 {
            if number == newest.log {
                (how.go_on_behind)()?;
                // What was committed since the first look is at the end of this file too.
                let now = *log.ends.lock();
                if now.log <= number {
                    let why = "the log could not be ended, so nothing of it was condensed";
                    return Err(StoreError::Folder(why.into()));
                }
                file = up_to(now).open(number)?.map_err(StoreError::Damaged)?;
            }
            let (removed, length) = write_anew(&file, disk, how)?;
            done.logs_rewritten += 1;
            done.facts_removed += removed;
            done.bytes_freed += file.bytes().saturating_sub(length);
        }
        if !(how.step)(passed, total) {
            done.stopped = true;
            return Ok(done);
        }
    }
    Ok(done)
}

/// Visits the records of a file. Damage ends the work, since what stood there is not known.
fn each_record(
    walked: &Walked,
    mut visit: impl FnMut(u64, Header, Vec<u8>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let _end = walked.each(0, &mut |met, _| match met {
        Met::Record { offset, header, .. } => {
            let payload = walked.payload(offset, &header)?;
            let payload = payload.map_err(|why| damaged(walked, offset, why))?;
            visit(offset, header, payload)?;
            Ok(true)
        }
        Met::Damaged(damage) | Met::Foreign(damage) => Err(StoreError::Damaged(damage)),
    })?;
    Ok(())
}

fn damaged(walked: &Walked, offset: u64, why: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(Damage::new(walked.path.as_str(), offset, why))
}

/// Bytes of what has to stay: facts that matter, and what is not a fact nor the end of a batch.
fn weigh(walked: &Walked, how: &Condensing<'_>) -> Result<u64, StoreError> {
    let mut kept = 0;
    each_record(walked, |offset, header, payload| {
        let bytes = header.record_bytes();
        let stays = match header.kind {
            RecordKind::Fact | RecordKind::Places => {
                stays(how, &Record { header, payload }, walked, offset)?
            }
            RecordKind::Commit => false,
            _ => true,
        };
        kept += if stays { bytes } else { 0 };
        Ok(())
    })?;
    Ok(kept)
}

/// Writes a file anew and puts it in the place of the old one; says how many facts went, and how long it is.
fn write_anew(
    walked: &Walked,
    disk: &dyn Disk,
    how: &Condensing<'_>,
) -> Result<(u64, u64), StoreError> {
    let fresh = log::fresh_path(walked.number);
    let context = || StoreError::io(format!("writing {fresh}"));
    disk.unlink(&fresh).map_err(context())?;
    let file = disk.create(&fresh).map_err(context())?;
    let mut draft = NewFile { file: file.as_ref(), path: &fresh, buffer: Vec::new(), length: 0 };
    let (mut batch, mut removed) = (KeptFacts::default(), 0);
    let mut previous = None;
    each_record(walked, |offset, header, payload| {
        match header.kind {
            RecordKind::Fact | RecordKind::Places => {
                let fact = Record { header, payload };
                if stays(how, &fact, walked, offset)? {
                    batch.add(&fact.header);
                    draft.add(&fact.header, &fact.payload)?;
                } else if fact.header.kind == RecordKind::Fact {
                    removed += 1;
                }
            }
            RecordKind::Commit | RecordKind::Summary => {
                let end = SummarizedEnd::read(&header, &payload)
                    .map_err(|fault| damaged(walked, offset, fault))?;
                previous.get_or_insert(end.previous);
                batch.end(end);
                if batch.bytes >= BATCH_BYTES {
                    draft.end(&mut batch, &mut previous)?;
                }
            }
            _ => draft.add(&header, &payload)?,
        }
        Ok(())
    })?;
    draft.end(&mut batch, &mut previous)?;
    draft.write_out()?;
    let length = draft.length;
    file.sync().map_err(context())?;
    disk.rename(&fresh, &walked.path)
        .and_then(|()| disk.sync_folder(log::FOLDER))
        .map_err(context())?;
    Ok((removed, length))
}

/// What a commit, or a summary of commits, says of them.
struct SummarizedEnd {
    number: u64,
    digest: [u8; 32],
    previous: [u8; 32],
    sequence: u64,
    chunks: (u32, u64),
}

impl SummarizedEnd {
    fn read(header: &Header, payload: &[u8]) -> Result<Self, lucid_core::wire::WireFault> {
        if header.kind == RecordKind::Commit {
            let commit = Commit::decode(payload)?;
            return Ok(Self {
                number: commit.number,
                digest: header.name,
                previous: commit.previous,
                sequence: header.sequence + 1,
                chunks: (commit.segment, commit.segment_to),
            });
        }
        let summary = Summary::decode(payload)?;
        Ok(Self {
            number: summary.number,
            digest: summary.digest,
            previous: summary.previous,
            sequence: summary.sequence,
            chunks: (summary.segment, summary.segment_to),
        })
    }
}

/// Facts that are kept, and the commits they came from.
#[derive(Default)]
struct KeptFacts {
    facts: u32,
    digest: HeadersDigest,
    bytes: u64,
    last: Option<SummarizedEnd>,
}

impl KeptFacts {
    fn add(&mut self, header: &Header) {
        self.facts += 1;
        self.digest.add(header);
        self.bytes += header.record_bytes();
    }

    fn end(&mut self, end: SummarizedEnd) {
        let chunks = self.last.as_ref().map_or((0, 0), |last| last.chunks).max(end.chunks);
        self.last = Some(SummarizedEnd { chunks, ..end });
    }
}

/// The new file on its way.
struct NewFile<'a> {
    file: &'a dyn DiskFile,
    path: &'a str,
    buffer: Vec<u8>,
    length: u64,
}

impl NewFile<'_> {
    fn add(&mut self, header: &Header, payload: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(&header.encode());
        self.buffer.extend_from_slice(payload);
        self.length += header.record_bytes();
        if self.buffer.len() as u64 >= BATCH_BYTES { self.write_out() } else { Ok(()) }
    }

    /// Ends a batch, if there are commits to stand for.
    fn end(
        &mut self,
        batch: &mut KeptFacts,
        previous: &mut Option<[u8; 32]>,
    ) -> Result<(), StoreError> {
        let batch = std::mem::take(batch);
        let (Some(last), Some(before)) = (batch.last, previous.take()) else { return Ok(()) };
        let record = Summary {
            number: last.number,
            digest: last.digest,
            previous: before,
            sequence: last.sequence,
            facts: batch.facts,
            facts_digest: batch.digest.finish(),
            segment: last.chunks.0,
            segment_to: last.chunks.1,
        }
        .to_record()?;
        self.add(&record.header, &record.payload)
    }

    fn write_out(&mut self) -> Result<(), StoreError> {
        let context = StoreError::io(format!("writing {}", self.path));
        self.file.append(&[&self.buffer]).map_err(context)?;
        self.buffer.clear();
        Ok(())
    }
}
