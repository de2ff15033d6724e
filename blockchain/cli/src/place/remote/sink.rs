//! Where chunks go that are for a session behind a server: in batches, and only those that it misses.

use lucid_api::client::ClientError;
use lucid_api::v1::chunks::ChunkIds;
use lucid_api::v1::sessions::{AddReferences, Reference as WireReference};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use parking_lot::{Condvar, Mutex};

use super::Remote;
use super::source::RemoteSession;
use crate::ingest::sink::SinkError;
use crate::ingest::{Sink, Worker};
use crate::place::Filling;

/// Chunks are sent when this much has gathered.
const BATCH_BYTES: usize = 8 << 20;
/// Or what goes in so many seconds at the pace that the user wants: a service waits five minutes for it.
const BATCH_SECONDS: usize = 60;
/// Or this many.
const BATCH_CHUNKS: usize = 1_000;

fn refused(error: ClientError) -> SinkError {
    SinkError::Server(error.to_string())
}

#[derive(Default)]
struct PendingChunks {
    chunks: Vec<(ChunkId, Vec<u8>)>,
    bytes: usize,
    /// Batches on their way.
    sending: usize,
    bytes_new: u64,
    bytes_stored: u64,
}

/// Sends chunks in batches, and only those that the server misses.
pub(super) struct RemoteSink<'a> {
    server: &'a Remote,
    session: SessionId,
    pending: Mutex<PendingChunks>,
    sent: Condvar,
    /// Held by the batch that is on its way, where the pace is limited.
    turn: Option<Mutex<()>>,
    batch_bytes: usize,
}

impl<'a> RemoteSink<'a> {
    /// Of a session that is empty, or goes on.
    pub(super) fn new(server: &'a Remote, session: SessionId) -> Self {
        let pace = server.upload_pace;
        let in_time = |kib: u32| (kib as usize * 1024).saturating_mul(BATCH_SECONDS);
        Self {
            server,
            session,
            pending: Mutex::default(),
            sent: Condvar::new(),
            turn: pace.map(|_| Mutex::new(())),
            batch_bytes: pace.map_or(BATCH_BYTES, |kib| in_time(kib).min(BATCH_BYTES)),
        }
    }

    fn send(&self, batch: Vec<(ChunkId, Vec<u8>)>) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let outcome = self.send_missing(batch);
        let mut pending = self.pending.lock();
        pending.sending -= 1;
        if let Ok((bytes_new, bytes_stored)) = &outcome {
            pending.bytes_new += bytes_new;
            pending.bytes_stored += bytes_stored;
        }
        drop(pending);
        self.sent.notify_all();
        outcome.map(|_| ())
    }

    fn send_missing(&self, batch: Vec<(ChunkId, Vec<u8>)>) -> Result<(u64, u64), SinkError> {
        let chunks: Vec<ChunkId> = batch.iter().map(|(id, _)| *id).collect();
        let Remote { client, .. } = self.server;
        let chunks = ChunkIds::from(chunks);
        let missing = self.server.call(|| client.missing_chunks(&chunks)).map_err(refused)?;
        let missing: std::collections::HashSet<ChunkId> = missing.into_iter().collect();
        let mut seen = std::collections::HashSet::new();
        let new: Vec<&[u8]> = batch
            .iter()
            .filter(|(id, _)| missing.contains(id) && seen.insert(*id))
            .map(|(_, bytes)| bytes.as_slice())
            .collect();
        if new.is_empty() {
            return Ok((0, 0));
        }
        let bytes_new = new.iter().map(|bytes| bytes.len() as u64).sum();
        // Side by side they would share the pace, and each take longer than a service waits for a body.
        let _turn = self.turn.as_ref().map(|turn| turn.lock());
        let put = || client.put_chunks(new.iter().copied());
        let stored = self.server.call(put).map_err(refused)?;
        Ok((bytes_new, stored.iter().map(|chunk| chunk.stored_bytes).sum()))
    }

    fn take(pending: &mut PendingChunks) -> Vec<(ChunkId, Vec<u8>)> {
        pending.bytes = 0;
        if !pending.chunks.is_empty() {
            pending.sending += 1;
        }
        std::mem::take(&mut pending.chunks)
    }
}

impl Sink for RemoteSink<'_> {
    fn put(&self, _: &mut Worker, id: &ChunkId, bytes: Vec<u8>) -> Result<(), SinkError> {
        let batch = {
            let mut pending = self.pending.lock();
            pending.bytes += bytes.len();
            pending.chunks.push((*id, bytes));
            if pending.bytes < self.batch_bytes && pending.chunks.len() < BATCH_CHUNKS {
                return Ok(());
            }
            Self::take(&mut pending)
        };
        self.send(batch)
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        let batch = Self::take(&mut self.pending.lock());
        self.send(batch)?;
        let mut pending = self.pending.lock();
        while pending.sending > 0 {
            self.sent.wait(&mut pending);
        }
        drop(pending);
        let chunks = chunks
            .into_iter()
            .map(|(chunk_id, length)| WireReference { chunk_id, length })
            .collect();
        // A request may repeat references that are there already, if they are equal, so it may be sent again.
        let references = AddReferences { start_index, chunks };
        let add = || self.server.client.add_references(self.session.as_str(), &references);
        self.server.call(add).map_err(refused)?;
        Ok(())
    }
}

impl Filling for RemoteSink<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        let pending = self.pending.lock();
        (pending.bytes_new, pending.bytes_stored)
    }
}

/// Holds what comes against a sealed session on a server.
pub(super) struct RemoteCompare<'a> {
    source: RemoteSession<'a>,
}

impl<'a> RemoteCompare<'a> {
    /// Holds against this session.
    pub(super) fn new(source: RemoteSession<'a>) -> Self {
        Self { source }
    }
}

impl Sink for RemoteCompare<'_> {
    fn put(&self, _: &mut Worker, _: &ChunkId, _: Vec<u8>) -> Result<(), SinkError> {
        Ok(())
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        crate::ingest::sink::hold_against(&self.source, start_index, &chunks)
    }
}

impl Filling for RemoteCompare<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        (0, 0)
    }
}
