//! Takes one chunk in, on its own or into a session at an index; durable on return.
//!
//! Indexes may come in any order. What lies behind a gap waits, and the session's tree covers what is in
//! front of it; sealing refuses while there are gaps.
//!
//! In one file because what is taken, put into its place or answered as known goes by the same rules.

use lucid_core::cut::ChunkProfile;
use lucid_core::digest::ChunkId;
use lucid_core::limits::SESSION_ID_CHARS_MAX;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_core::words::many;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::crypt::{ChunkKey, Cipher, Owner};
use lucid_store::vault::committer::Submission;
use lucid_store::vault::{Known, Vault};

pub use crate::fact::AHEAD_MAX;
use crate::fact::{Fact, Placed, Uploaded};
use crate::figures::STAGES;
use crate::opened::SessionLocks;
use crate::ops::audit::refuse_reserved;
use crate::ops::chunks::store_chunks::{StorageOptions, chunk_length};
use crate::ops::look_again::{at_hand, look_again};
use crate::ops::sessions::add_references::open_for_writing;
use crate::ops::sessions::create_session::{NewSession, create_session};
use crate::ops::sight::Sight;
use crate::ops::{Clash, OpError};
use crate::row::{self, Alias, PlacedRow, SessionName, SessionRow, UploadedRow};

/// Bytes of what a caller may say of a chunk.
pub const CHUNK_METADATA_BYTES_MAX: usize = 16 << 10;

/// What the API's addresses have in a chunk's place, and what clients take out of a path.
const RESERVED: [&str; 5] = ["batch", "get", "missing", ".", ".."];

/// What uploads may bring, and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest.
    pub most: usize,
    /// Those that are longer than this are cut by the profile, or refused.
    pub split_over: usize,
    /// Whether they are cut.
    pub splits: bool,
    /// How they are cut, and how sessions are that begin with a chunk.
    pub profile: ChunkProfile,
    /// Whether sessions that begin with a chunk keep copies of their own.
    pub own_copies: bool,
}

/// Where a chunk is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutChunk {
    /// The session it is put into; one that is not there begins. Without one it is kept on its own,
    /// until it is deleted.
    pub session: Option<SessionId>,
    /// Its index; without one it is the session's next.
    pub index: Option<u64>,
    /// What the caller calls it, within the session.
    pub alias: Option<String>,
    /// What the caller says of it: a JSON object, or nothing.
    pub metadata: String,
    /// What the caller sees.
    pub sight: Sight,
}

/// A part of what was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPart {
    /// Its id.
    pub id: ChunkId,
    /// How long it is.
    pub length: u32,
    /// Bytes it takes on the disk; zero when it was known.
    pub stored_bytes: u64,
}

/// What was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The chunks it became: one, unless it was cut.
    pub parts: Vec<ChunkPart>,
    /// The index of the first, in a session.
    pub index: Option<u64>,
    /// When it was first taken.
    pub at: Timestamp,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// Takes one upload.
pub fn put_chunk(
    vault: &Vault,
    locks: &SessionLocks,
    storage: StorageOptions,
    bounds: &Bounds,
    now: Timestamp,
    wanted: &PutChunk,
    bytes: &[u8],
) -> Result<Taken, OpError> {
    check(wanted)?;
    let pieces = cut(bounds, bytes)?;
    let mut taken = STAGES
        .run("store", || put(vault, locks, storage, bounds, now, wanted, (bytes, &pieces)))?;
    if !wanted.sight.is_everything() {
        // What it takes on the disk tells whether others have it.
        taken.parts.iter_mut().for_each(|part| part.stored_bytes = part.length.into());
    }
    Ok(taken)
}

fn put(
    vault: &Vault,
    locks: &SessionLocks,
    storage: StorageOptions,
    bounds: &Bounds,
    now: Timestamp,
    wanted: &PutChunk,
    (bytes, pieces): (&[u8], &[&[u8]]),
) -> Result<Taken, OpError> {
    match &wanted.session {
        None => look_again(|| keep(vault, storage, now, wanted, pieces)),
        Some(id) => {
            if let Some(sealed) = find(vault, id)?.filter(|session| session.sealed.is_some()) {
                let _held = locks.hold(id);
                return look_again(|| again(vault, storage, &sealed, wanted, bytes, pieces));
            }
            begin(vault, locks, bounds, now, id, wanted)?;
            look_again(|| {
                // Packed before the session is held: that takes long, and others wait.
                let owner = open_for_writing(vault.index(), vault.cipher(), id)?.owner;
                let packed = pack(vault, storage, pieces, |id| ChunkKey::of(owner, id))?;
                let _held = locks.hold(id);
                place(vault, now, wanted, id, owner, packed)
            })
        }
    }
}

fn check(wanted: &PutChunk) -> Result<(), OpError> {
    wanted.session.as_ref().map_or(Ok(()), refuse_reserved)?;
    let invalid = |sentence: String| Err(OpError::Invalid(sentence));
    if wanted.metadata.len() > CHUNK_METADATA_BYTES_MAX {
        return invalid(format!(
            "metadata of a chunk has at most {CHUNK_METADATA_BYTES_MAX} bytes"
        ));
    }
    if wanted.session.is_none() && (wanted.index.is_some_and(|index| index > 0)) {
        return invalid("an index is one of a session: name the session_id too".into());
    }
    let Some(alias) = &wanted.alias else { return Ok(()) };
    if wanted.session.is_none() {
        return invalid(
            "a chunk_id of your own is one of a session: name the session_id too".into(),
        );
    }
    let is_char = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    if alias.is_empty() || alias.len() > SESSION_ID_CHARS_MAX || !alias.chars().all(is_char) {
        return invalid(format!(
            "{:?} is no chunk_id: 1 to {SESSION_ID_CHARS_MAX} characters [A-Za-z0-9._:-] are wanted",
            alias.chars().take(SESSION_ID_CHARS_MAX).collect::<String>()
        ));
    }
    if RESERVED.contains(&alias.as_str()) {
        return invalid(format!(
            "{alias:?} is no chunk_id: in an address it would mean something else; choose another"
        ));
    }
    if alias.len() == 64 && alias.chars().all(|c| c.is_ascii_hexdigit()) {
        return invalid(
            "a chunk_id of your own must not look like a hash (64 hex digits): leave it out, and the \
             chunk goes by BLAKE3 of its bytes"
                .into(),
        );
    }
    Ok(())
}

fn cut<'a>(bounds: &Bounds, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, OpError> {
    let length = bytes.len();
    if length == 0 {
        return Err(OpError::Invalid(format!("a chunk has 1 to {} bytes, not 0", bounds.most)));
    }
    if length > bounds.most {
        return Err(OpError::TooLarge(format!(
            "the chunk has {length} bytes, and {} are allowed; append a stream, or send several",
            bounds.most
        )));
    }
    if length <= bounds.split_over {
        return Ok(vec![bytes]);
    }
    if !bounds.splits {
        return Err(OpError::TooLarge(format!(
            "the chunk has {length} bytes, and is not cut above {}: send several",
            bounds.split_over
        )));
    }
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while let Some((piece, after)) =
        bounds.profile.next_cut(rest, true).and_then(|length| rest.split_at_checked(length))
    {
        pieces.push(piece);
        rest = after;
    }
    Ok(pieces)
}

fn find(vault: &Vault, id: &SessionId) -> Result<Option<SessionRow>, OpError> {
    let name = SessionName::of(vault.cipher(), id);
    Ok(row::session(vault.index(), vault.cipher(), &name)?)
}

/// Begins the session of a chunk, unless it is there.
fn begin(
    vault: &Vault,
    locks: &SessionLocks,
    bounds: &Bounds,
    now: Timestamp,
    id: &SessionId,
    wanted: &PutChunk,
) -> Result<(), OpError> {
    if find(vault, id)?.is_some() {
        return Ok(());
    }
    // What is refused later must not leave a session behind.
    check_ahead(id, 0, wanted.index.unwrap_or(0))?;
    let session = NewSession {
        id: Some(id.clone()),
        user: String::new(),
        layout: Layout::Raw,
        public: false,
        profile: bounds.profile,
        metadata: Default::default(),
        started_at: now,
        one_shot: false,
        own_copies: bounds.own_copies,
        sight: wanted.sight.clone(),
        retain_until: None,
        source: None,
        terminal: None,
    };
    match create_session(vault, locks, session) {
        // Another caller began it a moment ago, and differently.
        Err(OpError::Conflict(..)) => Ok(()),
        begun => begun.map(|_| ()),
    }
}

/// Packs what is not known yet; says what each part is.
fn pack(
    vault: &Vault,
    storage: StorageOptions,
    pieces: &[&[u8]],
    key_of: impl Fn(ChunkId) -> ChunkKey,
) -> Result<(Submission, Vec<ChunkPart>), OpError> {
    let (mut packer, mut submission, mut parts) = (Packer::new(), Submission::default(), vec![]);
    for piece in pieces {
        let id = ChunkId::from(blake3::hash(piece));
        let key = key_of(id);
        submission.requires.push(vault.cipher().chunk_name(key));
        let mut stored_bytes = 0;
        let known = vault.known(key, storage.encrypt)?;
        // A chunk that is only pending is sent along too: this must not depend on another's commit.
        if known != Known::There {
            let StorageOptions { compression, encrypt } = storage;
            let sealed = vault.chunk(&mut packer, compression, encrypt, key, piece)?;
            stored_bytes = if known == Known::No { sealed.record_bytes() } else { 0 };
            submission.chunks.push(sealed);
        }
        let length = chunk_length(piece.len())?;
        parts.push(ChunkPart { id, length, stored_bytes });
    }
    Ok((submission, parts))
}

fn lengths(parts: &[ChunkPart]) -> Vec<(ChunkId, u32)> {
    parts.iter().map(|part| (part.id, part.length)).collect()
}

/// Keeps chunks on their own.
fn keep(
    vault: &Vault,
    storage: StorageOptions,
    now: Timestamp,
    wanted: &PutChunk,
    pieces: &[&[u8]],
) -> Result<Taken, OpError> {
    let look = vault.look();
    let (mut submission, parts) = pack(vault, storage, pieces, |id| ChunkKey::from(&id))?;
    let mut at = None;
    for name in &submission.requires {
        let known = UploadedRow::find(&look, vault.cipher(), name)?;
        // What only others sent is not there for this caller.
        let noted = known.as_ref().and_then(|known| match wanted.sight.caller() {
            Some(caller) => known.note_of(caller),
            None => Some(&known.note),
        });
        at = noted.filter(|noted| noted.until.is_none()).map(|noted| noted.at);
        if at.is_none() {
            break;
        }
    }
    let fact = Fact::Uploaded(Uploaded {
        at: now,
        until: None,
        metadata: wanted.metadata.clone(),
        chunks: lengths(&parts),
        sender: wanted.sight.caller().map(str::to_owned),
    });
    // The same again is only answered, unless its bytes have to be healed.
    if at.is_none() || !submission.chunks.is_empty() {
        submission.facts.push(vault.fact(&mut Packer::new(), fact.encode())?);
        submission.rests_on = look.seen();
        vault.commit(submission).map_err(at_hand)?;
    }
    Ok(Taken { parts, index: None, at: at.unwrap_or(now), is_new: at.is_none() })
}

/// Answers a caller that sends a sealed session bytes that it has already; refuses everything else.
fn again(
    vault: &Vault,
    storage: StorageOptions,
    session: &SessionRow,
    wanted: &PutChunk,
    whole: &[u8],
    pieces: &[&[u8]],
) -> Result<Taken, OpError> {
    let sealed = || {
        OpError::Conflict(
            Clash::Sealed,
            format!("session {} is sealed and cannot change", session.id),
        )
    };
    let index = wanted.index.filter(|_| wanted.alias.is_none()).ok_or_else(sealed)?;
    // As one chunk of the session, or as an upload that was cut into several.
    let parts = match give_back(vault, storage, session, index, &[whole])? {
        Some(parts) => parts,
        None => give_back(vault, storage, session, index, pieces)?.ok_or_else(sealed)?,
    };
    let name = SessionName::of(vault.cipher(), &session.id);
    let placed = PlacedRow::find(vault.index(), vault.cipher(), &name, index)?;
    let at = placed.map_or(session.started_at, |placed| placed.at);
    Ok(Taken { parts, index: Some(index), at, is_new: false })
}

/// Gives a session bytes that it has from an index on: nothing changes, but what became unreadable heals.
/// `None` when it has others there.
pub fn give_back(
    vault: &Vault,
    storage: StorageOptions,
    session: &SessionRow,
    index: u64,
    pieces: &[&[u8]],
) -> Result<Option<Vec<ChunkPart>>, OpError> {
    let name = SessionName::of(vault.cipher(), &session.id);
    for (index, piece) in (index..).zip(pieces) {
        let given = (ChunkId::from(blake3::hash(piece)), piece.len() as u64);
        let here = chunk_at(vault.index(), vault.cipher(), &name, session, index)?;
        if here.map(|(id, length)| (id, u64::from(length))) != Some(given) {
            return Ok(None);
        }
    }
    let (submission, parts) = pack(vault, storage, pieces, |id| session.key_of(&id))?;
    if !submission.chunks.is_empty() {
        vault.commit(submission).map_err(at_hand)?;
    }
    Ok(Some(parts))
}

/// Puts chunks into a session.
fn place(
    vault: &Vault,
    now: Timestamp,
    wanted: &PutChunk,
    id: &SessionId,
    owner: Owner,
    (mut submission, parts): (Submission, Vec<ChunkPart>),
) -> Result<Taken, OpError> {
    let (look, cipher) = (vault.look(), vault.cipher());
    let name = SessionName::of(cipher, id);
    let session = open_for_writing(&look, cipher, id)?;
    // Another caller may have begun it since it was looked for.
    if !wanted.sight.sees(&session) {
        return Err(OpError::NoSession(id.clone()));
    }
    if session.tail_bytes > 0 || session.layout != Layout::Raw {
        return Err(OpError::Conflict(
            Clash::WrongLayout,
            format!(
                "session {id} is {}; chunks are put by index into neither a stream nor a folder",
                if session.tail_bytes > 0 { "a live stream" } else { "an archived folder" }
            ),
        ));
    }
    if session.owner != owner {
        return Err(OpError::Conflict(
            Clash::Running,
            format!("session {id} was begun anew meanwhile: send it again"),
        ));
    }
    let index = wanted.index.unwrap_or_else(|| session.chunk_count());
    check_ahead(id, session.chunk_count(), index)?;
    let mut all_there = true;
    for (index, part) in (index..).zip(&parts) {
        match chunk_at(&look, cipher, &name, &session, index)? {
            None => all_there = false,
            Some(known) if known == (part.id, part.length) => {}
            Some((known, _)) => {
                return Err(OpError::Conflict(
                    Clash::Exists,
                    format!("session {id} has another chunk at index {index}: {known}"),
                ));
            }
        }
    }
    let mut same_alias = wanted.alias.is_none();
    if let Some(alias) = &wanted.alias
        && let Some(there) = Alias::find(&look, cipher, alias, &name)?
    {
        let known = upload_at(&look, cipher, &name, there)?;
        if known != lengths(&parts) {
            return Err(OpError::Conflict(
                Clash::Exists,
                format!("session {id} has another chunk that is called {alias}, at index {there}"),
            ));
        }
        same_alias = there == index;
    }
    let placed = PlacedRow::find(&look, cipher, &name, index)?;
    if let (Some(alias), Some(known)) =
        (&wanted.alias, placed.as_ref().and_then(|placed| placed.alias.as_ref()))
        && alias != known
        // An earlier version gave it that name, too.
        && !same_alias
    {
        return Err(OpError::Conflict(
            Clash::Exists,
            format!(
                "the chunk at index {index} of session {id} is called {known}, and not {alias}"
            ),
        ));
    }
    let at = placed.filter(|_| all_there).map(|placed| placed.at);
    if at.is_some() && same_alias {
        // The same again is only answered, unless its bytes have to be healed.
        if !submission.chunks.is_empty() {
            vault.commit(submission).map_err(at_hand)?;
        }
    } else {
        let fact = Fact::Placed(Placed {
            session: id.clone(),
            index,
            at: at.unwrap_or(now),
            alias: wanted.alias.clone(),
            metadata: wanted.metadata.clone(),
            chunks: lengths(&parts),
        });
        submission.facts.push(vault.fact(&mut Packer::new(), fact.encode())?);
        submission.rests_on = look.seen();
        vault.commit(submission).map_err(at_hand)?;
    }
    Ok(Taken { parts, index: Some(index), at: at.unwrap_or(now), is_new: !all_there })
}

fn check_ahead(id: &SessionId, count: u64, index: u64) -> Result<(), OpError> {
    if index <= count.saturating_add(AHEAD_MAX) {
        return Ok(());
    }
    Err(OpError::Invalid(format!(
        "index {index} is too far ahead: session {id} has {}, and {AHEAD_MAX} more may wait",
        many(count, "chunk")
    )))
}

/// The chunk that a session has at an index, waiting or not.
fn chunk_at(
    look: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
    session: &SessionRow,
    index: u64,
) -> Result<Option<(ChunkId, u32)>, OpError> {
    if index < session.chunk_count() {
        let known = row::references(look, cipher, name, index, 1)?;
        let known = known.first().filter(|known| known.index == index);
        return Ok(known.map(|known| (known.chunk, known.length)));
    }
    let placed = PlacedRow::find(look, cipher, name, index)?;
    Ok(placed.map(|placed| (placed.chunk, placed.length)))
}

/// The chunks of the upload that begins at an index.
pub(super) fn upload_at(
    look: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
    index: u64,
) -> Result<Vec<(ChunkId, u32)>, OpError> {
    let first = PlacedRow::find(look, cipher, name, index)?;
    let parts = first.map_or(0, |first| first.parts.max(1));
    let rows = PlacedRow::list(look, cipher, name, index, parts as usize)?;
    Ok(rows.into_iter().map(|(_, row)| (row.chunk, row.length)).collect())
}

/// Indexes that are missing in front of chunks that wait, as ranges from the first to the last; at most
/// so many.
pub fn gaps(
    vault: &Vault,
    name: &SessionName,
    session: &SessionRow,
    most: usize,
) -> Result<Vec<(u64, u64)>, OpError> {
    let mut gaps = Vec::new();
    let (mut next, mut left) = (session.chunk_count(), session.pending);
    let mut from = next;
    while left > 0 && gaps.len() < most {
        let rows = PlacedRow::list(vault.index(), vault.cipher(), name, from, 1_000)?;
        let Some((last, _)) = rows.last() else { break };
        from = last + 1;
        for (index, _) in &rows {
            if *index > next {
                gaps.push((next, index - 1));
            }
            next = index + 1;
            left = left.saturating_sub(1);
        }
    }
    gaps.truncate(most);
    Ok(gaps)
}
