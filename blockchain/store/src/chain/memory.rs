//! A chain in memory: what tests compare the others with.

use std::collections::HashMap;

use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_core::validate::ValidBlock;
use parking_lot::Mutex;

use super::{Appended, ChainStore, Place, StoredRecord, Tip, decide};
use crate::{CommitError, Damage, StoreError};

#[derive(Debug, Default)]
struct State {
    blocks: Vec<(StoredRecord, Vec<Transaction>)>,
    heights: HashMap<BlockHash, u64>,
    ids: HashMap<IdDigest, Place>,
}

impl State {
    fn tip(&self) -> Option<Tip> {
        let (last, _) = self.blocks.last()?;
        Some(Tip { height: last.record.entry.index, hash: last.record.entry.hash })
    }

    fn at(&self, height: u64) -> Option<&(StoredRecord, Vec<Transaction>)> {
        self.blocks.get(usize::try_from(height).ok()?)
    }
}

/// Blocks behind a lock, gone with the process.
#[derive(Debug, Default)]
pub struct ChainMemory {
    state: Mutex<State>,
}

impl ChainMemory {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ChainStore for ChainMemory {
    fn tip(&self) -> Result<Option<Tip>, StoreError> {
        Ok(self.state.lock().tip())
    }

    fn append(&self, block: &ValidBlock) -> Result<Appended, CommitError> {
        let mut state = self.state.lock();
        let taken = state.at(block.index).map(|(stored, _)| stored.record.entry.hash);
        if let Some(outcome) = decide(block, state.tip(), taken) {
            return Ok(outcome);
        }
        let record = BlockRecord::of(block);
        state.heights.insert(block.hash, block.index);
        for (position, digests) in (0..).zip(&record.transactions) {
            state.ids.insert(digests.id, Place { height: block.index, position });
        }
        let before = state
            .blocks
            .last()
            .map_or(0, |(stored, body)| stored.transactions_before + body.len() as u64);
        let size_bytes = block.size_bytes() as u64;
        let stored = StoredRecord { record, size_bytes, transactions_before: before };
        state.blocks.push((stored, block.transactions.clone()));
        Ok(Appended::Stored)
    }

    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.state.lock().at(height).map(|(stored, _)| stored.clone()))
    }

    fn body(&self, height: u64) -> Result<Option<Vec<Transaction>>, StoreError> {
        Ok(self.state.lock().at(height).map(|(_, body)| body.clone()))
    }

    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
        Ok(self.state.lock().heights.get(hash).copied())
    }

    fn find(&self, id: &IdDigest) -> Result<Option<Place>, StoreError> {
        Ok(self.state.lock().ids.get(id).copied())
    }

    fn read_only(&self) -> Option<String> {
        None
    }

    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }
}
