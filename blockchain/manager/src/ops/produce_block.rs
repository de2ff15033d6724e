//! Makes the next block of what waits in the pool.
//!
//! Called by the worker that produces blocks, and by embedded archives when they are done. Each transaction is
//! validated once more; one that fails becomes a durable `failed` and never holds up the rest. An anchor
//! fails, too, whose session has another root by the same key, in an earlier block or in this one: both could
//! be let into the pool before either was in a block.
//!
//! Invariant: append first, mark afterwards. A crash in between leaves chained transactions in the
//! pool, which the next block and the next start recognise; the other order would lose them.

use std::collections::{HashMap, HashSet};

use lucid_core::block::{Block, Candidate};
use lucid_core::digest::BlockHash;
use lucid_core::limits::{
    BLOCK_BYTES_MAX, BLOCK_TIME_TOLERANCE_SECONDS, BLOCK_TRANSACTIONS_MAX, TRANSACTION_BYTES_MAX,
};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{IdDigest, SignatureState, Transaction};
use lucid_core::validate::Mode;
use lucid_store::contract::chain::{AppendedBlock, ChainStore};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, Damage, StoreError};
use parking_lot::Mutex;

use super::anchor_session::{Said, other_root, said_by};
use super::settle_pool::{Chained, There, is_at};
use super::validate_block::{parent_at, validate_in};
use crate::fact::{self, Fact, Role};
use crate::given::Pins;
use crate::limits::CLOCK_AHEAD_DAYS_MAX;
use crate::opened::OpenError;

/// What producing a block did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Production {
    /// The block it made; none when nothing was fit to be chained.
    pub block: Option<ProducedBlock>,
    /// Transactions that were refused.
    pub failed: u64,
    /// Transactions that the next block can take.
    pub left: u64,
    /// Transactions that wait until an operator has looked at damage: no block takes them before.
    pub held_up: u64,
    /// Some of that damage.
    pub damage: Vec<Damage>,
}

/// A block that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducedBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: BlockHash,
    /// How many transactions it has.
    pub transactions: usize,
}

/// Why no block could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The newest block is from the future, so the next one would be refused by everyone.
    #[error(
        "the newest block's time is {tip}, over an hour ahead of the clock, {now}: set the clock; if it is \
         the block's time that is wrong, no block can follow it before then, and `lucid chain begin-anew` \
         begins another chain"
    )]
    ParentAhead {
        /// What the clock tells.
        now: Timestamp,
        /// Its time.
        tip: Timestamp,
    },
    /// The clock is so far ahead of all that is known that it may be wrong. A block of such a time would
    /// forbid every other one until then.
    #[error(
        "the clock tells {now}, over {CLOCK_AHEAD_DAYS_MAX} days after {known}, the latest time that this \
         chain knows, so no block is made: set the clock, or if it is right, say so with `lucid doctor \
         --accept-clock` while nobody runs the folder"
    )]
    ClockAhead {
        /// What the clock tells.
        now: Timestamp,
        /// The time of the newest block, or of the clock when it was last accepted.
        known: Timestamp,
    },
    /// Another chain took the place of this one.
    #[error(
        "this chain has ended: one that begins with block {0} takes its place (`lucid chain begin-anew`), and \
         what is here is only read"
    )]
    Ended(BlockHash),
    /// The block breaks a rule: a mistake of ours.
    #[error("the block that was made breaks the rule {rule}: {details}")]
    Refused {
        /// The rule.
        rule: &'static str,
        /// What it says.
        details: String,
    },
    /// The blocks of this chain are made elsewhere.
    #[error("this block-manager follows another one, which makes the blocks")]
    Follower,
    /// It is not known whether they are made here.
    #[error("{0}")]
    RoleLost(String),
    /// Another writer decided about the height.
    #[error("the chain did not take the block: {0:?}")]
    Outrun(AppendedBlock),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A cipher that another writer outran builds its block anew so often.
const LOOKS_MAX: usize = 10;

/// Produces one block, if anything waits.
pub fn produce_block(
    vault: &Vault,
    chain: &dyn ChainStore,
    producing: &Mutex<()>,
    key: &SigningKey,
    now: Timestamp,
) -> Result<Production, ProduceError> {
    // Only spares building what another one builds.
    let _producing = (!cfg!(feature = "no-locks")).then(|| producing.lock());
    for _ in 0..LOOKS_MAX {
        match build_and_append(vault, chain, key, now) {
            Err(ProduceError::Outrun(_)) => {}
            outcome => return outcome,
        }
    }
    build_and_append(vault, chain, key, now)
}

fn build_and_append(
    vault: &Vault,
    chain: &dyn ChainStore,
    key: &SigningKey,
    now: Timestamp,
) -> Result<Production, ProduceError> {
    match fact::role(vault.index())? {
        Some(Role::Authority) => {}
        Some(Role::Follower) => return Err(ProduceError::Follower),
        None => return Err(ProduceError::RoleLost(OpenError::RoleLost.to_string())),
    }
    if let Some(successor) = fact::successor(vault.index())? {
        return Err(ProduceError::Ended(successor));
    }
    if fact::pool(vault.index())?.transactions == 0 {
        return Ok(Production::default());
    }
    let parent = match chain.tip()? {
        Some(tip) => parent_at(chain, tip.height)?,
        None => None,
    };
    check_clock(vault, parent.as_ref().map(|parent| parent.time), now)?;
    let mut drained = drain(vault, chain, now)?;
    let transactions = std::mem::take(&mut drained.transactions);
    let mut produced = Production { failed: drained.failed.len() as u64, ..Production::default() };
    if !transactions.is_empty() {
        let block = Block::build(parent.as_ref(), transactions, now, key);
        let ids: Vec<IdDigest> = block.transactions.iter().map(Transaction::id_digest).collect();
        let made = append(chain, now, block)?;
        if made.height == 0 {
            drained.failed.push(Fact::Genesis(made.hash));
        }
        for id in ids {
            drained.chained.add(made.height, id);
        }
        produced.block = Some(made);
    }
    let mut marks = drained.failed;
    marks.extend(drained.chained.facts());
    let marked = if marks.is_empty() { Ok(()) } else { fact::commit(vault, &marks) };
    match marked {
        Ok(()) => {}
        // The block is final. What stays in the pool is recognised with the next block.
        Err(error) if produced.block.is_some() => {
            tracing::error!(%error, "a block is committed, and the pool could not be marked");
        }
        Err(error) => return Err(error.into()),
    }
    (produced.held_up, produced.damage) = (drained.held_up, drained.damage);
    produced.left = fact::pool(vault.index())?.transactions.saturating_sub(produced.held_up);
    Ok(produced)
}

/// Refuses to make a block by a clock that may be wrong, as far as the time of the newest block tells.
pub fn check_clock(
    vault: &Vault,
    tip: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), ProduceError> {
    if let Some(tip) = tip.filter(|tip| *tip >= now.plus_seconds(BLOCK_TIME_TOLERANCE_SECONDS)) {
        return Err(ProduceError::ParentAhead { now, tip });
    }
    match clock_is_ahead(vault, tip, now)? {
        Some(known) => Err(ProduceError::ClockAhead { now, known }),
        None => Ok(()),
    }
}

/// The latest time that the chain knows, if the clock is too far ahead of it to be believed unasked. A
/// chain without blocks knows none, and believes the clock.
pub fn clock_is_ahead(
    vault: &Vault,
    tip: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(known) = tip.max(fact::clock_accepted(vault.index())?) else { return Ok(None) };
    Ok((now > known.plus_seconds(CLOCK_AHEAD_DAYS_MAX * 24 * 3_600)).then_some(known))
}

/// What was taken from the pool.
#[derive(Default)]
struct TakenFromPool {
    transactions: Vec<Transaction>,
    failed: Vec<Fact>,
    chained: Chained,
    held_up: u64,
    damage: Vec<Damage>,
}

impl TakenFromPool {
    /// Counts a transaction that is neither chained again nor refused before an operator has looked at the damage.
    fn hold_up(&mut self, damage: Damage) {
        self.held_up += 1;
        if self.damage.len() < DAMAGE_MAX && !self.damage.contains(&damage) {
            self.damage.push(damage);
        }
    }
}

/// The roots that anchors of one block give, by session and key.
#[derive(Default)]
struct Roots(HashMap<(String, String), Option<String>>);

impl Roots {
    /// What stands against an anchor: its own key gave the session another root before it.
    fn against(
        &self,
        chain: &dyn ChainStore,
        anchor: &Transaction,
    ) -> Result<Option<String>, StoreError> {
        let Some(Said { session, key, root }) = said_by(anchor) else { return Ok(None) };
        let reason = |place: &str, root: &str| {
            format!("{place} gives session {session} another root, {root}, by the same key")
        };
        let before = self.0.get(&(session.clone(), key));
        if let Some(other) = before.filter(|before| **before != root) {
            return Ok(Some(reason("an anchor before it", other.as_deref().unwrap_or_default())));
        }
        let other = other_root(chain, anchor)?;
        Ok(other.map(|other| reason(&format!("block {}", other.height), &other.root)))
    }

    fn add(&mut self, transaction: &Transaction) {
        if let Some(Said { session, key, root }) = said_by(transaction) {
            self.0.insert((session, key), root);
        }
    }
}

/// Places that are named of what holds transactions up.
const DAMAGE_MAX: usize = 10;

/// Takes from the pool, in its order, what fits into one block.
fn drain(
    vault: &Vault,
    chain: &dyn ChainStore,
    now: Timestamp,
) -> Result<TakenFromPool, ProduceError> {
    const PAGE: usize = 500;
    let (mut drained, mut seen, mut bytes) = (TakenFromPool::default(), HashSet::new(), 0);
    let (mut from, mut roots) = (0, Roots::default());
    loop {
        let page = fact::pending(vault, from, PAGE)?;
        let Some(last) = page.last() else { return Ok(drained) };
        from = last.order + 1;
        for waiting in page {
            let transaction = waiting.transaction;
            let id = transaction.id_digest();
            let there = match chain.find(&id) {
                Ok(Some(place)) => Some((place.height, is_at(chain, place, &transaction)?)),
                Ok(None) => None,
                // A block that cannot be read may have it.
                Err(StoreError::Damaged(damage)) => Some((0, There::Unknown(damage))),
                Err(error) => return Err(error.into()),
            };
            let reason = match there {
                Some((height, There::Same)) => {
                    drained.chained.add(height, id);
                    continue;
                }
                Some((_, There::Unknown(damage))) => {
                    drained.hold_up(damage);
                    continue;
                }
                Some((_, There::Other)) => {
                    Some("an earlier block has a transaction with this id".to_owned())
                }
                None if !seen.insert(id) => {
                    Some("another transaction of this block has this id".to_owned())
                }
                None => match fault_of(&transaction) {
                    Some(fault) => Some(fault),
                    None => match roots.against(chain, &transaction) {
                        Err(StoreError::Damaged(damage)) => {
                            drained.hold_up(damage);
                            continue;
                        }
                        against => against?,
                    },
                },
            };
            if let Some(reason) = reason {
                drained.failed.push(Fact::Failed { id, at: now, reason });
                continue;
            }
            bytes += transaction.text().len();
            if bytes > BLOCK_BYTES_MAX {
                return Ok(drained);
            }
            roots.add(&transaction);
            drained.transactions.push(transaction);
            if drained.transactions.len() == BLOCK_TRANSACTIONS_MAX {
                return Ok(drained);
            }
        }
    }
}

/// Why a transaction may not be in any block.
fn fault_of(transaction: &Transaction) -> Option<String> {
    if transaction.text().len() > TRANSACTION_BYTES_MAX {
        return Some(format!("it has over {TRANSACTION_BYTES_MAX} bytes"));
    }
    match transaction.signature_state() {
        SignatureState::Refused(fault) => Some(fault.to_string()),
        _ => None,
    }
}

/// Passes the block through the rules and appends it.
fn append(
    chain: &dyn ChainStore,
    now: Timestamp,
    block: Block,
) -> Result<ProducedBlock, ProduceError> {
    let made = ProducedBlock {
        height: block.index,
        hash: block.hash,
        transactions: block.transactions.len(),
    };
    let verdict =
        validate_in(chain, now, Candidate::from(block), Mode::Candidate, &Pins::default())?;
    let refused = || {
        let rule = verdict.first_fault.map_or("block_structure", lucid_core::validate::Rule::name);
        let details = verdict.results.iter().find(|result| !result.passed);
        ProduceError::Refused {
            rule,
            details: details.map(|result| result.details.canonical()).unwrap_or_default(),
        }
    };
    let valid = verdict.block.as_ref().ok_or_else(refused)?;
    match chain.append(valid)? {
        AppendedBlock::Stored | AppendedBlock::Known => Ok(made),
        other => Err(ProduceError::Outrun(other)),
    }
}
