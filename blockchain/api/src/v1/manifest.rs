//! What a sealed session consists of: `GET /api/v1/sessions/{session_id}/manifest`.

use std::collections::BTreeMap;

use lucid_core::digest::{ChunkId, LeafHash, ManifestHash, SessionRoot};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sessions::{Appendix, ExitStatus, Layout, SessionSource, Terminal};
use crate::document::{Base64, Hash, SessionId, Time, UserId};

/// Which of the chunks are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct ManifestQuery {
    /// The first chunk's index.
    pub start: u64,
    /// At most so many (0..1000; 100 when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 0, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A manifest, with one page of its chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The session's name.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// Whose recording it is.
    #[schema(value_type = Option<UserId>)]
    pub user_id: Option<String>,
    /// When it began.
    #[schema(value_type = Time)]
    pub started_at: String,
    /// When it was sealed.
    #[schema(value_type = Time)]
    pub ended_at: String,
    /// What its bytes are.
    pub layout: Layout,
    /// How it was cut.
    pub chunk_profile: String,
    /// Chunks of content and appendix.
    pub chunk_count: u64,
    /// Bytes of content.
    pub content_bytes: u64,
    /// What follows the content.
    pub appendix: Option<Appendix>,
    /// Bytes of content and appendix.
    pub total_bytes: u64,
    /// What everything in it is proved against.
    #[schema(value_type = Hash)]
    pub merkle_root: SessionRoot,
    /// Of `text`.
    #[schema(value_type = Hash)]
    pub manifest_hash: ManifestHash,
    /// How the session ended.
    pub end_marker: Option<String>,
    /// With `exit`: how the recorded program ended.
    #[serde(default)]
    pub exit_status: Option<ExitStatus>,
    /// Anything else worth knowing.
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from, if its recorder said.
    #[serde(default)]
    pub source: Option<SessionSource>,
    /// How large the recorded terminal was, if there was one.
    #[serde(default)]
    pub terminal: Option<Terminal>,
    /// Of the same recorder's previous session.
    #[schema(value_type = Option<Hash>)]
    pub previous_manifest: Option<ManifestHash>,
    /// The exact bytes that the manifest hash covers, in base64.
    #[schema(value_type = Base64)]
    pub text_base64: String,
    /// Index of the first chunk below.
    pub start: u64,
    /// In order.
    pub chunks: Vec<ManifestChunk>,
    /// Where the next page starts; `null` when this is the last.
    pub next_start: Option<u64>,
}

/// One chunk of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManifestChunk {
    /// Its position.
    pub index: u64,
    /// Its first byte in the session.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
    /// BLAKE3 of its bytes.
    #[schema(value_type = Hash)]
    pub chunk_id: ChunkId,
    /// Its leaf in the session's tree.
    #[schema(value_type = Hash)]
    pub leaf_hash: LeafHash,
}
