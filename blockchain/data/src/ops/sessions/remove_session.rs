//! Removes a session: what it had goes, and a signed tombstone stands in its place.

use lucid_core::claim::Claim as _;
use lucid_core::limits::REASON_BYTES_MAX;
use lucid_core::retention::RetentionRun;
use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::tombstone::Tombstone;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::anchoring::AnchorEngine;
use crate::fact::{Fact, Removed};
use crate::opened::SessionLocks;
use crate::ops::OpError;
use crate::ops::audit::refuse_reserved;
use crate::ops::look_again::look_again;
use crate::ops::sessions::get_session::find_session;
use crate::ops::upkeep::count_age::{ask_the_chain, is_step};
use crate::ops::upkeep::expire_sessions::last_anchored;
use crate::row::{self, SessionName, TombstoneRow};

/// Removes a session, sealed or not, unless it is held, or kept until a time that has not come. That it has, only the
/// chain's time says: `chain` is the time of a block that was made just now, if one was. Its id is never used again.
/// Its chunks stay until garbage is collected, and longer where other sessions refer to them. A session that is
/// removed already is answered as the first time, even if another reason is given now.
pub fn remove_session(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    (now, chain): (Timestamp, Option<Timestamp>),
    id: &SessionId,
    reason: &str,
) -> Result<TombstoneRow, OpError> {
    refuse_reserved(id)?;
    remove_aged(vault, locks, key, (now, chain), id, reason)
}

/// The same, for sessions that the service keeps itself, too: only age removes those.
pub(in crate::ops) fn remove_aged(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    (now, chain): (Timestamp, Option<Timestamp>),
    id: &SessionId,
    reason: &str,
) -> Result<TombstoneRow, OpError> {
    check_reason(reason)?;
    let _held = locks.hold(id);
    let removed = look_again(|| remove(vault, key, (now, chain), id, reason))?;
    locks.forget_clock(id);
    Ok(removed)
}

fn remove(
    vault: &Vault,
    key: &SigningKey,
    (now, chain): (Timestamp, Option<Timestamp>),
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
    refuse_retained(&look, vault.cipher(), &name, id, chain)?;
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
    vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::upkeep() })?;
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

/// Refuses what would remove a session before its time, as far as the chain tells that.
fn refuse_retained(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
    id: &SessionId,
    chain: Option<Timestamp>,
) -> Result<(), OpError> {
    match row::retention(index, cipher, name)? {
        Some(until) if chain.is_none_or(|chain| chain < until) => {
            Err(OpError::Retained { session: id.clone(), until })
        }
        _ => Ok(()),
    }
}

/// Removes a session like [`remove_session`]. Of one whose time seems to be over by the clock, the chain is asked: by
/// a block that is made for that, and waited for.
pub fn remove_in_its_time(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    engine: Option<&dyn AnchorEngine>,
    now: Timestamp,
    id: &SessionId,
    reason: &str,
) -> Result<TombstoneRow, OpError> {
    let refused = match remove_session(vault, locks, key, (now, None), id, reason) {
        Err(OpError::Retained { session, until }) => OpError::Retained { session, until },
        removed => return removed,
    };
    let OpError::Retained { until, .. } = &refused else { return Err(refused) };
    let until = *until;
    let Some(engine) = engine.filter(|_| until <= now) else { return Err(refused) };
    // A clock that is far ahead ends no session's time.
    let anchored = last_anchored(vault, now)?;
    let is_doubted = |at| anchored.is_none_or(|anchored| is_step(anchored, at));
    if is_doubted(now) {
        return Err(refused);
    }
    let run = RetentionRun { keep_days: 0, timestamp: now };
    match ask_the_chain(vault, key, engine, run, &mut || true)? {
        Some(chain) if !is_doubted(chain) => {
            remove_session(vault, locks, key, (now, Some(chain)), id, reason)
        }
        _ => Err(refused),
    }
}

/// What a reason may be.
pub fn check_reason(reason: &str) -> Result<(), OpError> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(OpError::Invalid(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(())
}
