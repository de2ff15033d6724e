//! Sessions in a data folder of this process, with the chain that anchors them beside it.
//!
//! `--data` holds two folders, as a running `lucid up` has them: `data-chain` and `block-manager`. The
//! chain is opened only by the verbs that need it.

mod anchoring;
mod audit;
mod mirror;
mod moving;
mod query;
mod read;
mod reindex;
mod remove;
mod sink;
mod upkeep;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid_block_manager::opened as manager;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::Opened;
use lucid_data_chain::config::SESSION_TIMEOUT_SECONDS;
use lucid_data_chain::opened::{FOLDER_OWNER, SIGNING_KEY};
use lucid_data_chain::ops::proofs::deliver_anchors::waiting_since;
use lucid_data_chain::ops::proofs::recognise_chain::{difference, known_chain};
use lucid_store::StoreError;
use lucid_store::backend::{Given, Pulse};
use lucid_store::clock::Clock;
use lucid_store::files::folder::{Note, Noted, OnlyRead, Options, clock_fault, is_store};
use lucid_store::files::room::Reserve;
use parking_lot::Mutex;

pub use self::moving::{MigrateTo, Moves, StoreMoved, StoreToMove};
pub use self::reindex::{reindex, reindex_records};
use super::door::Door;
use super::{Place, StorageOptions, reading};
use crate::cmd::Home;
use crate::output::Output;

/// The folder of the chain below `--data`.
pub const CHAIN_FOLDER: &str = "block-manager";

/// An open data folder.
pub struct Local {
    /// By which others read meanwhile, if it is open; it is gone before the folder is free.
    door: Option<Door>,
    data: Arc<Opened>,
    home: Home,
    owner: String,
    clock: Clock,
    encrypt: bool,
    /// Why anchors were not delivered, by session.
    undelivered: Mutex<BTreeMap<SessionId, String>>,
}

/// The folder of sessions below `--data`.
pub fn data_folder(home: &Home) -> PathBuf {
    home.data.join(FOLDER_OWNER)
}

/// The folder of the chain below `--data`.
pub fn chain_folder(home: &Home) -> PathBuf {
    home.data.join(CHAIN_FOLDER)
}

/// How much room verbs leave on a disk.
pub fn reserve(home: &Home) -> Reserve {
    home.reserve.map_or(Reserve::Usual, Reserve::Bytes)
}

/// How the folder of the chain is opened for its keys alone.
pub fn chain_options(home: &Home, owner: &str, now: Timestamp) -> Options {
    let (root_key_file, passphrase) = home.given_to(&chain_folder(home));
    Options {
        service: CHAIN_FOLDER,
        signing_key: "block",
        // A profile names the store of sessions.
        expected: None,
        root_key_file,
        passphrase,
        // A chain has no chunks.
        given: Given { bucket: None, ..home.given.clone() },
        ..options(home, owner, now, false, true)
    }
}

/// How a folder of the chain is opened; `owner` says who opens it.
pub fn manager_options(home: &Home, owner: &str, folder: &Path) -> manager::Options {
    let (root_key_file, passphrase) = home.given_to(folder);
    manager::Options {
        owner: owner.to_owned(),
        create: false,
        root_key_file,
        passphrase,
        blocks: home.blocks.clone(),
        reserve: reserve(home),
        given: home.given.clone(),
        ..manager::Options::default()
    }
}

/// How the folder of sessions is opened.
pub fn options(home: &Home, owner: &str, now: Timestamp, create: bool, encrypt: bool) -> Options {
    let (root_key_file, passphrase) = home.given_to(&data_folder(home));
    Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        create,
        expected: home.expected.clone(),
        encrypt,
        root_key_file,
        passphrase,
        owner: owner.to_owned(),
        reserve: reserve(home),
        now: now.to_string(),
        given: home.given.clone(),
    }
}

/// A verb that writes does not believe a clock that services do not believe either: what it wrote would be older
/// than what is there. A service waits until the clock is set; a verb says it.
fn believed(home: &Home, folder: &Path, now: Timestamp) -> Result<(), StoreError> {
    match clock_fault(folder, now.as_micros()) {
        Some(why) if home.reading.is_none() => Err(StoreError::Folder(why)),
        _ => Ok(()),
    }
}

impl Local {
    /// Opens a store that is there.
    pub fn open(home: &Home, verb: &str, clock: &Clock) -> anyhow::Result<Self> {
        Self::with(home, verb, clock, false, true)
    }

    /// Opens a store, and makes it when there is none.
    pub fn create(home: &Home, verb: &str, clock: &Clock, encrypt: bool) -> anyhow::Result<Self> {
        let local = Self::with(home, verb, clock, true, encrypt)?;
        anyhow::ensure!(
            !encrypt || local.data.vault.cipher().is_encrypted(),
            "the store in {} was made without encryption: pass --no-encryption, or name another \
             folder with --data",
            home.data.display()
        );
        Ok(local)
    }

    fn with(
        home: &Home,
        verb: &str,
        clock: &Clock,
        create: bool,
        encrypt: bool,
    ) -> anyhow::Result<Self> {
        let owner = format!("`lucid {verb}`");
        let now = clock.now();
        let (root, options) = (data_folder(home), options(home, &owner, now, create, encrypt));
        believed(home, &root, now)?;
        let data = reading::open(
            home.reading,
            || Opened::open(&root, &options),
            |to_read| Opened::read(&root, &options, to_read),
            |error| Some(error),
        )?;
        let undelivered = Mutex::default();
        let (home, clock) = (home.clone(), clock.clone());
        Ok(Self { door: None, data: Arc::new(data), home, owner, clock, encrypt, undelivered })
    }

    /// Lets other commands read while this one has the folder. Where there can be no door, that is said, and they wait
    /// until this one ends.
    pub fn let_others_read(mut self, output: &Output) -> Self {
        if let Err(error) = self.open_door() {
            output.warn(&format!("{error:#}: nobody can read beside this"));
        }
        self
    }

    /// Opens the folder's local door.
    pub(super) fn open_door(&mut self) -> anyhow::Result<()> {
        if let Some(only_read) = self.data.folder.only_read() {
            anyhow::bail!("{}", only_read.why());
        }
        self.door = Some(Door::open(&self.data, &self.owner, &self.clock)?);
        Ok(())
    }

    /// Tells those who look on that a session is further.
    fn tell(&self, session: &SessionId) {
        if let Some(door) = &self.door {
            door.tell(session);
        }
    }

    fn chain(&self, create: bool) -> anyhow::Result<manager::Opened> {
        if create {
            self.chain_is_at_hand()?;
        }
        let folder = chain_folder(&self.home);
        believed(&self.home, &folder, self.clock.now())?;
        let options = manager::Options {
            create,
            encrypt: self.encrypt && self.data.vault.cipher().is_encrypted(),
            ..manager_options(&self.home, &self.owner, &folder)
        };
        Ok(reading::open(
            self.home.reading,
            || manager::open(&folder, &options, self.clock.now()),
            |to_read| manager::read(&folder, &options, self.clock.now(), to_read),
            manager::OpenError::store,
        )?)
    }

    /// Whether a chain may be made if there is none: not where this store's anchors are in one already.
    pub fn chain_is_at_hand(&self) -> anyhow::Result<()> {
        let folder = chain_folder(&self.home);
        if is_store(&folder)? {
            return Ok(());
        }
        let Opened { vault, key, .. } = &*self.data;
        match known_chain(vault, &key.public())? {
            None => Ok(()),
            Some(known) => {
                anyhow::bail!(
                    "{} is no block-manager's: {}",
                    folder.display(),
                    difference(&known, None)
                )
            }
        }
    }

    /// A live stream that took nothing since then is unterminated: a folder has no settings, so this is
    /// as long as a service waits that was told nothing else.
    fn quiet_since(&self) -> Timestamp {
        self.clock.now().plus_seconds(-(SESSION_TIMEOUT_SECONDS as i64))
    }

    /// How the servers are that have what is not in the folder.
    pub fn pulse(&self) -> Vec<Pulse> {
        self.data.folder.pulse()
    }

    /// Since when the oldest anchor or tombstone waits.
    pub fn waiting_since(&self) -> anyhow::Result<Option<Timestamp>> {
        Ok(waiting_since(&self.data.vault, &self.data.key.public())?)
    }

    /// What of that a store without keys can do.
    fn honoured(&self, asked: StorageOptions) -> StorageOptions {
        let encrypt = asked.encrypt && self.data.vault.cipher().is_encrypted();
        StorageOptions { encrypt, ..asked }
    }
}

impl Place for Local {
    fn store(&self) -> anyhow::Result<Option<String>> {
        Ok(Some(self.data.store_id()))
    }

    fn damage(&self) -> Vec<String> {
        self.data.damage().iter().map(|damage| format!("{FOLDER_OWNER}/{damage}")).collect()
    }

    fn loss(&self) -> Option<String> {
        self.data.vault.loss()
    }

    fn only_read(&self) -> Option<&OnlyRead> {
        self.data.folder.only_read()
    }

    fn note(&self, what: Noted, is_sound: bool, about: &str) -> anyhow::Result<()> {
        let note = Note { at: self.clock.now(), is_sound, about: about.to_owned() };
        Ok(self.data.folder.note(what, &note)?)
    }

    fn own_folder(&self) -> Option<PathBuf> {
        Some(self.home.data.clone())
    }

    fn close(mut self: Box<Self>) -> anyhow::Result<()> {
        self.door = None;
        Ok(self.data.vault.close()?)
    }
}
