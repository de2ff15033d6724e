//! Transactions: what submitting one answers, and where one is. A transaction itself travels as
//! its own text.

use std::fmt;

use lucid_core::digest::{BlockHash, MerkleRoot, TransactionHash};
use lucid_core::sign::{PublicKey, Signature};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::blocks::Pagination;
use crate::document::{self, Hash, Time, TransactionId};

/// A transaction as a block has it. It may have any other members, too: all of it is hashed, as its
/// canonical text. For the document alone.
#[derive(Debug, ToSchema)]
pub struct Transaction {
    /// What no other transaction of the chain goes by.
    pub id: TransactionId,
    /// What it is: `session_anchor`, `session_tombstone`, or anything else.
    #[schema(rename = "type")]
    pub kind: Option<Value>,
    /// When it was made, where it is a string.
    pub timestamp: Option<Value>,
    /// The session it is about, where it is a string.
    pub session_id: Option<Value>,
    /// Who signed it.
    pub public_key: Option<document::PublicKey>,
    /// Over its canonical text without this member, where there is a `public_key`.
    pub signature: Option<Value>,
}

/// A transaction as it is handed in. One that is not signed is given the `id` and the `timestamp` it
/// lacks; it may have any other members. For the document alone.
#[derive(Debug, ToSchema)]
#[schema(examples(json!({"type": "note"})))]
pub struct NewTransaction {
    /// What no other transaction of the chain goes by.
    pub id: Option<TransactionId>,
    /// What it is.
    #[schema(rename = "type", min_length = 1)]
    pub kind: String,
    /// When it was made (ISO 8601).
    pub timestamp: Option<String>,
    /// Who signed it.
    pub public_key: Option<document::PublicKey>,
    /// Over its canonical text without this member, where there is a `public_key`.
    pub signature: Option<Value>,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    /// Durable, not yet in a committed block.
    Pending,
    /// In a committed block.
    Confirmed,
    /// Refused when its block was made, or lost with its block: then it may be posted again.
    Failed,
}

/// Answers `POST /api/v1/transactions`: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionAccepted {
    /// Its name.
    #[schema(value_type = TransactionId)]
    pub tx_id: String,
    /// How far it is; the same transaction again may find it further.
    pub status: TransactionStatus,
    /// When it was accepted.
    #[schema(value_type = Time)]
    pub submitted_at: String,
    /// When it was committed.
    #[schema(value_type = Option<Time>)]
    pub confirmation_time: Option<String>,
    /// Its block.
    pub block_height: Option<u64>,
}

/// Where a transaction is: `GET /api/v1/transactions/{tx_id}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TransactionState {
    /// Its name.
    #[schema(value_type = TransactionId)]
    pub tx_id: String,
    /// Its kind, if it has one.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The whole transaction, as its canonical text; `null` once pruned.
    #[schema(value_type = Option<Transaction>)]
    pub data: Option<Box<RawValue>>,
    /// How far it is.
    pub status: TransactionStatus,
    /// When it was accepted; unknown for blocks from elsewhere.
    #[schema(value_type = Option<Time>)]
    pub submitted_at: Option<String>,
    /// When its block was committed.
    #[schema(value_type = Option<Time>)]
    pub confirmed_at: Option<String>,
    /// Its block.
    pub block_height: Option<u64>,
    /// Its block's hash.
    #[schema(value_type = Option<Hash>)]
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
    #[schema(value_type = Vec<Hash>)]
    pub path: Vec<TransactionHash>,
    /// Where the way leads.
    #[schema(value_type = Hash)]
    pub merkle_root: MerkleRoot,
    /// The block's nine-line entry.
    pub entry: String,
    /// The key of the block's producer, in base64.
    #[schema(value_type = Option<document::PublicKey>)]
    pub producer: Option<PublicKey>,
    /// The producer's signature over the entry, in base64.
    #[schema(value_type = Option<document::Signature>)]
    pub signature: Option<Signature>,
    /// The block's index.
    pub block_index: u64,
    /// The block's hash.
    #[schema(value_type = Hash)]
    pub block_hash: BlockHash,
}

/// The most transactions of one batch.
pub const BATCH_MAX: usize = 100;

/// Reads texts, and not many more than a batch has: a list of small values takes many times the memory of
/// its text.
fn batch<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Box<RawValue>>, D::Error> {
    struct BatchVisitor;
    impl<'de> Visitor<'de> for BatchVisitor {
        type Value = Vec<Box<RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of transactions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut batch = Vec::new();
            while let Some(item) = items.next_element()? {
                batch.push(item);
                if batch.len() > BATCH_MAX {
                    let detail =
                        format_args!("over {BATCH_MAX} transactions; 1 to {BATCH_MAX} are a batch");
                    return Err(A::Error::custom(detail));
                }
            }
            Ok(batch)
        }
    }
    from.deserialize_seq(BatchVisitor)
}

/// `POST /api/v1/transactions/batch`: 1 to 100 transactions, each as it would be posted alone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBatch {
    /// Their texts.
    #[schema(value_type = Vec<NewTransaction>, min_items = 1, max_items = 100)]
    #[serde(deserialize_with = "batch")]
    pub transactions: Vec<Box<RawValue>>,
}

/// Answers a batch: those that were taken are durable, and the others are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchAccepted {
    /// Follows from the ids, so that the same batch has the same one.
    pub batch_id: String,
    /// How many are in, those that were there before included.
    pub submitted_count: u64,
    /// How many are not.
    pub failed_count: u64,
    /// The ids of those that are in, in order.
    #[schema(value_type = Vec<TransactionId>)]
    pub transaction_ids: Vec<String>,
    /// What is wrong with the others.
    pub errors: Vec<BatchError>,
}

/// A transaction of a batch that was not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchError {
    /// Its place in the batch.
    pub index: u64,
    /// As it would have been answered alone.
    pub code: String,
    /// The same, as a sentence.
    pub detail: String,
}

/// Which transactions are wanted: `GET /api/v1/transactions/pending`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PendingQuery {
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1)]
    pub page: Option<u64>,
    /// Transactions a page (1..100; 20 when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

/// One page of what waits for its block, in the order in which it will be taken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PendingTransactions {
    /// Each as `GET /api/v1/transactions/{tx_id}` shows it.
    pub transactions: Vec<TransactionState>,
    /// Which page it is.
    pub pagination: Pagination,
}

/// `POST /api/v1/blocks/propose`. Both may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProposeBlock {
    /// Submitted first; when one of them is refused, nothing is done.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "batch")]
    #[schema(value_type = Vec<NewTransaction>, max_items = 100)]
    pub transactions: Vec<Box<RawValue>>,
    /// The public key that is to sign, in base64: this authority's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::PublicKey>)]
    pub producer: Option<String>,
}
