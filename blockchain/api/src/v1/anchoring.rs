//! Roots of sessions in the chain, by session: `/api/v1/anchoring`. What is posted travels as its own
//! text; [`AnchorRoot`] says in the document what it may hold.

use lucid_core::digest::{SessionRoot, TransactionHash};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::anchors::AnchorStatus;
use crate::document::{Hash, SessionId, Time, TransactionId};

/// `POST /api/v1/anchoring/session`. For the document alone.
#[derive(Debug, ToSchema)]
pub struct AnchorRoot {
    /// The session.
    pub session_id: SessionId,
    /// Its root.
    pub merkle_root: Hash,
    /// Chunks it has.
    pub chunk_count: Option<u64>,
    /// What else is known of it; any JSON.
    pub manifest_data: Option<Value>,
    /// The same, under another name.
    pub metadata: Option<Value>,
    /// Kept, not checked.
    pub user_signature: Option<String>,
    /// When it was made (ISO 8601); now, when absent.
    pub timestamp: Option<String>,
}

/// Where a session's root is: `POST /api/v1/anchoring/session` and
/// `GET /api/v1/anchoring/session/{session_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Anchoring {
    /// The transaction's id, by the documented name.
    #[schema(value_type = TransactionId)]
    pub anchoring_id: String,
    /// The session.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// How far it is.
    pub status: AnchorStatus,
    /// The transaction that carries the root.
    #[schema(value_type = TransactionId)]
    pub transaction_id: String,
    /// The root.
    #[schema(value_type = Hash)]
    pub merkle_root: String,
    /// When it was accepted; the block's time where only the block is known.
    #[schema(value_type = Time)]
    pub submitted_at: String,
    /// The time of its block.
    #[schema(value_type = Option<Time>)]
    pub confirmed_at: Option<String>,
    /// Its block.
    pub block_height: Option<u64>,
    /// When its block is due, while there is none.
    #[schema(value_type = Option<Time>)]
    pub estimated_confirmation_time: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /api/v1/anchoring/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyAnchoring {
    /// The session.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// The root it is to have.
    #[schema(value_type = Hash)]
    pub merkle_root: SessionRoot,
    /// The way that the caller was given: the siblings from the transaction's hash up to its block's
    /// Merkle root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Hash>>)]
    pub proof_path: Option<Vec<TransactionHash>>,
}

/// Whether a committed block carries that root for that session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchoringVerified {
    /// Whether it does, and the way given leads there, if one was.
    pub verified: bool,
    /// The block.
    pub block_height: Option<u64>,
    /// The transaction.
    #[schema(value_type = Option<TransactionId>)]
    pub transaction_id: Option<String>,
    /// The block's time.
    #[schema(value_type = Option<Time>)]
    pub confirmation_time: Option<String>,
    /// Whether the way leads from the transaction to the block's Merkle root: the one given, or else the
    /// chain's own.
    pub merkle_proof_valid: bool,
    /// Why it is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
