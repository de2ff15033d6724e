//! A page of blocks, without their transactions.

use lucid_store::StoreError;
use lucid_store::contract::chain::{ChainStore, StoredRecord, Stretch};

/// Which blocks are wanted. Times never go back along a chain, so the order of heights is theirs too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockQuery {
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
pub struct BlockPage<T> {
    /// What is shown of the records, in the order asked for.
    pub items: Vec<T>,
    /// Blocks on all pages.
    pub total: u64,
}

/// Reads one page. A record has the digests of all its transactions, so each is shown before the next is
/// read.
pub fn list_blocks<T>(
    chain: &dyn ChainStore,
    wanted: &BlockQuery,
    show: impl Fn(StoredRecord) -> T,
) -> Result<BlockPage<T>, StoreError> {
    let Some(tip) = chain.tip()? else { return Ok(BlockPage { items: Vec::new(), total: 0 }) };
    let (from, to) = (wanted.from, wanted.to.min(tip.height));
    let total = if from > to { 0 } else { to - from + 1 };
    let shown = total.saturating_sub(wanted.skip).min(wanted.limit);
    let heights = (0..shown).map(|n| match wanted.descending {
        true => to - wanted.skip - n,
        false => from + wanted.skip + n,
    });
    let records = heights.filter_map(|height| chain.record(height).transpose());
    let items = records.map(|record| record.map(&show));
    Ok(BlockPage { items: items.collect::<Result<_, _>>()?, total })
}

/// Bytes of records that are held at a time.
const STRETCH_BYTES: usize = 1 << 20;

/// Reads records in a row, at most about `wanted.bytes` bytes of them. They are read in stretches, and each
/// stretch is shown before the next is read.
pub fn list_row<T>(
    chain: &dyn ChainStore,
    wanted: Stretch,
    show: impl Fn(StoredRecord) -> T,
) -> Result<Vec<T>, StoreError> {
    let (mut items, mut bytes, mut from) = (Vec::new(), 0, wanted.from);
    while items.len() < wanted.blocks && bytes < wanted.bytes {
        let blocks = wanted.blocks - items.len();
        let records = chain.records(Stretch { from, blocks, bytes: STRETCH_BYTES })?;
        let Some(last) = records.last() else { break };
        from = last.record.entry.index.saturating_add(1);
        bytes =
            bytes.saturating_add(records.iter().map(|stored| stored.record.encode().len()).sum());
        items.extend(records.into_iter().map(&show));
    }
    Ok(items)
}
