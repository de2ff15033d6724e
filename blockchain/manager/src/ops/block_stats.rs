//! The blocks of a chain in numbers. Sums are kept beside each record, so the length of the chain costs
//! nothing.

use lucid_core::time::Timestamp;
use lucid_store::chain::{ChainStore, StoredRecord};
use lucid_store::{Damage, StoreError};

/// The numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// From genesis on.
    pub blocks: u64,
    /// Transactions in all of them.
    pub transactions: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Seconds from one block to the next.
    pub block_seconds: f64,
    /// Bytes that the blocks take up.
    pub stored_bytes: u64,
    /// Blocks below have no transactions any more.
    pub pruned_below: u64,
}

/// Reads the numbers.
pub fn block_stats(chain: &dyn ChainStore) -> Result<Stats, StoreError> {
    let Some(tip) = chain.tip()? else { return Ok(Stats::default()) };
    let Some(last) = chain.record(tip.height)? else { return Ok(Stats::default()) };
    // A damaged genesis must not take the other numbers with it.
    let first = chain.record(0).ok().flatten();
    let first = first.map(|first| time_of(&first)).transpose()?;
    let micros = first.map_or(0, |first| {
        time_of(&last).map_or(0, |last| last.as_micros().saturating_sub(first.as_micros()))
    });
    let seconds = micros as f64 / 1e6;
    Ok(Stats {
        blocks: tip.height + 1,
        transactions: last.transactions_before + last.record.entry.transaction_count,
        text_bytes: last.bytes_before + last.size_bytes,
        block_seconds: if tip.height == 0 { 0.0 } else { seconds / tip.height as f64 },
        stored_bytes: chain.stored_bytes()?,
        pruned_below: chain.pruned_below(),
    })
}

fn time_of(stored: &StoredRecord) -> Result<Timestamp, StoreError> {
    stored
        .record
        .entry
        .time()
        .map_err(|fault| StoreError::Damaged(Damage::new(lucid_store::chain::FOLDER, 0, fault)))
}
