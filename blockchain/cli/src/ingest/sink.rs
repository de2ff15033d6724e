//! Where chunks and references go: what every kind of place promises of that.

use lucid_core::digest::ChunkId;
use lucid_data_chain::ops::{Clash, OpError};
use lucid_data_chain::source::SessionSource;
use lucid_store::codec::{Packer, Pressure};
use thiserror::Error;

/// What a thread brings along: contexts that are too costly to make for each chunk.
#[derive(Debug)]
pub struct Worker {
    /// Compresses.
    pub packer: Packer,
    /// How pressing the input is.
    pub pressure: Pressure,
}

impl Default for Worker {
    fn default() -> Self {
        Self { packer: Packer::new(), pressure: Pressure::Even }
    }
}

/// Why a sink does not take anything more.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] OpError),
    /// The server failed, or refused.
    #[error("{0}")]
    Server(String),
}

/// Takes chunks from many threads, and references from one.
pub trait Sink: Sync {
    /// Takes a chunk, unless it is known. It may not be durable on return, but it is durable before
    /// any reference handed over later.
    fn put(&self, worker: &mut Worker, id: &ChunkId, bytes: Vec<u8>) -> Result<(), SinkError>;

    /// Adds references, in order; durable on return.
    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError>;
}

/// Whether a sealed session has these chunks in this place.
pub fn hold_against(
    source: &dyn SessionSource,
    start_index: u64,
    chunks: &[(ChunkId, u32)],
) -> Result<(), SinkError> {
    let mut next = start_index;
    let mut rest = chunks;
    while !rest.is_empty() {
        let known = source.references(next, rest.len())?;
        let (now, later) = rest.split_at(known.len().min(rest.len()));
        let same = !known.is_empty()
            && known
                .iter()
                .zip(now)
                .all(|(known, (id, length))| known.chunk == *id && known.length == *length);
        if !same {
            let id = &source.shape().id;
            let conflict = format!("session {id} is sealed with other content");
            return Err(OpError::Conflict(Clash::Exists, conflict).into());
        }
        next += now.len() as u64;
        rest = later;
    }
    Ok(())
}
