//! The rows of documents.
//!
//! A document's row has everything but a long text, which is in pages. In the order of time stand all
//! documents of a kind, and once more those that share a facet (a type, a session, a status, a user, an entry
//! of the metadata): the key says which by a hash, and has the time in clear. The sessions of this store
//! stand in those orders, too, but for that of all sessions: they have one of their own.

use std::collections::BTreeMap;

use lucid_core::digest::BlockHash;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Sealer;
use lucid_store::registry::data_chain::key::{
    BY_INDEX, DOCUMENT, DOCUMENT_CHANGES, DOCUMENT_COUNTS, EARLIER, IN_ORDER, PAGE,
    SESSIONS_IN_ORDER,
};

use super::{SessionName, ordered, read_metadata, read_number};
use crate::document::{Document, DocumentKind, Facets, Source};

/// A text of so many bytes stands in its document's row; a longer one in pages.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// What the index knows a document by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentName {
    /// What the document is about.
    pub kind: DocumentKind,
    /// Its id, keyed. A session has the same name here as among the sessions of this store.
    pub name: [u8; 16],
}

impl DocumentName {
    /// The name in this store.
    pub fn of(sealer: &Sealer, kind: DocumentKind, id: &str) -> Self {
        Self { kind, name: sealer.index_name(id.as_bytes()) }
    }

    /// The name of a session of this store.
    pub fn of_session(name: &SessionName) -> Self {
        Self { kind: DocumentKind::Session, name: name.0 }
    }

    /// The session of this store that would have this name.
    pub fn as_session(&self) -> SessionName {
        SessionName(self.name)
    }

    fn key(&self, prefix: u8) -> Vec<u8> {
        [&[prefix, self.kind.code()], self.name.as_slice()].concat()
    }

    /// The key of the document's row.
    pub fn row_key(&self) -> Vec<u8> {
        self.key(DOCUMENT)
    }

    /// The key of a page of its text.
    pub fn page_key(&self, page: u32) -> Vec<u8> {
        [self.key(PAGE).as_slice(), &page.to_be_bytes()].concat()
    }

    /// The key of what it said before, or of what contradicts it.
    pub fn earlier_key(&self, number: u64) -> Vec<u8> {
        [self.key(EARLIER).as_slice(), &number.to_be_bytes()].concat()
    }
}

/// What documents that stand in one order share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facet<'a> {
    /// Nothing: all of a kind.
    All,
    /// Transactions of a type.
    Type(&'a str),
    /// Transactions about a session.
    Session(&'a str),
    /// Sessions of a status.
    Status(&'a str),
    /// Sessions of a user.
    User(&'a str),
    /// Sessions of which the same is said.
    Metadata(&'a str, &'a str),
}

impl Facet<'_> {
    /// What stands in front of the time and the name in the keys of such an order.
    pub fn prefix(&self, sealer: &Sealer, kind: DocumentKind) -> Vec<u8> {
        let of = |code: u8, texts: &[&str]| {
            let mut key = vec![IN_ORDER, kind.code(), code];
            if code > 0 {
                // With the length of the first, no two pairs are one text.
                let first = texts.first().map_or(0, |text| text.len() as u64);
                let all = [first.to_be_bytes().as_slice(), texts.concat().as_bytes()].concat();
                key.extend_from_slice(&sealer.index_name(&all));
            }
            key
        };
        match self {
            Self::All => of(0, &[]),
            Self::Type(text) => of(1, &[text]),
            Self::Session(text) => of(2, &[text]),
            Self::Status(text) => of(3, &[text]),
            Self::User(text) => of(4, &[text]),
            Self::Metadata(name, value) => of(5, &[name, value]),
        }
    }
}

/// The facets of a document; `All` is not among them.
pub fn facets(of: &Facets) -> Vec<Facet<'_>> {
    match of {
        Facets::Block { .. } => Vec::new(),
        Facets::Transaction { tx_type, session_id } => {
            let tx_type = tx_type.as_deref().map(Facet::Type);
            tx_type.into_iter().chain(session_id.as_deref().map(Facet::Session)).collect()
        }
        Facets::Session { status, user_id, metadata, .. } => {
            let status = status.as_deref().map(Facet::Status);
            let user = user_id.as_deref().map(Facet::User);
            let said = metadata.iter().map(|(name, value)| Facet::Metadata(name, value));
            status.into_iter().chain(user).chain(said).collect()
        }
    }
}

/// Where a document stands among those it is listed with: its time, then its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    time: [u8; 8],
    name: [u8; 16],
}

impl Standing {
    /// Of a document of that time.
    pub fn of(at: Timestamp, name: &DocumentName) -> Self {
        Self { time: ordered(at), name: name.name }
    }

    /// The first that a document of that time can have.
    pub fn first(at: Timestamp) -> Self {
        Self { time: ordered(at), name: [0; 16] }
    }

    /// As bytes that sort like it.
    pub fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (time, name) = bytes.split_at_mut(8);
        time.copy_from_slice(&self.time);
        name.copy_from_slice(&self.name);
        bytes
    }

    /// Reads [`Self::bytes`].
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (time, name) = bytes.split_at_checked(8)?;
        Some(Self { time: time.try_into().ok()?, name: name.try_into().ok()? })
    }

    /// Behind the prefix of an order's key.
    pub fn in_key(key: &[u8]) -> Option<Self> {
        Self::read(key.get(key.len().checked_sub(24)?..)?)
    }

    /// The document that stands there.
    pub fn name(&self, kind: DocumentKind) -> DocumentName {
        DocumentName { kind, name: self.name }
    }
}

/// The key that puts a document into an order.
pub fn order_key(
    sealer: &Sealer,
    name: &DocumentName,
    facet: &Facet<'_>,
    at: Timestamp,
) -> Vec<u8> {
    let mut key = facet.prefix(sealer, name.kind);
    key.extend_from_slice(&Standing::of(at, name).bytes());
    key
}

/// The key of the block of an index; its value is the block's name.
pub fn by_index_key(index: u64) -> Vec<u8> {
    [[BY_INDEX].as_slice(), &index.to_be_bytes()].concat()
}

/// Behind all blocks in the order of their indexes.
pub fn by_index_end() -> Vec<u8> {
    vec![BY_INDEX + 1]
}

/// The index in such a key.
pub fn index_in(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The block in such a row.
pub fn block_named(value: &[u8]) -> Option<DocumentName> {
    Some(DocumentName { kind: DocumentKind::Block, name: value.try_into().ok()? })
}

/// The key of the mark that the sessions of this store stand in their orders: an index that an earlier version
/// made lacks it until it is made anew.
pub fn sessions_in_order_key() -> Vec<u8> {
    vec![SESSIONS_IN_ORDER]
}

/// A document, as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its id.
    pub id: String,
    /// Who says it.
    pub source: Source,
    /// When its text came.
    pub stored_at: Timestamp,
    /// When what it is about happened; when it came, where it does not say.
    pub instant: Timestamp,
    /// The hash of its canonical text.
    pub digest: [u8; 32],
    /// The block it is, or is in, where one with it is stored.
    pub block: Option<(u64, BlockHash)>,
    /// How many texts of it are kept besides this one.
    pub earlier: u64,
    /// What it can be found by.
    pub facets: Facets,
    /// Its text, or how many pages that has.
    pub text: Text,
}

/// Where a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Here.
    Inline(String),
    /// In so many pages.
    Pages(u32),
}

impl DocumentRow {
    /// The row's value, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        let texts = |to: &mut Writer, text: Option<&String>| {
            to.option(text, |to, text| {
                to.text(text);
            });
        };
        to.text(&self.id).u8(u8::from(self.source == Source::Synchronised));
        to.i64(self.stored_at.as_micros()).i64(self.instant.as_micros()).raw(&self.digest);
        to.option(self.block, |to, (index, hash)| {
            to.u64(index).raw(hash.as_bytes());
        });
        to.u64(self.earlier);
        match &self.facets {
            Facets::Block { index, hash, previous_hash, merkle_root, transactions } => {
                to.u8(0).u64(*index).raw(hash.as_bytes()).raw(previous_hash.as_bytes());
                to.text(merkle_root).u64(*transactions);
            }
            Facets::Transaction { tx_type, session_id } => {
                to.u8(1);
                texts(&mut to, tx_type.as_ref());
                texts(&mut to, session_id.as_ref());
            }
            Facets::Session { status, user_id, metadata, ended_at } => {
                to.u8(2);
                texts(&mut to, status.as_ref());
                texts(&mut to, user_id.as_ref());
                to.count(metadata.len());
                for (key, value) in metadata {
                    to.text(key).text(value);
                }
                to.option(*ended_at, |to, at| {
                    to.i64(at.as_micros());
                });
            }
        }
        match &self.text {
            Text::Inline(text) => to.u8(0).text(text),
            Text::Pages(pages) => to.u8(1).u32(*pages),
        };
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let invalid = |what| WireFault::Invalid { what };
        let row = Self {
            id: from.text("an id")?.to_owned(),
            source: match from.u8("a source")? {
                0 => Source::Submitted,
                1 => Source::Synchronised,
                _ => return Err(invalid("a source")),
            },
            stored_at: from.time("a time")?,
            instant: from.time("a time")?,
            digest: from.array("a digest")?,
            block: from.option("a block", |from| {
                Ok((from.u64("an index")?, BlockHash::new(from.array("a hash")?)))
            })?,
            earlier: read_number(&mut from, "a count of texts")?,
            facets: read_facets(&mut from)?,
            text: match from.u8("where a text is")? {
                0 => Text::Inline(from.text("a text")?.to_owned()),
                1 => Text::Pages(from.u32("a count of pages")?),
                _ => return Err(invalid("where a text is")),
            },
        };
        from.finish()?;
        Ok(row)
    }

    /// Opens a row's value.
    pub fn open(sealer: &Sealer, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        Self::decode(&sealer.open_value(key, value)?)
            .map_err(|fault| StoreError::Index(format!("a document's row: {fault}")))
    }

    /// A document, if there is one of this name.
    pub fn find(
        index: &dyn Index,
        sealer: &Sealer,
        name: &DocumentName,
    ) -> Result<Option<Self>, StoreError> {
        let key = name.row_key();
        index.get(&key)?.map(|value| Self::open(sealer, &key, value)).transpose()
    }

    /// Its text, as it was posted.
    pub fn text(
        &self,
        index: &dyn Index,
        sealer: &Sealer,
        name: &DocumentName,
    ) -> Result<String, StoreError> {
        let pages = match &self.text {
            Text::Inline(text) => return Ok(text.clone()),
            Text::Pages(pages) => *pages,
        };
        let mut bytes = Vec::new();
        for page in 0..pages {
            let key = name.page_key(page);
            let lost =
                || StoreError::Index(format!("page {page} of {pages} of a document is gone"));
            bytes.extend(sealer.open_value(&key, index.get(&key)?.ok_or_else(lost)?)?);
        }
        String::from_utf8(bytes)
            .map_err(|_| StoreError::Index("the pages of a document are no text".into()))
    }

    /// How many bytes its text has, or may have.
    pub fn text_bytes(&self) -> usize {
        match &self.text {
            Text::Inline(text) => text.len(),
            Text::Pages(pages) => *pages as usize * crate::fact::PART_BYTES,
        }
    }
}

fn read_facets(from: &mut Reader<'_>) -> Result<Facets, WireFault> {
    fn text(from: &mut Reader<'_>, what: &'static str) -> Result<Option<String>, WireFault> {
        from.option(what, |from| Ok(from.text(what)?.to_owned()))
    }
    Ok(match from.u8("facets")? {
        0 => Facets::Block {
            index: from.u64("an index")?,
            hash: BlockHash::new(from.array("a hash")?),
            previous_hash: BlockHash::new(from.array("a hash")?),
            merkle_root: from.text("a root")?.to_owned(),
            transactions: from.u64("a count of transactions")?,
        },
        1 => Facets::Transaction {
            tx_type: text(from, "a type")?,
            session_id: text(from, "a session id")?,
        },
        2 => Facets::Session {
            status: text(from, "a status")?,
            user_id: text(from, "a user")?,
            metadata: read_metadata(from)?,
            ended_at: from.option("a time", |from| from.time("a time"))?,
        },
        _ => return Err(WireFault::Invalid { what: "facets" }),
    })
}

/// A text that a document has besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierRow {
    /// Who said it.
    pub source: Source,
    /// When it came.
    pub stored_at: Timestamp,
    /// Whether it was the document's text until a later one came; otherwise it never was.
    pub was_current: bool,
    /// The text; of a long one its beginning.
    pub text: String,
}

/// Bytes of an earlier text that are kept.
const EARLIER_BYTES_MAX: usize = 1 << 20;

impl EarlierRow {
    /// The row's value, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u8(u8::from(self.source == Source::Synchronised)).i64(self.stored_at.as_micros());
        let end = self.text.floor_char_boundary(EARLIER_BYTES_MAX);
        to.u8(u8::from(self.was_current)).text(self.text.get(..end).unwrap_or_default());
        to.finish()
    }

    /// Opens a row's value.
    pub fn open(sealer: &Sealer, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        let bytes = sealer.open_value(key, value)?;
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            let source = match super::read_flag(from, "a source")? {
                true => Source::Synchronised,
                false => Source::Submitted,
            };
            Ok(Self {
                source,
                stored_at: from.time("a time")?,
                was_current: super::read_flag(from, "what a text was")?,
                text: from.text("a text")?.to_owned(),
            })
        };
        let mut from = Reader::new(&bytes);
        read(&mut from)
            .and_then(|row| from.finish().map(|()| row))
            .map_err(|fault| StoreError::Index(format!("an earlier document's row: {fault}")))
    }
}

/// The key of how often something changed that a query can answer: an answer is the same until then. A log that was
/// condensed has fewer changes; nothing else follows from their number.
pub fn changes_key() -> Vec<u8> {
    vec![DOCUMENT_CHANGES]
}

/// How often something changed that a query can answer.
pub fn changes(index: &dyn Index) -> Result<u64, StoreError> {
    index.get(&changes_key())?.map_or(Ok(0), |row| read_changes(&row))
}

pub(crate) fn read_changes(row: &[u8]) -> Result<u64, StoreError> {
    let wrong = || StoreError::Index("the row of how often documents changed is none".into());
    row.try_into().map(u64::from_be_bytes).map_err(|_| wrong())
}

/// How many documents there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DocumentCounts {
    /// Blocks.
    pub blocks: u64,
    /// Transactions.
    pub transactions: u64,
    /// Descriptions of sessions, without the sessions of this store.
    pub sessions: u64,
}

impl DocumentCounts {
    /// The key of the row.
    pub fn key() -> Vec<u8> {
        vec![DOCUMENT_COUNTS]
    }

    /// What is counted there.
    pub fn of(&mut self, kind: DocumentKind) -> &mut u64 {
        match kind {
            DocumentKind::Block => &mut self.blocks,
            DocumentKind::Transaction => &mut self.transactions,
            DocumentKind::Session => &mut self.sessions,
        }
    }

    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.blocks).u64(self.transactions).u64(self.sessions);
        to.finish()
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            Ok(Self {
                blocks: from.u64("blocks")?,
                transactions: from.u64("transactions")?,
                sessions: from.u64("sessions")?,
            })
        };
        let mut from = Reader::new(bytes);
        read(&mut from)
            .and_then(|counts| from.finish().map(|()| counts))
            .map_err(|fault| StoreError::Index(format!("the counts of documents: {fault}")))
    }
}

impl Document {
    /// Where its text goes.
    pub(crate) fn is_inline(text: &str) -> bool {
        text.len() <= INLINE_BYTES_MAX
    }
}

/// What the facets of a session of this store are.
pub fn session_facets(session: &super::SessionRow, status: &str) -> Facets {
    Facets::Session {
        status: Some(status.to_owned()),
        user_id: (!session.user.is_empty()).then(|| session.user.clone()),
        metadata: BTreeMap::clone(&session.metadata),
        ended_at: session.sealed.as_ref().map(|sealed| sealed.ended_at),
    }
}

/// Whether an id could be one of a session of this store.
pub fn as_session_id(id: &str) -> Option<SessionId> {
    id.parse().ok()
}
