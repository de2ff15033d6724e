//! Which documents are wanted. A filter is a few named, typed comparisons, all of which have to hold; nothing
//! that a client sends is anything else.

use std::collections::{BTreeMap, BTreeSet};

use lucid_core::limits::METADATA_ENTRIES_MAX;
use lucid_core::manifest::{PATHS_MAX, Source, TAGS_MAX, path_bytes};
use lucid_core::time::{Timestamp, parse_block_time};
use serde_json::Value;

use super::get_document::Listed;
use crate::document::{DocumentKind, Facets};
use crate::ops::OpError;
use crate::reply::source::PATH_SPELLING;
use crate::row::documents::session_facets;
use crate::row::orders::Facet;

/// What is compared; what is not set does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// From the first to the last index of a block.
    pub index_range: Option<(u64, u64)>,
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Not after this moment.
    pub to: Option<Timestamp>,
    /// The hash of a block.
    pub hash: Option<String>,
    /// The type of a transaction.
    pub tx_type: Option<String>,
    /// The session that a transaction is about.
    pub session_id: Option<String>,
    /// The status of a session.
    pub status: Option<String>,
    /// The user of a session.
    pub user_id: Option<String>,
    /// What else is said of a session.
    pub metadata: BTreeMap<String, String>,
    /// The host that a session comes from.
    pub host: Option<String>,
    /// Tags of a session, all of them.
    pub tags: BTreeSet<String>,
    /// Paths that a session is of, all of them.
    pub paths: BTreeSet<Vec<u8>>,
    /// A moment at which a session had begun and not ended.
    pub active_at: Option<Timestamp>,
}

/// The status of a session of this store whose stream is silent; its rows say "active".
const UNTERMINATED: &str = "unterminated";
const ACTIVE: &str = "active";

impl Filter {
    /// Sets one comparison as a body has it: a text, a pair, or an object of texts.
    pub fn set(&mut self, kind: DocumentKind, name: &str, value: &Value) -> Result<(), OpError> {
        match (kind, name) {
            (DocumentKind::Block, "index_range") => {
                let [from, to] = pair(name, value)?;
                self.index_range = Some((number(name, from)?, number(name, to)?));
            }
            (_, "timestamp_range") => {
                let [from, to] = pair(name, value)?;
                self.from = Some(moment(name, text(name, from)?)?);
                self.to = Some(moment(name, text(name, to)?)?);
            }
            (DocumentKind::Session, "metadata") => {
                let Value::Object(members) = value else {
                    return Err(invalid(name, "is an object of texts"));
                };
                for (key, value) in members {
                    self.set_metadata(key, text(&format!("metadata.{key}"), value)?)?;
                }
            }
            _ if Self::takes_several(kind, name) && value.is_array() => {
                for value in value.as_array().into_iter().flatten() {
                    self.set_text(kind, name, text(name, value)?)?;
                }
            }
            _ => return self.set_text(kind, name, text(name, value)?),
        }
        Ok(())
    }

    /// Sets one comparison as an address has it: ranges in two parts, each of which may be left out.
    pub fn set_parameter(
        &mut self,
        kind: DocumentKind,
        name: &str,
        value: &str,
    ) -> Result<(), OpError> {
        let index = || value.parse().map_err(|_| invalid(name, "is a number from 0 on"));
        match (kind, name) {
            (DocumentKind::Block, "index_from") => {
                self.index_range = Some((index()?, self.index_range.map_or(u64::MAX, |r| r.1)));
            }
            (DocumentKind::Block, "index_to") => {
                self.index_range = Some((self.index_range.map_or(0, |r| r.0), index()?));
            }
            (_, "timestamp_from") => self.from = Some(moment(name, value)?),
            (_, "timestamp_to") => self.to = Some(moment(name, value)?),
            (DocumentKind::Session, _) if name.starts_with("metadata.") => {
                let key = name.strip_prefix("metadata.").unwrap_or_default();
                self.set_metadata(key, value)?;
            }
            _ => return self.set_text(kind, name, value),
        }
        Ok(())
    }

    /// Whether a comparison may be said several times: then all of them have to hold.
    pub fn takes_several(kind: DocumentKind, name: &str) -> bool {
        kind == DocumentKind::Session && ["tag", "path"].contains(&name)
    }

    fn set_text(&mut self, kind: DocumentKind, name: &str, value: &str) -> Result<(), OpError> {
        let field = match (kind, name) {
            (DocumentKind::Block, "hash") => &mut self.hash,
            (DocumentKind::Transaction, "type") => &mut self.tx_type,
            (DocumentKind::Transaction, "session_id") => &mut self.session_id,
            (DocumentKind::Session, "status") => &mut self.status,
            (DocumentKind::Session, "user_id") => &mut self.user_id,
            (DocumentKind::Session, "host") => &mut self.host,
            (DocumentKind::Session, "tag") => {
                self.tags.insert(value.to_owned());
                return few(name, self.tags.len(), TAGS_MAX);
            }
            (DocumentKind::Session, "path") => {
                let path = path_bytes(value).ok_or_else(|| {
                    OpError::Invalid(format!("the filter {name} is {value:?}: {PATH_SPELLING}"))
                })?;
                self.paths.insert(path);
                return few(name, self.paths.len(), PATHS_MAX);
            }
            (DocumentKind::Session, "active_at") => {
                self.active_at = Some(moment(name, value)?);
                return Ok(());
            }
            _ => return Err(unknown(kind, name)),
        };
        *field = Some(value.to_owned());
        Ok(())
    }

    fn set_metadata(&mut self, key: &str, value: &str) -> Result<(), OpError> {
        self.metadata.insert(key.to_owned(), value.to_owned());
        if self.metadata.len() > METADATA_ENTRIES_MAX {
            let sentence = format!("metadata has over {METADATA_ENTRIES_MAX} comparisons");
            return Err(OpError::Invalid(sentence));
        }
        Ok(())
    }

    /// The facet that the fewest documents share, as far as that can be told.
    pub(super) fn narrowest(&self) -> Vec<Facet<'_>> {
        if let Some(session) = &self.session_id {
            return vec![Facet::Session(session)];
        }
        if let Some((name, value)) = self.metadata.first_key_value() {
            return vec![Facet::Metadata(name, value)];
        }
        if let Some(tag) = self.tags.first() {
            return vec![Facet::Tag(tag)];
        }
        if let Some(path) = self.paths.first() {
            return vec![Facet::Path(path)];
        }
        if let Some(host) = &self.host {
            return vec![Facet::Host(host)];
        }
        if let Some(user) = &self.user_id {
            return vec![Facet::User(user)];
        }
        match (&self.tx_type, &self.status) {
            (Some(tx_type), _) => vec![Facet::Type(tx_type)],
            (None, Some(status)) if status == UNTERMINATED => {
                vec![Facet::Status(status), Facet::Status(ACTIVE)]
            }
            (None, Some(status)) => vec![Facet::Status(status)],
            (None, None) => Vec::new(),
        }
    }

    /// Whether everything that [`Self::narrowest`] lists within the times is wanted.
    pub(super) fn is_answered_by_its_order(&self, kind: DocumentKind) -> bool {
        let compared = [
            self.session_id.is_some(),
            self.user_id.is_some(),
            self.tx_type.is_some(),
            self.status.is_some(),
            self.host.is_some(),
        ];
        let of_sets = self.metadata.len() + self.tags.len() + self.paths.len();
        let facets = compared.iter().filter(|is_set| **is_set).count() + of_sets;
        let depends_on_now = self.status.as_ref().is_some_and(|s| s == UNTERMINATED || s == ACTIVE);
        let by_time = self.from.is_some() || self.to.is_some();
        facets <= 1
            && self.active_at.is_none()
            && !depends_on_now
            && self.hash.is_none()
            && (kind != DocumentKind::Block || !by_time || self.index_range.is_none())
    }

    /// Whether a document is wanted.
    pub(super) fn takes(&self, listed: &Listed, quiet_since: Timestamp) -> bool {
        match listed {
            Listed::Document(_, row) => self.compares(&row.facets, row.instant),
            Listed::Session(row) => {
                let facets = session_facets(row, row.status(quiet_since).as_str());
                self.compares(&facets, row.started_at)
            }
        }
    }

    /// Whether what can be found by `facets`, and is of the time `at`, is wanted.
    pub fn compares(&self, facets: &Facets, at: Timestamp) -> bool {
        if self.from.is_some_and(|from| at < from) || self.to.is_some_and(|to| at > to) {
            return false;
        }
        let same = |wanted: &Option<String>, is: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| is.as_ref() == Some(wanted))
        };
        match facets {
            Facets::Block { index, hash, .. } => {
                self.index_range.is_none_or(|(from, to)| (from..=to).contains(index))
                    && self.hash.as_ref().is_none_or(|wanted| *wanted == hash.to_string())
            }
            Facets::Transaction { tx_type, session_id } => {
                same(&self.tx_type, tx_type) && same(&self.session_id, session_id)
            }
            Facets::Session { status, user_id, metadata, ended_at, source } => {
                let is_active = |moment| at <= moment && ended_at.is_none_or(|end| moment <= end);
                same(&self.status, status)
                    && same(&self.user_id, user_id)
                    && self.metadata.iter().all(|(key, value)| metadata.get(key) == Some(value))
                    && is_from(source.as_ref(), self.host.as_deref(), &self.tags, &self.paths)
                    && self.active_at.is_none_or(is_active)
            }
        }
    }

    /// One text for filters that want the same.
    pub(super) fn canonical(&self) -> String {
        format!("{self:?}")
    }
}

/// Whether something comes from a host, has all of these tags and is of all of these paths.
pub(crate) fn is_from(
    source: Option<&Source>,
    host: Option<&str>,
    tags: &BTreeSet<String>,
    paths: &BTreeSet<Vec<u8>>,
) -> bool {
    match source {
        None => host.is_none() && tags.is_empty() && paths.is_empty(),
        Some(source) => {
            host.is_none_or(|host| source.host == host)
                && tags.iter().all(|tag| source.tags.contains(tag))
                && paths.iter().all(|path| source.paths.contains(path))
        }
    }
}

fn few(name: &str, count: usize, most: usize) -> Result<(), OpError> {
    let many = || OpError::Invalid(format!("{name} has over {most} comparisons"));
    if count > most { Err(many()) } else { Ok(()) }
}

fn invalid(name: &str, what: &str) -> OpError {
    OpError::Invalid(format!("the filter {name} {what}"))
}

/// A name that no document of this kind is compared by.
fn unknown(kind: DocumentKind, name: &str) -> OpError {
    let known = match kind {
        DocumentKind::Block => "index_range, timestamp_range and hash",
        DocumentKind::Transaction => "type, session_id and timestamp_range",
        DocumentKind::Session => {
            "status, user_id, timestamp_range, active_at, metadata, host, tag and path"
        }
    };
    let name: String = name.chars().take(60).collect();
    OpError::Invalid(format!(
        "there is no filter {name:?}: of a {} there are {known}",
        kind.as_str()
    ))
}

fn pair<'a>(name: &str, value: &'a Value) -> Result<[&'a Value; 2], OpError> {
    match value.as_array().map(Vec::as_slice) {
        Some([from, to]) => Ok([from, to]),
        _ => Err(invalid(name, "is a list of two values, the first and the last")),
    }
}

fn number(name: &str, value: &Value) -> Result<u64, OpError> {
    value.as_u64().ok_or_else(|| invalid(name, "has whole numbers from 0 on"))
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, OpError> {
    value.as_str().ok_or_else(|| invalid(name, "is compared with a text: send it in quotes"))
}

fn moment(name: &str, text: &str) -> Result<Timestamp, OpError> {
    Timestamp::parse(text)
        .or_else(|_| parse_block_time(text))
        .map_err(|fault| OpError::Invalid(format!("the filter {name}: {fault}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_comparison_is_refused_by_its_name() {
        for (kind, name, value, wanted) in [
            (DocumentKind::Block, "index_range", json!([1]), "two values"),
            (DocumentKind::Block, "index_range", json!([1, 2, 3]), "two values"),
            (DocumentKind::Block, "index_range", json!([1, 1e300]), "whole numbers"),
            (DocumentKind::Block, "index_range", json!({ "$gt": 1 }), "two values"),
            (DocumentKind::Block, "hash", json!({ "$ne": "" }), "text"),
            (DocumentKind::Block, "type", json!("x"), "no filter \"type\""),
            (DocumentKind::Transaction, "type", json!(["x"]), "text"),
            (DocumentKind::Transaction, "$where", json!("x"), "no filter"),
            (DocumentKind::Session, "metadata", json!("x"), "object"),
            (DocumentKind::Session, "metadata", json!({ "a": { "$gt": "" } }), "metadata.a"),
            (DocumentKind::Session, "active_at", json!("now"), "active_at"),
            (DocumentKind::Session, "timestamp_range", json!(["2026", null]), "timestamp_range"),
        ] {
            let refused = Filter::default().set(kind, name, &value).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains(wanted), "{refused}");
        }
    }

    #[test]
    fn an_address_says_the_same_as_a_body() {
        let mut address = Filter::default();
        for (name, value) in [
            ("index_to", "9"),
            ("index_from", "3"),
            ("timestamp_from", "2026-01-01T00:00:00Z"),
            ("timestamp_to", "2026-01-02T00:00:00+00:00"),
        ] {
            address.set_parameter(DocumentKind::Block, name, value).unwrap();
        }
        let mut body = Filter::default();
        let times = json!(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
        body.set(DocumentKind::Block, "index_range", &json!([3, 9])).unwrap();
        body.set(DocumentKind::Block, "timestamp_range", &times).unwrap();
        assert_eq!(address, body);
    }
}
