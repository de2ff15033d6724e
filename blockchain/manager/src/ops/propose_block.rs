//! Makes a block at once, for a caller who does not want to wait for the next one.

use lucid_core::sign::{PublicKey, SigningKey};
use lucid_core::time::Timestamp;
use lucid_store::contract::chain::ChainStore;
use lucid_store::vault::Vault;
use parking_lot::Mutex;

use super::produce_block::{ProduceError, ProducedBlock, Production, produce_block};
use super::submit_transaction::{SubmitError, check_admissible, submit_transactions};
use crate::admissions::Admissions;
use crate::fact::{self, Role};

/// Why no block was made.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Nothing waits.
    #[error("nothing waits for a block: submit a transaction first")]
    NothingPending,
    /// Another key is to sign.
    #[error("this authority signs with {0}: leave `producer` out, or name that key")]
    OtherProducer(PublicKey),
    /// A transaction that was sent along is not let in; none of them was.
    #[error("transaction {index}: {error}")]
    Submit {
        /// Its place.
        index: usize,
        /// What is wrong with it.
        error: SubmitError,
    },
    /// The block could not be made. What was sent along waits for the next one.
    #[error(transparent)]
    Produce(#[from] ProduceError),
}

/// Submits what is sent along, and produces a block of what waits: in the pool's order, as much as one block may hold.
pub fn propose_block(
    vault: &Vault,
    chain: &dyn ChainStore,
    (admissions, producing): (&Admissions, &Mutex<()>),
    key: &SigningKey,
    producer: Option<PublicKey>,
    now: Timestamp,
    posted: &[&[u8]],
) -> Result<(ProducedBlock, Production), ProposeError> {
    // Before anything is taken: what a follower pooled would wait for ever.
    if fact::role(vault.index()).map_err(ProduceError::from)? == Some(Role::Follower) {
        return Err(ProduceError::Follower.into());
    }
    if producer.is_some_and(|wanted| wanted != key.public()) {
        return Err(ProposeError::OtherProducer(key.public()));
    }
    for (index, posted) in posted.iter().enumerate() {
        check_admissible(vault, chain, now, posted)
            .map_err(|error| ProposeError::Submit { index, error })?;
    }
    let submitted = submit_transactions(vault, chain, admissions, now, posted)
        .map_err(|error| ProposeError::Produce(error.into()))?;
    for (index, outcome) in submitted.into_iter().enumerate() {
        // Its id was taken a moment ago.
        outcome.map_err(|error| ProposeError::Submit { index, error })?;
    }
    let produced = produce_block(vault, chain, producing, key, now)?;
    match produced.block {
        Some(block) => Ok((block, produced)),
        None => Err(ProposeError::NothingPending),
    }
}
