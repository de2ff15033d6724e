//! The end of sessions: `DELETE /api/v1/sessions/{session_id}`, its hold, and what is left.

use crate::document::{Hash, Reason, SessionId, Time, TransactionId};
use lucid_core::digest::{BlockHash, SessionRoot};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Why a session is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// Stands in the tombstone, and so in the chain, for everyone to read; at most 1024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is left of a removed session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tombstone {
    /// The session's name, which is never used again.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// When it was removed.
    #[schema(value_type = Time)]
    pub removed_at: String,
    /// The root over the chunks it had.
    #[schema(value_type = Hash)]
    pub merkle_root: SessionRoot,
    /// Why.
    pub reason: String,
    /// The transaction that says so.
    #[schema(value_type = TransactionId)]
    pub transaction_id: String,
    /// Its exact, signed text.
    pub transaction: String,
    /// Its block, once it is in one.
    pub block_index: Option<u64>,
    /// Its block's hash.
    #[schema(value_type = Option<Hash>)]
    pub block_hash: Option<BlockHash>,
}

/// `PUT /api/v1/sessions/{session_id}/hold`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HoldSession {
    /// Callers who try to remove the session are told; at most 1024 bytes.
    #[schema(value_type = Reason)]
    pub reason: String,
}

/// `PUT /api/v1/sessions/{session_id}/retention`: until when a session is kept. It is extended, and never shortened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetainSession {
    /// From when on it may be removed, by the chain's time.
    #[schema(value_type = Time)]
    pub retain_until: String,
}

/// What forbids to remove a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Why.
    #[schema(value_type = Reason)]
    pub reason: String,
    /// Since when.
    #[schema(value_type = Time)]
    pub since: String,
}
