//! What a block-manager remembers besides its chain: its role, its genesis, and the pool.
//!
//! Each of these is a fact in the vault's log, and [`Facts`] makes index rows of it, for the committer
//! and for recovery alike. The ops write facts with [`commit`] and read rows through this file, so no
//! other file knows a key. `docs/FORMATS.md` gives the bytes.
//!
//! Invariant: a pooled transaction has a ticket until the end of days. Pending, it has a place in the
//! order and a text; failed, a text; chained, neither, for the chain has it. Only one that was chained is
//! pooled again: its block is lost.
//!
//! In one file because facts, what they mean for rows, and how these are asked for are one small language.

mod forks;
mod upkeep;

use std::cell::RefCell;
use std::sync::Arc;

use lucid_core::digest::{BlockHash, TransactionHash};
use lucid_core::time::Timestamp;
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::codec::Packer;
use lucid_store::contract::index::{Changes, Index, Project, Seen};
use lucid_store::crypt::Cipher;
use lucid_store::registry::block_manager;
use lucid_store::registry::block_manager::fact::{
    CHAINED, CLOCK_ACCEPTED, ENDED, FAILED, FORKED, GENESIS, LOOKED_THROUGH, POOLED, PROMOTED,
    ROLE, SUSPECTS,
};
use lucid_store::registry::block_manager::key::{FIXED, ORDER, TEXT, TICKET};
use lucid_store::vault::Vault;
use lucid_store::vault::committer::{Purpose, Submission};
use lucid_store::{CommitError, StoreError};

pub use forks::{FORKS_MAX, Fork, forks};
pub use upkeep::{cursor, suspects};

/// What a block-manager is, written down at its first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It makes the blocks of its chain.
    Authority,
    /// It follows another one's chain.
    Follower,
}

impl Role {
    /// The name it has in replies and sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Follower => "follower",
        }
    }
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// What this block-manager is.
    Role(Role),
    /// Which chain it keeps.
    Genesis(BlockHash),
    /// A transaction was accepted.
    Pooled {
        /// The digest of what was posted.
        posted: TransactionHash,
        /// When it was accepted.
        at: Timestamp,
        /// The transaction.
        text: String,
    },
    /// A pooled transaction was refused when its block was made.
    Failed {
        /// Its id.
        id: IdDigest,
        /// When.
        at: Timestamp,
        /// Why, as a sentence.
        reason: String,
    },
    /// Pooled transactions are in a block.
    Chained {
        /// The block.
        height: u64,
        /// Their ids.
        ids: Vec<IdDigest>,
    },
    /// These blocks break a rule, as far as is known, and no others: height and why.
    Suspects(Vec<(u64, String)>),
    /// The blocks below a height have been looked through.
    LookedThrough {
        /// Where to go on.
        next: u64,
    },
    /// A follower became the authority of the chain it had followed.
    Promoted {
        /// When.
        at: Timestamp,
        /// The block it goes on from; `None` for an empty chain.
        tip: Option<(u64, BlockHash)>,
    },
    /// The chain that is followed was found to be another one than ours.
    Forked(Fork),
    /// The operator said that the clock was right.
    ClockAccepted {
        /// What it told.
        at: Timestamp,
    },
    /// Another chain takes the place of this one, which gets no more blocks.
    Ended {
        /// When.
        at: Timestamp,
        /// The first block of the other one.
        successor: BlockHash,
    },
}

impl Fact {
    /// The fact's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        match self {
            Self::Role(role) => to.u8(ROLE).u8(u8::from(*role == Role::Follower)),
            Self::Genesis(hash) => to.u8(GENESIS).raw(hash.as_bytes()),
            Self::Pooled { posted, at, text } => {
                to.u8(POOLED).raw(posted.as_bytes()).i64(at.as_micros()).text(text)
            }
            Self::Failed { id, at, reason } => {
                to.u8(FAILED).raw(id).i64(at.as_micros()).text(reason)
            }
            Self::Chained { height, ids } => {
                to.u8(CHAINED).u64(*height);
                ids.iter().fold(&mut to, |to, id| to.raw(id))
            }
            Self::LookedThrough { next } => to.u8(LOOKED_THROUGH).u64(*next),
            Self::Suspects(suspects) => {
                to.u8(SUSPECTS);
                upkeep::write(suspects, &mut to);
                &mut to
            }
            Self::Promoted { at, tip } => {
                to.u8(PROMOTED).i64(at.as_micros()).option(*tip, |to, (height, hash)| {
                    to.u64(height).raw(hash.as_bytes());
                })
            }
            Self::Forked(fork) => {
                to.u8(FORKED);
                fork.write(&mut to)
            }
            Self::ClockAccepted { at } => to.u8(CLOCK_ACCEPTED).i64(at.as_micros()),
            Self::Ended { at, successor } => {
                to.u8(ENDED).i64(at.as_micros()).raw(successor.as_bytes())
            }
        };
        to.finish()
    }

    /// Reads [`Fact::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let time = |from: &mut Reader<'_>| from.time("time");
        let fact = match from.u8("kind of fact")? {
            ROLE => Self::Role(match from.u8("role")? {
                0 => Role::Authority,
                1 => Role::Follower,
                _ => return Err(WireFault::Invalid { what: "role" }),
            }),
            GENESIS => Self::Genesis(BlockHash::new(from.array("genesis")?)),
            POOLED => Self::Pooled {
                posted: TransactionHash::new(from.array("posted digest")?),
                at: time(&mut from)?,
                text: from.text("transaction")?.to_owned(),
            },
            FAILED => Self::Failed {
                id: from.array("id")?,
                at: time(&mut from)?,
                reason: from.text("reason")?.to_owned(),
            },
            CHAINED => {
                let height = from.u64("height")?;
                let mut ids = Vec::new();
                while !from.is_empty() {
                    ids.push(from.array("id")?);
                }
                Self::Chained { height, ids }
            }
            LOOKED_THROUGH => Self::LookedThrough { next: from.u64("height")? },
            SUSPECTS => Self::Suspects(upkeep::read(&mut from)?),
            PROMOTED => Self::Promoted {
                at: time(&mut from)?,
                tip: from.option("the tip", |from| {
                    Ok((from.u64("height")?, BlockHash::new(from.array("hash")?)))
                })?,
            },
            FORKED => Self::Forked(Fork::read(&mut from)?),
            CLOCK_ACCEPTED => Self::ClockAccepted { at: time(&mut from)? },
            ENDED => Self::Ended {
                at: time(&mut from)?,
                successor: BlockHash::new(from.array("genesis")?),
            },
            _ => return Err(WireFault::Invalid { what: "kind of fact" }),
        };
        from.finish()?;
        Ok(fact)
    }
}

thread_local! {
    /// Compression contexts are costly to make; each thread that commits keeps one.
    static PACKER: RefCell<Packer> = RefCell::new(Packer::new());
}

/// Makes facts durable, all or none, regardless of what is there.
pub fn commit(vault: &Vault, facts: &[Fact]) -> Result<(), CommitError> {
    commit_on(vault, Seen::new(), facts)
}

/// Makes facts durable like [`commit`], but only if the rows that they rest on are as they were seen.
pub fn commit_on(vault: &Vault, rests_on: Seen, facts: &[Fact]) -> Result<(), CommitError> {
    commit_for(vault, Purpose::Upkeep, rests_on, facts)
}

/// Makes facts durable like [`commit_on`], and says what they are for.
pub fn commit_for(
    vault: &Vault,
    purpose: Purpose,
    rests_on: Seen,
    facts: &[Fact],
) -> Result<(), CommitError> {
    let records = PACKER.with_borrow_mut(|packer| {
        facts.iter().map(|fact| vault.fact(packer, fact.encode())).collect::<Result<Vec<_>, _>>()
    });
    let facts = records.map_err(|error| CommitError::Failed(error.to_string()))?;
    vault.commit(Submission { facts, rests_on, purpose, ..Submission::default() }).map(drop)
}

const ROLE_KEY: [u8; 2] = [FIXED, 0];
const GENESIS_KEY: [u8; 2] = [FIXED, 1];
const POOL_KEY: [u8; 2] = [FIXED, 2];
const CLOCK_KEY: [u8; 2] = [FIXED, 5];
const ENDED_KEY: [u8; 2] = [FIXED, 6];

/// How far a pooled transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PooledStage {
    /// It waits for its block.
    Pending {
        /// Its place in the order.
        order: u64,
        /// Bytes of its text.
        bytes: u32,
    },
    /// It was refused.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// It is in a block.
    Chained {
        /// Which one.
        height: u64,
    },
}

/// What is remembered of an accepted transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The digest of what was posted: the same id with another one is a conflict.
    pub posted: TransactionHash,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// How far it is.
    pub stage: PooledStage,
}

impl Ticket {
    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.raw(self.posted.as_bytes()).i64(self.submitted_at.as_micros());
        match &self.stage {
            PooledStage::Pending { order, bytes } => to.u8(0).u64(*order).u32(*bytes),
            PooledStage::Failed { at, reason } => to.u8(1).i64(at.as_micros()).text(reason),
            PooledStage::Chained { height } => to.u8(2).u64(*height),
        };
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let ticket = Self {
            posted: TransactionHash::new(from.array("posted digest")?),
            submitted_at: from.time("time")?,
            stage: match from.u8("stage")? {
                0 => PooledStage::Pending { order: from.u64("order")?, bytes: from.u32("bytes")? },
                1 => PooledStage::Failed {
                    at: from.time("time")?,
                    reason: from.text("reason")?.to_owned(),
                },
                2 => PooledStage::Chained { height: from.u64("height")? },
                _ => return Err(WireFault::Invalid { what: "stage" }),
            },
        };
        from.finish()?;
        Ok(ticket)
    }
}

/// What waits in the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pool {
    /// The next transaction's place in the order.
    next: u64,
    /// How many transactions wait.
    pub transactions: u64,
    /// Bytes of their texts.
    pub bytes: u64,
}

impl Pool {
    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.next).u64(self.transactions).u64(self.bytes);
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let pool = Self {
            next: from.u64("next")?,
            transactions: from.u64("transactions")?,
            bytes: from.u64("bytes")?,
        };
        from.finish()?;
        Ok(pool)
    }

    fn leave(&mut self, bytes: u32) {
        self.transactions = self.transactions.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
    }
}

fn key(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix], rest].concat()
}

fn fault(what: &'static str) -> impl Fn(WireFault) -> StoreError {
    move |fault| {
        StoreError::Index(format!("the row of {what}: {fault}; `lucid reindex` rebuilds it"))
    }
}

/// Makes rows of facts.
#[derive(Debug)]
pub struct Facts {
    cipher: Arc<Cipher>,
}

impl Facts {
    /// Values are encrypted as the store's payloads are.
    pub fn new(cipher: Arc<Cipher>) -> Self {
        Self { cipher }
    }

    fn ticket(&self, name: &[u8], changes: &Changes<'_>) -> Result<Option<Ticket>, StoreError> {
        let key = key(TICKET, name);
        changes.get(&key)?.map(|value| open_ticket(&self.cipher, &key, value)).transpose()
    }

    /// Sets a row's value, encrypted as this row's.
    fn put(&self, changes: &mut Changes<'_>, key: Vec<u8>, value: &[u8]) -> Result<(), StoreError> {
        let value = self.cipher.encrypt_value(&key, value)?;
        changes.put(key, value);
        Ok(())
    }

    fn put_ticket(
        &self,
        name: &[u8],
        ticket: &Ticket,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        self.put(changes, key(TICKET, name), &ticket.encode())
    }

    fn pooled(
        &self,
        (posted, at, text): (TransactionHash, Timestamp, &str),
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let Ok(transaction) = Transaction::parse(text.as_bytes()) else {
            tracing::error!("a pooled transaction in the log cannot be read and is left out");
            return Ok(());
        };
        let name = self.cipher.index_name(&transaction.id_digest());
        if let Some(Ticket {
            stage: PooledStage::Pending { .. } | PooledStage::Failed { .. },
            ..
        }) = self.ticket(&name, changes)?
        {
            return Ok(());
        }
        let mut pool = read_pool(changes.get(&POOL_KEY)?)?;
        // It was read just now, so it is a transaction's, of a mebibyte at most.
        let bytes = u32::try_from(text.len())
            .map_err(|_| StoreError::Index("a pooled transaction is too long".into()))?;
        let stage = PooledStage::Pending { order: pool.next, bytes };
        changes.put(key(ORDER, &pool.next.to_be_bytes()), name.to_vec());
        self.put(changes, key(TEXT, &name), text.as_bytes())?;
        self.put_ticket(&name, &Ticket { posted, submitted_at: at, stage }, changes)?;
        pool.next += 1;
        pool.transactions += 1;
        pool.bytes += u64::from(bytes);
        changes.put(POOL_KEY.to_vec(), pool.encode());
        Ok(())
    }

    /// Takes a pending transaction out of the pool.
    fn leave(
        &self,
        id: &IdDigest,
        stage: PooledStage,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let name = self.cipher.index_name(id);
        let Some(mut ticket) = self.ticket(&name, changes)? else { return Ok(()) };
        let PooledStage::Pending { order, bytes } = ticket.stage else { return Ok(()) };
        let mut pool = read_pool(changes.get(&POOL_KEY)?)?;
        pool.leave(bytes);
        changes.put(POOL_KEY.to_vec(), pool.encode());
        changes.remove(key(ORDER, &order.to_be_bytes()));
        if matches!(stage, PooledStage::Chained { .. }) {
            changes.remove(key(TEXT, &name));
        }
        ticket.stage = stage;
        self.put_ticket(&name, &ticket, changes)
    }
}

impl Project for Facts {
    fn knows(&self, kind: u8) -> bool {
        block_manager::fact::ALL.contains(&kind)
    }

    fn fault(&self, fact: &[u8]) -> Option<String> {
        Fact::decode(fact).err().map(|fault| fault.to_string())
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let fact = match Fact::decode(fact) {
            Ok(fact) => fact,
            Err(fault) => {
                tracing::error!(%fault, "a fact in the log cannot be read and is left out");
                return Ok(());
            }
        };
        match fact {
            Fact::Role(role) => {
                changes.put(ROLE_KEY.to_vec(), vec![u8::from(role == Role::Follower)]);
                Ok(())
            }
            Fact::Promoted { .. } => {
                changes.put(ROLE_KEY.to_vec(), vec![0]);
                Ok(())
            }
            Fact::Forked(fork) => {
                fork.project(changes);
                Ok(())
            }
            Fact::Ended { successor, .. } => {
                changes.put(ENDED_KEY.to_vec(), successor.as_bytes().to_vec());
                Ok(())
            }
            Fact::ClockAccepted { at } => {
                changes.put(CLOCK_KEY.to_vec(), at.as_micros().to_be_bytes().to_vec());
                Ok(())
            }
            Fact::LookedThrough { next } => {
                upkeep::project(next, changes);
                Ok(())
            }
            Fact::Suspects(suspects) => {
                upkeep::project_suspects(&suspects, changes);
                Ok(())
            }
            Fact::Genesis(hash) => {
                changes.put(GENESIS_KEY.to_vec(), hash.as_bytes().to_vec());
                Ok(())
            }
            Fact::Pooled { posted, at, text } => self.pooled((posted, at, &text), changes),
            Fact::Failed { id, at, reason } => {
                self.leave(&id, PooledStage::Failed { at, reason }, changes)
            }
            Fact::Chained { height, ids } => ids
                .iter()
                .try_for_each(|id| self.leave(id, PooledStage::Chained { height }, changes)),
        }
    }
}

fn open_ticket(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<Ticket, StoreError> {
    Ticket::decode(&cipher.decrypt_value(key, value)?).map_err(fault("a transaction"))
}

fn read_pool(value: Option<Vec<u8>>) -> Result<Pool, StoreError> {
    value.map_or(Ok(Pool::default()), |value| Pool::decode(&value).map_err(fault("the pool")))
}

/// The role, once it is written down.
pub fn role(index: &dyn Index) -> Result<Option<Role>, StoreError> {
    Ok(index.get(&ROLE_KEY)?.map(|value| match value.first() {
        Some(1) => Role::Follower,
        _ => Role::Authority,
    }))
}

/// The first block of the chain that takes the place of this one, once it has ended.
pub fn successor(index: &dyn Index) -> Result<Option<BlockHash>, StoreError> {
    let value = index.get(&ENDED_KEY)?;
    Ok(value.and_then(|value| value.try_into().ok()).map(BlockHash::new))
}

/// What the clock told when the operator last said that it was right.
pub fn clock_accepted(index: &dyn Index) -> Result<Option<Timestamp>, StoreError> {
    let value = index.get(&CLOCK_KEY)?.and_then(|value| value.try_into().ok());
    Ok(value.map(|micros| Timestamp::from_micros(i64::from_be_bytes(micros))))
}

/// The chain's genesis, once there is one.
pub fn genesis(index: &dyn Index) -> Result<Option<BlockHash>, StoreError> {
    let value = index.get(&GENESIS_KEY)?;
    Ok(value.and_then(|value| value.try_into().ok()).map(BlockHash::new))
}

/// What waits in the pool.
pub fn pool(index: &dyn Index) -> Result<Pool, StoreError> {
    read_pool(index.get(&POOL_KEY)?)
}

/// What is remembered of a transaction.
pub fn ticket(vault: &Vault, id: &IdDigest) -> Result<Option<Ticket>, StoreError> {
    ticket_in(vault.index(), vault.cipher(), id)
}

/// What an index remembers of a transaction; [`ticket`] reads a vault's own.
pub fn ticket_in(
    index: &dyn Index,
    cipher: &Cipher,
    id: &IdDigest,
) -> Result<Option<Ticket>, StoreError> {
    let key = key(TICKET, &cipher.index_name(id));
    index.get(&key)?.map(|value| open_ticket(cipher, &key, value)).transpose()
}

/// The text of a transaction that is pending or failed.
pub fn text(vault: &Vault, id: &IdDigest) -> Result<Option<Transaction>, StoreError> {
    text_of(vault, &vault.cipher().index_name(id))
}

fn text_of(vault: &Vault, name: &[u8]) -> Result<Option<Transaction>, StoreError> {
    let key = key(TEXT, name);
    let Some(value) = vault.index().get(&key)? else { return Ok(None) };
    let text = vault.cipher().decrypt_value(&key, value)?;
    Transaction::parse(&text).map(Some).map_err(|fault| {
        StoreError::Index(format!("a pooled transaction: {fault}; `lucid reindex` rebuilds it"))
    })
}

/// A transaction that waits, and its place in the order.
#[derive(Debug, Clone)]
pub struct WaitingTransaction {
    /// Its place.
    pub order: u64,
    /// The transaction.
    pub transaction: Transaction,
}

/// Up to `limit` pending transactions from a place in the order on, oldest first.
pub fn pending(
    vault: &Vault,
    from: u64,
    limit: usize,
) -> Result<Vec<WaitingTransaction>, StoreError> {
    let rows = vault.index().scan(&key(ORDER, &from.to_be_bytes()), &[TICKET], limit, false)?;
    read_waiting(vault, rows)
}

/// Up to `limit` pending transactions behind the first `skip`; `None` once their texts have over `bytes`.
pub fn pending_behind(
    vault: &Vault,
    skip: usize,
    limit: usize,
    bytes: usize,
) -> Result<Option<Vec<WaitingTransaction>>, StoreError> {
    let rows = vault.index().scan(&[ORDER], &[TICKET], skip.saturating_add(limit), false)?;
    let (mut waiting, mut taken) = (Vec::new(), 0);
    for row in rows.into_iter().skip(skip) {
        for one in read_waiting(vault, vec![row])? {
            taken += one.transaction.text().len();
            waiting.push(one);
        }
        if taken > bytes {
            return Ok(None);
        }
    }
    Ok(Some(waiting))
}

fn read_waiting(
    vault: &Vault,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<Vec<WaitingTransaction>, StoreError> {
    let read = |(row, name): (Vec<u8>, Vec<u8>)| -> Result<Option<WaitingTransaction>, StoreError> {
        let order = row.get(1..).and_then(|order| order.try_into().ok()).map(u64::from_be_bytes);
        // A transaction that was chained between the scan and now has no text any more.
        let transaction = text_of(vault, &name)?;
        Ok(order
            .zip(transaction)
            .map(|(order, transaction)| WaitingTransaction { order, transaction }))
    };
    rows.into_iter().filter_map(|row| read(row).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_spelling_of_a_fact_or_a_row_is_refused() {
        let edge = Timestamp::from_micros(i64::MIN);
        let sound = Fact::Failed { id: [3; 16], at: edge, reason: "because".into() }.encode();
        let at =
            sound.windows(8).position(|bytes| bytes == edge.as_micros().to_le_bytes()).unwrap();
        let mut beyond = sound.clone();
        beyond[at..at + 8].copy_from_slice(&i64::MIN.to_le_bytes());
        assert!(Fact::decode(&sound).is_ok() && Fact::decode(&beyond).is_err());

        let posted = TransactionHash::new([2; 32]);
        let stage = PooledStage::Chained { height: 7 };
        let mut ticket = Ticket { posted, submitted_at: edge, stage }.encode();
        assert!(Ticket::decode(&ticket).is_ok());
        ticket[40] = 3;
        assert!(Ticket::decode(&ticket).is_err());
        let pool = Pool { next: 1, transactions: 1, bytes: 2 }.encode();
        assert!(Pool::decode(&[pool.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn every_fact_reads_back_and_nothing_longer_does() {
        let at = Timestamp::from_micros(5);
        for fact in [
            Fact::Role(Role::Authority),
            Fact::Role(Role::Follower),
            Fact::Genesis(BlockHash::new([1; 32])),
            Fact::Pooled { posted: TransactionHash::new([2; 32]), at, text: "{}".into() },
            Fact::Failed { id: [3; 16], at, reason: "because".into() },
            Fact::LookedThrough { next: 7 },
            Fact::Suspects(Vec::new()),
            Fact::Suspects(vec![(7, "because".into()), (9, String::new())]),
            Fact::Chained { height: 9, ids: vec![[4; 16], [5; 16]] },
            Fact::Promoted { at, tip: None },
            Fact::Promoted { at, tip: Some((9, BlockHash::new([6; 32]))) },
            Fact::Forked(Fork {
                at,
                height: 9,
                hash: BlockHash::new([7; 32]),
                ours: "ours".into(),
                theirs: "theirs".into(),
            }),
        ] {
            let bytes = fact.encode();
            assert_eq!(Fact::decode(&bytes), Ok(fact));
            assert!(Fact::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        }
    }
}
