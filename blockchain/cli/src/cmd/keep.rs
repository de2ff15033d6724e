//! How a new session is kept: what `archive`, `append`, `record` and `watch` take alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::Source;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::fresh_id::fresh_id;
use lucid_data_chain::ops::sight::Sight;
use lucid_store::codec::Compression;

use super::{Home, clock, now, session_id};
use crate::ending::WrongUse;
use crate::naming::{Named, Naming};
use crate::output::Output;
use crate::place::remote::Remote;
use crate::place::{Place, StorageOptions, local};
use crate::showing::client_options;
use crate::when::moment;
use crate::which::absolute;

/// How a new session is kept.
#[derive(Debug, Clone, clap::Args)]
pub struct Keep {
    /// The session's id; one is made when there is none.
    #[arg(long, value_name = "ID", value_parser = session_id)]
    pub session: Option<SessionId>,
    /// A template of the session's id, like `{host}-{date}`: {host}, {user}, {date} and {time} (UTC) at which it
    /// begins, {path}, {folder}, {name} and {stem} of what is kept, and {tail}, which no other has.
    #[arg(long = "as", id = "naming", value_name = "TEMPLATE", conflicts_with = "session")]
    pub naming: Option<Naming>,
    /// Whose recording it is.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub user: String,
    /// Something to keep with it; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// The host it comes from; this machine's name, if none is given.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Something to sort it by; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Until when it is kept, regardless of who wants to remove it: 2036-01-01, or with a time. It can be extended, and
    /// never shortened.
    #[arg(long, value_name = "TIME", value_parser = moment)]
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
    /// The session to begin; `paths` are what it is of, as they were given.
    pub fn new_session(
        &self,
        layout: Layout,
        one_shot: bool,
        paths: &[&Path],
    ) -> anyhow::Result<NewSession> {
        let began = now();
        let source = source(self.host.as_deref(), &self.tags, paths)?;
        let id = match &self.naming {
            None => self.session.clone(),
            Some(naming) => Some(naming.id(&Named {
                host: &source.host,
                user: &self.user,
                path: paths.first().copied().unwrap_or(Path::new("")),
                began,
                tail: fresh_id(began)?.as_str(),
            })?),
        };
        Ok(NewSession {
            id,
            user: self.user.clone(),
            layout,
            public: self.public,
            profile: ChunkProfile::default(),
            metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            started_at: began,
            one_shot,
            own_copies: false,
            sight: Sight::everything(),
            retain_until: self.retain_until,
            source: Some(source),
            terminal: None,
        })
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
                let remote = Remote::connect_patiently(url, options, output, comes_once)?;
                home.check_store(&remote)?;
                Ok(Box::new(remote))
            }
            None => {
                let local = local::Local::create(home, verb, &clock(), !self.no_encryption)?;
                Ok(Box::new(local.let_others_read(output)))
            }
        }
    }
}

/// Where a session comes from: a host, this machine if none is named; paths, made absolute; tags.
pub fn source(host: Option<&str>, tags: &[String], paths: &[&Path]) -> anyhow::Result<Source> {
    let tags: BTreeSet<String> = tags.iter().cloned().collect();
    let source = Source {
        host: host.map_or_else(this_host, str::to_owned),
        paths: paths.iter().map(|path| absolute(path)).collect::<anyhow::Result<_>>()?,
        tags: tags.into_iter().collect(),
    };
    match source.fault() {
        None => Ok(source),
        Some((member, rule)) => {
            let option = match member {
                "host" => "--host",
                "tags" => "--tag",
                _ => "the path",
            };
            Err(WrongUse(format!("{option} cannot be kept with the session: {rule}")).into())
        }
    }
}

/// This machine's name.
fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads `KEY=VALUE`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))
}
