//! The read log: what was asked for, by whom, and how it ended.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::files::{once, pair, text};
use super::sessions::SessionStatus;
use crate::document::{SessionId, Time};
use crate::percent;

/// Where an entry says that a request came through the local door.
pub const LOCAL: &str = "local";
/// Where an entry says that a request came from one of many addresses.
pub const ELSEWHERE: &str = "elsewhere";

/// What a request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// Content was asked for.
    Read,
    /// Something was to be changed.
    Change,
    /// Something else was asked for, and refused.
    Refusal,
}

impl AuditKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
            Self::Refusal => "refusal",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditEnd {
    /// It had not ended: a reply that lasts had begun. Another entry with its `request_id` says how it ended.
    Begun,
    /// It was answered, and what was asked for was given or done.
    Whole,
    /// Its reply broke off: `bytes` is what was handed over until then, at most.
    Cut,
    /// Its caller left before it was answered. A change may have been made.
    Left,
    /// It was refused.
    Refused,
    /// The service could not do it, or not in time. A change may have been made.
    Failed,
}

impl AuditEnd {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Whole => "whole",
            Self::Cut => "cut",
            Self::Left => "left",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// One entry: one request, or several that were alike within a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When it was made, by the service's clock.
    #[schema(value_type = Time)]
    pub at: String,
    /// What the request did.
    pub kind: AuditKind,
    /// What its credentials are called, if it showed any that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// The address it came from; `local`: through the local socket; `elsewhere`: from many.
    pub from: String,
    /// Its method.
    pub method: String,
    /// Its path; where it was let in, with its query. Of several requests, the path of their route.
    pub target: String,
    /// The session that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionId>)]
    pub session: Option<String>,
    /// The chunks that were asked for, where they were asked for by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<String>,
    /// Which bytes were asked for, of how many: `FIRST-LAST/ALL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Bytes of the reply that were handed over, or of a short one, that were to be; of a change, those that were sent,
    /// as far as that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What it was answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub ended: AuditEnd,
    /// How many requests this is about, if they are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// When the last of several was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    pub until: Option<String>,
    /// The name that the service's own log has the request by. Callers may choose it.
    pub request_id: String,
}

/// A session of the read log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditSession {
    /// Its id: `lucid.audit.`, the day, and the store that it is of.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// When its first entry was made.
    #[schema(value_type = Time)]
    pub started_at: String,
    /// Whether it is sealed, and in a block.
    #[schema(inline)]
    pub status: SessionStatus,
    /// Bytes of its entries.
    pub bytes: u64,
}

/// `GET /api/v1/audit/entries`: which entries are wanted; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Those of this caller.
    pub caller: Option<String>,
    /// Those about this session: that name it, or ask for chunks which it has.
    pub session: Option<String>,
    /// Those made at this time or later.
    pub from: Option<String>,
    /// Those made before this time.
    pub to: Option<String>,
    /// Those that were refused.
    pub refused: Option<bool>,
}

impl AuditQuery {
    /// Reads a query string; the error is a sentence for the caller.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in percent::query_pairs(query).ok_or("the query has a wrong escape")? {
            let value = text(&name, value)?;
            let place = match name.as_str() {
                "caller" => &mut wanted.caller,
                "session" => &mut wanted.session,
                "from" => &mut wanted.from,
                "to" => &mut wanted.to,
                "refused" => {
                    let wrong = || format!("refused is {value:?}; true and false are allowed");
                    let value = value.parse().map_err(|_| wrong())?;
                    once(&name, wanted.refused.replace(value))?;
                    continue;
                }
                _ => return Err(format!("unknown parameter {name:?}")),
            };
            once(&name, place.replace(value))?;
        }
        Ok(wanted)
    }

    /// Writes the query string.
    pub fn to_query(&self) -> String {
        let mut query = Vec::new();
        let texts = [
            ("caller", &self.caller),
            ("session", &self.session),
            ("from", &self.from),
            ("to", &self.to),
        ];
        for (name, value) in texts {
            query.extend(value.as_ref().map(|value| pair(name, value.as_bytes())));
        }
        query.extend(self.refused.map(|refused| format!("refused={refused}")));
        query.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let query = AuditQuery {
            caller: Some("ann & co".into()),
            session: Some("s:1".into()),
            from: Some("2026-11-30T00:00:00+00:00".into()),
            to: None,
            refused: Some(true),
        };
        assert_eq!(AuditQuery::parse(&query.to_query()), Ok(query));
        assert_eq!(AuditQuery::parse(""), Ok(AuditQuery::default()));
    }

    #[test]
    fn what_is_no_query_is_refused_by_its_name() {
        for (query, name) in [
            ("caller=a&caller=b", "caller"),
            ("refused=1", "refused"),
            ("refused=true&refused=true", "refused"),
            ("who=a", "who"),
            ("session=%ff", "session"),
        ] {
            assert!(AuditQuery::parse(query).unwrap_err().contains(name), "{query}");
        }
    }
}
