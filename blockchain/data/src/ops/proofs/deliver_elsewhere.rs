//! Brings roots to an engine that keeps no chain of ours, and its words back.
//!
//! Only sessions that are in no block, and that no such engine has, are brought to it: the queue that
//! [`deliver_anchors`](super::deliver_anchors) goes through first. What the engine says takes a session out of that
//! queue and into the next one, so a block-manager that is named later brings it into a block all the same. Tombstones
//! wait for that: such an engine has no word for them.

use lucid_core::anchor::Anchor;
use lucid_core::claim::Signed;
use lucid_core::session::SessionId;
use lucid_core::sign::PublicKey;
use lucid_core::transaction::Transaction;
use lucid_store::CommitError;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use super::deliver_anchors::{Delivered, Undelivered, deliver_range, waiting_anchor};
use crate::anchoring::{EngineError, ForeignEngine};
use crate::fact::{AnchoredElsewhere, Fact};
use crate::ops::OpError;
use crate::row::{self, SessionName};

/// Has every root anchored that waits, and keeps what the engine says of those that are. An engine that cannot be used
/// ends the round.
pub fn deliver_elsewhere(
    vault: &Vault,
    own: &PublicKey,
    engine: &dyn ForeignEngine,
) -> Result<Delivered, OpError> {
    let mut round = Delivered::default();
    let mut deliver = |id: &SessionId, text: &str| deliver(vault, engine, id, text);
    let range = row::unanchored_range();
    deliver_range((vault, own), range, waiting_anchor, &mut deliver, &mut round)?;
    let Delivered { anchored: elsewhere, waiting, failed, .. } = round;
    Ok(Delivered { elsewhere, waiting, failed, ..Delivered::default() })
}

/// One session's root: `true` once the engine's words are kept.
fn deliver(
    vault: &Vault,
    engine: &dyn ForeignEngine,
    id: &SessionId,
    text: &str,
) -> Result<bool, Undelivered> {
    let look = vault.look();
    let name = SessionName::of(vault.cipher(), id);
    row::session(&look, vault.cipher(), &name)?;
    row::elsewhere(&look, vault.cipher(), &name)?;
    let damaged = |fault: &dyn std::fmt::Display| {
        let why = format!("the transaction of session {id}: {fault}");
        Undelivered::Engine(EngineError::Damaged(why))
    };
    let transaction = Transaction::parse(text.as_bytes()).map_err(|fault| damaged(&fault))?;
    let signed = Signed::<Anchor>::parse(&transaction).map_err(|fault| damaged(&fault))?;
    let words = engine.anchor(&signed.claim, text).map_err(Undelivered::Engine)?;
    let Some(words) = words else { return Ok(false) };
    let fact = Fact::Elsewhere(AnchoredElsewhere { session: id.clone(), words });
    let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
    match vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::upkeep() }) {
        Ok(_) => Ok(true),
        // The session was removed, or is in a block: the next round tells.
        Err(CommitError::Overtaken(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
