//! Claims: the signed transactions that Lucid itself puts into a chain.
//!
//! An [`Anchor`](crate::anchor::Anchor), a [`Tombstone`](crate::tombstone::Tombstone) and a
//! [`Succession`](crate::succession::Succession) differ in what they say. That each has one text, that every
//! field of it follows from what it says, and that it is signed, holds for all of them and is decided here.

use std::str::FromStr;

use crate::digest::DigestFault;
use crate::json::Json;
use crate::session::SessionFault;
use crate::sign::{PublicKey, SigningKey};
use crate::time::TimeFault;
use crate::transaction::{self, SignatureFault, SignatureState, Transaction, TransactionFault};

/// Why a transaction is not a claim of some kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// Fields are missing, unknown, or not of their kind.
    #[error("the {kind}'s field {field:?} is missing, unknown or wrong")]
    Field {
        /// Of what.
        kind: &'static str,
        /// The field.
        field: String,
    },
    /// A session id that is none.
    #[error(transparent)]
    Session(#[from] SessionFault),
    /// A hash that is none.
    #[error(transparent)]
    Digest(#[from] DigestFault),
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] TimeFault),
    /// An id that was not made of the other fields.
    #[error("{given:?} is not the id of this {kind}")]
    Id {
        /// Of what.
        kind: &'static str,
        /// The beginning of the id given.
        given: String,
    },
    /// Nobody signed it.
    #[error("the {subject} is not signed")]
    Unsigned {
        /// What it is.
        subject: String,
    },
    /// It names a key that did not sign it.
    #[error("the {subject} is refused: {fault}")]
    Signature {
        /// What it is.
        subject: String,
        /// What is wrong with its signature.
        fault: SignatureFault,
    },
}

/// What a transaction of Lucid's own says.
pub trait Claim: Sized {
    /// The word for it.
    const KIND: &'static str;

    /// What it is, and of what, in a sentence.
    fn subject(&self) -> String;

    /// The transaction without its signature: every field, each in its one spelling.
    fn to_json(&self) -> Json;

    /// Reads what it says. Fields that say nothing of their own need not be looked at.
    fn read(fields: &ClaimFields<'_>) -> Result<Self, ClaimFault>;

    /// The transaction, signed.
    fn sign(&self, key: &SigningKey) -> Result<Transaction, TransactionFault> {
        Transaction::signed(&self.to_json(), key)
    }
}

/// The fields of a transaction that is to be a claim.
pub struct ClaimFields<'a> {
    kind: &'static str,
    json: &'a Json,
}

impl ClaimFields<'_> {
    fn wrong(&self, field: &str) -> ClaimFault {
        ClaimFault::Field { kind: self.kind, field: field.chars().take(80).collect() }
    }

    fn get(&self, field: &str) -> Result<&Json, ClaimFault> {
        self.json.get(field).ok_or_else(|| self.wrong(field))
    }

    /// A string.
    pub fn text(&self, field: &str) -> Result<&str, ClaimFault> {
        self.get(field)?.as_text().ok_or_else(|| self.wrong(field))
    }

    /// A number that is not negative.
    pub fn number(&self, field: &str) -> Result<u64, ClaimFault> {
        self.get(field)?.as_u64().ok_or_else(|| self.wrong(field))
    }

    /// A string that is something.
    pub fn value<T: FromStr<Err: Into<ClaimFault>>>(&self, field: &str) -> Result<T, ClaimFault> {
        self.text(field)?.parse().map_err(Into::into)
    }
}

/// A claim whose signature verifies, and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<C> {
    /// What it says.
    pub claim: C,
    /// Who said it.
    pub key: PublicKey,
}

impl<C: Claim> Signed<C> {
    /// Reads a claim and verifies its signature. Whether the key is one to trust is not asked.
    pub fn parse(transaction: &Transaction) -> Result<Self, ClaimFault> {
        let json = transaction.to_json();
        let fields = ClaimFields { kind: C::KIND, json: &json };
        let claim = C::read(&fields)?;
        let sound = claim.to_json();
        let given = fields.text("id")?;
        if sound.get("id").and_then(Json::as_text) != Some(given) {
            return Err(ClaimFault::Id { kind: C::KIND, given: given.chars().take(80).collect() });
        }
        if let Some(field) = transaction::misspelt(&json, &sound) {
            return Err(fields.wrong(field));
        }
        match transaction.signature_state() {
            SignatureState::Signed { key } => Ok(Self { claim, key }),
            SignatureState::Refused(fault) => {
                Err(ClaimFault::Signature { subject: claim.subject(), fault })
            }
            SignatureState::Unsigned | SignatureState::Bare => {
                Err(ClaimFault::Unsigned { subject: claim.subject() })
            }
        }
    }
}
