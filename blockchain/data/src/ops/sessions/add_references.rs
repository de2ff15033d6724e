//! Adds chunks that are stored already to a session.

use std::collections::HashSet;

use lucid_core::digest::{ChunkId, ChunkName};
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_core::session::SessionId;
use lucid_store::CommitError;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::crypt::{ChunkKey, Cipher, Owner};
use lucid_store::vault::committer::Submission;
use lucid_store::vault::{Known, Vault};

use crate::fact::{CHUNKS_MAX, Referenced};
use crate::opened::SessionLocks;
use crate::ops::audit::refuse_reserved;
use crate::ops::chunks::missing_chunks::has;
use crate::ops::chunks::store_chunks::StorageOptions;
use crate::ops::look_again::look_again;
use crate::ops::sessions::get_session::{find_session, get_session};
use crate::ops::sight::Sight;
use crate::ops::{Clash, OpError, fact_records};
use crate::row::{self, SessionName, SessionRow};

/// A session's end after references were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// The index that the next chunk will have.
    pub next_index: u64,
    /// The session's length in bytes.
    pub offset: u64,
}

/// References in one request: as many as one fact takes.
pub const REFERENCES_MAX: usize = CHUNKS_MAX;

/// As [`add_references`], for references from outside: what they say of lengths is held against the
/// chunks once those are all placed, and a session with copies of its own gets them from those that
/// everyone shares, which is where uploads go.
pub fn add_foreign_references(
    vault: &Vault,
    locks: &SessionLocks,
    storage: StorageOptions,
    sight: &Sight,
    id: &SessionId,
    start_index: u64,
    chunks: Vec<(ChunkId, u32)>,
) -> Result<Added, OpError> {
    // In front of looking for each: they may be too many.
    check(&chunks)?;
    refuse_log(locks, id)?;
    // Copies of another store's read log are filled by those alone that copy whole stores.
    if !sight.is_everything() {
        refuse_reserved(id)?;
    }
    refuse_unseen(vault, sight, id, &chunks)?;
    let mut pending = false;
    for (chunk, _) in &chunks {
        pending |= vault.placement(chunk)?.is_none();
    }
    if pending {
        // Commits go in order: once this empty one is answered, what was pending before is placed.
        let requires = chunks.iter().map(|(chunk, _)| vault.cipher().chunk_name(chunk)).collect();
        vault
            .commit(Submission { requires, ..Submission::default() })
            .map_err(|error| missing(vault, Owner::SHARED, &chunks, error))?;
    }
    let session = open_for_writing(vault.index(), vault.cipher(), id)?;
    if !session.owner.is_shared() {
        copy_chunks(vault, storage, &session, &chunks)?;
    }
    add_references(vault, locks, id, start_index, chunks)
}

/// Copies of another store's read log are filled like any session; into our own comes only what we write.
fn refuse_log(locks: &SessionLocks, id: &SessionId) -> Result<(), OpError> {
    if locks.is_log(id) { refuse_reserved(id) } else { Ok(()) }
}

/// Refuses chunks that are not there for the caller: it would take what is another's by its id alone. They are sent
/// first, which it can only do who has them.
fn refuse_unseen(
    vault: &Vault,
    sight: &Sight,
    id: &SessionId,
    chunks: &[(ChunkId, u32)],
) -> Result<(), OpError> {
    if sight.is_everything() {
        return Ok(());
    }
    let session = get_session(vault, id)?;
    let (mut unseen, mut told) = (Vec::new(), HashSet::new());
    for (chunk, _) in chunks {
        if told.insert(*chunk) && !sight.sees_chunk(vault, chunk)? && !has(vault, &session, chunk)?
        {
            unseen.push(*chunk);
        }
    }
    if unseen.is_empty() { Ok(()) } else { Err(OpError::Missing(unseen)) }
}

/// Copies in one commit: as many bytes as the committer takes at once.
const COPIED_BYTES: usize = 8 << 20;

/// Makes a session's own copies of chunks that everyone shares. One that is not shared either is left
/// out: taking the references says so.
fn copy_chunks(
    vault: &Vault,
    storage: StorageOptions,
    session: &SessionRow,
    chunks: &[(ChunkId, u32)],
) -> Result<(), OpError> {
    let mut packer = Packer::new();
    let (mut submission, mut bytes) = (Submission::default(), 0);
    for (id, _) in chunks {
        let own = session.key_of(id);
        if vault.known(own, storage.encrypt)? == Known::There {
            continue;
        }
        let Some(plain) = vault.read_chunk(&mut packer, id)? else { continue };
        let StorageOptions { compression, encrypt } = storage;
        submission.chunks.push(vault.chunk(&mut packer, compression, encrypt, own, &plain)?);
        bytes += plain.len();
        if bytes >= COPIED_BYTES {
            vault.commit(std::mem::take(&mut submission))?;
            bytes = 0;
        }
    }
    vault.commit(submission)?;
    Ok(())
}

/// Adds chunks behind the last one. What a request repeats of what is there already must be the same;
/// a gap is a conflict.
pub fn add_references(
    vault: &Vault,
    locks: &SessionLocks,
    id: &SessionId,
    start_index: u64,
    chunks: Vec<(ChunkId, u32)>,
) -> Result<Added, OpError> {
    check(&chunks)?;
    refuse_log(locks, id)?;
    let _held = locks.hold(id);
    look_again(|| refer(vault, id, start_index, chunks.clone()))
}

fn refer(
    vault: &Vault,
    id: &SessionId,
    start_index: u64,
    chunks: Vec<(ChunkId, u32)>,
) -> Result<Added, OpError> {
    let look = vault.look();
    let name = SessionName::of(vault.cipher(), id);
    let session = open_for_writing(&look, vault.cipher(), id)?;
    if session.tail_bytes > 0 {
        return Err(OpError::Conflict(
            Clash::WrongLayout,
            format!("session {id} is a live stream; use append, not references"),
        ));
    }
    refuse_waiting(&session)?;
    let chunks = new_ones(vault, &name, &session, start_index, chunks)?;
    let start_index = session.chunk_count();
    if chunks.is_empty() {
        return Ok(Added { next_index: start_index, offset: session.offset() });
    }
    check_lengths(vault, &session, &chunks)?;
    let name_of = |(chunk, _): &_| vault.cipher().chunk_name(session.key_of(chunk));
    let requires = chunks.iter().map(name_of).collect();
    let next_index = start_index + chunks.len() as u64;
    let offset = session.cut_bytes + chunks.iter().map(|(_, n)| u64::from(*n)).sum::<u64>();
    let facts = fact_records(vault, Referenced::at_end(&session, &chunks))?;
    vault
        .commit(Submission { facts, requires, rests_on: look.seen(), ..Submission::default() })
        .map_err(|error| missing(vault, session.owner, &chunks, error))?;
    Ok(Added { next_index, offset })
}

/// Says which chunks are missing by the ids they were asked for with.
fn missing(vault: &Vault, owner: Owner, chunks: &[(ChunkId, u32)], error: CommitError) -> OpError {
    let CommitError::Missing(names) = error else { return error.into() };
    let names: HashSet<ChunkName> = names.into_iter().collect();
    let mut told = HashSet::new();
    let ids = chunks.iter().map(|(id, _)| *id);
    let name_of = |id: &ChunkId| vault.cipher().chunk_name(ChunkKey::of(owner, *id));
    let missing = ids.filter(|id| names.contains(&name_of(id)) && told.insert(*id));
    OpError::Missing(missing.collect())
}

fn check(chunks: &[(ChunkId, u32)]) -> Result<(), OpError> {
    if chunks.is_empty() || chunks.len() > REFERENCES_MAX {
        return Err(OpError::Invalid(format!("1 to {REFERENCES_MAX} chunks are wanted")));
    }
    match chunks.iter().find(|(_, length)| *length == 0 || *length as usize > CHUNK_BYTES_MAX) {
        Some((id, length)) => {
            Err(OpError::Invalid(format!("chunk {id} cannot have {length} bytes")))
        }
        None => Ok(()),
    }
}

/// A length that is not the stored chunk's would make a session that cannot be read.
fn check_lengths(
    vault: &Vault,
    session: &SessionRow,
    chunks: &[(ChunkId, u32)],
) -> Result<(), OpError> {
    for (id, length) in chunks {
        if let Some(place) = vault.placement(session.key_of(id))?
            && place.plain_length != *length
        {
            return Err(OpError::Invalid(format!(
                "chunk {id} has {} bytes, not {length}",
                place.plain_length
            )));
        }
    }
    Ok(())
}

/// What is added at the end of a session would end up in front of chunks that wait there.
pub fn refuse_waiting(session: &SessionRow) -> Result<(), OpError> {
    if session.pending == 0 {
        return Ok(());
    }
    // There may be more gaps behind it.
    let first = session.chunk_count();
    Err(OpError::Gaps { session: session.id.clone(), gaps: vec![(first, first)] })
}

/// The session, if it may still be written to.
pub fn open_for_writing(
    index: &dyn Index,
    cipher: &Cipher,
    id: &SessionId,
) -> Result<SessionRow, OpError> {
    let session = find_session(index, cipher, id)?;
    if session.sealed.is_some() {
        return Err(OpError::Conflict(
            Clash::Sealed,
            format!("session {id} is sealed and cannot change"),
        ));
    }
    if session.has_gap || session.tail_gap {
        return Err(OpError::Conflict(
            Clash::Lost,
            format!("session {id} lost references to damage and cannot go on; begin a new one"),
        ));
    }
    Ok(session)
}

/// What of a request has not happened yet. A client that was interrupted may send everything again;
/// what is there already must be the same.
fn new_ones(
    vault: &Vault,
    name: &SessionName,
    session: &SessionRow,
    start: u64,
    mut chunks: Vec<(ChunkId, u32)>,
) -> Result<Vec<(ChunkId, u32)>, OpError> {
    let Some(overlap) = session.chunk_count().checked_sub(start) else {
        return Err(OpError::Conflict(
            Clash::Next(session.chunk_count()),
            format!(
                "the next chunk of session {} has index {}, not {start}",
                session.id,
                session.chunk_count()
            ),
        ));
    };
    let overlap = usize::try_from(overlap).unwrap_or(usize::MAX).min(chunks.len());
    let known = row::references(vault.index(), vault.cipher(), name, start, overlap)?;
    let rest = chunks.split_off(overlap);
    let same = known.len() == chunks.len()
        && known
            .iter()
            .zip(&chunks)
            .all(|(known, (id, length))| known.chunk == *id && known.length == *length);
    if same {
        Ok(rest)
    } else {
        Err(OpError::Conflict(
            Clash::Exists,
            format!("session {} holds other chunks from index {start} on", session.id),
        ))
    }
}
