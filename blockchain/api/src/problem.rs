//! The problem document: what every refusal and failure looks like on the wire (RFC 9457), with
//! the `error` envelope that clients of the documented API read, and the codes it may carry.
//!
//! The porch writes it, clients read it. A code says *what kind*; its status is the porch's table.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The media type.
pub const CONTENT_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $title:literal, $documented:literal;)*) => {
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

            /// A short sentence that is the same for every problem of this code.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The code that clients of the documented API look for in the envelope.
            pub const fn documented(self) -> &'static str {
                match self { $(Self::$name => $documented,)* }
            }
        }
    };
}

codes! {
    /// The body cannot be read at all.
    Malformed = "malformed", "the request cannot be read", "LUCID_ERR_1001";
    /// It can be read, and says something that is not allowed.
    Invalid = "invalid", "the request is not valid", "LUCID_ERR_1001";
    /// No credentials, or none that count.
    Unauthorized = "unauthorized", "credentials are required", "LUCID_ERR_2001";
    /// The credentials do not allow it.
    Forbidden = "forbidden", "not allowed", "LUCID_ERR_2002";
    /// There is no such thing.
    NotFound = "not_found", "not found", "not_found";
    /// The thing exists, and not with this method.
    Method = "method", "the method is not allowed here", "method";
    /// There was such a thing.
    Gone = "gone", "no longer here", "gone";
    /// Something else is there already, or the state does not allow it.
    Conflict = "conflict", "in conflict with what is stored", "conflict";
    /// It is committed, and will not change.
    Final = "final", "final, and cannot be changed", "final";
    /// It is held, and must not be removed.
    Locked = "locked", "held", "locked";
    /// More bytes or items than a request may have.
    TooLarge = "too_large", "too large", "too_large";
    /// The media type is not one that is read here.
    Unsupported = "unsupported", "the media type is not supported", "unsupported";
    /// A condition of the request (`If-Match`) does not hold.
    Precondition = "precondition", "a condition of the request does not hold", "precondition";
    /// The range lies outside the content.
    Range = "range", "the range cannot be satisfied", "range";
    /// Too many requests at once; again later.
    Busy = "busy", "busy, try again later", "busy";
    /// The store has no room.
    Full = "full", "the store is full", "full";
    /// A part that is needed is not there yet, or not now.
    Unavailable = "unavailable", "not available now", "unavailable";
    /// Another service, which is needed for it, failed.
    Upstream = "upstream", "another service failed", "SYNC_001";
    /// Our mistake. The log has the cause, under the request id.
    Internal = "internal", "internal error", "internal";
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
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    /// The HTTP status, for readers that have lost it.
    pub status: u16,
    /// What happened this time, in one sentence.
    pub detail: String,
    /// What programs decide by.
    pub code: ErrorCode,
    /// Under which name the logs have it.
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
    pub request_id: String,
    /// When it happened (RFC 3339, UTC).
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
