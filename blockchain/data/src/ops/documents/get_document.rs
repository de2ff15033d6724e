//! Finds a document by its id, a block also by its index.

use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;
use serde_json::json;

use crate::document::{Document, DocumentFault, DocumentKind, Facets, Source};
use crate::ops::OpError;
use crate::ops::sight::Sight;
use crate::reply::source::session_source;
use crate::row::documents::{
    DocumentName, DocumentRow, EarlierRow, Text, as_session_id, session_facets,
};
use crate::row::orders::{Standing, block_named, by_index_key};
use crate::row::{self, SessionName, SessionRow};

/// A document with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDocument {
    /// What it is about.
    pub kind: DocumentKind,
    /// Its id.
    pub id: String,
    /// Its text, as it was posted.
    pub text: String,
    /// Who says it.
    pub source: Source,
    /// When it was stored; of a session of this store, when it began.
    pub indexed_at: Timestamp,
    /// The index of the block that it is, or is in, where one with it is stored.
    pub block_index: Option<u64>,
    /// When what it is about happened; when it was stored, where it does not say.
    pub at: Timestamp,
    /// What it can be found by.
    pub facets: Facets,
}

impl FoundDocument {
    /// A document that somewhere else is known: its text, which says its id and what it is found by, and what
    /// is said of it. `at`: when it happened, where it does not say so itself.
    pub fn of_text(
        (kind, source): (DocumentKind, Source),
        text: &str,
        (at, indexed_at): (Timestamp, Timestamp),
        block_index: Option<u64>,
    ) -> Result<Self, DocumentFault> {
        let document = Document::of_taken(kind, source, text)?;
        Ok(Self {
            kind,
            id: document.id,
            text: text.to_owned(),
            source,
            indexed_at,
            block_index,
            at: document.instant.unwrap_or(at),
            facets: document.facets,
        })
    }
}

/// Something that is listed as a document: one, or a session of this store.
pub(super) enum Listed {
    Document(DocumentName, Box<DocumentRow>),
    Session(Box<SessionRow>),
}

impl Listed {
    /// What stands in an order at this place, if it still does: a session of this store, if it is said to be one.
    pub(super) fn at(
        vault: &Vault,
        kind: DocumentKind,
        standing: Standing,
        is_kept: bool,
    ) -> Result<Option<Self>, OpError> {
        let name = standing.name(kind);
        if !is_kept {
            let row = DocumentRow::find(vault.index(), vault.cipher(), &name)?;
            let row = row.filter(|row| Standing::of(row.instant, &name) == standing);
            if let Some(row) = row {
                return Ok(Some(Self::Document(name, Box::new(row))));
            }
        }
        if kind != DocumentKind::Session {
            return Ok(None);
        }
        // An index that an earlier version made does not say of its places whose they are.
        let session = row::session(vault.index(), vault.cipher(), &name.as_session())?;
        let session = session.filter(|row| Standing::of(row.started_at, &name) == standing);
        Ok(session.map(|row| Self::Session(Box::new(row))))
    }

    /// Whether it is of a session that is seen; others hide nothing.
    pub(super) fn is_seen(&self, sight: &Sight) -> bool {
        match self {
            Self::Session(session) => sight.sees(session),
            Self::Document(_, row) => match &row.facets {
                Facets::Session { user_id, .. } => {
                    let id = as_session_id(&row.id);
                    let user = user_id.as_deref().unwrap_or_default();
                    sight.has_all_sessions() || id.is_some_and(|id| sight.would_see(&id, user))
                }
                Facets::Block { .. } | Facets::Transaction { .. } => true,
            },
        }
    }

    /// How many bytes its text has at least.
    pub(super) fn least_text_bytes(&self) -> usize {
        match self {
            Self::Document(_, row) => row.least_text_bytes(),
            Self::Session(row) => {
                row.metadata.iter().map(|(key, value)| key.len() + value.len()).sum()
            }
        }
    }

    /// The whole document. A stream that took nothing since `quiet_since` is unterminated.
    pub(super) fn found(
        &self,
        vault: &Vault,
        quiet_since: Timestamp,
    ) -> Result<FoundDocument, OpError> {
        Ok(match self {
            Self::Document(name, row) => {
                let (row, text) = read_whole(vault, name, row)?;
                FoundDocument {
                    kind: name.kind,
                    block_index: block_of(vault, &row)?,
                    id: row.id,
                    text,
                    source: row.source,
                    indexed_at: row.stored_at,
                    at: row.instant,
                    facets: row.facets,
                }
            }
            Self::Session(row) => FoundDocument {
                kind: DocumentKind::Session,
                id: row.id.to_string(),
                text: description(row, quiet_since),
                source: Source::Kept,
                indexed_at: row.started_at,
                block_index: row.anchored.map(|(index, _)| index),
                at: row.started_at,
                facets: session_facets(row, row.status(quiet_since).as_str()),
            },
        })
    }
}

/// How often a document that changes meanwhile is read again.
const READS_MAX: usize = 10;

/// A document's row with its text. Pages are read one by one, so where the row is another one behind them, both
/// are read again.
fn read_whole(
    vault: &Vault,
    name: &DocumentName,
    row: &DocumentRow,
) -> Result<(DocumentRow, String), OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    let mut row = row.clone();
    for _ in 0..READS_MAX {
        let text = row.text(index, cipher, name);
        if matches!(row.text, Text::Inline(_)) {
            return Ok((row, text?));
        }
        match DocumentRow::find(index, cipher, name)? {
            Some(now) if now != row => row = now,
            _ => return Ok((row, text?)),
        }
    }
    Err(OpError::Busy("the document keeps changing while it is read: ask again".into()))
}

/// The index of the block that a document is, or is in: one that gave way to another is not there any more.
pub(super) fn block_of(vault: &Vault, row: &DocumentRow) -> Result<Option<u64>, OpError> {
    let Some((number, hash)) = row.block else { return Ok(None) };
    // Blocks that are taken from the chain give way to none.
    if row.source == Source::Synchronised {
        return Ok(Some(number));
    }
    let there = vault.index().get(&by_index_key(number))?.and_then(|name| block_named(&name));
    let name = DocumentName::of(vault.cipher(), DocumentKind::Block, &hash.to_string());
    Ok((there == Some(name)).then_some(number))
}

/// What a session of this store says of itself, in the words of a session's document.
fn description(session: &SessionRow, quiet_since: Timestamp) -> String {
    let sealed = session.sealed.as_ref();
    json!({
        "id": session.id.as_str(),
        "session_id": session.id.as_str(),
        "timestamp": session.started_at.to_string(),
        "status": session.status(quiet_since).as_str(),
        "user_id": session.user,
        "metadata": session.metadata,
        "source": session.source.as_ref().map(session_source),
        "ended_at": sealed.map(|sealed| sealed.ended_at.to_string()),
        "merkle_root": sealed.map(|sealed| sealed.root.to_string()),
        "chunk_count": session.chunk_count(),
        "size_bytes": sealed.map_or(session.offset(), |sealed| sealed.content_bytes),
        "block_index": session.anchored.map(|(index, _)| index),
    })
    .to_string()
}

/// Finds a document. A block is named by its hash or its index.
pub fn get_document(
    vault: &Vault,
    kind: DocumentKind,
    id: &str,
    quiet_since: Timestamp,
) -> Result<FoundDocument, OpError> {
    match find_listed(vault, kind, id)? {
        Some(listed) => listed.found(vault, quiet_since),
        None => Err(OpError::NoDocument { kind, id: id.to_owned() }),
    }
}

/// What is listed under an id, or of a block under an index.
pub(super) fn find_listed(
    vault: &Vault,
    kind: DocumentKind,
    id: &str,
) -> Result<Option<Listed>, OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    if let (DocumentKind::Session, Some(session)) = (kind, as_session_id(id))
        && let Some(session) = row::session(index, cipher, &SessionName::of(cipher, &session))?
    {
        return Ok(Some(Listed::Session(Box::new(session))));
    }
    let Some(name) = name_of(vault, kind, id)? else { return Ok(None) };
    let row = DocumentRow::find(index, cipher, &name)?;
    Ok(row.map(|row| Listed::Document(name, Box::new(row))))
}

fn name_of(vault: &Vault, kind: DocumentKind, id: &str) -> Result<Option<DocumentName>, OpError> {
    let is_index = |number: &u64| kind == DocumentKind::Block && number.to_string() == id;
    let number = id.parse::<u64>().ok().filter(is_index);
    Ok(match number {
        Some(number) => vault.index().get(&by_index_key(number))?.and_then(|row| block_named(&row)),
        None => Some(DocumentName::of(vault.cipher(), kind, id)),
    })
}

/// A page of the texts that a document has besides its own, the oldest first, and where the next page begins.
pub fn document_history(
    vault: &Vault,
    kind: DocumentKind,
    id: &str,
    from: u64,
    limit: usize,
) -> Result<(Vec<EarlierRow>, Option<u64>), OpError> {
    let absent = || OpError::NoDocument { kind, id: id.to_owned() };
    let (index, cipher) = (vault.index(), vault.cipher());
    let name = name_of(vault, kind, id)?.ok_or_else(absent)?;
    let row = DocumentRow::find(index, cipher, &name)?.ok_or_else(absent)?;
    let mut texts = Vec::new();
    let mut bytes = 0;
    let mut number = from;
    while number < row.earlier
        && texts.len() < limit
        && bytes < super::query_documents::PAGE_BYTES_MAX
    {
        let key = name.earlier_key(number);
        let lost = || OpError::Unsound(format!("text {number} of {id} is gone"));
        let earlier = EarlierRow::open(cipher, &key, index.get(&key)?.ok_or_else(lost)?)?;
        bytes += earlier.text.len();
        texts.push(earlier);
        number += 1;
    }
    Ok((texts, (number < row.earlier).then_some(number)))
}
