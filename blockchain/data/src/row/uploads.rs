//! The rows of uploads: chunks that are kept although no session need refer to them, and what each of their senders
//! said of them.

use lucid_core::digest::{ChunkId, ChunkName};
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::UPLOADED;

use super::chunks::{open_row, time};

/// A chunk that is kept although no session need refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedRow {
    /// The chunk.
    pub chunk: ChunkId,
    /// How long it is.
    pub length: u32,
    /// What is known of it, of all senders together.
    pub note: UploadNote,
    /// The same of those who sent it with credentials, the latest [`SENDERS_MAX`], by what these are called. None of
    /// them learns what another said, or that there was one.
    pub senders: Vec<(String, UploadNote)>,
}

/// What is known of the uploads of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadNote {
    /// When it came first.
    pub at: Timestamp,
    /// Until when it is kept; without it until a client deletes it.
    pub until: Option<Timestamp>,
    /// What was said of it, as a JSON object; may be empty.
    pub metadata: String,
}

/// Senders of a chunk that are kept in mind. An earlier one sends it again where it relies on it.
pub const SENDERS_MAX: usize = 16;

impl UploadNote {
    /// Whether it still keeps its chunk.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Notes that it was sent once more. An upload that stays until a client deletes it is not ended by the clock, and
    /// keeps the metadata that it has.
    pub fn sent_again(&mut self, note: &Self) {
        let Some(old) = self.until else { return };
        self.until = note.until.map(|until| old.max(until));
        if !note.metadata.is_empty() {
            self.metadata.clone_from(&note.metadata);
        }
    }

    fn write(&self, to: &mut Writer) {
        to.i64(self.at.as_micros());
        to.option(self.until, |to, until| {
            to.i64(until.as_micros());
        });
        to.text(&self.metadata);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        Ok(Self {
            at: time(from)?,
            until: from.option("an end", time)?,
            metadata: from.text("metadata")?.to_owned(),
        })
    }
}

impl UploadedRow {
    /// Notes who sent it, and what was said with it.
    pub fn sent_by(&mut self, sender: &str, note: &UploadNote) {
        if let Some((_, known)) = self.senders.iter_mut().find(|(known, _)| known == sender) {
            return known.sent_again(note);
        }
        if self.senders.len() == SENDERS_MAX {
            self.senders.remove(0);
        }
        self.senders.push((sender.to_owned(), note.clone()));
    }

    /// What is known of the uploads by one sender.
    pub fn note_of(&self, sender: &str) -> Option<&UploadNote> {
        self.senders.iter().find(|(known, _)| known == sender).map(|(_, note)| note)
    }

    /// The key of its row.
    pub fn key(name: &ChunkName) -> Vec<u8> {
        [&[UPLOADED], name.as_bytes().as_slice()].concat()
    }

    /// Where such rows begin and end.
    pub fn range() -> (Vec<u8>, Vec<u8>) {
        (vec![UPLOADED], vec![UPLOADED + 1])
    }

    /// The chunk's name, from the key of its row.
    pub fn name_in(key: &[u8]) -> Option<ChunkName> {
        key.last_chunk::<32>().map(|name| ChunkName::new(*name))
    }

    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.raw(self.chunk.as_bytes()).u32(self.length);
        self.note.write(&mut to);
        for (sender, note) in &self.senders {
            note.write(to.text(sender));
        }
        to.finish()
    }

    /// Reads [`UploadedRow::encode`], encrypted under the row's key.
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        open_row(cipher, key, value, "an upload", |from| {
            Ok(Self {
                chunk: ChunkId::new(from.array("a chunk id")?),
                length: from.u32("a length")?,
                note: UploadNote::read(from)?,
                senders: {
                    let mut senders = Vec::new();
                    while !from.is_empty() {
                        senders.push((from.text("a sender")?.to_owned(), UploadNote::read(from)?));
                    }
                    senders
                },
            })
        })
    }

    /// The row of a chunk, if there is one.
    pub fn find(
        index: &dyn Index,
        cipher: &Cipher,
        name: &ChunkName,
    ) -> Result<Option<Self>, StoreError> {
        let key = Self::key(name);
        index.get(&key)?.map(|value| Self::open(cipher, &key, value)).transpose()
    }
}
