//! Looks for entries of the read log: by who asked, about which session, and when.
//!
//! The log is read from its first day that may have such an entry, piece by piece, so memory does not depend on how
//! long it is. Entries come as they are kept, so that they can be held against a proof of their session.

use std::collections::HashMap;

use lucid_api::v1::audit::{AuditEnd, AuditEntry, AuditKind};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;

use super::LOG_PREFIX;
use super::list_log::list_log;
use super::write_log::day_of;
use crate::opened::SessionLocks;
use crate::ops::OpError;
use crate::ops::chunks::missing_chunks::has;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::read_session::{StoredSession, read_range};
use crate::row::SessionRow;
use crate::source::SessionSource as _;

/// Chunks of which it is kept in mind whether the session has them.
const CHUNKS_KNOWN_MAX: usize = 1 << 16;
const DAY_SECONDS: i64 = 86_400;

/// Which entries are wanted; what is not set does not matter.
#[derive(Debug, Clone, Default)]
pub struct WantedEntries {
    /// Those of this caller.
    pub caller: Option<String>,
    /// Those about this session.
    pub session: Option<SessionId>,
    /// Not made before this.
    pub from: Option<Timestamp>,
    /// Made before this.
    pub to: Option<Timestamp>,
    /// Those that were refused, or those that were not.
    pub refused: Option<bool>,
}

/// What is found, or come upon.
#[derive(Debug)]
pub enum FoundEntry<'a> {
    /// An entry, as it is kept, without the end of its line.
    Entry(&'a [u8]),
    /// More of the log was looked at.
    Looking,
}

/// Gives the entries to `visit`, in the order in which they were made; a line that cannot be read ends it.
pub fn find_entries(
    vault: &Vault,
    locks: &SessionLocks,
    wanted: &WantedEntries,
    visit: &mut dyn FnMut(FoundEntry<'_>) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut search = Search::new(vault, wanted)?;
    for session in list_log(vault)? {
        if !search.may_be_in(&session.id) {
            continue;
        }
        let read = read_lines(vault, locks, &session.id, &mut |found| match found {
            FoundEntry::Entry(line) => search.look(&session.id, line, visit),
            FoundEntry::Looking => visit(FoundEntry::Looking),
        });
        match read {
            // It is over, and was removed just now.
            Err(OpError::Removed(_) | OpError::NoSession(_)) => {}
            read => read?,
        }
    }
    Ok(())
}

/// Gives all entries of one session of the log to `visit`, whether they can be read or not.
pub fn read_lines(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    visit: &mut dyn FnMut(FoundEntry<'_>) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let source = StoredSession::open_live(vault, locks, id)?;
    let mut begun = Vec::new();
    read_range(&source, 0..source.shape().content_bytes, |bytes| {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if begun.is_empty() {
                visit(FoundEntry::Entry(line))?;
            } else {
                begun.extend_from_slice(line);
                visit(FoundEntry::Entry(&begun))?;
                begun.clear();
            }
        }
        begun.extend_from_slice(rest);
        visit(FoundEntry::Looking)
    })?;
    if begun.is_empty() { Ok(()) } else { Err(unreadable(id, "its last line does not end")) }
}

struct Search<'a> {
    vault: &'a Vault,
    wanted: &'a WantedEntries,
    /// Days of sessions in which there may be such entries.
    days: (Option<String>, Option<String>),
    /// The session that is asked about, if it is there.
    about: Option<SessionRow>,
    /// Whether that has a chunk.
    chunks: HashMap<String, bool>,
}

impl<'a> Search<'a> {
    fn new(vault: &'a Vault, wanted: &'a WantedEntries) -> Result<Self, OpError> {
        let about = match wanted.session.as_ref().map(|id| get_session(vault, id)) {
            None | Some(Err(OpError::NoSession(_) | OpError::Removed(_))) => None,
            Some(session) => Some(session?),
        };
        // An entry that is made at the end of a day may be written on the next.
        let last = wanted.to.map(|to| day_of(to.plus_seconds(DAY_SECONDS)));
        let days = (wanted.from.map(day_of), last);
        Ok(Self { vault, wanted, days, about, chunks: HashMap::new() })
    }

    fn may_be_in(&self, log: &SessionId) -> bool {
        let day = log.as_str().strip_prefix(LOG_PREFIX).and_then(|rest| rest.get(..10));
        let Some(day) = day else { return false };
        self.days.0.as_deref().is_none_or(|first| day >= first)
            && self.days.1.as_deref().is_none_or(|last| day <= last)
    }

    fn look(
        &mut self,
        log: &SessionId,
        line: &[u8],
        visit: &mut dyn FnMut(FoundEntry<'_>) -> Result<(), OpError>,
    ) -> Result<(), OpError> {
        let entry: AuditEntry =
            serde_json::from_slice(line).map_err(|error| unreadable(log, &error.to_string()))?;
        if self.wants(log, &entry)? { visit(FoundEntry::Entry(line)) } else { Ok(()) }
    }

    fn wants(&mut self, log: &SessionId, entry: &AuditEntry) -> Result<bool, OpError> {
        let WantedEntries { caller, from, to, refused, .. } = self.wanted;
        if caller.is_some() && entry.caller != *caller {
            return Ok(false);
        }
        let is_refused = entry.ended == AuditEnd::Refused || entry.kind == AuditKind::Refusal;
        if refused.is_some_and(|refused| refused != is_refused) {
            return Ok(false);
        }
        if from.is_some() || to.is_some() {
            let time = |text: &str| {
                Timestamp::parse(text).map_err(|fault| unreadable(log, &fault.to_string()))
            };
            let at = time(&entry.at)?;
            let until = entry.until.as_deref().map(time).transpose()?.unwrap_or(at);
            if from.is_some_and(|from| until < from) || to.is_some_and(|to| at >= to) {
                return Ok(false);
            }
        }
        self.is_about(entry)
    }

    fn is_about(&mut self, entry: &AuditEntry) -> Result<bool, OpError> {
        let Some(id) = &self.wanted.session else { return Ok(true) };
        if entry.session.as_deref() == Some(id.as_str()) {
            return Ok(true);
        }
        let Some(session) = &self.about else { return Ok(false) };
        for name in &entry.chunks {
            let known = match self.chunks.get(name) {
                Some(known) => *known,
                None => {
                    let chunk = name.parse::<ChunkId>().ok();
                    let known = match chunk {
                        Some(chunk) => has(self.vault, session, &chunk)?,
                        None => false,
                    };
                    if self.chunks.len() >= CHUNKS_KNOWN_MAX {
                        self.chunks.clear();
                    }
                    self.chunks.insert(name.clone(), known);
                    known
                }
            };
            if known {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn unreadable(log: &SessionId, why: &str) -> OpError {
    OpError::Unsound(format!("{log} has an entry that cannot be read: {why}"))
}
