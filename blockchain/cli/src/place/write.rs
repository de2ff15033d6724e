//! What a place promises to who fills it: sessions begin, take bytes, are sealed and anchored.

use lucid_api::v1::sessions::{Appended, Session};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::chunks::store_chunks::StorageOptions;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;

use crate::ingest::Sink;

/// A session to be filled.
#[derive(Debug)]
pub enum Begun {
    /// It is empty.
    Empty(SessionId),
    /// It is sealed already: the same content may only be held against it.
    Sealed(SessionId),
}

/// A part of what a session keeps of its content, in order: for a caller that has the same bytes at hand,
/// so that they need not be read back.
#[derive(Debug, Clone, Copy)]
pub enum KeptPart<'a> {
    /// A chunk, and how long it is.
    Chunk(ChunkId, u64),
    /// Bytes that are not cut yet.
    Bytes(&'a [u8]),
    /// So many bytes that the caller of the server may not read back.
    Unseen(u64),
}

/// A sink, and what was new.
pub trait Filling: Sink {
    /// This as a sink.
    fn as_sink(&self) -> &dyn Sink;

    /// Bytes of chunks that were not known, and what they take in the store, as far as it is told.
    fn totals(&self) -> (u64, u64);
}

/// Fills sessions.
pub trait WriteSessions: Sync {
    /// Begins a session; an unsealed one of the same id is taken over.
    fn begin(&self, new: NewSession) -> anyhow::Result<Begun>;

    /// Takes what fills an empty session.
    fn fill<'a>(
        &'a self,
        id: &SessionId,
        storage: StorageOptions,
    ) -> anyhow::Result<Box<dyn Filling + 'a>>;

    /// Holds content against a sealed session.
    fn compare<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn Filling + 'a>>;

    /// Those of these chunks that are not here.
    fn missing(&self, chunks: &[ChunkId]) -> anyhow::Result<Vec<ChunkId>>;

    /// Begins a live stream, or finds the one that was broken off; says where it goes on.
    fn stream(&self, new: NewSession) -> anyhow::Result<Session>;

    /// Adds bytes to a live stream; durable on return.
    fn append(
        &self,
        id: &SessionId,
        piece: StreamPiece<'_>,
        storage: StorageOptions,
    ) -> anyhow::Result<Appended>;

    /// Visits what is kept of a raw session's content, until `visit` has seen enough.
    fn kept(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(KeptPart<'_>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()>;

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
}
