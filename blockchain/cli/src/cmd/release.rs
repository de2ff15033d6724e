//! `lucid release SESSION`: allows to remove a session again.

use lucid_core::session::SessionId;

use super::{DONE, Home, open, session_id};
use crate::output::Output;

/// Arguments of `lucid release`.
#[derive(Debug, clap::Args)]
pub struct Release {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
}

impl Release {
    /// Releases the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "release", output)?;
        let session = place.release(&self.session)?;
        output.result(&session, |session| format!("session {} is released", session.session_id))?;
        place.close()?;
        Ok(DONE)
    }
}
