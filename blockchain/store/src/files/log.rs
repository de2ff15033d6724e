//! The files of facts: how they are named and begin, and the commit record that ends each batch.
//!
//! A commit holds its number, the digest of the commit before it, the digest of its facts, and the
//! range of a chunk segment that it covers with the digest of the records there. It is valid only if
//! all of that is there, so the two files need no order between them on the disk. Where chunks are kept elsewhere, a
//! record in front of the commit says where they are ([`Places`]), and counts as one of its facts.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::contract::blobs::{Extent, Placement, decode_places, encode_places};
use crate::files::disk::{self, Disk, DiskFile};
use crate::frame::{self, HEADER_BYTES, Record, RecordKind};
use crate::{Damage, StoreError};

/// The folder of the log.
pub const FOLDER: &str = "log";

/// The highest number of a file: names have eight digits.
pub const FILE_MAX: u32 = 99_999_999;

/// Reads the number of a segment, or zero, that other files may follow.
fn segment(from: &mut Reader<'_>) -> Result<u32, WireFault> {
    let number = from.u32("segment")?;
    if number <= FILE_MAX { Ok(number) } else { Err(WireFault::Invalid { what: "segment" }) }
}

/// The path of a log file.
pub fn path(number: u32) -> String {
    format!("{FOLDER}/{number:08}.log")
}

/// What a log file is called while its condensed form is being written.
pub fn fresh_path(number: u32) -> String {
    format!("{}.new", path(number))
}

/// The log files that there are, in order.
pub fn numbers(disk: &dyn Disk) -> Result<Vec<u32>, StoreError> {
    let names = disk.list(FOLDER).map_err(StoreError::io(format!("listing {FOLDER}/")))?;
    Ok(names.iter().filter_map(|name| number_of(name, "log")).collect())
}

/// What is said of a file of another store.
pub const ANOTHERS: &str = "the file belongs to another store";

/// How a log file, or a segment, begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// As this store's does: behind what has this digest.
    Sound([u8; 32]),
    /// Its first record is damaged.
    Damaged(&'static str),
    /// It is no part of this store, or not under this name.
    Foreign(&'static str),
}

/// Judges the first record of a log file.
pub fn beginning(
    file: &dyn DiskFile,
    number: u32,
    path: &str,
    store: &[u8; 16],
) -> Result<Beginning, StoreError> {
    beginning_as(file, "log", number, path, store)
}

/// Judges the first record of a file that has this role.
pub fn beginning_as(
    file: &dyn DiskFile,
    role: &str,
    number: u32,
    path: &str,
    store: &[u8; 16],
) -> Result<Beginning, StoreError> {
    let header = match frame::read_header(file, path, 0)? {
        Some(Ok(header)) if header.kind == RecordKind::File => header,
        Some(Err(why)) => return Ok(Beginning::Damaged(why)),
        _ => return Ok(Beginning::Damaged("the file does not begin as it should")),
    };
    let payload = match frame::read_payload(file, path, 0, &header)? {
        Ok(payload) => payload,
        Err(why) => return Ok(Beginning::Damaged(why)),
    };
    Ok(match FileHeader::decode(&payload) {
        Err(_) => Beginning::Damaged("the file's first record is none of a file"),
        Ok(facts) if facts.store != *store => Beginning::Foreign(ANOTHERS),
        Ok(facts) if (facts.role, facts.number) != (role, number) => {
            Beginning::Foreign("the file was another one before it was renamed")
        }
        Ok(facts) => Beginning::Sound(facts.previous),
    })
}

/// The files of the log, judged as recovery judges them.
#[derive(Debug, Default)]
pub struct LogListing {
    /// Those that are part of it, in order.
    pub files: Vec<u32>,
    /// Those that are not there and were: numbers are passed over where a file follows the very commit
    /// that the one before it ends with.
    pub missing: Vec<RangeInclusive<u32>>,
    /// Those that are no part of it, by number.
    pub foreign: BTreeMap<u32, Damage>,
}

/// Lists the files of the log up to a number, which has to be there.
pub fn listed(disk: &dyn Disk, store: &[u8; 16], to: u32) -> Result<LogListing, StoreError> {
    let mut listed = LogListing::default();
    let mut before = 0_u32;
    for number in numbers(disk)?.into_iter().filter(|number| *number <= to) {
        let path = path(number);
        let follows = match disk::find(disk, &path)? {
            // The reader of the file names the damage.
            Err(_) => None,
            Ok(file) => match beginning(file.as_ref(), number, &path, store)? {
                Beginning::Sound(previous) => Some(previous),
                Beginning::Damaged(_) => None,
                Beginning::Foreign(why) => {
                    listed.foreign.insert(number, Damage::new(path, 0, why));
                    continue;
                }
            },
        };
        let gap = before.saturating_add(1)..=number.saturating_sub(1);
        if !gap.is_empty() && (follows.is_none() || follows != ends_with(disk, store, before)?) {
            listed.missing.push(gap);
        }
        listed.files.push(number);
        before = number;
    }
    if before < to {
        listed.missing.push(before.saturating_add(1)..=to);
    }
    Ok(listed)
}

/// The digest of the commit that a file ends with, or that it was begun behind when it has none of its own;
/// `None` when it ends in anything else.
fn ends_with(
    disk: &dyn Disk,
    store: &[u8; 16],
    number: u32,
) -> Result<Option<[u8; 32]>, StoreError> {
    if number == 0 {
        return Ok(Some([0; 32]));
    }
    let path = path(number);
    let Ok(file) = disk::find(disk, &path)? else { return Ok(None) };
    let length = file.length().map_err(StoreError::io(format!("reading {path}")))?;
    if let Some(at) = length.checked_sub(COMMIT_RECORD_BYTES)
        && let Some(Ok(header)) = frame::read_header(file.as_ref(), &path, at)?
        && let Ok(payload) = frame::read_payload(file.as_ref(), &path, at, &header)?
    {
        match header.kind {
            RecordKind::Commit => return Ok(Some(header.name)),
            RecordKind::Summary => return Ok(Summary::decode(&payload).ok().map(|sum| sum.digest)),
            _ => {}
        }
    }
    let only_begun = match frame::read_header(file.as_ref(), &path, 0)? {
        Some(Ok(first)) => first.record_bytes() == length,
        _ => false,
    };
    Ok(match beginning(file.as_ref(), number, &path, store)? {
        Beginning::Sound(previous) if only_begun => Some(previous),
        _ => None,
    })
}

/// The number in a file name, if it is one of `NNNNNNNN.extension`.
pub fn number_of(name: &str, extension: &str) -> Option<u32> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok().filter(|number| *number > 0)
    } else {
        None
    }
}

/// The first record of every log and segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// The store it belongs to.
    pub store: [u8; 16],
    /// What the file is: `log`, `chunks`, `bodies` or `blocks`.
    pub role: &'static str,
    /// Its number.
    pub number: u32,
    /// What ended the file before it: a commit's or a footer's digest; zeros where there is none.
    pub previous: [u8; 32],
}

const ROLES: [&str; 4] = ["log", "chunks", "bodies", "blocks"];

impl FileHeader {
    /// The record.
    pub fn to_record(&self, sequence: u64) -> Result<Record, StoreError> {
        let mut to = Writer::new();
        to.raw(&self.store).text(self.role).u32(self.number).raw(&self.previous);
        let payload = to.finish();
        let name = *blake3::hash(&payload).as_bytes();
        let mut record = Record::plain(RecordKind::File, name, payload)?;
        record.header.sequence = sequence;
        Ok(record)
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let store = from.array("store id")?;
        let role = from.text("file role")?;
        let role = ROLES
            .into_iter()
            .find(|known| *known == role)
            .ok_or(WireFault::Invalid { what: "file role" })?;
        let header = Self {
            store,
            role,
            number: from.u32("file number")?,
            previous: from.array("previous digest")?,
        };
        from.finish()?;
        Ok(header)
    }
}

/// The end of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Counts up from 1.
    pub number: u64,
    /// The digest of the commit before; zeros for the first.
    pub previous: [u8; 32],
    /// The sequence of the batch's first record, chunk or fact.
    pub first_sequence: u64,
    /// How many facts the batch has.
    pub facts: u32,
    /// BLAKE3 of the headers of its facts, in order.
    pub facts_digest: [u8; 32],
    /// The segment its chunks are in, and from where to where; all zero without chunks.
    pub segment: u32,
    /// Where its first chunk record begins.
    pub segment_from: u64,
    /// Where its last chunk record ends.
    pub segment_to: u64,
    /// BLAKE3 of the headers of its chunk records, in order.
    pub segment_digest: [u8; 32],
}

/// Bytes of a commit's whole record, always the same: so the last one is found from its end.
pub const COMMIT_RECORD_BYTES: u64 = HEADER_BYTES as u64 + 144;

impl Commit {
    /// The record, without its sequence.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let mut to = Writer::new();
        to.u64(self.number).raw(&self.previous).u64(self.first_sequence).u32(self.facts);
        to.raw(&self.facts_digest).u32(self.segment).u64(self.segment_from).u64(self.segment_to);
        to.raw(&self.segment_digest).u64(0);
        let payload = to.finish();
        let name = *blake3::hash(&payload).as_bytes();
        Record::plain(RecordKind::Commit, name, payload)
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let commit = Self {
            number: frame::number(&mut from, "commit number")?,
            previous: from.array("previous commit")?,
            first_sequence: frame::number(&mut from, "first sequence")?,
            facts: from.u32("fact count")?,
            facts_digest: from.array("facts digest")?,
            segment: segment(&mut from)?,
            segment_from: frame::number(&mut from, "segment start")?,
            segment_to: frame::number(&mut from, "segment end")?,
            segment_digest: from.array("segment digest")?,
        };
        if from.u64("reserved")? != 0 {
            return Err(WireFault::Invalid { what: "reserved" });
        }
        from.finish()?;
        Ok(commit)
    }
}

/// Where the chunks of a commit are, in a unit that is kept elsewhere: all that has to be known of them to make their
/// rows, so that a start asks nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What the commit names.
    pub extent: Extent,
    /// Each chunk of it, in order.
    pub chunks: Vec<(ChunkName, Placement)>,
}

impl Places {
    /// The record, without its sequence. It stands behind the facts of its commit, and is counted with them.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let Extent { unit, from, to: end, digest, first_sequence } = &self.extent;
        let mut to = Writer::new();
        to.u32(*unit).u64(*from).u64(*end).raw(digest).u64(*first_sequence);
        to.raw(&encode_places(&self.chunks));
        let payload = to.finish();
        let name = *blake3::hash(&payload).as_bytes();
        Record::plain(RecordKind::Places, name, payload)
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let extent = Extent {
            unit: from.u32("unit")?,
            from: frame::number(&mut from, "unit start")?,
            to: frame::number(&mut from, "unit end")?,
            digest: from.array("digest")?,
            first_sequence: frame::number(&mut from, "first sequence")?,
        };
        let chunks = decode_places(extent.unit, &mut from)?;
        from.finish()?;
        Ok(Self { extent, chunks })
    }
}

/// Stands in a condensed log for the commits that were there: the facts before it, back to the summary
/// or the beginning before, are those of them that still matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The number of the last commit it stands for.
    pub number: u64,
    /// That commit's digest: the next commit follows it.
    pub digest: [u8; 32],
    /// The digest of the commit before the first one it stands for; zeros if that was the first of all.
    pub previous: [u8; 32],
    /// The sequence behind that of the last commit.
    pub sequence: u64,
    /// How many facts are left.
    pub facts: u32,
    /// BLAKE3 of the headers of these, in order.
    pub facts_digest: [u8; 32],
    /// The segment of the last chunk that the commits answered for; zero if none had chunks.
    pub segment: u32,
    /// Where that chunk ends.
    pub segment_to: u64,
}

impl Summary {
    /// The record: as long as a commit's, so that the record that ended a batch is found from the batch's end,
    /// whichever of the two it is.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let mut to = Writer::new();
        to.u64(self.number).raw(&self.digest).raw(&self.previous).u64(self.sequence);
        to.u32(self.facts).raw(&self.facts_digest).u32(self.segment).u64(self.segment_to);
        to.raw(&[0; 16]);
        let payload = to.finish();
        let name = *blake3::hash(&payload).as_bytes();
        let mut record = Record::plain(RecordKind::Summary, name, payload)?;
        record.header.sequence = self.sequence.saturating_sub(1);
        Ok(record)
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let summary = Self {
            number: frame::number(&mut from, "commit number")?,
            digest: from.array("commit")?,
            previous: from.array("previous commit")?,
            sequence: frame::number(&mut from, "sequence")?,
            facts: from.u32("fact count")?,
            facts_digest: from.array("facts digest")?,
            segment: segment(&mut from)?,
            segment_to: frame::number(&mut from, "segment end")?,
        };
        if from.array::<16>("reserved")? != [0; 16] {
            return Err(WireFault::Invalid { what: "reserved" });
        }
        from.finish()?;
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_reads_back_and_has_a_fixed_size() {
        let commit = Commit {
            number: 3,
            previous: [1; 32],
            first_sequence: 17,
            facts: 2,
            facts_digest: [2; 32],
            segment: 1,
            segment_from: 200,
            segment_to: 900,
            segment_digest: [3; 32],
        };
        let record = commit.to_record().unwrap();
        assert_eq!(record.record_bytes(), COMMIT_RECORD_BYTES);
        assert_eq!(Commit::decode(&record.payload), Ok(commit));
    }

    #[test]
    fn a_summary_reads_back_and_is_as_long_as_a_commit() {
        let summary = Summary {
            number: 3,
            digest: [1; 32],
            previous: [4; 32],
            sequence: 17,
            facts: 2,
            facts_digest: [2; 32],
            segment: 1,
            segment_to: 900,
        };
        let record = summary.to_record().unwrap();
        assert_eq!(record.record_bytes(), COMMIT_RECORD_BYTES);
        assert_eq!(Summary::decode(&record.payload), Ok(summary));
    }

    #[test]
    fn only_eight_digits_name_a_file() {
        assert_eq!(number_of("00000012.log", "log"), Some(12));
        for wrong in ["12.log", "00000012.seg", "0000001x.log", "00000000.log", "x00000012.log"] {
            assert_eq!(number_of(wrong, "log"), None, "{wrong}");
        }
    }
}
