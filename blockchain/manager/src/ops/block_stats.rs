//! The blocks of a chain in numbers: as many of them as can be read. Sums are kept beside each record, so the
//! length of the chain costs nothing.

use lucid_core::time::Timestamp;
use lucid_store::contract::chain::{ChainStore, StoredRecord};
use lucid_store::{Damage, StoreError};

/// The numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// From genesis on.
    pub blocks: u64,
    /// Transactions in all of them; `None` where the newest block, which says so, is damaged.
    pub transactions: Option<u64>,
    /// Bytes of the texts of these transactions; `None` where the newest block is damaged.
    pub text_bytes: Option<u64>,
    /// Seconds from one block to the next; `None` where the first or the newest is damaged.
    pub block_seconds: Option<f64>,
    /// Bytes that the blocks take up.
    pub stored_bytes: u64,
    /// Blocks below have no transactions any more.
    pub pruned_below: u64,
    /// Why something is not known, if so.
    pub damage: Option<String>,
}

/// Reads the numbers.
pub fn block_stats(chain: &dyn ChainStore) -> Result<Stats, StoreError> {
    let Some(tip) = chain.tip()? else {
        let (zero, none) = (Some(0), Some(0.0));
        return Ok(Stats {
            transactions: zero,
            text_bytes: zero,
            block_seconds: none,
            ..Stats::default()
        });
    };
    let read = |height: u64| match chain.record(height) {
        Err(StoreError::Damaged(damage)) => Ok(Err(damage)),
        stored => stored?.map(Ok).ok_or_else(|| {
            StoreError::Index(format!("block {height} is below the tip and was not found"))
        }),
    };
    let (last, first) = (read(tip.height)?, read(0)?);
    let damage = match (&last, &first) {
        (Err(damage), _) => Some(format!("the newest block: {damage}")),
        (_, Err(damage)) => Some(format!("the first block: {damage}")),
        _ => None,
    };
    let (last, first) = (last.ok(), first.ok());
    let times =
        last.as_ref().map(time_of).transpose()?.zip(first.as_ref().map(time_of).transpose()?);
    let seconds =
        times.map(|(last, first)| last.as_micros().saturating_sub(first.as_micros()) as f64 / 1e6);
    let last = last.as_ref();
    Ok(Stats {
        blocks: tip.height + 1,
        transactions: last
            .map(|last| last.transactions_before + last.record.entry.transaction_count),
        text_bytes: last.map(|last| last.bytes_before + last.size_bytes),
        block_seconds: seconds.map(|seconds| seconds / tip.height.max(1) as f64),
        stored_bytes: chain.stored_bytes()?,
        pruned_below: chain.pruned_below(),
        damage,
    })
}

fn time_of(stored: &StoredRecord) -> Result<Timestamp, StoreError> {
    stored.record.entry.time().map_err(|fault| {
        StoreError::Damaged(Damage::new(lucid_store::files::chain::FOLDER, 0, fault))
    })
}
