//! One block, however it is asked for.

use lucid_core::digest::BlockHash;
use lucid_store::StoreError;
use lucid_store::chain::ChainStore;
pub use lucid_store::chain::{Kept, StoredRecord, Stretch};

/// Which block is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockName {
    /// The one at this height.
    Height(u64),
    /// The one with this hash.
    Hash(BlockHash),
    /// The newest.
    Latest,
}

/// The block, or what is kept of it, if the chain has it.
pub fn get_block(chain: &dyn ChainStore, name: BlockName) -> Result<Option<Kept>, StoreError> {
    let height = match name {
        BlockName::Height(height) => Some(height),
        BlockName::Hash(hash) => chain.height_of(&hash)?,
        BlockName::Latest => chain.tip()?.map(|tip| tip.height),
    };
    height.map_or(Ok(None), |height| chain.block(height))
}
