//! A session in a data folder of this process, as where chunks and references go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::Opened;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::store_chunks::{StorageOptions, hand_over_chunk};
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::read_session::StoredSession;
use lucid_data_chain::row::SessionRow;
use lucid_store::crypt::{ChunkKey, Owner};
use parking_lot::Mutex;

use crate::ingest::sink::{Sink, SinkError, Worker, hold_against};

/// What was new.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes of chunks that were not known.
    pub(super) bytes_new: AtomicU64,
    /// Bytes they take in the store.
    pub(super) bytes_stored: AtomicU64,
}

/// A session in a data folder of this process.
pub(super) struct StoreSink<'a> {
    opened: &'a Opened,
    session: SessionId,
    owner: Owner,
    storage: StorageOptions,
    tally: Arc<Tally>,
    /// The first commit that failed; the next call hears of it.
    failure: Arc<Mutex<Option<OpError>>>,
}

impl<'a> StoreSink<'a> {
    /// Writes to this session.
    pub(super) fn new(opened: &'a Opened, session: SessionRow, storage: StorageOptions) -> Self {
        let (session, owner) = (session.id, session.owner);
        Self { opened, session, owner, storage, tally: Arc::default(), failure: Arc::default() }
    }

    /// What was new so far.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn check(&self) -> Result<(), SinkError> {
        match self.failure.lock().clone() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

impl Sink for StoreSink<'_> {
    fn put(&self, worker: &mut Worker, id: &ChunkId, bytes: Vec<u8>) -> Result<(), SinkError> {
        self.check()?;
        let length = bytes.len() as u64;
        let (tally, failure) = (self.tally.clone(), self.failure.clone());
        let done = Box::new(move |outcome: Result<_, lucid_store::CommitError>| match outcome {
            Ok(lucid_store::vault::committer::Committed { chunks_new, bytes_stored }) => {
                tally.bytes_new.fetch_add(length * chunks_new, Ordering::Relaxed);
                tally.bytes_stored.fetch_add(bytes_stored, Ordering::Relaxed);
            }
            Err(error) => {
                failure.lock().get_or_insert(error.into());
            }
        });
        let compression = self.storage.compression.at(worker.pressure);
        let storage = StorageOptions { compression, ..self.storage };
        let key = ChunkKey::of(self.owner, *id);
        hand_over_chunk(&self.opened.vault, &mut worker.packer, storage, key, &bytes, done)?;
        Ok(())
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        self.check()?;
        let Opened { vault, locks, .. } = self.opened;
        let added = add_references(vault, locks, &self.session, start_index, chunks);
        // A chunk that failed to commit is the cause of a reference that was refused for it.
        self.check()?;
        added?;
        Ok(())
    }
}

/// A sealed session that the same content is held against: nothing is written.
pub(super) struct CompareSink<'a> {
    opened: &'a Opened,
    session: SessionId,
}

impl<'a> CompareSink<'a> {
    /// Holds what comes against this session.
    pub(super) fn new(opened: &'a Opened, session: SessionId) -> Self {
        Self { opened, session }
    }
}

impl Sink for CompareSink<'_> {
    fn put(&self, _: &mut Worker, _: &ChunkId, _: Vec<u8>) -> Result<(), SinkError> {
        Ok(())
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        let source = StoredSession::open(&self.opened.vault, &self.session)?;
        hold_against(&source, start_index, &chunks)
    }
}
