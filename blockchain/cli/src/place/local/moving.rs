//! Moving the stores of a folder into a database and a bucket, or back.
//!
//! Both stores are looked at before anything is written, and only when both have moved does either folder say so.

use std::path::{Path, PathBuf};

use lucid_block_manager::moving as manager;
use lucid_block_manager::opened as manager_opened;
use lucid_core::time::Timestamp;
use lucid_data_chain::moving as data;
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_store::backend::Given;
use lucid_store::files::folder::{DataFolder, Options, is_store, kept_in};
use lucid_store::vault::moving::Stage;
use serde::Serialize;

use super::reindex::own_folder_of;
use super::{CHAIN_FOLDER, chain_folder, chain_options, data_folder, manager_options, options};
use crate::cmd::Home;
use crate::ending::WrongUse;

/// Where stores are moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MigrateTo {
    /// MongoDB and the bucket, as the variables say.
    Remote,
    /// The folder.
    Folder,
}

/// What there is to move of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreToMove {
    /// `data-chain` or `block-manager`.
    pub service: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it is there already: then the rest is zero.
    pub is_there: bool,
    /// Chunks.
    pub chunks: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of chunks and of the log.
    pub bytes: u64,
}

/// What was moved of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreMoved {
    /// `data-chain` or `block-manager`.
    pub service: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// Facts that were compared.
    pub facts: u64,
    /// Chunks that were compared.
    pub chunks: u64,
    /// Chunks that an earlier try had brought.
    pub chunks_before: u64,
    /// Blocks that were compared.
    pub blocks: u64,
    /// Bytes of the chunks.
    pub bytes: u64,
    /// What could not be read and was left behind.
    pub left: Vec<String>,
    /// BLAKE3 of facts and chunks, the same on both sides.
    pub digest: String,
    /// Where what was in the folder is now.
    pub before: Option<PathBuf>,
}

/// The stores of a folder, on their way.
pub struct Moves<'a> {
    home: &'a Home,
    from: Given,
    to: Given,
    now: Timestamp,
}

/// Hears of what, whether it counts blocks and not bytes, and how many of how many are done.
type Heard<'a> = &'a dyn Fn(&str, bool, u64, u64);

/// A store of either kind, open on both sides.
enum Sides {
    Data(Box<data::Sides>),
    Manager(Box<manager::Sides>),
}

fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Copying => "copying",
        Stage::Comparing => "comparing",
    }
}

const OWNER: &str = "`lucid migrate`";

impl<'a> Moves<'a> {
    /// Of the stores of a folder. What the variables say is where they go, or where they come from.
    pub fn new(home: &'a Home, to: MigrateTo, now: Timestamp) -> Result<Self, WrongUse> {
        let elsewhere = home.given.clone();
        if to == MigrateTo::Remote && elsewhere.mongo.is_none() {
            return Err(WrongUse(
                "no variable says where the database is: set MONGO_URL, and the LUCID_S3_ variables of the bucket"
                    .to_owned(),
            ));
        }
        let here = Given { clock: elsewhere.clock.clone(), ..Given::default() };
        let (from, to) = match to {
            MigrateTo::Remote => (here, elsewhere),
            MigrateTo::Folder => (elsewhere, here),
        };
        Ok(Self { home, from, to, now })
    }

    /// The folders that there are: of both services, or the one that `--data` itself is.
    fn folders(&self) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let own = own_folder_of(self.home);
        let data = (FOLDER_OWNER, data_folder(self.home));
        let chain = (CHAIN_FOLDER, chain_folder(self.home));
        let found = match own.as_deref() {
            Some(FOLDER_OWNER) => vec![(FOLDER_OWNER, self.home.data.clone())],
            Some(CHAIN_FOLDER) => vec![(CHAIN_FOLDER, self.home.data.clone())],
            _ => {
                // Of the store of sessions it is said that it is missing.
                let has_chain = is_store(&chain.1)?;
                [Some(data), has_chain.then_some(chain)].into_iter().flatten().collect()
            }
        };
        Ok(found)
    }

    fn data_options(&self) -> Options {
        let options = options(self.home, OWNER, self.now, false, true);
        Options { given: self.from.clone(), ..options }
    }

    fn manager_options(&self, folder: &Path) -> manager_opened::Options {
        let options = manager_options(self.home, OWNER, folder);
        manager_opened::Options { given: self.from.clone(), ..options }
    }

    /// Whether a store is where it is to go; then it is seen to be what opens with these keys.
    fn is_there(&self, service: &str, folder: &Path) -> anyhow::Result<bool> {
        if !is_store(folder)? {
            return Ok(false);
        }
        let (options, given) = match service {
            CHAIN_FOLDER => (
                chain_options(self.home, OWNER, self.now),
                Given { bucket: None, ..self.to.clone() },
            ),
            _ => (self.data_options(), self.to.clone()),
        };
        let is_there = kept_in(folder, &options)? == given.kept();
        if is_there {
            DataFolder::open(folder, &Options { given, ..options })?;
        }
        Ok(is_there)
    }

    /// What there is to move. Changes nothing.
    pub fn survey(&self) -> anyhow::Result<Vec<StoreToMove>> {
        let mut found = Vec::new();
        for (service, folder) in self.folders()? {
            let mut all = StoreToMove {
                service,
                folder: folder.clone(),
                is_there: self.is_there(service, &folder)?,
                chunks: 0,
                blocks: 0,
                bytes: 0,
            };
            if !all.is_there && service == CHAIN_FOLDER {
                let options = self.manager_options(&folder);
                let there = manager::survey(&folder, &options, &self.to, self.now)?;
                (all.blocks, all.bytes) = (there.blocks, there.facts.bytes());
            } else if !all.is_there {
                let there = data::survey(&folder, &self.data_options(), &self.to)?;
                (all.chunks, all.bytes) = (there.chunks, there.bytes());
            }
            found.push(all);
        }
        Ok(found)
    }

    /// Moves every store that is not there yet.
    pub fn run(&self, accept_loss: bool, progress: Heard<'_>) -> anyhow::Result<Vec<StoreMoved>> {
        let mut moved = Vec::new();
        for all in self.survey()?.into_iter().filter(|all| !all.is_there) {
            moved.push(self.bring(all.service, all.folder, accept_loss, progress)?);
        }
        let mut ended = Vec::new();
        for (sides, mut moved) in moved {
            moved.before = match sides {
                Sides::Data(sides) => sides.end()?,
                Sides::Manager(sides) => sides.end()?,
            };
            ended.push(moved);
        }
        Ok(ended)
    }

    fn bring(
        &self,
        service: &'static str,
        folder: PathBuf,
        accept_loss: bool,
        progress: Heard<'_>,
    ) -> anyhow::Result<(Sides, StoreMoved)> {
        let mut hear = |stage: Stage, done, total| {
            progress(&format!("{service}: {}", doing(stage)), false, done, total);
            true
        };
        let mut blocks = 0;
        let (sides, moved) = if service == CHAIN_FOLDER {
            let options = self.manager_options(&folder);
            let sides = manager::Sides::open(&folder, &options, &self.to, self.now)?;
            let mut hear_blocks = |stage: Stage, done, total| {
                progress(&format!("{service}: {}", doing(stage)), true, done, total);
                true
            };
            let (moved, chain) = sides.run(accept_loss, &mut hear, &mut hear_blocks)?;
            blocks = chain.blocks;
            (Sides::Manager(Box::new(sides)), moved)
        } else {
            let reading = |done, total| {
                progress(&format!("{service}: reading the log"), false, done, total);
                true
            };
            let sides = data::Sides::open(&folder, &self.data_options(), &self.to, &reading)?;
            let moved = sides.run(accept_loss, &mut hear)?;
            (Sides::Data(Box::new(sides)), moved)
        };
        let moved = StoreMoved {
            service,
            folder,
            facts: moved.facts,
            chunks: moved.chunks,
            chunks_before: moved.chunks_before,
            blocks,
            bytes: moved.chunk_bytes,
            left: moved.left.iter().map(ToString::to_string).collect(),
            digest: moved.digest_text(),
            before: None,
        };
        Ok((sides, moved))
    }
}
