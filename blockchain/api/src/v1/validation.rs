//! Judging many blocks at once: `POST /api/v1/validation/chain`.

use lucid_core::digest::{BlockHash, LogHash};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::blocks::RuleResult;
use crate::document::{Hash, Time};

/// Which blocks are to be judged. All of them when nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateChain {
    /// The first height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// The last height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// Judges what is kept for ever alone, and no transactions.
    #[serde(default)]
    pub records: bool,
}

/// What judging a row of blocks found. A fault is an answer, so it comes with 200.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChainValidation {
    /// Whether nothing is wrong.
    pub valid: bool,
    /// How many blocks were judged.
    pub blocks_checked: u64,
    /// How many of them by their records alone.
    pub records_only: u64,
    /// How many transactions they have.
    pub transactions_checked: u64,
    /// How many transaction signatures verified.
    pub transaction_signatures: u64,
    /// How many blocks their producer's signature vouches for.
    pub signed_blocks: u64,
    /// The first height that was judged.
    pub start: Option<u64>,
    /// The last one.
    pub end: Option<u64>,
    /// The hash of the last block.
    #[schema(value_type = Option<Hash>)]
    pub end_hash: Option<BlockHash>,
    /// Heights at which a block should be and none is.
    pub missing: Vec<u64>,
    /// What is wrong with which block: the first hundred.
    pub invalid: Vec<InvalidBlock>,
    /// How many are invalid.
    pub invalid_count: u64,
    /// That the last block is not the expected one, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_end: Option<String>,
    /// The RFC 9162 root over the blocks' entries, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hash>)]
    pub log_root: Option<LogHash>,
    /// What all this does not say, one sentence each.
    pub not_checked: Vec<String>,
    /// When.
    #[schema(value_type = Time)]
    pub validated_at: String,
}

/// A block that is not valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InvalidBlock {
    /// The height it claims, or stands at.
    pub index: Option<u64>,
    /// The hash it claims.
    #[schema(value_type = Option<Hash>)]
    pub hash: Option<BlockHash>,
    /// The line it stands on, in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The first rule it breaks; none where it cannot be judged, because it is damaged or no block.
    pub first_fault: Option<String>,
    /// Every rule, in order; empty where it cannot be judged.
    pub results: Vec<RuleResult>,
    /// The same in a sentence.
    pub reason: String,
}
