//! Verifies single chunks, and remembers what verifications found.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Verified};
use crate::ops::OpError;
use crate::ops::chunks::find_chunk::{find_seen_chunk, read_found};
use crate::ops::sight::Sight;
use crate::row::NoteBounds;

/// Reads a chunk, which holds it against its hash, and remembers the outcome. Damage is an outcome; a
/// chunk that is not there, or cannot be read for another reason, is an error.
pub fn verify_chunk(
    vault: &Vault,
    sight: &Sight,
    called: &str,
    session: Option<&SessionId>,
    now: Timestamp,
) -> Result<Verified, OpError> {
    let found = find_seen_chunk(vault, sight, called, session, now)?;
    let reason = match read_found(vault, &found) {
        Ok(_) => String::new(),
        Err(OpError::Store(lucid_store::StoreError::Damaged(damage))) => damage.to_string(),
        Err(error @ OpError::NoChunk(_)) => error.to_string(),
        Err(error) => return Err(error),
    };
    let verified = Verified {
        at: now,
        subject: called.to_owned(),
        is_session: false,
        verified: reason.is_empty(),
        reason,
    };
    Ok(remember(vault, verified))
}

/// Remembers an outcome; the oldest are forgotten. The caller gets the outcome even if remembering it
/// fails: its reason says so then.
pub fn remember(vault: &Vault, mut outcome: Verified) -> Verified {
    // A store that is read only is verified all the same, and cannot remember.
    if vault.read_only().is_some() {
        return outcome;
    }
    if let Err(error) = write(vault, outcome.clone()) {
        tracing::warn!(subject = outcome.subject, %error, "a verification is not remembered");
        let between = if outcome.reason.is_empty() { "" } else { "; " };
        outcome.reason.push_str(&format!("{between}this is not remembered: {error}"));
    }
    outcome
}

fn write(vault: &Vault, outcome: Verified) -> Result<(), OpError> {
    let fact = vault.fact(&mut Packer::new(), Fact::Verified(outcome).encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::upkeep() })?;
    Ok(())
}

/// The latest outcomes, the newest first; of one subject, or of all.
pub fn verifications(
    vault: &Vault,
    subject: Option<&str>,
    limit: usize,
) -> Result<Vec<Verified>, OpError> {
    let (from, to) = NoteBounds::verified_range();
    let mut found = Vec::new();
    // They are few: the projection keeps a thousand.
    for (key, value) in vault.index().scan(&from, &to, usize::MAX, true)? {
        let bytes = vault.cipher().decrypt_value(&key, value)?;
        let Ok(Fact::Verified(outcome)) = Fact::decode(&bytes) else {
            return Err(OpError::Unsound("a remembered verification is none; reindex".into()));
        };
        if subject.is_none_or(|subject| subject == outcome.subject) {
            found.push(outcome);
        }
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}
