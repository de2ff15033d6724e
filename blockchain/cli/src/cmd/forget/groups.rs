//! Which sessions a policy is for, and in which groups.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::manifest::path_text;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use serde::Serialize;

use super::policy::{Candidate, TagList};
use crate::cmd::keep::key_value;
use crate::place::ReadSessions;

/// Which sessions are considered; the others stay.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which sessions are considered")]
pub struct Chosen {
    /// Those of this host; may be given several times.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Those with this tag, or with all of several with commas between them; may be given several times.
    #[arg(long = "tag", value_name = "TAG[,TAG...]")]
    tags: Vec<TagList>,
    /// Those of this path; given several times, of all of these.
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Those of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Those of which this is said; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
}

/// What tells groups apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupBy {
    host: bool,
    paths: bool,
    tags: bool,
    user: bool,
}

impl FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut by = Self::default();
        for word in text.split(',').filter(|_| !text.is_empty()) {
            match word.strip_suffix('s').unwrap_or(word) {
                "host" => by.host = true,
                "path" => by.paths = true,
                "tag" => by.tags = true,
                "user" => by.user = true,
                _ => {
                    return Err(format!(
                        "{word:?} tells no groups apart: write host, paths, tags or user"
                    ));
                }
            }
        }
        Ok(by)
    }
}

/// What the sessions of a group have in common; what they are not grouped by is not told.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |texts: &Option<Vec<String>>| texts.as_ref().map(|texts| texts.join(", "));
        let parts = [
            ("host", self.host.clone()),
            ("paths", joined(&self.paths)),
            ("tags", joined(&self.tags)),
            ("user", self.user.clone()),
        ];
        let said: Vec<String> = parts
            .into_iter()
            .filter_map(|(what, text)| Some((what, text?)))
            .map(|(what, text)| match text.is_empty() {
                true => format!("no {what}"),
                false => format!("{what} {text}"),
            })
            .collect();
        match said.is_empty() {
            true => f.write_str("all that are considered"),
            false => f.write_str(&said.join(", ")),
        }
    }
}

/// Sessions that have in common what they are grouped by.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub key: Key,
    /// Their ids, and how a policy sees them; the newest first by their own word.
    pub sessions: Vec<(SessionId, Candidate)>,
}

impl Chosen {
    /// Whether no session is left out.
    pub fn is_everything(&self) -> bool {
        self.hosts.is_empty()
            && self.tags.is_empty()
            && self.paths.is_empty()
            && self.user.is_none()
            && self.metadata.is_empty()
    }

    /// The sessions that are considered, in groups. The service's own are not: they go by their age alone.
    pub fn groups(&self, place: &dyn ReadSessions, by: &GroupBy) -> anyhow::Result<Vec<Group>> {
        let mut paths = Vec::new();
        for path in &self.paths {
            paths.push(path_text(std::path::absolute(path)?.as_os_str().as_bytes()));
        }
        let filter = SessionFilter { user: self.user.clone(), ..SessionFilter::default() };
        let mut groups: BTreeMap<Key, Vec<(SessionId, Candidate)>> = BTreeMap::new();
        place.sessions(&filter, &mut |session| {
            let id: SessionId = session.session_id.parse()?;
            if !id.is_reserved() && self.fits(&session, &paths) {
                groups.entry(key(&session, by)).or_default().push((id, candidate(session)?));
            }
            Ok(())
        })?;
        Ok(groups.into_iter().map(|(key, sessions)| Group { key, sessions }).collect())
    }

    fn fits(&self, session: &Session, paths: &[String]) -> bool {
        let source = session.source.clone().unwrap_or_default();
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        let has_path = |wanted: &String| source.paths.iter().any(|path| bare(path) == bare(wanted));
        (self.hosts.is_empty() || self.hosts.contains(&source.host))
            && (self.tags.is_empty() || self.tags.iter().any(|list| list.fits(&source.tags)))
            && paths.iter().all(has_path)
            && self.metadata.iter().all(|(key, value)| session.metadata.get(key) == Some(value))
    }
}

fn key(session: &Session, by: &GroupBy) -> Key {
    let source = session.source.clone().unwrap_or_default();
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    Key {
        host: by.host.then_some(source.host),
        paths: by.paths.then(|| sorted(source.paths)),
        tags: by.tags.then(|| sorted(source.tags)),
        user: by.user.then(|| session.user_id.clone().unwrap_or_default()),
    }
}

fn candidate(session: Session) -> anyhow::Result<Candidate> {
    let read = |text: Option<String>| text.map(|text| Timestamp::parse(&text)).transpose();
    Ok(Candidate {
        anchored_at: read(session.anchor.and_then(|anchor| anchor.confirmed_at))?,
        ended_at: read(session.ended_at)?,
        is_open: matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated),
        held: session.hold.is_some(),
        retain_until: read(session.retain_until)?,
        tags: session.source.unwrap_or_default().tags,
    })
}
