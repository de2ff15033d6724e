//! `lucid retain SESSION`: keeps a session until a time, regardless of who wants to remove it.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;

use super::keep::day_or_time;
use super::{DONE, Home, open, session_id};
use crate::output::Output;

/// Arguments of `lucid retain`.
#[derive(Debug, clap::Args)]
pub struct Retain {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
    /// From when on it may be removed, by the chain's time: 2036-01-01, or with a time.
    #[arg(long, value_name = "TIME", value_parser = day_or_time)]
    until: Timestamp,
}

impl Retain {
    /// Keeps the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "retain", output)?;
        let session = place.retain(&self.session, self.until)?;
        output.result(&session, |session| {
            let until = session.retain_until.as_deref().unwrap_or_default();
            format!("session {} is kept until {until}", session.session_id)
        })?;
        place.close()?;
        Ok(DONE)
    }
}
