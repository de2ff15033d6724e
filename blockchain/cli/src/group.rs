//! Groups of sessions: what has the same `group` in its metadata, as a watcher says of recordings that belong together.

use std::collections::BTreeMap;

use anyhow::Context as _;
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;

use crate::place::ReadSessions;
use crate::text;

/// What a watcher keeps the path of a recording under.
pub const PATH: &str = "path";
/// What the sessions of a group have in common.
pub const GROUP: &str = "group";

/// Sessions of which all of this is said, the newest first.
pub fn sessions_with(
    place: &dyn ReadSessions,
    said: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<Session>> {
    let mut found = Vec::new();
    let filter = SessionFilter { metadata: said.clone(), ..SessionFilter::default() };
    place.sessions(&filter, &mut |session| {
        found.push(session);
        Ok(())
    })?;
    if found.is_empty() {
        let said: Vec<String> = said.iter().map(|(key, value)| format!("{key}={value}")).collect();
        anyhow::bail!(
            "there is no session with {}: `lucid show SESSION` says what a session has",
            text::line(&said.join(" and "))
        );
    }
    Ok(found)
}

/// The sessions of a group, by the paths at which they were recorded.
pub fn members(place: &dyn ReadSessions, group: &str) -> anyhow::Result<Vec<Session>> {
    let mut found = sessions_with(place, &[(GROUP.to_owned(), group.to_owned())].into())?;
    found.sort_by(|a, b| {
        let key =
            |session: &Session| (session.metadata.get(PATH).cloned(), session.started_at.clone());
        key(a).cmp(&key(b))
    });
    Ok(found)
}

/// Their ids.
pub fn ids(sessions: &[Session]) -> anyhow::Result<Vec<SessionId>> {
    let ids = sessions.iter().map(|session| session.session_id.parse());
    ids.collect::<Result<_, _>>().context("the store has a session whose id is none")
}
