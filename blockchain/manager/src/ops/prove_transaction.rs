//! The way from a transaction of one block to the block's Merkle root, as documented clients want it.
//!
//! It works on pruned blocks too: the hashes are kept in the record.

use lucid_core::block_merkle::path;
use lucid_core::digest::{BlockHash, MerkleRoot, TransactionHash};
use lucid_core::transaction::id_digest;
use lucid_store::StoreError;
use lucid_store::chain::ChainStore;

/// A transaction's place in a block, and its siblings from the bottom up. A node without a neighbour is
/// its own sibling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// Its hash.
    pub leaf: TransactionHash,
    /// Its place.
    pub position: usize,
    /// How many transactions the block has.
    pub count: usize,
    /// The siblings.
    pub path: Vec<TransactionHash>,
    /// Where they lead.
    pub merkle_root: MerkleRoot,
    /// The block.
    pub block_hash: BlockHash,
}

/// The proof, if the block at that height has a transaction of that id.
pub fn prove_transaction(
    chain: &dyn ChainStore,
    height: u64,
    transaction_id: &str,
) -> Result<Option<BlockProof>, StoreError> {
    let id = id_digest(transaction_id);
    let Some(stored) = chain.record(height)? else { return Ok(None) };
    let digests = &stored.record.transactions;
    let Some(position) = digests.iter().position(|digests| digests.id == id) else {
        return Ok(None);
    };
    let leaves: Vec<TransactionHash> = digests.iter().map(|digests| digests.hash).collect();
    let found = leaves.get(position).copied().zip(path(&leaves, position));
    Ok(found.map(|(leaf, path)| BlockProof {
        leaf,
        position,
        count: leaves.len(),
        path,
        merkle_root: stored.record.entry.merkle_root,
        block_hash: stored.record.entry.hash,
    }))
}
