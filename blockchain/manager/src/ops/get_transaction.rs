//! Where a transaction is: in a block, in the pool, refused, or lost with its block.

use lucid_core::digest::BlockHash;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{Transaction, id_digest};
use lucid_store::StoreError;
use lucid_store::contract::chain::{Body, ChainStore};
use lucid_store::vault::Vault;

use crate::fact::{self, PooledStage};

/// How far a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionStage {
    /// Durable, not yet in a block.
    Pending,
    /// In a block, for good.
    Confirmed {
        /// The block's height.
        height: u64,
        /// The block's hash.
        hash: BlockHash,
        /// Its position in the block.
        position: u32,
        /// The block's time, as it spells it.
        at: String,
    },
    /// Refused when its block was made.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, as a sentence.
        reason: String,
    },
    /// It was in a block that is lost, and the operator has accepted that: its id is free again.
    Lost {
        /// The height that its block had.
        height: u64,
    },
}

/// What to say of a transaction whose block is lost.
pub fn lost_with(height: u64) -> String {
    format!("block {height}, which had it, is lost, and that was accepted: post it again")
}

/// What is known about a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTransaction {
    /// Its id.
    pub id: String,
    /// The transaction itself; gone when its block was pruned, or lost.
    pub transaction: Option<Transaction>,
    /// When it was accepted here; unknown for blocks from elsewhere.
    pub submitted_at: Option<Timestamp>,
    /// How far it is.
    pub status: TransactionStage,
}

/// Looks a transaction up by its id.
pub fn get_transaction(
    vault: &Vault,
    chain: &dyn ChainStore,
    id: &str,
) -> Result<Option<FoundTransaction>, StoreError> {
    let digest = id_digest(id);
    // The pool first: what leaves it meanwhile is in the chain by then.
    let ticket = fact::ticket(vault, &digest)?;
    let text = fact::text(vault, &digest)?;
    let submitted_at = ticket.as_ref().map(|ticket| ticket.submitted_at);
    if let Some(place) = chain.find(&digest)?
        && let Some(stored) = chain.record(place.height)?
    {
        // The record keeps anchors and tombstones when the rest was pruned.
        let kept = stored.record.anchors.into_iter().find(|kept| kept.position == place.position);
        let transaction = match kept {
            Some(kept) => Some(kept.transaction),
            None => {
                let body = chain.body(place.height)?.and_then(Body::here);
                body.and_then(|body| body.into_iter().nth(place.position as usize))
            }
        };
        let entry = stored.record.entry;
        return Ok(Some(FoundTransaction {
            id: id.to_owned(),
            transaction,
            submitted_at,
            status: TransactionStage::Confirmed {
                height: entry.index,
                hash: entry.hash,
                position: place.position,
                at: entry.timestamp,
            },
        }));
    }
    let Some(ticket) = ticket else { return Ok(None) };
    let status = match ticket.stage {
        PooledStage::Failed { at, reason } => TransactionStage::Failed { at, reason },
        PooledStage::Pending { .. } => TransactionStage::Pending,
        // It is marked behind its block, and the chain knows all its ids: it has this one no more.
        PooledStage::Chained { height } => TransactionStage::Lost { height },
    };
    Ok(Some(FoundTransaction { id: id.to_owned(), transaction: text, submitted_at, status }))
}
