//! Following another chain: blocks in a row, and how far synchronisation is.

use crate::document::{Hash, Time};
use lucid_core::digest::BlockHash;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Blocks of one run.
pub const RUN_BLOCKS_MAX: u32 = 10_000;
/// The head of a block: nine lines, a key and a signature.
pub const HEAD_BYTES_MAX: usize = 2 << 10;
/// A body: 16 MiB of texts, and a length before each of 10,000.
pub const BODY_BYTES_MAX: usize = (16 << 20) + (64 << 10);
/// Bytes of a run, unless its first block alone has more.
pub const RUN_BYTES_MAX: usize = 4 << 20;

/// Which blocks: `GET /api/v1/blocks/heads` and `/bodies`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RunQuery {
    /// The height of the first.
    pub from: u64,
    /// At most so many (1..10000; as many as fit when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}

/// How synchronisation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// An authority has nobody to follow.
    #[default]
    Disabled,
    /// Nothing has been heard of the peer yet.
    Starting,
    /// Blocks are fetched.
    Syncing,
    /// Everything the peer has is here.
    Synchronized,
    /// The peer has fewer blocks than this chain, and the same ones.
    PeerBehind,
    /// The peer has blocks that are ahead of the clock: they are asked for again.
    NotYet,
    /// The peer does not answer, or not so that it can be understood.
    Unreachable,
    /// The peer has a block that breaks a rule.
    Refused,
    /// The peer's chain has other hashes than those of our rules.
    UnsupportedHashRule,
    /// The peer has another block where one is final here.
    Diverged,
    /// It failed here.
    Failed,
}

/// A block that may still be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TentativeBlock {
    /// Its height.
    pub index: u64,
    /// Its hash.
    #[schema(value_type = Hash)]
    pub hash: BlockHash,
    /// When it was first seen.
    #[schema(value_type = Time)]
    pub first_seen: String,
}

/// Where the peer's chain was found to be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Divergence {
    /// The first height at which the two differ.
    pub height: u64,
    /// When it was found.
    #[schema(value_type = Time)]
    pub found_at: String,
    /// The committed block here: its entry's nine lines, and who signed it.
    pub ours: String,
    /// The peer's block, as far as it gave it.
    pub theirs: String,
}

/// How far synchronisation is: `sync` of the chain's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncStatus {
    /// Whether another chain is followed.
    pub enabled: bool,
    /// Whom.
    #[serde(default)]
    pub peer: Option<String>,
    /// How it is.
    pub state: SyncState,
    /// Of the newest committed block here; `None` for an empty chain.
    #[serde(default)]
    pub local_height: Option<u64>,
    /// Of the newest block that is not final yet.
    #[serde(default)]
    pub tentative_height: Option<u64>,
    /// What the peer said last.
    #[serde(default)]
    pub remote_height: Option<u64>,
    /// Blocks that the peer has above those that are committed here.
    pub lag: u64,
    /// Blocks that were committed since the service was started.
    pub synced_blocks: u64,
    /// When a round last ended well.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub last_success: Option<String>,
    /// When a round last began.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub last_attempt: Option<String>,
    /// Rounds that failed since then.
    pub failures: u64,
    /// Why the last one did.
    #[serde(default)]
    pub last_error: Option<String>,
    /// Blocks that may still be replaced.
    #[serde(default)]
    pub tentative: Vec<TentativeBlock>,
    /// Where the peer's chain was found to be another one, lowest first.
    #[serde(default)]
    pub divergences: Vec<Divergence>,
}

/// What one round did: the reply of `POST /api/v1/chain/sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncReport {
    /// Whether it went well so far.
    pub success: bool,
    /// Whether everything the peer has is here.
    pub synchronized: bool,
    /// Blocks that were committed.
    pub synced_blocks: u64,
    /// Of the newest committed block here; `None` for an empty chain.
    pub local_height: Option<u64>,
    /// What the peer said; `None` for an empty chain.
    pub remote_height: Option<u64>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A tentative block that was removed: `DELETE /api/v1/blocks/{index}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedBlock {
    /// Always.
    pub removed: bool,
    /// Its height.
    pub index: u64,
    /// Its hash.
    #[schema(value_type = Hash)]
    pub hash: BlockHash,
}

/// `DELETE /api/v1/blocks/{index}?confirm=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RemoveBlockQuery {
    /// The hash that the block must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub confirm: Option<BlockHash>,
}
