//! Forbids to remove a session, and allows it again; or keeps it until a time.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Look;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Held, Released, Retained};
use crate::opened::SessionLocks;
use crate::ops::OpError;
use crate::ops::look_again::look_again;
use crate::ops::sessions::get_session::find_session;
use crate::ops::sessions::remove_session::check_reason;
use crate::row::{self, SessionName, SessionRow};

/// Holds a session. One that is held already stays held since then, for the reason given last.
pub fn hold_session(
    vault: &Vault,
    locks: &SessionLocks,
    now: Timestamp,
    id: &SessionId,
    reason: &str,
) -> Result<SessionRow, OpError> {
    check_reason(reason)?;
    let _held = locks.hold(id);
    look_again(|| {
        let look = vault.look();
        let session = find_session(&look, vault.cipher(), id)?;
        let known = row::hold(&look, vault.cipher(), &SessionName::of(vault.cipher(), id))?;
        if known.as_ref().is_none_or(|known| known.reason != reason) {
            let since = known.map_or(now, |known| known.since);
            let held = Held { session: id.clone(), reason: reason.to_owned(), since };
            commit(vault, look, &Fact::Held(held))?;
        }
        Ok(session)
    })
}

/// Releases a session. One that is not held stays as it is.
pub fn release_session(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
) -> Result<SessionRow, OpError> {
    let _held = locks.hold(id);
    look_again(|| {
        let look = vault.look();
        let session = find_session(&look, vault.cipher(), id)?;
        let name = SessionName::of(vault.cipher(), id);
        if row::hold(&look, vault.cipher(), &name)?.is_some() {
            commit(vault, look, &Fact::Released(Released { session: id.clone() }))?;
        }
        Ok(session)
    })
}

/// Keeps a session until a time, by the chain's. What was said before is extended, and never shortened.
pub fn retain_session(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    until: Timestamp,
) -> Result<SessionRow, OpError> {
    let (session, kept) = extend(vault, locks, id, until)?;
    if kept > until {
        return Err(OpError::Invalid(format!(
            "retain_until is {until}, and session {id} is kept until {kept}: that is extended, and never \
             shortened"
        )));
    }
    Ok(session)
}

/// Keeps a session at least until a time. One that is kept for longer stays as it is.
pub fn retain_at_least(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    until: Timestamp,
) -> Result<(), OpError> {
    extend(vault, locks, id, until).map(drop)
}

/// Says until when it is kept then.
fn extend(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    until: Timestamp,
) -> Result<(SessionRow, Timestamp), OpError> {
    let _held = locks.hold(id);
    look_again(|| {
        let look = vault.look();
        let session = find_session(&look, vault.cipher(), id)?;
        let name = SessionName::of(vault.cipher(), id);
        match row::retention(&look, vault.cipher(), &name)? {
            Some(known) if known >= until => Ok((session, known)),
            _ => {
                let retained = Retained { session: id.clone(), until };
                commit(vault, look, &Fact::Retained(retained))?;
                Ok((session, until))
            }
        }
    })
}

fn commit(vault: &Vault, look: Look<'_>, fact: &Fact) -> Result<(), OpError> {
    let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
    vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::upkeep() })?;
    Ok(())
}
