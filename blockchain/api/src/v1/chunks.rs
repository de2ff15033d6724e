//! Chunks: single ones, and many at once, which are framed ([`crate::framing`]).

use crate::document::{Base64, ChunkName, Hash, SessionId, Time};
use lucid_core::digest::{ChunkId, SessionRoot};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// Chunk ids one `missing` request may ask about.
pub const MISSING_MAX: usize = 10_000;
/// Chunk ids one `get` request may ask for.
pub const GET_MAX: usize = 1_000;
/// Bytes of one batch, framing included.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// And so many chunks: each of them costs far more than its bytes.
pub const BATCH_MAX: usize = 10_000;

/// `POST /api/v1/chunks/missing` and `POST /api/v1/chunks/get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkIds {
    /// In any order; `get` answers in this one.
    #[schema(value_type = Vec<Hash>, max_items = 10000)]
    pub chunks: Vec<ChunkId>,
    /// The session whose chunks they are, for sessions that share nothing: `get` reads its copies, and
    /// `missing` names those of them that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
}

impl From<Vec<ChunkId>> for ChunkIds {
    fn from(chunks: Vec<ChunkId>) -> Self {
        Self { chunks, session_id: None }
    }
}

/// Which would have to be uploaded. Advice: the request that takes references decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingChunks {
    /// In the order asked.
    #[schema(value_type = Vec<Hash>)]
    pub missing: Vec<ChunkId>,
}

/// Answers a batch: all of it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredChunks {
    /// In the order sent.
    pub chunks: Vec<StoredChunk>,
}

/// One chunk of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredChunk {
    /// BLAKE3 of its bytes.
    #[schema(value_type = Hash)]
    pub chunk_id: ChunkId,
    /// Bytes it takes on disk; 0 when it was there.
    pub stored_bytes: u64,
    /// Whether it was there, within what the caller may read.
    pub deduplicated: bool,
}

/// `POST /api/v1/chunks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"data": "aGVsbG8="})))]
pub struct PutChunk {
    /// The bytes, in base64.
    #[schema(value_type = Base64)]
    pub data: String,
    /// The session it is put into; one that is not there begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
    /// Its index there.
    #[serde(default)]
    pub index: u64,
    /// Anything worth knowing, at most 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// What the caller calls it within the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ChunkName>)]
    pub chunk_id: Option<String>,
}

/// `POST /api/v1/sessions/{session_id}/chunks` as a form. For the document alone.
#[derive(Debug, ToSchema)]
pub struct ChunkForm {
    /// The bytes.
    #[schema(value_type = String, format = Binary)]
    pub file: Vec<u8>,
    /// The chunk's index; the session's next, when absent.
    pub index: Option<u64>,
    /// The same, under another name.
    pub sequence: Option<u64>,
    /// What the caller calls it within the session.
    pub chunk_id: Option<ChunkName>,
    /// Anything worth knowing, as a JSON object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// What became of an uploaded chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChunkTaken {
    /// What it goes by: the caller's name for it, or its hash.
    #[schema(value_type = ChunkName)]
    pub chunk_id: String,
    /// The session it is in.
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
    /// Its index there.
    pub index: Option<u64>,
    /// How long it is.
    pub size_bytes: u64,
    /// BLAKE3 of all of it.
    #[schema(value_type = Hash)]
    pub hash_value: ChunkId,
    /// When it was first taken.
    #[schema(value_type = Time)]
    pub created_at: String,
    /// As it was given.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Whether all of its bytes were there.
    pub deduplicated: bool,
    /// The chunks it was cut into, if it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ChunkPart>,
}

/// A chunk that an upload was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChunkPart {
    /// BLAKE3 of its bytes.
    #[schema(value_type = Hash)]
    pub chunk_id: ChunkId,
    /// Its index in the session.
    pub index: Option<u64>,
    /// How long it is.
    pub size_bytes: u64,
    /// Whether it was there.
    pub deduplicated: bool,
}

/// What is known of a chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChunkInfo {
    /// What it goes by: the caller's name for it, or its hash.
    #[schema(value_type = ChunkName)]
    pub chunk_id: String,
    /// The session it is in, where that is known.
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
    /// Its index there.
    pub index: Option<u64>,
    /// How long it is.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes; of an upload that was cut, only where they were read.
    #[schema(value_type = Option<Hash>)]
    pub hash_value: Option<ChunkId>,
    /// When it was uploaded on its own.
    #[schema(value_type = Option<Time>)]
    pub created_at: Option<String>,
    /// Until when it is kept if no session refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    pub kept_until: Option<String>,
    /// As it was given.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Whether it waits for chunks in front of it, and is not in the session's tree yet.
    #[serde(default)]
    pub waits: bool,
    /// Bytes it takes on the disk.
    pub stored_bytes: u64,
    /// Whether it is encrypted there.
    pub encrypted: bool,
    /// The chunks it was cut into, if it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Hash>)]
    pub parts: Vec<ChunkId>,
}

/// `GET /api/v1/chunks/{chunk_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChunkWithData {
    /// What it goes by.
    #[schema(value_type = ChunkName)]
    pub chunk_id: String,
    /// The bytes, in base64.
    #[schema(value_type = Base64)]
    pub data: String,
    /// What is known of it.
    pub metadata: CheckedChunk,
}

/// What is known of a chunk that was read just now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckedChunk {
    /// What is known of it anyway.
    #[serde(flatten)]
    pub chunk: ChunkInfo,
    /// What was checked; what is wrong is never shown.
    pub verification: ChunkChecks,
}

/// What reading a chunk checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChunkChecks {
    /// Whether its bytes are those it was stored with.
    pub verified: bool,
    /// By which hash.
    pub algorithm: String,
}

/// Which session's chunk is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChunkQuery {
    /// Needed where several sessions call a chunk so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

/// `GET /api/v1/chunks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChunksQuery {
    /// Only this session's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// How many: 1 to 1000, 100 when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// How many to leave out in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// `GET /api/v1/sessions/{session_id}/chunks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SessionChunksQuery {
    /// How many: 1 to 1000, 100 when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which index an uploaded body is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    /// The session's next, when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What the caller calls it within the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_id: Option<String>,
}

/// `GET /api/v1/deduplication/stats`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeduplicationStats {
    /// Whether sessions that begin now share chunks.
    pub enabled: bool,
    /// Different chunks that are referred to.
    pub total_unique_chunks: u64,
    /// References to them: by sessions, and by uploads that wait for their deletion.
    pub total_references: u64,
    /// Bytes of the different chunks.
    pub total_size_bytes: u64,
    /// Bytes that are referred to, by bytes that are different; 1 when there are none.
    pub deduplication_ratio: f64,
    /// Bytes that are referred to and need not be kept again.
    pub space_saved_bytes: u64,
}

/// `POST /api/v1/merkle/build`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BuildTree {
    /// The leaves, in order: hashes, or names within the session.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ChunkName>)]
    pub chunk_ids: Vec<String>,
    /// The same, under the name that other clients use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ChunkName>)]
    pub chunk_hashes: Vec<String>,
    /// The session the leaves are bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
}

/// A tree that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tree {
    /// Its root.
    #[schema(value_type = Hash)]
    pub root_hash: SessionRoot,
    /// How many leaves it has.
    pub leaf_count: u64,
    /// How long the way from a leaf to the root is, at most.
    pub tree_depth: u32,
    /// The session its leaves are bound to.
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
    /// When it was built.
    #[schema(value_type = Time)]
    pub created_at: String,
    /// `lucid-session-tree/v1`.
    pub algorithm: String,
    /// Its leaves, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Hash>>)]
    pub leaves: Option<Vec<String>>,
}

/// `GET /api/v1/merkle/{root_hash}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct TreeQuery {
    /// Whether to list its leaves.
    pub include_leaves: bool,
}

/// The way from a leaf to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TreeProof {
    /// The leaf.
    #[schema(value_type = Hash)]
    pub leaf_hash: String,
    /// Which one.
    pub leaf_index: u64,
    /// Of how many.
    pub leaf_count: u64,
    /// The hashes beside the way, from the leaf up.
    #[schema(value_type = Vec<Hash>)]
    pub proof_hashes: Vec<String>,
    /// Of each, whether it stands on the right.
    pub proof_directions: Vec<bool>,
    /// The root.
    #[schema(value_type = Hash)]
    pub root_hash: SessionRoot,
}

/// `POST /api/v1/merkle/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyProof {
    /// The root that the leaf is to be under.
    #[schema(value_type = Hash)]
    pub root_hash: String,
    /// The leaf.
    #[schema(value_type = Hash)]
    pub leaf_hash: String,
    /// The hashes beside the way, from the leaf up.
    #[schema(value_type = Vec<Hash>)]
    pub proof_path: Vec<String>,
    /// Which leaf.
    #[serde(default)]
    pub leaf_index: u64,
    /// Of each hash, whether it stands on the right. Derived when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_directions: Option<Vec<bool>>,
    /// How many leaves there are; without it the tree is taken to be full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_count: Option<u64>,
}
