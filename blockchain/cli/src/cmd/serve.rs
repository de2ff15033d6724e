//! `lucid serve --webdav`: sessions as files that any file manager mounts, to be read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use lucid_api::access::TokenSource;
use lucid_api::client::ClientOptions;
use lucid_core::check::Trust;
use lucid_http::program::until_told;
use lucid_http::serve::Listening;
use serde::Serialize;

use super::{DONE, Home, finish, fits, open, opened};
use crate::interrupt;
use crate::output::Output;
use crate::place::Place;
use crate::place::beside::{self, Found};
use crate::place::remote::Remote;
use crate::restore::proof::trust;
use crate::webdav::{SERVICE, Served};

/// Letters of a token that is not guessed.
const TOKEN_LETTERS_MIN: usize = 16;

/// Arguments of `lucid serve`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Serve WebDAV here; port 0 takes any free one.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:8093"
    )]
    webdav: Option<SocketAddr>,
    /// Show only what is proved by a key in base64 or a block's hash in hex, which may be given several times; by the
    /// keys that the store names, if none is given.
    #[arg(long, value_name = "KEY|BLOCK_HASH", num_args = 0.., value_parser = trust)]
    trust: Option<Vec<Trust>>,
    /// A file with a token that callers have to show, as a bearer or as the password of any user.
    #[arg(long, value_name = "FILE")]
    webdav_token_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Address {
    webdav: String,
}

impl Serve {
    /// Serves until it is told to end.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let address = self.webdav;
        fits(address.is_some(), "nothing is named that is to be served: pass --webdav")?;
        let Some(address) = address else { return Ok(DONE) };
        fits(
            address.ip().is_loopback() || self.webdav_token_file.is_some(),
            "everybody who reaches that address could read everything: name a file with a token with \
             --webdav-token-file, or leave the address out",
        )?;
        let token = self.webdav_token_file.clone().map(TokenSource::File);
        if let Some(token) = &token {
            let letters = token.read().map_err(anyhow::Error::msg)?.expose().len();
            anyhow::ensure!(
                letters >= TOKEN_LETTERS_MIN,
                "the token has {letters} letters and could be guessed: make one of at least {TOKEN_LETTERS_MIN}"
            );
        }
        let place = place(home, output)?;
        let told = output.clone();
        let hear = Arc::new(move |what: &str| told.warn(what));
        let served = Served::new(place, self.trust.clone(), token, hear);
        let ended = until_told(1, async |shutdown| {
            interrupt::leave();
            let listening = Listening::bind(&SERVICE, address).await?;
            let webdav = format!("http://{}/", listening.address());
            let line = |address: &Address| {
                format!("{}  (WebDAV, read-only; Ctrl-C ends it)", address.webdav)
            };
            output.item(&Address { webdav }, line)?;
            listening.serve(served.router(), &shutdown).await;
            anyhow::Ok(())
        });
        ended.context("starting the runtime")??;
        match served.into_place() {
            Some(place) => finish(place, DONE),
            None => Ok(DONE),
        }
    }
}

/// Where the sessions are. A folder that another process has is left to it when that ends: what it records comes first,
/// and it may start again at any time.
fn place(home: &Home, output: &Output) -> anyhow::Result<Box<dyn Place>> {
    if home.server.is_some() {
        return open(home, "serve", output);
    }
    match beside::find(home, "serve", output)? {
        Found::Folder(local) => opened(home, local, output),
        Found::Door(door) => {
            opened(home, Box::new(Remote::connect(&door, ClientOptions::default())?), output)
        }
    }
}
