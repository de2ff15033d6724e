//! Chunks in bulk: which are missing, many in, many out. The bodies of many are framed
//! ([`crate::framing`]).

use lucid_core::digest::ChunkId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Chunk ids one `missing` request may ask about.
pub const MISSING_MAX: usize = 10_000;
/// Chunk ids one `get` request may ask for.
pub const GET_MAX: usize = 1_000;
/// Bytes of one batch, framing included.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// `POST /api/v1/chunks/missing` and `POST /api/v1/chunks/get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkIds {
    /// In any order; `get` answers in this one.
    #[schema(value_type = Vec<String>)]
    pub chunks: Vec<ChunkId>,
}

/// Which would have to be uploaded. Advice: the request that takes references decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingChunks {
    /// In the order asked.
    #[schema(value_type = Vec<String>)]
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
    #[schema(value_type = String)]
    pub chunk_id: ChunkId,
    /// Bytes it takes on disk; 0 when it was there.
    pub stored_bytes: u64,
    /// Whether it was there, within what the caller may read.
    pub deduplicated: bool,
}
