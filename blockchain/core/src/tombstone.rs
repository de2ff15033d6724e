//! The tombstone: the transaction by which the chain hears that a session was removed.
//!
//! Removing a session builds it with [`Tombstone::sign`] and keeps its text in the place of the session;
//! [`SignedTombstone::parse`] reads it back. It names the root that the session had, so whoever holds a
//! proof can tell that this very recording was taken away, when, and by whom.
//!
//! Its id follows from session, root and time, so a session that came back with an old copy of a store
//! can be removed once more.

use crate::digest::{DigestFault, SessionRoot};
use crate::json::Json;
use crate::session::{SessionFault, SessionId};
use crate::sign::{PublicKey, SigningKey};
use crate::time::{TimeFault, Timestamp};
use crate::transaction::{
    self, SESSION_TOMBSTONE, SignatureFault, SignatureState, Transaction, TransactionFault,
};

/// What precedes the hash in a tombstone's id.
pub const ID_PREFIX: &str = "tombstone:";

/// Why a transaction is not a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TombstoneFault {
    /// Fields are missing, unknown, or not of their kind.
    #[error("the tombstone's field {field:?} is missing, unknown or wrong")]
    Field {
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
    /// Nobody signed it.
    #[error("the tombstone of session {session} is not signed")]
    Unsigned {
        /// Whose tombstone it is.
        session: SessionId,
    },
    /// It names a key that did not sign it.
    #[error("the tombstone of session {session} is refused: {fault}")]
    Signature {
        /// Whose tombstone it is.
        session: SessionId,
        /// What is wrong with its signature.
        fault: SignatureFault,
    },
}

/// What a tombstone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The session that was removed.
    pub session_id: SessionId,
    /// When, by the recorder's clock.
    pub timestamp: Timestamp,
    /// The root over the chunks it had.
    pub merkle_root: SessionRoot,
    /// Why; may be empty. It stands in the chain for everyone to read.
    pub reason: String,
}

impl Tombstone {
    /// The transaction's id: `tombstone:` and BLAKE3 of session key, root and time.
    pub fn id(&self) -> String {
        let hash = blake3::Hasher::new()
            .update(self.session_id.key().as_bytes())
            .update(self.merkle_root.as_bytes())
            .update(&self.timestamp.as_micros().to_le_bytes())
            .finalize();
        format!("{ID_PREFIX}{}", hash.to_hex())
    }

    /// The transaction, signed by the recorder.
    pub fn sign(&self, key: &SigningKey) -> Result<Transaction, TransactionFault> {
        Transaction::signed(&self.to_json(), key)
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("id", Json::from(self.id())),
            ("merkle_root", Json::from(self.merkle_root.to_string())),
            ("reason", Json::from(self.reason.as_str())),
            ("session_id", Json::from(self.session_id.as_str())),
            ("timestamp", Json::from(self.timestamp.to_string())),
            ("type", Json::from(SESSION_TOMBSTONE)),
        ])
    }
}

/// A tombstone whose signature verifies, and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTombstone {
    /// What it says.
    pub tombstone: Tombstone,
    /// Who said it.
    pub key: PublicKey,
}

impl SignedTombstone {
    /// Reads a tombstone and verifies its signature. Whether the key is one to trust is not asked.
    pub fn parse(transaction: &Transaction) -> Result<Self, TombstoneFault> {
        let json = transaction.to_json();
        let get = |field: &str| json.get(field).ok_or_else(|| wrong(field));
        let text = |field: &str| get(field)?.as_text().ok_or_else(|| wrong(field));
        let tombstone = Tombstone {
            session_id: text("session_id")?.parse()?,
            timestamp: text("timestamp")?.parse()?,
            merkle_root: text("merkle_root")?.parse()?,
            reason: text("reason")?.to_owned(),
        };
        if let Some(field) = transaction::misspelt(&json, &tombstone.to_json()) {
            return Err(wrong(field));
        }
        let session = tombstone.session_id.clone();
        match transaction.signature_state() {
            SignatureState::Signed { key } => Ok(Self { tombstone, key }),
            SignatureState::Refused(fault) => Err(TombstoneFault::Signature { session, fault }),
            SignatureState::Unsigned | SignatureState::Bare => {
                Err(TombstoneFault::Unsigned { session })
            }
        }
    }
}

fn wrong(field: &str) -> TombstoneFault {
    TombstoneFault::Field { field: field.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed([7; 32])
    }

    fn tombstone() -> Tombstone {
        Tombstone {
            session_id: "session-1".parse().unwrap(),
            timestamp: Timestamp::from_micros(1_700_000_061_000_000),
            merkle_root: SessionRoot::new([0xab; 32]),
            reason: "the lease ended".into(),
        }
    }

    fn reparse(json: &Json) -> Result<SignedTombstone, TombstoneFault> {
        SignedTombstone::parse(&Transaction::from_json(json).unwrap())
    }

    #[test]
    fn a_tombstone_reads_back_with_its_signer() {
        let transaction = tombstone().sign(&key()).unwrap();
        let signed = SignedTombstone::parse(&transaction).unwrap();
        assert_eq!(signed, SignedTombstone { tombstone: tombstone(), key: key().public() });
        assert_eq!(transaction.id(), tombstone().id());
        assert_eq!(transaction.kind(), Some("session_tombstone"));
    }

    // Frozen: the engine stores and hashes exactly this text.
    #[test]
    fn the_transaction_is_frozen() {
        let vectors = include_str!("../tests/vectors/tombstone.txt");
        let transaction = tombstone().sign(&key()).unwrap();
        let found = format!("{}\nhash {}\n", transaction.text(), transaction.hash());
        assert!(vectors.ends_with(&found), "{found}");
    }

    #[test]
    fn any_altered_added_or_missing_field_is_refused() {
        let json = tombstone().sign(&key()).unwrap().to_json();
        let members = json.as_object().unwrap();
        for (field, _) in members {
            let fewer = Json::object(members.iter().filter(|(k, _)| k != field).cloned());
            if field != "id" {
                assert!(reparse(&fewer).is_err(), "without {field}");
            }
            let others = |(k, v): &(String, Json)| {
                let v = if k == field { Json::from("other") } else { v.clone() };
                (k.clone(), v)
            };
            assert!(reparse(&Json::object(members.iter().map(others))).is_err(), "other {field}");
        }
        let more = members.iter().cloned().chain([("note".to_owned(), Json::Null)]);
        assert!(reparse(&Json::object(more)).is_err());
    }

    #[test]
    fn a_tombstone_that_is_signed_again_under_another_id_is_refused() {
        let base = tombstone().to_json();
        let members = base.as_object().unwrap();
        let others = |(k, v): &(String, Json)| {
            let v = if k == "session_id" { Json::from("session-2") } else { v.clone() };
            (k.clone(), v)
        };
        let json = Json::object(members.iter().map(others));
        let transaction = Transaction::signed(&json, &key()).unwrap();
        let refused = SignedTombstone::parse(&transaction);
        assert_eq!(refused, Err(TombstoneFault::Field { field: "id".into() }));
        assert!(matches!(reparse(&base), Err(TombstoneFault::Unsigned { .. })));
    }
}
