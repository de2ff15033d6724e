//! `lucid hold SESSION`: forbids to remove a session.

use super::{DONE, Home, open};
use crate::output::Output;
use crate::when;
use crate::which::{self, Wanted, to_change};

/// Arguments of `lucid hold`.
#[derive(Debug, clap::Args)]
pub struct Hold {
    /// The session: its id, or a beginning of it that no other has (4 characters at least); `=ID` is that id alone.
    #[arg(value_parser = to_change)]
    session: Wanted,
    /// Why; those who try to remove the session are told.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
}

impl Hold {
    /// Holds the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "hold", output)?;
        let session = place.hold(&which::one(place.as_ref(), &self.session)?, &self.reason)?;
        output.result(&session, |session| {
            let since = session.hold.as_ref().map(|hold| when::shown(&hold.since));
            let since = since.unwrap_or_default();
            format!("session {} is held since {since}", session.session_id)
        })?;
        place.close()?;
        Ok(DONE)
    }
}
