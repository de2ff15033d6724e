//! `lucid watch DIR`: sends recordings on while they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use lucid_store::clock::Clock;

use super::keep::{key_value, source};
use super::{DONE, FAILED, Home, clock};
use crate::ending::WrongUse;
use crate::folder::walk;
use crate::naming::Naming;
use crate::output::Output;
use crate::place::{Place, StorageOptions, local, remote};
use crate::showing::client_options;
use crate::text;
use crate::watch::spool::Spool;
use crate::watch::{GroupBy, RemarkSubject, WatchEvent, WatchPlan, Watcher};

/// Arguments of `lucid watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// The folder in which recordings appear and grow. Hidden files are left out.
    folder: PathBuf,
    /// What session ids begin with; the file's name follows.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "naming"
    )]
    session_prefix: String,
    /// A template of session ids, like `{host}-{folder}-{stem}`: {path}, {folder}, {name} and {stem} of the file below
    /// DIR, {host}, {user}, {date} and {time} (UTC) at which it began, and {tail}, which tells it from others and comes
    /// last where the template has it nowhere.
    #[arg(long = "as", id = "naming", value_name = "TEMPLATE")]
    naming: Option<Naming>,
    /// Make recordings of one folder a group, which is listed, proved, restored and removed as one (`--group` of `ls`,
    /// `prove`, `restore`, `rm` and others).
    #[arg(long, value_name = "WHAT")]
    group_by: Option<GroupBy>,
    /// Whose recordings they are.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    user: String,
    /// Something to keep with each; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
    /// The host they come from; this machine's name, if none is given.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Something to sort them by; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Seconds after which a file that does not change counts as closed, and is sealed.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    idle: f64,
    /// Seconds between two looks at the folder where the system does not tell of changes in it.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    interval: f64,
    /// Look at the folder again and again, though the system tells of changes: for file systems that do not tell of
    /// all.
    #[arg(long)]
    poll: bool,
    /// Where it is remembered which file is which session; `.lucid-watch` in the folder.
    #[arg(long, value_name = "FOLDER")]
    spool: Option<PathBuf>,
    /// Send what is there, seal what has not changed for --idle, and end.
    #[arg(long)]
    once: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no number of seconds from 0.01 to 1000000");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.01..=1e6).contains(&seconds) { Ok(seconds) } else { Err(wrong()) }
}

impl Watch {
    /// Watches until it is ended; nothing needs to be told to it before.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let folder = self
            .folder
            .canonicalize()
            .with_context(|| format!("\"{}\" cannot be watched", self.folder.display()))?;
        anyhow::ensure!(folder.is_dir(), "\"{}\" is no folder", self.folder.display());
        let naming = self.naming.clone().map_or_else(|| by_path(&self.session_prefix), Ok)?;
        let spool_folder = self.spool.clone().unwrap_or_else(|| folder.join(".lucid-watch"));
        walk::refuse_store(&folder)?;
        let spool = Spool::open(&spool_folder)?;
        let place: Box<dyn Place> = match &home.server {
            Some(url) => {
                Box::new(remote::Remote::connect_briefly(url, client_options(home, url)?)?)
            }
            None => Box::new(
                local::Local::create(home, "watch", &clock(), true)?.let_others_read(output),
            ),
        };
        home.check_store(place.as_ref())?;
        let not = place.own_folder().into_iter().chain([spool_folder]);
        let plan = WatchPlan {
            folder,
            not: not.filter_map(|folder| folder.canonicalize().ok()).collect(),
            naming: naming.with_tail(),
            group_by: self.group_by,
            user: self.user.clone(),
            metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            source: source(self.host.as_deref(), &self.tags, &[])?,
            idle: Duration::from_secs_f64(self.idle),
            interval: Duration::from_secs_f64(self.interval),
            polls: self.poll || self.once,
            once: self.once,
            clock: Clock::system(),
        };
        let storage = StorageOptions::default();
        let mut watcher = Watcher::start(place.as_ref(), storage, plan, spool)?;
        let mut refused = BTreeSet::new();
        loop {
            let mut tell = |event: &WatchEvent| {
                output.item(event, describe)?;
                Ok(())
            };
            watcher.round(&mut tell, &mut |subject, trouble| {
                output.warn(&remark(&self.folder, subject, trouble));
            })?;
            // Each is tried again with every session that is sealed, and said once.
            for why in place.undelivered() {
                if !refused.contains(&why) {
                    output.warn(&why);
                    refused.insert(why);
                }
            }
            if self.once {
                let code = if watcher.has_troubles() { FAILED } else { DONE };
                drop(watcher);
                place.close()?;
                return Ok(code);
            }
            watcher.wait();
        }
    }
}

/// Ids by the paths of files, with something in front.
fn by_path(prefix: &str) -> anyhow::Result<Naming> {
    let naming: Result<Naming, String> = format!("{prefix}{{path}}").parse();
    let wrong = |why| WrongUse(format!("--session-prefix cannot begin an id: {why}"));
    Ok(naming.map_err(wrong)?)
}

/// What is wrong, or well again, for people.
fn remark(folder: &Path, subject: &RemarkSubject, trouble: Option<&str>) -> String {
    /// A path that is too long for the system is too long for a line.
    const SHOWN_MAX: usize = 200;
    let name = match subject {
        RemarkSubject::Folder => format!("\"{}\"", folder.display()),
        RemarkSubject::Store => "the store".to_owned(),
        RemarkSubject::Spool(name) => format!("\"{name}\" in the spool"),
        RemarkSubject::Path(path) => {
            let shown = text::name(path.as_bytes());
            match shown.char_indices().nth(SHOWN_MAX) {
                Some((end, _)) => format!("\"{}\"…", shown.get(..end).unwrap_or_default()),
                None => format!("\"{shown}\""),
            }
        }
    };
    match trouble {
        Some(trouble) => format!("{name}: {trouble}; it is looked at again"),
        None => format!("{name} is well again"),
    }
}

fn describe(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Began { session, path } => format!("began      {session}  {path}"),
        WatchEvent::Sealed { session, path, bytes, unterminated } => {
            let end = if *unterminated {
                ", unterminated: the file was gone, or another one"
            } else {
                ""
            };
            format!("sealed     {session}  {path} ({}{end})", text::many(*bytes, "byte"))
        }
        WatchEvent::Polled { why } => format!("looking again and again: {why}"),
        WatchEvent::LeftOut { path } => format!("left out   {path}: it is a data folder of lucid"),
    }
}
