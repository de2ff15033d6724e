//! Everything that proves a chained transaction without this service: what a proof bundle holds.
//!
//! Called when an anchor is confirmed. It works on pruned blocks too, for anchors are kept verbatim in
//! the block's record.

use lucid_core::block_merkle::path;
use lucid_core::digest::{BlockHash, TransactionHash};
use lucid_core::record::BlockEntry;
use lucid_core::sign::{PublicKey, Signature};
use lucid_core::transaction::{Transaction, id_digest};
use lucid_store::StoreError;
use lucid_store::contract::chain::{Body, ChainStore};

/// A transaction, its way to the block's Merkle root, and who vouches for the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorProof {
    /// The transaction; its canonical text is what was hashed.
    pub transaction: Transaction,
    /// Its position in the block.
    pub position: u32,
    /// How many transactions the block has.
    pub count: u32,
    /// The siblings from the transaction's hash up to the block's Merkle root.
    pub path: Vec<TransactionHash>,
    /// The block's nine lines.
    pub entry: BlockEntry,
    /// The key that vouches for the block, if any.
    pub producer: Option<PublicKey>,
    /// That key's signature over the entry.
    pub signature: Option<Signature>,
    /// The block's height.
    pub block_index: u64,
    /// The block's hash.
    pub block_hash: BlockHash,
}

/// The proof of a transaction, once it is in a block.
pub fn anchor_proof(
    chain: &dyn ChainStore,
    transaction_id: &str,
) -> Result<Option<AnchorProof>, StoreError> {
    let Some(place) = chain.find(&id_digest(transaction_id))? else { return Ok(None) };
    let Some(stored) = chain.record(place.height)? else { return Ok(None) };
    let record = stored.record;
    let kept = record.anchors.into_iter().find(|anchor| anchor.position == place.position);
    let transaction = match kept {
        Some(anchor) => Some(anchor.transaction),
        None => {
            let body = chain.body(place.height)?.and_then(Body::here);
            body.and_then(|body| body.into_iter().nth(place.position as usize))
        }
    };
    let leaves: Vec<TransactionHash> =
        record.transactions.iter().map(|digests| digests.hash).collect();
    let siblings = path(&leaves, place.position as usize);
    let Ok(count) = u32::try_from(leaves.len()) else { return Ok(None) };
    Ok(transaction.zip(siblings).map(|(transaction, path)| AnchorProof {
        transaction,
        position: place.position,
        count,
        path,
        block_index: record.entry.index,
        block_hash: record.entry.hash,
        entry: record.entry,
        producer: record.producer,
        signature: record.signature,
    }))
}
