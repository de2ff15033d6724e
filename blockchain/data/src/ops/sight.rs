//! Which sessions and chunks a caller sees.
//!
//! A route hands it to what is about more than one session: for everything else it is asked before the route is.
//! Invariant: a caller that does not see a session is told what is told of one that there is not, and learns of no
//! chunk but those of sessions that are seen, and those that were sent by the same caller.

use lucid_api::access::Narrowing;
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::sessions::get_session::find_session;
use crate::row::{self, Referred, SessionName, SessionRow, UploadedRow};

/// Sessions of a chunk that are looked at. A chunk of more than so many, of which none of the first is seen, is sent
/// again by a caller that wants it.
const SESSIONS_OF_CHUNK_MAX: usize = 256;

/// What a caller sees. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight(Option<Part>);

/// A part of what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    caller: String,
    narrowing: Option<Narrowing>,
    /// Only sessions that the caller began.
    is_own: bool,
    /// Whether the read log may be read.
    has_log: bool,
}

impl Sight {
    /// Everything.
    pub fn everything() -> Self {
        Self(None)
    }

    /// What a caller of this name sees: the sessions of a narrowing, or all; of them perhaps only those that it began.
    /// What is in the read log it may not read.
    pub fn of(caller: String, narrowing: Option<Narrowing>, is_own: bool) -> Self {
        Self(Some(Part { caller, narrowing, is_own, has_log: false }))
    }

    /// The same with the read log.
    pub fn with_log(self) -> Self {
        Self(self.0.map(|part| Part { has_log: true, ..part }))
    }

    /// Refuses what a session of the read log holds to those that may read everything else.
    pub fn refuse_log(&self, id: &SessionId) -> Result<(), OpError> {
        match &self.0 {
            Some(part) if id.is_reserved() && !part.has_log => Err(OpError::OfLog(id.clone())),
            _ => Ok(()),
        }
    }

    /// Whether nothing is hidden, not even chunks that no session has.
    pub fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether every session is seen.
    pub fn has_all_sessions(&self) -> bool {
        self.0.as_ref().is_none_or(|part| part.narrowing.is_none() && !part.is_own)
    }

    /// What the caller's credentials are called, unless it sees everything.
    pub fn caller(&self) -> Option<&str> {
        self.0.as_ref().map(|part| part.caller.as_str())
    }

    /// What sets what this caller is answered apart from what others are.
    pub fn canonical(&self) -> String {
        match &self.0 {
            Some(part) if !self.has_all_sessions() => format!(
                "{} {:?} {:?}",
                part.is_own,
                part.is_own.then_some(&part.caller),
                part.narrowing.as_ref().map(ToString::to_string)
            ),
            _ => String::new(),
        }
    }

    /// Whether a session is seen.
    pub fn sees(&self, session: &SessionRow) -> bool {
        let Some(part) = &self.0 else { return true };
        part.has(&session.id, &session.user)
            && (!part.is_own || session.begun_by.as_ref() == Some(&part.caller))
    }

    /// Whether a session that is not there any more, or not there yet, would be seen.
    pub fn would_see(&self, id: &SessionId, user: &str) -> bool {
        self.0.as_ref().is_none_or(|part| part.has(id, user))
    }

    /// Whether a session by this id is seen that was removed: only its id is known of it.
    pub fn sees_removed(&self, id: &SessionId) -> bool {
        self.0.as_ref().is_none_or(|part| !part.is_own && part.has(id, ""))
    }

    /// Whether a chunk exists for this caller.
    pub fn sees_chunk(&self, vault: &Vault, chunk: &ChunkId) -> Result<bool, OpError> {
        let (index, cipher) = (vault.index(), vault.cipher());
        let Some(part) = &self.0 else { return Ok(true) };
        let name = cipher.chunk_name(chunk);
        let upload = UploadedRow::find(index, cipher, &name)?;
        if upload.is_some_and(|upload| upload.note_of(&part.caller).is_some()) {
            return Ok(true);
        }
        self.session_of(index, cipher, chunk).map(|session| session.is_some())
    }

    /// A session that is seen and has a chunk. Chunks of the read log are read as such, and not by their hashes.
    pub fn session_of(
        &self,
        index: &dyn Index,
        cipher: &Cipher,
        chunk: &ChunkId,
    ) -> Result<Option<SessionRow>, OpError> {
        let of = Referred::list(index, &cipher.chunk_name(chunk), SESSIONS_OF_CHUNK_MAX)?;
        for name in of {
            if let Some(session) = row::session(index, cipher, &name)?
                && self.sees(&session)
                && !session.id.is_reserved()
            {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Refuses a session that is not seen as one that there is not.
    pub fn check(&self, vault: &Vault, id: &SessionId) -> Result<(), OpError> {
        if self.has_all_sessions() {
            return Ok(());
        }
        let (index, cipher) = (vault.index(), vault.cipher());
        let name = SessionName::of(cipher, id);
        let is_seen = match row::session(index, cipher, &name)? {
            Some(session) => self.sees(&session),
            // That it was removed is told to those who saw it by its id.
            None => self.sees_removed(id),
        };
        if is_seen { Ok(()) } else { Err(OpError::NoSession(id.clone())) }
    }
}

impl Sight {
    /// The same for a session that the request may begin.
    pub fn check_or_begin(&self, vault: &Vault, id: &SessionId) -> Result<(), OpError> {
        if self.has_all_sessions() {
            return Ok(());
        }
        let (index, cipher) = (vault.index(), vault.cipher());
        match find_session(index, cipher, id) {
            Ok(session) if self.sees(&session) => Ok(()),
            Err(OpError::NoSession(_)) if self.would_see(id, "") => Ok(()),
            Err(error @ OpError::Removed(_)) if self.sees_removed(id) => Err(error),
            Ok(_) | Err(OpError::NoSession(_) | OpError::Removed(_)) => {
                Err(OpError::NoSession(id.clone()))
            }
            Err(error) => Err(error),
        }
    }
}

impl Part {
    fn has(&self, id: &SessionId, user: &str) -> bool {
        self.narrowing.as_ref().is_none_or(|narrowing| narrowing.has(id.as_str(), user))
    }
}
