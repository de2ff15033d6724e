//! The engine that a data-chain anchors its sessions in, as the data-chain sees it.
//!
//! In one process it is the block-manager's own ops, over a wire its HTTP routes; the command line and
//! the service each bring an implementation. Everything asked of it may be asked again.

pub(crate) mod http;

use lucid_core::bundle::AnchorInclusion;
use lucid_core::digest::BlockHash;

use crate::fact::KnownChain;

/// Why an engine did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It cannot be reached or failed: ask again later.
    #[error("the block-manager does not answer: {0}")]
    Unavailable(String),
    /// It refused the transaction for good.
    #[error("the block-manager refuses the anchor: {0}")]
    Refused(String),
    /// What is stored of this one anchor, here or in its block there, is damaged. It stays where it is, and
    /// others are none the worse for it.
    #[error("what is stored of the anchor is damaged: {0}")]
    Damaged(String),
    /// It keeps another chain than the one that this store's anchors are in, or less of it.
    #[error("nothing is anchored in another chain: {0}")]
    OtherChain(String),
}

impl EngineError {
    /// Whether it is about the one anchor alone, so that those behind it can be delivered all the same.
    pub fn is_of_one(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Damaged(_))
    }
}

/// A transaction in a committed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The block's index.
    pub block_index: u64,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The way from the transaction to the block.
    pub proof: AnchorInclusion,
}

/// What anchors sessions.
pub trait AnchorEngine: Send + Sync {
    /// Hands over a transaction's text; durable on return, committed later.
    fn submit(&self, text: &str) -> Result<(), EngineError>;

    /// Whether its chain is this one, or goes on from it: it has that block, readable or not.
    fn keeps(&self, known: &KnownChain) -> Result<bool, EngineError>;

    /// The hash of its chain's first block; `None` while it has no blocks.
    fn genesis(&self) -> Result<Option<BlockHash>, EngineError>;

    /// Where a transaction is, once its block is committed.
    fn confirmed(&self, transaction_id: &str) -> Result<Option<Confirmed>, EngineError>;
}
