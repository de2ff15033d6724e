//! The anchor: the transaction by which a session's root enters the chain.
//!
//! Sealing builds it with [`Anchor::of`], signs it as any [`Claim`], and queues its text; [`crate::check`] reads
//! it back with [`Signed::parse`](crate::claim::Signed::parse).
//!
//! Its id follows from session, root and manifest, so the same session is never anchored twice under
//! different ids, and an anchor that names other fields than its id was made of is refused.

use crate::claim::{Claim, ClaimFault, ClaimFields};
use crate::digest::{ManifestHash, SessionRoot};
use crate::json::Json;
use crate::manifest::{Manifest, ManifestFault};
use crate::session::{ALGORITHM, SessionId};
use crate::time::Timestamp;
use crate::transaction::SESSION_ANCHOR;

/// What precedes the hash in an anchor's id.
pub const ID_PREFIX: &str = "anchor:";

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
}

impl Claim for Anchor {
    const KIND: &'static str = "anchor";

    fn subject(&self) -> String {
        format!("anchor of session {}", self.session_id)
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

    fn read(fields: &ClaimFields<'_>) -> Result<Self, ClaimFault> {
        Ok(Self {
            session_id: fields.value("session_id")?,
            timestamp: fields.value("timestamp")?,
            merkle_root: fields.value("merkle_root")?,
            manifest_hash: fields.value("manifest_hash")?,
            chunk_count: fields.number("chunk_count")?,
            total_bytes: fields.number("total_bytes")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Signed;
    use crate::manifest::tests::sample_of_version_1 as sample;
    use crate::sign::SigningKey;
    use crate::transaction::Transaction;

    fn key() -> SigningKey {
        SigningKey::from_seed([7; 32])
    }

    fn anchor() -> Anchor {
        Anchor::of(&sample(), Timestamp::from_micros(1_700_000_061_000_000)).unwrap()
    }

    fn reparse(json: &Json) -> Result<Signed<Anchor>, ClaimFault> {
        Signed::<Anchor>::parse(&Transaction::from_json(json).unwrap())
    }

    #[test]
    fn an_anchor_reads_back_with_its_signer() {
        let transaction = anchor().sign(&key()).unwrap();
        let signed = Signed::<Anchor>::parse(&transaction).unwrap();
        assert_eq!(signed, Signed { claim: anchor(), key: key().public() });
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
            assert!(Signed::<Anchor>::parse(&transaction).is_err(), "{field}");
        }
    }

    #[test]
    fn an_unsigned_anchor_is_refused() {
        assert!(matches!(reparse(&anchor().to_json()), Err(ClaimFault::Unsigned { .. })));
    }
}
