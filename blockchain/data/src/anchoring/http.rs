//! The block-manager behind HTTP, as what anchors sessions.
//!
//! The delivery of anchors asks it, on a thread that may block.

use std::sync::Arc;

use lucid_api::client::{BlockManagerClient, ClientError};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::transactions::{TransactionProof, TransactionStatus};
use lucid_core::bundle::{AnchorInclusion, Producer};
use lucid_core::digest::BlockHash;

use super::elsewhere::HttpForeignEngine;
use super::{AnchorEngine, Confirmed, EngineError, ForeignEngine};
use crate::fact::KnownChain;
use crate::integrations::{EngineKind, RemoteManager};

/// A block-manager at an address.
#[derive(Debug)]
pub struct HttpEngine {
    manager: Arc<RemoteManager>,
    foreign: HttpForeignEngine,
}

impl HttpEngine {
    /// Anchors there. Once the service ends, it counts as unreachable, so that nobody waits for it.
    pub fn new(manager: Arc<RemoteManager>) -> Self {
        let foreign = HttpForeignEngine::new(manager.clone());
        Self { manager, foreign }
    }

    /// What calls it, unless it is known to keep no chain of ours.
    fn client(&self) -> Result<&BlockManagerClient, EngineError> {
        match self.manager.kind()? {
            EngineKind::BlockManager => {
                self.manager.client().map_err(|why| EngineError::Unavailable(why.to_string()))
            }
            EngineKind::Foreign => Err(EngineError::Elsewhere(format!(
                "the engine at {} keeps no chain of ours: set BLOCK_MANAGER_URL to the address of a block-manager",
                self.manager.url()
            ))),
        }
    }

    /// Whether the chain has a block, though it may be damaged or pruned there.
    fn has_block(&self, known: &KnownChain) -> Result<bool, EngineError> {
        let Err(error) = self.client()?.block_by_hash(known.block_hash) else { return Ok(true) };
        let there = error.refused().and_then(|refused| refused.details.get("height")?.as_u64());
        match error.code() {
            Some(ErrorCode::NotFound) => Ok(false),
            Some(ErrorCode::Gone) => Ok(true),
            _ if error.is_damage() && there == Some(known.block_index) => Ok(true),
            _ => Err(EngineError::Unavailable(error.to_string())),
        }
    }
}

impl AnchorEngine for HttpEngine {
    fn submit(&self, text: &str) -> Result<(), EngineError> {
        let client = self.client()?;
        let accepted = client.submit_transaction(text).map_err(|error| explain(&error))?;
        if accepted.status != TransactionStatus::Failed {
            return Ok(());
        }
        // It was let in before, and is in no block: waiting for it changes nothing.
        let state = client.transaction(&accepted.tx_id).map_err(|error| explain(&error))?;
        let why = state.reason.unwrap_or_else(|| "its block was made without it".to_owned());
        Err(EngineError::Refused(format!("transaction {} failed: {why}", accepted.tx_id)))
    }

    fn keeps(&self, known: &KnownChain) -> Result<bool, EngineError> {
        match self.confirmed(&known.transaction) {
            // What is damaged is the block's record; by its hash it is found all the same.
            Err(EngineError::Damaged(_)) => self.has_block(known),
            confirmed => Ok(confirmed?.is_some_and(|confirmed| {
                (confirmed.block_index, confirmed.block_hash)
                    == (known.block_index, known.block_hash)
            })),
        }
    }

    fn genesis(&self) -> Result<Option<BlockHash>, EngineError> {
        let info = self.client()?.chain_info();
        info.map(|info| info.genesis_hash)
            .map_err(|error| EngineError::Unavailable(error.to_string()))
    }

    fn confirmed(&self, transaction_id: &str) -> Result<Option<Confirmed>, EngineError> {
        match self.client()?.transaction_proof(transaction_id) {
            Ok(proof) => Ok(Some(confirmed(proof))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_damage() && !error.is_of_every_id() => {
                Err(EngineError::Damaged(error.to_string()))
            }
            Err(error) => Err(EngineError::Unavailable(error.to_string())),
        }
    }

    fn foreign(&self) -> Result<Option<&dyn ForeignEngine>, EngineError> {
        Ok(match self.manager.find_out()? {
            EngineKind::BlockManager => None,
            EngineKind::Foreign => Some(&self.foreign),
        })
    }
}

/// Refusals of the transaction itself are for good; of everything else, another try may do better.
fn explain(error: &ClientError) -> EngineError {
    match error.refused() {
        Some(_) if error.is_damage() => match error.is_of_every_id() {
            true => EngineError::Unavailable(error.to_string()),
            false => EngineError::Damaged(error.to_string()),
        },
        Some(refused) if is_passing_clash(refused.code) => {
            EngineError::Unavailable(refused.to_string())
        }
        Some(refused) if matches!(refused.status, 400 | 409 | 413 | 422) => {
            EngineError::Refused(refused.to_string())
        }
        _ => EngineError::Unavailable(error.to_string()),
    }
}

/// Whether it is about the block-manager, not about what was sent to it.
fn is_passing_clash(code: Option<ErrorCode>) -> bool {
    matches!(code, Some(ErrorCode::Running | ErrorCode::Role))
}

fn confirmed(proof: TransactionProof) -> Confirmed {
    let producer = proof.producer.zip(proof.signature);
    Confirmed {
        block_index: proof.block_index,
        block_hash: proof.block_hash,
        proof: AnchorInclusion {
            transaction: proof.transaction,
            position: proof.position,
            count: proof.count,
            path: proof.path,
            entry: proof.entry,
            producer: producer.map(|(key, signature)| Producer { key, signature }),
        },
    }
}
