//! Brings anchors to the engine, and their proofs back.
//!
//! Delivery is at least once: a sealed session stays in the queue until its proof is stored, and
//! everything here may be repeated after a crash.

use lucid_core::session::SessionId;
use lucid_core::transaction::Transaction;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use crate::anchoring::{AnchorEngine, EngineError};
use crate::fact::{Anchored, Fact};
use crate::row::{self, SessionName};

/// What one round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Sessions whose proof is stored now.
    pub anchored: Vec<SessionId>,
    /// Sessions whose anchor was handed over and is not committed yet.
    pub waiting: Vec<SessionId>,
    /// Sessions whose anchor could not be handed over, and why.
    pub failed: Vec<(SessionId, String)>,
}

/// Sessions looked at in one round.
const ROUND: usize = 1_000;

/// Submits every anchor that waits, and stores every proof that is ready.
pub fn deliver_anchors(vault: &Vault, engine: &dyn AnchorEngine) -> Result<Delivered, OpError> {
    let (from, to) = row::unanchored_range();
    let mut delivered = Delivered::default();
    for (key, _) in vault.index().scan(&from, &to, ROUND, false)? {
        let Some(name) = row::name_in(&key) else { continue };
        let Some(session) = row::session(vault.index(), vault.sealer(), &name)? else { continue };
        match deliver(vault, engine, &name, &session.id) {
            Ok(true) => delivered.anchored.push(session.id),
            Ok(false) => delivered.waiting.push(session.id),
            Err(Undelivered::Engine(EngineError::Unavailable(why))) => {
                delivered.failed.push((session.id, why));
                // Whoever cannot be reached for one cannot be reached for the next.
                break;
            }
            Err(Undelivered::Engine(error)) => {
                delivered.failed.push((session.id, error.to_string()));
            }
            Err(Undelivered::Op(error)) => return Err(error),
        }
    }
    Ok(delivered)
}

enum Undelivered {
    Engine(EngineError),
    Op(OpError),
}

impl<E: Into<OpError>> From<E> for Undelivered {
    fn from(error: E) -> Self {
        Self::Op(error.into())
    }
}

/// One session's anchor: `true` once its proof is stored.
fn deliver(
    vault: &Vault,
    engine: &dyn AnchorEngine,
    name: &SessionName,
    id: &SessionId,
) -> Result<bool, Undelivered> {
    let text = anchor_text(vault, name)?;
    let transaction = Transaction::parse(text.as_bytes())
        .map_err(|fault| OpError::Invalid(format!("the anchor of session {id}: {fault}")))?;
    let mut confirmed = engine.confirmed(transaction.id()).map_err(Undelivered::Engine)?;
    if confirmed.is_none() {
        engine.submit(&text).map_err(Undelivered::Engine)?;
        confirmed = engine.confirmed(transaction.id()).map_err(Undelivered::Engine)?;
    }
    let Some(confirmed) = confirmed else { return Ok(false) };
    if confirmed.proof.transaction != text {
        let why = "another transaction is in the chain under the anchor's id".to_owned();
        return Err(Undelivered::Engine(EngineError::Refused(why)));
    }
    let fact = Fact::Anchored(Anchored {
        session: id.clone(),
        block_index: confirmed.block_index,
        block_hash: confirmed.block_hash,
        proof: confirmed.proof.encode(),
    });
    let fact = vault.fact(&mut Packer::new(), fact.encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::default() })?;
    Ok(true)
}

/// The text of a sealed session's anchor transaction.
pub fn anchor_text(vault: &Vault, name: &SessionName) -> Result<String, OpError> {
    let value = vault.index().get(&name.anchor_key())?.unwrap_or_default();
    let bytes = vault.sealer().open_value(value)?;
    String::from_utf8(bytes).map_err(|_| OpError::Invalid("the anchor is not text".into()))
}
