//! Blocks, one tip: the contract, and what every back-end answers.
//!
//! The block-manager appends what [`lucid_core::validate`] found valid and reads what is kept;
//! `memory/chain.rs` serves tests, `files/chain.rs` is the chain of one machine; of the latter, `files/chain/audit.rs`
//! reads every byte, and `files/chain/scan.rs` reads it front to back without its index. A block is kept in two parts:
//! its *record*, for ever, and its *body* (the transactions), which may be pruned.
//!
//! Invariant: there is one block at each height from genesis to the tip, and what was acknowledged at
//! a height never changes. `conformance` holds every back-end to it.

#[cfg(test)]
pub(crate) mod conformance;

use lucid_core::block::Block;
use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_core::validate::ValidBlock;

use crate::{CommitError, Damage, StoreError};

/// The newest committed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: BlockHash,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendedBlock {
    /// The block is the tip now: durable, locked, and final.
    Stored,
    /// This very block was there already.
    Known,
    /// Another block was decided at that height.
    HeightTaken {
        /// Its hash.
        hash: BlockHash,
    },
    /// The block lies further up: the next height is this one.
    NotNext {
        /// The height that is free.
        next: u64,
    },
    /// The block follows another block than the tip.
    WrongParent {
        /// The tip it would have to follow.
        tip: BlockHash,
    },
}

/// What became of a run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRun {
    /// How many of them were stored. Those that were there already, or came before, do not count.
    pub stored: usize,
    /// Why the rest was not, if there is a rest.
    pub stopped: Option<AppendedBlock>,
}

/// A block's record, and what the store counts besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// What is kept for ever.
    pub record: BlockRecord,
    /// The length of the block's transaction texts together.
    pub size_bytes: u64,
    /// How many transactions all earlier blocks have.
    pub transactions_before: u64,
    /// The length of their texts together.
    pub bytes_before: u64,
}

/// What is left of a block's transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<T = Vec<Transaction>> {
    /// All of them.
    Here(T),
    /// They were pruned: the record is what is kept.
    Pruned,
}

impl<T> Body<T> {
    /// The transactions, if they are there.
    pub fn here(self) -> Option<T> {
        match self {
            Self::Here(body) => Some(body),
            Self::Pruned => None,
        }
    }
}

/// What is left of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptBlock {
    /// All of it.
    Whole(Block),
    /// Its record; its transactions were pruned.
    Pruned(StoredRecord),
}

impl KeptBlock {
    /// The block, if all of it is there.
    pub fn whole(self) -> Option<Block> {
        match self {
            Self::Whole(block) => Some(block),
            Self::Pruned(_) => None,
        }
    }
}

/// Blocks that are read in one pass, from a height on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first height.
    pub from: u64,
    /// At most so many blocks.
    pub blocks: usize,
    /// Not much more than so many bytes; one block is always read.
    pub bytes: usize,
}

/// What pruning did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruning {
    /// Blocks whose transactions went.
    pub blocks: u64,
    /// Files that went with them.
    pub files: usize,
    /// The bytes of these files.
    pub bytes: u64,
    /// Files that were left alone, since something in them or in what is kept of their blocks is wrong.
    pub spared: Vec<Damage>,
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPlace {
    /// Its block.
    pub height: u64,
    /// Its position in the block.
    pub position: u32,
}

/// The blocks of one chain.
///
/// Every back-end promises:
///
/// - **An append is one decision for its height.** Of any number of blocks offered for a height, by
///   any number of threads, one is [`AppendedBlock::Stored`], and the others learn which.
/// - **Stored means durable and final**: recovered after a crash at any point, never replaced. A block
///   whose append failed with [`CommitError::maybe_applied`] is there whole after the next start, or
///   not at all.
/// - **Reads are checked.** Bytes that are not those written are [`StoreError::Damaged`], which names
///   the place; everything else stays readable.
/// - **Absence is said only when it is known.** `None` means that the chain has no such block or id,
///   never that it could not be read.
/// - **Pruned is not absent, nor lost.** Bodies go on purpose, whole files of them, and never before the
///   records of their blocks were read once more. A pruned body is [`Body::Pruned`].
pub trait ChainStore: Send + Sync {
    /// The newest committed block; `None` for an empty chain.
    fn tip(&self) -> Result<Option<Tip>, StoreError>;

    /// Decides about consecutive blocks at once: all that is stored of them is durable together, at the
    /// price of one block. Those that are known by then are passed over, wherever they stand. An error
    /// speaks of what lies above the tip then: the genesis is always decided alone.
    fn append_run(&self, blocks: &[ValidBlock]) -> Result<StoredRun, CommitError>;

    /// Refuses so many bytes of blocks that others made where they would take the room that one's own need
    /// ([`CommitError::Full`]): by these it is known what may be removed. A chain that cannot run out of room
    /// refuses nothing.
    fn room(&self, bytes: u64) -> Result<(), CommitError>;

    /// Decides about the block at its height.
    fn append(&self, block: &ValidBlock) -> Result<AppendedBlock, CommitError> {
        let run = self.append_run(std::slice::from_ref(block))?;
        Ok(match run.stopped {
            Some(outcome) => outcome,
            None if run.stored == 0 => AppendedBlock::Known,
            None => AppendedBlock::Stored,
        })
    }

    /// The record of the block at a height.
    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError>;

    /// The transactions of the block at a height.
    fn body(&self, height: u64) -> Result<Option<Body>, StoreError>;

    /// The records from a height on, read in one pass and checked as every read is. Fewer than asked for
    /// at the tip, or before one that is damaged; a damaged first one is an error.
    fn records(&self, stretch: Stretch) -> Result<Vec<StoredRecord>, StoreError>;

    /// The records of [`Self::records`], as [`BlockRecord::encode`] has them.
    fn record_bytes(&self, stretch: Stretch) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Bodies from a height on, as [`lucid_core::record::encode_body`] has them. As with [`Self::records`],
    /// fewer come at the tip, or before one that is damaged, and a damaged first one is an error.
    fn body_bytes(&self, stretch: Stretch) -> Result<Vec<Body<Vec<u8>>>, StoreError>;

    /// Removes bodies, but none from this height on, nor the genesis'. How many go depends on how they
    /// are kept. What cannot be removed now is tried again by the next call.
    fn prune(&self, keep_from: u64) -> Result<Pruning, CommitError>;

    /// Bodies below this height may have been pruned; 0 when none was.
    fn pruned_below(&self) -> u64;

    /// Bytes that the blocks take up.
    fn stored_bytes(&self) -> Result<u64, StoreError>;

    /// The height of the block with this hash.
    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError>;

    /// Where the transaction with this id digest is.
    fn find(&self, id: &IdDigest) -> Result<Option<TransactionPlace>, StoreError>;

    /// Where transactions are that anchor a session of this name, the earliest first, behind a place: some
    /// of them, and none only when there are no more. A place may hold an anchor of another session: look
    /// at what is there.
    fn anchors_of(
        &self,
        session: &str,
        behind: Option<TransactionPlace>,
    ) -> Result<Vec<TransactionPlace>, StoreError>;

    /// Why nothing can be appended, if so.
    fn read_only(&self) -> Option<String>;

    /// Damage found so far.
    fn damage(&self) -> Vec<Damage>;

    /// Whether a transaction with this id digest is in a block.
    fn contains(&self, id: &IdDigest) -> Result<bool, StoreError> {
        Ok(self.find(id)?.is_some())
    }

    /// The block at a height, or what is kept of it.
    fn block(&self, height: u64) -> Result<Option<KeptBlock>, StoreError> {
        let Some(stored) = self.record(height)? else { return Ok(None) };
        let body = match self.body(height)? {
            None => return Ok(None),
            Some(Body::Pruned) => return Ok(Some(KeptBlock::Pruned(stored))),
            Some(Body::Here(body)) => body,
        };
        let block = Block::from_parts(&stored.record, body).map_err(|fault| {
            StoreError::Damaged(Damage::new("blocks", 0, format!("block {height}: {fault}")))
        })?;
        Ok(Some(KeptBlock::Whole(block)))
    }
}

/// What an append must answer, before anything is written. Shared by the back-ends so that they cannot
/// disagree; `taken` is the hash at the block's height, where there is one.
pub(crate) fn decide(
    block: &ValidBlock,
    tip: Option<Tip>,
    taken: Option<BlockHash>,
) -> Option<AppendedBlock> {
    let next = tip.map_or(0, |tip| tip.height + 1);
    if block.index > next {
        return Some(AppendedBlock::NotNext { next });
    }
    if block.index < next {
        return Some(match taken {
            Some(hash) if hash == block.hash => AppendedBlock::Known,
            taken => AppendedBlock::HeightTaken { hash: taken.unwrap_or(BlockHash::ZERO) },
        });
    }
    let parent = tip.map_or(BlockHash::ZERO, |tip| tip.hash);
    (block.previous_hash != parent).then_some(AppendedBlock::WrongParent { tip: parent })
}
