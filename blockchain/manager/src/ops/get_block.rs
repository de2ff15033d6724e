//! One block, however it is asked for.

use lucid_core::digest::BlockHash;
use lucid_store::StoreError;
use lucid_store::contract::chain::ChainStore;
pub use lucid_store::contract::chain::{KeptBlock, StoredRecord, Stretch};

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
pub fn get_block(chain: &dyn ChainStore, name: BlockName) -> Result<Option<KeptBlock>, StoreError> {
    let height = match name {
        BlockName::Height(height) => Some(height),
        BlockName::Hash(hash) => chain.height_of(&hash)?,
        BlockName::Latest => chain.tip()?.map(|tip| tip.height),
    };
    height.map_or(Ok(None), |height| chain.block(height))
}

/// Where the chain has the block of a hash, if that is known: also of a block that cannot be read, whose hash
/// tells one chain from another all the same.
pub fn height_by_hash(chain: &dyn ChainStore, name: BlockName) -> Option<u64> {
    let BlockName::Hash(hash) = name else { return None };
    chain.height_of(&hash).ok().flatten()
}
