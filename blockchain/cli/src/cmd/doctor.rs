//! `lucid doctor`: looks at everything that an operator has to look after, and says what an operator alone can say.
//!
//! Each check ends as a [`Finding`]: what was looked at, how it is, and what can be done. What cannot be told is said
//! to be not known, and never taken for good. Beside a running service its own door is asked, so that its folder is
//! left alone.

mod disk;
mod finding;
mod outside;
mod stores;

use std::path::PathBuf;

use anyhow::Context as _;
use lucid_block_manager::opened::{Options, accept_clock};
use lucid_core::time::Timestamp;
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_store::files::folder::is_store;
use serde::Serialize;

use self::finding::{Finding, State};
use super::chain::chain_of;
use super::{DONE, FAILED, Home, now};
use crate::output::Output;
use crate::place::local::{CHAIN_FOLDER, chain_folder, data_folder, manager_options};

/// Arguments of `lucid doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Look at nothing, and say that this machine's clock is right, though it is far ahead of the newest block.
    /// Blocks are made again.
    #[arg(long)]
    accept_clock: bool,
    /// The certificate of the services, to see how long it counts.
    #[arg(long, env = "LUCID_TLS_CERT_FILE", value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// A list of tokens beside those of the folder, to see which are about to expire.
    #[arg(long, env = "LUCID_TOKENS_FILE", value_name = "FILE")]
    tokens: Option<PathBuf>,
}

#[derive(Serialize)]
struct Accepted {
    clock: Timestamp,
    newest_block: Option<Timestamp>,
    produces: bool,
}

/// Everything that was found.
#[derive(Serialize)]
struct Report {
    /// When it was looked.
    at: Timestamp,
    /// Whether nothing is wrong.
    sound: bool,
    checks: Vec<Finding>,
}

impl Doctor {
    /// Whether it only looks.
    pub fn only_reads(&self) -> bool {
        !self.accept_clock
    }

    /// Looks at everything, and exits with 1 if anything is wrong; or notes what was said.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        if self.accept_clock {
            return accept(home, output);
        }
        let at = now();
        let mut checks = match &home.server {
            Some(url) => stores::of_server(home, url, at)?,
            None => self.of_folder(home, at)?,
        };
        if let Some(file) = &self.certificate {
            checks.push(outside::certificate(file, at));
        }
        let report =
            Report { at, sound: checks.iter().all(|check| check.state != State::Wrong), checks };
        output.result(&report, |report| {
            let lines = report.checks.iter().flat_map(Finding::lines);
            lines.chain([summary(&report.checks)]).collect::<Vec<String>>()
        })?;
        Ok(if report.sound { DONE } else { FAILED })
    }

    fn of_folder(&self, home: &Home, at: Timestamp) -> anyhow::Result<Vec<Finding>> {
        let (data, chain) = (data_folder(home), chain_folder(home));
        let has_chain = is_store(&chain)?;
        anyhow::ensure!(
            is_store(&data)? || has_chain,
            "{} holds no Lucid store: name its folder with --data",
            home.data.display()
        );
        let mut checks = Vec::new();
        stores::of_data_chain(home, at, &mut checks)?;
        if has_chain {
            stores::of_block_manager(home, at, &mut checks)?;
        }
        let mut folders = vec![(FOLDER_OWNER, data.clone(), "chunks")];
        if has_chain {
            folders.push((CHAIN_FOLDER, chain.clone(), "blocks"));
        }
        for (name, root, bulk) in &folders {
            disk::look_at(name, root, bulk, home, &mut checks);
            checks.push(outside::keys(name, root));
        }
        checks.push(outside::mirror(&data, at));
        checks.push(outside::verified(&data, at));
        let mut lists = vec![home.data.clone(), data, chain];
        lists.iter_mut().for_each(|folder| folder.push(lucid_http::config::TOKENS));
        lists.extend(self.tokens.clone());
        checks.push(outside::tokens(&lists, at));
        // What is worst comes first; within that, as it was looked at.
        checks.sort_by_key(|check| std::cmp::Reverse(check.state));
        Ok(checks)
    }
}

fn summary(checks: &[Finding]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    match (count(State::Wrong), count(State::Look)) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, look) => format!("nothing is wrong; {look} to look at"),
        (wrong, look) => format!("{wrong} wrong, {look} to look at"),
    }
}

fn accept(home: &Home, output: &Output) -> anyhow::Result<u8> {
    anyhow::ensure!(
        home.server.is_none(),
        "a clock is accepted in a folder, and --server (LUCID_DATA_CHAIN_URL) names a server: stop its \
         block-manager, leave that out, and name its folder with --data"
    );
    let folder = chain_of(home);
    let common = manager_options(home, "`lucid doctor`", &folder);
    let clock = now();
    let accepted = accept_clock(&folder, &Options { create: false, ..common }, clock)?;
    let done = Accepted { clock, newest_block: accepted.tip, produces: accepted.produces };
    output
        .result(&done, |done| {
            let tip = match done.newest_block {
                Some(tip) => format!("the newest block is of {tip}"),
                None => "there is no block yet".to_owned(),
            };
            let mut lines =
                vec![format!("the clock is taken for right: {}; {tip}", done.clock)];
            if !done.produces {
                lines.push(
                    "no block can be made before the newest one's time: if that is what is wrong, `lucid \
                     chain begin-anew` begins another chain"
                        .into(),
                );
            }
            lines
        })
        .context("saying what was accepted")?;
    Ok(DONE)
}
