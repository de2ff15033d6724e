//! Anchors a session's root for callers that are no data-chain, and finds where a root is.
//!
//! A session has one root, regardless of who anchored it: the same root again finds the first anchor, another
//! root is a conflict. Where a session's anchors are is known of committed blocks for ever, for records keep them.

use lucid_core::digest::{MerkleRoot, SessionRoot, TransactionHash};
use lucid_core::json::Json;
use lucid_core::record::BlockRecord;
use lucid_core::session::SessionId;
use lucid_core::sign::PublicKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{SESSION_ANCHOR, Transaction};
use lucid_store::StoreError;
use lucid_store::contract::chain::ChainStore;
use lucid_store::vault::Vault;

use super::get_transaction::{FoundTransaction, TransactionStage, get_transaction};
use super::submit_transaction::{SubmitError, submit_transaction};
use crate::admissions::Admissions;

/// What precedes the session's key in the id of an anchor that is made here.
const ID_PREFIX: &str = "anchoring:";
/// What may be posted, besides session and root.
const OPTIONAL: [&str; 5] =
    ["chunk_count", "manifest_data", "metadata", "timestamp", "user_signature"];

/// A session's anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAnchor {
    /// The session.
    pub session: SessionId,
    /// The root, as the transaction spells it.
    pub root: String,
    /// The transaction.
    pub found: FoundTransaction,
}

/// Why a root is not anchored.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The session has another root.
    #[error("session {session} is anchored already, with the root {root}")]
    OtherRoot {
        /// The session.
        session: SessionId,
        /// Its root.
        root: String,
    },
    /// The transaction is not let in.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Anchors a root; says whether this request brought it.
pub fn anchor_session(
    vault: &Vault,
    chain: &dyn ChainStore,
    admissions: &Admissions,
    now: Timestamp,
    posted: &[u8],
) -> Result<(SessionAnchor, bool), AnchorError> {
    let (session, root, transaction) = transaction(posted)?;
    let same = |anchor: SessionAnchor| match anchor.root == root {
        true => Ok((anchor, false)),
        false => Err(AnchorError::OtherRoot { session: session.clone(), root: anchor.root }),
    };
    // What was lost with its block says nothing of the root any more.
    let standing =
        |anchor: &SessionAnchor| !matches!(anchor.found.status, TransactionStage::Lost { .. });
    if let Some(anchor) = find_anchor(vault, chain, &session)?.filter(standing) {
        return same(anchor);
    }
    let text = transaction.canonical();
    match submit_transaction(vault, chain, admissions, now, text.as_bytes()) {
        Ok(submitted) => {
            let anchor = SessionAnchor { session, root, found: submitted.found };
            Ok((anchor, submitted.is_new))
        }
        // Another caller anchored it a moment ago, or it failed before.
        Err(SubmitError::Conflict { id }) => match find_anchor(vault, chain, &session)? {
            Some(anchor) if standing(&anchor) => same(anchor),
            _ => Err(SubmitError::Conflict { id }.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The transaction that a request asks for.
fn transaction(posted: &[u8]) -> Result<(SessionId, String, Json), AnchorError> {
    let invalid = |sentence: String| AnchorError::Invalid(sentence);
    let posted = Json::parse(posted).map_err(|fault| invalid(fault.to_string()))?;
    let members = posted.as_object().ok_or_else(|| invalid("an object is wanted".into()))?;
    let text = |field: &str| {
        let text = posted.get(field).and_then(Json::as_text);
        text.ok_or_else(|| invalid(format!("{field} is missing, or no string")))
    };
    let session: SessionId =
        text("session_id")?.parse().map_err(|fault| invalid(format!("session_id: {fault}")))?;
    let root: SessionRoot =
        text("merkle_root")?.parse().map_err(|fault| invalid(format!("merkle_root: {fault}")))?;
    let is_known =
        |name: &str| ["session_id", "merkle_root"].contains(&name) || OPTIONAL.contains(&name);
    if let Some((name, _)) = members.iter().find(|(name, _)| !is_known(name)) {
        return Err(invalid(format!("unknown field {name:?}")));
    }
    if posted.get("chunk_count").is_some_and(|count| count.as_u64().is_none()) {
        return Err(invalid("chunk_count is a number of chunks".into()));
    }
    let own = [
        ("id".to_owned(), Json::from(id_of(&session))),
        ("type".to_owned(), Json::from(SESSION_ANCHOR)),
    ];
    let transaction = Json::object(members.iter().cloned().chain(own));
    Ok((session, root.to_string(), transaction))
}

fn id_of(session: &SessionId) -> String {
    format!("{ID_PREFIX}{}", session.key())
}

/// A session's anchor: the first that was committed, or else one that was posted here and waits or failed.
pub fn find_anchor(
    vault: &Vault,
    chain: &dyn ChainStore,
    session: &SessionId,
) -> Result<Option<SessionAnchor>, StoreError> {
    if let Some((record, position)) = committed(chain, session, None)?
        && let Some(kept) = record.anchors.iter().find(|kept| kept.position == position)
        && let Some(found) = get_transaction(vault, chain, kept.transaction.id())?
    {
        let root = root_of(&kept.transaction).unwrap_or_default();
        return Ok(Some(SessionAnchor { session: session.clone(), root, found }));
    }
    let Some(found) = get_transaction(vault, chain, &id_of(session))? else { return Ok(None) };
    let root = found.transaction.as_ref().and_then(root_of).unwrap_or_default();
    Ok(Some(SessionAnchor { session: session.clone(), root, found }))
}

/// The record and position of a session's first anchor, with this root if one is wanted.
fn committed(
    chain: &dyn ChainStore,
    session: &SessionId,
    root: Option<&str>,
) -> Result<Option<(BlockRecord, u32)>, StoreError> {
    first_committed(chain, session.as_str(), &|transaction| {
        root.is_none_or(|root| root_of(transaction).as_deref() == Some(root))
    })
}

/// The record and position of the first anchor of a session that `fits`.
fn first_committed(
    chain: &dyn ChainStore,
    session: &str,
    fits: &dyn Fn(&Transaction) -> bool,
) -> Result<Option<(BlockRecord, u32)>, StoreError> {
    let fits =
        |transaction: &Transaction| transaction.session_id() == Some(session) && fits(transaction);
    let mut behind = None;
    loop {
        let page = chain.anchors_of(session, behind)?;
        let Some(last) = page.last() else { return Ok(None) };
        behind = Some(*last);
        for place in page {
            let Some(stored) = chain.record(place.height)? else { continue };
            let kept = stored.record.anchors.iter().find(|kept| kept.position == place.position);
            if kept.is_some_and(|kept| fits(&kept.transaction)) {
                return Ok(Some((stored.record, place.position)));
            }
        }
    }
}

/// What a key has said of a session in a committed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredBy {
    /// The block.
    pub height: u64,
    /// The root, as the transaction spells it.
    pub root: String,
}

/// The first committed anchor of a session that names this key.
pub fn anchored_by(
    chain: &dyn ChainStore,
    session: &SessionId,
    key: &PublicKey,
) -> Result<Option<AnchoredBy>, StoreError> {
    let key = key.to_string();
    let found = first_committed(chain, session.as_str(), &|transaction| {
        key_of(transaction).as_deref() == Some(key.as_str())
    })?;
    Ok(found.and_then(|(record, position)| {
        let kept = record.anchors.iter().find(|kept| kept.position == position)?;
        Some(AnchoredBy { height: record.entry.index, root: root_of(&kept.transaction)? })
    }))
}

/// What stands against an anchor: its own key gave the session another root in a committed block. One
/// session has one root, so this comes of an older copy of a data-chain that is at work again.
pub(super) fn other_root(
    chain: &dyn ChainStore,
    anchor: &Transaction,
) -> Result<Option<AnchoredBy>, StoreError> {
    let Some(Said { session, key, root }) = said_by(anchor) else { return Ok(None) };
    let found = first_committed(chain, &session, &|transaction| {
        transaction.kind() == Some(SESSION_ANCHOR)
            && key_of(transaction).as_ref() == Some(&key)
            && root_of(transaction) != root
    })?;
    Ok(found.and_then(|(record, position)| {
        let kept = record.anchors.iter().find(|kept| kept.position == position)?;
        let root = root_of(&kept.transaction).unwrap_or_default();
        Some(AnchoredBy { height: record.entry.index, root })
    }))
}

/// What an anchor says, and who says so.
pub(super) struct Said {
    pub(super) session: String,
    pub(super) key: String,
    /// As the transaction spells it.
    pub(super) root: Option<String>,
}

/// What a transaction says of a session, if it is an anchor and names a key.
pub(super) fn said_by(transaction: &Transaction) -> Option<Said> {
    if transaction.kind() != Some(SESSION_ANCHOR) {
        return None;
    }
    let session = transaction.session_id()?.to_owned();
    Some(Said { session, key: key_of(transaction)?, root: root_of(transaction) })
}

fn key_of(transaction: &Transaction) -> Option<String> {
    transaction.to_json().get("public_key").and_then(Json::as_text).map(str::to_owned)
}

fn root_of(transaction: &Transaction) -> Option<String> {
    transaction.to_json().get("merkle_root").and_then(Json::as_text).map(str::to_owned)
}

/// A committed anchor, and its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedAnchor {
    /// The transaction.
    pub transaction_id: String,
    /// Its hash.
    pub hash: TransactionHash,
    /// Its place in the block.
    pub position: usize,
    /// Transactions of the block.
    pub count: usize,
    /// The block.
    pub height: u64,
    /// The block's time, as it spells it.
    pub at: String,
    /// Where the way leads.
    pub merkle_root: MerkleRoot,
    /// The siblings on it.
    pub path: Vec<TransactionHash>,
}

/// The committed anchor that gives a session this root; `None` when there is none.
pub fn find_committed_anchor(
    chain: &dyn ChainStore,
    session: &SessionId,
    root: &SessionRoot,
) -> Result<Option<CommittedAnchor>, StoreError> {
    let root = root.to_string();
    let Some((record, position)) = committed(chain, session, Some(&root))? else { return Ok(None) };
    let hashes: Vec<_> = record.transactions.iter().map(|digests| digests.hash).collect();
    let position = position as usize;
    let path = lucid_core::block_merkle::path(&hashes, position);
    let kept = record.anchors.iter().find(|kept| kept.position as usize == position);
    Ok(kept.zip(path).map(|(kept, path)| CommittedAnchor {
        transaction_id: kept.transaction.id().to_owned(),
        hash: kept.transaction.hash(),
        position,
        count: hashes.len(),
        height: record.entry.index,
        at: record.entry.timestamp.clone(),
        merkle_root: record.entry.merkle_root,
        path,
    }))
}
