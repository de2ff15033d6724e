//! Brings the chain of a peer here, as far as the peer has it and the rules allow.
//!
//! Called by the worker of a follower, by the route that asks for it, and by `lucid chain sync`. One call
//! is one round: greet, compare, fetch, judge, commit, stage. What it has committed or staged is not
//! fetched again, so a round that was cut off is gone on with by the next.
//!
//! Invariants: no block enters but through [`take_blocks`](super::take_blocks); no committed block is ever
//! replaced; only staging is reordered. Memory and time are bounded regardless of what the peer does.

mod fetch;
mod fork;
mod hold;

use std::cell::Cell;
use std::ops::ControlFlow;

use lucid_core::block::Parent;
use lucid_core::time::Timestamp;
use lucid_core::transaction::IdDigest;
use lucid_core::validate::{Context, Mode, Rule, Verdict, Weighed, validate_weighed};
use lucid_store::contract::chain::{ChainStore, Tip};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};

use super::take_blocks::{Heard, Pins, TakeError, WhyRefused, broken, signs, take_blocks};
use super::validate_block::parent_at;
use crate::fact::Fork;
use crate::peer::{Peer, PeerError, Speaks};
use crate::staging::{STAGED_BLOCKS_MAX, Staged, Staging};

use fetch::{FetchPlan, fetched};
use hold::{HeldBlock, Hold};

/// Blocks of one round: then the time is looked at again.
const ROUND_BLOCKS_MAX: u64 = 50_000;
/// A block without a pinned signature is final when so many follow it.
pub const FINAL_DEPTH: usize = 6;
/// Or when it was there, unchanged, for so long.
pub const FINAL_AFTER_SECONDS: i64 = 3_600;

/// Whose chain is brought, and where to.
pub struct Following<'a> {
    /// The facts.
    pub vault: &'a Vault,
    /// The committed blocks.
    pub chain: &'a dyn ChainStore,
    /// The others.
    pub staging: &'a Staging,
    /// Whom to ask.
    pub peer: &'a dyn Peer,
    /// What the chain must be.
    pub pins: Pins,
    /// Bodies that are asked for in one request at most.
    pub batch: u32,
    /// How often the peer was too slow of late: it is asked for half as much at a time for each.
    pub slow: u32,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundOutcome {
    /// Everything the peer has is here.
    Synchronized,
    /// The peer has fewer blocks than this chain, and the same ones.
    PeerBehind,
    /// There is more to fetch.
    More,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// Blocks that were committed.
    pub blocks: u64,
    /// How far the peer is; `None` for an empty chain.
    pub remote: Option<u64>,
    /// How it ended.
    pub outcome: RoundOutcome,
}

/// How far a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundProgress {
    /// How far the peer is.
    pub remote: Option<u64>,
    /// Blocks that this round has committed.
    pub blocks: u64,
}

/// Why a round failed. What it had committed before stays.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The peer gave no answer that can be used.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The peer has a block that breaks a rule, or does not follow the one before.
    #[error("block {height} of the peer is refused: {why}")]
    Refused {
        /// Its height.
        height: u64,
        /// The rules that it breaks.
        why: String,
    },
    /// The peer has a block that is ahead of the clock.
    #[error(
        "block {height} of the peer is an hour or more ahead of the clock: it is asked for again"
    )]
    NotYet {
        /// Its height.
        height: u64,
    },
    /// The peer's hashes are not those of our rules.
    #[error(
        "unsupported_hash_rule: neither hash nor Merkle root of block {height} is what its fields give \
         by the rules of this chain"
    )]
    UnsupportedHashRule {
        /// The block.
        height: u64,
    },
    /// The peer has another block where one is final here.
    #[error(
        "the peer's chain is another one from block {} on: here it is final, so nothing was changed; \
         both blocks are kept under `divergences`",
        .0.height
    )]
    Diverged(Box<Fork>),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Another writer appends to this chain.
    #[error("{0}")]
    Outrun(String),
}

impl From<TakeError> for SyncError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Store(error) => Self::Store(error),
            TakeError::Commit(error) => Self::Commit(error),
            error @ (TakeError::Outrun { .. } | TakeError::Source(_)) => {
                Self::Outrun(error.to_string())
            }
        }
    }
}

/// Makes one round. `hear` is told how far it is, and may end it.
pub fn sync_chain(
    following: &Following<'_>,
    now: Timestamp,
    hear: &dyn Fn(RoundProgress) -> ControlFlow<()>,
) -> Result<Synced, SyncError> {
    let Following { chain, staging, peer, .. } = *following;
    let greeting = peer.greet()?;
    let (speaks, remote) = (greeting.speaks, greeting.height);
    let synced = |blocks, outcome| Ok(Synced { blocks, remote, outcome });
    if hear(RoundProgress { remote, blocks: 0 }).is_break() {
        return synced(0, RoundOutcome::More);
    }
    let tip = chain.tip()?;
    staging.settle(tip)?;
    let Some(height) = remote else {
        staging.cut(0)?;
        let behind = tip.is_some();
        return synced(
            0,
            if behind { RoundOutcome::PeerBehind } else { RoundOutcome::Synchronized },
        );
    };
    let mut newest = None;
    if let Some(tip) = tip {
        newest = fork::compare(following, speaks, tip, height, now)?;
        if height < tip.height {
            staging.cut(0)?;
            return synced(0, RoundOutcome::PeerBehind);
        }
    }
    let staged = still_there(following, speaks, height)?;
    let after = match staged.last() {
        Some(top) => Some(top.as_parent()),
        None => parent_of_next(chain, tip, newest)?,
    };
    let from = after.map_or(0, |parent| parent.index.saturating_add(1));
    // With staging full, only what is there already can be looked at.
    let room = if staged.len() < STAGED_BLOCKS_MAX { ROUND_BLOCKS_MAX } else { 0 };
    let to = height.min(from.saturating_add(room).saturating_sub(1));
    let plan = FetchPlan {
        speaks,
        from,
        to,
        after,
        pins: following.pins,
        batch: following.batch,
        slow: following.slow,
        now,
    };
    let brought = bring(following, plan, newest, staged, now, remote, hear)?;
    synced(brought, if to < height { RoundOutcome::More } else { RoundOutcome::Synchronized })
}

/// What is staged and the peer still has; the rest of it is dropped.
fn still_there(
    following: &Following<'_>,
    speaks: Speaks,
    height: u64,
) -> Result<Vec<Staged>, SyncError> {
    let mut staged = following.staging.list();
    while let Some(top) = staged.last() {
        if top.height <= height {
            let theirs = fork::their_block(following.peer, speaks, top.height)?;
            if theirs.is_some_and(|theirs| theirs.hash == top.hash) {
                break;
            }
        }
        following.staging.cut(top.height)?;
        staged.pop();
    }
    Ok(staged)
}

/// What the next block has to follow. A newest block that is damaged is as the peer tells it, whose hash
/// is the one that is known here.
fn parent_of_next(
    chain: &dyn ChainStore,
    tip: Option<Tip>,
    told: Option<Parent>,
) -> Result<Option<Parent>, StoreError> {
    let Some(tip) = tip else { return Ok(None) };
    let told = told.filter(|told| told.hash == tip.hash);
    match (parent_at(chain, tip.height), told) {
        (Err(StoreError::Damaged(_)), Some(told)) => Ok(Some(told)),
        (parent, _) => parent,
    }
}

/// Fetches, judges, commits, and stages what may not be committed yet. Says how many were committed.
fn bring(
    following: &Following<'_>,
    plan: FetchPlan,
    newest: Option<Parent>,
    staged: Vec<Staged>,
    now: Timestamp,
    remote: Option<u64>,
    hear: &dyn Fn(RoundProgress) -> ControlFlow<()>,
) -> Result<u64, SyncError> {
    let Following { vault, chain, staging, peer, pins, .. } = *following;
    let speaks = plan.speaks;
    let tip = chain.tip()?;
    let signs = signs(chain, tip, &pins)?;
    let stopped = Cell::new(false);
    let stored = Cell::new(0);
    let on = || {
        let flow = hear(RoundProgress { remote, blocks: stored.get() });
        stopped.set(stopped.get() || flow.is_break());
        !stopped.get()
    };
    fetched(peer, &plan, &on, |fetched| {
        let again = staged.into_iter().map(|staged| HeldBlock::staged(staging, staged));
        let new = fetched.map(|fetched| fetched.map(|fetched| HeldBlock::new(fetched, now)));
        let mut hold = Hold::new(again.chain(new), pins.producer, now, tip, signs);
        let mut refused = None;
        let taken = take_blocks(vault, chain, now, pins, newest, &mut hold, |heard| match heard {
            Heard::Progress(taken) => {
                stored.set(taken.stored);
                if on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Heard::Refused(why) => {
                // What ended it: blocks may be refused behind that, which waited for its signature.
                refused.get_or_insert(why);
                ControlFlow::Break(())
            }
        })?;
        staging.settle(chain.tip()?)?;
        if let Some(refused) = refused {
            let height = refused.index.unwrap_or(plan.from);
            return Err(match &refused.why {
                WhyRefused::Rules(verdict) => refusal(speaks, height, verdict),
                // The fault is here, not with the peer.
                WhyRefused::Damaged(_) => SyncError::Outrun(refused.sentence()),
                _ => SyncError::Refused { height, why: refused.sentence() },
            });
        }
        if !stopped.get() {
            stage(following, speaks, newest, hold.held, now)?;
        }
        match hold.failed {
            Some(error) => Err(error),
            None => Ok(taken.stored),
        }
    })
}

/// Judges what may not be committed yet, and keeps what is valid.
fn stage(
    following: &Following<'_>,
    speaks: Speaks,
    newest: Option<Parent>,
    held: impl IntoIterator<Item = HeldBlock>,
    now: Timestamp,
) -> Result<(), SyncError> {
    let Following { chain, staging, .. } = *following;
    let tip = chain.tip()?;
    for HeldBlock { height, candidate, first_seen, is_staged, .. } in held {
        if is_staged {
            continue;
        }
        let below = staging.list();
        let parent = match below.last() {
            Some(top) => Some(top.as_parent()),
            None => parent_of_next(chain, tip, newest)?,
        };
        let verdict = validate_next(following, candidate, parent, &below, now)?;
        let Some(block) = verdict.block.as_ref() else {
            return Err(refusal(speaks, height, &verdict));
        };
        if !staging.add(block, first_seen, tip)? {
            break;
        }
    }
    Ok(())
}

fn validate_next(
    following: &Following<'_>,
    candidate: lucid_core::block::Candidate,
    parent: Option<Parent>,
    below: &[Staged],
    now: Timestamp,
) -> Result<Verdict, StoreError> {
    let Following { vault, chain, pins, .. } = *following;
    let weighed = Weighed::of(candidate);
    let mut known = std::collections::HashSet::new();
    for id in weighed.ids() {
        if chain.contains(id)? || below.iter().any(|staged| staged.ids.contains(id)) {
            known.insert(*id);
        }
    }
    let chained = |id: &IdDigest| known.contains(id);
    let context = Context {
        parent,
        genesis: crate::fact::genesis(vault.index())?.or(pins.genesis),
        now,
        mode: Mode::Historical,
        chained: &chained,
        producer: pins.producer,
    };
    Ok(validate_weighed(weighed, &context))
}

/// What a refused block says about its peer.
fn refusal(speaks: Speaks, height: u64, verdict: &Verdict) -> SyncError {
    // A signature that fails does not make the hash another one.
    let differs = |rule, expected, actual| {
        let details = verdict.result(rule).map(|result| &result.details);
        details.is_some_and(|details| details.get(expected) != details.get(actual))
    };
    if verdict.not_yet {
        return SyncError::NotYet { height };
    }
    if speaks == Speaks::Blocks
        && differs(Rule::BlockHash, "expected_hash", "actual_hash")
        && differs(Rule::MerkleRoot, "expected_merkle_root", "actual_merkle_root")
    {
        return SyncError::UnsupportedHashRule { height };
    }
    SyncError::Refused { height, why: format!("it breaks {}", broken(verdict)) }
}
