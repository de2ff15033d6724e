//! The problem document: what every refusal and failure looks like on the wire (RFC 9457), with
//! the `error` envelope that clients of the documented API read, and the codes it may carry.
//!
//! The porch writes it, clients read it. A code says *what kind*, and has one status.

use crate::document::{RequestId, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The media type.
pub const CONTENT_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $text:literal, $title:literal, $documented:expr, $remedy:literal;)*) => {
        /// What kind of refusal or failure it is. Programs decide by this, people read the detail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As it is written in documents and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status it is sent with: always the same one.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A short sentence that is the same for every problem of this code.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The code that clients of the documented API look for in the envelope, unless a closer
            /// one is documented for the case.
            pub const fn documented(self) -> &'static str {
                match self { $(Self::$name => $documented,)* }
            }

            /// What a caller who is answered so does next.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

// The one table of what a service answers when it does not do what it was asked. Both services share it; a
// test holds the table in docs/API.md against it.
codes! {
    /// The body cannot be read at all.
    Malformed = 400 "malformed", "the request cannot be read", Documented::REQUEST.0,
        "correct the request";
    /// It can be read, and says something that is not allowed.
    Invalid = 422 "invalid", "the request is not valid", Documented::REQUEST.0,
        "correct what `detail` names";
    /// No credentials, or none that count.
    Unauthorized = 401 "unauthorized", "credentials are required", Documented::CREDENTIALS.0,
        "send credentials";
    /// The credentials do not allow it.
    Forbidden = 403 "forbidden", "not allowed", Documented::ALLOWANCE.0,
        "ask from where it is allowed, or as somebody who may";
    /// There is no such thing.
    NotFound = 404 "not_found", "not found", "not_found",
        "ask for something that is there; lists say what is";
    /// The thing exists, and not with this method.
    Method = 405 "method", "the method is not allowed here", "method",
        "use a method that `Allow` lists";
    /// There was such a thing.
    Gone = 410 "gone", "no longer here", "gone",
        "take another id: it does not come back";
    /// The same id, index or height has something else.
    Exists = 409 "exists", "something else is there already", "exists",
        "take another id, or send what is there";
    /// It is sealed, or kept by a session, and does not change.
    Sealed = 409 "sealed", "sealed, and does not change", "sealed",
        "begin a new session";
    /// It is not sealed yet.
    Unsealed = 409 "unsealed", "not sealed yet", "unsealed",
        "seal it, or wait until it is";
    /// It is of another kind than is needed here.
    Kind = 409 "kind", "of another kind than is needed here", "kind",
        "use the route for its kind";
    /// It goes on elsewhere.
    Offset = 409 "offset", "goes on elsewhere", "offset",
        "go on from where `details` and `detail` say";
    /// What it builds on is not there.
    Missing = 409 "missing", "what it builds on is missing", "missing",
        "send what `details` lists, then the same again";
    /// What is stored there is damaged.
    Damaged = 409 "damaged", "what is stored there is damaged", "damaged",
        "send the same content again, or put back what `details` names from a copy";
    /// The same work is being done.
    Running = 409 "running", "somebody is at it", "running",
        "wait until that has ended";
    /// The service has another role in its chain.
    Role = 409 "role", "not what this service is for", "role",
        "ask the service that `detail` names";
    /// It could mean too much.
    Unclear = 409 "unclear", "more has to be said", "unclear",
        "say what `detail` asks for (`session_id`, `confirm`)";
    /// It is committed, and will not change.
    Final = 409 "final", "final, and cannot be changed", "final",
        "none: what is final stays";
    /// It is held, and must not be removed.
    Locked = 423 "locked", "held", "locked",
        "release what is held; wait for the time until which it is kept";
    /// More bytes or items than a request may have.
    TooLarge = 413 "too_large", "too large", "too_large",
        "send it in smaller parts, or what `detail` says";
    /// The media type is not one that is read here.
    Unsupported = 415 "unsupported", "the media type is not supported", "unsupported",
        "send the media type, and without the encoding, that `detail` names";
    /// A condition of the request (`If-Match`) does not hold.
    Precondition = 412 "precondition", "a condition of the request does not hold", "precondition",
        "ask for it as it is now, and decide anew";
    /// The range lies outside the content.
    Range = 416 "range", "the range cannot be satisfied", "range",
        "stay below the length in `Content-Range`";
    /// Too many requests at once; again later.
    Busy = 429 "busy", "busy, try again later", "busy",
        "send it again after `Retry-After`";
    /// The store has no room.
    Full = 507 "full", "the store is full", "full",
        "make room, then send it again";
    /// A part that is needed is not there yet, or not now.
    Unavailable = 503 "unavailable", "not available now", "unavailable",
        "send it again later; `/health` says how it is";
    /// Another service, which is needed for it, failed.
    Upstream = 502 "upstream", "another service failed", Documented::SYNC_FAILED.0,
        "look after the service that `detail` names, then send it again";
    /// Our mistake. The log has the cause, under the request id.
    Internal = 500 "internal", "internal error", "internal",
        "look in the service's log under the request id, and report it";
}

/// A code of the documented API, where it says more than [`ErrorCode`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Documented(&'static str);

macro_rules! documented {
    ($($name:ident = $text:literal, $means:literal;)*) => {
        /// The codes of the documented API that are answered, by what they mean.
        impl Documented {
            $(#[doc = $means] pub const $name: Self = Self($text);)*

            /// Every code with what it means.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $means)),*];
        }
    };
}

// What to do is what `ErrorCode` says of the same reply. A test holds the table in docs/API.md against this one.
documented! {
    NO_BLOCK = "BM_001", "there is no such block";
    BLOCK_REFUSED = "BM_002", "the block breaks a rule (`details.validation`)";
    BLOCK_UNREADABLE = "BM_004", "what is stored of a block is damaged";
    NO_HEIGHT = "BM_005", "what names a block is neither a height nor a hash";
    WRITE_FAILED = "ST_002", "the store cannot be written to";
    READ_FAILED = "ST_003", "the store cannot be read";
    NO_ROOM = "ST_004", "the store, or its disk, has no room";
    SYNC_FAILED = "SYNC_001", "the chain cannot be synchronised";
    PEER_AWAY = "SYNC_002", "the peer does not answer";
    PEER_USELESS = "SYNC_003", "the peer does not give what is needed";
    PEER_DIVERGED = "SYNC_004", "the peer has another chain";
    SIGNATURE = "VAL_002", "the signature of a transaction does not fit";
    TRANSACTION = "VAL_004", "the transaction is not one";
    TRANSACTION_TIME = "VAL_005", "the time of a transaction is none, or missing";
    REQUEST = "LUCID_ERR_1001", "the request cannot be read, or says what is not allowed";
    NO_CHUNK = "LUCID_ERR_1004", "there is no such chunk";
    CREDENTIALS = "LUCID_ERR_2001", "credentials are required";
    ALLOWANCE = "LUCID_ERR_2002", "the credentials do not allow it";
}

impl Documented {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl ErrorCode {
    /// Reads a code as it is written in documents.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

/// The document itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:lucid:problem:<code>`.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:lucid:problem:[a-z_]+$")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    /// The HTTP status, for readers that have lost it.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time, in one sentence.
    pub detail: String,
    /// What programs decide by.
    pub code: ErrorCode,
    /// Under which name the logs have it.
    #[schema(value_type = RequestId)]
    pub request_id: String,
    /// The same for clients of the documented API.
    pub error: Envelope,
}

/// The documented form of an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// The documented code (`BM_001`), or ours where none is documented.
    pub code: String,
    /// The problem's detail.
    pub message: String,
    /// What a program may need to go on: missing chunks, the current offset.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// The problem's request id.
    #[schema(value_type = RequestId)]
    pub request_id: String,
    /// When it happened (RFC 3339, UTC).
    #[schema(value_type = Time)]
    pub timestamp: String,
    /// Which service says so.
    pub service: String,
    /// Its version.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_as_they_are_parsed() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
    }
}
