//! The chain as a whole: `GET /api/v1/chain/info` and `GET /api/v1/chain/height`.

use lucid_core::digest::BlockHash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::service::HealthState;
use super::sync::{SyncState, SyncStatus};

/// What the chain manager is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChainState {
    /// Nothing out of turn.
    Idle,
    /// A maintenance cycle runs.
    Maintenance,
    /// It is going away.
    Shutdown,
}

/// What the chain is. Heights mean committed blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainInfo {
    /// Of the newest block; 0 for an empty chain too, which `block_count` tells apart.
    pub height: u64,
    /// Of the newest block of a follower that is not final yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tentative_height: Option<u64>,
    /// What the chain manager is doing.
    pub state: ChainState,
    /// When the chain last grew or was looked after.
    pub last_updated: String,
    /// Blocks from genesis on.
    pub block_count: u64,
    /// Of the newest block.
    #[schema(value_type = Option<String>)]
    pub latest_block_hash: Option<BlockHash>,
    /// The chain's name.
    #[schema(value_type = Option<String>)]
    pub genesis_hash: Option<BlockHash>,
    /// Blocks below have no transactions any more.
    pub pruned_below: u64,
    /// 0 keeps all.
    pub max_blocks_to_keep: u64,
    /// When the last maintenance ended.
    pub last_maintenance: Option<String>,
    /// The public key in base64 that signs blocks: an authority's own, a follower's pinned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// The service's own counts.
    #[schema(value_type = Object)]
    pub statistics: Map<String, Value>,
}

/// How far the chain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainHeight {
    /// Of the newest block; 0 for an empty chain too.
    pub height: u64,
    /// Of the newest block of a follower that is not final yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tentative_height: Option<u64>,
    /// Its hash.
    #[schema(value_type = Option<String>)]
    pub hash: Option<BlockHash>,
    /// Its time, as it spells it.
    pub timestamp: Option<String>,
    /// Whether there is no block at all.
    pub empty: bool,
}

/// How the chain is: `GET /api/v1/chain/status`, also at `/api/v1/blockchain/status` and `/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainStatus {
    /// How the service is.
    pub status: HealthState,
    /// How synchronisation is, in a word.
    pub sync_status: SyncState,
    /// Of the newest block; 0 for an empty chain too.
    pub chain_height: u64,
    /// The same.
    pub current_height: u64,
    /// Of the newest block.
    #[schema(value_type = Option<String>)]
    pub latest_block_hash: Option<BlockHash>,
    /// Its time, as it spells it.
    pub last_block_time: Option<String>,
    /// How synchronisation is.
    pub sync: SyncStatus,
}
