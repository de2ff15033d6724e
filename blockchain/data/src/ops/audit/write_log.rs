//! Writes the read log: lines into the session of the day, which is sealed when the day is over.
//!
//! Invariant: a session of the log has whole lines, whatever happens: each piece that is written is one commit.

use std::collections::BTreeMap;

use lucid_core::cut::{AVERAGE_BYTES_MIN, ChunkProfile};
use lucid_core::session::{Layout, SessionId};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::clock::Moment;
use lucid_store::vault::Vault;

use super::list_log::list_log;
use super::{LOG_PREFIX, LOG_USER};
use crate::opened::SessionLocks;
use crate::ops::OpError;
use crate::ops::chunks::store_chunks::StorageOptions;
use crate::ops::sessions::append_stream::{StreamPiece, append_own};
use crate::ops::sessions::create_session::{NewSession, create_own};
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::seal_session::{SealRequest, seal_own};
use crate::ops::sight::Sight;
use crate::row::SessionRow;

/// What tells in the metadata which store a session is of.
const COPY: &str = "copy";
/// Characters of a store's id that tell its log from those of others.
const COPY_CHARS: usize = 8;
/// Sessions of one day: one, and another for each time that the clock came back to it.
const SESSIONS_A_DAY_MAX: u32 = 10_000;

/// Where the log is written.
#[derive(Clone, Copy)]
pub struct LogPlace<'a> {
    /// The store.
    pub vault: &'a Vault,
    /// Who writes what.
    pub locks: &'a SessionLocks,
    /// Signs what is sealed.
    pub key: &'a SigningKey,
    /// How chunks are kept.
    pub storage: StorageOptions,
}

/// Whether a session would be one of the log of this store (its id in hex).
pub fn is_of_store(id: &SessionId, store: &str) -> bool {
    let copy: String = store.chars().take(COPY_CHARS).collect();
    copy_of(id).is_some_and(|(_, of)| of == copy)
}

/// The day and the copy of a session of the log.
fn copy_of(id: &SessionId) -> Option<(&str, &str)> {
    let (day, rest) = id.as_str().strip_prefix(LOG_PREFIX)?.split_at_checked(10)?;
    let copy = rest.strip_prefix('.')?;
    Some((day, copy.split_once('.').map_or(copy, |(copy, _)| copy)))
}

/// The log of one store, as far as it is written.
#[derive(Debug)]
pub struct LogWriter {
    /// What its sessions have behind the day.
    copy: String,
    open: Option<OpenDay>,
    /// Sessions whose day is over.
    over: Vec<SessionId>,
}

#[derive(Debug)]
struct OpenDay {
    day: String,
    id: SessionId,
    offset: u64,
}

impl LogWriter {
    /// Of the store of this id (in hex).
    pub fn new(store: &str) -> Self {
        let copy = store.chars().take(COPY_CHARS).collect();
        Self { copy, open: None, over: Vec::new() }
    }

    /// Writes whole lines; durable on return.
    pub fn write(&mut self, at: LogPlace<'_>, now: Moment, lines: &[u8]) -> Result<(), OpError> {
        let open = self.open(at, now.wall)?;
        let piece = StreamPiece { offset: open.offset, bytes: lines, recorded: None };
        match append_own(at.vault, at.locks, at.storage, now, &open.id, piece) {
            Ok(position) => {
                open.offset = position.offset;
                Ok(())
            }
            Err(error) => {
                // Whether it was written is looked at next time.
                self.open = None;
                Err(error)
            }
        }
    }

    /// Seals what is over; says whether anything was. What cannot be sealed is tried again the next time.
    pub fn turn(&mut self, at: LogPlace<'_>, now: Moment) -> Result<bool, OpError> {
        let today = day_of(now.wall);
        if let Some(ended) = self.open.take_if(|open| open.day != today) {
            self.over.push(ended.id);
        }
        let (before, mut failed) = (self.over.len(), None);
        self.over.retain(|id| {
            let request = SealRequest::default();
            match seal_own(at.vault, at.locks, at.key, at.storage, now, id, &request) {
                Ok(_) | Err(OpError::Removed(_) | OpError::NoSession(_)) => false,
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }
        });
        failed.map_or(Ok(self.over.len() < before), Err)
    }

    /// Finds sessions of this log that were left open by a service that ended on an earlier day.
    pub fn find_left(&mut self, vault: &Vault, now: Timestamp) -> Result<(), OpError> {
        let today = day_of(now);
        let is_over = |id: &SessionId| {
            copy_of(id).is_some_and(|(day, copy)| day != today && copy == self.copy)
        };
        let left = list_log(vault)?.into_iter();
        let left = left.filter(|session| session.sealed.is_none() && self.is_ours(session));
        let left = left.map(|session| session.id).filter(is_over);
        let new: Vec<_> = left.filter(|id| !self.over.contains(id)).collect();
        self.over.extend(new);
        Ok(())
    }

    /// The session of the day, begun if need be.
    fn open(&mut self, at: LogPlace<'_>, now: Timestamp) -> Result<&mut OpenDay, OpError> {
        let day = day_of(now);
        if let Some(ended) = self.open.take_if(|open| open.day != day) {
            self.over.push(ended.id);
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin(at, now, day)?,
        };
        Ok(self.open.insert(open))
    }

    fn begin(&self, at: LogPlace<'_>, now: Timestamp, day: String) -> Result<OpenDay, OpError> {
        for number in 1..=SESSIONS_A_DAY_MAX {
            let again = if number == 1 { String::new() } else { format!(".{number}") };
            let id: SessionId = format!("{LOG_PREFIX}{day}.{}{again}", self.copy)
                .parse()
                .map_err(|fault| OpError::Fault(format!("a session of the log: {fault}")))?;
            let offset = match get_session(at.vault, &id) {
                // The clock came back to a day that was over, or it is not what we begin.
                Ok(session) if session.sealed.is_some() || self.over.contains(&id) => continue,
                Ok(session) if !self.is_ours(&session) => continue,
                Err(OpError::Removed(_)) => continue,
                Ok(session) => session.offset(),
                Err(OpError::NoSession(_)) => {
                    create_own(at.vault, at.locks, self.session(&id, &day, now)?)?;
                    0
                }
                Err(error) => return Err(error),
            };
            at.locks.keep_for_log(&id);
            return Ok(OpenDay { day, id, offset });
        }
        Err(OpError::Fault(format!("{day} has {SESSIONS_A_DAY_MAX} sessions of the read log")))
    }

    /// Whether a session is one that this log begins.
    fn is_ours(&self, session: &SessionRow) -> bool {
        session.user == LOG_USER
            && session.layout == Layout::Raw
            && session.secret.is_some()
            && !session.one_shot
            && session.metadata.get(COPY) == Some(&self.copy)
    }

    fn session(&self, id: &SessionId, day: &str, now: Timestamp) -> Result<NewSession, OpError> {
        let metadata = [("day", day), (COPY, self.copy.as_str())];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(NewSession {
            id: Some(id.clone()),
            user: LOG_USER.to_owned(),
            layout: Layout::Raw,
            public: false,
            profile: ChunkProfile::content_defined(AVERAGE_BYTES_MIN)
                .map_err(|fault| OpError::Fault(fault.to_string()))?,
            metadata: BTreeMap::from(metadata),
            started_at: now,
            one_shot: false,
            own_copies: false,
            sight: Sight::everything(),
            retain_until: None,
            source: None,
            terminal: None,
        })
    }
}

/// The day of a time in UTC: `2026-11-30`.
pub fn day_of(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
