//! The way from a transaction to both roots of its block, from what is kept of the block for ever: so it
//! is there when the transaction itself was pruned.

use lucid_core::block_merkle::path;
use lucid_core::digest::{LogHash, TransactionHash};
use lucid_core::record::{BlockEntry, TransactionDigests};
use lucid_core::transaction::id_digest;
use lucid_core::tree::{NodeHash, Sha256Tree, inclusion_proof};
use lucid_store::StoreError;
use lucid_store::contract::chain::ChainStore;

/// A transaction's place, and its ways up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Its digests.
    pub digests: TransactionDigests,
    /// Its position in the block.
    pub position: usize,
    /// How many transactions the block has.
    pub count: usize,
    /// The siblings up to the block's Merkle root.
    pub path: Vec<TransactionHash>,
    /// The siblings up to the RFC 9162 root.
    pub log_path: Vec<LogHash>,
    /// The block's nine lines, with both roots.
    pub entry: BlockEntry,
}

/// Proves the transaction with this id to be in the block at a height; `None` if it is not there.
pub fn prove_transaction(
    chain: &dyn ChainStore,
    height: u64,
    id: &str,
) -> Result<Option<Proved>, StoreError> {
    let Some(stored) = chain.record(height)? else { return Ok(None) };
    let id = id_digest(id);
    let transactions = stored.record.transactions;
    let Some(position) = transactions.iter().position(|digests| digests.id == id) else {
        return Ok(None);
    };
    let hashes: Vec<TransactionHash> = transactions.iter().map(|digests| digests.hash).collect();
    let leaves: Vec<NodeHash> =
        transactions.iter().map(|digests| *digests.leaf.as_bytes()).collect();
    let siblings = path(&hashes, position);
    let log_siblings = inclusion_proof::<Sha256Tree>(&leaves, position as u64);
    Ok(transactions.get(position).zip(siblings).zip(log_siblings).map(
        |((digests, path), log_path)| Proved {
            digests: *digests,
            position,
            count: hashes.len(),
            path,
            log_path: log_path.iter().map(|node| LogHash::new(*node)).collect(),
            entry: stored.record.entry,
        },
    ))
}
