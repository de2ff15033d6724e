//! Removes sessions whose time is over: those that were anchored long ago, if they are to be kept for so
//! many days only, and archives that were interrupted and never begun anew. What is held stays.
//!
//! Age is what the chain says ([`crate::ops::upkeep::count_age`]). An archive that was interrupted has none, so there
//! the clock counts, unless it is far ahead of everything that this store knows.

use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Removed};
use crate::opened::SessionLocks;
use crate::ops::OpError;
use crate::ops::look_again::look_again;
use crate::ops::sessions::get_session::find_session;
use crate::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use crate::ops::sessions::remove_session::remove_aged;
use crate::ops::upkeep::count_age::anchored_at;
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
    /// Sessions that were anchored long ago; each left a tombstone.
    pub retention: u64,
    /// Interrupted archives.
    pub interrupted: u64,
    /// Bytes of all of these, before deduplication.
    pub bytes: u64,
}

/// Whose time is over.
#[derive(Debug, Clone, Copy)]
pub struct Over {
    /// The clock.
    pub now: Timestamp,
    /// Sessions that were anchored before this are over.
    pub anchored_before: Option<Timestamp>,
    /// The same of sessions of the read log.
    pub log_anchored_before: Option<Timestamp>,
    /// The time of the block by which that is counted: what is kept until then is over, too.
    pub chain: Timestamp,
    /// Whether archives that were interrupted are.
    pub interrupted: Interrupted,
}

/// Which archives count as interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// None: the clock may be wrong.
    None,
    /// Those that began over a day ago.
    Old,
    /// Those, too, that began in the future, when the clock was wrong: on the caller's word.
    OldAndFuture,
}

impl Over {
    /// What sessions are over that are kept for so many days, when the chain says that it is `chain`.
    pub fn days(chain: Timestamp, keep_days: u32) -> Option<Timestamp> {
        (keep_days > 0).then(|| chain.plus_seconds(-DAY_SECONDS * i64::from(keep_days)))
    }

    fn a_day_ago(&self) -> Timestamp {
        self.now.plus_seconds(-INTERRUPTED_SECONDS)
    }

    /// One that lost facts to damage, or that is in a block, may have been sealed, and its seal cannot be
    /// read.
    fn is_interrupted(&self, locks: &SessionLocks, session: &SessionRow) -> bool {
        let began = session.started_at;
        let is_over = match self.interrupted {
            Interrupted::None => false,
            Interrupted::Old => began < self.a_day_ago(),
            Interrupted::OldAndFuture => {
                began < self.a_day_ago() || began > self.now.plus_seconds(INTERRUPTED_SECONDS)
            }
        };
        is_over
            && !locks.has_news(&session.id, self.a_day_ago())
            && session.one_shot
            && session.sealed.is_none()
            && !session.has_gap
            && session.anchored.is_none()
    }
}

/// Refuses to keep sessions for longer than can be counted.
pub fn check_days(keep_days: u32) -> Result<(), OpError> {
    if keep_days <= KEEP_DAYS_MAX {
        return Ok(());
    }
    Err(OpError::Invalid(format!(
        "sessions are kept for at most {KEEP_DAYS_MAX} days, or with 0 for ever; {keep_days} is more"
    )))
}

/// When the newest session was anchored, of those that were not in the future.
pub fn last_anchored(vault: &Vault, now: Timestamp) -> Result<Option<Timestamp>, OpError> {
    let mut last = None;
    each_session(vault, &mut |session| {
        if session.anchored.is_some() {
            let name = SessionName::of(vault.cipher(), &session.id);
            last = last.max(anchored_at(vault, &name)?.filter(|at| *at <= now));
        }
        Ok(())
    })?;
    Ok(last)
}

/// When the newest session began, of those that did not begin in the future.
pub fn last_begun(vault: &Vault, now: Timestamp) -> Result<Option<Timestamp>, OpError> {
    let filter = SessionFilter { to: Some(now), ..SessionFilter::default() };
    let page = list_sessions(vault, &filter, 1, None)?;
    Ok(page.sessions.first().map(|session| session.started_at))
}

fn each_session(
    vault: &Vault,
    visit: &mut dyn FnMut(&SessionRow) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut cursor = None;
    loop {
        // When they began tells nothing of when they end.
        let page = list_sessions(vault, &SessionFilter::default(), PAGE, cursor.as_deref())?;
        page.sessions.iter().try_for_each(&mut *visit)?;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// Removes them, or only counts them.
pub fn expire_sessions(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    over: &Over,
    dry_run: bool,
) -> Result<Expired, OpError> {
    if over.interrupted != Interrupted::None {
        locks.forget_news(over.a_day_ago());
    }
    let mut expired = Expired::default();
    each_session(vault, &mut |session| {
        let name = SessionName::of(vault.cipher(), &session.id);
        let until = row::retention(vault.index(), vault.cipher(), &name)?;
        if row::hold(vault.index(), vault.cipher(), &name)?.is_some() {
            return Ok(());
        }
        let is_kept = until.is_some_and(|until| until > over.chain);
        if !is_kept && is_aged(vault, session, &name, over)? {
            let times = (over.now, Some(over.chain));
            let gone =
                dry_run || tolerant(remove_aged(vault, locks, key, times, &session.id, RETENTION))?;
            expired.retention += u64::from(gone);
            expired.bytes += if gone { session.offset() } else { 0 };
        } else if until.is_none() && over.is_interrupted(locks, session) {
            let gone = dry_run || forget(vault, locks, &session.id, over)?;
            expired.interrupted += u64::from(gone);
            expired.bytes += if gone { session.offset() } else { 0 };
        }
        Ok(())
    })?;
    Ok(expired)
}

fn is_aged(
    vault: &Vault,
    session: &SessionRow,
    name: &SessionName,
    over: &Over,
) -> Result<bool, OpError> {
    let before = match session.id.is_reserved() {
        true => over.log_anchored_before,
        false => over.anchored_before,
    };
    let Some(before) = before.filter(|_| session.anchored.is_some()) else {
        return Ok(false);
    };
    Ok(anchored_at(vault, name)?.is_some_and(|anchored| anchored < before))
}

/// Whether it was removed; that it was held just now is no failure.
fn tolerant<T>(outcome: Result<T, OpError>) -> Result<bool, OpError> {
    match outcome {
        Ok(_) => Ok(true),
        Err(
            OpError::Held { .. }
            | OpError::Retained { .. }
            | OpError::NoSession(_)
            | OpError::Removed(_),
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes an interrupted archive away without a trace: it was never sealed, so nobody was promised
/// anything, and its id may be used for an archive again.
fn forget(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    over: &Over,
) -> Result<bool, OpError> {
    let _held = locks.hold(id);
    look_again(|| {
        let look = vault.look();
        let name = SessionName::of(vault.cipher(), id);
        let session = match find_session(&look, vault.cipher(), id) {
            Ok(session) => session,
            error => return tolerant(error),
        };
        let is_held = row::hold(&look, vault.cipher(), &name)?.is_some()
            || row::retention(&look, vault.cipher(), &name)?.is_some();
        // It may have been begun anew, sealed or held since it was looked at.
        if is_held || !over.is_interrupted(locks, &session) {
            return Ok(false);
        }
        let fact = Fact::Removed(Removed { session: id.clone(), tombstone: None });
        let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
        vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::upkeep() })?;
        Ok(true)
    })
}
