//! `lucid chain`: the chain of blocks itself, in the data folder or behind a block-manager.

mod begin_anew;
mod export;
mod import;
mod info;
mod lines;
mod promote;
mod sync;
mod validate;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use lucid_api::address::Address;
use lucid_api::client::BlockManagerClient;
use lucid_block_manager::opened::{self, Opened, Options};
use lucid_store::files::folder::STORE;

use super::{Home, now};
use crate::output::Output;
use crate::place::local::{chain_folder, manager_options};
use crate::place::reading;
use crate::showing::client_options;

/// Arguments of `lucid chain`.
#[derive(Debug, clap::Args)]
pub struct Chain {
    /// Ask this block-manager instead of the folder.
    #[arg(
        long,
        global = true,
        env = "LUCID_BLOCK_MANAGER_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    manager: Option<Address>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show how far the chain is, and what it is.
    Info(info::Info),
    /// Judge blocks by the six rules: those of a file, or those that are stored.
    Validate(validate::Validate),
    /// Take blocks in from a file, going on where it was broken off.
    Import(import::Import),
    /// Bring what another block-manager has here, going on where it was broken off.
    Sync(sync::Sync),
    /// Make a follower's folder the authority of its chain, when the old one is gone for good.
    Promote(promote::Promote),
    /// Begin another chain in the place of one that can take no more blocks; the old one is kept.
    BeginAnew(begin_anew::BeginAnew),
    /// Write blocks into a file, one a line, going on where it was broken off.
    Export(export::Export),
}

impl Chain {
    /// Whether no folder is opened: a block-manager is asked, or blocks in a file are judged.
    pub fn needs_no_folder(&self) -> bool {
        self.manager.is_some() || matches!(&self.verb, Verb::Validate(verb) if verb.is_of_a_file())
    }

    /// Whether it gives a verdict.
    pub fn gives_verdict(&self) -> bool {
        matches!(self.verb, Verb::Validate(_))
    }

    /// Whether a block-manager is asked.
    pub fn asks_a_manager(&self) -> bool {
        self.manager.is_some()
    }

    /// Whether it writes nothing to the folder of the chain.
    pub fn only_reads(&self) -> bool {
        matches!(self.verb, Verb::Info(_) | Verb::Validate(_) | Verb::Export(_))
    }

    /// Runs the verb.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        keep_freed_memory();
        let at = Where { home, manager: self.manager.as_ref() };
        match &self.verb {
            Verb::Info(verb) => verb.run(&at, output),
            Verb::Validate(verb) => verb.run(&at, output),
            Verb::Import(verb) => verb.run(&at, output),
            Verb::Sync(verb) => verb.run(&at, output),
            Verb::Promote(verb) => verb.run(&at, output),
            Verb::BeginAnew(verb) => verb.run(&at, output),
            Verb::Export(verb) => verb.run(&at, output),
        }
    }
}

/// Where the chain is.
pub(super) struct Where<'a> {
    home: &'a Home,
    manager: Option<&'a Address>,
}

impl Where<'_> {
    /// The block-manager to be asked, if one is named.
    fn client(&self) -> anyhow::Result<Option<BlockManagerClient>> {
        let Some(url) = self.manager else { return Ok(None) };
        let client = BlockManagerClient::new(url.expose(), client_options(self.home, url)?);
        client.map(Some).with_context(|| format!("{url:?} names no block-manager"))
    }

    /// Opens the folder of the chain.
    fn open(&self, verb: &str, options: Options, output: &Output) -> anyhow::Result<Opened> {
        let (root, options) = (self.folder(), self.options(verb, options)?);
        let opened = reading::open(
            self.home.reading,
            || opened::open(&root, &options, now()),
            |to_read| opened::read(&root, &options, now(), to_read),
            opened::OpenError::store,
        )?;
        reading::say(output, opened.only_read());
        Ok(opened)
    }

    fn folder(&self) -> PathBuf {
        chain_of(self.home)
    }

    /// What is said of every folder here, besides.
    fn options(&self, verb: &str, options: Options) -> anyhow::Result<Options> {
        self.needs_folder()?;
        let Options { create, encrypt, accept_loss, block_file_bytes, kind, .. } = options;
        let owner = format!("`lucid chain {verb}`");
        let common = manager_options(self.home, &owner, &self.folder());
        Ok(Options { create, encrypt, accept_loss, block_file_bytes, kind, ..common })
    }

    /// A folder is meant, and not by mistake: a server of sessions was named for other verbs.
    fn needs_folder(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.home.server.is_none(),
            "--server (LUCID_DATA_CHAIN_URL) names a data-chain, and the chain is kept by a \
             block-manager: name that with --manager, or unset it to work on --data"
        );
        Ok(())
    }
}

/// The folder of the chain: the one below `--data`, or `--data` itself where that is a block-manager's own.
pub(super) fn chain_of(home: &Home) -> PathBuf {
    match home.data.join(STORE).exists() {
        true => home.data.clone(),
        false => chain_folder(home),
    }
}

/// Options that open a chain that is there, and make none.
fn existing() -> Options {
    Options { create: false, ..Options::default() }
}

/// Blocks are read and dropped by the mebibyte, over and over. Left alone, glibc gives that memory back to
/// the system and asks for it again with every block, which is a sixth of all the time; from when it has
/// freed something large, it keeps as much. Other allocators do not mind.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(16 << 20)));
}

/// Whether a path stands for standard input or output.
fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The folder for what memory has no room for.
fn scratch() -> PathBuf {
    std::env::temp_dir()
}
