//! How far the log has come, noted beside the chunks for copies that have no disk of their own.
//!
//! Each note is an object of its own, so none is ever written over, and one that is put late harms nothing: the highest
//! counts. Its name says which place it is of; its content has the commit's digest, which tells that commit from
//! another of the same number. A process removes its own notes behind the next one, and those that it finds at its
//! first.

use std::fmt::{self, Display};

use lucid_core::wire::{Reader, WireFault, Writer};
use parking_lot::Mutex;

use super::bucket::Bucket;
use super::failure::Failure;
use super::object::named;
use crate::StoreError;
use crate::contract::fact_log::{Incarnation, Place};
use crate::crypt::random;
use crate::frame::{HEADER_BYTES, Header, Record, RecordKind};

/// The folder of the notes below a store's prefix.
pub const FOLDER: &str = "mark";

/// What a note calls itself.
const ROLE: &str = "log";

/// The name of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The number of the incarnation.
    pub incarnation: u32,
    /// The number of the commit.
    pub n: u64,
    /// Drawn, so that no two are put under one name.
    pub random: u64,
}

impl Name {
    /// Reads a name as it is displayed, and no other spelling.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let (incarnation, n, random) = (u32::try_from(next()?).ok()?, next()?, next()?);
        let read = Self { incarnation, n, random };
        (read.to_string() == name).then_some(read)
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:016x}-{:016x}", self.incarnation, self.n, self.random)
    }
}

/// What a note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The store whose log it is.
    pub store: [u8; 16],
    /// The place that it has come to.
    pub place: Place,
    /// The drawn part of its own name: bytes that were copied under another one are found out.
    pub random: u64,
}

impl Reached {
    fn name(&self) -> Name {
        let Place { n, incarnation, .. } = self.place;
        Name { incarnation: incarnation.number, n, random: self.random }
    }

    /// The record.
    pub fn to_record(&self) -> Result<Record, StoreError> {
        let Place { n, digest, incarnation } = self.place;
        let mut to = Writer::new();
        to.raw(&self.store).text(ROLE).u64(n).raw(&digest);
        to.u32(incarnation.number).raw(&incarnation.id).u64(self.random);
        named(RecordKind::File, to.finish())
    }

    /// Reads the payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(payload);
        let store = from.array("store id")?;
        if from.text("role")? != ROLE {
            return Err(WireFault::Invalid { what: "role" });
        }
        let (n, digest) = (from.u64("commit")?, from.array("digest")?);
        let incarnation = Incarnation { number: from.u32("incarnation")?, id: from.array("id")? };
        let (place, random) = (Place { n, digest, incarnation }, from.u64("random number")?);
        from.finish()?;
        Ok(Self { store, place, random })
    }

    /// Reads a whole note; `None` when it is damaged.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::decode(header).ok()?;
        header.matches(payload).then(|| Self::decode(payload).ok()).flatten()
    }
}

/// The notes of a bucket, as far as this process knows them.
#[derive(Default)]
pub struct Notes {
    known: Mutex<Vec<Name>>,
}

impl Notes {
    /// The highest place that was noted. A note that is damaged, or another store's, is passed over and said.
    pub fn highest(&self, bucket: &Bucket, store: &[u8; 16]) -> Result<Option<Place>, StoreError> {
        let failed = |what: String| {
            let context = format!("{what} in {}", bucket.title);
            move |failure: Failure| StoreError::io(context)(failure.into_io())
        };
        let listed = bucket.list(FOLDER, None).map_err(failed(format!("listing {FOLDER}/")))?;
        let mut there: Vec<(Name, u64)> =
            listed.iter().filter_map(|(name, bytes)| Some((Name::parse(name)?, *bytes))).collect();
        there.sort_unstable();
        *self.known.lock() = there.iter().map(|(name, _)| *name).collect();
        for (name, bytes) in there.iter().rev() {
            let text = name.to_string();
            let read = bucket.get(FOLDER, &text, 0..*bytes);
            let read = read.map_err(failed(format!("reading {FOLDER}/{name}")))?;
            match Reached::read(&read.bytes) {
                Some(found) if found.store == *store && found.name() == *name => {
                    return Ok(Some(found.place));
                }
                _ => {
                    tracing::error!(%name, bucket = bucket.title, "a note of the log's end is damaged")
                }
            }
        }
        Ok(None)
    }

    /// Notes a place, and removes the notes before it. A put is tried once: the next commits bring the next note.
    pub fn put(&self, bucket: &Bucket, store: [u8; 16], place: &Place) -> Result<(), StoreError> {
        let reached = Reached { store, place: *place, random: u64::from_le_bytes(random()?) };
        let name = reached.name();
        let Record { header, payload } = reached.to_record()?;
        let bytes = [header.encode().as_slice(), &payload].concat();
        bucket.put_once(FOLDER, &name.to_string(), bytes.into()).map_err(|failure| {
            let context = format!("putting {FOLDER}/{name} in {}", bucket.title);
            StoreError::io(context)(failure.into_io())
        })?;
        // Which of those it knows is highest, its last one decides: one of a later incarnation stays.
        let behind: Vec<Name> = {
            let mut known = self.known.lock();
            let (stay, go) = known.drain(..).partition(|other| *other > name);
            *known = stay;
            known.push(name);
            go
        };
        for older in behind {
            if let Err(failure) = bucket.delete_once(FOLDER, &older.to_string()) {
                tracing::debug!(%failure, name = %older, "an old note of the log's end stays");
            }
        }
        Ok(())
    }
}
