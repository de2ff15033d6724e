//! `lucid follow SESSION`: prints what comes to a recording, as it comes, until it is sealed.
//!
//! Who has the folder is asked by its local door; to a folder that nobody has nothing comes, so what is there is all.

use std::io::Write as _;

use lucid_api::client::ClientOptions;

use super::{DONE, FAILED, Home, finish, open, opened};
use crate::output::Output;
use crate::place::Place;
use crate::place::beside::{self, Found};
use crate::place::remote::Remote;
use crate::showing::client_options;
use crate::text;
use crate::which::OneSession;

/// Arguments of `lucid follow`.
#[derive(Debug, clap::Args)]
pub struct Follow {
    #[command(flatten)]
    session: OneSession,
    /// Print what there is already, too.
    #[arg(long, conflicts_with = "from")]
    from_start: bool,
    /// Begin with this byte; else with the next one that comes.
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
}

impl Follow {
    /// Prints until the session is sealed.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = place(home, output)?;
        let id = &self.session.choose(place.as_ref())?;
        let from = match (self.from_start, self.from) {
            (true, _) => 0,
            (false, Some(from)) => from,
            (false, None) => place.session(id)?.content_bytes,
        };
        let mut out = output.stream();
        let followed = place.follow(id, from, &mut |bytes| {
            out.write_all(bytes)?;
            Ok(out.flush()?)
        });
        drop(out);
        let is_whole = followed?;
        if !is_whole {
            output.warn(&format!(
                "session {id} is not sealed, and nothing comes while nobody has this folder: run the same again \
                 beside the command or the service that does, or name its --server"
            ));
            return finish(place, FAILED);
        }
        // Who recorded it may have ended with it.
        let place = match home.server.is_none() && place.own_folder().is_none() {
            true => {
                place.close()?;
                open(home, "follow", output)?
            }
            false => place,
        };
        let session = place.session(id)?;
        let end = text::end(session.end.as_deref(), session.exit_status);
        output.remark(&format!("session {id} is sealed: {end}"));
        finish(place, DONE)
    }
}

/// Where the session is: behind a server, behind the door of the process that has the folder, or in the folder. One
/// that goes away is waited for, and the folder is left to it: nothing comes but by it.
fn place(home: &Home, output: &Output) -> anyhow::Result<Box<dyn Place>> {
    let (url, options) = match &home.server {
        Some(url) => (url.clone(), client_options(home, url)?),
        None => match beside::find(home, "follow", output)? {
            Found::Door(door) => (door, ClientOptions::default()),
            Found::Folder(local) => return opened(home, local, output),
        },
    };
    opened(home, Box::new(Remote::connect_patiently(&url, options, output, false)?), output)
}
