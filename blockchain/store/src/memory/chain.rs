//! A chain in memory: what tests compare the others with.

use std::collections::HashMap;

use lucid_core::digest::BlockHash;
use lucid_core::record::encode_body;
use lucid_core::transaction::{IdDigest, SESSION_ANCHOR, Transaction};
use lucid_core::validate::ValidBlock;
use parking_lot::Mutex;

use crate::contract::chain::{
    AppendedBlock, Body, ChainStore, Pruning, StoredRecord, StoredRun, Stretch, Tip,
    TransactionPlace, decide,
};
use crate::{CommitError, Damage, StoreError};

/// A record, and the body unless it was pruned.
type StoredBlock = (StoredRecord, Option<Vec<Transaction>>);

#[derive(Debug, Default)]
struct State {
    blocks: Vec<StoredBlock>,
    pruned_below: u64,
    heights: HashMap<BlockHash, u64>,
    ids: HashMap<IdDigest, TransactionPlace>,
}

impl State {
    fn tip(&self) -> Option<Tip> {
        let (last, _) = self.blocks.last()?;
        Some(Tip { height: last.record.entry.index, hash: last.record.entry.hash })
    }

    fn push(&mut self, block: &ValidBlock) {
        let record = block.record();
        self.heights.insert(block.hash, block.index);
        for (position, digests) in (0..).zip(&record.transactions) {
            self.ids.insert(digests.id, TransactionPlace { height: block.index, position });
        }
        let (transactions_before, bytes_before) = self.blocks.last().map_or((0, 0), |(last, _)| {
            let count = last.record.transactions.len() as u64;
            (last.transactions_before + count, last.bytes_before + last.size_bytes)
        });
        let size_bytes = block.size_bytes() as u64;
        let stored = StoredRecord { record, size_bytes, transactions_before, bytes_before };
        self.blocks.push((stored, Some(block.transactions.clone())));
    }

    fn stretch(&self, stretch: Stretch) -> impl Iterator<Item = &StoredBlock> {
        let from = usize::try_from(stretch.from).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.blocks.iter().skip(from).take(stretch.blocks).take_while(move |(stored, _)| {
            let wanted = bytes < stretch.bytes.max(1);
            bytes += stored.record.encode().len();
            wanted
        })
    }

    fn at(&self, height: u64) -> Option<&StoredBlock> {
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
    // There is always some.
    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn tip(&self) -> Result<Option<Tip>, StoreError> {
        Ok(self.state.lock().tip())
    }

    fn append_run(&self, blocks: &[ValidBlock]) -> Result<StoredRun, CommitError> {
        let mut state = self.state.lock();
        let mut run = StoredRun { stored: 0, stopped: None };
        for block in blocks {
            let taken = state.at(block.index).map(|(stored, _)| stored.record.entry.hash);
            match decide(block, state.tip(), taken) {
                None => {
                    state.push(block);
                    run.stored += 1;
                }
                Some(AppendedBlock::Known) => {}
                stopped => return Ok(StoredRun { stopped, ..run }),
            }
        }
        Ok(run)
    }

    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.state.lock().at(height).map(|(stored, _)| stored.clone()))
    }

    fn body(&self, height: u64) -> Result<Option<Body>, StoreError> {
        Ok(self.state.lock().at(height).map(|(_, body)| kept(body.clone())))
    }

    fn records(&self, stretch: Stretch) -> Result<Vec<StoredRecord>, StoreError> {
        Ok(self.state.lock().stretch(stretch).map(|(stored, _)| stored.clone()).collect())
    }

    fn record_bytes(&self, stretch: Stretch) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.state.lock().stretch(stretch).map(|(stored, _)| stored.record.encode()).collect())
    }

    fn body_bytes(&self, stretch: Stretch) -> Result<Vec<Body<Vec<u8>>>, StoreError> {
        let encoded = |(_, body): &StoredBlock| kept(body.as_deref().map(encode_body));
        Ok(self.state.lock().stretch(stretch).map(encoded).collect())
    }

    fn prune(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        let mut state = self.state.lock();
        let mut pruning = Pruning::default();
        let below = keep_from.min(state.blocks.len() as u64);
        let first = state.pruned_below.max(1);
        for (_, body) in state
            .blocks
            .iter_mut()
            .take(usize::try_from(below).unwrap_or(usize::MAX))
            .skip(usize::try_from(first).unwrap_or(usize::MAX))
        {
            *body = None;
            pruning.blocks += 1;
        }
        if pruning.blocks > 0 {
            state.pruned_below = below;
        }
        Ok(pruning)
    }

    fn pruned_below(&self) -> u64 {
        self.state.lock().pruned_below
    }

    fn stored_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.state.lock().blocks.iter().map(|(stored, _)| stored.size_bytes).sum())
    }

    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
        Ok(self.state.lock().heights.get(hash).copied())
    }

    fn find(&self, id: &IdDigest) -> Result<Option<TransactionPlace>, StoreError> {
        Ok(self.state.lock().ids.get(id).copied())
    }

    fn anchors_of(
        &self,
        session: &str,
        behind: Option<TransactionPlace>,
    ) -> Result<Vec<TransactionPlace>, StoreError> {
        let state = self.state.lock();
        let anchors = state.blocks.iter().flat_map(|(stored, _)| {
            let height = stored.record.entry.index;
            stored.record.anchors.iter().map(move |kept| (height, kept))
        });
        let of_session = anchors.filter(|(_, kept)| {
            kept.transaction.kind() == Some(SESSION_ANCHOR)
                && kept.transaction.session_id() == Some(session)
        });
        let places =
            of_session.map(|(height, kept)| TransactionPlace { height, position: kept.position });
        let order = |place: &TransactionPlace| (place.height, place.position);
        Ok(places.filter(|place| behind.is_none_or(|at| order(place) > order(&at))).collect())
    }

    fn read_only(&self) -> Option<String> {
        None
    }

    fn damage(&self) -> Vec<Damage> {
        Vec::new()
    }
}

fn kept<T>(body: Option<T>) -> Body<T> {
    body.map_or(Body::Pruned, Body::Here)
}
