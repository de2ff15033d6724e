//! The format lock and the constants: what each field of a block must be.
//!
//! [`super::Candidate`] reads its fields through this room. A block's hash joins five fields without
//! separators, so each of them has exactly one grammar; a block that departs from it is refused,
//! regardless of its hash. The constants (how many transactions, how large) are part of validity,
//! and no configuration moves them.

use super::INDEX_MAX;
use super::candidate::Item;
use crate::digest::BlockHash;
use crate::json::Json;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, TRANSACTION_BYTES_MAX};
use crate::transaction::TransactionFault;

/// What the fields of a block are called, wherever one is read or written.
pub(super) mod name {
    pub const INDEX: &str = "index";
    /// Another name of the index.
    pub const HEIGHT: &str = "height";
    pub const TIMESTAMP: &str = "timestamp";
    pub const TRANSACTIONS: &str = "transactions";
    pub const PREVIOUS_HASH: &str = "previous_hash";
    pub const MERKLE_ROOT: &str = "merkle_root";
    pub const NONCE: &str = "nonce";
    pub const HASH: &str = "hash";
    pub const PRODUCER: &str = "producer";
    pub const SIGNATURE: &str = "signature";
}

/// What every block has, in the documented order.
pub const REQUIRED_FIELDS: [&str; 7] = [
    name::INDEX,
    name::TIMESTAMP,
    name::TRANSACTIONS,
    name::PREVIOUS_HASH,
    name::MERKLE_ROOT,
    name::NONCE,
    name::HASH,
];

/// A field that is there and is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// Its name.
    pub field: &'static str,
    /// What is wrong and what is wanted.
    pub reason: String,
}

/// Takes the fields one after the other, and remembers what is wrong with them.
pub(super) struct FieldReader<'a> {
    sent: &'a Json,
    pub(super) missing: Vec<&'static str>,
    pub(super) invalid: Vec<InvalidField>,
}

impl<'a> FieldReader<'a> {
    pub(super) fn new(sent: &'a Json) -> Self {
        Self { sent, missing: Vec::new(), invalid: Vec::new() }
    }

    fn invalid(&mut self, field: &'static str, reason: impl Into<String>) {
        self.invalid.push(InvalidField { field, reason: reason.into() });
    }

    /// `index`, or its alias `height`; both only if they agree.
    pub(super) fn index(&mut self) -> Option<String> {
        let sent = self.sent;
        match (sent.get(name::INDEX), sent.get(name::HEIGHT)) {
            (None, Some(_)) => self.number(name::HEIGHT),
            (Some(index), Some(height)) if index != height => {
                self.invalid(name::HEIGHT, "height is another name of index, and the two differ");
                self.number(name::INDEX)
            }
            _ => self.number(name::INDEX),
        }
    }

    pub(super) fn number(&mut self, field: &'static str) -> Option<String> {
        const WANTED: &str = "an integer from 0 to 9223372036854775807 in plain digits is wanted";
        match self.sent.get(field) {
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

    pub(super) fn text(
        &mut self,
        field: &'static str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        match self.sent.get(field) {
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

    pub(super) fn optional<T: std::str::FromStr<Err: ToString>>(
        &mut self,
        field: &'static str,
    ) -> Option<T> {
        match self.sent.get(field) {
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
    pub(super) fn transactions(&mut self, items: &[Item], surplus: usize) {
        const FIELD: &str = name::TRANSACTIONS;
        match self.sent.get(FIELD) {
            None => self.missing.push(FIELD),
            Some(Json::List(_)) => {}
            Some(_) => self.invalid(FIELD, "a list is wanted"),
        }
        let count = items.len() + surplus;
        if count > BLOCK_TRANSACTIONS_MAX {
            let most = BLOCK_TRANSACTIONS_MAX;
            self.invalid(FIELD, format!("{count} transactions, and {most} are the most"));
        }
        let bytes: usize = items.iter().map(Item::bytes).sum();
        if bytes > BLOCK_BYTES_MAX {
            self.invalid(
                FIELD,
                format!("{bytes} bytes together, and {BLOCK_BYTES_MAX} is the most"),
            );
        }
        if let Some(at) = items.iter().position(|item| item.bytes() > TRANSACTION_BYTES_MAX) {
            let most = TRANSACTION_BYTES_MAX;
            self.invalid(
                FIELD,
                format!("transaction {at} has over {most} bytes, which is the most"),
            );
        }
        let no_object = |item: &Item| matches!(&item.0, Err(unfit) if unfit.fault == TransactionFault::NotAnObject);
        if let Some(at) = items.iter().position(no_object) {
            self.invalid(FIELD, format!("transaction {at} is not an object"));
        }
    }
}

pub(super) fn hex(text: &str) -> Result<(), String> {
    match text.parse::<BlockHash>() {
        Ok(_) => Ok(()),
        Err(_) => Err("64 lower-case hex digits are wanted".to_owned()),
    }
}

/// The number of a token `0|[1-9][0-9]*` (other digits are no JSON) that is at most [`INDEX_MAX`].
pub(super) fn locked_number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|number| *number <= INDEX_MAX)
}
