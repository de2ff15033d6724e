//! The bytes of a unit as an object: who it is, its records, and what lists them.
//!
//! An object is made of the records that everything is written as ([`crate::frame`]): a first one that says whose it
//! is, the chunks' own, byte by byte as they lie in a segment, and a footer, with the trailer of a segment behind it
//! that says where the footer begins. So what is in an object is known by reading its end, a chunk by reading its
//! part, and where an end is damaged, by walking the records. `docs/FORMATS.md` gives every byte.
//!
//! Nothing in an object depends on how many processes write into a bucket. What is numbered by its writer today may be
//! numbered by a log: the short number that placements name a unit by is in no object.

use std::fmt::{self, Display};
use std::io;

use bytes::Bytes;
use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::StoreError;
use crate::contract::blobs::{Entry, Placement, UnitKind, flag};
use crate::files::disk::DiskFile;
use crate::files::segment::{TRAILER_BYTES, placement_of, read_trailer, trailer};
use crate::frame::{self, HEADER_BYTES, Header, HeadersDigest, Record, RecordKind};

/// The folder of the units below a store's prefix.
pub const FOLDER: &str = "unit";

/// What the first record calls itself.
const ROLE: &str = "object";

/// The name of an object: a number that grows, and one drawn at random, so that no two writers ever put into the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What is counted.
    pub number: u64,
    /// What is drawn.
    pub random: u64,
}

impl Key {
    /// Reads a name as it is displayed, and no other spelling.
    pub fn parse(name: &str) -> Option<Self> {
        let (number, random) = name.split_once('-')?;
        let read = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let key = Self { number: read(number)?, random: read(random)? };
        (key.to_string() == name).then_some(key)
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.number, self.random)
    }
}

/// What the first record of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The store that it is part of.
    pub store: [u8; 16],
    /// Its own name: bytes that were copied under another one are found out.
    pub key: Key,
    /// How it came to be.
    pub kind: UnitKind,
    /// The zstd level that all of its records were packed at, at least; zero: as they came.
    pub level: u8,
    /// The units that it stands for.
    pub replaces: Vec<u32>,
}

impl Head {
    /// The record.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let mut to = Writer::new();
        to.raw(&self.store).text(ROLE).u64(self.key.number).u64(self.key.random);
        to.u8(match self.kind {
            UnitKind::Written => 1,
            UnitKind::Made => 2,
        });
        to.u8(self.level).count(self.replaces.len());
        for unit in &self.replaces {
            to.u32(*unit);
        }
        named(RecordKind::File, to.finish())
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let store = from.array("store id")?;
        if from.text("role")? != ROLE {
            return Err(WireFault::Invalid { what: "role" });
        }
        let key = key(&mut from)?;
        let kind = match from.u8("kind")? {
            1 => UnitKind::Written,
            2 => UnitKind::Made,
            _ => return Err(WireFault::Invalid { what: "kind" }),
        };
        let level = from.u8("level")?;
        let count = from.u32("count of replaced units")?;
        let mut replaces = Vec::new();
        for _ in 0..count {
            replaces.push(from.u32("replaced unit")?);
        }
        from.finish()?;
        Ok(Self { store, key, kind, level, replaces })
    }
}

/// What lists the records of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The object's own name.
    pub key: Key,
    /// BLAKE3 of the records' headers, in order: what a commit says of them.
    pub digest: [u8; 32],
    /// The records, in order.
    pub entries: Vec<Entry>,
}

impl Footer {
    /// The record.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let mut to = Writer::with_room(52 + self.entries.len() * ENTRY_BYTES);
        to.u64(self.key.number).u64(self.key.random).raw(&self.digest).count(self.entries.len());
        for Entry { name, sequence, placement } in &self.entries {
            to.raw(name.as_bytes()).u64(*sequence).u64(placement.offset);
            to.u32(placement.stored_length).u32(placement.plain_length);
            to.u8(u8::from(placement.encrypted));
        }
        named(RecordKind::Footer, to.finish())
    }

    /// Reads the payload, of what is known as this unit.
    pub fn decode(payload: &[u8], unit: u32) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let key = key(&mut from)?;
        let digest = from.array("digest of headers")?;
        let count = from.u32("entry count")?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let name = ChunkName::new(from.array("chunk name")?);
            let sequence = frame::number(&mut from, "sequence")?;
            let placement = Placement {
                unit,
                offset: frame::number(&mut from, "offset")?,
                stored_length: from.u32("stored length")?,
                plain_length: from.u32("plain length")?,
                encrypted: flag(from.u8("encrypted")?)?,
            };
            entries.push(Entry { name, sequence, placement });
        }
        from.finish()?;
        Ok(Self { key, digest, entries })
    }

    /// Where the footer begins, by the end of an object.
    pub fn find(end: &[u8]) -> Option<u64> {
        read_trailer(end.last_chunk::<TRAILER_BYTES>()?)
    }

    /// Reads what lies between where a footer begins and the end of its object.
    pub fn read(bytes: &[u8], unit: u32) -> Result<Self, String> {
        let (record, _) = bytes.split_last_chunk::<TRAILER_BYTES>().ok_or(CUT_SHORT)?;
        let (header, payload) = record.split_first_chunk::<HEADER_BYTES>().ok_or(CUT_SHORT)?;
        let header = Header::decode(header)?;
        if header.kind != RecordKind::Footer || !header.matches(payload) {
            return Err("the footer does not match its digest".into());
        }
        Self::decode(payload, unit).map_err(|fault| format!("the footer: {fault}"))
    }
}

/// Bytes of an entry in a footer.
pub const ENTRY_BYTES: usize = 32 + 8 + 8 + 4 + 4 + 1;

const CUT_SHORT: &str = "the object is cut short";

fn key(from: &mut Reader<'_>) -> Result<Key, WireFault> {
    Ok(Key { number: from.u64("number")?, random: from.u64("random number")? })
}

/// A plain record that is named by its bytes.
pub(super) fn named(kind: RecordKind, payload: Vec<u8>) -> Result<Record, StoreError> {
    Record::plain(kind, *blake3::hash(&payload).as_bytes(), payload)
}

/// An object that is put together.
pub struct Draft {
    unit: u32,
    key: Key,
    bytes: Vec<u8>,
    begins: u64,
    digest: HeadersDigest,
    entries: Vec<Entry>,
}

/// An object, ready to be put.
pub struct Drafted {
    /// All of it.
    pub bytes: Bytes,
    /// Where its first chunk record begins.
    pub from: u64,
    /// Where its last one ends.
    pub to: u64,
    /// What lists them.
    pub footer: Footer,
}

impl Draft {
    /// Begins one that will be known as this unit.
    pub fn begin(head: &Head, unit: u32) -> Result<Self, StoreError> {
        let record = head.to_record()?;
        let mut draft = Self {
            unit,
            key: head.key,
            bytes: Vec::new(),
            begins: record.record_bytes(),
            digest: HeadersDigest::new(),
            entries: Vec::new(),
        };
        draft.append(&record.header, &record.payload);
        Ok(draft)
    }

    fn append(&mut self, header: &Header, payload: &[u8]) {
        self.bytes.extend_from_slice(&header.encode());
        self.bytes.extend_from_slice(payload);
    }

    /// Makes room, so that bytes are not moved again and again.
    pub fn reserve(&mut self, bytes: u64) {
        self.bytes.reserve(usize::try_from(bytes).unwrap_or(0));
    }

    /// Adds a chunk's record as it is.
    pub fn add(&mut self, header: &Header, payload: &[u8]) {
        let placement = placement_of(self.unit, self.bytes.len() as u64, header);
        self.append(header, payload);
        self.digest.add(header);
        let name = ChunkName::new(header.name);
        self.entries.push(Entry { name, sequence: header.sequence, placement });
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<Drafted, StoreError> {
        let to = self.bytes.len() as u64;
        let entries = std::mem::take(&mut self.entries);
        let footer = Footer { key: self.key, digest: self.digest.finish(), entries };
        let record = footer.to_record()?;
        self.append(&record.header, &record.payload);
        self.bytes.extend_from_slice(&trailer(to));
        Ok(Drafted { bytes: self.bytes.into(), from: self.begins, to, footer })
    }
}

/// Bytes at hand, for what reads files.
pub(super) struct Held(pub Bytes);

impl DiskFile for Held {
    fn append(&self, _: &[&[u8]]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        Ok(buffer.iter_mut().zip(rest.unwrap_or_default()).map(|(to, from)| *to = *from).count())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
