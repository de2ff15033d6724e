//! The chain of this process as what anchors sessions.

use lucid_block_manager::fact::{Role, genesis};
use lucid_block_manager::opened as manager;
use lucid_block_manager::ops::anchor_proof::anchor_proof;
use lucid_block_manager::ops::get_transaction::{TransactionStage, get_transaction};
use lucid_block_manager::ops::produce_block::produce_block;
use lucid_block_manager::ops::submit_transaction::{SubmitError, submit_transaction};
use lucid_core::bundle::{AnchorInclusion, Producer};
use lucid_core::digest::BlockHash;
use lucid_data_chain::anchoring::{AnchorEngine, Confirmed, EngineError};
use lucid_data_chain::fact::KnownChain;
use lucid_store::StoreError;
use lucid_store::clock::Clock;
use lucid_store::files::chain::is_of_every_id;

/// The chain of this process as what anchors sessions.
pub(super) struct Embedded<'a> {
    pub(super) chain: &'a manager::Opened,
    pub(super) clock: &'a Clock,
}

fn unavailable(error: impl std::fmt::Display) -> EngineError {
    EngineError::Unavailable(error.to_string())
}

/// What cannot be read of one anchor's block is damage of that one.
fn unread(error: StoreError) -> EngineError {
    match error {
        StoreError::Damaged(damage) if !is_of_every_id(&damage) => {
            EngineError::Damaged(damage.to_string())
        }
        error => unavailable(error),
    }
}

impl AnchorEngine for Embedded<'_> {
    fn submit(&self, text: &str) -> Result<(), EngineError> {
        let manager::Opened { vault, chain, key, admissions, producing, role, .. } = self.chain;
        if self.chain.role_is_lost {
            return Err(unavailable(manager::OpenError::RoleLost));
        }
        if *role == Role::Follower {
            return Err(unavailable(
                "the chain in the folder follows another one, so its blocks are made elsewhere: \
                 archive through a data-chain service, or make the chain an authority's with \
                 `lucid chain promote`",
            ));
        }
        let now = self.clock.now();
        let submitted = submit_transaction(vault, chain.as_ref(), admissions, now, text.as_bytes());
        let submitted = submitted.map_err(|error| match error {
            SubmitError::Admission(_)
            | SubmitError::Conflict { .. }
            | SubmitError::OtherRoot { .. } => EngineError::Refused(error.to_string()),
            SubmitError::Store(error) => unread(error),
            _ => unavailable(error),
        })?;
        // Nobody else fills the pool, so there is nothing to wait for.
        while produce_block(vault, chain.as_ref(), producing, key, now).map_err(unavailable)?.left
            > 0
        {}
        let found = get_transaction(vault, chain.as_ref(), &submitted.found.id);
        match found.map_err(unread)?.map(|found| found.status) {
            Some(TransactionStage::Failed { reason, .. }) => Err(EngineError::Refused(format!(
                "transaction {} failed: {reason}",
                submitted.found.id
            ))),
            _ => Ok(()),
        }
    }

    fn keeps(&self, known: &KnownChain) -> Result<bool, EngineError> {
        // Its hash is all that is needed: the block itself may be damaged.
        let height = self.chain.chain.height_of(&known.block_hash).map_err(unavailable)?;
        Ok(height == Some(known.block_index))
    }

    fn genesis(&self) -> Result<Option<BlockHash>, EngineError> {
        // Known without reading the block, but for a chain whose first block was made just now.
        if let Some(known) = genesis(self.chain.vault.index()).map_err(unavailable)? {
            return Ok(Some(known));
        }
        Ok(self.chain.chain.record(0).map_err(unavailable)?.map(|stored| stored.record.entry.hash))
    }

    fn confirmed(&self, transaction_id: &str) -> Result<Option<Confirmed>, EngineError> {
        let proof = anchor_proof(self.chain.chain.as_ref(), transaction_id).map_err(unread)?;
        Ok(proof.map(|proof| Confirmed {
            block_index: proof.block_index,
            block_hash: proof.block_hash,
            proof: AnchorInclusion {
                transaction: proof.transaction.text().to_owned(),
                position: proof.position,
                count: proof.count,
                path: proof.path,
                entry: proof.entry.text(),
                producer: proof
                    .producer
                    .zip(proof.signature)
                    .map(|(key, signature)| Producer { key, signature }),
            },
        }))
    }
}
