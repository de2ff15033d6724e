//! The engine that a data-chain anchors its sessions in, as the data-chain sees it.
//!
//! In one process it is the block-manager's own ops, over a wire its HTTP routes; the command line and
//! the service each bring an implementation. Everything asked of it may be asked again.
//!
//! An engine may turn out to keep no chain of ours. It is then only told of roots, and has nothing but its word to
//! give for them ([`ForeignEngine`]).

pub mod elsewhere;
pub(crate) mod http;

use lucid_core::anchor::Anchor;
use lucid_core::bundle::AnchorInclusion;
use lucid_core::digest::BlockHash;
use lucid_core::elsewhere::Elsewhere;

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
    /// It keeps no chain of ours, and cannot be used now, or not for this.
    #[error("{0}")]
    Elsewhere(String),
    /// It keeps no chain of ours, and refused one session's root, or failed to anchor it.
    #[error("{0}")]
    RefusedElsewhere(String),
}

impl EngineError {
    /// Whether it is about the one anchor alone, so that those behind it can be delivered all the same.
    pub fn is_of_one(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Damaged(_) | Self::RefusedElsewhere(_))
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

    /// What it is instead, if it keeps no chain of ours, found out anew: nothing else that is asked of it is answered
    /// then.
    fn foreign(&self) -> Result<Option<&dyn ForeignEngine>, EngineError> {
        Ok(None)
    }
}

/// An engine that keeps no chain of ours: it takes roots, and says what became of them.
pub trait ForeignEngine: Send + Sync {
    /// Has a root anchored, unless it has it already: what the engine says once it is done, nothing before.
    /// `transaction` is the anchor's text.
    fn anchor(&self, anchor: &Anchor, transaction: &str) -> Result<Option<Elsewhere>, EngineError>;
}
