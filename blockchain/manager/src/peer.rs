//! Whom a follower follows: the contract, and what may go wrong with it.
//!
//! [`http`] speaks to another service; tests follow a chain in the same process. Nothing a peer says is
//! believed: the ops compare it, and the rules judge it.

pub mod http;

use bytes::Bytes;
use lucid_core::record::Head;

/// The JSON of an engine's block may have this many bytes: 16 MiB of texts, spelled with escapes.
pub(crate) const ENGINE_BLOCK_BYTES_MAX: u64 = 32 << 20;

/// How a peer lets its blocks be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Heads and bodies, many at once: a block-manager.
    Runs,
    /// One block at a time, by height: the documented engine.
    Blocks,
}

/// What a peer says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// How it lets its blocks be read.
    pub speaks: Speaks,
    /// The height of its newest block; `None` for an empty chain.
    pub height: Option<u64>,
}

/// Why a peer gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// None came, or one that asks for patience.
    #[error("{0}")]
    Unreachable(String),
    /// It says no, and will say so again.
    #[error("the peer refuses: {0}")]
    Refused(String),
    /// It is not what the API promises.
    #[error("{0}")]
    Unreadable(String),
    /// It has more bytes than were allowed.
    #[error("the reply has over {limit} bytes")]
    TooLong {
        /// How many were.
        limit: u64,
    },
    /// It had the blocks, and pruned them.
    #[error(
        "the peer has pruned the transactions from block {0} on: follow a peer that has them, or \
         import them"
    )]
    Pruned(u64),
}

/// A chain somewhere else.
///
/// Every call ends within a bounded time and gives a bounded number of bytes, regardless of what the other
/// side does.
pub trait Peer: Send + Sync {
    /// What it is called in sentences.
    fn name(&self) -> &str;

    /// How it speaks, and how far its chain is.
    fn greet(&self) -> Result<Greeting, PeerError>;

    /// Heads of consecutive blocks from a height on, at most so many. Of peers that speak
    /// [`Speaks::Runs`].
    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, PeerError>;

    /// Bodies likewise, in bytes ([`lucid_core::record::decode_body`]); a reply with over `bytes_max` is
    /// [`PeerError::TooLong`].
    fn bodies(&self, from: u64, limit: u32, bytes_max: u64) -> Result<Vec<Bytes>, PeerError>;

    /// The block at a height as JSON, if the peer has one; again at most so long.
    fn block(&self, height: u64, bytes_max: u64) -> Result<Option<String>, PeerError>;
}
