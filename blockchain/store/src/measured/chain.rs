//! A chain whose calls are measured.

use lucid_core::digest::BlockHash;
use lucid_core::transaction::IdDigest;
use lucid_core::validate::ValidBlock;

use super::Call;
use crate::contract::chain::{
    AppendedBlock, Body, ChainStore, KeptBlock, Pruning, StoredRecord, StoredRun, Stretch, Tip,
    TransactionPlace,
};
use crate::{CommitError, Damage, StoreError};

/// Stands before a chain.
pub struct MeasuredChain {
    chain: Box<dyn ChainStore>,
    append: Call,
    record: Call,
    body: Call,
    records: Call,
    bodies: Call,
    find: Call,
    prune: Call,
}

impl MeasuredChain {
    /// Measures the calls of this chain.
    pub fn over(chain: Box<dyn ChainStore>) -> Self {
        let [append, record, body, records, bodies, find, prune] =
            ["append", "record", "body", "records", "bodies", "find", "prune"]
                .map(|call| Call::of("blocks", call));
        Self { chain, append, record, body, records, bodies, find, prune }
    }
}

impl ChainStore for MeasuredChain {
    fn room(&self, bytes: u64) -> Result<(), CommitError> {
        self.chain.room(bytes)
    }

    fn tip(&self) -> Result<Option<Tip>, StoreError> {
        self.chain.tip()
    }

    fn append_run(&self, blocks: &[ValidBlock]) -> Result<StoredRun, CommitError> {
        self.append.time(|| self.chain.append_run(blocks))
    }

    fn append(&self, block: &ValidBlock) -> Result<AppendedBlock, CommitError> {
        self.append.time(|| self.chain.append(block))
    }

    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError> {
        self.record.time(|| self.chain.record(height))
    }

    fn body(&self, height: u64) -> Result<Option<Body>, StoreError> {
        self.body.time(|| self.chain.body(height))
    }

    fn records(&self, stretch: Stretch) -> Result<Vec<StoredRecord>, StoreError> {
        self.records.time(|| self.chain.records(stretch))
    }

    fn record_bytes(&self, stretch: Stretch) -> Result<Vec<Vec<u8>>, StoreError> {
        self.records.time(|| self.chain.record_bytes(stretch))
    }

    fn body_bytes(&self, stretch: Stretch) -> Result<Vec<Body<Vec<u8>>>, StoreError> {
        self.bodies.time(|| self.chain.body_bytes(stretch))
    }

    fn prune(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        self.prune.time(|| self.chain.prune(keep_from))
    }

    fn pruned_below(&self) -> u64 {
        self.chain.pruned_below()
    }

    fn stored_bytes(&self) -> Result<u64, StoreError> {
        self.chain.stored_bytes()
    }

    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
        self.find.count(|| self.chain.height_of(hash))
    }

    fn find(&self, id: &IdDigest) -> Result<Option<TransactionPlace>, StoreError> {
        self.find.count(|| self.chain.find(id))
    }

    fn anchors_of(
        &self,
        session: &str,
        behind: Option<TransactionPlace>,
    ) -> Result<Vec<TransactionPlace>, StoreError> {
        self.find.count(|| self.chain.anchors_of(session, behind))
    }

    fn read_only(&self) -> Option<String> {
        self.chain.read_only()
    }

    fn damage(&self) -> Vec<Damage> {
        self.chain.damage()
    }

    fn contains(&self, id: &IdDigest) -> Result<bool, StoreError> {
        self.find.count(|| self.chain.contains(id))
    }

    fn block(&self, height: u64) -> Result<Option<KeptBlock>, StoreError> {
        self.body.time(|| self.chain.block(height))
    }
}
