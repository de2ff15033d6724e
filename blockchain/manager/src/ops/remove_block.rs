//! Removes the newest tentative block. A committed block is final: no caller can have it removed.

use lucid_core::digest::BlockHash;
use lucid_store::StoreError;
use lucid_store::contract::chain::ChainStore;

use crate::staging::Staging;

/// Why a block was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveBlockError {
    /// Nobody removes the first block.
    #[error("block 0 is what the chain is known by, and is never removed")]
    Genesis,
    /// There is no such block.
    #[error("there is no block at height {0}")]
    NotFound(u64),
    /// It is committed.
    #[error("block {0} is committed: it is final, and cannot be removed")]
    Final(u64),
    /// Others follow it.
    #[error("block {height} is not the newest one: remove block {top} first")]
    NotTop {
        /// The block.
        height: u64,
        /// The newest.
        top: u64,
    },
    /// It is another one than was meant.
    #[error("block {height} is {hash}, which is not the one to be removed")]
    Another {
        /// The block.
        height: u64,
        /// Its hash.
        hash: BlockHash,
    },
    /// Something could not be read or removed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Removes it, if it has the hash that may be given; says which it had. The next round of synchronising
/// brings it again, if the peer still has it.
pub fn remove_block(
    chain: &dyn ChainStore,
    staging: &Staging,
    height: u64,
    confirm: Option<BlockHash>,
) -> Result<BlockHash, RemoveBlockError> {
    let committed = chain.tip()?.is_some_and(|tip| height <= tip.height);
    let top = match staging.top() {
        _ if committed && height == 0 => return Err(RemoveBlockError::Genesis),
        _ if committed => return Err(RemoveBlockError::Final(height)),
        None => return Err(RemoveBlockError::NotFound(height)),
        Some(top) if height > top.height => return Err(RemoveBlockError::NotFound(height)),
        Some(_) if height == 0 => return Err(RemoveBlockError::Genesis),
        Some(top) if height < top.height => {
            return Err(RemoveBlockError::NotTop { height, top: top.height });
        }
        Some(top) => top,
    };
    if confirm.is_some_and(|wanted| wanted != top.hash) || !staging.remove_top(top.hash)? {
        return Err(RemoveBlockError::Another { height, hash: top.hash });
    }
    Ok(top.hash)
}
