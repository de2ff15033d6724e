//! How a new session is kept: what `archive`, `append`, `record` and `watch` take alike.

use std::collections::BTreeMap;

use lucid_core::cut::ChunkProfile;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sight::Sight;
use lucid_store::codec::Compression;

use super::{Home, clock, now, session_id};
use crate::output::Output;
use crate::place::remote::Remote;
use crate::place::{Place, StorageOptions, local};
use crate::showing::client_options;

/// How a new session is kept.
#[derive(Debug, Clone, clap::Args)]
pub struct Keep {
    /// The session's id; one is made when there is none.
    #[arg(long, value_name = "ID", value_parser = session_id)]
    pub session: Option<SessionId>,
    /// Whose recording it is.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub user: String,
    /// Something to keep with it; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// Until when it is kept, regardless of who wants to remove it: 2036-01-01, or with a time. It can be extended, and
    /// never shortened.
    #[arg(long, value_name = "TIME", value_parser = day_or_time)]
    pub retain_until: Option<Timestamp>,
    /// Let anyone who has the bytes recompute the root: leaves go without salt.
    #[arg(long)]
    pub public: bool,
    /// Store new chunks unencrypted; a store made so has no keys at all.
    #[arg(long)]
    pub no_encryption: bool,
    /// zstd (as tight as keeps pace with the input), zstd:1 to zstd:19, lz4, gzip or none.
    #[arg(long, default_value = "zstd", value_name = "HOW")]
    pub compression: Compression,
}

impl Keep {
    /// The session to begin.
    pub fn new_session(&self, layout: Layout, one_shot: bool) -> NewSession {
        NewSession {
            id: self.session.clone(),
            user: self.user.clone(),
            layout,
            public: self.public,
            profile: ChunkProfile::default(),
            metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            started_at: now(),
            one_shot,
            own_copies: false,
            sight: Sight::everything(),
            retain_until: self.retain_until,
        }
    }

    /// How its chunks are kept.
    pub fn storage(&self) -> StorageOptions {
        StorageOptions { compression: self.compression, encrypt: !self.no_encryption }
    }

    /// Opens the place that is to hold the session. A server that goes away is waited for; if what is kept
    /// comes only once, so is a server that is not there yet.
    pub fn open(
        &self,
        home: &Home,
        verb: &str,
        output: &Output,
        comes_once: bool,
    ) -> anyhow::Result<Box<dyn Place>> {
        match &home.server {
            Some(url) => {
                let options = client_options(home, url)?;
                Ok(Box::new(Remote::connect_patiently(url, options, output, comes_once)?))
            }
            None => Ok(Box::new(local::Local::create(home, verb, &clock(), !self.no_encryption)?)),
        }
    }
}

/// Reads a time, or the beginning of a day.
pub fn day_or_time(text: &str) -> Result<Timestamp, String> {
    let of_day = format!("{text}T00:00:00Z");
    Timestamp::parse(text).or_else(|fault| Timestamp::parse(&of_day).map_err(|_| fault.to_string()))
}

/// Reads `KEY=VALUE`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))
}
