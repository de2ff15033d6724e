//! What the OpenAPI documents of both services say alike: the kinds of text that stand in many bodies
//! and addresses, what groups of operations are about, and how an operation may be refused.
//!
//! A field of [`crate::v1`] names its kind with `value_type`; a parameter has its kind by its own name,
//! since one name means one thing. The porch puts both into the document.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident { $($key:ident: $value:expr),* $(,)? })*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .description(Some([$($doc.trim()),+].join(" ")))
                        $(.$key($value))*
                        .build()
                        .into()
                }
            }

            impl ToSchema for $name {}
        )*

        /// Every kind, by its name.
        pub fn kinds() -> Vec<(&'static str, RefOr<Schema>)> {
            vec![$((stringify!($name), $name::schema())),*]
        }
    };
}

kinds! {
    /// A session's name. `.` and `..` are none.
    SessionId {
        pattern: Some(r"^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$"),
        examples: ["1mt8aj0k3f9x2c7"],
    }
    /// A hash of 32 bytes in lower-case hex.
    Hash {
        pattern: Some("^[0-9a-f]{64}$"),
        examples: ["d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"],
    }
    /// What a chunk goes by: its hash, or what its session calls it.
    ChunkName {
        pattern: Some("^[A-Za-z0-9._:-]{1,128}$"),
        examples: ["d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"],
    }
    /// A transaction's id: any text that is not empty.
    TransactionId {
        min_length: Some(1),
        examples: ["anchor:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"],
    }
    /// A moment (RFC 3339); replies have it in UTC.
    Time {
        format: Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)),
        examples: ["2026-03-01T12:00:00.000000Z"],
    }
    /// A moment (RFC 3339) in a header.
    TimeText {
        pattern: Some(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$"),
        examples: ["2026-03-01T12:00:00Z"],
    }
    /// A block's time as the block spells it; without a zone it is UTC.
    BlockTime {
        pattern: Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{6})?(Z|\+00:00)?$"),
        examples: ["2026-03-01T12:00:00.000000Z"],
    }
    /// Bytes in base64, padded.
    Base64 {
        content_encoding: "base64",
        pattern: Some("^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
        examples: ["aGVsbG8="],
    }
    /// An Ed25519 key in base64.
    PublicKey {
        content_encoding: "base64",
        pattern: Some("^[A-Za-z0-9+/]{43}=$"),
        examples: ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
    }
    /// An Ed25519 signature in base64.
    Signature {
        content_encoding: "base64",
        pattern: Some("^[A-Za-z0-9+/]{86}==$"),
    }
    /// Whose recording it is: at most 256 bytes.
    UserId { max_length: Some(256), examples: ["ann"] }
    /// Why, for people: at most 1024 bytes.
    Reason { max_length: Some(1024), examples: ["a court asked for it"] }
    /// `next_cursor` of an earlier page.
    Cursor { pattern: Some("^[A-Za-z0-9_-]+$"), examples: ["MTAw"] }
    /// A height in plain digits, or a hash.
    BlockName { pattern: Some("^(0|[1-9][0-9]{0,18}|[0-9a-f]{64})$"), examples: ["0"] }
    /// The id of a document.
    DocumentId { min_length: Some(1), max_length: Some(1024), examples: ["elsewhere-1"] }
    /// What a document is about.
    DocumentKind { pattern: Some("^(block|transaction|session)$"), examples: ["session"] }
    /// The newest first, or the oldest.
    Order { pattern: Some("^(asc|desc)$"), examples: ["desc"] }
    /// A text that is compared as it is.
    Facet { min_length: Some(0), examples: ["session_anchor"] }
    /// First and last byte, both included.
    ByteRange { pattern: Some("^[0-9]+-[0-9]+$"), examples: ["0-99"] }
    /// Seconds, from 0 to 60.
    Wait { pattern: Some("^([0-9]|[1-5][0-9]|60)s?$"), examples: ["30s"] }
    /// SHA-256 of the body, by RFC 9530.
    ContentDigest {
        pattern: Some("^sha-256=:[A-Za-z0-9+/]{43}=:$"),
        examples: ["sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"],
    }
    /// BLAKE3 in hex, or `sha256:` and SHA-256 in hex.
    ContentHash {
        pattern: Some("^((blake3|sha256):)?[0-9A-Fa-f]{64}$"),
        examples: ["sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"],
    }
    /// Names a request in logs and problem documents.
    RequestId { pattern: Some("^[A-Za-z0-9._:-]{1,128}$"), examples: ["5f1d0c2b7a9e4d31-2a"] }
    /// Entity tags, in quotes.
    EntityTags { pattern: Some(r#"^(\*|((W/)?"[^"]*")(, ?(W/)?"[^"]*")*)$"#), examples: ["\"d74981ef\""] }
    /// One range of bytes: `bytes=A-B`, `bytes=A-` or `bytes=-N`.
    Range { pattern: Some("^bytes=([0-9]+-[0-9]*|-[0-9]+)$"), examples: ["bytes=0-99"] }
}

/// The kind of what is given in an address or a header under this name, and what it is for.
pub fn parameter(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "session_id" => ("SessionId", "The session."),
        "chunk_id" => ("ChunkName", "The chunk."),
        "root_hash" => ("Hash", "The tree's root."),
        "hash" => ("Hash", "The block's hash."),
        "confirm" => ("Hash", "The hash that the block must have."),
        "expected_merkle_root" => ("Hash", "The root the caller believes in."),
        "index" => ("BlockName", "The block."),
        "tx_id" => ("TransactionId", "The transaction."),
        "user_id" => ("UserId", "Of this user."),
        "caller" => ("UserId", "Of this caller."),
        "session" => ("SessionId", "About this session."),
        "reason" => ("Reason", "Why."),
        "cursor" => ("Cursor", "From an earlier page."),
        "id" => ("DocumentId", "The document's id; of a block its hash or its index."),
        "kind" => ("DocumentKind", "What it is about."),
        "order" => ("Order", "In which order."),
        "type" => ("Facet", "Of this type."),
        "timestamp_from" | "timestamp_to" | "active_at" => ("Time", "A moment."),
        "wait" => ("Wait", "For how long at most."),
        "range" => ("ByteRange", "These bytes."),
        "from" | "to" => ("Time", "A moment."),
        "Lucid-Time" => ("TimeText", "A moment."),
        "Content-Digest" => ("ContentDigest", "The body's digest."),
        "X-Content-Hash" => ("ContentHash", "The hash that the body must have."),
        _ => return None,
    })
}

/// What the groups of operations are about.
pub const TAGS: &[(&str, &str)] = &[
    ("service", "How the service is."),
    ("sessions", "Sessions: begin, go on, seal, read what they are."),
    ("chunks", "Chunks: one at a time, or many in one body."),
    ("content", "A session's bytes."),
    ("files", "The files of an archived folder."),
    ("verification", "Reading back what is stored, and holding it against its hashes."),
    ("merkle", "Trees over any chunks."),
    ("anchors", "Where a session's root is in the chain."),
    ("proofs", "What proves a session, or a part of it, without the service."),
    ("audit", "What was asked of the service, and by whom."),
    ("removal", "The end of sessions, and what forbids it."),
    ("mirror", "Sessions on their way from one store to another."),
    ("maintenance", "Long work on the store, and how far it is."),
    ("transactions", "Transactions: hand them in, find them, prove them."),
    ("anchoring", "Roots of sessions that are kept elsewhere."),
    ("blocks", "Blocks: read them, hand them in, prove what is in them."),
    ("validation", "Judging blocks by the six rules."),
    ("chain", "The chain as a whole, and following another one."),
];

/// Where things are kept that may be removed or pruned.
const KEPT: [&str; 6] = [
    "/api/v1/sessions",
    "/api/v1/chunks",
    "/api/v1/merkle",
    "/api/v1/verify",
    "/api/v1/blocks",
    "/api/v1/transactions",
];

/// How any operation may be refused: the status, a name for it, and what it means.
pub const REFUSALS: &[(u16, &str, &str)] = &[
    (400, "malformed", "The request cannot be read."),
    (401, "unauthorized", "Credentials are asked for, and those that are shown do not count."),
    (403, "forbidden", "It is not allowed, or not from where it comes."),
    (404, "not_found", "There is no such thing."),
    (409, "conflict", "What is stored does not allow it; `code` says what."),
    (410, "gone", "There was such a thing."),
    (412, "precondition", "A condition of the request does not hold."),
    (413, "too_large", "More bytes or items than a request may have."),
    (415, "unsupported", "The body has another media type than is read here."),
    (416, "range", "The range lies outside the content."),
    (422, "invalid", "The request says something that is not allowed."),
    (423, "locked", "It is held."),
    (429, "busy", "Too much at once: again after `Retry-After`."),
    (500, "internal", "Our mistake; the log has the cause, under the request id."),
    (502, "upstream", "Another service, which is needed for it, failed."),
    (503, "unavailable", "A part that is needed is not there now: again after `Retry-After`."),
    (507, "full", "The store has no room."),
];

/// The statuses with which an operation may be refused, besides those it lists itself. `has_values`: it
/// has parameters.
pub fn refusals(method: &str, path: &str, has_body: bool, has_values: bool) -> Vec<u16> {
    let names = path.contains('{') || has_body;
    let is_kept = KEPT.iter().any(|kept| path.starts_with(kept));
    let changes = !["get", "head"].contains(&method);
    let may = [
        (true, &[400, 403, 429, 500, 503][..]),
        (has_body, &[413, 415]),
        (has_body || has_values, &[422]),
        (names, &[404]),
        (names && is_kept, &[409, 410]),
        (changes, &[409, 507]),
    ];
    may.into_iter().filter(|(may, _)| *may).flat_map(|(_, statuses)| statuses).copied().collect()
}
