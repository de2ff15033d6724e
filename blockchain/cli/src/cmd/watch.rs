//! `lucid watch DIR`: sends recordings on while they are made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::archive::key_value;
use super::{DONE, FAILED, Home, now};
use crate::output::Output;
use crate::place::{Place, Wish, local, remote};
use crate::watch::spool::Spool;
use crate::watch::{Event, Plan, Watcher};

/// Arguments of `lucid watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// The folder in which recordings appear and grow. Hidden files are left out.
    folder: PathBuf,
    /// What session ids begin with; the file's name follows.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    session_prefix: String,
    /// Whose recordings they are.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    user: String,
    /// Something to keep with each; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
    /// Seconds after which a file that does not grow counts as closed, and is sealed.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    idle: f64,
    /// Seconds between two looks at the folder.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    interval: f64,
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

/// How long it waits after a look that failed, at most.
const WAIT_MAX: Duration = Duration::from_secs(30);

impl Watch {
    /// Watches until it is ended; nothing needs to be told to it before.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let folder = self
            .folder
            .canonicalize()
            .with_context(|| format!("\"{}\" cannot be watched", self.folder.display()))?;
        anyhow::ensure!(folder.is_dir(), "\"{}\" is no folder", self.folder.display());
        let spool_folder = self.spool.clone().unwrap_or_else(|| folder.join(".lucid-watch"));
        let spool = Spool::open(&spool_folder)?;
        let place: Box<dyn Place> = match &home.server {
            Some(url) => Box::new(remote::Remote::connect(url)?),
            None => Box::new(local::Local::create(home, "watch", now(), true)?),
        };
        let not = place.own_folder().into_iter().chain([spool_folder]);
        let plan = Plan {
            folder,
            not: not.filter_map(|folder| folder.canonicalize().ok()).collect(),
            prefix: self.session_prefix.clone(),
            user: self.user.clone(),
            metadata: self.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            idle: Duration::from_secs_f64(self.idle),
            once: self.once,
        };
        let wish = Wish { compression: Default::default(), encrypt: true };
        let mut watcher = Watcher::start(place.as_ref(), wish, plan, spool)?;
        let interval = Duration::from_secs_f64(self.interval);
        let mut wait = interval;
        let mut said = BTreeMap::new();
        loop {
            let mut failed = 0;
            let mut tell = |event: &Event| {
                output.item(event, describe)?;
                Ok(())
            };
            watcher.round(&mut tell, &mut |path, error| {
                failed += 1;
                // The same trouble again is no news.
                let text = format!("{error:#}");
                if said.get(path) != Some(&text) {
                    output.warn(&format!("\"{path}\": {text}"));
                    said.insert(path.to_owned(), text);
                }
            })?;
            if failed == 0 {
                said.clear();
            }
            if self.once {
                drop(watcher);
                place.close()?;
                return Ok(if failed == 0 { DONE } else { FAILED });
            }
            wait = if failed == 0 { interval } else { (wait * 2).min(WAIT_MAX.max(interval)) };
            std::thread::sleep(wait);
        }
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Began { session, path } => format!("began      {session}  {path}"),
        Event::Sealed { session, path, bytes, unterminated } => {
            let end = if *unterminated { ", unterminated: the file was gone" } else { "" };
            format!("sealed     {session}  {path} ({bytes} bytes{end})")
        }
    }
}
