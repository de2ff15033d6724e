//! Transactions: what submitting one answers, and where one is. A transaction itself travels as
//! its own text.

use lucid_core::digest::{BlockHash, MerkleRoot, TransactionHash};
use lucid_core::sign::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Durable, not yet in a committed block.
    Pending,
    /// In a committed block.
    Confirmed,
    /// Refused when its block was made.
    Failed,
}

/// Answers `POST /api/v1/transactions`: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionAccepted {
    /// Its name.
    pub tx_id: String,
    /// How far it is; the same transaction again may find it further.
    pub status: TransactionStatus,
    /// When it was accepted.
    pub submitted_at: String,
    /// When it was committed.
    pub confirmation_time: Option<String>,
    /// Its block.
    pub block_height: Option<u64>,
}

/// Where a transaction is: `GET /api/v1/transactions/{tx_id}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TransactionState {
    /// Its name.
    pub tx_id: String,
    /// Its kind, if it has one.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The whole transaction, as its canonical text; `null` once pruned.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// How far it is.
    pub status: TransactionStatus,
    /// When it was accepted; unknown for blocks from elsewhere.
    pub submitted_at: Option<String>,
    /// When its block was committed.
    pub confirmed_at: Option<String>,
    /// Its block.
    pub block_height: Option<u64>,
    /// Its block's hash.
    #[schema(value_type = Option<String>)]
    pub block_hash: Option<BlockHash>,
    /// Its place in the block.
    pub transaction_index: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The way from a committed transaction into its block: `GET /api/v1/transactions/{tx_id}/proof`. It
/// holds after the block's body is pruned; a transaction that is not in a committed block has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionProof {
    /// The transaction's canonical text.
    pub transaction: String,
    /// Its place in the block.
    pub position: u32,
    /// How many transactions the block has.
    pub count: u32,
    /// The siblings from the transaction's hash up to the block's Merkle root.
    #[schema(value_type = Vec<String>)]
    pub path: Vec<TransactionHash>,
    /// Where the way leads.
    #[schema(value_type = String)]
    pub merkle_root: MerkleRoot,
    /// The block's nine-line entry.
    pub entry: String,
    /// The key of the block's producer, in base64.
    #[schema(value_type = Option<String>)]
    pub producer: Option<PublicKey>,
    /// The producer's signature over the entry, in base64.
    #[schema(value_type = Option<String>)]
    pub signature: Option<Signature>,
    /// The block's index.
    pub block_index: u64,
    /// The block's hash.
    #[schema(value_type = String)]
    pub block_hash: BlockHash,
}
