//! What there is to be served, by path: sessions, and what is in them.
//!
//! Called from threads that may block. Where only what is proved is served, every session is proved before it is
//! shown, and read as its proof has it. Invariant: what is kept of proofs is bounded; it is the verdict of each
//! session, and the chunks of those that were read last.

use std::collections::{HashMap, VecDeque};
use std::ops::{ControlFlow, Range};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lucid_api::v1::sessions::{Layout as WireLayout, Session};
use lucid_core::catalogue::{Entry, EntryKind};
use lucid_core::check::Trust;
use lucid_core::limits::PATH_BYTES_MAX;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::ops::sessions::read_session::{find_entry, read_range, visit_entries};
use lucid_data_chain::source::SessionSource;
use parking_lot::Mutex;

use super::Hear;
use crate::ending::{UNAVAILABLE, code};
use crate::place::Place;
use crate::restore::proof::{Proof, Proven, prove};
use crate::restore::raw::raw_entry;

/// Entries below another folder that are passed over before the search goes on behind that folder.
const PASSED_MAX: usize = 1_024;
/// Chunks of proofs that are kept; a proof with more is kept alone.
const PROVED_CHUNKS_MAX: u64 = 1 << 20;

/// Why something is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such thing, or it is not proved.
    Absent,
    /// It cannot be read; that was told.
    Unreadable,
    /// The server behind this one is away.
    Away,
    /// Nobody waits for it any more.
    Unwanted,
}

/// Something that is served.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The session it is in; none for the folder of all.
    pub(super) session: Option<SessionId>,
    pub(super) is_folder: bool,
    /// Where its bytes are in the session.
    pub(super) bytes: Range<u64>,
    pub(super) modified: SystemTime,
}

pub(super) struct Sessions {
    place: Box<dyn Place>,
    trust: Option<Vec<Trust>>,
    hear: Hear,
    /// Whether a session that is anchored is proved.
    verdicts: Mutex<HashMap<SessionId, bool>>,
    proofs: Mutex<VecDeque<(SessionId, Proof)>>,
}

impl Sessions {
    pub(super) fn new(place: Box<dyn Place>, trust: Option<Vec<Trust>>, hear: Hear) -> Self {
        let (verdicts, proofs) = (Mutex::default(), Mutex::default());
        Self { place, trust, hear, verdicts, proofs }
    }

    pub(super) fn into_place(self) -> Box<dyn Place> {
        self.place
    }

    /// What is at a path.
    pub(super) fn node(&self, path: &[u8]) -> Result<Node, Fault> {
        let Some((id, within)) = split(path) else {
            return Ok(Node { session: None, is_folder: true, bytes: 0..0, modified: UNIX_EPOCH });
        };
        let id = id?;
        let source = self.source(&id)?;
        match (source.shape().layout, within) {
            (Layout::Raw, b"") => {
                let whole = 0..source.shape().content_bytes;
                Ok(node(&id, &raw_entry(source.as_ref(), &whole)))
            }
            (Layout::Raw, _) => Err(Fault::Absent),
            // Behind a server, all of what is not sealed is tail.
            (Layout::Tree, _) if source.tail_bytes() > 0 => Err(Fault::Absent),
            (Layout::Tree, within) => {
                let found = find_entry(source.as_ref(), within);
                let found = found.map_err(|error| self.fault(&id, &error.into()))?;
                let (entry, _) = found.ok_or(Fault::Absent)?;
                match entry.kind {
                    EntryKind::Symlink => Err(Fault::Absent),
                    _ => Ok(node(&id, &entry)),
                }
            }
        }
    }

    /// Gives what is directly in a folder to `visit`, by its name, until that breaks off.
    pub(super) fn list(
        &self,
        path: &[u8],
        visit: &mut dyn FnMut(Vec<u8>, Node) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let Some((id, within)) = split(path) else { return self.list_all(visit) };
        let id = id?;
        let source = self.source(&id)?;
        let listed = visit_children(source.as_ref(), within, &mut |name, entry| {
            match entry.kind {
                // It leads somewhere else, as a rule to what is not kept.
                EntryKind::Symlink => ControlFlow::Continue(()),
                _ => visit(name.to_vec(), node(&id, &entry)),
            }
        });
        listed.map_err(|error| self.fault(&id, &error.into()))
    }

    fn list_all(
        &self,
        visit: &mut dyn FnMut(Vec<u8>, Node) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let mut ended = None;
        let listed = self.place.sessions(&SessionFilter::default(), &mut |session| {
            let id: SessionId = session.session_id.parse()?;
            match self.shown(&id, &session) {
                Ok(Some(node)) => {
                    if visit(session.session_id.into_bytes(), node).is_break() {
                        ended = Some(Fault::Unwanted);
                    }
                }
                Ok(None) => {}
                Err(fault) => ended = Some(fault),
            }
            anyhow::ensure!(ended.is_none(), "the list is not wanted any more");
            Ok(())
        });
        match (ended, listed) {
            (Some(fault), _) => Err(fault),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => Err(self.told("the sessions cannot be listed", &error)),
        }
    }

    /// A session in the list of all, if it is shown.
    fn shown(&self, id: &SessionId, session: &Session) -> Result<Option<Node>, Fault> {
        let is_raw = session.layout == WireLayout::Raw;
        let is_sealed = session.merkle_root.is_some();
        // Until it is sealed, an archived folder has no list of its files.
        if (!is_raw && !is_sealed) || is_dots(id) || !self.is_proved(id, session)? {
            return Ok(None);
        }
        let ended = session.ended_at.as_ref().or(session.appended_at.as_ref());
        let ended = ended.unwrap_or(&session.started_at);
        let micros = Timestamp::parse(ended).map_or(0, |time| time.as_micros());
        let length = if is_raw { session.content_bytes } else { 0 };
        Ok(Some(Node {
            session: Some(id.clone()),
            is_folder: !is_raw,
            bytes: 0..length,
            modified: moment(micros.div_euclid(1_000_000), 0),
        }))
    }

    fn is_proved(&self, id: &SessionId, session: &Session) -> Result<bool, Fault> {
        if self.trust.is_none() {
            return Ok(true);
        }
        let is_anchored =
            session.anchor.as_ref().is_some_and(|anchor| anchor.block_index.is_some());
        if !is_anchored {
            return Ok(false);
        }
        let known = self.verdicts.lock().get(id).copied();
        match known {
            Some(is_proved) => Ok(is_proved),
            None => match self.proof(id) {
                Ok(_) => Ok(true),
                Err(Fault::Absent) => Ok(false),
                Err(fault) => Err(fault),
            },
        }
    }

    /// The proof of a session, made where it is not at hand.
    fn proof(&self, id: &SessionId) -> Result<Proof, Fault> {
        let trust = self.trust.as_deref().unwrap_or_default();
        {
            let mut proofs = self.proofs.lock();
            let at = proofs.iter().position(|(of, _)| of == id);
            if let Some(found) = at.and_then(|at| proofs.remove(at)) {
                let proof = found.1.clone();
                proofs.push_front(found);
                return Ok(proof);
            }
        }
        match prove(self.place.as_ref(), id, trust) {
            Ok(Ok(proof)) => {
                self.verdicts.lock().insert(id.clone(), true);
                self.keep(id, &proof);
                Ok(proof)
            }
            Ok(Err(why)) => {
                let is_anchored = self.place.session(id).is_ok_and(|session| {
                    session.anchor.is_some_and(|anchor| anchor.block_index.is_some())
                });
                // One that is not anchored yet will be.
                if is_anchored && self.verdicts.lock().insert(id.clone(), false).is_none() {
                    (self.hear)(&format!("not served: {why}"));
                }
                Err(Fault::Absent)
            }
            Err(error) => Err(self.told(&format!("session {id} cannot be proved"), &error)),
        }
    }

    fn keep(&self, id: &SessionId, proof: &Proof) {
        let mut proofs = self.proofs.lock();
        proofs.retain(|(of, _)| of != id);
        proofs.push_front((id.clone(), proof.clone()));
        let mut chunks: u64 = proofs.iter().map(|(_, proof)| proof.chunk_count()).sum();
        while chunks > PROVED_CHUNKS_MAX && proofs.len() > 1 {
            chunks -= proofs.pop_back().map_or(0, |(_, proof)| proof.chunk_count());
        }
    }

    fn source(&self, id: &SessionId) -> Result<Box<dyn SessionSource + '_>, Fault> {
        let proof = self.trust.as_ref().map(|_| self.proof(id)).transpose()?;
        let source = self.place.source(id);
        let source = source.map_err(|error| self.fault(id, &error))?;
        Ok(match proof {
            Some(proof) => Box::new(Proven::new(source, proof)),
            None => source,
        })
    }

    /// Gives bytes of a session to `take`, piece by piece, each from a chunk that had its id.
    pub(super) fn read(
        &self,
        id: &SessionId,
        bytes: Range<u64>,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let source = self.source(id)?;
        let read = read_range(source.as_ref(), bytes, |piece| match take(piece) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(OpError::Abandoned),
        });
        match read {
            Err(OpError::Abandoned) => Err(Fault::Unwanted),
            read => read.map_err(|error| self.fault(id, &error.into())),
        }
    }

    /// What an error makes of a request; what its user cannot see is told.
    fn fault(&self, id: &SessionId, error: &anyhow::Error) -> Fault {
        use lucid_api::problem::ErrorCode::{Gone, NotFound};
        let is_absent = match error.downcast_ref::<OpError>() {
            Some(OpError::NoSession(_) | OpError::Removed(_) | OpError::NoFile { .. }) => true,
            // It is not sealed yet.
            Some(OpError::Conflict(..)) => true,
            _ => {
                let refused = error.downcast_ref::<lucid_api::client::ClientError>();
                matches!(refused.and_then(|error| error.code()), Some(NotFound | Gone))
            }
        };
        if is_absent {
            return Fault::Absent;
        }
        self.told(&format!("session {id} cannot be read"), error)
    }

    fn told(&self, what: &str, error: &anyhow::Error) -> Fault {
        (self.hear)(&format!("{what}: {error:#}"));
        if code(error, true) == UNAVAILABLE { Fault::Away } else { Fault::Unreadable }
    }
}

/// The session of a path, and the path in it; none for the folder of all.
fn split(path: &[u8]) -> Option<(Result<SessionId, Fault>, &[u8])> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    let (id, within) = match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => path.split_at(slash),
        None => (path, &b""[..]),
    };
    let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
    Some((id.ok_or(Fault::Absent), within.strip_prefix(b"/").unwrap_or(within)))
}

/// Ids that mean something else in a path.
fn is_dots(id: &SessionId) -> bool {
    [".", ".."].contains(&id.as_str())
}

fn node(id: &SessionId, entry: &Entry) -> Node {
    let (start, length) = match entry.kind {
        EntryKind::File | EntryKind::HardLink => (entry.offset, entry.length),
        EntryKind::Folder | EntryKind::Symlink => (0, 0),
    };
    Node {
        session: Some(id.clone()),
        is_folder: entry.kind == EntryKind::Folder,
        bytes: start..start.saturating_add(length),
        modified: moment(entry.modified.seconds, entry.modified.nanos),
    }
}

/// A time as HTTP can tell it: what is before 1970 or after 9999 is the first or the last moment of that.
fn moment(seconds: i64, nanos: u32) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    match u64::try_from(seconds) {
        Err(_) => UNIX_EPOCH,
        Ok(seconds) if seconds > LAST => UNIX_EPOCH + Duration::from_secs(LAST),
        Ok(seconds) => UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999)),
    }
}

/// Visits what is directly in a folder, with its name. What is further below is passed over, a little by reading on,
/// and much by going on behind it. Damage costs the entries that it hit; then it is the error.
fn visit_children(
    source: &dyn SessionSource,
    folder: &[u8],
    visit: &mut dyn FnMut(&[u8], Entry) -> ControlFlow<()>,
) -> Result<(), OpError> {
    let (mut after, mut damage) = (None::<Vec<u8>>, None);
    loop {
        let (mut passed, mut behind) = (0, None);
        let visited = visit_entries(source, folder, after.as_deref(), |entry| {
            let path = entry.path.clone();
            let within = path.get(folder.len()..).unwrap_or_default();
            let within = within.strip_prefix(b"/").unwrap_or(within);
            if within.is_empty() {
                return ControlFlow::Continue(());
            }
            let Some(slash) = within.iter().position(|byte| *byte == b'/') else {
                passed = 0;
                return visit(within, entry);
            };
            passed += 1;
            if passed < PASSED_MAX {
                return ControlFlow::Continue(());
            }
            let child = path.len() - within.len() + slash;
            behind = path.get(..=child).map(<[u8]>::to_vec);
            ControlFlow::Break(())
        });
        match visited {
            Err(error) if error.is_damage() => damage = Some(error),
            visited => visited?,
        }
        let Some(mut child) = behind else { break };
        // No path in that folder comes behind this one.
        child.resize(child.len() + PATH_BYTES_MAX, u8::MAX);
        after = Some(child);
    }
    damage.map_or(Ok(()), Err)
}
