//! A chain that documents are taken from, as the data-chain sees it.
//!
//! Nothing that it says is believed: heads have to follow each other, and blocks have to keep the rules.

pub mod http;

use lucid_core::record::Head;
use lucid_core::transaction::Transaction;

/// Why a chain gave nothing that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It does not answer, or asks for patience.
    #[error("the block-manager does not answer: {0}")]
    Unavailable(String),
    /// It is no block-manager: an engine of another kind, which has no blocks in rows.
    #[error("the block-manager has no blocks in rows: {0}")]
    Unsupported(String),
    /// It is in a folder that cannot be read.
    #[error("the chain cannot be read: {0}")]
    Unread(String),
    /// What it says is not what the API promises.
    #[error("the block-manager's answer cannot be used: {0}")]
    Unreadable(String),
    /// It had the transactions of these blocks, and pruned them.
    #[error("the transactions from block {0} on are pruned there")]
    Pruned(u64),
}

/// A chain somewhere else. Every call ends within a bounded time and gives a bounded number of bytes.
pub trait Chain: Send + Sync {
    /// What it is called in sentences.
    fn name(&self) -> &str;

    /// The height of its newest committed block; `None` while it has none.
    fn height(&self) -> Result<Option<u64>, ChainError>;

    /// Heads of committed blocks in a row, at most so many.
    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, ChainError>;

    /// The transactions of committed blocks in a row, at most so many, and one at least.
    fn bodies(&self, from: u64, limit: u32) -> Result<Vec<Vec<Transaction>>, ChainError>;
}
