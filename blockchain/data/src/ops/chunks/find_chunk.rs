//! Finds single chunks by what callers call them.
//!
//! A chunk is found while it is kept: by a session that refers to it, or by an upload that has not
//! ended. What is stored and kept by neither waits for its collection, and is not shown.

use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::crypt::ChunkKey;
use lucid_store::vault::Vault;

use crate::ops::chunks::put_chunk::upload_at;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sight::Sight;
use crate::ops::{Clash, OpError};
use crate::row::{
    self, Alias, PlacedRow, Referred, SessionName, SessionRow, UploadNote, UploadedRow,
};

/// A chunk, or the chunks that one upload was cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundChunk {
    /// What it is called: an alias, or its id in hex.
    pub called: String,
    /// Its parts, with their lengths.
    pub parts: Vec<(ChunkKey, u32)>,
    /// The session it is in.
    pub session: Option<SessionId>,
    /// Its index there.
    pub index: Option<u64>,
    /// Whether it waits for chunks in front of it.
    pub waits: bool,
    /// When it came, if it came on its own.
    pub at: Option<Timestamp>,
    /// Until when an upload keeps it, if one does and ends.
    pub until: Option<Timestamp>,
    /// What was said of it, as a JSON object; may be empty.
    pub metadata: String,
}

impl FoundChunk {
    /// How long it is.
    pub fn length(&self) -> u64 {
        self.parts.iter().map(|(_, length)| u64::from(*length)).sum()
    }

    /// Its id, unless it was cut.
    pub fn id(&self) -> Option<ChunkId> {
        match self.parts.as_slice() {
            [(key, _)] => Some(key.id),
            _ => None,
        }
    }

    pub(super) fn plain(called: String, key: ChunkKey, length: u32) -> Self {
        Self {
            called,
            parts: vec![(key, length)],
            session: None,
            index: None,
            waits: false,
            at: None,
            until: None,
            metadata: String::new(),
        }
    }

    pub(super) fn placed(called: String, session: &SessionRow, index: u64, row: PlacedRow) -> Self {
        Self {
            called,
            parts: vec![(session.key_of(&row.chunk), row.length)],
            session: Some(session.id.clone()),
            index: Some(index),
            waits: index >= session.chunk_count(),
            at: Some(row.at),
            until: None,
            metadata: row.metadata,
        }
    }

    pub(super) fn uploaded(called: String, row: &UploadedRow, note: &UploadNote) -> Self {
        Self {
            at: Some(note.at),
            until: note.until,
            metadata: note.metadata.clone(),
            ..Self::plain(called, (&row.chunk).into(), row.length)
        }
    }
}

/// Finds what goes by a name: a chunk's id in hex, or an alias; in one session, or in any.
pub fn find_chunk(
    vault: &Vault,
    called: &str,
    session: Option<&SessionId>,
    now: Timestamp,
) -> Result<FoundChunk, OpError> {
    let (vault_index, cipher) = (vault.index(), vault.cipher());
    let absent = || OpError::NoChunk(called.to_owned());
    let id = called.parse::<ChunkId>().ok();
    if let Some(session) = session {
        let name = SessionName::of(cipher, session);
        let row = get_session(vault, session)?;
        if let Some(index) = Alias::find(vault_index, cipher, called, &name)? {
            return at_index(vault, called, &name, &row, index)?.ok_or_else(absent);
        }
        let key = row.key_of(&id.ok_or_else(absent)?);
        if vault_index.get(&Referred::by_key(&cipher.chunk_name(key), &name))?.is_none() {
            return Err(absent());
        }
        let found = known(vault, called, key)?.ok_or_else(absent)?;
        return Ok(FoundChunk { session: Some(session.clone()), ..found });
    }
    if let Some(id) = id {
        let name = cipher.chunk_name(&id);
        let upload =
            UploadedRow::find(vault_index, cipher, &name)?.filter(|row| row.note.counts(now));
        if let Some(row) = upload
            && vault.placement(&id)?.is_some()
        {
            return Ok(FoundChunk::uploaded(called.to_owned(), &row, &row.note));
        }
    }
    let places = Alias::list(vault_index, cipher, called, 2)?;
    match (places.as_slice(), id) {
        ([], Some(id)) if Referred::find(vault_index, &cipher.chunk_name(&id))? > 0 => {
            known(vault, called, (&id).into())?.ok_or_else(absent)
        }
        ([], _) => Err(absent()),
        ([_, _, ..], None) => Err(unclear(called)),
        ([(name, index), ..], _) => {
            let row = row::session(vault_index, cipher, name)?.ok_or_else(absent)?;
            at_index(vault, called, name, &row, *index)?.ok_or_else(absent)
        }
    }
}

/// Finds what goes by a name among what a caller sees: what it does not see is not there.
pub fn find_seen_chunk(
    vault: &Vault,
    sight: &Sight,
    called: &str,
    session: Option<&SessionId>,
    now: Timestamp,
) -> Result<FoundChunk, OpError> {
    if let Some(session) = session {
        sight.check(vault, session)?;
        sight.refuse_log(session)?;
    }
    let Some(caller) = sight.caller().filter(|_| session.is_none()) else {
        return find_chunk(vault, called, session, now);
    };
    let (index, cipher) = (vault.index(), vault.cipher());
    let absent = || OpError::NoChunk(called.to_owned());
    if let Ok(id) = called.parse::<ChunkId>() {
        let upload = UploadedRow::find(index, cipher, &cipher.chunk_name(&id))?;
        if let Some(row) = &upload
            && let Some(note) = row.note_of(caller).filter(|note| note.counts(now))
            && vault.placement(&id)?.is_some()
        {
            return Ok(FoundChunk::uploaded(called.to_owned(), row, note));
        }
        let session = sight.session_of(index, cipher, &id)?.ok_or_else(absent)?;
        return find_chunk(vault, called, Some(&session.id), now);
    }
    let mut seen = None;
    for (name, _) in Alias::list(index, cipher, called, SESSIONS_OF_ALIAS_MAX)? {
        let Some(row) = row::session(index, cipher, &name)?.filter(|row| sight.sees(row)) else {
            continue;
        };
        if seen.replace(row.id).is_some() {
            return Err(unclear(called));
        }
    }
    find_chunk(vault, called, Some(&seen.ok_or_else(absent)?), now)
}

/// Sessions in which a name is looked for, for a caller that sees some of them.
const SESSIONS_OF_ALIAS_MAX: usize = 4_096;

fn unclear(called: &str) -> OpError {
    let sentence =
        format!("several sessions have a chunk that is called {called}: name one as session_id");
    OpError::Conflict(Clash::Unclear, sentence)
}

/// A chunk of which nothing is known but that it is there.
fn known(vault: &Vault, called: &str, key: ChunkKey) -> Result<Option<FoundChunk>, OpError> {
    let place = vault.placement(key)?;
    Ok(place.map(|place| FoundChunk::plain(called.to_owned(), key, place.plain_length)))
}

fn at_index(
    vault: &Vault,
    called: &str,
    name: &SessionName,
    session: &SessionRow,
    index: u64,
) -> Result<Option<FoundChunk>, OpError> {
    let row = PlacedRow::find(vault.index(), vault.cipher(), name, index)?;
    let Some(row) = row else { return Ok(None) };
    let is_alias = called != row.chunk.to_string();
    let mut found = FoundChunk::placed(called.to_owned(), session, index, row);
    // By its alias an upload is whole, by its id a chunk is itself.
    if is_alias {
        let parts = upload_at(vault.index(), vault.cipher(), name, index)?;
        found.parts = parts.iter().map(|(id, length)| (session.key_of(id), *length)).collect();
    }
    Ok(Some(found))
}

/// The bytes of what was found.
pub fn read_found(vault: &Vault, found: &FoundChunk) -> Result<Vec<u8>, OpError> {
    let mut packer = Packer::new();
    let mut bytes = Vec::new();
    for (key, _) in &found.parts {
        let part = vault.read_chunk(&mut packer, *key)?;
        let part = part.ok_or_else(|| OpError::NoChunk(found.called.clone()))?;
        match bytes.is_empty() {
            true => bytes = part,
            false => bytes.extend_from_slice(&part),
        }
    }
    Ok(bytes)
}
