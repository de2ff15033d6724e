//! `lucid hold SESSION`: forbids to remove a session.

use lucid_core::session::SessionId;

use super::{DONE, Home, open, session_id};
use crate::output::Output;

/// Arguments of `lucid hold`.
#[derive(Debug, clap::Args)]
pub struct Hold {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
    /// Why; those who try to remove the session are told.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

impl Hold {
    /// Holds the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "hold", output)?;
        let session = place.hold(&self.session, &self.reason)?;
        output.result(&session, |session| {
            let since = session.hold.as_ref().map(|hold| hold.since.as_str()).unwrap_or_default();
            format!("session {} is held since {since}", session.session_id)
        })?;
        place.close()?;
        Ok(DONE)
    }
}
