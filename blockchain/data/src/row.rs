//! The rows that sessions have in the index, and their keys.
//!
//! Keys tell little but order: a session is known by a keyed hash of its id, a chunk by its name; times,
//! and roots of trees that were built, are in clear. Values are encrypted, but for counts. All of it
//! follows from the facts in the log.
//!
//! In one file because a session's row and its keys are read by every op, and change together.

mod chain;
mod chunks;
pub mod documents;
mod elsewhere;
pub mod indexing;
pub(crate) mod live;
pub mod orders;
mod removal;
mod scrub;
pub mod synchronised;
mod uploads;

use std::collections::BTreeMap;

use lucid_core::cut::ChunkProfile;
use lucid_core::digest::{BlockHash, ChunkId, LeafHash, ManifestHash, SessionKey, SessionRoot};
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_core::manifest::{End, ExitStatus, Source, Terminal};
use lucid_core::session::{Layout, Leaf, SessionId, SessionSecret, salt};
use lucid_core::time::Timestamp;
use lucid_core::timeline::Mark;
use lucid_core::tree::{Blake3Tree, Frontier};
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::{ChunkKey, Cipher, Owner};
use lucid_store::registry::data_chain::key::{
    ANCHOR, BY_TIME, COUNTS, LAST_MANIFEST, MANIFEST, PROOF, REFERENCE, SESSION, TAIL, UNANCHORED,
};

use crate::fact::{
    read_flag, read_metadata, read_number, read_origin, read_owner, write_origin, write_owner,
};

pub use chain::{chain_key, own_chain};
pub use chunks::{Alias, LEAVES_PAGE, NoteBounds, PlacedRow, Referred, TreeRow, number_in};
pub use elsewhere::{elsewhere, waiting_elsewhere_range};
pub(crate) use removal::open_retention;
pub use removal::{
    HoldRow, TombstoneRow, hold, removal_range, retention, tombstone, unchained_range,
};
pub use scrub::{scrub_key, scrubbed};
pub use uploads::{UploadNote, UploadedRow};

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStage {
    /// It takes bytes.
    Active,
    /// It takes bytes, but its writer has not sent any for long and never said that this was all.
    Unterminated,
    /// It is whole; its anchor is on its way.
    Sealed,
    /// Its anchor is in a committed block.
    Anchored,
}

impl SessionStage {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Unterminated => "unterminated",
            Self::Sealed => "sealed",
            Self::Anchored => "anchored",
        }
    }
}

/// Everything about a session but its chunks.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Whose it is; may be empty.
    pub user: String,
    /// What it consists of.
    pub layout: Layout,
    /// What its leaves are salted with; a public session has none.
    pub secret: Option<SessionSecret>,
    /// How it is cut.
    pub profile: ChunkProfile,
    /// When it began.
    pub started_at: Timestamp,
    /// What its owner wants to be kept with it.
    pub metadata: BTreeMap<String, String>,
    /// Whether it may be begun anew while it is not sealed.
    pub one_shot: bool,
    /// Whose copies its chunks are: its own, or everyone's.
    pub owner: Owner,
    /// The tree over its chunks so far.
    pub frontier: Frontier<Blake3Tree>,
    /// Bytes in its chunks.
    pub cut_bytes: u64,
    /// Bytes of a live stream behind the last chunk.
    pub tail_bytes: u64,
    /// Chunks that wait for those in front of them.
    pub pending: u64,
    /// Where the last row of those begins: small pieces share one.
    pub tail_row_at: u64,
    /// When a live stream last took bytes, by this service's clock.
    pub appended_at: Option<Timestamp>,
    /// How many marks it has.
    pub marks: u64,
    /// The last of them.
    pub last_mark: Option<Mark>,
    /// Whether references are missing, because the facts that named them were damaged.
    pub has_gap: bool,
    /// Whether bytes behind the last chunk are missing. Chunks that go on where the last one ended end it:
    /// they hold what the tail held.
    pub tail_gap: bool,
    /// What its manifest says, once it is sealed.
    pub sealed: Option<SealedRow>,
    /// Where it is anchored, once it is.
    pub anchored: Option<(u64, BlockHash)>,
    /// What the credentials are called of who began it, where any were asked for.
    pub begun_by: Option<String>,
    /// Its host, paths and tags, if its recorder said.
    pub source: Option<Source>,
    /// How large the recorded terminal was, if there was one.
    pub terminal: Option<Terminal>,
}

/// What is known of a session since it was sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedRow {
    /// When it ended.
    pub ended_at: Timestamp,
    /// Its root.
    pub root: SessionRoot,
    /// Its manifest's hash.
    pub manifest_hash: ManifestHash,
    /// Bytes before the appendix.
    pub content_bytes: u64,
    /// How it ended.
    pub end: End,
}

impl SessionRow {
    /// Where it is in its life. A live stream that took nothing since `quiet_since` is unterminated:
    /// that follows from when it last did, so it needs no fact, and ends when its writer comes back.
    pub fn status(&self, quiet_since: Timestamp) -> SessionStage {
        match (&self.sealed, &self.anchored) {
            (None, _) if self.appended_at.is_some_and(|at| at < quiet_since) => {
                SessionStage::Unterminated
            }
            (None, _) => SessionStage::Active,
            (Some(_), None) => SessionStage::Sealed,
            (Some(_), Some(_)) => SessionStage::Anchored,
        }
    }

    /// How many chunks it has.
    pub fn chunk_count(&self) -> u64 {
        self.frontier.size()
    }

    /// Bytes it was given so far, cut or not.
    pub fn offset(&self) -> u64 {
        self.cut_bytes + self.tail_bytes
    }

    /// What its copy of a chunk is asked for by.
    pub fn key_of(&self, chunk: &ChunkId) -> ChunkKey {
        ChunkKey::of(self.owner, *chunk)
    }

    /// The root over its chunks so far.
    pub fn root(&self) -> SessionRoot {
        SessionRoot::new(self.frontier.root())
    }

    /// Takes a chunk in behind the last one.
    pub fn take(&mut self, key: &SessionKey, chunk: ChunkId, length: u32) -> Reference {
        let (index, offset) = (self.chunk_count(), self.cut_bytes);
        let salt = salt(self.secret.as_ref(), index);
        let leaf = Leaf { index, offset, length, chunk_id: chunk, salt }.hash(key);
        self.frontier.append(*leaf.as_bytes());
        self.cut_bytes += u64::from(length);
        Reference { index, offset, length, chunk, leaf }
    }

    /// The value of its row, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.text(self.id.as_str()).text(&self.user).text(self.layout.as_str());
        to.option(self.secret.as_ref(), |to, secret| {
            to.raw(secret.as_bytes());
        });
        to.text(&self.profile.to_string()).i64(self.started_at.as_micros());
        to.count(self.metadata.len());
        for (key, value) in &self.metadata {
            to.text(key).text(value);
        }
        to.u8(u8::from(self.one_shot));
        write_owner(&mut to, self.owner);
        to.bytes(&self.frontier.encode()).u64(self.cut_bytes).u64(self.tail_bytes);
        to.u64(self.tail_row_at).option(self.appended_at, |to, at| {
            to.i64(at.as_micros());
        });
        to.u64(self.marks).option(self.last_mark, |to, mark| {
            to.i64(mark.micros).u64(mark.offset);
        });
        to.u64(self.pending).u8(u8::from(self.has_gap)).u8(u8::from(self.tail_gap));
        to.option(self.sealed.as_ref(), |to, sealed| {
            to.i64(sealed.ended_at.as_micros()).raw(sealed.root.as_bytes());
            to.raw(sealed.manifest_hash.as_bytes()).u64(sealed.content_bytes);
            write_end(to, sealed.end);
        });
        to.option(self.anchored, |to, (index, hash)| {
            to.u64(index).raw(hash.as_bytes());
        });
        let begun_by = self.begun_by.as_deref();
        write_origin(&mut to, begun_by, self.source.as_ref(), self.terminal);
        to.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let invalid = |what| WireFault::Invalid { what };
        let id = from.text("a session id")?.parse().map_err(|_| invalid("a session id"))?;
        let user = from.text("a user")?.to_owned();
        let layout = from.text("a layout")?.parse().map_err(|_| invalid("a layout"))?;
        let secret =
            from.option("a secret", |from| from.array("a secret").map(SessionSecret::new))?;
        let profile = from.text("a profile")?.parse().map_err(|_| invalid("a profile"))?;
        let started_at = from.time("a time")?;
        let metadata = read_metadata(&mut from)?;
        let mut row = Self {
            id,
            user,
            layout,
            secret,
            profile,
            started_at,
            metadata,
            one_shot: read_flag(&mut from, "a manner")?,
            owner: read_owner(&mut from)?,
            frontier: Frontier::decode(from.bytes("a frontier")?)?,
            cut_bytes: read_number(&mut from, "cut bytes")?,
            tail_bytes: read_number(&mut from, "tail bytes")?,
            tail_row_at: read_number(&mut from, "a tail row's offset")?,
            appended_at: from.option("a time", |from| from.time("a time"))?,
            marks: read_number(&mut from, "marks")?,
            last_mark: from.option("a mark", |from| {
                Ok(Mark { micros: from.i64("a mark")?, offset: read_number(from, "a mark")? })
            })?,
            pending: read_number(&mut from, "waiting chunks")?,
            has_gap: read_flag(&mut from, "a gap")?,
            tail_gap: read_flag(&mut from, "a tail's gap")?,
            sealed: from.option("a seal", |from| {
                Ok(SealedRow {
                    ended_at: from.time("a time")?,
                    root: SessionRoot::new(from.array("a root")?),
                    manifest_hash: ManifestHash::new(from.array("a manifest hash")?),
                    content_bytes: read_number(from, "content bytes")?,
                    end: read_end(from)?,
                })
            })?,
            anchored: from.option("an anchor", |from| {
                Ok((from.u64("a block index")?, BlockHash::new(from.array("a block hash")?)))
            })?,
            begun_by: None,
            source: None,
            terminal: None,
        };
        let origin = read_origin(&mut from)?;
        (row.begun_by, row.source, row.terminal) =
            (origin.begun_by, origin.source, origin.terminal);
        from.finish()?;
        Ok(row)
    }
}

/// One chunk of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Which chunk of the session.
    pub index: u64,
    /// Where it begins in the session.
    pub offset: u64,
    /// How long it is.
    pub length: u32,
    /// What it is.
    pub chunk: ChunkId,
    /// Its leaf in the session's tree.
    pub leaf: LeafHash,
}

fn write_end(to: &mut Writer, end: End) {
    match end {
        End::Complete => to.u8(0),
        End::Unterminated => to.u8(1),
        End::Eof => to.u8(2),
        End::Exit(ExitStatus::Code(code)) => to.u8(3).u32(code),
        End::Exit(ExitStatus::Signal(signal)) => to.u8(4).u32(signal),
    };
}

fn read_end(from: &mut Reader<'_>) -> Result<End, WireFault> {
    let what = "an end";
    Ok(match from.u8(what)? {
        0 => End::Complete,
        1 => End::Unterminated,
        2 => End::Eof,
        3 => End::Exit(ExitStatus::Code(from.u32(what)?)),
        4 => End::Exit(ExitStatus::Signal(from.u32(what)?)),
        _ => return Err(WireFault::Invalid { what }),
    })
}

impl Reference {
    /// Where the chunk ends in the session.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }

    /// Whether a chunk can be as long as this says, and end where numbers do not. What a server or a row says is
    /// held against it before room is made for the chunk.
    pub fn is_sound(&self) -> bool {
        let length_is_sound = (1..=CHUNK_BYTES_MAX).contains(&(self.length as usize));
        length_is_sound && self.offset.checked_add(u64::from(self.length)).is_some()
    }

    /// Whether this byte of the session is in the chunk.
    pub fn holds(&self, offset: u64) -> bool {
        self.offset <= offset && offset < self.end()
    }

    /// The value of its row, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.offset).u32(self.length).raw(self.chunk.as_bytes()).raw(self.leaf.as_bytes());
        to.finish()
    }

    fn decode(index: u64, bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let reference = Self {
            index,
            offset: read_number(&mut from, "an offset")?,
            length: from.u32("a length")?,
            chunk: ChunkId::new(from.array("a chunk id")?),
            leaf: LeafHash::new(from.array("a leaf")?),
        };
        from.finish()?;
        match reference.is_sound() {
            true => Ok(reference),
            false => Err(WireFault::Invalid { what: "a chunk's place" }),
        }
    }
}

/// What the index knows a session by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionName([u8; 16]);

impl SessionName {
    /// The name in this store.
    pub fn of(cipher: &Cipher, id: &SessionId) -> Self {
        Self(cipher.index_name(id.as_str().as_bytes()))
    }

    fn key(&self, prefix: u8) -> Vec<u8> {
        [&[prefix], self.0.as_slice()].concat()
    }

    /// The key of the session's row.
    pub fn session_key(&self) -> Vec<u8> {
        self.key(SESSION)
    }

    /// The key of a reference.
    pub fn reference_key(&self, index: u64) -> Vec<u8> {
        [self.key(REFERENCE).as_slice(), &index.to_be_bytes()].concat()
    }

    /// The key of bytes that are not cut yet.
    pub fn tail_key(&self, offset: u64) -> Vec<u8> {
        [self.key(TAIL).as_slice(), &offset.to_be_bytes()].concat()
    }

    /// The key of the manifest's text.
    pub fn manifest_key(&self) -> Vec<u8> {
        self.key(MANIFEST)
    }

    /// The key of the anchor transaction's text.
    pub fn anchor_key(&self) -> Vec<u8> {
        self.key(ANCHOR)
    }

    /// The key of the proof from the anchor to the block.
    pub fn proof_key(&self) -> Vec<u8> {
        self.key(PROOF)
    }

    /// The key that says that the anchor is on its way, in the order of sealing.
    pub fn unanchored_key(&self, sealed_at: Timestamp) -> Vec<u8> {
        [[UNANCHORED].as_slice(), &ordered(sealed_at), &self.0].concat()
    }

    /// The key that puts sessions in the order of their start.
    pub fn by_time_key(&self, started_at: Timestamp) -> Vec<u8> {
        [time_key(started_at).as_slice(), &self.0].concat()
    }
}

/// Where the sessions of a moment begin in the order of time.
pub fn time_key(at: Timestamp) -> Vec<u8> {
    [[BY_TIME].as_slice(), &ordered(at)].concat()
}

/// What the keys of sessions in the order of time begin with.
pub fn time_prefix() -> Vec<u8> {
    vec![BY_TIME]
}

/// A time as bytes that sort like it: flipping the sign bit puts times before 1970 in front.
pub(crate) fn ordered(at: Timestamp) -> [u8; 8] {
    (at.as_micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Behind all sessions in the order of time.
pub fn time_end() -> Vec<u8> {
    vec![BY_TIME + 1]
}

/// Whether a key is a session's in the order of time.
pub fn is_time_row(key: &[u8]) -> bool {
    key.first() == Some(&BY_TIME) && key.len() == 1 + 8 + 16
}

/// Where sessions that wait for their anchor begin and end, those that wait longest in front.
pub fn unanchored_range() -> (Vec<u8>, Vec<u8>) {
    (vec![UNANCHORED], vec![UNANCHORED + 1])
}

/// The key of the last manifest that was sealed: the next one names it.
pub fn last_manifest_key() -> Vec<u8> {
    vec![LAST_MANIFEST]
}

/// How many sessions there are, and how much they refer to. Kept with every fact, so that asking costs
/// one read however many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: u64,
    /// Those of them that are sealed.
    pub sealed: u64,
    /// Those of the sealed that are anchored.
    pub anchored: u64,
    /// Chunks that sessions refer to, each as often as it is referred to.
    pub references: u64,
    /// Bytes of sessions, before deduplication.
    pub bytes: u64,
    /// Different chunks that are referred to, by sessions or by uploads that wait for their deletion.
    pub unique: u64,
    /// Bytes of these.
    pub unique_bytes: u64,
    /// Bytes of them, each as often as it is referred to.
    pub chunk_bytes: u64,
    /// Uploads that wait for their deletion.
    pub uploads: u64,
    /// Sealed sessions that are in no block, and that another engine says it has.
    pub elsewhere: u64,
}

impl Counts {
    /// The key of the row.
    pub fn key() -> Vec<u8> {
        vec![COUNTS]
    }

    /// Sealed sessions that nobody says to have anchored.
    pub fn unanchored(&self) -> u64 {
        self.sealed.saturating_sub(self.anchored).saturating_sub(self.elsewhere)
    }

    /// The row's bytes. They are in clear, like all numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.sessions).u64(self.sealed).u64(self.anchored);
        to.u64(self.references).u64(self.bytes);
        to.u64(self.unique).u64(self.unique_bytes).u64(self.chunk_bytes).u64(self.uploads);
        // Stores without such sessions have the row that they always had.
        if self.elsewhere > 0 {
            to.u64(self.elsewhere);
        }
        to.finish()
    }

    /// Reads [`Counts::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            Ok(Self {
                sessions: read_number(from, "sessions")?,
                sealed: read_number(from, "sealed")?,
                anchored: read_number(from, "anchored")?,
                references: read_number(from, "references")?,
                bytes: read_number(from, "bytes")?,
                unique: read_number(from, "different chunks")?,
                unique_bytes: read_number(from, "bytes of different chunks")?,
                chunk_bytes: read_number(from, "bytes of references")?,
                uploads: read_number(from, "uploads")?,
                elsewhere: match from.is_empty() {
                    true => 0,
                    // None is said by saying nothing, so that a row has one spelling.
                    false => match read_number(from, "sessions elsewhere")? {
                        0 => return Err(WireFault::Invalid { what: "sessions elsewhere" }),
                        count => count,
                    },
                },
            })
        };
        let mut from = Reader::new(bytes);
        read(&mut from)
            .and_then(|counts| from.finish().map(|()| counts))
            .map_err(|fault| StoreError::Index(format!("the counts' row: {fault}")))
    }
}

/// The session name at the end of a key.
pub fn name_in(key: &[u8]) -> Option<SessionName> {
    key.last_chunk::<16>().map(|name| SessionName(*name))
}

/// Opens a reference's row.
pub fn open_reference(
    cipher: &Cipher,
    key: &[u8],
    value: Vec<u8>,
) -> Result<Reference, StoreError> {
    Reference::decode(number_in(key), &cipher.decrypt_value(key, value)?)
        .map_err(|fault| StoreError::Index(format!("a reference's row: {fault}")))
}

/// Opens a session's row.
pub fn open_session(cipher: &Cipher, key: &[u8], value: Vec<u8>) -> Result<SessionRow, StoreError> {
    SessionRow::decode(&cipher.decrypt_value(key, value)?)
        .map_err(|fault| StoreError::Index(format!("a session's row: {fault}")))
}

/// The row of a session, if there is one. In an index of an earlier version, and in a plain store, a value
/// does not know its key, so what it says of itself is held against the name that was asked for.
pub fn session(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
) -> Result<Option<SessionRow>, StoreError> {
    let key = name.session_key();
    let row = index.get(&key)?.map(|value| open_session(cipher, &key, value)).transpose()?;
    match row.as_ref().is_none_or(|row| SessionName::of(cipher, &row.id) == *name) {
        true => Ok(row),
        false => Err(StoreError::Index(
            "a session's row is another session's; run `lucid reindex` to rebuild the index".into(),
        )),
    }
}

/// Up to `limit` references from `start` on, in order.
pub fn references(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
    start: u64,
    limit: usize,
) -> Result<Vec<Reference>, StoreError> {
    let to = [name.key(REFERENCE).as_slice(), &[0xff; 9]].concat();
    let rows = index.scan(&name.reference_key(start), &to, limit, false)?;
    rows.into_iter().map(|(key, value)| open_reference(cipher, &key, value)).collect()
}

/// References of all sessions, one session after the other, from the key `from` on.
pub fn all_references(
    index: &dyn Index,
    cipher: &Cipher,
    from: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, Reference)>, StoreError> {
    let from = if from.is_empty() { &[REFERENCE] } else { from };
    let rows = index.scan(from, &[REFERENCE + 1], limit, false)?;
    rows.into_iter()
        .map(|(key, value)| {
            let reference = open_reference(cipher, &key, value)?;
            Ok((key, reference))
        })
        .collect()
}

/// The session whose reference has this key.
pub fn session_of_reference(key: &[u8]) -> Option<SessionName> {
    key.get(1..).and_then(<[u8]>::first_chunk::<16>).map(|name| SessionName(*name))
}

/// The bytes behind the last cut, joined.
pub fn tail(index: &dyn Index, cipher: &Cipher, name: &SessionName) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    for (key, value) in tail_rows(index, name)? {
        bytes.extend_from_slice(&cipher.decrypt_value(&key, value)?);
    }
    Ok(bytes)
}

/// The rows of the bytes behind the last cut.
pub fn tail_rows(
    index: &dyn Index,
    name: &SessionName,
) -> Result<Vec<lucid_store::contract::index::Row>, StoreError> {
    let prefix = name.key(TAIL);
    let to = [prefix.as_slice(), &[0xff; 9]].concat();
    index.scan(&prefix, &to, usize::MAX, false)
}
