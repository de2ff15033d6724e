//! Which session is meant: the one place where a verb learns it.
//!
//! A session is named by its id, by a beginning of it that no other id has, or as the latest one. A whole id always
//! means its session, whatever else begins so. Invariant: where two sessions could be meant, none is.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use lucid_api::client::ClientError;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::sessions::{Layout, PREFIX_MIN, Session};
use lucid_core::manifest::path_text;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;

use crate::ending::WrongUse;
use crate::place::ReadSessions;
use crate::text;
use crate::when;

/// The word for the session that began last.
const LATEST: &str = "latest";
/// What stands in front of an id that is meant as it stands.
pub const AS_IT_STANDS: char = '=';
/// Sessions that an ambiguity names.
const CANDIDATES: usize = 10;
/// Sessions that are asked for at once when the latest one is looked for.
const LOOKED_AT: usize = 8;

/// How a session is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By its id, or the beginning of it.
    Named(SessionId),
    /// By its id alone: `=ID`.
    Exactly(SessionId),
    /// As the one that began last.
    Latest,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |text: &str| text.parse::<SessionId>().map_err(|fault| fault.to_string());
        match text.strip_prefix(AS_IT_STANDS) {
            Some(exactly) => id(exactly).map(Self::Exactly),
            None if text == LATEST => Ok(Self::Latest),
            None => id(text).map(Self::Named),
        }
    }
}

/// Reads a session that is to be changed: which one is the latest can be another by the time the verb runs.
pub fn to_change(text: &str) -> Result<Wanted, String> {
    match text.parse()? {
        Wanted::Latest => Err(format!(
            "{LATEST} names no session that is to be changed: name its id, or {AS_IT_STANDS}{LATEST} if that is one"
        )),
        wanted => Ok(wanted),
    }
}

/// From whom and where sessions are: of those, `latest` is one.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Narrow {
    /// Only sessions from this host.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Only sessions with this tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only sessions of this user.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

impl Narrow {
    /// The sessions of these, and of these paths.
    pub fn filter(&self, paths: &[PathBuf]) -> anyhow::Result<SessionFilter> {
        Ok(SessionFilter {
            host: self.host.clone(),
            tags: self.tags.iter().cloned().collect(),
            user: self.user.clone(),
            paths: paths.iter().map(|path| absolute(path)).collect::<anyhow::Result<_>>()?,
            ..SessionFilter::default()
        })
    }

    /// Whether anything of it was said.
    pub fn is_set(&self) -> bool {
        self.host.is_some() || self.user.is_some() || !self.tags.is_empty()
    }
}

/// A session that is read: `SESSION`, and which the latest one is.
#[derive(Debug, Clone, clap::Args)]
pub struct OneSession {
    /// The session: its id, a beginning of it that no other has (4 characters at least), or `latest`; `=ID` is that id
    /// alone.
    session: Wanted,
    #[command(flatten)]
    narrow: Narrow,
    /// Only sessions of this path; may be given several times. With --host, --tag and --user it says of which sessions
    /// `latest` is one.
    #[arg(long = "path", value_name = "PATH")]
    source_paths: Vec<PathBuf>,
}

impl OneSession {
    /// Which session it is.
    pub fn choose(&self, place: &dyn ReadSessions) -> anyhow::Result<SessionId> {
        choose(place, &self.session, &self.narrow, &self.source_paths)
    }
}

/// Which session is meant, by an id or among those that began last.
pub fn choose(
    place: &dyn ReadSessions,
    wanted: &Wanted,
    narrow: &Narrow,
    paths: &[PathBuf],
) -> anyhow::Result<SessionId> {
    let id = match wanted {
        Wanted::Latest => return latest(place, &narrow.filter(paths)?),
        Wanted::Exactly(id) | Wanted::Named(id) => id,
    };
    if narrow.is_set() || !paths.is_empty() {
        let sentence = format!(
            "--host, --tag, --path and --user say which session is the latest one, and {id} is named by its id: name \
             `{LATEST}`, or leave them out"
        );
        return Err(WrongUse(sentence).into());
    }
    one(place, wanted)
}

/// Which session is meant, by its id or the beginning of one. What is not there is left to the verb to say.
pub fn one(place: &dyn ReadSessions, wanted: &Wanted) -> anyhow::Result<SessionId> {
    let id = match wanted {
        Wanted::Latest => return latest(place, &SessionFilter::default()),
        Wanted::Exactly(id) => return Ok(id.clone()),
        Wanted::Named(id) => id,
    };
    // Also where it was removed: then its id is not the beginning of another one's.
    let is_absent = place.session(id).err().is_some_and(|error| is_absent(&error));
    if !is_absent || id.as_str().len() < PREFIX_MIN {
        return Ok(id.clone());
    }
    let filter = SessionFilter { prefix: Some(id.to_string()), ..SessionFilter::default() };
    let mut found = Vec::new();
    let looked = place.sessions_until(&filter, CANDIDATES + 1, &mut |session| {
        found.push(session);
        Ok(found.len() <= CANDIDATES)
    });
    match looked {
        // A server of before looks for no beginnings.
        Err(error) if code(&error) == Some(ErrorCode::Invalid) => return Ok(id.clone()),
        looked => looked?,
    }
    found.retain(|session| session.session_id.starts_with(id.as_str()));
    match found.as_slice() {
        [] => Ok(id.clone()),
        [one] => Ok(one.session_id.parse()?),
        several => anyhow::bail!("{}", ambiguous(id, several)),
    }
}

/// The newest session of these that can be read. An archive that is still being made cannot, and what the service
/// keeps itself is nobody's session.
fn latest(place: &dyn ReadSessions, filter: &SessionFilter) -> anyhow::Result<SessionId> {
    let mut found = None;
    place.sessions_until(filter, LOOKED_AT, &mut |session| {
        let id: SessionId = session.session_id.parse()?;
        let is_being_made = session.layout == Layout::Tree && session.merkle_root.is_none();
        found = Some(id).filter(|id| !is_being_made && !id.is_reserved());
        Ok(found.is_none())
    })?;
    found.with_context(|| match filter_is_empty(filter) {
        true => "there is no session, so none is the latest one".to_owned(),
        false => {
            "no session is of that host, user, tag and path: `lucid ls` lists what is there".into()
        }
    })
}

fn filter_is_empty(filter: &SessionFilter) -> bool {
    let SessionFilter { host, tags, paths, user, .. } = filter;
    host.is_none() && user.is_none() && tags.is_empty() && paths.is_empty()
}

fn ambiguous(id: &SessionId, found: &[Session]) -> String {
    let shown = |session: &Session| {
        let began = when::shown(&session.started_at);
        let host = session.source.as_ref().map(|source| source.host.as_str()).unwrap_or_default();
        let space = if host.is_empty() { "" } else { ", " };
        format!("{} ({began}{space}{})", session.session_id, text::name(host.as_bytes()))
    };
    let named: Vec<String> = found.iter().take(CANDIDATES).map(shown).collect();
    let more = if found.len() > CANDIDATES { ", and more" } else { "" };
    format!(
        "{id} is the beginning of several ids, {}{more}; name more of the one that is meant",
        named.join(", ")
    )
}

/// Whether an error says that there is no such session.
fn is_absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<OpError>(), Some(OpError::NoSession(_)))
        || code(error) == Some(ErrorCode::NotFound)
}

fn code(error: &anyhow::Error) -> Option<ErrorCode> {
    error.downcast_ref::<ClientError>().and_then(ClientError::code)
}

/// A path as it is kept with a session: from the root, and otherwise as it was given.
pub fn absolute(path: &Path) -> anyhow::Result<Vec<u8>> {
    let path = std::path::absolute(path)
        .with_context(|| format!("\"{}\" has no absolute path", path.display()))?;
    // A slash at the end, which completion puts there, names the same folder.
    let bytes = path.as_os_str().as_bytes();
    Ok(bytes.strip_suffix(b"/").filter(|bytes| !bytes.is_empty()).unwrap_or(bytes).to_vec())
}

/// Paths as a server is asked for them.
pub fn spelled(filter: &SessionFilter) -> std::collections::BTreeSet<String> {
    filter.paths.iter().map(|path| path_text(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_in_three_ways() {
        let id = |text: &str| text.parse::<SessionId>().unwrap();
        assert_eq!("latest".parse(), Ok(Wanted::Latest));
        assert_eq!("=latest".parse(), Ok(Wanted::Exactly(id("latest"))));
        assert_eq!("1mt8".parse(), Ok(Wanted::Named(id("1mt8"))));
        for wrong in ["", "=", "a b", "==a"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
        assert!(to_change("latest").unwrap_err().contains("name its id"));
        assert_eq!(to_change("=latest"), Ok(Wanted::Exactly(id("latest"))));
    }

    #[test]
    fn a_path_is_one_however_it_is_given() {
        let here = std::env::current_dir().unwrap();
        let below = |name: &str| here.join(name).as_os_str().as_bytes().to_vec();
        for (given, wanted) in [
            ("/", b"/".to_vec()),
            ("/var/log/", b"/var/log".to_vec()),
            ("/var//./log", b"/var/log".to_vec()),
            ("in", below("in")),
            ("./in/", below("in")),
        ] {
            assert_eq!(absolute(Path::new(given)).unwrap(), wanted, "{given}");
        }
    }
}
