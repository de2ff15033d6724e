//! Takes out of the pool what is in a block already.
//!
//! Called when a block-manager is opened, before it produces blocks: a crash between append and marking leaves
//! chained transactions in the pool, and they must be neither lost nor chained again.

use std::collections::BTreeMap;

use lucid_core::transaction::{IdDigest, Transaction};
use lucid_store::contract::chain::{ChainStore, TransactionPlace};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, Damage, StoreError};

use crate::fact::{self, Fact};

/// Pool entries that are looked at in one go.
const PAGE: usize = 1_000;

/// Why the pool could not be put in order.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<SettleError> for crate::opened::OpenError {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(error) => Self::Store(error),
            SettleError::Commit(error) => Self::Commit(error),
        }
    }
}

/// Marks every pooled transaction that the chain has; says how many there were.
pub fn settle_pool(vault: &Vault, chain: &dyn ChainStore) -> Result<u64, SettleError> {
    if chain.tip()?.is_none() {
        return Ok(0);
    }
    let (mut from, mut settled) = (0, 0);
    loop {
        let page = fact::pending(vault, from, PAGE)?;
        let Some(last) = page.last() else { return Ok(settled) };
        from = last.order + 1;
        let mut chained = Chained::default();
        for waiting in &page {
            let id = waiting.transaction.id_digest();
            let place = match chain.find(&id) {
                // Where blocks were lost it is not known: then it waits.
                Err(StoreError::Damaged(_)) => None,
                found => found?,
            };
            if let Some(place) = place
                && is_at(chain, place, &waiting.transaction)? == There::Same
            {
                chained.add(place.height, id);
                settled += 1;
            }
        }
        let found = chained.facts();
        if !found.is_empty() {
            fact::commit(vault, &found)?;
        }
    }
}

/// What the chain has under the id of a pooled transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum There {
    /// The very same.
    Same,
    /// Another one.
    Other,
    /// Something that is damaged.
    Unknown(Damage),
}

/// Whether a chained transaction is this one. Damage holds up nobody else.
pub(super) fn is_at(
    chain: &dyn ChainStore,
    place: TransactionPlace,
    transaction: &Transaction,
) -> Result<There, StoreError> {
    let stored = match chain.record(place.height) {
        Err(StoreError::Damaged(damage)) => {
            tracing::warn!(%damage, id = transaction.id(), "a transaction waits, since the block with its id is damaged");
            return Ok(There::Unknown(damage));
        }
        stored => stored?,
    };
    let there = stored.and_then(|stored| {
        stored.record.transactions.get(place.position as usize).map(|digests| digests.hash)
    });
    Ok(if there == Some(transaction.hash()) { There::Same } else { There::Other })
}

/// Ids by the block they are in.
#[derive(Default)]
pub(super) struct Chained(BTreeMap<u64, Vec<IdDigest>>);

impl Chained {
    pub(super) fn add(&mut self, height: u64, id: IdDigest) {
        self.0.entry(height).or_default().push(id);
    }

    pub(super) fn facts(self) -> Vec<Fact> {
        self.0.into_iter().map(|(height, ids)| Fact::Chained { height, ids }).collect()
    }
}
