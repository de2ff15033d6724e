//! Blocks: lists of them, and verdicts on them. A block itself travels as its own text.

use super::transactions::Transaction;
use crate::document::{BlockTime, Hash, PublicKey, Signature, Time, TransactionId};
use lucid_core::digest::{BlockHash, LogHash, MerkleRoot, TransactionHash};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, ToSchema};

/// A block as it travels: its own text, of which this is the form. Other members are ignored. For the
/// document alone.
#[derive(Debug, ToSchema)]
pub struct Block {
    /// Its place.
    pub index: u64,
    /// The same.
    pub height: Option<u64>,
    /// The hash, by the documented name.
    pub block_id: Option<Hash>,
    /// SHA-256 of index, timestamp, previous hash, Merkle root and nonce.
    pub hash: Hash,
    /// Its parent's; of the first block 64 zeros.
    pub previous_hash: Hash,
    /// When it was made.
    pub timestamp: BlockTime,
    /// Over its transactions.
    pub merkle_root: Hash,
    /// 0 in blocks of ours.
    pub nonce: u64,
    /// Transactions in it.
    pub transaction_count: Option<u64>,
    /// Of its transactions' texts.
    pub size_bytes: Option<u64>,
    /// Who made it.
    pub producer: Option<PublicKey>,
    /// The producer's, over the block's entry.
    pub signature: Option<Signature>,
    /// In order.
    #[schema(max_items = 10000)]
    pub transactions: Vec<Transaction>,
}

/// A block that is to be judged: itself, or as `block_data`. For the document alone.
#[derive(Debug, Clone, Copy)]
pub struct BlockToJudge;

impl utoipa::PartialSchema for BlockToJudge {
    fn schema() -> RefOr<Schema> {
        let block = || Ref::from_schema_name("Block");
        let named = ObjectBuilder::new().property("block_data", block()).required("block_data");
        Schema::AnyOf(AnyOfBuilder::new().item(block()).item(named).build()).into()
    }
}

impl ToSchema for BlockToJudge {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Block".to_owned(), <Block as utoipa::PartialSchema>::schema()));
        Block::schemas(schemas);
    }
}

/// The order of a list of blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockSort {
    /// Newest first.
    #[default]
    HeightDesc,
    /// Oldest first.
    HeightAsc,
    /// Latest time first.
    TimestampDesc,
    /// Earliest time first.
    TimestampAsc,
}

/// Which blocks are wanted: `GET /api/v1/blocks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BlocksQuery {
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1)]
    pub page: Option<u64>,
    /// Blocks a page (1..100; 20 when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// So many blocks are passed over; instead of `page`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// At this height or above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_from: Option<u64>,
    /// At this height or below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_to: Option<u64>,
    /// In which order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub sort: Option<BlockSort>,
}

/// One page of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocks {
    /// In the order asked for.
    pub blocks: Vec<BlockSummary>,
    /// Which page it is.
    pub pagination: Pagination,
}

/// Which page, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pagination {
    /// From 1.
    pub page: u64,
    /// Items a page.
    pub limit: u32,
    /// Items on all pages.
    pub total: u64,
    /// How many pages.
    pub pages: u64,
}

/// A block without its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSummary {
    /// The hash, by the documented name.
    #[schema(value_type = Hash)]
    pub block_id: BlockHash,
    /// Its place.
    pub index: u64,
    /// The same.
    pub height: u64,
    /// Its name.
    #[schema(value_type = Hash)]
    pub hash: BlockHash,
    /// As the block spells it.
    #[schema(value_type = BlockTime)]
    pub timestamp: String,
    /// Its parent.
    #[schema(value_type = Hash)]
    pub previous_hash: BlockHash,
    /// Over its transactions.
    #[schema(value_type = Hash)]
    pub merkle_root: MerkleRoot,
    /// As the block spells it.
    pub nonce: u64,
    /// Transactions in it.
    pub transaction_count: u64,
    /// Of its transactions' texts.
    pub size_bytes: u64,
    /// Who made it (public key, base64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PublicKey>)]
    pub producer: Option<String>,
    /// Whether its transactions were pruned.
    #[serde(default)]
    pub pruned: bool,
}

/// Which headers are wanted: `GET /api/v1/blocks/headers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HeadersQuery {
    /// The height of the first; 0 when absent.
    #[serde(default)]
    pub start_height: u64,
    /// At most so many (1..1000; 100 when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// The headers of blocks in a row, in the order of heights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Headers {
    /// Empty beyond the tip.
    pub headers: Vec<BlockSummary>,
}

/// Blocks in numbers: `GET /api/v1/blocks/stats`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockStats {
    /// From genesis on.
    pub total_blocks: u64,
    /// Of the newest block; 0 for an empty chain too.
    pub latest_height: u64,
    /// In all blocks; `null` where the newest one, which says so, is damaged.
    pub total_transactions: Option<u64>,
    /// Seconds from one block to the next; `null` where the first or the newest is damaged.
    pub average_block_time: Option<f64>,
    /// Bytes of a block's transaction texts; `null` where the newest is damaged.
    pub average_block_size: Option<f64>,
    /// Bytes that the blocks take up.
    pub storage_size: u64,
    /// Blocks below have no transactions any more.
    pub pruned_below: u64,
    /// Why something is not known, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// The way from a transaction to the roots of its block: `GET /api/v1/blocks/{index}/proof/{tx_id}`. It is
/// there for pruned blocks too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockProof {
    /// Which.
    #[schema(value_type = TransactionId)]
    pub tx_id: String,
    /// SHA-256 of its canonical text.
    #[schema(value_type = Hash)]
    pub leaf_hash: TransactionHash,
    /// Its position in the block.
    pub leaf_index: u64,
    /// How many transactions the block has.
    pub leaf_count: u64,
    /// From the bottom up.
    pub path: Vec<Sibling>,
    /// What the path leads to.
    #[schema(value_type = Hash)]
    pub merkle_root: MerkleRoot,
    /// What covers the root.
    #[schema(value_type = Hash)]
    pub block_hash: BlockHash,
    /// Its height.
    pub block_index: u64,
    /// The same by RFC 9162, which the block's entry covers.
    pub log: LogProof,
    /// The block's nine lines.
    pub entry: String,
}

/// An inclusion proof of RFC 9162.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogProof {
    /// SHA-256 of a zero byte and the canonical text.
    #[schema(value_type = Hash)]
    pub leaf_hash: LogHash,
    /// The siblings, from the bottom up.
    #[schema(value_type = Vec<Hash>)]
    pub path: Vec<LogHash>,
    /// What they lead to.
    #[schema(value_type = Hash)]
    pub root: LogHash,
}

/// How a block's time is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValidationMode {
    /// As a new block: near the clock.
    Candidate,
    /// As an old block: not before its parent, not ahead of the clock.
    Historical,
}

/// `POST /api/v1/blocks/validate?mode=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ValidateQuery {
    /// Found out when absent: stored blocks are judged as old ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub mode: Option<ValidationMode>,
}

/// The verdict on a block. A fault is an answer, so it comes with 200.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Validation {
    /// Whether every rule passed.
    pub valid: bool,
    /// Every rule, in order.
    pub results: Vec<RuleResult>,
    /// When.
    #[schema(value_type = Time)]
    pub validated_at: String,
    /// How its time was judged.
    pub mode: ValidationMode,
    /// The name of the first rule that failed.
    pub first_fault: Option<String>,
    /// What was checked.
    pub coverage: Vec<String>,
    /// What was not.
    pub not_checked: Vec<String>,
    /// One sentence for each fault, for clients of the documented API.
    #[serde(default)]
    pub errors: Vec<String>,
    /// What is allowed and odd.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Sound, but ahead of the clock: ask again later.
    #[serde(default)]
    pub not_yet: bool,
    /// Each rule under its older name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub validation_results: Map<String, Value>,
}

/// A block that was submitted, and is in the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockAccepted {
    /// Always true.
    pub accepted: bool,
    /// Its height.
    pub index: u64,
    /// Its hash.
    #[schema(value_type = Hash)]
    pub hash: BlockHash,
    /// What the rules say.
    pub validation: Validation,
}

/// A neighbour on the way up. A node without one is its own, on the right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sibling {
    /// Its hash.
    #[schema(value_type = Hash)]
    pub hash: TransactionHash,
    /// Which side it stands on.
    pub position: Side,
}

/// One side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before.
    Left,
    /// Behind.
    Right,
}

/// One rule's verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RuleResult {
    /// Its name.
    pub rule: String,
    /// Whether it passed.
    pub passed: bool,
    /// Under the documented names.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
}

/// The rules a block is judged by: `GET /api/v1/validation/rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidationRules {
    /// In the order they run.
    pub rules: Vec<ValidationRule>,
    /// Fields a block must have.
    pub required_fields: Vec<String>,
    /// How far from the clock a new block's time may lie.
    pub timestamp_tolerance_seconds: u64,
    /// Of blocks and transactions.
    pub hash_algorithm: String,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidationRule {
    /// Its name.
    pub name: String,
    /// What it demands.
    pub description: String,
    /// From 1.
    pub order: u32,
}
