//! `lucid retain SESSION`: keeps a session until a time, regardless of who wants to remove it.

use lucid_core::time::Timestamp;

use super::{DONE, Home, open};
use crate::output::Output;
use crate::when::{moment, shown};
use crate::which::{self, Wanted, to_change};

/// Arguments of `lucid retain`.
#[derive(Debug, clap::Args)]
pub struct Retain {
    /// The session: its id, or a beginning of it that no other has (4 characters at least); `=ID` is that id alone.
    #[arg(value_parser = to_change)]
    session: Wanted,
    /// From when on it may be removed, by the chain's time: 2036-01-01, or with a time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Timestamp,
}

impl Retain {
    /// Keeps the session.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "retain", output)?;
        let session = place.retain(&which::one(place.as_ref(), &self.session)?, self.until)?;
        output.result(&session, |session| {
            let until = session.retain_until.as_deref().map(shown).unwrap_or_default();
            format!("session {} is kept until {until}", session.session_id)
        })?;
        place.close()?;
        Ok(DONE)
    }
}
