//! The six rules, and the verdict on a block.
//!
//! Every way into a chain passes [`validate`]: producing a block does, requests to judge a block do, and
//! `lucid verify --all` holds stored blocks against it. It is pure: the parent, the time and the ids
//! that are already chained are handed in. A broken rule is an answer, not an error; what could not be
//! looked up is the caller's error and never reaches this room.
//!
//! What costs time (hashes, Merkle roots, signatures) depends on the block alone and is done first, in
//! [`Weighed`]; what depends on the chain before it is light and done in [`validate_weighed`]. So a range of blocks
//! is weighed in parallel and judged in order.
//!
//! Invariant: only a verdict without a fault yields a [`ValidBlock`], and nothing else makes one.

mod rules;
mod verdict;
mod weighed;

pub use verdict::{Coverage, RuleResult, Verdict};
pub use weighed::Weighed;

use crate::block::{Block, Candidate, Parent};
use crate::digest::{BlockHash, LogHash};
use crate::record::{BlockEntry, BlockRecord, TransactionDigests};
use crate::sign::Producers;
use crate::time::Timestamp;
use crate::transaction::{IdDigest, Transaction};

/// One of the six rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// All fields are there, each in its grammar; the constants hold.
    BlockStructure,
    /// The hash is that of the fields; a producer's signature verifies.
    BlockHash,
    /// The block follows its parent, or is genesis.
    PreviousHash,
    /// The root is that of the transactions, and of no shorter list.
    MerkleRoot,
    /// The time is not before the parent's, and not ahead of the clock.
    Timestamp,
    /// Every transaction has an id of its own, and a signed one verifies.
    Transactions,
}

impl Rule {
    /// All of them, in the order in which they are applied and reported.
    pub const ALL: [Self; 6] = [
        Self::BlockStructure,
        Self::BlockHash,
        Self::PreviousHash,
        Self::MerkleRoot,
        Self::Timestamp,
        Self::Transactions,
    ];

    /// The documented name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockStructure => "block_structure",
            Self::BlockHash => "block_hash",
            Self::PreviousHash => "previous_hash",
            Self::MerkleRoot => "merkle_root",
            Self::Timestamp => "timestamp",
            Self::Transactions => "transactions",
        }
    }

    /// What it asks, in a sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::BlockStructure => {
                "every field is present and spelled in its one way, within the limits"
            }
            Self::BlockHash => {
                "the hash is that of the fields, and a producer's signature verifies"
            }
            Self::PreviousHash => "the block follows its parent, or is genesis",
            Self::MerkleRoot => "the root is that of the transactions, and of no shorter list",
            Self::Timestamp => "the time is not before the parent's and not ahead of the clock",
            Self::Transactions => {
                "every transaction has an id of its own, and a signed one verifies"
            }
        }
    }
}

/// How a block's time is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Import, synchronisation, integrity, anything stored: it may be of any age.
    Historical,
    /// A new block: within an hour of the clock on both sides.
    Candidate,
}

impl Mode {
    /// The name it has in requests and replies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Historical => "historical",
            Self::Candidate => "candidate",
        }
    }
}

/// What the rules need to know besides the block.
pub struct Context<'a> {
    /// The block before it; `None` where there is none (genesis) or where it is not known.
    pub parent: Option<Parent>,
    /// The chain's genesis, where one is known or pinned: another block 0 is refused.
    pub genesis: Option<BlockHash>,
    /// The clock.
    pub now: Timestamp,
    /// How the time is judged.
    pub mode: Mode,
    /// Whether an id is in a block *before* this one.
    pub chained: &'a dyn Fn(&IdDigest) -> bool,
    /// Who may sign this chain, where that is pinned: the signature of any other key is refused.
    pub producer: Producers,
}

/// A block that broke no rule. Stores accept nothing else. What judging computed is kept with it, so
/// that storing does not compute it again.
#[derive(Debug, Clone)]
pub struct ValidBlock {
    block: Block,
    ids: Vec<IdDigest>,
    leaves: Option<Vec<LogHash>>,
    entry: Option<BlockEntry>,
}

impl ValidBlock {
    /// The block, given away with the promise.
    pub fn into_block(self) -> Block {
        self.block
    }

    /// The ids of its transactions, in order.
    pub fn ids(&self) -> &[IdDigest] {
        &self.ids
    }

    /// What is kept of it for ever.
    pub fn record(&self) -> BlockRecord {
        let leaf = |at: usize, transaction: &Transaction| {
            let computed = self.leaves.as_ref().and_then(|leaves| leaves.get(at).copied());
            computed.unwrap_or_else(|| transaction.leaf_hash())
        };
        let each = self.block.transactions.iter().zip(&self.ids).enumerate();
        let digests = each.map(|(at, (transaction, id))| TransactionDigests {
            hash: transaction.hash(),
            leaf: leaf(at, transaction),
            id: *id,
        });
        BlockRecord::with_digests(&self.block, digests.collect(), self.entry.clone())
    }
}

impl PartialEq for ValidBlock {
    /// All else follows from the block.
    fn eq(&self, other: &Self) -> bool {
        self.block == other.block
    }
}

impl Eq for ValidBlock {}

impl std::ops::Deref for ValidBlock {
    type Target = Block;

    fn deref(&self) -> &Block {
        &self.block
    }
}

/// Applies all six rules; none is skipped because another failed.
pub fn validate(candidate: Candidate, context: &Context<'_>) -> Verdict {
    validate_weighed(Weighed::of(candidate), context)
}

/// [`validate`], for a block whose costly part was done before.
pub fn validate_weighed(weighed: Weighed, context: &Context<'_>) -> Verdict {
    let mut notes = rules::RuleNotes::default();
    let results: Vec<RuleResult> = Rule::ALL
        .into_iter()
        .map(|rule| rules::apply(rule, &weighed, context, &mut notes))
        .collect();
    let first_fault = results.iter().find(|result| !result.passed).map(|result| result.rule);
    let failed = results.iter().filter(|result| !result.passed).count();
    // A block whose parts all passed has all its parts: without them a rule would have failed.
    let block = if failed == 0 { weighed.into_valid() } else { None };
    Verdict {
        valid: block.is_some(),
        not_yet: notes.ahead_of_clock && failed == 1,
        results,
        first_fault,
        coverage: notes.coverage,
        not_checked: notes.not_checked,
        mode: context.mode,
        validated_at: context.now,
        block,
    }
}

#[cfg(test)]
mod tests;
