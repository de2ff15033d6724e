//! The rows of the queue of the index.

use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{DEAD, ENTRY, INDEXING, QUEUED};

use super::documents::DocumentName;
use crate::document::DocumentKind;
use crate::fact::ItemName;

/// An item that waits to be indexed, or cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow {
    /// What it is about.
    pub kind: DocumentKind,
    /// When it came, or came to be dead.
    pub at: Timestamp,
    /// Its text.
    pub text: String,
    /// Why it cannot be indexed; empty while it waits.
    pub why: String,
}

impl ItemRow {
    /// The key of an item that waits.
    pub fn queued_key(name: ItemName) -> Vec<u8> {
        [[QUEUED].as_slice(), &name.0].concat()
    }

    /// The key of an item that cannot be indexed.
    pub fn dead_key(name: ItemName) -> Vec<u8> {
        [[DEAD].as_slice(), &name.0].concat()
    }

    /// Where items that wait begin and end.
    pub fn queued_range() -> (Vec<u8>, Vec<u8>) {
        (vec![QUEUED], vec![QUEUED + 1])
    }

    /// Where dead items from a name on begin, and where they end.
    pub fn dead_range(from: ItemName) -> (Vec<u8>, Vec<u8>) {
        (Self::dead_key(from), vec![DEAD + 1])
    }

    /// The name in such a key.
    pub fn name_in(key: &[u8]) -> Option<ItemName> {
        key.get(1..)?.try_into().ok().map(ItemName)
    }

    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u8(self.kind.code()).i64(self.at.as_micros()).text(&self.text).text(&self.why);
        to.finish()
    }

    /// Opens a row's value.
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        let bytes = cipher.decrypt_value(key, value)?;
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            let kind = DocumentKind::from_code(from.u8("an item's kind")?);
            Ok(Self {
                kind: kind.ok_or(WireFault::Invalid { what: "an item's kind" })?,
                at: from.time("a time")?,
                text: from.text("an item")?.to_owned(),
                why: from.text("why an item is none")?.to_owned(),
            })
        };
        let mut from = Reader::new(&bytes);
        read(&mut from)
            .and_then(|row| from.finish().map(|()| row))
            .map_err(|fault| StoreError::Index(format!("an item's row: {fault}")))
    }
}

/// The key of what was indexed of something that is not stored.
pub fn entry_key(name: &DocumentName) -> Vec<u8> {
    [[ENTRY, name.kind.code()].as_slice(), &name.name].concat()
}

/// How the queue of the index goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexingCounts {
    /// Items that wait.
    pub queued: u64,
    /// Items that cannot be indexed.
    pub dead: u64,
    /// What was indexed of blocks, transactions and sessions that are not stored.
    pub entries: [u64; 3],
    /// Bytes of the texts of both kinds of items.
    pub bytes: u64,
}

impl IndexingCounts {
    /// The key of the row.
    pub fn key() -> Vec<u8> {
        vec![INDEXING]
    }

    /// The counts of an index.
    pub fn find(index: &dyn Index) -> Result<Self, StoreError> {
        let row = index.get(&Self::key())?;
        Ok(row.map(|row| Self::decode(&row)).transpose()?.unwrap_or_default())
    }

    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.queued).u64(self.dead);
        for count in self.entries {
            to.u64(count);
        }
        to.u64(self.bytes);
        to.finish()
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            Ok(Self {
                queued: from.u64("items")?,
                dead: from.u64("dead items")?,
                entries: [from.u64("entries")?, from.u64("entries")?, from.u64("entries")?],
                // Earlier versions did not count them.
                bytes: if from.is_empty() { 0 } else { from.u64("bytes")? },
            })
        };
        let mut from = Reader::new(bytes);
        read(&mut from)
            .and_then(|counts| from.finish().map(|()| counts))
            .map_err(|fault| StoreError::Index(format!("the counts of the index: {fault}")))
    }
}
