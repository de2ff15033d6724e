//! What a posted transaction must be before it is pooled, and what is added to one that is unsigned.
//!
//! Called by the block-manager's submit routes. The rules here narrow what is *let in*; what is
//! *valid* in a block is [`crate::validate`]'s, and asks less.

use super::{SignatureFault, SignatureState, Transaction, TransactionFault};
use crate::block_merkle::transaction_hash;
use crate::digest::TransactionHash;
use crate::json::{Json, JsonFault};
use crate::limits::TRANSACTION_BYTES_MAX;
use crate::time::{TimeFault, Timestamp};

/// Ids that an address cannot name: the API's own words beside transactions, and what every client
/// takes out of a path before it sends it.
const RESERVED: [&str; 4] = ["batch", "pending", ".", ".."];

/// A transaction that may be pooled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The transaction, complete.
    pub transaction: Transaction,
    /// SHA-256 of the canonical form of what was posted: the same id with the same digest is the
    /// same request again, with another it is a conflict.
    pub posted_digest: TransactionHash,
}

/// Why a posted transaction is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionFault {
    /// Not a transaction at all.
    #[error(transparent)]
    Transaction(#[from] TransactionFault),
    /// No `type`, or one that is empty or no string.
    #[error("the transaction has no type: give it a string that is not empty")]
    NoType,
    /// No `timestamp` where one is needed, or one that is no string.
    #[error("the transaction has no timestamp: give it an ISO 8601 string")]
    NoTimestamp,
    /// An `id` that could not be asked for.
    #[error(
        "the transaction's id is {0:?}, which means something else in an address: choose another"
    )]
    Reserved(String),
    /// A `timestamp` that is none.
    #[error(transparent)]
    Timestamp(#[from] TimeFault),
    /// An amount below zero.
    #[error("{field} is negative: amounts are zero or more")]
    Negative {
        /// The field.
        field: &'static str,
    },
    /// Longer than any block may hold.
    #[error("the transaction has {bytes} bytes, and {TRANSACTION_BYTES_MAX} is the most")]
    TooLarge {
        /// The length of its canonical text.
        bytes: usize,
    },
    /// Signed, and that does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
}

impl From<JsonFault> for AdmissionFault {
    fn from(fault: JsonFault) -> Self {
        Self::Transaction(fault.into())
    }
}

/// Reads a posted transaction and makes it complete. A signed one must arrive complete, for adding
/// anything would break its signature; an unsigned one gets the `id` and the `timestamp` that it
/// lacks, and nothing else.
pub fn complete(posted: &[u8], now: Timestamp) -> Result<Admitted, AdmissionFault> {
    let mut value = Json::parse(posted)?;
    let posted_digest = transaction_hash(&value.canonical());
    let members = value.as_object().ok_or(TransactionFault::NotAnObject)?;
    if value.get("public_key").is_none() {
        let mut added = Vec::new();
        if value.get("id").is_none() {
            added.push(("id".to_owned(), Json::Text(format!("tx-{posted_digest}"))));
        }
        if value.get("timestamp").is_none() {
            added.push(("timestamp".to_owned(), Json::Text(now.to_string())));
        }
        value = Json::object(members.iter().cloned().chain(added));
    }
    for field in ["fee", "value"] {
        if value.get(field).is_some_and(is_negative) {
            return Err(AdmissionFault::Negative { field });
        }
    }
    let transaction = Transaction::from_json(&value)?;
    if transaction.text().len() > TRANSACTION_BYTES_MAX {
        return Err(AdmissionFault::TooLarge { bytes: transaction.text().len() });
    }
    if RESERVED.contains(&transaction.id()) {
        return Err(AdmissionFault::Reserved(transaction.id().to_owned()));
    }
    if transaction.kind().is_none_or(str::is_empty) {
        return Err(AdmissionFault::NoType);
    }
    Timestamp::parse(transaction.timestamp().ok_or(AdmissionFault::NoTimestamp)?)?;
    if let SignatureState::Refused(fault) = transaction.signature_state() {
        return Err(fault.into());
    }
    Ok(Admitted { transaction, posted_digest })
}

fn is_negative(value: &Json) -> bool {
    match value {
        Json::Integer(digits) => digits.starts_with('-') && digits != "-0",
        Json::Float(value) => *value < 0.0,
        _ => false,
    }
}
