//! Lets a transaction in, durably.
//!
//! Called by the submit route and by embedded archives. The same id with the same posted text is the
//! same request again and finds the first one; with another text it is a conflict.
//!
//! Invariant: an id is decided under its claim, so of two requests with one id one is first.

use lucid_core::digest::TransactionHash;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{AdmissionFault, Admitted, Transaction, complete};
use lucid_store::chain::ChainStore;
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};

use super::get_transaction::{Found, Status, get_transaction};
use super::settle_pool::is_at;
use crate::admissions::Admissions;
use crate::facts::{self, Fact};
use crate::limits::{POOL_BYTES_MAX, POOL_TRANSACTIONS_MAX};

/// What became of a submission: it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Where the transaction is.
    pub found: Found,
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
    /// Too many wait.
    #[error("{waiting} transactions wait for a block: try again later")]
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
    let Admitted { transaction, posted_digest } = complete(posted, now)?;
    let _claim = admissions.claim(transaction.id_digest());
    if let Some(found) = known(vault, chain, &transaction, posted_digest)? {
        return Ok(Submitted { found, is_new: false });
    }
    let pool = facts::pool(vault.index())?;
    if pool.transactions >= POOL_TRANSACTIONS_MAX || pool.bytes >= POOL_BYTES_MAX {
        return Err(SubmitError::PoolFull { waiting: pool.transactions });
    }
    let text = transaction.text().to_owned();
    facts::commit(vault, &[Fact::Pooled { posted: posted_digest, at: now, text }])?;
    let found = Found {
        id: transaction.id().to_owned(),
        transaction: Some(transaction),
        submitted_at: Some(now),
        status: Status::Pending,
    };
    Ok(Submitted { found, is_new: true })
}

/// Finds the same request, or the conflict.
fn known(
    vault: &Vault,
    chain: &dyn ChainStore,
    transaction: &Transaction,
    posted: TransactionHash,
) -> Result<Option<Found>, SubmitError> {
    let digest = transaction.id_digest();
    let same = match facts::ticket(vault, &digest)? {
        Some(ticket) => ticket.posted == posted,
        // Chained by another way than this pool.
        None => match chain.find(&digest)? {
            Some(place) => is_at(chain, place, transaction)?,
            None => return Ok(None),
        },
    };
    match same {
        true => Ok(get_transaction(vault, chain, transaction.id())?),
        false => Err(SubmitError::Conflict { id: transaction.id().to_owned() }),
    }
}
