//! Verifies single chunks, and remembers what verifications found.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use super::find_chunk::{find_chunk, read_found};
use crate::fact::{Fact, Verified};
use crate::row::Notes;

/// Reads a chunk, which holds it against its hash, and remembers the outcome. Damage is an outcome; a
/// chunk that is not there is an error.
pub fn verify_chunk(
    vault: &Vault,
    called: &str,
    session: Option<&SessionId>,
    now: Timestamp,
) -> Result<Verified, OpError> {
    let found = find_chunk(vault, called, session, now)?;
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
    remember(vault, verified.clone())?;
    Ok(verified)
}

/// Remembers an outcome; the oldest are forgotten.
pub fn remember(vault: &Vault, outcome: Verified) -> Result<(), OpError> {
    // A store that is read only is verified all the same, and cannot remember.
    if vault.read_only().is_some() {
        return Ok(());
    }
    let fact = vault.fact(&mut Packer::new(), Fact::Verified(outcome).encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::default() })?;
    Ok(())
}

/// The latest outcomes, the newest first; of one subject, or of all.
pub fn verifications(
    vault: &Vault,
    subject: Option<&str>,
    limit: usize,
) -> Result<Vec<Verified>, OpError> {
    let (from, to) = Notes::verified_range();
    let mut found = Vec::new();
    // They are few: the projection keeps a thousand.
    for (key, value) in vault.index().scan(&from, &to, usize::MAX, true)? {
        let bytes = vault.sealer().open_value(&key, value)?;
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
