//! Looking for files over all archived folders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::files::{FileEntry, once, pair, text};
use super::sessions::SessionStatus;
use crate::document::{SessionId, Time};
use crate::percent;

/// `GET /api/v1/find`. What else is said of sessions is asked for as `metadata.NAME=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FindQuery {
    /// A pattern: `*` is any part of a name, `?` one character, `[a-z]` one of those, `{a,b}` one of these, `**` any
    /// folders. One without a slash is of names, in any folder; another one is of whole paths.
    pub path: String,
    /// Whether capital letters are as small ones.
    pub ignore_case: Option<bool>,
    /// In sessions of this user.
    pub user_id: Option<String>,
    /// In sessions in this state.
    #[param(inline)]
    pub status: Option<SessionStatus>,
    /// In sessions that started at this time or later.
    pub from: Option<String>,
    /// In sessions that started before this time.
    pub to: Option<String>,
    /// In sessions of which this is said.
    #[param(ignore)]
    pub metadata: BTreeMap<String, String>,
}

impl FindQuery {
    /// Reads a query string; the error is a sentence for the caller.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        let mut path = None;
        for (name, value) in percent::query_pairs(query).ok_or("the query has a wrong escape")? {
            let value = text(&name, value)?;
            let place = match name.as_str() {
                "path" => &mut path,
                "user_id" => &mut wanted.user_id,
                "from" => &mut wanted.from,
                "to" => &mut wanted.to,
                "ignore_case" => {
                    let wrong = || format!("ignore_case is {value:?}; true and false are allowed");
                    let value = value.parse().map_err(|_| wrong())?;
                    once(&name, wanted.ignore_case.replace(value))?;
                    continue;
                }
                "status" => {
                    once(&name, wanted.status.replace(SessionStatus::named(&value)?))?;
                    continue;
                }
                _ => match name.strip_prefix("metadata.") {
                    Some(key) => {
                        once(&name, wanted.metadata.insert(key.to_owned(), value))?;
                        continue;
                    }
                    None => return Err(format!("unknown parameter {name:?}")),
                },
            };
            once(&name, place.replace(value))?;
        }
        wanted.path = path.ok_or("path is missing: say which paths, like path=*.conf")?;
        Ok(wanted)
    }

    /// Writes the query string.
    pub fn to_query(&self) -> String {
        let mut query = vec![pair("path", self.path.as_bytes())];
        query.extend(self.ignore_case.map(|ignore| format!("ignore_case={ignore}")));
        for (name, value) in [("user_id", &self.user_id), ("from", &self.from), ("to", &self.to)] {
            query.extend(value.as_ref().map(|value| pair(name, value.as_bytes())));
        }
        query.extend(self.status.map(|status| format!("status={}", status.as_str())));
        for (key, value) in &self.metadata {
            let mut name = "metadata.".to_owned();
            percent::encode(key.as_bytes(), &mut name);
            query.push(pair(&name, value.as_bytes()));
        }
        query.join("&")
    }
}

/// One line of what was found. An empty line says that the search goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum FindLine {
    /// A path that matches.
    Found(Box<FoundFile>),
    /// A session of which not all paths could be looked at.
    Damaged(DamagedCatalogue),
}

/// A path that matches, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundFile {
    /// The session that has it.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// When that began.
    #[schema(value_type = Time)]
    pub started_at: String,
    /// What stands there.
    #[serde(flatten)]
    pub entry: FileEntry,
}

/// A session of which not all paths could be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamagedCatalogue {
    /// The session.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// When it began.
    #[schema(value_type = Time)]
    pub started_at: String,
    /// What is wrong.
    pub damage: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let query = FindQuery {
            path: "a/*&b=?.c".into(),
            ignore_case: Some(true),
            user_id: Some("ann b".into()),
            status: Some(SessionStatus::Anchored),
            from: Some("2026-01-01T00:00:00+00:00".into()),
            to: None,
            metadata: [("case =&".to_owned(), "x+y".to_owned())].into(),
        };
        assert_eq!(FindQuery::parse(&query.to_query()), Ok(query));
    }

    #[test]
    fn what_is_no_query_is_refused_by_its_name() {
        for (query, name) in [
            ("", "path"),
            ("path=a&path=b", "path"),
            ("path=a&status=sealed&status=sealed", "status"),
            ("path=a&metadata.b=c&metadata.b=d", "metadata.b"),
            ("path=a&ignore_case=1", "ignore_case"),
            ("path=a&status=gone", "status"),
            ("path=a&mode=7", "mode"),
            ("path=a&user_id=%ff", "user_id"),
        ] {
            assert!(FindQuery::parse(query).unwrap_err().contains(name), "{query}");
        }
    }
}
