//! `lucid seal SESSION`: ends a session that was left open.

use lucid_core::manifest::End;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;

use super::{Home, anchored, clock};
use crate::output::Output;
use crate::place::{Place, local, remote};
use crate::progress::ProgressLine;
use crate::showing::client_options;
use crate::which::{self, Wanted, to_change};

/// Arguments of `lucid seal`.
#[derive(Debug, clap::Args)]
pub struct Seal {
    /// The session: its id, or a beginning of it that no other has (4 characters at least); `=ID` is that id alone.
    #[arg(value_parser = to_change)]
    session: Wanted,
    /// Say for good that its recorder is gone and never ended it: more may have been recorded.
    #[arg(long)]
    unterminated: bool,
}

impl Seal {
    /// Seals and anchors.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place: Box<dyn Place> = match &home.server {
            Some(url) => Box::new(remote::Remote::connect(url, client_options(home, url)?)?),
            None => Box::new(local::Local::open(home, "seal", &clock())?),
        };
        home.check_store(place.as_ref())?;
        let end = if self.unterminated { End::Unterminated } else { End::Eof };
        let request = SealRequest { end, ..SealRequest::default() };
        let id = which::one(place.as_ref(), &self.session)?;
        place.seal(&id, &request)?;
        let waiting = ProgressLine::waiting(output, "waiting for its block");
        let session = place.anchor(&id)?;
        drop(waiting);
        let code = anchored(place.as_ref(), &session, output);
        place.close()?;
        output.result(&session, |session| {
            let root = session.merkle_root.map(|root| root.to_string()).unwrap_or_default();
            vec![
                format!("session    {}", session.session_id),
                format!("ended      {}", session.end.as_deref().unwrap_or_default()),
                format!("root       {root}"),
            ]
        })?;
        Ok(code)
    }
}
