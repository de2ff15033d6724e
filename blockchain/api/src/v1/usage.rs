//! What sessions take in the store: `GET /api/v1/usage`.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::files::{once, pair, text};
use crate::percent;

/// Sessions that one request may name.
pub const USAGE_SESSIONS_MAX: usize = 256;

/// By what sessions are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UsageBy {
    /// Each is on its own.
    #[default]
    Session,
    /// By whose they are.
    User,
    /// By the host that they come from.
    Host,
}

impl UsageBy {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Host => "host",
        }
    }
}

impl std::str::FromStr for UsageBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Session, Self::User, Self::Host];
        let found = all.into_iter().find(|by| by.as_str() == text);
        found.ok_or_else(|| format!("by is {text:?}; session, user and host are allowed"))
    }
}

/// `GET /api/v1/usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// By what sessions are put together.
    #[param(inline)]
    pub by: Option<UsageBy>,
    /// Only these sessions, up to 256: the parameter is given once for each.
    pub session_id: Vec<String>,
}

impl UsageQuery {
    /// Reads a query string; the error is a sentence for the caller.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in percent::query_pairs(query).ok_or("the query has a wrong escape")? {
            let value = text(&name, value)?;
            match name.as_str() {
                "by" => once(&name, wanted.by.replace(value.parse()?))?,
                "session_id" if wanted.session_id.len() < USAGE_SESSIONS_MAX => {
                    wanted.session_id.push(value);
                }
                "session_id" => {
                    return Err(format!("more than {USAGE_SESSIONS_MAX} session_id are given"));
                }
                _ => return Err(format!("unknown parameter {name:?}")),
            }
        }
        Ok(wanted)
    }

    /// Writes the query string.
    pub fn to_query(&self) -> String {
        let by = self.by.map(|by| pair("by", by.as_str().as_bytes()));
        let sessions = self.session_id.iter().map(|id| pair("session_id", id.as_bytes()));
        by.into_iter().chain(sessions).collect::<Vec<_>>().join("&")
    }
}

/// What a group of sessions takes; the last line of an answer is about all of them together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageLine {
    /// A session's id, a user or a host, which is empty where nobody said; not there in the last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many sessions they are.
    pub sessions: u64,
    /// Bytes of what was recorded.
    pub content_bytes: u64,
    /// The same with catalogues and timelines.
    pub total_bytes: u64,
    /// Different chunks that they refer to.
    pub chunks: u64,
    /// Bytes of these.
    pub chunk_bytes: u64,
    /// Bytes that these take in the store.
    pub stored_bytes: u64,
    /// Bytes that would be freed if all of them were removed; not told to a caller that does not see every session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// Chunks that would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_chunks: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let query =
            UsageQuery { by: Some(UsageBy::Host), session_id: vec!["a".into(), "b c&=".into()] };
        assert_eq!(UsageQuery::parse(&query.to_query()), Ok(query));
        assert_eq!(UsageQuery::parse(""), Ok(UsageQuery::default()));
    }

    #[test]
    fn what_is_no_query_is_refused_by_its_name() {
        let many = "session_id=s&".repeat(USAGE_SESSIONS_MAX + 1);
        for (query, name) in [
            ("by=tag", "by"),
            ("by=user&by=user", "by"),
            ("mode=7", "mode"),
            ("session_id=%ff", "session_id"),
            (many.as_str(), "session_id"),
        ] {
            assert!(UsageQuery::parse(query).unwrap_err().contains(name), "{query}");
        }
    }
}
