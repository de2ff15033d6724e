//! A block in nine lines: its entry in the log over the chain, and what its producer signs.
//!
//! The entry is a pure function of the block, so two honest services have the same one, and an
//! auditor can check it with a text editor and `sha256sum`. It adds to the hashed fields the number
//! of transactions and the RFC 9162 root over their texts, which the block's own hash leaves open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::block::{Block, INDEX_MAX, hash_of_fields};
use crate::block_merkle::{log_leaf, log_root};
use crate::digest::{BlockHash, LogHash, MerkleRoot};
use crate::sign::{PublicKey, Signature};
use crate::time::{TimeFault, Timestamp, parse_block_time};
use crate::transaction::Transaction;

/// The first line of every entry.
pub const ENTRY_HEADING: &str = "lucid-block/v1";
/// What precedes the entry that a block's signature covers.
pub const BLOCK_SIGNING_CONTEXT: &str = "lucid-block/v1-sig\n";

/// A text that is not a block's entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the block's entry is wrong: {wanted} is wanted")]
pub struct BlockEntryFault {
    line: usize,
    wanted: &'static str,
}

/// The nine lines of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// The block's height.
    pub index: u64,
    /// Its time, as it was spelled.
    pub timestamp: String,
    /// The hash of the block before.
    pub previous_hash: BlockHash,
    /// The Merkle root that the block's hash covers.
    pub merkle_root: MerkleRoot,
    /// The nonce.
    pub nonce: u64,
    /// The block's hash.
    pub hash: BlockHash,
    /// How many transactions it has.
    pub transaction_count: u64,
    /// The RFC 9162 root over their canonical texts.
    pub log_root: LogHash,
}

impl BlockEntry {
    /// The entry of a block.
    pub fn of(block: &Block) -> Self {
        let leaves: Vec<_> = block.transactions.iter().map(Transaction::leaf_hash).collect();
        Self::with_root(block, log_root(&leaves))
    }

    pub(super) fn with_root(block: &Block, log_root: LogHash) -> Self {
        Self {
            index: block.index,
            timestamp: block.timestamp.clone(),
            previous_hash: block.previous_hash,
            merkle_root: block.merkle_root,
            nonce: block.nonce,
            hash: block.hash,
            transaction_count: block.transactions.len() as u64,
            log_root,
        }
    }

    /// The nine lines, each ended by a line feed.
    pub fn text(&self) -> String {
        format!(
            "{ENTRY_HEADING}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            self.index,
            self.timestamp,
            self.previous_hash,
            self.merkle_root,
            self.nonce,
            self.hash,
            self.transaction_count,
            STANDARD.encode(self.log_root.as_bytes()),
        )
    }

    /// Reads the nine lines, in their one spelling. Whether the hash fits is not asked here.
    pub fn parse(text: &str) -> Result<Self, BlockEntryFault> {
        let mut lines = text.split('\n').zip(1..);
        let mut next = |wanted: &'static str| {
            let (text, line) = lines.next().unwrap_or(("", 10));
            (text, BlockEntryFault { line, wanted })
        };
        let heading = next("lucid-block/v1");
        if heading.0 != ENTRY_HEADING {
            return Err(heading.1);
        }
        let entry = Self {
            index: number(next("the index"))?,
            timestamp: block_time(next("the block's time"))?,
            previous_hash: digest(next("the previous block's hash"))?,
            merkle_root: digest(next("the Merkle root"))?,
            nonce: number(next("the nonce"))?,
            hash: digest(next("the block's hash"))?,
            transaction_count: number(next("the number of transactions"))?,
            log_root: base64(next("the RFC 9162 root in base64"))?,
        };
        // Every field has one spelling, so only what follows the ninth line is left to ask about.
        let (rest, fault) = next("nothing after the ninth line feed");
        match text.ends_with('\n') && rest.is_empty() && lines.next().is_none() {
            true => Ok(entry),
            false => Err(fault),
        }
    }

    /// The hash that the fields have.
    pub fn computed_hash(&self) -> BlockHash {
        let Self { index, timestamp, previous_hash, merkle_root, nonce, .. } = self;
        hash_of_fields(*index, timestamp, previous_hash, merkle_root, *nonce)
    }

    /// The entry's leaf in the log over the chain.
    pub fn leaf_hash(&self) -> LogHash {
        log_leaf(&self.text())
    }

    /// The block's time as an instant.
    pub fn time(&self) -> Result<Timestamp, TimeFault> {
        parse_block_time(&self.timestamp)
    }

    /// What the producer's signature covers: a fixed line, and the nine.
    pub fn signing_message(&self) -> Vec<u8> {
        [BLOCK_SIGNING_CONTEXT, &self.text()].concat().into_bytes()
    }

    /// Whether `producer` signed this entry.
    pub fn verify(&self, producer: &PublicKey, signature: &Signature) -> bool {
        producer.verify(&self.signing_message(), signature)
    }
}

type Line<'a> = (&'a str, BlockEntryFault);

fn number((text, fault): Line<'_>) -> Result<u64, BlockEntryFault> {
    // `+1` and `01` would parse too.
    let is_padded = text.starts_with('+') || text.starts_with('0') && text != "0";
    let number = text.parse().ok().filter(|number| *number <= INDEX_MAX && !is_padded);
    number.ok_or(fault)
}

fn block_time((text, fault): Line<'_>) -> Result<String, BlockEntryFault> {
    parse_block_time(text).map(|_| text.to_owned()).map_err(|_| fault)
}

fn digest<T: std::str::FromStr>((text, fault): Line<'_>) -> Result<T, BlockEntryFault> {
    text.parse().map_err(|_| fault)
}

fn base64((text, fault): Line<'_>) -> Result<LogHash, BlockEntryFault> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(LogHash::new).ok_or(fault)
}
