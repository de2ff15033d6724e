//! The rows of sessions that are held, and of sessions that are gone.

use lucid_core::digest::{BlockHash, SessionRoot};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{BY_REMOVAL, HOLD, RETENTION, TOMBSTONE, UNCHAINED};

use super::{SessionName, ordered};

/// What stands in the place of a removed session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TombstoneRow {
    /// The session that was removed.
    pub id: SessionId,
    /// When.
    pub removed_at: Timestamp,
    /// The root over the chunks it had.
    pub root: SessionRoot,
    /// Why; may be empty.
    pub reason: String,
    /// The text of the signed transaction that says all this.
    pub text: String,
    /// The block that the transaction is in, once it is.
    pub chained: Option<(u64, BlockHash)>,
}

/// Why a session must not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Why; may be empty.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl TombstoneRow {
    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.text(self.id.as_str()).i64(self.removed_at.as_micros()).raw(self.root.as_bytes());
        to.text(&self.reason).text(&self.text);
        to.option(self.chained, |to, (index, hash)| {
            to.u64(index).raw(hash.as_bytes());
        });
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let invalid = |what| WireFault::Invalid { what };
        let row = Self {
            id: from.text("a session id")?.parse().map_err(|_| invalid("a session id"))?,
            removed_at: from.time("a time")?,
            root: SessionRoot::new(from.array("a root")?),
            reason: from.text("a reason")?.to_owned(),
            text: from.text("a tombstone")?.to_owned(),
            chained: from.option("a block", |from| {
                Ok((from.u64("a block index")?, BlockHash::new(from.array("a block hash")?)))
            })?,
        };
        from.finish()?;
        Ok(row)
    }

    /// Opens a row's value.
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        Self::decode(&cipher.decrypt_value(key, value)?)
            .map_err(|fault| StoreError::Index(format!("a tombstone's row: {fault}")))
    }
}

impl HoldRow {
    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.text(&self.reason).i64(self.since.as_micros());
        to.finish()
    }

    fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        let bytes = cipher.decrypt_value(key, value)?;
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            let reason = from.text("a reason")?.to_owned();
            Ok(Self { reason, since: from.time("a time")? })
        };
        let mut from = Reader::new(&bytes);
        read(&mut from)
            .and_then(|row| from.finish().map(|()| row))
            .map_err(|fault| StoreError::Index(format!("a hold's row: {fault}")))
    }
}

impl SessionName {
    /// The key of what stands in the place of a removed session.
    pub fn tombstone_key(&self) -> Vec<u8> {
        self.key(TOMBSTONE)
    }

    /// The key of what forbids to remove it.
    pub fn hold_key(&self) -> Vec<u8> {
        self.key(HOLD)
    }

    /// The key of until when it is kept.
    pub fn retention_key(&self) -> Vec<u8> {
        self.key(RETENTION)
    }

    /// The key that puts removed sessions in the order of their removal.
    pub fn by_removal_key(&self, removed_at: Timestamp) -> Vec<u8> {
        [[BY_REMOVAL].as_slice(), &ordered(removed_at), &self.0].concat()
    }

    /// The key that says that the tombstone is on its way, in the order of removal.
    pub fn unchained_key(&self, removed_at: Timestamp) -> Vec<u8> {
        [[UNCHAINED].as_slice(), &ordered(removed_at), &self.0].concat()
    }
}

/// Where removed sessions begin and end in the order of their removal.
pub fn removal_range() -> (Vec<u8>, Vec<u8>) {
    (vec![BY_REMOVAL], vec![BY_REMOVAL + 1])
}

/// Where tombstones that wait for their block begin and end, those that wait longest in front.
pub fn unchained_range() -> (Vec<u8>, Vec<u8>) {
    (vec![UNCHAINED], vec![UNCHAINED + 1])
}

/// What stands in the place of a session, if it was removed.
pub fn tombstone(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
) -> Result<Option<TombstoneRow>, StoreError> {
    let key = name.tombstone_key();
    index.get(&key)?.map(|value| TombstoneRow::open(cipher, &key, value)).transpose()
}

/// What forbids to remove a session, if anything does.
pub fn hold(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
) -> Result<Option<HoldRow>, StoreError> {
    let key = name.hold_key();
    index.get(&key)?.map(|value| HoldRow::open(cipher, &key, value)).transpose()
}

/// Until when a session is kept, if anybody said that.
pub fn retention(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
) -> Result<Option<Timestamp>, StoreError> {
    let key = name.retention_key();
    index.get(&key)?.map(|value| open_retention(cipher, &key, value)).transpose()
}

/// Opens the value of such a row.
pub(crate) fn open_retention(
    cipher: &Cipher,
    key: &[u8],
    value: Vec<u8>,
) -> Result<Timestamp, StoreError> {
    let bytes = cipher.decrypt_value(key, value)?;
    let mut from = Reader::new(&bytes);
    let until = from.time("a time").and_then(|until| from.finish().map(|()| until));
    until.map_err(|fault| StoreError::Index(format!("a retention's row: {fault}")))
}
