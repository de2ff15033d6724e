//! The index of documents: its queue, its figures, and what could not be indexed.

use std::collections::BTreeMap;

use lucid_core::digest::BlockHash;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::document::{Hash, Time};

/// Items that were queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemsQueued {
    /// That they are queued, durably.
    pub queued: bool,
    /// How many.
    pub count: usize,
    /// How many wait now.
    pub queue_size: u64,
}

/// The index in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IndexStats {
    /// Entries of all indexes.
    pub total_indexed: u64,
    /// Items that wait.
    pub queue_size: u64,
    /// What the indexes are called.
    pub indexes: Vec<String>,
    /// Entries of each.
    pub indexed: BTreeMap<String, u64>,
    /// Items that could not be indexed.
    pub failed: u64,
    /// The same: they are laid aside, and can be read and tried again.
    pub dead_letter: u64,
    /// The routes below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
}

/// An item that could not be indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadItem {
    /// By which it can be tried again.
    pub item_id: String,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why it could not be indexed.
    pub why: String,
    /// When that was known.
    #[schema(value_type = Time)]
    pub failed_at: String,
    /// What it says, as text.
    pub item: String,
}

/// Which items are to be tried again; when nothing is said all of them, up to 10,000.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReviveItems {
    /// By their ids.
    pub item_ids: Option<Vec<String>>,
}

/// Items that wait again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemsRevived {
    /// How many.
    pub replayed: usize,
}

/// How taking documents from a block-manager goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentSync {
    /// Whether there is a block-manager that they are taken from.
    pub enabled: bool,
    /// Its address.
    pub peer: Option<String>,
    /// Whether a round is running.
    pub running: bool,
    /// When a round last ended as it should.
    #[schema(value_type = Option<Time>)]
    pub last_success: Option<String>,
    /// The height of the newest block that was taken.
    pub cursor: Option<u64>,
    /// Its hash.
    #[schema(value_type = Option<Hash>)]
    pub cursor_hash: Option<BlockHash>,
    /// The height of the block-manager's newest block, as it last said.
    pub remote_height: Option<u64>,
    /// Blocks that it had then and that were not taken yet.
    pub lag: u64,
    /// Why the last round ended early, if it did.
    pub last_error: Option<String>,
}
