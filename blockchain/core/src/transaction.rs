//! A transaction: its canonical text, and what the rules ask of it.
//!
//! Blocks hold transactions, [`crate::anchor`] makes one, services admit them through [`complete`].
//! The text is stored, hashed, signed and bundled as it stands; the spelling it arrived in is gone.
//!
//! Invariant: the text is canonical ([`crate::json`]), an object, and has a non-empty string `id`.

use std::ops::Range;

use crate::block_merkle::{log_leaf, sha256, transaction_hash};
use crate::digest::{LogHash, TransactionHash};
use crate::json::{Json, JsonFault, write_text, write_value};
use crate::sign::{PublicKey, Signature, SigningKey};

mod admission;

pub use admission::{AdmissionFault, Admitted, complete};

/// The type of a transaction that carries a session's root.
pub const SESSION_ANCHOR: &str = "session_anchor";
/// The type of a transaction that says that a session was removed.
pub const SESSION_TOMBSTONE: &str = "session_tombstone";
/// What precedes the text that a transaction's signature covers.
pub const SIGNING_CONTEXT: &str = "lucid-tx/v1\n";

/// The first 16 bytes of SHA-256 of an id's UTF-8: what "the same id" means on a chain.
pub type IdDigest = [u8; 16];

/// The digest of a transaction's id.
pub fn id_digest(id: &str) -> IdDigest {
    let hash = sha256(&[id.as_bytes()]);
    let mut digest = IdDigest::default();
    digest.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    digest
}

/// Why a text is not a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    /// Not JSON that the chain takes.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// Some other JSON value.
    #[error("a transaction is a JSON object")]
    NotAnObject,
    /// No `id`, or one that is empty or no string.
    #[error("the transaction has no id: give it a string that is not empty")]
    NoId,
    /// A field that signing adds is already there.
    #[error("the transaction already has the field {field:?}: leave it to the signer")]
    AlreadySigned {
        /// The field.
        field: &'static str,
    },
}

/// What a transaction says about who made it, and whether that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureState {
    /// It names nobody.
    Unsigned,
    /// It has a `signature` but no `public_key`: some older form, which nothing here can check.
    Bare,
    /// The key it names made its signature.
    Signed {
        /// That key.
        key: PublicKey,
    },
    /// It names a key, and that does not hold.
    Refused(SignatureFault),
}

impl SignatureState {
    /// What a verification says.
    pub(crate) fn verified(key: PublicKey, holds: bool) -> Self {
        match holds {
            true => Self::Signed { key },
            false => Self::Refused(SignatureFault::Mismatch),
        }
    }
}

/// Why a signed transaction is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// `public_key` is no key.
    #[error("public_key is not 32 bytes in padded standard base64")]
    Key,
    /// There is no `signature`, or it is none.
    #[error("public_key is given, but signature is not 64 bytes in padded standard base64")]
    Signature,
    /// The signature is another's, or of another text.
    #[error("the signature does not verify: the text was changed, or another key signed it")]
    Mismatch,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    text: String,
    hash: TransactionHash,
    id: String,
    kind: Option<String>,
    session_id: Option<String>,
    timestamp: Option<String>,
    claim: Claim,
    /// Where the text holds its `signature` member and the comma before it.
    signature_member: Option<Range<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    None,
    Bare,
    Signed { key: Option<PublicKey>, signature: Option<Signature> },
}

/// A field of a signed object that is missing, or is not spelled as `expected` has it. What signing adds
/// does not count.
pub(crate) fn misspelt<'a>(given: &'a Json, expected: &'a Json) -> Option<&'a str> {
    let members = |json: &'a Json| json.as_object().unwrap_or_default().iter();
    let signing = |field: &str| matches!(field, "public_key" | "signature");
    let other =
        members(given).find(|(field, value)| !signing(field) && expected.get(field) != Some(value));
    let missing = || members(expected).find(|(field, _)| given.get(field).is_none());
    other.or_else(missing).map(|(field, _)| field.as_str())
}

impl Transaction {
    /// Reads a transaction in any spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, TransactionFault> {
        Self::of_read(Json::parse(bytes)?).map_err(|(fault, _)| fault)
    }

    /// Makes a transaction of a value that was built. It goes through its text, so it is held to
    /// everything that a text is held to.
    pub fn from_json(value: &Json) -> Result<Self, TransactionFault> {
        Self::parse(value.canonical().as_bytes())
    }

    /// Signs an object: adds `public_key` and `signature`.
    pub fn signed(value: &Json, key: &SigningKey) -> Result<Self, TransactionFault> {
        let members = value.as_object().ok_or(TransactionFault::NotAnObject)?;
        for field in ["public_key", "signature"] {
            if value.get(field).is_some() {
                return Err(TransactionFault::AlreadySigned { field });
            }
        }
        let with = |members: &[(String, Json)], field: &str, value: String| {
            let added = (field.to_owned(), Json::Text(value));
            Json::object(members.iter().cloned().chain([added]))
        };
        let unsigned = with(members, "public_key", key.public().to_string());
        let message = Self::from_json(&unsigned)?.signing_message();
        let members = unsigned.as_object().unwrap_or_default();
        Self::from_json(&with(members, "signature", key.sign(&message).to_string()))
    }

    /// Makes a transaction of a value that was read, and so is sound; or gives it back.
    pub(crate) fn of_read(value: Json) -> Result<Self, (TransactionFault, Json)> {
        let members = match value {
            Json::Object(members) => members,
            other => return Err((TransactionFault::NotAnObject, other)),
        };
        let is_id = |(key, value): &(String, Json)| {
            key == "id" && value.as_text().is_some_and(|id| !id.is_empty())
        };
        if !members.iter().any(is_id) {
            return Err((TransactionFault::NoId, Json::Object(members)));
        }
        let (text, signature_member) = write(&members);
        let (mut id, mut kind, mut session_id, mut timestamp) = (String::new(), None, None, None);
        let (mut public_key, mut signature) = (None, None);
        for (key, value) in members {
            match (key.as_str(), value) {
                ("id", Json::Text(text)) => id = text,
                ("type", Json::Text(text)) => kind = Some(text),
                ("session_id", Json::Text(text)) => session_id = Some(text),
                ("timestamp", Json::Text(text)) => timestamp = Some(text),
                ("public_key", value) => public_key = Some(value),
                ("signature", value) => signature = Some(value),
                _ => {}
            }
        }
        let of = |value: &Option<Json>| value.as_ref().and_then(Json::as_text).map(str::to_owned);
        let claim = match (&public_key, &signature) {
            (None, None) => Claim::None,
            (None, Some(_)) => Claim::Bare,
            (Some(_), _) => Claim::Signed {
                key: of(&public_key).and_then(|text| text.parse().ok()),
                signature: of(&signature).and_then(|text| text.parse().ok()),
            },
        };
        Ok(Self {
            hash: transaction_hash(&text),
            text,
            id,
            kind,
            session_id,
            timestamp,
            claim,
            signature_member,
        })
    }

    /// The canonical text: the transaction itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value, read from the text.
    pub fn to_json(&self) -> Json {
        // The text was printed by us, so it reads.
        Json::parse(self.text.as_bytes()).unwrap_or(Json::Null)
    }

    /// The `id`, never empty.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The digest by which the chain knows the id.
    pub fn id_digest(&self) -> IdDigest {
        id_digest(&self.id)
    }

    /// The `type`, if it is a string.
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The `session_id`, if it is a string.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The `timestamp` as it is spelled, if it is a string.
    pub fn timestamp(&self) -> Option<&str> {
        self.timestamp.as_deref()
    }

    /// SHA-256 of the text: its leaf in the block's Merkle tree.
    pub fn hash(&self) -> TransactionHash {
        self.hash
    }

    /// Its leaf in the RFC 9162 tree.
    pub fn leaf_hash(&self) -> LogHash {
        log_leaf(&self.text)
    }

    /// What a signature covers: a fixed line, and the text without its `signature` member.
    pub fn signing_message(&self) -> Vec<u8> {
        let cut = self.signature_member.clone().unwrap_or(self.text.len()..self.text.len());
        let before = self.text.get(..cut.start).unwrap_or_default();
        let after = self.text.get(cut.end..).unwrap_or_default();
        [SIGNING_CONTEXT, before, after].concat().into_bytes()
    }

    /// Who made it, verified now.
    pub fn signature_state(&self) -> SignatureState {
        match self.claimed() {
            Ok(state) => state,
            Err((key, signature)) => {
                SignatureState::verified(key, key.verify(&self.signing_message(), &signature))
            }
        }
    }

    /// What can be said without verifying; or the key, and the signature that it has to verify.
    pub(crate) fn claimed(&self) -> Result<SignatureState, (PublicKey, Signature)> {
        match &self.claim {
            Claim::None => Ok(SignatureState::Unsigned),
            Claim::Bare => Ok(SignatureState::Bare),
            Claim::Signed { key: None, .. } => Ok(SignatureState::Refused(SignatureFault::Key)),
            Claim::Signed { signature: None, .. } => {
                Ok(SignatureState::Refused(SignatureFault::Signature))
            }
            Claim::Signed { key: Some(key), signature: Some(signature) } => Err((*key, *signature)),
        }
    }
}

/// The canonical text of an object, and where its `signature` member is. As `id` sorts before it,
/// that member always has a comma before it.
fn write(members: &[(String, Json)]) -> (String, Option<Range<usize>>) {
    // Most transactions fit, so the text does not grow step by step.
    let (mut text, mut signature) = (String::with_capacity(256), None);
    text.push('{');
    for (position, (key, value)) in members.iter().enumerate() {
        let start = text.len();
        if position > 0 {
            text.push_str(", ");
        }
        write_text(&mut text, key);
        text.push_str(": ");
        write_value(&mut text, value);
        if key == "signature" {
            signature = Some(start..text.len());
        }
    }
    text.push('}');
    (text, signature)
}

#[cfg(test)]
mod tests;
