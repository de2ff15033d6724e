//! The rows of single chunks: what was put into sessions by index, who refers to what, trees that were built, and
//! verifications that were run.

use lucid_core::digest::{ChunkId, ChunkName, SessionRoot};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{ALIAS, NOTED, PLACED, REFERRED, REFERRER};

use super::SessionName;
use crate::fact::read_number;

const TREE: u8 = 0;
const LEAVES: u8 = 1;
const TREE_ORDER: u8 = 2;
const VERIFIED: u8 = 3;
const NOTES: u8 = 4;

/// Leaves in one row of a tree.
pub const LEAVES_PAGE: usize = 4_096;

fn damaged(what: &'static str) -> impl Fn(WireFault) -> StoreError {
    move |fault| StoreError::Index(format!("{what}'s row: {fault}"))
}

/// Opens a value and reads it to its end.
pub(super) fn open_row<T>(
    cipher: &Cipher,
    key: &[u8],
    value: Vec<u8>,
    what: &'static str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, WireFault>,
) -> Result<T, StoreError> {
    let bytes = cipher.decrypt_value(key, value)?;
    let mut from = Reader::new(&bytes);
    let row = read(&mut from).map_err(damaged(what))?;
    from.finish().map_err(damaged(what))?;
    Ok(row)
}

pub(super) fn time(from: &mut Reader<'_>) -> Result<Timestamp, WireFault> {
    from.time("a time")
}

/// A chunk that was put into a session by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedRow {
    /// The chunk.
    pub chunk: ChunkId,
    /// How long it is.
    pub length: u32,
    /// When it came.
    pub at: Timestamp,
    /// What the caller calls it.
    pub alias: Option<String>,
    /// How many chunks from here on are one upload; 0 for those behind its first.
    pub parts: u32,
    /// What the caller said of it, as a JSON object; may be empty.
    pub metadata: String,
    /// Other names that earlier versions let it have.
    pub others: Vec<String>,
}

impl PlacedRow {
    /// Where such rows begin and end.
    pub fn range() -> (Vec<u8>, Vec<u8>) {
        (vec![PLACED], vec![PLACED + 1])
    }

    /// The key of its row.
    pub fn key(session: &SessionName, index: u64) -> Vec<u8> {
        [session.key(PLACED).as_slice(), &index.to_be_bytes()].concat()
    }

    /// Everything that callers call it.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.alias.iter().chain(&self.others)
    }

    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.raw(self.chunk.as_bytes()).u32(self.length).i64(self.at.as_micros());
        to.option(self.alias.as_ref(), |to, alias| {
            to.text(alias);
        });
        to.u32(self.parts).text(&self.metadata);
        for other in &self.others {
            to.text(other);
        }
        to.finish()
    }

    /// Reads [`PlacedRow::encode`], encrypted under the row's key.
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        open_row(cipher, key, value, "a placed chunk", |from| {
            Ok(Self {
                chunk: ChunkId::new(from.array("a chunk id")?),
                length: from.u32("a length")?,
                at: time(from)?,
                alias: from.option("an alias", |from| Ok(from.text("an alias")?.to_owned()))?,
                parts: from.u32("a count of parts")?,
                metadata: from.text("metadata")?.to_owned(),
                others: {
                    let mut others = Vec::new();
                    while !from.is_empty() {
                        others.push(from.text("another name")?.to_owned());
                    }
                    others
                },
            })
        })
    }

    /// The row at an index, if there is one.
    pub fn find(
        index: &dyn Index,
        cipher: &Cipher,
        session: &SessionName,
        at: u64,
    ) -> Result<Option<Self>, StoreError> {
        let key = Self::key(session, at);
        index.get(&key)?.map(|value| Self::open(cipher, &key, value)).transpose()
    }

    /// Up to `limit` rows of a session from `start` on, in order.
    pub fn list(
        index: &dyn Index,
        cipher: &Cipher,
        session: &SessionName,
        start: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Self)>, StoreError> {
        let to = [session.key(PLACED).as_slice(), &[0xff; 9]].concat();
        let rows = index.scan(&Self::key(session, start), &to, limit, false)?;
        rows.into_iter()
            .map(|(key, value)| Ok((number_in(&key), Self::open(cipher, &key, value)?)))
            .collect()
    }
}

/// The number at the end of a key.
pub fn number_in(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What callers call chunks of their sessions: an alias, or the id in hex.
pub struct Alias;

impl Alias {
    /// The key of the row that says where a session has what goes by this name.
    pub fn key(cipher: &Cipher, alias: &str, session: &SessionName) -> Vec<u8> {
        [Self::prefix(cipher, alias).as_slice(), &session.0].concat()
    }

    fn prefix(cipher: &Cipher, alias: &str) -> Vec<u8> {
        [&[ALIAS], cipher.index_name(alias.as_bytes()).as_slice()].concat()
    }

    /// The row's value, to be encrypted: the index.
    pub fn encode(index: u64) -> [u8; 8] {
        index.to_be_bytes()
    }

    fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<u64, StoreError> {
        Ok(number_in(&cipher.decrypt_value(key, value)?))
    }

    /// Where a session has it.
    pub fn find(
        index: &dyn Index,
        cipher: &Cipher,
        alias: &str,
        session: &SessionName,
    ) -> Result<Option<u64>, StoreError> {
        let key = Self::key(cipher, alias, session);
        index.get(&key)?.map(|value| Self::open(cipher, &key, value)).transpose()
    }

    /// Where up to `limit` sessions have it.
    pub fn list(
        index: &dyn Index,
        cipher: &Cipher,
        alias: &str,
        limit: usize,
    ) -> Result<Vec<(SessionName, u64)>, StoreError> {
        let from = Self::prefix(cipher, alias);
        let to = [from.as_slice(), &[0xff; 17]].concat();
        let rows = index.scan(&from, &to, limit, false)?;
        rows.into_iter()
            .filter_map(|(key, value)| Some((super::name_in(&key)?, key, value)))
            .map(|(name, key, value)| Ok((name, Self::open(cipher, &key, value)?)))
            .collect()
    }
}

/// How often something is referred to, and by whom.
pub struct Referred;

impl Referred {
    /// The key of the count.
    pub fn key(name: &ChunkName) -> Vec<u8> {
        [&[REFERRED], name.as_bytes().as_slice()].concat()
    }

    /// The key that says that a session refers to it.
    pub fn by_key(name: &ChunkName, session: &SessionName) -> Vec<u8> {
        [&[REFERRER], name.as_bytes().as_slice(), &session.0].concat()
    }

    /// The count in a value. It is in clear, like all numbers.
    pub fn count(value: Option<Vec<u8>>) -> u64 {
        value.as_deref().map_or(0, number_in)
    }

    /// How often a chunk is referred to.
    pub fn find(index: &dyn Index, name: &ChunkName) -> Result<u64, StoreError> {
        Ok(Self::count(index.get(&Self::key(name))?))
    }

    /// Where the rows begin and end that say which session refers to what: in the order of chunks.
    pub fn by_range() -> (Vec<u8>, Vec<u8>) {
        (vec![REFERRER], vec![REFERRER + 1])
    }

    /// The chunk, and the session that refers to it, from the key of such a row.
    pub fn pair_in(key: &[u8]) -> Option<(ChunkName, SessionName)> {
        let chunk = key.get(1..).and_then(<[u8]>::first_chunk::<32>)?;
        Some((ChunkName::new(*chunk), super::name_in(key)?))
    }

    /// Up to `limit` sessions that refer to a chunk.
    pub fn list(
        index: &dyn Index,
        name: &ChunkName,
        limit: usize,
    ) -> Result<Vec<SessionName>, StoreError> {
        let from = [&[REFERRER], name.as_bytes().as_slice()].concat();
        let to = [from.as_slice(), &[0xff; 17]].concat();
        let rows = index.scan(&from, &to, limit, false)?;
        Ok(rows.into_iter().filter_map(|(key, _)| super::name_in(&key)).collect())
    }
}

/// A tree that was built: its leaves are in rows of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    /// The session its leaves are bound to.
    pub session: Option<SessionId>,
    /// When it was built.
    pub at: Timestamp,
    /// How many leaves it has.
    pub leaf_count: u64,
    /// Its place among the trees that were built.
    pub number: u64,
}

impl TreeRow {
    /// The key of its row.
    pub fn key(root: &SessionRoot) -> Vec<u8> {
        [&[NOTED, TREE], root.as_bytes().as_slice()].concat()
    }

    /// The key of a page of its leaves.
    pub fn leaves_key(root: &SessionRoot, page: u64) -> Vec<u8> {
        [&[NOTED, LEAVES], root.as_bytes().as_slice(), &page.to_be_bytes()].concat()
    }

    /// The key of its place in the order; the value is the root.
    pub fn order_key(number: u64) -> Vec<u8> {
        [[NOTED, TREE_ORDER].as_slice(), &number.to_be_bytes()].concat()
    }

    /// How many pages its leaves take.
    pub fn pages(&self) -> u64 {
        self.leaf_count.div_ceil(LEAVES_PAGE as u64)
    }

    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.option(self.session.as_ref(), |to, session| {
            to.text(session.as_str());
        });
        to.i64(self.at.as_micros()).u64(self.leaf_count).u64(self.number);
        to.finish()
    }

    /// Reads [`TreeRow::encode`], encrypted under the row's key.
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        open_row(cipher, key, value, "a tree", |from| {
            Ok(Self {
                session: from.option("a session id", |from| {
                    let text = from.text("a session id")?;
                    text.parse().map_err(|_| WireFault::Invalid { what: "a session id" })
                })?,
                at: time(from)?,
                leaf_count: read_number(from, "a leaf count")?,
                number: read_number(from, "a number")?,
            })
        })
    }

    /// The tree with this root, if it is kept.
    pub fn find(
        index: &dyn Index,
        cipher: &Cipher,
        root: &SessionRoot,
    ) -> Result<Option<Self>, StoreError> {
        let key = Self::key(root);
        index.get(&key)?.map(|value| Self::open(cipher, &key, value)).transpose()
    }

    /// All of its leaves; `None` if some are missing.
    pub fn leaves(
        &self,
        index: &dyn Index,
        cipher: &Cipher,
        root: &SessionRoot,
    ) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
        let mut leaves = Vec::new();
        for page in 0..self.pages() {
            let key = Self::leaves_key(root, page);
            let Some(value) = index.get(&key)? else { break };
            let bytes = cipher.decrypt_value(&key, value)?;
            leaves.extend(bytes.as_chunks::<32>().0);
        }
        Ok(Some(leaves).filter(|leaves| leaves.len() as u64 == self.leaf_count))
    }
}

/// How much is kept of what was noted, so that it stays bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoteBounds {
    /// The oldest tree that is kept, and the one that comes next.
    pub trees: (u64, u64),
    /// Leaves of all of them.
    pub leaves: u64,
    /// The oldest verification that is kept, and the one that comes next.
    pub verified: (u64, u64),
}

impl NoteBounds {
    /// The key of the row.
    pub fn key() -> Vec<u8> {
        vec![NOTED, NOTES]
    }

    /// The row's value. It is in clear, like all numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.trees.0).u64(self.trees.1).u64(self.leaves);
        to.u64(self.verified.0).u64(self.verified.1);
        to.finish()
    }

    /// Reads [`NoteBounds::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut from = Reader::new(bytes);
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            Ok(Self {
                trees: (read_number(from, "a tree")?, read_number(from, "a tree")?),
                leaves: read_number(from, "leaves")?,
                verified: (
                    read_number(from, "a verification")?,
                    read_number(from, "a verification")?,
                ),
            })
        };
        let notes = read(&mut from).map_err(damaged("the notes"))?;
        from.finish().map_err(damaged("the notes"))?;
        Ok(notes)
    }

    /// The key of a verification.
    pub fn verified_key(number: u64) -> Vec<u8> {
        [[NOTED, VERIFIED].as_slice(), &number.to_be_bytes()].concat()
    }

    /// Where verifications begin and end.
    pub fn verified_range() -> (Vec<u8>, Vec<u8>) {
        (vec![NOTED, VERIFIED], vec![NOTED, VERIFIED + 1])
    }
}
