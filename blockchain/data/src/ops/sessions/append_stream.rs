//! Takes the next bytes of a live stream; durable on return.
//!
//! Bytes gather as tail facts until there are enough to cut. The root covers cut chunks only, so the
//! answer says up to where it goes.

use lucid_core::digest::{ChunkId, SessionRoot};
use lucid_core::session::{SessionId, session_key};
use lucid_core::time::Timestamp;
use lucid_core::timeline::Recorded;
pub use lucid_store::clock::Moment;
use lucid_store::codec::Packer;
use lucid_store::vault::committer::{Purpose, Submission};
use lucid_store::vault::{Known, Vault};

use crate::fact::{Fact, Marked, Referenced, Tail};
use crate::figures::STAGES;
use crate::opened::SessionLocks;
use crate::ops::audit::{purpose_of, refuse_reserved};
use crate::ops::chunks::store_chunks::{StorageOptions, chunk_length};
use crate::ops::look_again::{at_hand, look_again};
use crate::ops::sessions::add_references::{open_for_writing, refuse_waiting};
use crate::ops::{OpError, fact_records};
use crate::row::{self, SessionName, SessionRow};

/// Where a stream is after bytes were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPosition {
    /// The session's length in bytes.
    pub offset: u64,
    /// The root over the chunks cut so far.
    pub root: SessionRoot,
    /// The bytes it covers.
    pub root_offset: u64,
    /// How many chunks those are.
    pub chunk_count: u64,
}

/// The next bytes of a stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamPiece<'a> {
    /// Where they go, which must be where the stream is.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// When they were recorded, if that is known. From the first time on, a stream keeps a timeline;
    /// what comes without a time then has that of its coming.
    pub recorded: Option<Recorded>,
}

/// Takes the next bytes.
pub fn append_stream(
    vault: &Vault,
    locks: &SessionLocks,
    storage: StorageOptions,
    now: Moment,
    id: &SessionId,
    piece: StreamPiece<'_>,
) -> Result<StreamPosition, OpError> {
    refuse_reserved(id)?;
    append_own(vault, locks, storage, now, id, piece)
}

/// The same for a session that the service keeps itself.
pub(in crate::ops) fn append_own(
    vault: &Vault,
    locks: &SessionLocks,
    storage: StorageOptions,
    now: Moment,
    id: &SessionId,
    piece: StreamPiece<'_>,
) -> Result<StreamPosition, OpError> {
    let _held = locks.hold(id);
    STAGES.run("append", || look_again(|| append(vault, locks, storage, now, id, piece)))
}

fn append(
    vault: &Vault,
    locks: &SessionLocks,
    storage: StorageOptions,
    now: Moment,
    id: &SessionId,
    StreamPiece { offset, bytes, recorded }: StreamPiece<'_>,
) -> Result<StreamPosition, OpError> {
    let look = vault.look();
    let name = SessionName::of(vault.cipher(), id);
    let mut session = open_for_writing(&look, vault.cipher(), id)?;
    refuse_waiting(&session)?;
    if offset != session.offset() {
        return Err(OpError::Offset { current: session.offset(), given: offset });
    }
    if bytes.is_empty() {
        return Ok(appended(&session));
    }
    let by_own = own_clock(locks, &session, recorded.is_some(), &now);
    let marks = match recorded.or(by_own) {
        Some(recorded) => recorded.marks(session.last_mark.as_ref(), offset),
        None => Vec::new(),
    };
    let enough = session.tail_bytes + bytes.len() as u64 >= session.profile.max() as u64;
    let mut submission = if enough {
        let mut window = row::tail(vault.index(), vault.cipher(), &name)?;
        window.extend_from_slice(bytes);
        cut(vault, storage, &mut session, &window, Some(now.wall))?
    } else {
        session.tail_bytes += bytes.len() as u64;
        let facts = fact_records(vault, Tail::of(id, offset, now.wall, bytes))?;
        Submission { facts, ..Submission::default() }
    };
    for mark in marks {
        let fact = Fact::Marked(Marked { session: id.clone(), mark });
        submission.facts.push(vault.fact(&mut Packer::new(), fact.encode())?);
    }
    submission.rests_on = look.seen();
    submission.purpose = purpose_of(id);
    vault.commit(submission).map_err(at_hand)?;
    if let Some(told) = by_own.filter(|_| recorded.is_none()) {
        locks.note_back(id, told.back);
    }
    Ok(appended(&session))
}

/// When bytes of a session that keeps a timeline come, by our own clock. It is looked at even if the
/// caller times the bytes, since sealing the session asks how our clock went while they came.
fn own_clock(
    locks: &SessionLocks,
    session: &SessionRow,
    is_timed: bool,
    now: &Moment,
) -> Option<Recorded> {
    (is_timed || session.last_mark.is_some())
        .then(|| Recorded { at: now.wall, back: locks.watch_clock(&session.id, now) })
}

/// Cuts what is left of a stream, because it ends.
pub fn cut_tail(vault: &Vault, storage: StorageOptions, id: &SessionId) -> Result<(), OpError> {
    let look = vault.look();
    let mut session = open_for_writing(&look, vault.cipher(), id)?;
    if session.tail_bytes == 0 {
        return Ok(());
    }
    let name = SessionName::of(vault.cipher(), id);
    let window = row::tail(vault.index(), vault.cipher(), &name)?;
    let submission = cut(vault, storage, &mut session, &window, None)?;
    // The bytes are there already: a stream can end on a full disk.
    let submission = Submission { rests_on: look.seen(), purpose: Purpose::Upkeep, ..submission };
    vault.commit(submission).map_err(at_hand)?;
    Ok(())
}

/// Cuts a window, and has the session be what it is then. `goes_on` is the moment of an append; without
/// one, the stream ends here.
fn cut(
    vault: &Vault,
    storage: StorageOptions,
    session: &mut SessionRow,
    window: &[u8],
    goes_on: Option<Timestamp>,
) -> Result<Submission, OpError> {
    let mut packer = Packer::new();
    let mut submission = Submission::default();
    let mut chunks = Vec::new();
    let mut rest = window;
    while let Some(length) = session.profile.next_cut(rest, goes_on.is_none()) {
        let Some((bytes, after)) = rest.split_at_checked(length) else { break };
        rest = after;
        let id = ChunkId::from(blake3::hash(bytes));
        let key = session.key_of(&id);
        submission.requires.push(vault.cipher().chunk_name(key));
        // A chunk that is only pending is sent along too: this must not depend on another's commit.
        if vault.known(key, storage.encrypt)? != Known::There {
            let sealed =
                vault.chunk(&mut packer, storage.compression, storage.encrypt, key, bytes)?;
            submission.chunks.push(sealed);
        }
        chunks.push((id, chunk_length(length)?));
    }
    submission.facts.extend(fact_records(vault, Referenced::at_end(session, &chunks))?);
    let key = session_key(&session.id);
    for (chunk, length) in chunks {
        session.take(&key, chunk, length);
    }
    session.tail_bytes = rest.len() as u64;
    // What is left may be nothing; that bytes were taken is told all the same.
    if let Some(at) = goes_on {
        submission
            .facts
            .extend(fact_records(vault, Tail::of(&session.id, session.cut_bytes, at, rest))?);
    }
    Ok(submission)
}

/// Where a stream is.
pub fn appended(session: &SessionRow) -> StreamPosition {
    StreamPosition {
        offset: session.offset(),
        root: session.root(),
        root_offset: session.cut_bytes,
        chunk_count: session.chunk_count(),
    }
}
