//! A transaction: its canonical text, and what the rules ask of it.
//!
//! Blocks hold transactions, [`crate::anchor`] makes one, services admit them through [`complete`].
//! The text is stored, hashed, signed and bundled as it stands; the spelling it arrived in is gone.
//!
//! Invariant: the text is canonical ([`crate::json`]), an object, and has a non-empty string `id`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::block_merkle::{log_leaf, sha256};
use crate::digest::{LogHash, TransactionHash};
use crate::json::{Json, JsonFault, unquoted};
use crate::sign::{PublicKey, Signature, SigningKey};

mod admission;
mod drafts;

pub(crate) use drafts::{Drafts, Unfit};

pub use admission::{AdmissionFault, Admitted, complete};

/// The type of a transaction that carries a session's root.
pub const SESSION_ANCHOR: &str = "session_anchor";
/// The type of a transaction that says that a session was removed.
pub const SESSION_TOMBSTONE: &str = "session_tombstone";
/// The type of a transaction that asks for a block, whose time ends that of sessions.
pub const RETENTION_RUN: &str = "retention_run";
/// The type of a transaction that names the chain which this one takes the place of.
pub const CHAIN_SUCCESSION: &str = "chain_succession";
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

/// One transaction. Those of a block share one text, which lasts as long as the last of them.
#[derive(Clone)]
pub struct Transaction {
    whole: Arc<String>,
    /// Which part of the text is this one.
    at: Range<usize>,
    parts: TransactionParts,
}

/// What a transaction is asked for, found when it was read.
#[derive(Debug, Clone)]
struct TransactionParts {
    hash: TransactionHash,
    id: Part,
    kind: Option<Part>,
    session_id: Option<Part>,
    timestamp: Option<Part>,
    /// What it says about who made it; nothing, for most.
    claim: Option<Box<SignerFields>>,
}

/// The characters of a string in the text.
#[derive(Debug, Clone)]
enum Part {
    /// As they stand there.
    In(Range<usize>),
    /// Unescaped.
    Own(Box<str>),
}

impl Part {
    /// The string that begins and ends there in a canonical text, if it is one.
    fn of(text: &str, (start, end): (usize, usize)) -> Option<Self> {
        Some(match unquoted(text.get(start..end)?)? {
            std::borrow::Cow::Borrowed(_) => Self::In(start + 1..end - 1),
            std::borrow::Cow::Owned(own) => Self::Own(own.into()),
        })
    }

    fn text<'t>(&'t self, text: &'t str) -> &'t str {
        match self {
            Self::In(range) => text.get(range.clone()).unwrap_or_default(),
            Self::Own(own) => own,
        }
    }
}

/// A `public_key`, a `signature`, or both.
#[derive(Debug, Clone)]
struct SignerFields {
    /// It has a `public_key`.
    is_named: bool,
    key: Option<PublicKey>,
    signature: Option<Signature>,
    /// Where the text holds its `signature` member and the comma before it.
    signature_member: Option<Range<usize>>,
}

impl PartialEq for Transaction {
    /// A transaction is its text; all else follows from that.
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Transaction {}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction").field(&self.text()).finish()
    }
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
        let mut drafts = Drafts::default();
        drafts.read_whole(bytes)?;
        match drafts.finish().next() {
            Some(Ok(transaction)) => Ok(transaction),
            Some(Err(unfit)) => Err(unfit.fault),
            None => Err(TransactionFault::NotAnObject),
        }
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

    /// The canonical text: the transaction itself.
    pub fn text(&self) -> &str {
        self.whole.get(self.at.clone()).unwrap_or_default()
    }

    /// The value, read from the text.
    pub fn to_json(&self) -> Json {
        // The text was printed by us, so it reads.
        Json::parse(self.text().as_bytes()).unwrap_or(Json::Null)
    }

    /// The `id`, never empty.
    pub fn id(&self) -> &str {
        self.parts.id.text(self.text())
    }

    /// The digest by which the chain knows the id.
    pub fn id_digest(&self) -> IdDigest {
        id_digest(self.id())
    }

    /// The `type`, if it is a string.
    pub fn kind(&self) -> Option<&str> {
        self.part(&self.parts.kind)
    }

    fn part<'t>(&'t self, part: &'t Option<Part>) -> Option<&'t str> {
        part.as_ref().map(|part| part.text(self.text()))
    }

    /// The `session_id`, if it is a string.
    pub fn session_id(&self) -> Option<&str> {
        self.part(&self.parts.session_id)
    }

    /// The `timestamp` as it is spelled, if it is a string.
    pub fn timestamp(&self) -> Option<&str> {
        self.part(&self.parts.timestamp)
    }

    /// SHA-256 of the text: its leaf in the block's Merkle tree.
    pub fn hash(&self) -> TransactionHash {
        self.parts.hash
    }

    /// Its leaf in the RFC 9162 tree.
    pub fn leaf_hash(&self) -> LogHash {
        log_leaf(self.text())
    }

    /// What a signature covers: a fixed line, and the text without its `signature` member.
    pub fn signing_message(&self) -> Vec<u8> {
        let text = self.text();
        let member = self.parts.claim.as_ref().and_then(|claim| claim.signature_member.clone());
        let cut = member.unwrap_or(text.len()..text.len());
        let before = text.get(..cut.start).unwrap_or_default();
        let after = text.get(cut.end..).unwrap_or_default();
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
        let Some(claim) = &self.parts.claim else { return Ok(SignatureState::Unsigned) };
        match (claim.is_named, claim.key, claim.signature) {
            (false, ..) => Ok(SignatureState::Bare),
            (_, None, _) => Ok(SignatureState::Refused(SignatureFault::Key)),
            (_, _, None) => Ok(SignatureState::Refused(SignatureFault::Signature)),
            (_, Some(key), Some(signature)) => Err((key, signature)),
        }
    }
}

#[cfg(test)]
mod tests;
