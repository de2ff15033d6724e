//! `lucid sink`: takes recordings from Unix sockets, a session for each connection.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use lucid_http::config::process_environment;
use lucid_http::program::until_told;
use lucid_store::files::disk::real::keep_to_owner;

use super::keep::{key_value, source};
use super::{DONE, Home, clock, fits};
use crate::interrupt;
use crate::output::Output;
use crate::place::{Place, local, remote};
use crate::showing::client_options;
use crate::sink::listen::{Socket, passed};
use crate::sink::{Sink as Takes, SinkPlan};

/// Arguments of `lucid sink`.
#[derive(Debug, clap::Args)]
pub struct Sink {
    /// The path of a socket that programs connect to; may be given several times. Sockets that systemd passes are
    /// listened to besides.
    #[arg(long, value_name = "PATH")]
    listen_unix: Vec<PathBuf>,
    /// Who may connect, as the permissions of those sockets.
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    mode: u32,
    /// Where is kept what was not sent yet; it must be on a disk that lasts.
    #[arg(long, value_name = "FOLDER", default_value = "./lucid-spool")]
    spool: PathBuf,
    /// How much may wait there to be sent, in MiB: nothing more is read then.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    spool_limit: u64,
    /// Connections that are read at once; others wait.
    #[arg(long, value_name = "COUNT", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: u16,
    /// Something to keep with each; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
    /// The host they come from; this machine's name, if none is given.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Something to sort them by; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

/// Reads permissions as `chmod` does: 660, or 0660.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("{text:?} is no mode: 600 and 660 are"))
}

impl Sink {
    /// Takes until it is told to end; nothing needs to be told to it before.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        keep_to_owner();
        let plan = SinkPlan {
            metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            source: source(self.host.as_deref(), &self.tags, &[])?,
            connections: usize::from(self.max_connections),
            limit: self.spool_limit << 20,
        };
        let mut sockets = passed(&process_environment())?;
        fits(
            !sockets.is_empty() || !self.listen_unix.is_empty(),
            "there is no socket to listen to: name one with --listen-unix, or have systemd pass one",
        )?;
        let place: Box<dyn Place> = match &home.server {
            Some(url) => {
                Box::new(remote::Remote::connect_briefly(url, client_options(home, url)?)?)
            }
            None => Box::new(local::Local::create(home, "sink", &clock(), true)?),
        };
        for path in &self.listen_unix {
            sockets.push(Socket::bind(path, self.mode)?);
        }
        let takes = Takes::new(plan, self.spool.clone(), sockets, output)?;
        let home = home.clone();
        let ended = until_told(1, async |shutdown| {
            interrupt::leave();
            let check = Box::new(move |place: &dyn Place| home.check_store(place));
            takes.serve(place, check, &shutdown).await
        });
        ended.context("starting the runtime")??;
        Ok(DONE)
    }
}
