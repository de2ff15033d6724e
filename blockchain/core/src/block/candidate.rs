//! A block as it was sent: read leniently, so that every rule can say what it thinks of it.
//!
//! Made from a request's JSON or from a stored block; judged by [`crate::validate`]. What is missing
//! or misspelled ([`super::fields`]) is remembered rather than refused, and reported as the first
//! rule.
//!
//! Only the transactions can be large, so they are read straight into their canonical texts: a block of
//! 16 MiB never becomes a tree of small values.

use super::fields::{FieldReader, InvalidField, hex, locked_number, name};
use super::{Block, Parent, block_hash};
use crate::digest::{BlockHash, LogHash, TransactionHash};
use crate::json::{Json, JsonFault, Reader, sort_members};
use crate::limits::BLOCK_TRANSACTIONS_MAX;
use crate::record::BlockEntry;
use crate::sign::{PublicKey, Signature};
use crate::time::parse_block_time;
use crate::transaction::{Drafts, Transaction, Unfit};

/// One element of `transactions`: a sound transaction, or why it is none.
#[derive(Debug, Clone)]
pub(crate) struct Item(pub(crate) Result<Transaction, Unfit>);

impl Item {
    /// The hash of its canonical text.
    pub(crate) fn hash(&self) -> TransactionHash {
        match &self.0 {
            Ok(transaction) => transaction.hash(),
            Err(unfit) => unfit.hash,
        }
    }

    /// The length of that text.
    pub(crate) fn bytes(&self) -> usize {
        match &self.0 {
            Ok(transaction) => transaction.text().len(),
            Err(unfit) => unfit.bytes,
        }
    }

    /// The transaction, if it is one.
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        self.0.as_ref().ok()
    }
}

/// A block before it is judged. Texts are as they were sent; `None` is missing or of a wrong type.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub(crate) index: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) previous_hash: Option<String>,
    pub(crate) merkle_root: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) producer: Option<PublicKey>,
    pub(crate) signature: Option<Signature>,
    /// A signature in any form, and no producer: nothing here can check it.
    pub(crate) bare_signature: bool,
    pub(crate) missing: Vec<&'static str>,
    pub(crate) invalid: Vec<InvalidField>,
}

impl Candidate {
    /// Reads a block's JSON. Only a text that is no JSON object is refused here.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonFault> {
        Self::read(bytes, false)
    }

    /// Reads what the validation routes take: a block, or an object with one under `block_data`.
    pub fn parse_posted(bytes: &[u8]) -> Result<Self, JsonFault> {
        Self::read(bytes, true)
    }

    /// Takes a missing nonce as 0, as blocks of the documented engine mean it.
    #[must_use]
    pub fn with_default_nonce(mut self) -> Self {
        if self.missing.contains(&name::NONCE) {
            self.missing.retain(|field| *field != name::NONCE);
            self.nonce = Some("0".to_owned());
        }
        self
    }

    /// The index, where it is one.
    pub fn index(&self) -> Option<u64> {
        self.index.as_deref().and_then(locked_number)
    }

    /// The hash it claims, where it is one.
    pub fn hash(&self) -> Option<BlockHash> {
        self.hash.as_deref()?.parse().ok()
    }

    /// The parent it claims, where it is one.
    pub fn previous_hash(&self) -> Option<BlockHash> {
        self.previous_hash.as_deref()?.parse().ok()
    }

    /// The key it names as its producer's; whether that signed it is not asked here.
    pub fn producer(&self) -> Option<PublicKey> {
        self.producer
    }

    /// What the next block would have to follow, by what this one claims of itself.
    pub fn as_parent(&self) -> Option<Parent> {
        let time = parse_block_time(self.timestamp.as_deref()?).ok()?;
        Some(Parent { index: self.index()?, hash: self.hash()?, time })
    }

    /// Its transactions, without the elements that are none.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.items.iter().filter_map(Item::transaction)
    }

    /// The hash that its fields have, where all five are there.
    pub fn expected_hash(&self) -> Option<BlockHash> {
        Some(block_hash(
            self.index.as_deref()?,
            self.timestamp.as_deref()?,
            self.previous_hash.as_deref()?,
            self.merkle_root.as_deref()?,
            self.nonce.as_deref()?,
        ))
    }

    /// The block, where the structure holds and every element is a transaction.
    pub fn into_block(self) -> Option<Block> {
        if !self.missing.is_empty() || !self.invalid.is_empty() {
            return None;
        }
        Some(Block {
            index: self.index.as_deref().and_then(locked_number)?,
            timestamp: self.timestamp?,
            transactions: self.items.into_iter().map(|item| item.0.ok()).collect::<Option<_>>()?,
            previous_hash: self.previous_hash?.parse().ok()?,
            merkle_root: self.merkle_root?.parse().ok()?,
            nonce: self.nonce.as_deref().and_then(locked_number)?,
            hash: self.hash?.parse().ok()?,
            producer: self.producer,
            signature: self.signature,
        })
    }

    /// The RFC 9162 leaves of its transactions, where every element is one.
    pub(crate) fn leaves(&self) -> Option<Vec<LogHash>> {
        self.items.iter().map(|item| Some(item.transaction()?.leaf_hash())).collect()
    }

    /// What the producer's signature covers, under the same condition as [`Candidate::into_block`];
    /// and the leaves that were computed for it.
    pub(crate) fn entry(&self, leaves: &mut Option<Vec<LogHash>>) -> Option<BlockEntry> {
        if leaves.is_none() {
            *leaves = self.leaves();
        }
        Some(BlockEntry {
            index: self.index()?,
            timestamp: self.timestamp.clone()?,
            previous_hash: self.previous_hash()?,
            merkle_root: self.merkle_root.as_deref()?.parse().ok()?,
            nonce: self.nonce.as_deref().and_then(locked_number)?,
            hash: self.hash()?,
            transaction_count: self.items.len() as u64,
            log_root: crate::block_merkle::log_root(leaves.as_deref()?),
        })
    }

    fn read(bytes: &[u8], posted: bool) -> Result<Self, JsonFault> {
        let mut reader = Reader::new(bytes)?.within_bounds();
        let sent = Sent::read(&mut reader, posted)?;
        reader.finish()?;
        Ok(Self::of_fields(&Json::Object(sent.fields), sent.items, sent.surplus))
    }

    fn of_fields(fields: &Json, items: Vec<Item>, surplus: usize) -> Self {
        let mut given = FieldReader::new(fields);
        let index = given.index();
        let timestamp = given.text(name::TIMESTAMP, |text| {
            parse_block_time(text).map(drop).map_err(|fault| fault.to_string())
        });
        given.transactions(&items, surplus);
        let previous_hash = given.text(name::PREVIOUS_HASH, hex);
        let merkle_root = given.text(name::MERKLE_ROOT, hex);
        let nonce = given.number(name::NONCE);
        let hash = given.text(name::HASH, hex);
        let present = |field| fields.get(field).is_some_and(|value| *value != Json::Null);
        let producer = given.optional(name::PRODUCER);
        // Without a producer a signature says nothing: it is listed as not checked, and dropped.
        let signature =
            if present(name::PRODUCER) { given.optional(name::SIGNATURE) } else { None };
        let bare_signature = present(name::SIGNATURE) && !present(name::PRODUCER);
        let FieldReader { missing, invalid, .. } = given;
        Self {
            index,
            timestamp,
            previous_hash,
            merkle_root,
            nonce,
            hash,
            items,
            producer,
            signature,
            bare_signature,
            missing,
            invalid,
        }
    }
}

impl From<Block> for Candidate {
    /// A stored block, to be judged again.
    fn from(block: Block) -> Self {
        let fields = [
            (name::INDEX, Json::from(block.index)),
            (name::TIMESTAMP, Json::Text(block.timestamp)),
            (name::TRANSACTIONS, Json::List(Vec::new())),
            (name::PREVIOUS_HASH, Json::Text(block.previous_hash.to_string())),
            (name::MERKLE_ROOT, Json::Text(block.merkle_root.to_string())),
            (name::NONCE, Json::from(block.nonce)),
            (name::HASH, Json::Text(block.hash.to_string())),
        ];
        let items =
            block.transactions.into_iter().map(|transaction| Item(Ok(transaction))).collect();
        let mut candidate = Self::of_fields(&Json::object(fields), items, 0);
        candidate.producer = block.producer;
        candidate.signature = block.producer.and(block.signature);
        candidate.bare_signature = block.producer.is_none() && block.signature.is_some();
        candidate
    }
}

/// An object's members, `transactions` already taken apart.
struct Sent {
    fields: Vec<(String, Json)>,
    items: Vec<Item>,
    /// Elements beyond the most that a block may have.
    surplus: usize,
}

impl Sent {
    fn read(reader: &mut Reader<'_>, posted: bool) -> Result<Self, JsonFault> {
        let mut sent = Self { fields: Vec::new(), items: Vec::new(), surplus: 0 };
        let mut wrapped = None;
        reader.members(|reader, key| {
            let value = match (key.as_str(), reader.peek()) {
                (name::TRANSACTIONS, Some(b'[')) => {
                    let mut drafts = Drafts::with_capacity(reader.left());
                    reader.values(|reader| {
                        // What lies beyond the most that a block may have is counted, and takes no memory.
                        if drafts.len() < BLOCK_TRANSACTIONS_MAX {
                            return drafts.read(reader);
                        }
                        sent.surplus += 1;
                        reader.pass_value()
                    })?;
                    sent.items.extend(drafts.finish().map(Item));
                    Json::List(Vec::new())
                }
                ("block_data", Some(b'{')) if posted => {
                    wrapped = Some(Self::read(reader, false)?);
                    Json::Null
                }
                _ => reader.value()?,
            };
            sent.fields.push((key, value));
            Ok(())
        })?;
        sort_members(&mut sent.fields)?;
        Ok(wrapped.unwrap_or(sent))
    }
}
