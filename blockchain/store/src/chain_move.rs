//! Moves a chain to another back-end: every block with its record and its transactions, in order.
//!
//! A block is taken from what is kept of it, goes through all rules like one that a stranger offers, and is appended
//! as such a one. Then its record and its body are read from both sides again and compared as bytes. So what the other
//! side holds is the same chain up to its tip, at any moment: a move that is killed is run again and goes on there.
//! Of the chain it is moved from nothing is changed.

use lucid_core::block::{Block, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::sign::Producers;
use lucid_core::validate::{Context, Mode, ValidBlock, Weighed, validate_weighed};

use crate::contract::chain::{ChainStore, KeptBlock, Stretch, Tip};
use crate::vault::moving::Stage;
use crate::{CommitError, StoreError};

/// Blocks that are moved at once, of which the signatures are checked together.
const RUN: usize = 256;
/// Not many more bytes of them.
const RUN_BYTES: u64 = 8 << 20;
/// Blocks that are compared at once.
const COMPARED: Stretch = Stretch { from: 0, blocks: 1_024, bytes: 8 << 20 };

/// Hears how many blocks, of how many, a stage has done; by `false` it stops the move in order.
pub type ChainProgress<'a> = dyn FnMut(Stage, u64, u64) -> bool + 'a;

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MovedChain {
    /// Blocks that are there now.
    pub blocks: u64,
    /// Those of them that an earlier try had brought.
    pub blocks_before: u64,
    /// Their tip; `None` for an empty chain.
    pub tip: Option<Tip>,
    /// BLAKE3 of all records and bodies that were compared.
    pub digest: [u8; 32],
}

/// Why a chain did not come to its end. What has arrived stays, and running it again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ChainMoveError {
    /// Reading failed, or it was stopped.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error("moving blocks: {0}")]
    Commit(#[from] CommitError),
    /// The other side has blocks of another chain.
    #[error(
        "where the chain is to go, block {height} is {there}, and it is {here} here: name an empty database, or an \
         empty folder"
    )]
    OtherChain {
        /// The first height at which they differ, as far as that was looked for.
        height: u64,
        /// What is there.
        there: BlockHash,
        /// What is here.
        here: BlockHash,
    },
    /// Bodies were pruned, and a block is only believed with its transactions.
    #[error(
        "the transactions of blocks below {0} were pruned, and a block moves only with them: restore them from an \
         export of the chain into a new folder, and move that"
    )]
    Pruned(u64),
    /// A block that is kept breaks a rule.
    #[error(
        "block {height} breaks a rule ({rule}), and is not moved: look at the chain with `lucid chain verify`"
    )]
    Broken {
        /// Its height.
        height: u64,
        /// Which rule.
        rule: String,
    },
    /// The other side gives back something else than was written to it.
    #[error(
        "where the chain went, {0}: look whether another process writes there, and run the same again"
    )]
    Differs(String),
}

/// A move of all blocks of one chain to another.
pub struct ChainMove<'a> {
    from: &'a dyn ChainStore,
    to: &'a dyn ChainStore,
}

impl<'a> ChainMove<'a> {
    /// Of all blocks of one chain, to another.
    pub fn new(from: &'a dyn ChainStore, to: &'a dyn ChainStore) -> Self {
        Self { from, to }
    }

    /// How many blocks there are, and how many of them have arrived already. Changes nothing, and refuses what cannot
    /// be moved.
    pub fn survey(&self) -> Result<(u64, u64), ChainMoveError> {
        let count = |tip: Option<Tip>| tip.map_or(0, |tip| tip.height + 1);
        if self.from.pruned_below() > 0 {
            return Err(ChainMoveError::Pruned(self.from.pruned_below()));
        }
        let (here, there) = (self.from.tip()?, self.to.tip()?);
        if let Some(there) = there {
            let other =
                |here| ChainMoveError::OtherChain { height: there.height, there: there.hash, here };
            match self.from.record(there.height)? {
                Some(stored) if stored.record.entry.hash == there.hash => {}
                Some(stored) => return Err(other(stored.record.entry.hash)),
                None => return Err(other(BlockHash::ZERO)),
            }
        }
        Ok((count(here), count(there)))
    }

    /// Moves, and compares. After it both sides have the same tip.
    pub fn run(&self, progress: &mut ChainProgress<'_>) -> Result<MovedChain, ChainMoveError> {
        let (total, before) = self.survey()?;
        let mut next = before;
        let mut parent = match next.checked_sub(1) {
            Some(below) => Some(parent_of(&self.block(below)?)?),
            None => None,
        };
        while next < total {
            if !progress(Stage::Copying, next, total) {
                return Err(StoreError::Stopped.into());
            }
            let mut blocks = Vec::new();
            let mut bytes = 0;
            while next + (blocks.len() as u64) < total && blocks.len() < RUN && bytes < RUN_BYTES {
                let block = self.block(next + blocks.len() as u64)?;
                bytes += block.size_bytes() as u64;
                blocks.push(block);
            }
            let valid = self.judge(blocks, &mut parent)?;
            let run = self.to.append_run(&valid)?;
            if let Some(why) = run.stopped {
                return Err(ChainMoveError::Differs(format!(
                    "block {} was refused ({why:?})",
                    next + run.stored as u64
                )));
            }
            next += valid.len() as u64;
        }
        let digest = self.compare(total, progress)?;
        let (here, tip) = (self.from.tip()?, self.to.tip()?);
        if here != tip {
            return Err(ChainMoveError::Differs("the tip is not the one that was sent".into()));
        }
        Ok(MovedChain { blocks: total, blocks_before: before, tip, digest })
    }

    fn block(&self, height: u64) -> Result<Block, ChainMoveError> {
        match self.from.block(height)? {
            Some(KeptBlock::Whole(block)) => Ok(block),
            Some(KeptBlock::Pruned(_)) => Err(ChainMoveError::Pruned(height + 1)),
            None => {
                Err(ChainMoveError::Differs(format!("block {height} was not there to be moved")))
            }
        }
    }

    /// Applies all rules. A transaction's id is free if the chain that is moved has it in this very block: it has had
    /// each once, and both sides are the same up to here.
    fn judge(
        &self,
        blocks: Vec<Block>,
        parent: &mut Option<Parent>,
    ) -> Result<Vec<ValidBlock>, ChainMoveError> {
        let mut valid = Vec::with_capacity(blocks.len());
        let owns = blocks.iter().map(parent_of).collect::<Result<Vec<Parent>, _>>()?;
        let candidates = blocks.into_iter().map(Into::into).collect();
        for (own, weighed) in owns.into_iter().zip(Weighed::of_all(candidates)) {
            let (height, mut failed) = (own.index, None);
            for id in weighed.ids() {
                let place = self.from.find(id)?;
                if place.is_none_or(|place| place.height != height) {
                    failed.get_or_insert(*id);
                }
            }
            let context = Context {
                parent: *parent,
                genesis: None,
                // Whatever the clock says here: when it was made, it was judged.
                now: own.time,
                mode: Mode::Historical,
                chained: &|id| failed.as_ref() == Some(id),
                producer: Producers::default(),
            };
            let verdict = validate_weighed(weighed, &context);
            let rule = verdict.first_fault.map_or("", |rule| rule.name()).to_owned();
            valid.push(verdict.block.ok_or(ChainMoveError::Broken { height, rule })?);
            *parent = Some(own);
        }
        Ok(valid)
    }

    /// Reads both sides again, and compares every record and every body, byte by byte.
    fn compare(
        &self,
        total: u64,
        progress: &mut ChainProgress<'_>,
    ) -> Result<[u8; 32], ChainMoveError> {
        let mut digest = blake3::Hasher::new();
        let mut next = 0;
        while next < total {
            if !progress(Stage::Comparing, next, total) {
                return Err(StoreError::Stopped.into());
            }
            let stretch = Stretch { from: next, ..COMPARED };
            let records = (self.from.record_bytes(stretch)?, self.to.record_bytes(stretch)?);
            let bodies = (self.from.body_bytes(stretch)?, self.to.body_bytes(stretch)?);
            let sizes = [records.0.len(), records.1.len(), bodies.0.len(), bodies.1.len()];
            let count = sizes.into_iter().min().unwrap_or(0);
            if count == 0 {
                return Err(ChainMoveError::Differs(format!("block {next} is missing")));
            }
            let records = records.0.into_iter().zip(records.1);
            let bodies = bodies.0.into_iter().zip(bodies.1);
            for (height, (records, bodies)) in (next..).zip(records.zip(bodies).take(count)) {
                if records.0 != records.1 || bodies.0 != bodies.1 {
                    let why = format!("block {height} is not the one that was sent");
                    return Err(ChainMoveError::Differs(why));
                }
                digest.update(&records.1).update(&bodies.1.here().unwrap_or_default());
            }
            next += count as u64;
        }
        if !progress(Stage::Comparing, total, total) {
            return Err(StoreError::Stopped.into());
        }
        Ok(*digest.finalize().as_bytes())
    }
}

fn parent_of(block: &Block) -> Result<Parent, ChainMoveError> {
    let height = block.index;
    block.as_parent().map_err(|fault| ChainMoveError::Broken { height, rule: fault.to_string() })
}

#[cfg(test)]
mod tests;
