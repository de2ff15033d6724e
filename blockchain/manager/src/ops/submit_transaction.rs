//! Lets transactions in, durably.
//!
//! Called by the submit routes and by embedded archives. The same id with the same posted text is the
//! same request again and finds the first one; with another text it is a conflict. The id of a
//! transaction whose block is lost, once that was accepted, is as good as one that never was there.
//!
//! Invariant: a transaction is pooled on the condition that nobody has pooled its id since it was looked
//! for, so of two requests with one id one is first. Claims only spare them looking twice.

use std::collections::HashMap;

use lucid_core::digest::{BlockHash, TransactionHash};
use lucid_core::time::Timestamp;
use lucid_core::transaction::{
    AdmissionFault, Admitted, CHAIN_SUCCESSION, IdDigest, RETENTION_RUN, SESSION_ANCHOR,
    SESSION_TOMBSTONE, Transaction, complete,
};
use lucid_core::words::many_do;
use lucid_store::contract::chain::ChainStore;
use lucid_store::contract::index::{Look, Seen};
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Purpose;
use lucid_store::{CommitError, StoreError};

use super::anchor_session::other_root;
use super::get_transaction::{FoundTransaction, TransactionStage, get_transaction};
use super::settle_pool::{There, is_at};
use crate::admissions::Admissions;
use crate::fact::{self, Fact, PooledStage, Ticket};
use crate::figures::STAGES;
use crate::limits::{POOL_BYTES_MAX, POOL_TRANSACTIONS_MAX};

/// What became of a submission: it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Where the transaction is.
    pub found: FoundTransaction,
    /// Whether this request brought it.
    pub is_new: bool,
}

/// Why a transaction was not let in.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It is not one that may be chained.
    #[error(transparent)]
    Admission(#[from] AdmissionFault),
    /// Another transaction has its id.
    #[error("another transaction has the id {id:?}: choose another id")]
    Conflict {
        /// The id.
        id: String,
    },
    /// The session has another root, and the same key said so.
    #[error(
        "session {session} is anchored in block {height} already, with the root {root}, by the same key: \
         a session has one root, so the data-chain that sends this is an older copy of the one that \
         anchored it"
    )]
    OtherRoot {
        /// The session.
        session: String,
        /// The block.
        height: u64,
        /// Its root there.
        root: String,
    },
    /// Another chain took the place of this one.
    #[error(
        "this chain has ended, and takes no more transactions: one that begins with block {0} takes its place"
    )]
    Ended(BlockHash),
    /// Too many wait.
    #[error("{} for a block: try again later", many_do(*waiting, "transaction", "waits", "wait"))]
    PoolFull {
        /// How many.
        waiting: u64,
    },
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be made durable.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Accepts a posted transaction, or finds it again.
pub fn submit_transaction(
    vault: &Vault,
    chain: &dyn ChainStore,
    admissions: &Admissions,
    now: Timestamp,
    posted: &[u8],
) -> Result<Submitted, SubmitError> {
    let admitted = complete(posted, now)?;
    let _claim = admissions.claim(admitted.transaction.id_digest());
    let purpose = purpose_of(&admitted.transaction);
    loop {
        let look = vault.look();
        let (submitted, fact) =
            decide(vault, &look, chain, now, admitted.clone(), &RequestSoFar::default())?;
        let Some(fact) = fact else { return Ok(submitted) };
        match STAGES.run("submit", || keep(vault, chain, purpose, look.seen(), &[fact])) {
            Ok(()) => return Ok(submitted),
            // Another commit was faster: the next look sees it.
            Err(CommitError::Overtaken(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is made durable together has at most so many bytes of transactions, or is one of them.
const TOGETHER_BYTES_MAX: u64 = 8 << 20;

/// Accepts many, each on its own, and makes what is new durable, as much at a time as one commit takes. The
/// error means that none of the new ones surely was; of those that could not be made durable behind others
/// that were, each says so itself.
pub fn submit_transactions(
    vault: &Vault,
    chain: &dyn ChainStore,
    admissions: &Admissions,
    now: Timestamp,
    posted: &[&[u8]],
) -> Result<Vec<Result<Submitted, SubmitError>>, CommitError> {
    let admitted: Vec<_> = posted.iter().map(|posted| complete(posted, now)).collect();
    let ids = admitted.iter().flatten().map(|admitted| admitted.transaction.id_digest());
    let _claims = admissions.claim_all(ids);
    let mut outcomes = Vec::with_capacity(admitted.len());
    while let Some(left) = admitted.get(outcomes.len()..).filter(|left| !left.is_empty()) {
        let look = vault.look();
        let (mut batch, mut facts, mut decided) = (RequestSoFar::default(), Vec::new(), Vec::new());
        let mut purpose = Purpose::Upkeep;
        for admitted in left {
            let more = admitted.as_ref().map_or(0, |admitted| admitted.transaction.text().len());
            if !facts.is_empty() && batch.bytes + more as u64 > TOGETHER_BYTES_MAX {
                break;
            }
            let outcome = admitted.clone().map_err(SubmitError::from).and_then(|admitted| {
                let (id, posted) = (admitted.transaction.id_digest(), admitted.posted_digest);
                let its_purpose = purpose_of(&admitted.transaction);
                let (submitted, fact) = decide(vault, &look, chain, now, admitted, &batch)?;
                if let Some(fact) = fact {
                    batch.add(id, posted, &fact);
                    if its_purpose == Purpose::Bring {
                        purpose = its_purpose;
                    }
                    facts.push(fact);
                }
                Ok(submitted)
            });
            decided.push(outcome);
        }
        let committed = match facts.is_empty() {
            true => Ok(()),
            false => STAGES.run("submit", || keep(vault, chain, purpose, look.seen(), &facts)),
        };
        match committed {
            Ok(()) => outcomes.append(&mut decided),
            // Another commit was faster: the next look sees it.
            Err(CommitError::Overtaken(_)) => {}
            Err(error) if outcomes.is_empty() => return Err(error),
            Err(error) => {
                let failed = left.iter().map(|_| Err(SubmitError::Commit(error.clone())));
                outcomes.extend(failed);
            }
        }
    }
    Ok(outcomes)
}

/// What a transaction is for. By those that Lucid itself puts into a chain it is known what is kept, and what may be
/// removed: they are taken while nothing else is any more, so that room can be given back.
fn purpose_of(transaction: &Transaction) -> Purpose {
    match transaction.kind() {
        Some(SESSION_ANCHOR | SESSION_TOMBSTONE | RETENTION_RUN | CHAIN_SUCCESSION) => {
            Purpose::Upkeep
        }
        _ => Purpose::Bring,
    }
}

/// Makes transactions durable, if there is room for them and for the blocks that they will be in.
fn keep(
    vault: &Vault,
    chain: &dyn ChainStore,
    purpose: Purpose,
    rests_on: Seen,
    facts: &[Fact],
) -> Result<(), CommitError> {
    if purpose == Purpose::Bring {
        chain.room(0)?;
    }
    fact::commit_for(vault, purpose, rests_on, facts)
}

/// Whether a transaction would be let in now. Advice: submitting it decides.
pub fn check_admissible(
    vault: &Vault,
    chain: &dyn ChainStore,
    now: Timestamp,
    posted: &[u8],
) -> Result<(), SubmitError> {
    let admitted = complete(posted, now)?;
    decide(vault, &vault.look(), chain, now, admitted, &RequestSoFar::default()).map(drop)
}

/// What the same request brings besides, and is not in the pool yet.
#[derive(Default)]
struct RequestSoFar {
    posted: HashMap<IdDigest, TransactionHash>,
    bytes: u64,
}

impl RequestSoFar {
    fn add(&mut self, id: IdDigest, posted: TransactionHash, fact: &Fact) {
        self.posted.insert(id, posted);
        if let Fact::Pooled { text, .. } = fact {
            self.bytes += text.len() as u64;
        }
    }
}

/// What becomes of a transaction, and the fact that says so if it is new: true as long as the rows are what
/// `look` saw.
fn decide(
    vault: &Vault,
    look: &Look<'_>,
    chain: &dyn ChainStore,
    now: Timestamp,
    admitted: Admitted,
    batch: &RequestSoFar,
) -> Result<(Submitted, Option<Fact>), SubmitError> {
    let Admitted { transaction, posted_digest } = admitted;
    let known = batch.posted.get(&transaction.id_digest());
    if known.is_some_and(|known| *known != posted_digest) {
        return Err(SubmitError::Conflict { id: transaction.id().to_owned() });
    }
    if let Some(found) = self::known(vault, look, chain, &transaction, posted_digest)? {
        return Ok((Submitted { found, is_new: false }, None));
    }
    if let Some(successor) = fact::successor(look)? {
        return Err(SubmitError::Ended(successor));
    }
    if let Some(other) = other_root(chain, &transaction)? {
        let session = transaction.session_id().unwrap_or_default().to_owned();
        return Err(SubmitError::OtherRoot { session, height: other.height, root: other.root });
    }
    let is_new = known.is_none();
    let pool = fact::pool(vault.index())?;
    let waiting = pool.transactions + batch.posted.len() as u64;
    if is_new && (waiting >= POOL_TRANSACTIONS_MAX || pool.bytes + batch.bytes >= POOL_BYTES_MAX) {
        return Err(SubmitError::PoolFull { waiting });
    }
    let text = transaction.text().to_owned();
    let found = FoundTransaction {
        id: transaction.id().to_owned(),
        transaction: Some(transaction),
        submitted_at: Some(now),
        status: TransactionStage::Pending,
    };
    let fact = is_new.then_some(Fact::Pooled { posted: posted_digest, at: now, text });
    Ok((Submitted { found, is_new }, fact))
}

/// Finds the same request, or the conflict.
fn known(
    vault: &Vault,
    look: &Look<'_>,
    chain: &dyn ChainStore,
    transaction: &Transaction,
    posted: TransactionHash,
) -> Result<Option<FoundTransaction>, SubmitError> {
    let digest = transaction.id_digest();
    let same = match fact::ticket_in(look, vault.cipher(), &digest)? {
        Some(Ticket { stage: PooledStage::Chained { .. }, .. })
            if chain.find(&digest)?.is_none() =>
        {
            return Ok(None);
        }
        Some(ticket) => ticket.posted == posted,
        // Chained by another way than this pool.
        None => match chain.find(&digest)? {
            Some(place) => match is_at(chain, place, transaction)? {
                There::Same => true,
                There::Other => false,
                There::Unknown(damage) => return Err(StoreError::Damaged(damage).into()),
            },
            None => return Ok(None),
        },
    };
    match same {
        true => Ok(get_transaction(vault, chain, transaction.id())?),
        false => Err(SubmitError::Conflict { id: transaction.id().to_owned() }),
    }
}
