//! Removes a session: what it had goes, and a signed tombstone stands in its place.

use lucid_core::limits::REASON_BYTES_MAX;
use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::tombstone::Tombstone;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use super::list_sessions::get_session;
use crate::fact::{Fact, Removed};
use crate::opened::SessionLocks;
use crate::row::{self, SessionName, TombstoneRow};

/// Removes a session, sealed or not, unless it is held. Its id is never used again. Its chunks stay until
/// garbage is collected, and longer where other sessions refer to them. A session that is removed already
/// is answered as the first time, whatever the reason.
pub fn remove_session(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    now: Timestamp,
    id: &SessionId,
    reason: &str,
) -> Result<TombstoneRow, OpError> {
    check_reason(reason)?;
    let _held = locks.hold(id);
    let name = SessionName::of(vault.sealer(), id);
    let find = || row::tombstone(vault.index(), vault.sealer(), &name);
    if let Some(tombstone) = find()? {
        return Ok(tombstone);
    }
    let session = get_session(vault, id)?;
    refuse_held(vault, &name, id)?;
    let tombstone = Tombstone {
        session_id: id.clone(),
        timestamp: now,
        merkle_root: session.sealed.as_ref().map_or_else(|| session.root(), |sealed| sealed.root),
        reason: reason.to_owned(),
    };
    let transaction = tombstone.sign(key).map_err(|fault| OpError::Invalid(fault.to_string()))?;
    let fact = Fact::Removed(Removed {
        session: id.clone(),
        tombstone: Some(transaction.text().to_owned()),
    });
    let fact = vault.fact(&mut Packer::new(), fact.encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::default() })?;
    find()?
        .ok_or_else(|| OpError::Unsound(format!("session {id} was removed and has no tombstone")))
}

/// Refuses what would take something from a session that is held. The caller holds its lock.
pub fn refuse_held(vault: &Vault, name: &SessionName, id: &SessionId) -> Result<(), OpError> {
    match row::hold(vault.index(), vault.sealer(), name)? {
        Some(hold) => Err(OpError::Held { session: id.clone(), reason: hold.reason }),
        None => Ok(()),
    }
}

/// What a reason may be.
pub fn check_reason(reason: &str) -> Result<(), OpError> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(OpError::Invalid(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(())
}
