//! The anchor: the transaction by which a session's root enters the chain.
//!
//! Sealing builds it with [`Anchor::of`] and [`Anchor::sign`] and queues its text;
//! [`crate::check`] reads it back with [`SignedAnchor::parse`].
//!
//! Its id follows from session, root and manifest, so the same session is never anchored twice under
//! different ids, and an anchor that names other fields than its id was made of is refused.

use crate::digest::{DigestFault, ManifestHash, SessionRoot};
use crate::json::Json;
use crate::manifest::{Manifest, ManifestFault};
use crate::session::{ALGORITHM, SessionFault, SessionId};
use crate::sign::{PublicKey, SigningKey};
use crate::time::{TimeFault, Timestamp};
use crate::transaction::{
    self, SESSION_ANCHOR, SignatureFault, SignatureState, Transaction, TransactionFault,
};

/// What precedes the hash in an anchor's id.
pub const ID_PREFIX: &str = "anchor:";

/// Why a transaction is not an anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorFault {
    /// Fields are missing, unknown, or not of their kind.
    #[error("the anchor's field {field:?} is missing, unknown or wrong")]
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
    /// An id that was not made of the other fields.
    #[error("{given:?} is not the id of this anchor")]
    Id {
        /// The beginning of the id given.
        given: String,
    },
    /// Nobody signed it.
    #[error("the anchor of session {session} is not signed")]
    Unsigned {
        /// Whose anchor it is.
        session: SessionId,
    },
    /// It names a key that did not sign it.
    #[error("the anchor of session {session} is refused: {fault}")]
    Signature {
        /// Whose anchor it is.
        session: SessionId,
        /// What is wrong with its signature.
        fault: SignatureFault,
    },
}

/// What an anchor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The session.
    pub session_id: SessionId,
    /// When it was sealed, by the recorder's clock.
    pub timestamp: Timestamp,
    /// The root of its tree.
    pub merkle_root: SessionRoot,
    /// BLAKE3 of its manifest's text.
    pub manifest_hash: ManifestHash,
    /// How many chunks it has.
    pub chunk_count: u64,
    /// How long it is, appendix included.
    pub total_bytes: u64,
}

impl Anchor {
    /// The anchor of a sealed session.
    pub fn of(manifest: &Manifest, timestamp: Timestamp) -> Result<Self, ManifestFault> {
        Ok(Self {
            session_id: manifest.session_id.clone(),
            timestamp,
            merkle_root: manifest.merkle_root,
            manifest_hash: manifest.hash()?,
            chunk_count: manifest.chunk_count,
            total_bytes: manifest.total_bytes,
        })
    }

    /// The transaction's id: `anchor:` and BLAKE3 of session key, root and manifest hash.
    pub fn id(&self) -> String {
        let hash = blake3::Hasher::new()
            .update(self.session_id.key().as_bytes())
            .update(self.merkle_root.as_bytes())
            .update(self.manifest_hash.as_bytes())
            .finalize();
        format!("{ID_PREFIX}{}", hash.to_hex())
    }

    /// The transaction, signed by the recorder.
    pub fn sign(&self, key: &SigningKey) -> Result<Transaction, TransactionFault> {
        Transaction::signed(&self.to_json(), key)
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("algorithm", Json::from(ALGORITHM)),
            ("chunk_count", Json::from(self.chunk_count)),
            ("id", Json::from(self.id())),
            ("manifest_hash", Json::from(self.manifest_hash.to_string())),
            ("merkle_root", Json::from(self.merkle_root.to_string())),
            ("session_id", Json::from(self.session_id.as_str())),
            ("timestamp", Json::from(self.timestamp.to_string())),
            ("total_bytes", Json::from(self.total_bytes)),
            ("type", Json::from(SESSION_ANCHOR)),
        ])
    }
}

/// An anchor whose signature verifies, and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAnchor {
    /// What it says.
    pub anchor: Anchor,
    /// Who said it.
    pub key: PublicKey,
}

impl SignedAnchor {
    /// Reads an anchor and verifies its signature. Whether the key is one to trust is not asked.
    pub fn parse(transaction: &Transaction) -> Result<Self, AnchorFault> {
        let json = transaction.to_json();
        let get = |field: &str| json.get(field).ok_or_else(|| wrong(field));
        let text = |field: &str| get(field)?.as_text().ok_or_else(|| wrong(field));
        let number = |field: &str| get(field)?.as_u64().ok_or_else(|| wrong(field));
        let anchor = Anchor {
            session_id: text("session_id")?.parse()?,
            timestamp: text("timestamp")?.parse()?,
            merkle_root: text("merkle_root")?.parse()?,
            manifest_hash: text("manifest_hash")?.parse()?,
            chunk_count: number("chunk_count")?,
            total_bytes: number("total_bytes")?,
        };
        if text("id")? != anchor.id() {
            return Err(AnchorFault::Id { given: text("id")?.chars().take(80).collect() });
        }
        if let Some(field) = transaction::misspelt(&json, &anchor.to_json()) {
            return Err(wrong(field));
        }
        let session = anchor.session_id.clone();
        match transaction.signature_state() {
            SignatureState::Signed { key } => Ok(Self { anchor, key }),
            SignatureState::Refused(fault) => Err(AnchorFault::Signature { session, fault }),
            SignatureState::Unsigned | SignatureState::Bare => {
                Err(AnchorFault::Unsigned { session })
            }
        }
    }
}

fn wrong(field: &str) -> AnchorFault {
    AnchorFault::Field { field: field.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::sample_of_version_1 as sample;

    fn key() -> SigningKey {
        SigningKey::from_seed([7; 32])
    }

    fn anchor() -> Anchor {
        Anchor::of(&sample(), Timestamp::from_micros(1_700_000_061_000_000)).unwrap()
    }

    fn reparse(json: &Json) -> Result<SignedAnchor, AnchorFault> {
        SignedAnchor::parse(&Transaction::from_json(json).unwrap())
    }

    #[test]
    fn an_anchor_reads_back_with_its_signer() {
        let transaction = anchor().sign(&key()).unwrap();
        let signed = SignedAnchor::parse(&transaction).unwrap();
        assert_eq!(signed, SignedAnchor { anchor: anchor(), key: key().public() });
        assert_eq!(transaction.id(), anchor().id());
        assert_eq!(transaction.kind(), Some("session_anchor"));
        assert_eq!(transaction.session_id(), Some("session-1"));
    }

    // Frozen: the engine stores and hashes exactly this text.
    #[test]
    fn the_transaction_is_frozen() {
        let vectors = include_str!("../tests/vectors/anchor.txt");
        let transaction = anchor().sign(&key()).unwrap();
        let found = format!("{}\nhash {}\n", transaction.text(), transaction.hash());
        assert!(vectors.ends_with(&found), "{found}");
    }

    #[test]
    fn any_altered_added_or_missing_field_is_refused() {
        let json = anchor().sign(&key()).unwrap().to_json();
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
    fn an_anchor_that_is_signed_again_after_a_change_is_still_refused() {
        let base = anchor().to_json();
        let members = base.as_object().unwrap();
        for (field, value) in [
            ("merkle_root", Json::from("00".repeat(32))),
            ("manifest_hash", Json::from("00".repeat(32))),
            ("session_id", Json::from("session-2")),
            ("type", Json::from("session_tombstone")),
            ("algorithm", Json::from("lucid-session-tree/v2")),
            ("timestamp", Json::from("2023-11-14T22:14:21Z")),
            ("chunk_count", Json::Float(3.0)),
        ] {
            let others = |(k, v): &(String, Json)| {
                (k.clone(), if k == field { value.clone() } else { v.clone() })
            };
            let json = Json::object(members.iter().map(others));
            let transaction = Transaction::signed(&json, &key()).unwrap();
            assert!(SignedAnchor::parse(&transaction).is_err(), "{field}");
        }
    }

    #[test]
    fn an_unsigned_anchor_is_refused() {
        assert!(matches!(reparse(&anchor().to_json()), Err(AnchorFault::Unsigned { .. })));
    }
}
