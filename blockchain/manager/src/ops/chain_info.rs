//! What the chain is, in numbers.

use lucid_core::digest::BlockHash;
use lucid_store::StoreError;
use lucid_store::chain::{ChainStore, Tip};
use lucid_store::vault::Vault;

use crate::facts::{self, Pool};

/// The chain and the pool before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFacts {
    /// The newest block.
    pub tip: Option<Tip>,
    /// Its time, as it spells it.
    pub tip_time: Option<String>,
    /// The chain's name.
    pub genesis: Option<BlockHash>,
    /// Blocks from genesis on.
    pub blocks: u64,
    /// Transactions in all of them.
    pub transactions: u64,
    /// What waits for the next block.
    pub pool: Pool,
}

/// Reads the numbers.
pub fn chain_info(vault: &Vault, chain: &dyn ChainStore) -> Result<ChainFacts, StoreError> {
    let tip = chain.tip()?;
    let stored = tip.map(|tip| chain.record(tip.height)).transpose()?.flatten();
    Ok(ChainFacts {
        tip,
        tip_time: stored.as_ref().map(|stored| stored.record.entry.timestamp.clone()),
        genesis: facts::genesis(vault.index())?,
        blocks: tip.map_or(0, |tip| tip.height + 1),
        transactions: stored
            .map_or(0, |stored| stored.transactions_before + stored.record.entry.transaction_count),
        pool: facts::pool(vault.index())?,
    })
}
