//! Removes sessions whose time is over: those that ended long ago, if they are to be kept for so many
//! days only, and archives that were interrupted and never begun anew. What is held stays.

use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use super::list_sessions::{SessionFilter, get_session, list_sessions};
use super::remove_session::remove_session;
use crate::fact::{Fact, Removed};
use crate::opened::SessionLocks;
use crate::row::{self, SessionName, SessionRow};

/// What the tombstone of a session says that was kept for as long as it was to be kept.
pub const RETENTION: &str = "retention";
/// An archive that has sealed nothing for so long was interrupted, and nobody came back; one that still
/// comes in is none.
const INTERRUPTED_SECONDS: i64 = 24 * 3_600;
/// The longest that sessions can be kept for; a hundred years are as good as for ever.
pub const KEEP_DAYS_MAX: u32 = 36_500;
const DAY_SECONDS: i64 = 24 * 3_600;
/// Sessions looked at in one go.
const PAGE: usize = 256;

/// How many sessions are gone, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Sessions that ended long ago; each left a tombstone.
    pub retention: u64,
    /// Interrupted archives.
    pub interrupted: u64,
    /// Bytes of all of these, before deduplication.
    pub bytes: u64,
}

/// Removes them, or only counts them. `keep_days` of zero keeps sealed sessions for ever.
pub fn expire_sessions(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    now: Timestamp,
    keep_days: u32,
    dry_run: bool,
) -> Result<Expired, OpError> {
    if keep_days > KEEP_DAYS_MAX {
        return Err(OpError::Invalid(format!(
            "sessions are kept for at most {KEEP_DAYS_MAX} days, or with 0 for ever; {keep_days} is more"
        )));
    }
    let interrupted_before = now.plus_seconds(-INTERRUPTED_SECONDS);
    locks.forget_news(interrupted_before);
    let kept_since = match keep_days {
        0 => None,
        days => Some(now.plus_seconds(-DAY_SECONDS * i64::from(days))),
    };
    // Nothing ends before it began.
    let to = kept_since.map_or(interrupted_before, |since| since.max(interrupted_before));
    let filter = SessionFilter { to: Some(to), ..SessionFilter::default() };
    let mut expired = Expired::default();
    let mut cursor = None;
    loop {
        let page = list_sessions(vault, &filter, PAGE, cursor.as_deref())?;
        for session in &page.sessions {
            let name = SessionName::of(vault.sealer(), &session.id);
            if row::hold(vault.index(), vault.sealer(), &name)?.is_some() {
                continue;
            }
            let ended = session.sealed.as_ref().map(|sealed| sealed.ended_at);
            if ended.zip(kept_since).is_some_and(|(ended, since)| ended < since) {
                let gone = dry_run
                    || tolerant(remove_session(vault, locks, key, now, &session.id, RETENTION))?;
                expired.retention += u64::from(gone);
                expired.bytes += if gone { session.offset() } else { 0 };
            } else if is_interrupted(locks, session, interrupted_before) {
                let gone = dry_run || forget(vault, locks, &session.id, interrupted_before)?;
                expired.interrupted += u64::from(gone);
                expired.bytes += if gone { session.offset() } else { 0 };
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(expired),
        }
    }
}

/// Whether it was removed; that it was held just now is no failure.
fn tolerant<T>(outcome: Result<T, OpError>) -> Result<bool, OpError> {
    match outcome {
        Ok(_) => Ok(true),
        Err(OpError::Held { .. } | OpError::NoSession(_) | OpError::Removed(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// One that lost facts to damage, or that is in a block, may have been sealed, and its seal cannot be read.
fn is_interrupted(locks: &SessionLocks, session: &SessionRow, before: Timestamp) -> bool {
    session.one_shot
        && session.sealed.is_none()
        && !session.has_gap
        && session.anchored.is_none()
        && session.started_at < before
        && !locks.has_news(&session.id, before)
}

/// Takes an interrupted archive away without a trace: it was never sealed, so nobody was promised
/// anything, and whoever archives under its id again may.
fn forget(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    before: Timestamp,
) -> Result<bool, OpError> {
    let _held = locks.hold(id);
    let name = SessionName::of(vault.sealer(), id);
    let session = match get_session(vault, id) {
        Ok(session) => session,
        error => return tolerant(error),
    };
    let is_held = row::hold(vault.index(), vault.sealer(), &name)?.is_some();
    // It may have been begun anew, sealed or held since it was looked at.
    if is_held || !is_interrupted(locks, &session, before) {
        return Ok(false);
    }
    let fact = Fact::Removed(Removed { session: id.clone(), tombstone: None });
    let fact = vault.fact(&mut Packer::new(), fact.encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::default() })?;
    Ok(true)
}
