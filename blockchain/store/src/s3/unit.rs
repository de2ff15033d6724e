//! Reading one object: its first record, what lists its records, or single ones.

use std::ops::Range;

use bytes::Bytes;
use lucid_core::digest::ChunkName;

use super::bucket::Bucket;
use super::failure::Kind;
use super::object::{FOLDER, Footer, Head, Held, Key};
use crate::contract::blobs::{Entry, Placement};
use crate::files::segment::{TRAILER_BYTES, placement_of};
use crate::frame::{
    self, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX, RecordKind, Scanner, Step, UNSOUND,
};
use crate::{Damage, StoreError};

/// So much of an end is read at once: the footers of what is written as chunks come fit.
const END_BYTES: u64 = 64 << 10;

/// So much of a beginning is read at once.
const HEAD_BYTES: u64 = 4 << 10;

/// What people know a unit by; its object's name begins so.
pub fn title(unit: u32) -> String {
    format!("{FOLDER}/{unit:016x}")
}

/// The unit of a title.
pub fn number_of(text: &str) -> Option<u32> {
    let digits = text.strip_prefix(FOLDER)?.strip_prefix('/')?;
    u32::from_str_radix(digits, 16).ok().filter(|unit| title(*unit) == text)
}

/// An object, or what will be put as one.
pub struct Object<'a> {
    /// Where it is.
    pub bucket: &'a Bucket,
    /// The store that asks.
    pub store: [u8; 16],
    /// The unit that it is.
    pub unit: u32,
    /// Its name.
    pub key: Key,
    /// How many bytes it has.
    pub length: u64,
    /// All of it, where it is not put yet.
    pub draft: Option<Bytes>,
}

/// The records of an object, and what is wrong with it.
#[derive(Default)]
pub struct Listed {
    /// The digest of their headers, if the object's own list says it.
    pub digest: Option<[u8; 32]>,
    /// The records, in order.
    pub entries: Vec<Entry>,
    /// What is wrong with the list.
    pub unlisted: Option<Damage>,
    /// What is wrong with the records, if it had to be looked for.
    pub damage: Vec<Damage>,
}

impl Object<'_> {
    fn damage(&self, at: u64, why: impl std::fmt::Display) -> Damage {
        Damage::new(title(self.unit), at, why)
    }

    /// Reads a part, or as much of it as there is. That the object is not there is no damage.
    fn get(&self, part: Range<u64>) -> Result<Bytes, StoreError> {
        if let Some(draft) = &self.draft {
            let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(draft.len());
            return Ok(draft.slice(bound(part.start)..bound(part.end)));
        }
        if part.is_empty() {
            return Ok(Bytes::new());
        }
        match self.bucket.get(FOLDER, &self.key.to_string(), part) {
            Ok(got) => Ok(got.bytes),
            Err(failure) if failure.kind == Kind::Beyond => Ok(Bytes::new()),
            Err(failure) => {
                let context = format!("reading {FOLDER}/{} in {}", self.key, self.bucket.title);
                Err(StoreError::io(context)(failure.into_io()))
            }
        }
    }

    /// Reads the record of a chunk in one piece. Opening it tells whether the payload is the one that was written.
    pub fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError> {
        let at = placement.offset;
        let damaged = |why: &str| StoreError::Damaged(self.damage(at, why));
        if placement.stored_length > PAYLOAD_BYTES_MAX {
            return Err(damaged("it claims to be larger than any record may be"));
        }
        let end = at.saturating_add(placement.record_bytes());
        let bytes = match end > self.length {
            true => Bytes::new(),
            false => self.get(at..end)?,
        };
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(damaged("the object ends early"));
        };
        let header =
            Header::decode(header).map_err(|why| frame::unread(&title(self.unit), at, why))?;
        if header.kind != RecordKind::Chunk || header.name != *name.as_bytes() {
            return Err(damaged("another record is where the chunk should be"));
        }
        if payload.len() != header.stored_length as usize {
            return Err(damaged("the record's payload is cut short"));
        }
        // No other holds the bytes then, so they move within their own room.
        let payload = bytes.slice(HEADER_BYTES..);
        drop(bytes);
        Ok((header, payload.into()))
    }

    /// The sequence of the record of a chunk at a place, if that can be read.
    pub fn sequence(&self, name: &ChunkName, offset: u64) -> Result<Option<u64>, StoreError> {
        let end = offset.saturating_add(HEADER_BYTES as u64);
        if end > self.length {
            return Ok(None);
        }
        let bytes = self.get(offset..end)?;
        let header =
            bytes.first_chunk::<HEADER_BYTES>().and_then(|bytes| Header::decode(bytes).ok());
        Ok(header.filter(|header| header.name == *name.as_bytes()).map(|header| header.sequence))
    }

    /// The first record, or what is wrong with it.
    pub fn head(&self) -> Result<Result<Head, Damage>, StoreError> {
        let fault = |why: &str| Ok(Err(self.damage(0, why)));
        let beginning = self.get(0..self.length.min(HEAD_BYTES))?;
        let Some(header) = beginning.first_chunk::<HEADER_BYTES>() else {
            return fault("the object ends early");
        };
        let header = match Header::decode(header) {
            Err(frame::NEWER_RECORD) => return Err(StoreError::newer(title(self.unit))),
            Err(why) => return fault(why),
            Ok(header) => header,
        };
        let end = header.record_bytes();
        if header.kind != RecordKind::File || end > self.length {
            return fault("the object does not begin as one");
        }
        let record = match end > beginning.len() as u64 {
            false => beginning,
            true => self.get(0..end)?,
        };
        let payload = usize::try_from(end).ok().and_then(|end| record.get(HEADER_BYTES..end));
        match payload {
            Some(payload) if header.matches(payload) => match Head::decode(payload) {
                Ok(head) if head.key == self.key => Ok(Ok(head)),
                Ok(_) => fault("the object was put under another name"),
                Err(why) => fault(&format!("the first record: {why}")),
            },
            _ => fault(UNSOUND),
        }
    }

    /// Why it is no part of this store, if its first record says so. One that cannot be read says nothing.
    pub fn foreign(&self) -> Result<Option<Damage>, StoreError> {
        Ok(match self.head()? {
            Ok(head) if head.store != self.store => {
                Some(self.damage(0, "the object is another store's"))
            }
            _ => None,
        })
    }

    /// Its records: as its footer lists them, and where that is damaged, as they lie in it.
    pub fn list(&self) -> Result<Listed, StoreError> {
        match self.footer()? {
            Ok(Footer { digest, entries, .. }) => {
                Ok(Listed { digest: Some(digest), entries, ..Listed::default() })
            }
            Err(damage) => {
                Ok(Listed { unlisted: Some(damage.clone()), ..self.walk(damage.offset)? })
            }
        }
    }

    fn footer(&self) -> Result<Result<Footer, Damage>, StoreError> {
        let begins = self.length.saturating_sub(END_BYTES);
        let end = self.get(begins..self.length)?;
        let most = self.length.saturating_sub(TRAILER_BYTES as u64);
        let Some(at) = Footer::find(&end).filter(|at| *at <= most) else {
            return Ok(Err(self.damage(self.length, "the object does not end as one")));
        };
        let bytes = match at.checked_sub(begins).and_then(|skip| usize::try_from(skip).ok()) {
            Some(skip) => end.slice(skip.min(end.len())..),
            None => self.get(at..self.length)?,
        };
        Ok(match Footer::read(&bytes, self.unit) {
            Ok(footer) if footer.key == self.key => Ok(footer),
            Ok(_) => Err(self.damage(at, "the footer is another object's")),
            Err(why) => Err(self.damage(at, why)),
        })
    }

    /// Walks the records, up to a place or to the footer.
    fn walk(&self, to: u64) -> Result<Listed, StoreError> {
        let mut listed = Listed::default();
        let mut is_all = to < self.length;
        let bytes = Held(self.get(0..to.min(self.length))?);
        let path = title(self.unit);
        let mut scanner = Scanner::new(&bytes, &path, 0, to.min(self.length));
        while let Some(step) = scanner.step()? {
            match step {
                Step::Record(_, header) if header.kind == RecordKind::Footer => {
                    is_all = true;
                    break;
                }
                Step::Record(offset, header) if header.kind == RecordKind::Chunk => {
                    let placement = placement_of(self.unit, offset, &header);
                    let name = ChunkName::new(header.name);
                    listed.entries.push(Entry { name, sequence: header.sequence, placement });
                }
                Step::Record(..) => {}
                Step::Damaged(damage) => listed.damage.push(damage),
            }
        }
        if !is_all {
            listed.damage.push(self.damage(self.length, "the object ends before its footer"));
        }
        Ok(listed)
    }
}
