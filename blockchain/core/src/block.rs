//! A block: the transactions, the six fields that its hash covers, and who vouches for it.
//!
//! [`Block::build`] makes one on top of another; [`Candidate`] is one as it was sent, which nobody
//! has believed yet; [`crate::validate`] decides; [`crate::record`] is what is kept of it for ever.
//!
//! Invariant of the hash: it joins its fields without separators, so it is only as good as the
//! grammar of each field. [`block_hash`] is total and knows no grammar; [`Candidate`] holds the lock.

use crate::block_merkle::{merkle_root, sha256};
use crate::digest::{BlockHash, MerkleRoot, TransactionHash};
use crate::json::write_text;
use crate::record::BlockEntry;
use crate::sign::{PublicKey, Signature, SigningKey};
use crate::time::{TimeFault, Timestamp, parse_block_time};
use crate::transaction::Transaction;

mod candidate;
mod fields;

pub use candidate::Candidate;
pub(crate) use candidate::Item;
use fields::name;
pub use fields::{InvalidField, REQUIRED_FIELDS};

/// The highest index and the highest nonce: what a signed 64-bit number holds.
pub const INDEX_MAX: u64 = i64::MAX as u64;

/// SHA-256 of the five texts, one directly after the other; numbers in plain decimal.
pub fn block_hash(
    index: &str,
    timestamp: &str,
    previous_hash: &str,
    merkle_root: &str,
    nonce: &str,
) -> BlockHash {
    let parts = [index, timestamp, previous_hash, merkle_root, nonce];
    BlockHash::new(sha256(&parts.map(str::as_bytes)))
}

/// [`block_hash`] of fields that are known to be what they are.
pub(crate) fn hash_of_fields(
    index: u64,
    timestamp: &str,
    previous_hash: &BlockHash,
    merkle_root: &MerkleRoot,
    nonce: u64,
) -> BlockHash {
    block_hash(
        &index.to_string(),
        timestamp,
        &previous_hash.to_string(),
        &merkle_root.to_string(),
        &nonce.to_string(),
    )
}

/// What a block needs to know of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its index.
    pub index: u64,
    /// Its hash.
    pub hash: BlockHash,
    /// Its time.
    pub time: Timestamp,
}

/// One block. Its fields are open; that they fit together is what [`crate::validate::ValidBlock`]
/// says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its height: genesis is 0.
    pub index: u64,
    /// When it was made, as it was spelled: the hash covers these characters.
    pub timestamp: String,
    /// What it carries, in order.
    pub transactions: Vec<Transaction>,
    /// The hash of the block before; zeros for genesis.
    pub previous_hash: BlockHash,
    /// The Merkle root over the transactions.
    pub merkle_root: MerkleRoot,
    /// Always 0 in blocks of ours; others counted with it.
    pub nonce: u64,
    /// What it is known by.
    pub hash: BlockHash,
    /// The key that vouches for it, if any.
    pub producer: Option<PublicKey>,
    /// That key's signature over the block's entry.
    pub signature: Option<Signature>,
}

impl Block {
    /// Makes the next block and signs it; without a parent, genesis. Its time is the clock's, but
    /// never before the parent's.
    pub fn build(
        parent: Option<&Parent>,
        transactions: Vec<Transaction>,
        now: Timestamp,
        key: &SigningKey,
    ) -> Self {
        let hashes: Vec<TransactionHash> = transactions.iter().map(Transaction::hash).collect();
        let time = parent.map_or(now, |parent| parent.time.max(now));
        let mut block = Self {
            index: parent.map_or(0, |parent| parent.index.saturating_add(1)),
            timestamp: time.to_string(),
            transactions,
            previous_hash: parent.map_or(BlockHash::ZERO, |parent| parent.hash),
            merkle_root: merkle_root(&hashes),
            nonce: 0,
            hash: BlockHash::ZERO,
            producer: Some(key.public()),
            signature: None,
        };
        block.hash = block.computed_hash();
        block.signature = Some(key.sign(&BlockEntry::of(&block).signing_message()));
        block
    }

    /// The hash that its fields have.
    pub fn computed_hash(&self) -> BlockHash {
        let Self { index, timestamp, previous_hash, merkle_root, nonce, .. } = self;
        hash_of_fields(*index, timestamp, previous_hash, merkle_root, *nonce)
    }

    /// Its time as an instant.
    pub fn time(&self) -> Result<Timestamp, TimeFault> {
        parse_block_time(&self.timestamp)
    }

    /// What the next block needs to know of it.
    pub fn as_parent(&self) -> Result<Parent, TimeFault> {
        Ok(Parent { index: self.index, hash: self.hash, time: self.time()? })
    }

    /// The length of the transactions' texts together.
    pub fn size_bytes(&self) -> usize {
        self.transactions.iter().map(|transaction| transaction.text().len()).sum()
    }

    /// The documented JSON shape, compact, with each transaction as its canonical text.
    pub fn to_json_text(&self) -> String {
        let mut timestamp = String::new();
        write_text(&mut timestamp, &self.timestamp);
        let quoted = |value: &dyn std::fmt::Display| format!("\"{value}\"");
        let members = [
            (name::INDEX, Some(self.index.to_string())),
            (name::HEIGHT, Some(self.index.to_string())),
            ("block_id", Some(quoted(&self.hash))),
            (name::HASH, Some(quoted(&self.hash))),
            (name::PREVIOUS_HASH, Some(quoted(&self.previous_hash))),
            (name::TIMESTAMP, Some(timestamp)),
            (name::MERKLE_ROOT, Some(quoted(&self.merkle_root))),
            (name::NONCE, Some(self.nonce.to_string())),
            ("transaction_count", Some(self.transactions.len().to_string())),
            ("size_bytes", Some(self.size_bytes().to_string())),
            (name::PRODUCER, self.producer.as_ref().map(|key| quoted(key))),
            (name::SIGNATURE, self.signature.as_ref().map(|signature| quoted(signature))),
        ];
        let mut text = String::with_capacity(1_024 + self.size_bytes() + self.transactions.len());
        text.push('{');
        for (name, value) in members {
            if let Some(value) = value {
                text.extend(["\"", name, "\":", &value, ","]);
            }
        }
        text.extend(["\"", name::TRANSACTIONS, "\":["]);
        for (position, transaction) in self.transactions.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            text.push_str(transaction.text());
        }
        text.push_str("]}");
        text
    }
}

#[cfg(test)]
mod tests;
