//! The tombstone: the transaction by which the chain hears that a session was removed.
//!
//! Removing a session signs it as any [`Claim`] and keeps its text in the place of the session;
//! [`Signed::parse`](crate::claim::Signed::parse) reads it back. It names the root that the session had, so the
//! holder of a proof can tell that this very recording was taken away, when, and by whom.
//!
//! Its id follows from session, root and time, so a session that came back with an old copy of a store
//! can be removed once more.

use crate::claim::{Claim, ClaimFault, ClaimFields};
use crate::digest::SessionRoot;
use crate::json::Json;
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::transaction::SESSION_TOMBSTONE;

/// What precedes the hash in a tombstone's id.
pub const ID_PREFIX: &str = "tombstone:";

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
}

impl Claim for Tombstone {
    const KIND: &'static str = "tombstone";

    fn subject(&self) -> String {
        format!("tombstone of session {}", self.session_id)
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

    fn read(fields: &ClaimFields<'_>) -> Result<Self, ClaimFault> {
        Ok(Self {
            session_id: fields.value("session_id")?,
            timestamp: fields.value("timestamp")?,
            merkle_root: fields.value("merkle_root")?,
            reason: fields.text("reason")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Signed;
    use crate::sign::SigningKey;
    use crate::transaction::Transaction;

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

    fn reparse(json: &Json) -> Result<Signed<Tombstone>, ClaimFault> {
        Signed::<Tombstone>::parse(&Transaction::from_json(json).unwrap())
    }

    #[test]
    fn a_tombstone_reads_back_with_its_signer() {
        let transaction = tombstone().sign(&key()).unwrap();
        let signed = Signed::<Tombstone>::parse(&transaction).unwrap();
        assert_eq!(signed, Signed { claim: tombstone(), key: key().public() });
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
        let refused = Signed::<Tombstone>::parse(&transaction);
        assert_eq!(refused, Err(ClaimFault::Id { kind: "tombstone", given: tombstone().id() }));
        assert!(matches!(reparse(&base), Err(ClaimFault::Unsigned { .. })));
    }
}
