//! A block that somebody sent: read leniently, so that every rule can say what it thinks of it.
//!
//! Made from a request's JSON or from a stored block; judged by [`crate::validate`]. What is missing
//! or misspelled is remembered here rather than refused: the format lock (one grammar for each field
//! that the hash joins) and the constants are found while reading, and reported as the first rule.
//!
//! Only the transactions can be large, so they are read one by one: a block of 16 MiB never becomes
//! a tree of small values.

use super::{Block, INDEX_MAX, block_hash};
use crate::block_merkle::transaction_hash;
use crate::digest::{BlockHash, TransactionHash};
use crate::json::{Json, JsonFault, Reader, sort_members};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, TRANSACTION_BYTES_MAX};
use crate::record::Entry;
use crate::sign::{PublicKey, Signature};
use crate::time::parse_block_time;
use crate::transaction::{Transaction, TransactionFault};

/// What every block has, in the documented order.
pub const REQUIRED_FIELDS: [&str; 7] =
    ["index", "timestamp", "transactions", "previous_hash", "merkle_root", "nonce", "hash"];

/// A field that is there and is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// Its name.
    pub field: &'static str,
    /// What is wrong and what is wanted.
    pub reason: String,
}

/// One element of `transactions`, whatever it is.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) hash: TransactionHash,
    pub(crate) bytes: usize,
    pub(crate) read: Result<Transaction, TransactionFault>,
}

impl Item {
    fn of(value: Json) -> Self {
        match Transaction::of_read(value) {
            Ok(transaction) => transaction.into(),
            Err((fault, value)) => {
                let text = value.canonical();
                Self { hash: transaction_hash(&text), bytes: text.len(), read: Err(fault) }
            }
        }
    }
}

impl From<Transaction> for Item {
    fn from(transaction: Transaction) -> Self {
        Self { hash: transaction.hash(), bytes: transaction.text().len(), read: Ok(transaction) }
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
        if self.missing.contains(&"nonce") {
            self.missing.retain(|field| *field != "nonce");
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

    /// Its transactions, without the elements that are none.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.items.iter().filter_map(|item| item.read.as_ref().ok())
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
    pub(crate) fn into_block(self) -> Option<Block> {
        if !self.missing.is_empty() || !self.invalid.is_empty() {
            return None;
        }
        Some(Block {
            index: self.index.as_deref().and_then(locked_number)?,
            timestamp: self.timestamp?,
            transactions: self
                .items
                .into_iter()
                .map(|item| item.read.ok())
                .collect::<Option<_>>()?,
            previous_hash: self.previous_hash?.parse().ok()?,
            merkle_root: self.merkle_root?.parse().ok()?,
            nonce: self.nonce.as_deref().and_then(locked_number)?,
            hash: self.hash?.parse().ok()?,
            // A signature without a producer says nothing: it is listed as not checked, and dropped.
            signature: self.producer.and(self.signature),
            producer: self.producer,
        })
    }

    /// What the producer's signature covers, under the same condition.
    pub(crate) fn entry(&self) -> Option<Entry> {
        let leaves: Option<Vec<_>> =
            self.items.iter().map(|item| Some(item.read.as_ref().ok()?.leaf_hash())).collect();
        Some(Entry {
            index: self.index()?,
            timestamp: self.timestamp.clone()?,
            previous_hash: self.previous_hash()?,
            merkle_root: self.merkle_root.as_deref()?.parse().ok()?,
            nonce: self.nonce.as_deref().and_then(locked_number)?,
            hash: self.hash()?,
            transaction_count: self.items.len() as u64,
            log_root: crate::block_merkle::log_root(&leaves?),
        })
    }

    fn read(bytes: &[u8], posted: bool) -> Result<Self, JsonFault> {
        let mut reader = Reader::new(bytes)?;
        let sent = Sent::read(&mut reader, posted)?;
        reader.finish()?;
        Ok(Self::of_fields(&Json::Object(sent.fields), sent.items))
    }

    fn of_fields(fields: &Json, items: Vec<Item>) -> Self {
        let mut faults = Faults { fields, missing: Vec::new(), invalid: Vec::new() };
        let index = faults.index();
        let timestamp = faults.text("timestamp", |text| {
            parse_block_time(text).map(drop).map_err(|fault| fault.to_string())
        });
        faults.transactions(&items);
        let previous_hash = faults.text("previous_hash", hex);
        let merkle_root = faults.text("merkle_root", hex);
        let nonce = faults.number("nonce");
        let hash = faults.text("hash", hex);
        let producer = faults.optional("producer");
        let signature = faults.optional("signature");
        let Faults { missing, invalid, .. } = faults;
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
            missing,
            invalid,
        }
    }
}

impl From<Block> for Candidate {
    /// A stored block, to be judged again.
    fn from(block: Block) -> Self {
        let fields = [
            ("index", Json::from(block.index)),
            ("timestamp", Json::Text(block.timestamp)),
            ("transactions", Json::List(Vec::new())),
            ("previous_hash", Json::Text(block.previous_hash.to_string())),
            ("merkle_root", Json::Text(block.merkle_root.to_string())),
            ("nonce", Json::from(block.nonce)),
            ("hash", Json::Text(block.hash.to_string())),
        ];
        let items = block.transactions.into_iter().map(Item::from).collect();
        let mut candidate = Self::of_fields(&Json::object(fields), items);
        candidate.producer = block.producer;
        candidate.signature = block.signature;
        candidate
    }
}

/// An object's members, `transactions` already taken apart.
struct Sent {
    fields: Vec<(String, Json)>,
    items: Vec<Item>,
}

impl Sent {
    fn read(reader: &mut Reader<'_>, posted: bool) -> Result<Self, JsonFault> {
        let mut sent = Self { fields: Vec::new(), items: Vec::new() };
        let mut wrapped = None;
        reader.members(|reader, key| {
            let value = match (key.as_str(), reader.peek()) {
                ("transactions", Some(b'[')) => {
                    reader.values(|reader| {
                        sent.items.push(Item::of(reader.value()?));
                        Ok(())
                    })?;
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

/// Takes the fields one after the other, and remembers what is wrong with them.
struct Faults<'a> {
    fields: &'a Json,
    missing: Vec<&'static str>,
    invalid: Vec<InvalidField>,
}

impl Faults<'_> {
    fn invalid(&mut self, field: &'static str, reason: impl Into<String>) {
        self.invalid.push(InvalidField { field, reason: reason.into() });
    }

    /// `index`, or its alias `height`; both only if they agree.
    fn index(&mut self) -> Option<String> {
        let fields = self.fields;
        match (fields.get("index"), fields.get("height")) {
            (None, Some(_)) => self.number("height"),
            (Some(index), Some(height)) if index != height => {
                self.invalid("height", "height is another name of index, and the two differ");
                self.number("index")
            }
            _ => self.number("index"),
        }
    }

    fn number(&mut self, field: &'static str) -> Option<String> {
        const WANTED: &str = "an integer from 0 to 9223372036854775807 in plain digits is wanted";
        match self.fields.get(field) {
            None => {
                self.missing.push(field);
                None
            }
            Some(Json::Integer(digits)) => {
                if locked_number(digits).is_none() {
                    self.invalid(field, WANTED);
                }
                // The hash is taken over the number as it prints.
                Some(if digits == "-0" { "0".to_owned() } else { digits.clone() })
            }
            Some(_) => {
                self.invalid(field, WANTED);
                None
            }
        }
    }

    fn text(
        &mut self,
        field: &'static str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        match self.fields.get(field) {
            None => {
                self.missing.push(field);
                None
            }
            Some(Json::Text(text)) => {
                if let Err(reason) = check(text) {
                    self.invalid(field, reason);
                }
                Some(text.clone())
            }
            Some(_) => {
                self.invalid(field, "a string is wanted");
                None
            }
        }
    }

    fn optional<T: std::str::FromStr<Err: ToString>>(&mut self, field: &'static str) -> Option<T> {
        match self.fields.get(field) {
            None | Some(Json::Null) => None,
            Some(Json::Text(text)) => match text.parse() {
                Ok(value) => Some(value),
                Err(fault) => {
                    self.invalid(field, fault.to_string());
                    None
                }
            },
            Some(_) => {
                self.invalid(field, "a string is wanted");
                None
            }
        }
    }

    /// The list and the constants: they are part of validity, and no configuration moves them.
    fn transactions(&mut self, items: &[Item]) {
        const FIELD: &str = "transactions";
        match self.fields.get(FIELD) {
            None => self.missing.push(FIELD),
            Some(Json::List(_)) => {}
            Some(_) => self.invalid(FIELD, "a list is wanted"),
        }
        let count = items.len();
        if count > BLOCK_TRANSACTIONS_MAX {
            let most = BLOCK_TRANSACTIONS_MAX;
            self.invalid(FIELD, format!("{count} transactions, and {most} are the most"));
        }
        let bytes: usize = items.iter().map(|item| item.bytes).sum();
        if bytes > BLOCK_BYTES_MAX {
            self.invalid(
                FIELD,
                format!("{bytes} bytes together, and {BLOCK_BYTES_MAX} is the most"),
            );
        }
        if let Some(at) = items.iter().position(|item| item.bytes > TRANSACTION_BYTES_MAX) {
            let most = TRANSACTION_BYTES_MAX;
            self.invalid(
                FIELD,
                format!("transaction {at} has over {most} bytes, which is the most"),
            );
        }
        let no_object = |item: &Item| matches!(item.read, Err(TransactionFault::NotAnObject));
        if let Some(at) = items.iter().position(no_object) {
            self.invalid(FIELD, format!("transaction {at} is not an object"));
        }
    }
}

fn hex(text: &str) -> Result<(), String> {
    match text.parse::<BlockHash>() {
        Ok(_) => Ok(()),
        Err(_) => Err("64 lower-case hex digits are wanted".to_owned()),
    }
}

/// The number of a token `0|[1-9][0-9]*` (other digits are no JSON) that is at most [`INDEX_MAX`].
fn locked_number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number| *number <= INDEX_MAX)
}
