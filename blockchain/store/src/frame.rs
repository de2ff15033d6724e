//! The record that every file of a data folder is made of.
//!
//! A record is a header of 128 bytes and a payload. The header carries a checksum over itself and a
//! digest of the payload, so each record stands on its own: one damaged record costs that record.
//! `docs/FORMATS.md` gives the layout byte by byte. Records follow each other without gaps; after
//! damage [`Scanner`] finds the next one by its magic and checksum.
//!
//! In one file because a record's header, its reading and the scanner that finds it are one format; a fifth are its
//! tests.

use crate::files::disk::{self, DiskFile};
use crate::{Damage, StoreError};

/// The first bytes of every record.
pub const MAGIC: [u8; 4] = *b"LCDR";
/// The version of the record format.
pub const VERSION: u8 = 1;
/// What is wrong with a record that nothing is wrong with: its header matches its checksum, and says what only a later
/// version knows.
pub const NEWER_RECORD: &str = "the record was written by a newer version of Lucid";
/// Bytes of a header.
pub const HEADER_BYTES: usize = 128;
/// Where the checksum stands in the header, behind everything else; it covers all of that.
const CHECKSUM_AT: usize = 120;
/// The largest record there is, in payload and in plaintext: the largest block body, with room for its
/// framing. [`Record`] makes none beyond it, and readers believe none.
pub const PAYLOAD_BYTES_MAX: u32 = 64 << 20;
/// But earlier versions wrote facts and footers of any length, and what they acknowledged is still read.
const OLD_PAYLOAD_BYTES_MAX: u32 = 1 << 30;

/// Sequences, heights and offsets on the disk are below this. So adding to such a number does not overflow, no
/// matter what a file claims: decoders refuse the rest, and nothing writes it.
pub const NUMBER_MAX: u64 = 1 << 62;

/// Reads a number that something will be added to.
pub(crate) fn number(
    from: &mut lucid_core::wire::Reader<'_>,
    what: &'static str,
) -> Result<u64, lucid_core::wire::WireFault> {
    let number = from.u64(what)?;
    let invalid = lucid_core::wire::WireFault::Invalid { what };
    if number < NUMBER_MAX { Ok(number) } else { Err(invalid) }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// The first record of a file: which store, which file.
    File = 1,
    /// A chunk's bytes.
    Chunk = 2,
    /// A fact.
    Fact = 3,
    /// The end of a batch of facts and chunks.
    Commit = 4,
    /// The index of a ended segment.
    Footer = 5,
    /// A block's transactions.
    Body = 6,
    /// What is kept of a block for ever.
    Block = 7,
    /// Stands for the commits of facts of which only some are left.
    Summary = 8,
    /// Where the chunks of a commit are, in a unit that is kept elsewhere.
    Places = 9,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::File,
            Self::Chunk,
            Self::Fact,
            Self::Commit,
            Self::Footer,
            Self::Body,
            Self::Block,
            Self::Summary,
            Self::Places,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// What it is, in words.
    fn what(self) -> &'static str {
        match self {
            Self::File => "the first record of a file",
            Self::Chunk => "a chunk's record",
            Self::Fact => "a fact",
            Self::Commit => "a commit",
            Self::Footer => "a segment's footer",
            Self::Body => "a block's body",
            Self::Block => "a block's record",
            Self::Summary => "a summary",
            Self::Places => "the places of a commit's chunks",
        }
    }

    /// The largest payload, and plaintext, that a reader believes.
    pub(crate) fn bytes_read_max(self) -> u32 {
        match self {
            Self::Fact | Self::Footer => OLD_PAYLOAD_BYTES_MAX,
            _ => PAYLOAD_BYTES_MAX,
        }
    }
}

/// How a payload was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CodecId {
    /// Not at all.
    Raw = 0,
    /// Zstandard.
    Zstd = 1,
    /// LZ4 block.
    Lz4 = 2,
    /// Gzip.
    Gzip = 3,
}

impl CodecId {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Raw, Self::Zstd, Self::Lz4, Self::Gzip].into_iter().find(|id| *id as u8 == byte)
    }
}

/// How a payload was encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CipherId {
    /// Not at all.
    Plain = 0,
    /// AES-256-GCM.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305 = 2,
}

impl CipherId {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Plain, Self::Aes256Gcm, Self::ChaCha20Poly1305]
            .into_iter()
            .find(|id| *id as u8 == byte)
    }
}

/// Everything about a record but its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the record is.
    pub kind: RecordKind,
    /// How the payload was compressed, before encryption.
    pub codec: CodecId,
    /// How the payload was encrypted.
    pub cipher: CipherId,
    /// Which data key it was encrypted under; zero without encryption.
    pub epoch: u32,
    /// The nonce of the encryption; zeros without.
    pub nonce: [u8; 12],
    /// The record's place in the order of all records of the store; never reused.
    pub sequence: u64,
    /// What the record is asked for by.
    pub name: [u8; 32],
    /// Bytes of the plaintext.
    pub plain_length: u32,
    /// Bytes of the payload as stored.
    pub stored_length: u32,
    /// BLAKE3 of the payload as stored.
    pub payload_digest: [u8; 32],
    /// Whose copy a chunk is: its name follows from this and its bytes. Zeros: everyone's.
    pub owner: [u8; 16],
}

impl Header {
    /// The header's 128 bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, self.kind as u8, self.codec as u8, self.cipher as u8]);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.extend_from_slice(&self.plain_length.to_le_bytes());
        bytes.extend_from_slice(&self.stored_length.to_le_bytes());
        bytes.extend_from_slice(&self.payload_digest);
        bytes.extend_from_slice(&self.owner);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes);
        header
    }

    /// Reads a header, or says why it is none.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        let (covered, sum) = bytes.split_at(CHECKSUM_AT);
        if !covered.starts_with(&MAGIC) {
            return Err("no record begins here");
        }
        if checksum(covered) != sum {
            return Err("the record's header does not match its checksum");
        }
        let mut at = lucid_core::wire::Reader::new(covered);
        let read = |at: &mut lucid_core::wire::Reader<'_>| -> Result<Self, &'static str> {
            let short = |_| "the record's header is cut short";
            at.raw(MAGIC.len(), "magic").map_err(short)?;
            if at.u8("version").map_err(short)? != VERSION {
                return Err(NEWER_RECORD);
            }
            let kind = RecordKind::from_byte(at.u8("kind").map_err(short)?);
            let codec = CodecId::from_byte(at.u8("codec").map_err(short)?);
            let cipher = CipherId::from_byte(at.u8("cipher").map_err(short)?);
            let header = Self {
                kind: kind.ok_or(NEWER_RECORD)?,
                codec: codec.ok_or(NEWER_RECORD)?,
                cipher: cipher.ok_or(NEWER_RECORD)?,
                epoch: at.u32("epoch").map_err(short)?,
                nonce: at.array("nonce").map_err(short)?,
                sequence: at.u64("sequence").map_err(short)?,
                name: at.array("name").map_err(short)?,
                plain_length: at.u32("plain length").map_err(short)?,
                stored_length: at.u32("stored length").map_err(short)?,
                payload_digest: at.array("payload digest").map_err(short)?,
                owner: at.array("owner").map_err(short)?,
            };
            if header.kind != RecordKind::Chunk && header.owner != [0; 16] {
                return Err(NEWER_RECORD);
            }
            let most = header.kind.bytes_read_max();
            if header.stored_length > most || header.plain_length > most {
                return Err("the record claims to be larger than any record may be");
            }
            if header.sequence >= NUMBER_MAX {
                return Err("the record claims a place that no record can have");
            }
            Ok(header)
        };
        read(&mut at)
    }

    /// What the encryption binds: everything a worker knows before the committer places the record.
    pub fn associated_data(&self) -> [u8; 60] {
        let encoded = self.encode();
        let mut bytes = [0; 60];
        let (first, second) = bytes.split_at_mut(24);
        for (to, from) in first.iter_mut().zip(encoded.iter()) {
            *to = *from;
        }
        for (to, from) in second.iter_mut().zip(encoded.iter().skip(32)) {
            *to = *from;
        }
        bytes
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.stored_length)
    }

    /// Whether the payload is the one the header was made for.
    pub fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.stored_length as usize
            && blake3::hash(payload) == blake3::Hash::from(self.payload_digest)
    }
}

/// Eight bytes of BLAKE3.
fn checksum(covered: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    for (to, from) in sum.iter_mut().zip(blake3::hash(covered).as_bytes()) {
        *to = *from;
    }
    sum
}

/// BLAKE3 of headers, one after the other. Since a header holds its payload's digest, this covers the
/// payloads too, without reading them again.
#[derive(Debug, Clone, Default)]
pub struct HeadersDigest(blake3::Hasher);

impl HeadersDigest {
    /// Of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header.
    pub fn add(&mut self, header: &Header) {
        self.0.update(&header.encode());
    }

    /// The digest.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// A record ready to be written, but for its sequence: the committer gives new ones, and a copy keeps its
/// own.
#[derive(Debug, Clone)]
pub struct Record {
    /// The header; its sequence is zero until the writer sets it.
    pub header: Header,
    /// The payload as it will be stored.
    pub payload: Vec<u8>,
}

impl Record {
    /// A record without compression or encryption.
    pub fn plain(kind: RecordKind, name: [u8; 32], payload: Vec<u8>) -> Result<Self, StoreError> {
        let length = payload.len();
        Self::draft(kind, name, payload, length)?.finish()
    }

    /// A record of so many bytes of plaintext, whose payload may still change; [`Record::finish`]
    /// completes it.
    pub(crate) fn draft(
        kind: RecordKind,
        name: [u8; 32],
        payload: Vec<u8>,
        plain_length: usize,
    ) -> Result<Self, StoreError> {
        let header = Header {
            kind,
            codec: CodecId::Raw,
            cipher: CipherId::Plain,
            epoch: 0,
            nonce: [0; 12],
            sequence: 0,
            name,
            plain_length: within(kind, plain_length)?,
            stored_length: within(kind, payload.len())?,
            payload_digest: [0; 32],
            owner: [0; 16],
        };
        Ok(Self { header, payload })
    }

    /// Sets what depends on the final payload.
    pub(crate) fn finish(mut self) -> Result<Self, StoreError> {
        self.header.stored_length = within(self.header.kind, self.payload.len())?;
        self.header.payload_digest = *blake3::hash(&self.payload).as_bytes();
        Ok(self)
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> u64 {
        self.header.record_bytes()
    }
}

/// The one place that decides how large a record may be made.
fn within(kind: RecordKind, bytes: usize) -> Result<u32, StoreError> {
    u32::try_from(bytes).ok().filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX).ok_or(
        StoreError::TooLarge {
            what: kind.what(),
            bytes: bytes as u64,
            most: PAYLOAD_BYTES_MAX.into(),
        },
    )
}

/// Why a record is damaged of which the medium does not give all bytes back: unlike anything else that
/// may be wrong with bytes, a crash does not leave this.
pub const UNREADABLE: &str = "the disk cannot read it";
/// Why a record with a sound header is damaged.
pub const UNSOUND: &str = "the record's payload does not match its digest";

/// Why a record is not read: it is damaged, or of a newer version.
pub(crate) fn unread(path: &str, offset: u64, why: &str) -> StoreError {
    match why {
        NEWER_RECORD => newer(path, offset),
        why => StoreError::Damaged(Damage::new(path, offset, why)),
    }
}

fn newer(path: &str, offset: u64) -> StoreError {
    StoreError::newer(format_args!("the record in {path} at byte {offset}"))
}

/// Reads the header at `offset`. `Ok(None)` is the end of the file; `Err(why)` inside is damage.
pub fn read_header(
    file: &dyn DiskFile,
    path: &str,
    offset: u64,
) -> Result<Option<Result<Header, &'static str>>, StoreError> {
    let mut bytes = [0; HEADER_BYTES];
    let count = match file.read_at(offset, &mut bytes) {
        Ok(count) => count,
        Err(error) if disk::is_media_error(&error) => return Ok(Some(Err(UNREADABLE))),
        Err(error) => return Err(StoreError::reading(path, offset)(error)),
    };
    Ok(match count {
        0 => None,
        HEADER_BYTES => Some(Header::decode(&bytes)),
        _ => Some(Err("the file ends inside a record's header")),
    })
}

/// Room for so many bytes is made because a header says so; for more only where they are.
const BELIEVED_BYTES: u32 = 16 << 20;

/// Reads the payload that belongs to a header; `Err(why)` inside is damage.
pub fn read_payload(
    file: &dyn DiskFile,
    path: &str,
    offset: u64,
    header: &Header,
) -> Result<Result<Vec<u8>, &'static str>, StoreError> {
    if header.stored_length > BELIEVED_BYTES {
        match file.length() {
            Ok(length) if offset.saturating_add(header.record_bytes()) <= length => {}
            Ok(_) => return Ok(Err(UNSOUND)),
            Err(error) if disk::is_media_error(&error) => return Ok(Err(UNREADABLE)),
            Err(error) => return Err(StoreError::reading(path, offset)(error)),
        }
    }
    let mut payload = vec![0; header.stored_length as usize];
    match file.read_at(offset + HEADER_BYTES as u64, &mut payload) {
        Ok(count) => payload.truncate(count),
        Err(error) if disk::is_media_error(&error) => return Ok(Err(UNREADABLE)),
        Err(error) => return Err(StoreError::reading(path, offset)(error)),
    }
    Ok(if header.matches(&payload) { Ok(payload) } else { Err(UNSOUND) })
}

/// One step of a [`Scanner`].
#[derive(Debug)]
pub enum Step {
    /// A record with a sound header, and where it begins.
    Record(u64, Header),
    /// Bytes that are no record, up to where the next one begins or the scan ends.
    Damaged(Damage),
}

/// The next record is looked for in pieces of this size.
const WINDOW_BYTES: usize = 64 << 10;

/// Walks the headers of a file from one record to the next, between two offsets. Every byte is looked at
/// a few times at most, regardless of what is in it.
pub struct Scanner<'a> {
    file: &'a dyn DiskFile,
    path: &'a str,
    offset: u64,
    end: u64,
    /// Bytes in which a record was looked for, and where they begin: rubbish between many records is
    /// read once.
    window: Vec<u8>,
    base: u64,
    /// Up to where something was that the medium does not give back.
    unreadable: u64,
}

impl<'a> Scanner<'a> {
    /// Starts at `from`, which must be where a record begins, and ends at `to`.
    pub fn new(file: &'a dyn DiskFile, path: &'a str, from: u64, to: u64) -> Self {
        Self { file, path, offset: from, end: to, window: Vec::new(), base: 0, unreadable: 0 }
    }

    /// Goes on with what an earlier scanner of the same file had looked at.
    pub(crate) fn with_window(mut self, (window, base): (Vec<u8>, u64)) -> Self {
        (self.window, self.base) = (window, base);
        self
    }

    /// What was looked at, for [`Scanner::with_window`].
    pub(crate) fn into_window(self) -> (Vec<u8>, u64) {
        (self.window, self.base)
    }

    /// Where the next step begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The end of the last bytes so far that the medium did not give back; zero if there were none.
    pub fn unreadable_to(&self) -> u64 {
        self.unreadable
    }

    /// The next record or the next damage; `None` at the end. A record of a newer version is neither, and ends the
    /// walk: what is done about damage, and about what is torn, would lose it.
    pub fn step(&mut self) -> Result<Option<Step>, StoreError> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let start = self.offset;
        let why = match read_header(self.file, self.path, start)? {
            None => "the file ends early",
            Some(Err(NEWER_RECORD)) => return Err(newer(self.path, start)),
            Some(Err(why)) => why,
            Some(Ok(header)) if header.record_bytes() > self.end - start => {
                "the record's payload is cut short"
            }
            Some(Ok(header)) => {
                self.offset = start + header.record_bytes();
                return Ok(Some(Step::Record(start, header)));
            }
        };
        if why == UNREADABLE {
            // A header may reach into the bad place from before it, and what is left of it is lost too.
            self.unreadable = self.unreadable.max(self.end.min(start + HEADER_BYTES as u64));
        }
        self.offset = self.find_record(start + 1)?;
        Ok(Some(Step::Damaged(Damage::new(self.path, start, why))))
    }

    /// Where the next sound header begins, or the end.
    fn find_record(&mut self, from: u64) -> Result<u64, StoreError> {
        let mut from = from;
        while from < self.end {
            let skip = from.checked_sub(self.base).and_then(|skip| usize::try_from(skip).ok());
            let seen = skip.and_then(|skip| self.window.get(skip..)).unwrap_or_default();
            if seen.len() < HEADER_BYTES {
                if self.look_at(from)? < HEADER_BYTES {
                    break;
                }
                continue;
            }
            for (at, bytes) in seen.windows(HEADER_BYTES).enumerate() {
                let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { continue };
                if bytes.starts_with(&MAGIC) && Header::decode(bytes).is_ok() {
                    return Ok((from + at as u64).min(self.end));
                }
            }
            from += (seen.len() - HEADER_BYTES + 1) as u64;
        }
        Ok(self.end)
    }

    /// Reads the bytes from an offset on, and says how many there are.
    fn look_at(&mut self, from: u64) -> Result<usize, StoreError> {
        self.window.resize(WINDOW_BYTES, 0);
        let mut bad = Vec::new();
        let read = disk::read_around(self.file, from, &mut self.window, &mut bad);
        let count = read.map_err(StoreError::reading(self.path, from))?;
        self.window.truncate(count);
        self.base = from;
        // Beyond what the walk is about, or behind where it goes on, nothing is its business yet.
        self.unreadable = bad
            .iter()
            .filter(|range| range.start < self.end)
            .fold(self.unreadable, |end, range| end.max(range.end.min(self.end)));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::io::Errno;

    use super::*;
    use crate::files::disk::Disk as _;
    use crate::files::disk::faulty::FaultyDisk;
    use crate::files::disk::simulated::SimulatedDisk;

    fn record(name: u8, payload: &[u8]) -> Vec<u8> {
        let record = Record::plain(RecordKind::Fact, [name; 32], payload.to_vec()).unwrap();
        [record.header.encode().to_vec(), record.payload].concat()
    }

    #[test]
    fn numbers_that_could_overflow_are_refused() {
        let read = |value: u64| {
            let mut to = lucid_core::wire::Writer::new();
            to.u64(value);
            let bytes = to.finish();
            number(&mut lucid_core::wire::Reader::new(&bytes), "a number").ok()
        };
        assert_eq!(read(NUMBER_MAX - 1), Some(NUMBER_MAX - 1));
        assert_eq!([NUMBER_MAX, u64::MAX].map(read), [None, None]);
    }

    #[test]
    fn a_header_reads_back_and_no_flipped_bit_passes() {
        let header = Record::plain(RecordKind::Chunk, [7; 32], vec![1, 2, 3]).unwrap().header;
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for at in 0..HEADER_BYTES {
            for bit in 0..8 {
                let mut flipped = bytes;
                flipped[at] ^= 1 << bit;
                assert!(Header::decode(&flipped).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    const KINDS: [RecordKind; 8] = [
        RecordKind::File,
        RecordKind::Chunk,
        RecordKind::Fact,
        RecordKind::Commit,
        RecordKind::Footer,
        RecordKind::Body,
        RecordKind::Block,
        RecordKind::Summary,
    ];

    #[test]
    fn a_record_of_any_kind_reads_back_at_the_limit_and_is_refused_one_byte_over_it() {
        let most = PAYLOAD_BYTES_MAX as usize;
        let mut payload = vec![0; most];
        for kind in KINDS {
            let record = Record::plain(kind, [1; 32], payload).unwrap();
            assert_eq!(Header::decode(&record.header.encode()), Ok(record.header.clone()));
            payload = record.payload;
            payload.push(0);
            let fault = Record::plain(kind, [1; 32], payload.clone()).unwrap_err();
            let told = matches!(fault, StoreError::TooLarge { bytes, most: limit, .. }
                if bytes == most as u64 + 1 && limit == most as u64);
            assert!(told, "{kind:?}: {fault}");
            payload.pop();
        }
        // A payload that is compressed may stay small; what it says of its plaintext is held too.
        assert!(Record::draft(RecordKind::Chunk, [1; 32], vec![1], most).is_ok());
        assert!(Record::draft(RecordKind::Chunk, [1; 32], vec![1], most + 1).is_err());
    }

    #[test]
    fn only_facts_and_footers_are_believed_to_be_longer_since_old_versions_wrote_them() {
        for kind in KINDS {
            let mut header = Record::plain(kind, [1; 32], vec![1]).unwrap().header;
            header.stored_length = PAYLOAD_BYTES_MAX + 1;
            let old = matches!(kind, RecordKind::Fact | RecordKind::Footer);
            assert_eq!(Header::decode(&header.encode()).is_ok(), old, "{kind:?}");
            header.stored_length = OLD_PAYLOAD_BYTES_MAX + 1;
            assert!(Header::decode(&header.encode()).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn a_record_that_claims_what_is_not_there_takes_no_room() {
        /// Notes the largest buffer that was to be filled.
        struct Watched(Arc<dyn DiskFile>, AtomicUsize);
        impl DiskFile for Watched {
            fn append(&self, parts: &[&[u8]]) -> std::io::Result<()> {
                self.0.append(parts)
            }
            fn read_some(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.1.fetch_max(buffer.len(), Ordering::Relaxed);
                self.0.read_some(offset, buffer)
            }
            fn length(&self) -> std::io::Result<u64> {
                self.0.length()
            }
            fn sync(&self) -> std::io::Result<()> {
                self.0.sync()
            }
            fn truncate(&self, length: u64) -> std::io::Result<()> {
                self.0.truncate(length)
            }
        }
        let file = Watched(SimulatedDisk::new().create("f").unwrap(), AtomicUsize::new(0));
        let mut header = Record::plain(RecordKind::Fact, [1; 32], vec![1]).unwrap().header;
        header.stored_length = OLD_PAYLOAD_BYTES_MAX;
        file.append(&[&header.encode(), &[1; 3_000]]).unwrap();
        assert_eq!(read_payload(&file, "f", 0, &header).unwrap(), Err(UNSOUND));
        let most = file.1.load(Ordering::Relaxed);
        assert!(most <= BELIEVED_BYTES as usize, "room was made for {most} bytes");
    }

    #[test]
    fn the_scanner_names_damage_and_goes_on_behind_it() {
        let disk = SimulatedDisk::new();
        let file = disk.create("f").unwrap();
        let (a, b, c) = (record(1, b"one"), record(2, &[9; 3000]), record(3, b"three"));
        file.append(&[&a, &b, &c]).unwrap();
        let second = a.len();
        assert!(disk.flip("f", second + 40));
        let end = file.length().unwrap();
        let mut scanner = Scanner::new(file.as_ref(), "f", 0, end);
        let mut seen = Vec::new();
        while let Some(step) = scanner.step().unwrap() {
            seen.push(match step {
                Step::Record(at, header) => format!("{at}:{}", header.name[0]),
                Step::Damaged(damage) => format!("damage at {}", damage.offset),
            });
        }
        let third = a.len() + b.len();
        assert_eq!(seen, ["0:1".to_owned(), format!("damage at {second}"), format!("{third}:3")]);
    }

    #[test]
    fn a_length_that_the_medium_does_not_give_is_damage_and_any_other_failure_is_none() {
        /// Gives nothing, not even its length.
        struct Refusing(Errno);
        impl DiskFile for Refusing {
            fn append(&self, _parts: &[&[u8]]) -> std::io::Result<()> {
                Err(self.0.into())
            }
            fn read_some(&self, _offset: u64, _buffer: &mut [u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn length(&self) -> std::io::Result<u64> {
                Err(self.0.into())
            }
            fn sync(&self) -> std::io::Result<()> {
                Err(self.0.into())
            }
            fn truncate(&self, _length: u64) -> std::io::Result<()> {
                Err(self.0.into())
            }
        }
        let mut header = Record::plain(RecordKind::Fact, [1; 32], vec![1]).unwrap().header;
        // So long that the length of the file is looked at first.
        header.stored_length = BELIEVED_BYTES + 1;
        let read = |errno: Errno| read_payload(&Refusing(errno), "f", 0, &header);
        assert_eq!(read(Errno::IO).unwrap(), Err(UNREADABLE));
        assert!(matches!(read(Errno::MFILE), Err(StoreError::Io { .. })));
    }

    #[test]
    fn a_header_that_cannot_be_read_is_unreadable_to_its_end_and_no_further() {
        let disk = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
        let file = disk.create("f").unwrap();
        let (first, second, third) = (record(1, b"one"), record(2, &[9; 20_000]), record(3, b""));
        file.append(&[&first, &second, &third]).unwrap();
        let begins = first.len() as u64;
        disk.break_bytes("f", begins..begins + 1, Errno::IO);
        let end = file.length().unwrap();
        let mut scanner = Scanner::new(file.as_ref(), "f", 0, end);
        let mut seen = Vec::new();
        while let Some(step) = scanner.step().unwrap() {
            seen.push((matches!(step, Step::Record(..)), scanner.unreadable_to()));
        }
        let to = begins + HEADER_BYTES as u64;
        assert_eq!(seen, [(true, 0), (false, to), (true, to)]);
    }
}
