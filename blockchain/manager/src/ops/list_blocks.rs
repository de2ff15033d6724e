//! A page of blocks, without their transactions.

use lucid_store::StoreError;
use lucid_store::chain::{ChainStore, StoredRecord};

/// Which blocks are wanted. Times never go back along a chain, so the order of heights is theirs too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// At this height or above.
    pub from: u64,
    /// At this height or below.
    pub to: u64,
    /// Newest first.
    pub descending: bool,
    /// So many are passed over.
    pub skip: u64,
    /// At most so many.
    pub limit: u64,
}

/// A page, and how many blocks there are on all pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The records, in the order asked for.
    pub records: Vec<StoredRecord>,
    /// Blocks on all pages.
    pub total: u64,
}

/// Reads one page.
pub fn list_blocks(chain: &dyn ChainStore, wanted: &Wanted) -> Result<Listed, StoreError> {
    let Some(tip) = chain.tip()? else { return Ok(Listed { records: Vec::new(), total: 0 }) };
    let (from, to) = (wanted.from, wanted.to.min(tip.height));
    let total = if from > to { 0 } else { to - from + 1 };
    let shown = total.saturating_sub(wanted.skip).min(wanted.limit);
    let heights = (0..shown).map(|n| match wanted.descending {
        true => to - wanted.skip - n,
        false => from + wanted.skip + n,
    });
    let records = heights.filter_map(|height| chain.record(height).transpose());
    Ok(Listed { records: records.collect::<Result<_, _>>()?, total })
}
