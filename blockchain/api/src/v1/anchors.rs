//! A session's anchor: `POST` and `GET /api/v1/sessions/{session_id}/anchor`.

use crate::document::{Hash, PublicKey, SessionId, Time, TransactionId};
use lucid_core::digest::{BlockHash, SessionRoot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far an anchor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnchorStatus {
    /// Durable here, not yet with the chain.
    Pending,
    /// With the chain, not yet in a committed block.
    Processing,
    /// In a committed block.
    Confirmed,
    /// In no block that is known here: an engine of another kind says that it has it.
    Elsewhere,
    /// Refused for good.
    Failed,
}

/// `POST`: an empty object. The session is sealed first if need be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnchorSession {}

/// Where a session's anchor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchorState {
    /// Names the anchor.
    #[schema(value_type = TransactionId)]
    pub anchoring_id: String,
    /// The session.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// How far it is.
    pub status: AnchorStatus,
    /// The transaction that carries it.
    #[schema(value_type = TransactionId)]
    pub transaction_id: String,
    /// What is anchored.
    #[schema(value_type = Hash)]
    pub merkle_root: SessionRoot,
    /// When it was queued.
    #[schema(value_type = Time)]
    pub submitted_at: String,
    /// The time of its block.
    #[schema(value_type = Option<Time>)]
    pub confirmed_at: Option<String>,
    /// Its block, by the documented name.
    pub block_height: Option<u64>,
    /// Its block.
    pub block_index: Option<u64>,
    /// Its block's hash: enough to check a proof against.
    #[schema(value_type = Option<Hash>)]
    pub block_hash: Option<BlockHash>,
    /// The keys to check a proof against.
    pub trust: TrustKeys,
    /// Why it failed, or why it is late, or what it is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What an engine of another kind says, if one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<AnchoredElsewhere>,
}

/// What an engine that keeps no chain of ours says of an anchor. All of it is that engine's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnchoredElsewhere {
    /// The engine's address.
    pub engine: String,
    /// What the engine calls the session: a UUID.
    pub session_id: String,
    /// How far it says that it is.
    pub status: String,
    /// The transaction that it names.
    pub transaction_id: Option<String>,
    /// The height that it names.
    pub block_height: Option<u64>,
    /// When it says that it was confirmed, as it spells that.
    pub confirmed_at: Option<String>,
    /// What this does not prove: one sentence.
    pub not_proved: String,
}

/// The public keys that signed, in base64. They are worth what the way they came by is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrustKeys {
    /// The block's producer.
    #[schema(value_type = Option<PublicKey>)]
    pub block: Option<String>,
    /// The recorder that signed the anchor.
    #[schema(value_type = Option<PublicKey>)]
    pub recorder: Option<String>,
}
