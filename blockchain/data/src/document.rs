//! Documents: what is said of blocks, transactions and sessions, kept as it was sent.
//!
//! The founding texts call them records. A document is known by its kind and id. Two texts say the same if
//! their canonical texts are equal; what comes back is the text that was posted. What can be searched for
//! ([`Facets`]) follows from the text alone.

mod pruned;

use std::collections::BTreeMap;

use lucid_core::block::{Block, Candidate};
use lucid_core::digest::BlockHash;
use lucid_core::json::{Json, JsonFault};
use lucid_core::limits::{
    METADATA_ENTRIES_MAX, METADATA_ENTRY_BYTES_MAX, TRANSACTION_BYTES_MAX, USER_ID_BYTES_MAX,
};
use lucid_core::manifest::{self, path_bytes};
use lucid_core::time::{Timestamp, parse_block_time};
use lucid_core::transaction::{Transaction, TransactionFault};
use lucid_core::validate::{Context, Mode, Rule, Verdict, validate};

pub(crate) use pruned::text_of as pruned_text;

/// Bytes of a document's id.
pub const ID_BYTES_MAX: usize = 1_024;
/// Bytes of a session's document, as of a transaction.
const SESSION_BYTES_MAX: usize = TRANSACTION_BYTES_MAX;

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// A block, with its transactions.
    Block,
    /// A transaction.
    Transaction,
    /// A session, as a client described it.
    Session,
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Block, Self::Transaction, Self::Session];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }

    /// The byte in facts and keys.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Block => 0,
            Self::Transaction => 1,
            Self::Session => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Who says what a document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A client posted it: nobody vouches for it.
    Submitted,
    /// It was fetched from a block-manager and verified.
    Synchronised,
    /// This store has the session itself.
    Kept,
}

impl Source {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Synchronised => "synchronised",
            Self::Kept => "kept",
        }
    }
}

/// What a document can be found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facets {
    /// Of a block; its hash is its id.
    Block {
        /// Where it stands in its chain.
        index: u64,
        /// Its hash.
        hash: BlockHash,
        /// The block before it.
        previous_hash: BlockHash,
        /// The root over its transactions, in hex.
        merkle_root: String,
        /// How many transactions it has.
        transactions: u64,
    },
    /// Of a transaction.
    Transaction {
        /// Its own `type`.
        tx_type: Option<String>,
        /// The session it is about.
        session_id: Option<String>,
    },
    /// Of a session.
    Session {
        /// Its status, verbatim.
        status: Option<String>,
        /// Whose it is.
        user_id: Option<String>,
        /// What else is said of it: members of `metadata` that are text, number or truth value.
        metadata: BTreeMap<String, String>,
        /// When it ended, where that is said.
        ended_at: Option<Timestamp>,
        /// Where it comes from, where that is said as a manifest says it.
        source: Option<manifest::Source>,
    },
}

/// A document that was read.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it is about.
    pub kind: DocumentKind,
    /// Its id.
    pub id: String,
    /// The BLAKE3 hash of its canonical text: equal for texts that say the same.
    pub digest: [u8; 32],
    /// When what it is about happened, where it says so.
    pub instant: Option<Timestamp>,
    /// What it can be found by.
    pub facets: Facets,
    /// A block's transactions.
    pub transactions: Vec<Transaction>,
    /// Whether a block is signed.
    pub is_signed: bool,
}

/// Why a text is no document that is kept.
#[derive(Debug, thiserror::Error)]
pub enum DocumentFault {
    /// It is no JSON that is taken.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// It is no transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionFault),
    /// It is not what a block, or a session's document, has to be.
    #[error("{0}")]
    Invalid(String),
    /// It is a block that is not what it says.
    #[error("the block is not what it says it is: {}", broken(.0))]
    Block(Box<Verdict>),
}

fn broken(verdict: &Verdict) -> String {
    let names = verdict.results.iter().filter(|result| is_broken(result.rule, result.passed));
    names.map(|result| result.rule.name()).collect::<Vec<_>>().join(", ")
}

/// Rules that a block breaks by itself. Which block it follows and when that was is not looked at: a document
/// may be of any chain.
fn is_broken(rule: Rule, passed: bool) -> bool {
    !passed && !matches!(rule, Rule::PreviousHash | Rule::Timestamp)
}

fn digest(canonical: &str) -> [u8; 32] {
    *blake3::hash(canonical.as_bytes()).as_bytes()
}

impl Document {
    /// Reads a text that was posted as a document of this kind. A block has to have the hash, the root and the
    /// transactions that it says it has; `now` is when that is judged.
    pub fn read(kind: DocumentKind, text: &str, now: Timestamp) -> Result<Self, DocumentFault> {
        match kind {
            DocumentKind::Block => Self::of_block(judged_block(text, now)?),
            DocumentKind::Transaction => {
                let transaction = Transaction::parse(text.as_bytes())?;
                check_id(transaction.id())?;
                transaction.timestamp().map(|text| time("timestamp", text)).transpose()?;
                Ok(Self::of_transaction(&transaction))
            }
            DocumentKind::Session if text.len() > SESSION_BYTES_MAX => {
                Err(DocumentFault::Invalid(format!(
                    "the document has {} bytes; a session's has {SESSION_BYTES_MAX} at most",
                    text.len()
                )))
            }
            DocumentKind::Session => Self::of_session(text),
        }
    }

    /// Reads a text that was taken before: of a transaction in a block nothing is asked that its block does not
    /// ask, and a session of this store may say more of itself than one that is posted.
    pub(crate) fn of_taken(
        kind: DocumentKind,
        source: Source,
        text: &str,
    ) -> Result<Self, DocumentFault> {
        match kind {
            DocumentKind::Block => {
                let candidate = Candidate::parse(text.as_bytes())?.with_default_nonce();
                match candidate.into_block() {
                    Some(block) => Self::of_block(block),
                    // Nobody but a chain tells of a block without its transactions.
                    None if source == Source::Synchronised => pruned::read(text),
                    None => Err(DocumentFault::Invalid("a field of the block is missing".into())),
                }
            }
            DocumentKind::Transaction => {
                Ok(Self::of_transaction(&Transaction::parse(text.as_bytes())?))
            }
            DocumentKind::Session => Self::of_session(text),
        }
    }

    /// The document of a block with its transactions.
    pub(crate) fn of_block(block: Block) -> Result<Self, DocumentFault> {
        let digest = digest(&block.to_json_text());
        let instant = block.time().map_err(|fault| {
            DocumentFault::Invalid(format!("timestamp {:?}: {fault}", block.timestamp))
        })?;
        let facets = Facets::Block {
            index: block.index,
            hash: block.hash,
            previous_hash: block.previous_hash,
            merkle_root: block.merkle_root.to_string(),
            transactions: block.transactions.len() as u64,
        };
        Ok(Self {
            kind: DocumentKind::Block,
            id: block.hash.to_string(),
            digest,
            instant: Some(instant),
            facets,
            is_signed: block.signature.is_some(),
            transactions: block.transactions,
        })
    }

    /// A transaction's document. One in a block may have any text for its time, which then says nothing.
    pub(crate) fn of_transaction(transaction: &Transaction) -> Self {
        let instant = transaction.timestamp().and_then(|text| time("timestamp", text).ok());
        Self {
            kind: DocumentKind::Transaction,
            id: transaction.id().to_owned(),
            digest: digest(transaction.text()),
            instant,
            facets: Facets::Transaction {
                tx_type: transaction.kind().map(str::to_owned),
                session_id: transaction.session_id().map(str::to_owned),
            },
            transactions: Vec::new(),
            is_signed: false,
        }
    }

    fn of_session(text: &str) -> Result<Self, DocumentFault> {
        let json = Json::parse(text.as_bytes())?;
        if json.as_object().is_none() {
            return Err(DocumentFault::Invalid("a session's document is a JSON object".into()));
        }
        let id = match (member(&json, "id")?, member(&json, "session_id")?) {
            (Some(id), Some(other)) if id != other => {
                let sentence = format!("id is {id:?} and session_id {other:?}: send one of them");
                return Err(DocumentFault::Invalid(sentence));
            }
            (Some(id), _) | (None, Some(id)) => id.to_owned(),
            (None, None) => {
                return Err(DocumentFault::Invalid("id is missing: name the session".into()));
            }
        };
        check_id(&id)?;
        let user_id = member(&json, "user_id")?;
        if user_id.is_some_and(|user| user.len() > USER_ID_BYTES_MAX) {
            let sentence = format!("user_id has over {USER_ID_BYTES_MAX} bytes");
            return Err(DocumentFault::Invalid(sentence));
        }
        let moment = |name: &str| member(&json, name)?.map(|text| time(name, text)).transpose();
        Ok(Self {
            kind: DocumentKind::Session,
            digest: digest(&json.canonical()),
            instant: moment("timestamp")?,
            facets: Facets::Session {
                status: member(&json, "status")?.map(str::to_owned),
                user_id: user_id.map(str::to_owned),
                metadata: metadata(&json)?,
                ended_at: moment("ended_at")?,
                source: origin(&json),
            },
            id,
            transactions: Vec::new(),
            is_signed: false,
        })
    }
}

fn judged_block(text: &str, now: Timestamp) -> Result<Block, DocumentFault> {
    let candidate = Candidate::parse(text.as_bytes())?.with_default_nonce();
    let context = Context {
        parent: None,
        genesis: None,
        now,
        mode: Mode::Historical,
        chained: &|_| false,
        producer: Default::default(),
    };
    let verdict = validate(candidate.clone(), &context);
    let is_sound = !verdict.results.iter().any(|result| is_broken(result.rule, result.passed));
    match candidate.into_block() {
        Some(block) if is_sound => Ok(block),
        _ => Err(DocumentFault::Block(Box::new(verdict))),
    }
}

fn check_id(id: &str) -> Result<(), DocumentFault> {
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        let sentence =
            format!("the id has {} bytes; from 1 to {ID_BYTES_MAX} are allowed", id.len());
        return Err(DocumentFault::Invalid(sentence));
    }
    Ok(())
}

fn time(name: &str, text: &str) -> Result<Timestamp, DocumentFault> {
    // With any zone, or spelled as a block's.
    Timestamp::parse(text)
        .or_else(|_| parse_block_time(text))
        .map_err(|fault| DocumentFault::Invalid(format!("{name} {text:?}: {fault}")))
}

/// A member that is text, if it is there; `null` is not there.
fn member<'a>(json: &'a Json, name: &str) -> Result<Option<&'a str>, DocumentFault> {
    match json.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(DocumentFault::Invalid(format!("{name} is no text: send it in quotes"))),
    }
}

fn metadata(json: &Json) -> Result<BTreeMap<String, String>, DocumentFault> {
    let members = match json.get("metadata") {
        None | Some(Json::Null) => return Ok(BTreeMap::new()),
        Some(Json::Object(members)) => members,
        Some(_) => return Err(DocumentFault::Invalid("metadata is no JSON object".into())),
    };
    let mut found = BTreeMap::new();
    for (name, value) in members {
        let value = match value {
            Json::Text(text) => text.clone(),
            Json::Bool(_) | Json::Integer(_) | Json::Float(_) => value.canonical(),
            // Kept in the text, and not searched for.
            Json::Null | Json::List(_) | Json::Object(_) => continue,
        };
        if name.len() + value.len() > METADATA_ENTRY_BYTES_MAX {
            let sentence = format!(
                "metadata {name:?} has over {METADATA_ENTRY_BYTES_MAX} bytes with its name"
            );
            return Err(DocumentFault::Invalid(sentence));
        }
        found.insert(name.clone(), value);
    }
    if found.len() > METADATA_ENTRIES_MAX {
        let sentence =
            format!("metadata has {} entries; {METADATA_ENTRIES_MAX} are allowed", found.len());
        return Err(DocumentFault::Invalid(sentence));
    }
    Ok(found)
}

/// The member `source`, in the words of a manifest. What is not as a manifest has it is kept in the text, and not
/// searched for.
fn origin(json: &Json) -> Option<manifest::Source> {
    let of = json.get("source")?;
    let texts = |name: &str| match of.get(name) {
        None => Some(Vec::new()),
        Some(list) => list.as_list()?.iter().map(Json::as_text).collect(),
    };
    let host = of.get("host").map_or(Some(""), Json::as_text)?.to_owned();
    let paths = texts("paths")?.into_iter().map(path_bytes).collect::<Option<_>>()?;
    let tags = texts("tags")?.into_iter().map(str::to_owned).collect();
    Some(manifest::Source { host, paths, tags }).filter(|source| source.fault().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> Result<Document, DocumentFault> {
        Document::read(DocumentKind::Session, text, Timestamp::from_micros(0))
    }

    #[test]
    fn texts_that_say_the_same_have_one_digest() {
        let plain = session(r#"{"id": "s", "status": "active", "n": 1.0}"#).unwrap();
        let other = session(r#"{"n":1.0,"status":"\u0061ctive","id":"s"}"#).unwrap();
        assert_eq!(plain.digest, other.digest);
        let changed = session(r#"{"id": "s", "status": "active", "n": 1}"#).unwrap();
        assert_ne!(plain.digest, changed.digest);
    }

    #[test]
    fn what_is_no_sessions_document_is_refused_by_the_name_of_what_is_wrong() {
        for (text, wanted) in [
            ("[]", "object"),
            ("{}", "id is missing"),
            (r#"{"id": ""}"#, "0 bytes"),
            (r#"{"id": 1}"#, "id is no text"),
            (r#"{"id": "a", "session_id": "b"}"#, "send one of them"),
            (r#"{"id": "a", "status": {"$ne": 1}}"#, "status is no text"),
            (r#"{"id": "a", "user_id": ["x"]}"#, "user_id is no text"),
            (r#"{"id": "a", "timestamp": "yesterday"}"#, "timestamp \"yesterday\""),
            (r#"{"id": "a", "metadata": []}"#, "metadata is no JSON object"),
            (r#"{"id": "a", "id": "b"}"#, "stands twice"),
            (r#"{"id": "a", "n": NaN}"#, "unexpected"),
        ] {
            let fault = session(text).unwrap_err().to_string();
            assert!(fault.contains(wanted), "{text}: {fault}");
        }
    }

    #[test]
    fn facets_are_what_can_be_compared() {
        let text = r#"{"session_id": "a", "user_id": "ann", "timestamp": "2026-01-01T00:00:00",
            "ended_at": null, "metadata": {"host": "web-1", "n": 3, "deep": {"x": 1}, "no": null}}"#;
        let read = session(text).unwrap();
        assert_eq!(read.id, "a");
        assert_eq!(read.instant.unwrap().to_string(), "2026-01-01T00:00:00.000000Z");
        let Facets::Session { status, user_id, metadata, ended_at, source } = read.facets else {
            panic!()
        };
        assert_eq!(source, None);
        assert_eq!((status, user_id.as_deref(), ended_at), (None, Some("ann"), None));
        let wanted = [("host", "web-1"), ("n", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(metadata, BTreeMap::from(wanted));
    }
}
