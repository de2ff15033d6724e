//! Which sessions are restored in one call, and where each goes.

use std::collections::HashSet;

use lucid_api::v1::sessions::{Layout, Session};
use lucid_core::catalogue::check_path;

use crate::group::PATH;
use crate::text;

/// Where a session goes below the target: into a folder, or as a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Destination(pub Vec<u8>);

/// Gives every session a place of its own.
#[derive(Default)]
pub struct Destinations {
    taken: HashSet<Vec<u8>>,
    by_path: bool,
}

impl Destinations {
    /// By their ids, or where they have one by the path at which they were recorded.
    pub fn new(by_path: bool) -> Self {
        Self { taken: HashSet::new(), by_path }
    }

    /// The place of a session. The error says why it has none.
    pub fn of(&mut self, session: &Session) -> Result<Destination, String> {
        let path = match recorded_at(session).filter(|_| self.by_path) {
            Some(path) => path.as_bytes().to_vec(),
            None => session.session_id.as_bytes().to_vec(),
        };
        check_path(&path).map_err(|fault| fault.to_string())?;
        if !self.taken.insert(path.clone()) {
            return Err(format!(
                "a newer session was recorded at \"{}\", too: restore this one by itself",
                text::name(&path)
            ));
        }
        Ok(Destination(path))
    }
}

/// The path at which a recording was made, if that is known. An archived folder has its own paths.
pub fn recorded_at(session: &Session) -> Option<&str> {
    let path = session.metadata.get(PATH).filter(|_| session.layout == Layout::Raw)?;
    Some(path.strip_prefix("./").unwrap_or(path))
}
