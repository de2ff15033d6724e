//! The chain as a whole: what it is, how far it is, and its upkeep.

use lucid_core::digest::BlockHash;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::service::HealthState;
use super::sync::{SyncState, SyncStatus};
use crate::document::{BlockTime, Hash, PublicKey, Time};

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
    /// When this was so: the time of the answer.
    #[schema(value_type = Time)]
    pub last_updated: String,
    /// Blocks from genesis on.
    pub block_count: u64,
    /// Of the newest block.
    #[schema(value_type = Option<Hash>)]
    pub latest_block_hash: Option<BlockHash>,
    /// The chain's name.
    #[schema(value_type = Option<Hash>)]
    pub genesis_hash: Option<BlockHash>,
    /// Blocks below have no transactions any more.
    pub pruned_below: u64,
    /// 0 keeps all.
    pub max_blocks_to_keep: u64,
    /// When the last maintenance ended.
    #[schema(value_type = Option<Time>)]
    pub last_maintenance: Option<String>,
    /// What it did.
    #[serde(default)]
    pub last_report: Option<MaintenanceReport>,
    /// The public key in base64 that signs blocks: an authority's own, a follower's pinned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PublicKey>)]
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
    #[schema(value_type = Option<Hash>)]
    pub hash: Option<BlockHash>,
    /// Its time, as it spells it.
    #[schema(value_type = Option<BlockTime>)]
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
    #[schema(value_type = Option<Hash>)]
    pub latest_block_hash: Option<BlockHash>,
    /// Its time, as it spells it.
    #[schema(value_type = Option<BlockTime>)]
    pub last_block_time: Option<String>,
    /// How synchronisation is.
    pub sync: SyncStatus,
}

/// `POST /api/v1/chain/maintenance`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintain {
    /// Looks at every block, not at the next ones only.
    #[serde(default)]
    pub full: bool,
}

/// What a cycle of maintenance did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceReport {
    /// `completed`.
    #[schema(pattern = "^completed$")]
    pub status: String,
    /// When it began.
    #[schema(value_type = Time)]
    pub started_at: String,
    /// How long it took.
    pub duration_ms: u64,
    /// What was looked at, and what is wrong.
    pub integrity: IntegrityReport,
    /// Blocks whose transactions were pruned.
    pub removed: u64,
    /// Bytes that went with them.
    pub removed_bytes: u64,
    /// Why something was not removed that should have been, one sentence for each reason.
    pub spared: Vec<String>,
    /// Of the newest block.
    pub height: u64,
}

/// What looking through blocks found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IntegrityReport {
    /// How many blocks were looked at.
    pub checked: u64,
    /// The first of them.
    pub from: u64,
    /// The last of them; `null` when there was none.
    pub to: Option<u64>,
    /// Blocks that are not there, or not all of them. At most a thousand are listed.
    pub missing: Vec<u64>,
    /// Blocks that break a rule, likewise.
    pub invalid: Vec<BlockInvalid>,
    /// Damaged places that were met, as sentences.
    pub damage: Vec<String>,
    /// Blocks that are missing or invalid, those included that are not listed.
    pub faults: u64,
}

/// A stored block that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockInvalid {
    /// Which.
    pub index: u64,
    /// What it breaks.
    pub why: String,
}
