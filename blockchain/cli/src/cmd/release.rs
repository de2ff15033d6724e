//! `lucid release SESSION`: allows to remove a session again.

use super::{DONE, Home, open};
use crate::output::Output;
use crate::which::{self, Wanted, to_change};

/// Arguments of `lucid release`.
#[derive(Debug, clap::Args)]
pub struct Release {
    /// The session: its id, or a beginning of it that no other has (4 characters at least); `=ID` is that id alone.
    #[arg(value_parser = to_change)]
    session: Wanted,
}

impl Release {
    /// Releases the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "release", output)?;
        let session = place.release(&which::one(place.as_ref(), &self.session)?)?;
        output.result(&session, |session| format!("session {} is released", session.session_id))?;
        place.close()?;
        Ok(DONE)
    }
}
