//! Takes one block that a caller made, as the newest.
//!
//! Only an authority does, and only a block that follows its own tip and passes as a new one. A follower
//! takes blocks from whom it follows, and history comes by import. A block that is there already is found
//! again.

use lucid_core::block::Candidate;
use lucid_core::digest::BlockHash;
use lucid_core::json::JsonFault;
use lucid_core::sign::{Producers, PublicKey};
use lucid_core::time::Timestamp;
use lucid_core::validate::{Mode, Rule, Verdict};
use lucid_store::contract::chain::{AppendedBlock, ChainStore, Tip};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};
use parking_lot::Mutex;

use super::validate_block::validate_in;
use crate::fact::{self, Fact, Role};
use crate::given::Pins;

/// What became of it: it is in the chain.
#[derive(Debug)]
pub struct SubmittedBlock {
    /// Where it is.
    pub at: Tip,
    /// Whether this request brought it.
    pub is_new: bool,
    /// What the rules say.
    pub verdict: Verdict,
}

/// Why a block was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitBlockError {
    /// It is no JSON object.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// The blocks of this chain are made elsewhere.
    #[error(
        "this block-manager follows another one and takes blocks from there alone: submit the block to \
         that one"
    )]
    Follower,
    /// It breaks a rule.
    #[error("the block breaks a rule")]
    Refused(Box<Verdict>),
    /// The chain has another block there.
    #[error("the chain has block {0} at that height: it is final")]
    HeightTaken(BlockHash),
    /// It lies further up.
    #[error("the next block has the height {next}, and this one {index}: submit those before it")]
    NotNext {
        /// The height that is free.
        next: u64,
        /// The block's.
        index: u64,
    },
    /// It follows another block.
    #[error("the block does not follow the newest one, {0}: build it on that")]
    WrongParent(BlockHash),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Judges a posted block, and appends it. One that is signed, is signed with this authority's `own` key:
/// those who follow it hold to that, and what is final stays.
pub fn submit_block(
    vault: &Vault,
    chain: &dyn ChainStore,
    producing: &Mutex<()>,
    own: PublicKey,
    now: Timestamp,
    posted: &[u8],
) -> Result<SubmittedBlock, SubmitBlockError> {
    let candidate = Candidate::parse_posted(posted)?;
    // Blocks are made and taken one at a time; the chain refuses what was judged by another tip.
    let _producing = (!cfg!(feature = "no-locks")).then(|| producing.lock());
    if fact::role(vault.index())? == Some(Role::Follower) {
        return Err(SubmitBlockError::Follower);
    }
    let named = candidate.index().zip(candidate.hash());
    let previous = candidate.previous_hash();
    let known = match named {
        Some((index, hash)) => chain.height_of(&hash)? == Some(index),
        None => false,
    };
    let mode = if known { Mode::Historical } else { Mode::Candidate };
    let producer = if known { Producers::default() } else { own.into() };
    let pins = Pins { genesis: fact::genesis(vault.index())?, producer };
    let verdict = validate_in(chain, now, candidate, mode, &pins)?;
    let own_fault = [Rule::BlockStructure, Rule::BlockHash, Rule::MerkleRoot]
        .into_iter()
        .any(|rule| verdict.result(rule).is_none_or(|result| !result.passed));
    let Some((index, hash)) = named.filter(|_| !own_fault) else {
        return Err(SubmitBlockError::Refused(Box::new(verdict)));
    };
    let tip = chain.tip()?;
    let next = tip.map_or(0, |tip| tip.height + 1);
    if !known {
        if index > next {
            return Err(SubmitBlockError::NotNext { next, index });
        }
        if index < next {
            let there = chain.record(index)?.map(|stored| stored.record.entry.hash);
            return Err(SubmitBlockError::HeightTaken(there.unwrap_or(BlockHash::ZERO)));
        }
        let parent = tip.map_or(BlockHash::ZERO, |tip| tip.hash);
        if previous != Some(parent) {
            return Err(SubmitBlockError::WrongParent(parent));
        }
    }
    let Some(block) = &verdict.block else {
        return Err(SubmitBlockError::Refused(Box::new(verdict)));
    };
    if !known {
        chain.room(0)?;
    }
    let is_new = match chain.append(block)? {
        AppendedBlock::Stored => true,
        AppendedBlock::Known => false,
        AppendedBlock::HeightTaken { hash } => return Err(SubmitBlockError::HeightTaken(hash)),
        AppendedBlock::NotNext { next } => return Err(SubmitBlockError::NotNext { next, index }),
        AppendedBlock::WrongParent { tip } => return Err(SubmitBlockError::WrongParent(tip)),
    };
    if is_new && index == 0 && fact::genesis(vault.index())?.is_none() {
        // A crash before this is made good by the next start.
        fact::commit(vault, &[Fact::Genesis(hash)])?;
    }
    Ok(SubmittedBlock { at: Tip { height: index, hash }, is_new, verdict })
}
