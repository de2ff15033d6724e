//! Facts about single chunks: uploads that no session refers to, chunks put into a session by their
//! index, and what was built or found out about them.

use lucid_core::digest::{ChunkId, SessionRoot};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::registry::data_chain::fact::{FORGOTTEN, NOTED, PLACED, UPLOADED};

use super::{read_flag, read_name_at_end, read_number, write_name_at_end};

const TREE: u8 = 0;
const VERIFIED: u8 = 1;
const TREE_PART: u8 = 2;

/// Leaves of a tree in one fact: whole pages of rows.
const LEAVES_MAX: usize = 1 << 17;

/// Chunks that are kept although no session refers to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// When they came.
    pub at: Timestamp,
    /// Until when they are kept; without it until a client deletes them.
    pub until: Option<Timestamp>,
    /// What the caller said of them, as a JSON object; may be empty.
    pub metadata: String,
    /// The chunks, with their lengths.
    pub chunks: Vec<(ChunkId, u32)>,
    /// What the credentials are called of who sent them, where any were asked for.
    pub sender: Option<String>,
}

/// Chunks that are not kept any more, unless a session refers to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The chunks.
    pub chunks: Vec<ChunkId>,
}

/// Chunks that were put into a session at an index, perhaps before those in front of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The session.
    pub session: SessionId,
    /// The index of the first.
    pub index: u64,
    /// When they came.
    pub at: Timestamp,
    /// What the caller calls them.
    pub alias: Option<String>,
    /// What the caller said of them, as a JSON object; may be empty.
    pub metadata: String,
    /// The parts of one upload, with their lengths.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// A tree that was built over chunks, or some of its leaves: one that is too large for one fact has several,
/// in the order of their leaves, in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its root.
    pub root: SessionRoot,
    /// The session its leaves are bound to.
    pub session: Option<SessionId>,
    /// When it was built.
    pub at: Timestamp,
    /// Which leaf is the first here.
    pub first: u64,
    /// How many it has in all.
    pub count: u64,
    /// The leaves.
    pub leaves: Vec<[u8; 32]>,
}

/// The outcome of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// What was verified: a chunk's name as the caller gave it, or a session's id.
    pub subject: String,
    /// Whether it was a session.
    pub is_session: bool,
    /// Whether nothing was wrong.
    pub verified: bool,
    /// What was, or what was left out.
    pub reason: String,
}

fn write_chunks(to: &mut Writer, chunks: &[(ChunkId, u32)]) {
    to.count(chunks.len());
    for (id, length) in chunks {
        to.raw(id.as_bytes()).u32(*length);
    }
}

fn read_chunks(from: &mut Reader<'_>) -> Result<Vec<(ChunkId, u32)>, WireFault> {
    let count = from.u32("a chunk count")?;
    let mut chunks = Vec::new();
    for _ in 0..count {
        let id = ChunkId::new(from.array("a chunk id")?);
        chunks.push((id, from.u32("a chunk length")?));
    }
    Ok(chunks)
}

fn write_time(to: &mut Writer, at: Timestamp) {
    to.i64(at.as_micros());
}

fn read_time(from: &mut Reader<'_>) -> Result<Timestamp, WireFault> {
    from.time("a time")
}

fn read_session(from: &mut Reader<'_>) -> Result<SessionId, WireFault> {
    let text = from.text("a session id")?;
    text.parse().map_err(|_| WireFault::Invalid { what: "a session id" })
}

impl Uploaded {
    /// Chunks that are kept, in as many facts as they take.
    pub fn of(
        at: Timestamp,
        until: Option<Timestamp>,
        metadata: &str,
        chunks: &[(ChunkId, u32)],
        sender: Option<&str>,
    ) -> Vec<Self> {
        let some = |chunks: &[(ChunkId, u32)]| Self {
            at,
            until,
            metadata: metadata.to_owned(),
            chunks: chunks.to_vec(),
            sender: sender.map(str::to_owned),
        };
        chunks.chunks(super::CHUNKS_MAX).map(some).collect()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(UPLOADED);
        write_time(to, self.at);
        to.option(self.until, write_time).text(&self.metadata);
        write_chunks(to, &self.chunks);
        write_name_at_end(to, self.sender.as_deref());
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        Ok(Self {
            at: read_time(from)?,
            until: from.option("an end", read_time)?,
            metadata: from.text("metadata")?.to_owned(),
            chunks: read_chunks(from)?,
            sender: read_name_at_end(from)?,
        })
    }
}

impl Forgotten {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(FORGOTTEN).count(self.chunks.len());
        for id in &self.chunks {
            to.raw(id.as_bytes());
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let count = from.u32("a chunk count")?;
        let mut chunks = Vec::new();
        for _ in 0..count {
            chunks.push(ChunkId::new(from.array("a chunk id")?));
        }
        Ok(Self { chunks })
    }
}

impl Placed {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(PLACED).text(self.session.as_str()).u64(self.index);
        write_time(to, self.at);
        to.option(self.alias.as_ref(), |to, alias| {
            to.text(alias);
        });
        to.text(&self.metadata);
        write_chunks(to, &self.chunks);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        Ok(Self {
            session: read_session(from)?,
            index: read_number(from, "an index")?,
            at: read_time(from)?,
            alias: from.option("an alias", |from| Ok(from.text("an alias")?.to_owned()))?,
            metadata: from.text("metadata")?.to_owned(),
            chunks: read_chunks(from)?,
        })
    }
}

impl Tree {
    /// A tree, in as many facts as it takes.
    pub fn parts(
        root: SessionRoot,
        session: Option<&SessionId>,
        at: Timestamp,
        leaves: &[[u8; 32]],
    ) -> Vec<Self> {
        let part = |(first, some): (u64, &[[u8; 32]])| Self {
            root,
            session: session.cloned(),
            at,
            first,
            count: leaves.len() as u64,
            leaves: some.to_vec(),
        };
        (0..).step_by(LEAVES_MAX).zip(leaves.chunks(LEAVES_MAX)).map(part).collect()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        let is_whole = (self.first, self.count) == (0, self.leaves.len() as u64);
        to.u8(NOTED).u8(if is_whole { TREE } else { TREE_PART }).raw(self.root.as_bytes());
        to.option(self.session.as_ref(), |to, session| {
            to.text(session.as_str());
        });
        write_time(to, self.at);
        if !is_whole {
            to.u64(self.first).u64(self.count);
        }
        to.count(self.leaves.len());
        for leaf in &self.leaves {
            to.raw(leaf);
        }
    }
}

impl Verified {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(NOTED).u8(VERIFIED);
        write_time(to, self.at);
        to.text(&self.subject).u8(u8::from(self.is_session)).u8(u8::from(self.verified));
        to.text(&self.reason);
    }
}

/// Reads a note of any kind: a tree, a part of one, or the outcome of a verification.
pub(super) fn read_noted(from: &mut Reader<'_>) -> Result<super::Fact, WireFault> {
    match from.u8("a note's kind")? {
        kind @ (TREE | TREE_PART) => {
            let root = SessionRoot::new(from.array("a root")?);
            let session = from.option("a session", read_session)?;
            let at = read_time(from)?;
            let place = match kind {
                TREE => None,
                _ => {
                    Some((read_number(from, "a leaf's index")?, read_number(from, "a leaf count")?))
                }
            };
            let here = from.u32("a leaf count")?;
            let mut leaves = Vec::new();
            for _ in 0..here {
                leaves.push(from.array("a leaf")?);
            }
            let (first, count) = place.unwrap_or((0, here.into()));
            if place == Some((0, here.into())) {
                return Err(WireFault::Invalid { what: "a part of a tree" });
            }
            Ok(super::Fact::Tree(Tree { root, session, at, first, count, leaves }))
        }
        VERIFIED => Ok(super::Fact::Verified(Verified {
            at: read_time(from)?,
            subject: from.text("a subject")?.to_owned(),
            is_session: read_flag(from, "yes or no")?,
            verified: read_flag(from, "yes or no")?,
            reason: from.text("a reason")?.to_owned(),
        })),
        _ => Err(WireFault::Invalid { what: "a note's kind" }),
    }
}
