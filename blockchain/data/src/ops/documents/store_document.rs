//! Stores a document.

use lucid_core::digest::BlockHash;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::document::{Document, DocumentFault, DocumentKind, Facets, Source};
use crate::fact::{Fact, Stored};
use crate::ops::look_again::look_again;
use crate::ops::sessions::get_session::find_session;
use crate::ops::{Clash, OpError};
use crate::row::documents::{DocumentName, DocumentRow, as_session_id};
use crate::row::orders::{block_named, by_index_key};

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its id.
    pub id: String,
    /// A block's index and hash.
    pub block: Option<(u64, BlockHash)>,
    /// What was done.
    pub outcome: StoreOutcome,
}

/// What storing a document did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is new.
    New,
    /// A session's document takes the place of the one before, which is kept.
    Updated,
    /// The same was stored already.
    Identical,
}

/// Why a document was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreDocumentError {
    /// It is none.
    #[error(transparent)]
    Document(#[from] DocumentFault),
    /// Another one is stored under its id, or index.
    #[error("another {} is stored as {id}", .kind.as_str())]
    Conflict {
        /// What both are about.
        kind: DocumentKind,
        /// Under what both would be stored.
        id: String,
        /// The text of the one that is stored.
        stored: String,
    },
    /// The store failed, or this store has the session itself.
    #[error(transparent)]
    Op(#[from] OpError),
}

/// Stores the text of a document that a client posted. The same again changes nothing; a session's document may
/// be posted again with other words, which take the place of those before; anything else that contradicts what
/// is stored is refused with both.
pub fn store_document(
    vault: &Vault,
    now: Timestamp,
    kind: DocumentKind,
    text: &str,
) -> Result<StoredDocument, StoreDocumentError> {
    let document = Document::read(kind, text, now)?;
    let block = match document.facets {
        Facets::Block { index, hash, .. } => Some((index, hash)),
        _ => None,
    };
    let stored = |outcome| StoredDocument { id: document.id.clone(), block, outcome };
    let mut conflict = None;
    let outcome = look_again(|| {
        let look = vault.look();
        let name = DocumentName::of(vault.cipher(), kind, &document.id);
        if kind == DocumentKind::Session {
            refuse_kept(vault, &look, &document.id)?;
        }
        let existing = DocumentRow::find(&look, vault.cipher(), &name)?;
        let rival = match (&existing, block) {
            (None, Some((index, _))) => block_at(vault, &look, index)?,
            _ => None,
        };
        let outcome = match existing {
            None if rival.is_none() => StoreOutcome::New,
            Some(row) if row.digest == document.digest => return Ok(StoreOutcome::Identical),
            Some(row) if kind == DocumentKind::Session && row.source == Source::Submitted => {
                StoreOutcome::Updated
            }
            existing => {
                if let Some((name, row)) = existing.map(|row| (name, row)).or(rival) {
                    let text = row.text(vault.index(), vault.cipher(), &name)?;
                    conflict = Some((row.block.map(|(index, _)| index), text));
                }
                return Err(OpError::Conflict(Clash::Exists, String::new()));
            }
        };
        let facts = Stored::of(kind, Source::Submitted, now, &document.id, text).into_iter();
        let mut packer = Packer::new();
        let facts = facts.map(|fact| vault.fact(&mut packer, Fact::Stored(fact).encode()));
        let facts = facts.collect::<Result<_, _>>()?;
        vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::default() })?;
        Ok(outcome)
    });
    match (outcome, conflict) {
        (Err(OpError::Conflict(Clash::Exists, _)), Some((index, text))) => {
            let id = index.filter(|_| kind == DocumentKind::Block);
            let id = id.map_or_else(|| document.id.clone(), |index| index.to_string());
            Err(StoreDocumentError::Conflict { kind, id, stored: text })
        }
        (outcome, _) => Ok(stored(outcome?)),
    }
}

/// The block of an index, if one is stored.
fn block_at(
    vault: &Vault,
    look: &dyn Index,
    index: u64,
) -> Result<Option<(DocumentName, DocumentRow)>, OpError> {
    let Some(name) = look.get(&by_index_key(index))?.and_then(|name| block_named(&name)) else {
        return Ok(None);
    };
    Ok(DocumentRow::find(look, vault.cipher(), &name)?.map(|row| (name, row)))
}

/// Refuses to describe a session that this store has, or had.
fn refuse_kept(vault: &Vault, look: &dyn Index, id: &str) -> Result<(), OpError> {
    let Some(session) = as_session_id(id) else { return Ok(()) };
    match find_session(look, vault.cipher(), &session) {
        Err(OpError::NoSession(_)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(OpError::Conflict(
            Clash::Sealed,
            format!("session {id} is kept here, and says itself what it is: choose another id"),
        )),
    }
}
