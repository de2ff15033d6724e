//! What the chain is, in numbers: as many of them as can be read.

use lucid_core::digest::BlockHash;
use lucid_store::contract::chain::{ChainStore, Tip};
use lucid_store::vault::Vault;
use lucid_store::{Damage, StoreError};

use crate::fact::{self, Pool};

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
    /// Transactions in all of them; `None` where the newest block, which says so, is damaged.
    pub transactions: Option<u64>,
    /// What waits for the next block.
    pub pool: Pool,
    /// Why what the newest block says is not known, if so.
    pub damage: Option<Damage>,
}

/// Reads the numbers.
pub fn chain_info(vault: &Vault, chain: &dyn ChainStore) -> Result<ChainFacts, StoreError> {
    let tip = chain.tip()?;
    let (stored, damage) = match tip.map(|tip| chain.record(tip.height)).transpose() {
        Err(StoreError::Damaged(damage)) => (None, Some(damage)),
        stored => (stored?.flatten(), None),
    };
    let counted = stored.as_ref();
    let counted = counted
        .map(|stored| stored.transactions_before + stored.record.entry.transaction_count)
        .or((tip.is_none()).then_some(0));
    Ok(ChainFacts {
        tip,
        tip_time: stored.as_ref().map(|stored| stored.record.entry.timestamp.clone()),
        genesis: fact::genesis(vault.index())?,
        blocks: tip.map_or(0, |tip| tip.height + 1),
        transactions: counted,
        pool: fact::pool(vault.index())?,
        damage,
    })
}
