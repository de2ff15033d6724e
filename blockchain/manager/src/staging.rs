//! Blocks of a follower that are not final yet, in files beside the chain.
//!
//! Synchronisation fills it, commits from it and drops from it; the routes show it and remove its newest
//! block. Each block is a file of its own, replaced by rename, with a checksum: a block that
//! cannot be read is dropped and fetched again, for no caller was promised anything that is here.
//!
//! Invariant: the blocks here follow each other without a gap, and the first follows the chain's tip.

use std::sync::Arc;

use lucid_core::block::{Block, Candidate, Parent};
use lucid_core::block_merkle::transaction_hash;
use lucid_core::digest::BlockHash;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_store::StoreError;
use lucid_store::contract::chain::Tip;
use lucid_store::files::disk::{self, Disk};
use parking_lot::Mutex;

/// The folder of tentative blocks, beside `blocks/`.
pub const FOLDER: &str = "staging";
/// So many blocks may be tentative at once.
pub const STAGED_BLOCKS_MAX: usize = 64;
/// And so many bytes of transactions.
pub const STAGED_BYTES_MAX: usize = 128 << 20;

/// What is remembered of a tentative block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: BlockHash,
    /// Its time, for the block after it.
    pub time: Timestamp,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Bytes of its transactions.
    pub bytes: usize,
    /// The digests of its transactions' ids.
    pub ids: Arc<[IdDigest]>,
    previous: BlockHash,
}

impl Staged {
    fn of(block: &Block, first_seen: Timestamp) -> Option<Self> {
        Some(Self {
            height: block.index,
            hash: block.hash,
            time: block.time().ok()?,
            first_seen,
            bytes: block.size_bytes(),
            ids: block.transactions.iter().map(Transaction::id_digest).collect(),
            previous: block.previous_hash,
        })
    }

    /// What the next block needs to know of it.
    pub fn as_parent(&self) -> Parent {
        Parent { index: self.height, hash: self.hash, time: self.time }
    }
}

/// The tentative blocks of one chain.
pub struct Staging {
    disk: Arc<dyn Disk>,
    blocks: Mutex<Vec<Staged>>,
}

fn path(height: u64) -> String {
    format!("{FOLDER}/{height:020}.block")
}

fn failed(doing: &str) -> impl FnOnce(std::io::Error) -> StoreError {
    StoreError::io(format!("{doing} {FOLDER}/"))
}

impl Staging {
    /// Opens what is there; what does not follow the tip, or does not read, is removed.
    pub fn open(disk: Arc<dyn Disk>, tip: Option<Tip>) -> Result<Self, StoreError> {
        let mut blocks: Vec<Staged> = Vec::new();
        for name in disk.list(FOLDER).map_err(failed("listing"))? {
            let path = disk::join(FOLDER, &name);
            let next = next_after(blocks.last(), tip);
            let read = match name == format!("{:020}.block", next.0) {
                true => read(disk.as_ref(), &path)?,
                false => None,
            };
            let staged = read.and_then(|(first_seen, candidate)| {
                Staged::of(&candidate.into_block()?, first_seen)
            });
            match staged.filter(|staged| (staged.height, staged.previous) == next) {
                Some(staged) => blocks.push(staged),
                None => {
                    tracing::info!(file = path, "a tentative block is not needed and dropped");
                    disk.unlink(&path).map_err(failed("removing from"))?;
                }
            }
        }
        Ok(Self { disk, blocks: Mutex::new(blocks) })
    }

    /// All of them, lowest first.
    pub fn list(&self) -> Vec<Staged> {
        self.blocks.lock().clone()
    }

    /// The newest of them.
    pub fn top(&self) -> Option<Staged> {
        self.blocks.lock().last().cloned()
    }

    /// Puts a block on top of the others; says whether it was the next one and there was room.
    pub fn add(
        &self,
        block: &Block,
        first_seen: Timestamp,
        tip: Option<Tip>,
    ) -> Result<bool, StoreError> {
        let mut blocks = self.blocks.lock();
        let Some(staged) = Staged::of(block, first_seen) else { return Ok(false) };
        let bytes: usize = blocks.iter().map(|staged| staged.bytes).sum();
        if (staged.height, staged.previous) != next_after(blocks.last(), tip)
            || blocks.len() >= STAGED_BLOCKS_MAX
            || bytes + staged.bytes > STAGED_BYTES_MAX
        {
            return Ok(false);
        }
        let rest = format!("{first_seen}\n{}\n", block.to_json_text());
        let text = format!("{}\n{rest}", transaction_hash(&rest));
        let name = format!("{:020}.block", staged.height);
        self.disk.create_folder(FOLDER).map_err(failed("making"))?;
        disk::replace(self.disk.as_ref(), FOLDER, &name, text.as_bytes())
            .map_err(failed("writing to"))?;
        blocks.push(staged);
        Ok(true)
    }

    /// A tentative block; `None` if it is gone, or does not read any more.
    pub fn read(&self, height: u64) -> Result<Option<Candidate>, StoreError> {
        Ok(read(self.disk.as_ref(), &path(height))?.map(|(_, candidate)| candidate))
    }

    /// Drops the blocks from a height on, highest first.
    pub fn cut(&self, from: u64) -> Result<(), StoreError> {
        let mut blocks = self.blocks.lock();
        while blocks.last().is_some_and(|staged| staged.height >= from) {
            if let Some(staged) = blocks.last() {
                self.disk.unlink(&path(staged.height)).map_err(failed("removing from"))?;
            }
            blocks.pop();
        }
        Ok(())
    }

    /// Drops the newest block, if it has this hash.
    pub fn remove_top(&self, hash: BlockHash) -> Result<bool, StoreError> {
        let mut blocks = self.blocks.lock();
        let Some(top) = blocks.last().filter(|top| top.hash == hash) else { return Ok(false) };
        self.disk.unlink(&path(top.height)).map_err(failed("removing from"))?;
        blocks.pop();
        Ok(true)
    }

    /// Drops what the chain has by now, and everything if the rest does not follow it.
    pub fn settle(&self, tip: Option<Tip>) -> Result<(), StoreError> {
        let mut blocks = self.blocks.lock();
        while let Some(first) = blocks.first() {
            let next = next_after(None, tip);
            if (first.height, first.previous) == next {
                break;
            }
            self.disk.unlink(&path(first.height)).map_err(failed("removing from"))?;
            blocks.remove(0);
        }
        Ok(())
    }
}

/// Which height and parent the next block has.
fn next_after(last: Option<&Staged>, tip: Option<Tip>) -> (u64, BlockHash) {
    match (last, tip) {
        (Some(last), _) => (last.height.saturating_add(1), last.hash),
        (None, Some(tip)) => (tip.height.saturating_add(1), tip.hash),
        (None, None) => (0, BlockHash::ZERO),
    }
}

/// Reads a file: when the block was first seen, and the block. `None` if it is not whole.
fn read(disk: &dyn Disk, path: &str) -> Result<Option<(Timestamp, Candidate)>, StoreError> {
    let bytes = disk::read_all(disk, path).map_err(failed("reading"))?;
    let parse = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).ok()?;
        let (digest, rest) = text.split_once('\n')?;
        if transaction_hash(rest).to_string() != digest {
            return None;
        }
        let (first_seen, block) = rest.split_once('\n')?;
        Some((Timestamp::parse(first_seen).ok()?, Candidate::parse(block.as_bytes()).ok()?))
    };
    Ok(bytes.and_then(parse))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lucid_core::sign::SigningKey;
    use lucid_store::files::disk::simulated::SimulatedDisk;

    fn chain(count: u64) -> Vec<Block> {
        let key = SigningKey::from_seed([3; 32]);
        let mut blocks: Vec<Block> = Vec::new();
        for n in 0..count {
            let parent = blocks.last().map(|block| block.as_parent().unwrap());
            let text = format!(r#"{{"id": "t-{n}"}}"#);
            let transaction = Transaction::parse(text.as_bytes()).unwrap();
            let now = Timestamp::from_micros(i64::try_from(n).unwrap());
            blocks.push(Block::build(parent.as_ref(), vec![transaction], now, &key));
        }
        blocks
    }

    fn tip(block: &Block) -> Option<Tip> {
        Some(Tip { height: block.index, hash: block.hash })
    }

    #[test]
    fn what_follows_the_tip_is_found_again_and_anything_else_is_dropped() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let blocks = chain(5);
        let base = tip(&blocks[0]);
        let staging = Staging::open(disk.clone(), base).unwrap();
        let seen = Timestamp::from_micros(7);
        assert!(!staging.add(&blocks[2], seen, base).unwrap(), "a gap");
        for block in &blocks[1..] {
            assert!(staging.add(block, seen, base).unwrap());
        }
        let again = Staging::open(disk.clone(), base).unwrap();
        assert_eq!(again.list(), staging.list());
        assert_eq!(again.list().len(), 4);
        assert_eq!(again.read(3).unwrap().unwrap().hash(), Some(blocks[3].hash));

        // The chain went on by two of them.
        let staging = Staging::open(disk.clone(), tip(&blocks[2])).unwrap();
        assert_eq!(staging.list().first().unwrap().height, 3);
        staging.settle(tip(&blocks[3])).unwrap();
        assert_eq!(staging.top().unwrap().hash, blocks[4].hash);
        assert!(!staging.remove_top(blocks[3].hash).unwrap());
        assert!(staging.remove_top(blocks[4].hash).unwrap());
        assert!(disk.list(FOLDER).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_was_damaged_is_dropped_with_what_follows() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let blocks = chain(4);
        let staging = Staging::open(disk.clone(), None).unwrap();
        for block in &blocks {
            staging.add(block, Timestamp::from_micros(0), None).unwrap();
        }
        let mut bytes = disk::read_all(disk.as_ref(), &path(1)).unwrap().unwrap();
        bytes[100] ^= 1;
        disk::replace(disk.as_ref(), FOLDER, &format!("{:020}.block", 1), &bytes).unwrap();
        let staging = Staging::open(disk.clone(), None).unwrap();
        assert_eq!(staging.list().len(), 1);
        assert_eq!(disk.list(FOLDER).unwrap().len(), 1);
        staging.cut(0).unwrap();
        assert!(staging.top().is_none());
    }
}
