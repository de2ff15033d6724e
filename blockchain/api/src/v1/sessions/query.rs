//! Which sessions a list has, as an address says it.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::IntoParams;

use super::SessionStatus;
use crate::percent;
use crate::v1::files::{number, once, pair, text};

/// The shortest beginning of an id that sessions are looked for by.
pub const PREFIX_MIN: usize = 4;

/// Which sessions are wanted: `GET /api/v1/sessions`. All that is said has to hold. What else is said of sessions is
/// asked for as `metadata.NAME=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// In this state.
    #[param(inline)]
    pub status: Option<SessionStatus>,
    /// Of this user.
    pub user_id: Option<String>,
    /// From this host.
    #[param(max_length = 255)]
    pub host: Option<String>,
    /// With this tag; may be said several times.
    #[param(value_type = Option<Vec<String>>)]
    pub tag: BTreeSet<String>,
    /// Of this path, spelled as in a manifest; may be said several times.
    #[param(value_type = Option<Vec<String>>)]
    pub path: BTreeSet<String>,
    /// Whose ids begin so, with 4 characters at least.
    #[param(min_length = 4, max_length = 128)]
    pub prefix: Option<String>,
    /// Started at this time or later.
    pub from: Option<String>,
    /// Started before this time.
    pub to: Option<String>,
    /// At most so many (1..1000).
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// From an earlier page.
    pub cursor: Option<String>,
    /// Of which this is said.
    #[param(ignore)]
    pub metadata: BTreeMap<String, String>,
}

impl SessionsQuery {
    /// Reads a query string; the error is a sentence for the caller.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in percent::query_pairs(query).ok_or("the query has a wrong escape")? {
            if name == "limit" {
                once(&name, wanted.limit.replace(number(&name, &value)?))?;
                continue;
            }
            let value = text(&name, value)?;
            let place = match name.as_str() {
                "user_id" => &mut wanted.user_id,
                "host" => &mut wanted.host,
                "prefix" => &mut wanted.prefix,
                "from" => &mut wanted.from,
                "to" => &mut wanted.to,
                "cursor" => &mut wanted.cursor,
                "tag" => {
                    wanted.tag.insert(value);
                    continue;
                }
                "path" => {
                    wanted.path.insert(value);
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
        Ok(wanted)
    }

    /// Writes the query string.
    pub fn to_query(&self) -> String {
        let mut query = Vec::new();
        for (name, value) in [
            ("user_id", &self.user_id),
            ("host", &self.host),
            ("prefix", &self.prefix),
            ("from", &self.from),
            ("to", &self.to),
            ("cursor", &self.cursor),
        ] {
            query.extend(value.as_ref().map(|value| pair(name, value.as_bytes())));
        }
        query.extend(self.tag.iter().map(|tag| pair("tag", tag.as_bytes())));
        query.extend(self.path.iter().map(|path| pair("path", path.as_bytes())));
        query.extend(self.status.map(|status| format!("status={}", status.as_str())));
        query.extend(self.limit.map(|limit| format!("limit={limit}")));
        for (key, value) in &self.metadata {
            let mut name = "metadata.".to_owned();
            percent::encode(key.as_bytes(), &mut name);
            query.push(pair(&name, value.as_bytes()));
        }
        query.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let set = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        let query = SessionsQuery {
            status: Some(SessionStatus::Anchored),
            user_id: Some("ann b".into()),
            host: Some("web-1".into()),
            tag: set(&["a&b", "c"]),
            path: set(&[r"/odd\\name\xff", "/var/log"]),
            prefix: Some("1nq8".into()),
            from: Some("2026-01-01T00:00:00+00:00".into()),
            to: None,
            limit: Some(7),
            cursor: Some("YQ".into()),
            metadata: [("case =&".to_owned(), "x+y".to_owned())].into(),
        };
        assert_eq!(SessionsQuery::parse(&query.to_query()), Ok(query));
        assert_eq!(SessionsQuery::parse(""), Ok(SessionsQuery::default()));
    }

    #[test]
    fn what_is_no_query_is_refused_by_its_name() {
        for (query, name) in [
            ("host=a&host=b", "host"),
            ("status=gone", "status"),
            ("limit=many", "limit"),
            ("limit=1&limit=1", "limit"),
            ("metadata.b=c&metadata.b=d", "metadata.b"),
            ("colour=red", "colour"),
            ("user_id=%ff", "user_id"),
        ] {
            assert!(SessionsQuery::parse(query).unwrap_err().contains(name), "{query}");
        }
    }
}
