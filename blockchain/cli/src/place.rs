//! Where sessions live: in a data folder of this process, or behind a server.
//!
//! The verbs work on a [`Place`] and do not know which.

pub mod local;
pub(crate) mod mirror;
pub(crate) mod reading;
pub mod remote;

use lucid_api::v1::maintenance::{CollectGarbage, GarbageCollected, Optimised};
use lucid_api::v1::removal::Tombstone;
use lucid_api::v1::scrub::Scrub;
use lucid_api::v1::sessions::{Appended, Session};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::ops::sessions::read_session::SessionSource;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_store::codec::Compression;
use lucid_store::files::folder::OnlyRead;

use crate::ingest::Sink;

/// A session to be filled.
#[derive(Debug)]
pub enum Begun {
    /// It is empty.
    Empty(SessionId),
    /// It is sealed already: the same content may only be held against it.
    Sealed(SessionId),
}

/// How new chunks are to be kept; a server has its own settings.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// How they are compressed.
    pub compression: Compression,
    /// Whether they are encrypted.
    pub encrypt: bool,
}

/// A part of what a session keeps of its content, in order: for whoever has the same bytes at hand, so
/// that they need not be read back.
#[derive(Debug, Clone, Copy)]
pub enum KeptPart<'a> {
    /// A chunk, and how long it is.
    Chunk(ChunkId, u64),
    /// Bytes that are not cut yet.
    Bytes(&'a [u8]),
}

/// A sink, and what was new.
pub trait Filling: Sink {
    /// This as a sink.
    fn as_sink(&self) -> &dyn Sink;

    /// Bytes of chunks that were not known, and what they take in the store, as far as it is told.
    fn totals(&self) -> (u64, u64);
}

/// What a verification found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Findings {
    /// Sessions that were verified.
    pub sessions: u64,
    /// Blocks that were validated.
    pub blocks: u64,
    /// Records that were read.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong with files: each names file and offset.
    pub damage: Vec<String>,
    /// What is wrong with sessions.
    pub faults: Vec<String>,
    /// Files that do not belong there.
    pub unknown_files: Vec<String>,
    /// What was not checked, and why.
    pub not_checked: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.faults.is_empty()
    }
}

/// What holds sessions.
pub trait Place: Sync {
    /// Begins a session; an unsealed one of the same id is taken over.
    fn begin(&self, new: NewSession) -> anyhow::Result<Begun>;

    /// Takes what fills an empty session.
    fn fill<'a>(&'a self, id: &SessionId, wish: Wish) -> anyhow::Result<Box<dyn Filling + 'a>>;

    /// Holds content against a sealed session.
    fn compare<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn Filling + 'a>>;

    /// Begins a live stream, or finds the one that was broken off; says where it goes on.
    fn stream(&self, new: NewSession) -> anyhow::Result<Session>;

    /// Adds bytes to a live stream; durable on return.
    fn append(
        &self,
        id: &SessionId,
        piece: StreamPiece<'_>,
        wish: Wish,
    ) -> anyhow::Result<Appended>;

    /// Visits what is kept of a raw session's content, until `visit` has seen enough.
    fn kept(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(KeptPart<'_>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()>;

    /// The id of the store, in hex, if it can be told.
    fn store(&self) -> anyhow::Result<Option<String>>;

    /// Ends a session.
    fn seal(&self, id: &SessionId, request: &SealRequest) -> anyhow::Result<()>;

    /// Whether what is sealed here now could be anchored, as far as that can be told at once; `new` is the
    /// id that a session is to have, if one was chosen. A server keeps anchors until it can deliver them.
    fn may_anchor(&self, _new: Option<&SessionId>) -> anyhow::Result<()> {
        Ok(())
    }

    /// Brings a sealed session's anchor into a block, and waits for it.
    fn anchor(&self, id: &SessionId) -> anyhow::Result<Session>;

    /// Anchors of other sessions that were refused while one was brought into a block, a sentence each.
    /// A server tells its own log.
    fn undelivered(&self) -> Vec<String> {
        Vec::new()
    }

    /// A session.
    fn session(&self, id: &SessionId) -> anyhow::Result<Session>;

    /// Sessions, the newest first, each given to `visit`.
    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Removes a session; its tombstone is durable on return.
    fn remove(&self, id: &SessionId, reason: &str) -> anyhow::Result<Tombstone>;

    /// Brings the tombstones of removed sessions into a block, where nobody else does.
    fn chain_tombstones(&self) -> anyhow::Result<()>;

    /// What is left of a session, if it was removed.
    fn tombstone(&self, id: &SessionId) -> anyhow::Result<Option<Tombstone>>;

    /// What is left of removed sessions, the last one first, each given to `visit`.
    fn tombstones(
        &self,
        visit: &mut dyn FnMut(Tombstone) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Collects garbage. `progress` is told the stage, and how many bytes of how many are done.
    fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<GarbageCollected>;

    /// Packs what is stored more tightly. `progress` is told how many bytes of how many are done.
    fn optimise(
        &self,
        level: u8,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<Optimised>;

    /// How far reading stored bytes again has come, and what was found.
    fn scrub(&self) -> anyhow::Result<Scrub>;

    /// Reads stored bytes again, to the end. `progress` is told how many bytes of how many are done.
    fn scrub_now(&self, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Scrub>;

    /// Forbids to remove a session.
    fn hold(&self, id: &SessionId, reason: &str) -> anyhow::Result<Session>;

    /// Allows to remove a session again.
    fn release(&self, id: &SessionId) -> anyhow::Result<Session>;

    /// Reads a session.
    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>>;

    /// Makes a proof bundle.
    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>>;

    /// Verifies one session. `progress` is told how many bytes are done.
    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings>;

    /// Verifies everything there is. `progress` is told how many bytes of how many are done.
    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings>;

    /// Damage that was come upon so far: each names file and offset.
    fn damage(&self) -> Vec<String>;

    /// Why what is here may not be all there was, if so.
    fn loss(&self) -> Option<String>;

    /// What to say of a folder that is only read.
    fn only_read(&self) -> Option<&OnlyRead>;

    /// Folders of this place that must not be archived into it.
    fn own_folder(&self) -> Option<std::path::PathBuf>;

    /// Ends in order.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}
