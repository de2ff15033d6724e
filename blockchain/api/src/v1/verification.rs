//! Reading sessions and chunks back, and what that found.

use crate::document::{ChunkName, Hash, Time};
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
    #[schema(value_type = Time)]
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
    #[schema(value_type = Option<Hash>)]
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
    #[schema(value_type = Hash)]
    pub chunk_id: ChunkId,
    /// Whether it matched.
    pub verified: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The verdict on a way from a leaf to a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProofVerdict {
    /// Whether it leads there.
    pub verified: bool,
    /// When.
    #[schema(value_type = Time)]
    pub timestamp: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `POST /api/v1/verify/chunk/{chunk_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChunkVerified {
    /// Whether it was read and matched.
    pub verified: bool,
    /// When.
    #[schema(value_type = Time)]
    pub timestamp: String,
    /// What was looked at.
    pub details: ChunkVerifiedDetails,
}

/// What the verification of a chunk looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChunkVerifiedDetails {
    /// What it goes by.
    #[schema(value_type = ChunkName)]
    pub chunk_id: String,
    /// Each check by its name: the record's digest, its encryption, its length and its hash are
    /// checked by every read, and none can be right while another is wrong.
    pub checks: std::collections::BTreeMap<String, bool>,
    /// What is wrong, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /api/v1/verify/history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Only of this chunk, under the name it was verified by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_id: Option<String>,
    /// Only of this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// How many: 1 to 1000, 100 when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A verification that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastVerification {
    /// When.
    #[schema(value_type = Time)]
    pub timestamp: String,
    /// `chunk` or `session`.
    #[schema(pattern = "^(chunk|session)$")]
    pub kind: String,
    /// What it goes by.
    pub id: String,
    /// Whether nothing was wrong.
    pub verified: bool,
    /// What was, or what was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
