//! Reading a session back: `POST /api/v1/verify/session/{session_id}`.

use lucid_core::digest::{ChunkId, SessionRoot};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What to compare with, besides the session's own root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct VerifyQuery {
    /// The root the caller believes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub expected_merkle_root: Option<SessionRoot>,
}

/// The verdict. A fault is an answer, so it comes with 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// Whether everything was read and matched.
    pub verified: bool,
    /// When.
    pub timestamp: String,
    /// What was looked at.
    pub details: VerifiedDetails,
}

/// What a verification looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedDetails {
    /// Chunks the session refers to.
    pub chunk_count: u64,
    /// Chunks that were read and matched.
    pub chunks_verified: u64,
    /// Chunks that were not there or did not match.
    pub chunks_failed: u64,
    /// The failed ones (all of them, or the first thousand).
    pub chunk_results: Vec<ChunkVerdict>,
    /// As computed from what was read.
    #[schema(value_type = Option<String>)]
    pub merkle_root: Option<SessionRoot>,
    /// What else is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One chunk's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChunkVerdict {
    /// Its position.
    pub index: u64,
    /// Its first byte in the session.
    pub offset: u64,
    /// Its name.
    #[schema(value_type = String)]
    pub chunk_id: ChunkId,
    /// Whether it matched.
    pub verified: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
