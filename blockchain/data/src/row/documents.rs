//! The rows of documents.
//!
//! A document's row has everything but a long text, which is in pages; where it stands among others is in
//! [`super::orders`].

use std::collections::BTreeMap;

use lucid_core::digest::BlockHash;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{
    DOCUMENT, DOCUMENT_CHANGES, DOCUMENT_COUNTS, EARLIER, PAGE,
};

use super::{SessionName, read_metadata, read_number};
use crate::document::{Document, DocumentKind, Facets, Source};
use crate::fact::{read_source, write_source};

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
    pub fn of(cipher: &Cipher, kind: DocumentKind, id: &str) -> Self {
        Self { kind, name: cipher.index_name(id.as_bytes()) }
    }

    /// The name of a session of this store.
    pub fn of_session(name: &SessionName) -> Self {
        Self { kind: DocumentKind::Session, name: name.0 }
    }

    /// The session of this store that would have this name.
    pub fn as_session(&self) -> SessionName {
        SessionName(self.name)
    }

    /// The document of such a row's key ([`Self::row_key`]).
    pub fn of_row(key: &[u8]) -> Option<Self> {
        let (kind, name) = key.strip_prefix(&[DOCUMENT])?.split_first()?;
        Some(Self { kind: DocumentKind::from_code(*kind)?, name: name.try_into().ok()? })
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
    /// The row's value, to be encrypted.
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
            Facets::Session { status, user_id, metadata, ended_at, source } => {
                to.u8(if source.is_some() { 3 } else { 2 });
                texts(&mut to, status.as_ref());
                texts(&mut to, user_id.as_ref());
                to.count(metadata.len());
                for (key, value) in metadata {
                    to.text(key).text(value);
                }
                to.option(*ended_at, |to, at| {
                    to.i64(at.as_micros());
                });
                if let Some(source) = source {
                    write_source(&mut to, source);
                }
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
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        Self::decode(&cipher.decrypt_value(key, value)?)
            .map_err(|fault| StoreError::Index(format!("a document's row: {fault}")))
    }

    /// A document, if there is one of this name.
    pub fn find(
        index: &dyn Index,
        cipher: &Cipher,
        name: &DocumentName,
    ) -> Result<Option<Self>, StoreError> {
        let key = name.row_key();
        index.get(&key)?.map(|value| Self::open(cipher, &key, value)).transpose()
    }

    /// Its text, as it was posted.
    pub fn text(
        &self,
        index: &dyn Index,
        cipher: &Cipher,
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
            bytes.extend(cipher.decrypt_value(&key, index.get(&key)?.ok_or_else(lost)?)?);
        }
        String::from_utf8(bytes)
            .map_err(|_| StoreError::Index("the pages of a document are no text".into()))
    }

    /// How many bytes its text has at least.
    pub fn least_text_bytes(&self) -> usize {
        match &self.text {
            Text::Inline(text) => text.len(),
            Text::Pages(pages) => pages.saturating_sub(1) as usize * crate::fact::PART_BYTES,
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
        // Earlier versions did not look for a source.
        code @ (2 | 3) => Facets::Session {
            status: text(from, "a status")?,
            user_id: text(from, "a user")?,
            metadata: read_metadata(from)?,
            ended_at: from.option("a time", |from| from.time("a time"))?,
            source: if code == 3 { Some(read_source(from)?) } else { None },
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
    /// The row's value, to be encrypted.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u8(u8::from(self.source == Source::Synchronised)).i64(self.stored_at.as_micros());
        let end = self.text.floor_char_boundary(EARLIER_BYTES_MAX);
        to.u8(u8::from(self.was_current)).text(self.text.get(..end).unwrap_or_default());
        to.finish()
    }

    /// Opens a row's value.
    pub fn open(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Self, StoreError> {
        let bytes = cipher.decrypt_value(key, value)?;
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
        source: session.source.clone(),
    }
}

/// Whether an id could be one of a session of this store.
pub fn as_session_id(id: &str) -> Option<SessionId> {
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(facets: Facets, text: Text) -> DocumentRow {
        DocumentRow {
            id: "a".into(),
            source: Source::Synchronised,
            stored_at: Timestamp::from_micros(7),
            instant: Timestamp::from_micros(-7),
            digest: [3; 32],
            block: Some((9, BlockHash::new([4; 32]))),
            earlier: 2,
            facets,
            text,
        }
    }

    #[test]
    fn rows_read_back_and_no_cut_one_does() {
        let metadata = BTreeMap::from([("k".into(), "v".into())]);
        let hash = BlockHash::new([4; 32]);
        for row in [
            row(
                Facets::Block {
                    index: 9,
                    hash,
                    previous_hash: hash,
                    merkle_root: "r".into(),
                    transactions: 3,
                },
                Text::Pages(3),
            ),
            row(
                Facets::Transaction { tx_type: Some("t".into()), session_id: None },
                Text::Inline("{}".into()),
            ),
            row(
                Facets::Session {
                    status: Some("s".into()),
                    user_id: None,
                    metadata,
                    ended_at: Some(Timestamp::from_micros(8)),
                    source: None,
                },
                Text::Inline(String::new()),
            ),
            row(
                Facets::Session {
                    status: None,
                    user_id: None,
                    metadata: BTreeMap::new(),
                    ended_at: None,
                    source: Some(lucid_core::manifest::Source {
                        host: "h".into(),
                        paths: vec![b"/p".to_vec()],
                        tags: vec!["t".into()],
                    }),
                },
                Text::Inline(String::new()),
            ),
        ] {
            let bytes = row.encode();
            assert_eq!(DocumentRow::decode(&bytes).unwrap(), row);
            for cut in 0..bytes.len() {
                assert!(DocumentRow::decode(&bytes[..cut]).is_err(), "{cut}");
            }
        }
    }
}
