//! Removes a session: what it had goes, and a signed tombstone stands in its place.

use lucid_core::claim::Claim as _;
use lucid_core::limits::REASON_BYTES_MAX;
use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::tombstone::Tombstone;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Removed};
use crate::opened::SessionLocks;
use crate::ops::OpError;
use crate::ops::look_again::look_again;
use crate::ops::sessions::get_session::find_session;
use crate::row::{self, SessionName, TombstoneRow};

/// Removes a session, sealed or not, unless it is held. Its id is never used again. Its chunks stay until
/// garbage is collected, and longer where other sessions refer to them. A session that is removed already
/// is answered as the first time, even if another reason is given now.
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
    let removed = look_again(|| remove(vault, key, now, id, reason))?;
    locks.forget_clock(id);
    Ok(removed)
}

fn remove(
    vault: &Vault,
    key: &SigningKey,
    now: Timestamp,
    id: &SessionId,
    reason: &str,
) -> Result<TombstoneRow, OpError> {
    let look = vault.look();
    let name = SessionName::of(vault.cipher(), id);
    if let Some(tombstone) = row::tombstone(&look, vault.cipher(), &name)? {
        return Ok(tombstone);
    }
    let session = find_session(&look, vault.cipher(), id)?;
    refuse_held(&look, vault.cipher(), &name, id)?;
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
    let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
    vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::default() })?;
    row::tombstone(vault.index(), vault.cipher(), &name)?
        .ok_or_else(|| OpError::Unsound(format!("session {id} was removed and has no tombstone")))
}

/// Refuses what would take something from a session that is held.
pub fn refuse_held(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
    id: &SessionId,
) -> Result<(), OpError> {
    match row::hold(index, cipher, name)? {
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
