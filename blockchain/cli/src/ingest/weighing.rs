//! A sink that takes nothing, and finds out how much of what comes would be new.

use std::collections::HashSet;

use lucid_core::digest::ChunkId;
use parking_lot::Mutex;

use super::sink::{Sink, SinkError, Worker};

/// Chunks that are asked for at once.
const BATCH_CHUNKS: usize = 1_000;

/// Counts what a store does not have. Every chunk that came is kept in mind, by its id alone.
pub(crate) struct Weighing<F> {
    /// Which of these chunks are not there.
    missing: F,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    met: HashSet<ChunkId>,
    /// Those that were not asked for yet, and how long they are.
    waiting: Vec<(ChunkId, u64)>,
    chunks_new: u64,
    bytes_new: u64,
}

impl<F: Fn(Vec<ChunkId>) -> Result<Vec<ChunkId>, SinkError> + Sync> Weighing<F> {
    pub fn new(missing: F) -> Self {
        Self { missing, state: Mutex::default() }
    }

    /// Asks for what is left; says how many chunks are new, and how many bytes.
    pub fn finish(self) -> Result<(u64, u64), SinkError> {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        self.ask(waiting)?;
        let state = self.state.into_inner();
        Ok((state.chunks_new, state.bytes_new))
    }

    fn ask(&self, chunks: Vec<(ChunkId, u64)>) -> Result<(), SinkError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let missing = (self.missing)(chunks.iter().map(|(id, _)| *id).collect())?;
        let missing: HashSet<ChunkId> = missing.into_iter().collect();
        let new = chunks.iter().filter(|(id, _)| missing.contains(id));
        let (count, bytes) = new.fold((0, 0), |(n, bytes), (_, length)| (n + 1, bytes + length));
        let mut state = self.state.lock();
        state.chunks_new += count;
        state.bytes_new += bytes;
        Ok(())
    }
}

impl<F: Fn(Vec<ChunkId>) -> Result<Vec<ChunkId>, SinkError> + Sync> Sink for Weighing<F> {
    fn put(&self, _: &mut Worker, id: &ChunkId, bytes: Vec<u8>) -> Result<(), SinkError> {
        let batch = {
            let mut state = self.state.lock();
            if !state.met.insert(*id) {
                return Ok(());
            }
            state.waiting.push((*id, bytes.len() as u64));
            if state.waiting.len() < BATCH_CHUNKS {
                return Ok(());
            }
            std::mem::take(&mut state.waiting)
        };
        self.ask(batch)
    }

    fn refer(&self, _: u64, _: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        Ok(())
    }
}
