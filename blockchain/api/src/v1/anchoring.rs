//! Roots of sessions in the chain, by session: `/api/v1/anchoring`. What is posted travels as its own
//! text, so it has no type here: `{session_id, merkle_root, chunk_count?, manifest_data? | metadata?,
//! user_signature?, timestamp?}`.

use lucid_core::digest::{SessionRoot, TransactionHash};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::anchors::AnchorStatus;

/// Where a session's root is: `POST /api/v1/anchoring/session` and
/// `GET /api/v1/anchoring/session/{session_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Anchoring {
    /// The transaction's id, by the documented name.
    pub anchoring_id: String,
    /// The session.
    pub session_id: String,
    /// How far it is.
    pub status: AnchorStatus,
    /// The transaction that carries the root.
    pub transaction_id: String,
    /// The root.
    pub merkle_root: String,
    /// When it was accepted; the block's time where only the block is known.
    pub submitted_at: String,
    /// The time of its block.
    pub confirmed_at: Option<String>,
    /// Its block.
    pub block_height: Option<u64>,
    /// When its block is due, while there is none.
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
    pub session_id: String,
    /// The root it is to have.
    #[schema(value_type = String)]
    pub merkle_root: SessionRoot,
    /// The way that the caller was given: the siblings from the transaction's hash up to its block's
    /// Merkle root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
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
    pub transaction_id: Option<String>,
    /// The block's time.
    pub confirmation_time: Option<String>,
    /// Whether the way leads from the transaction to the block's Merkle root: the one given, or else the
    /// chain's own.
    pub merkle_proof_valid: bool,
    /// Why it is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
