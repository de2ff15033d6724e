//! A data folder of the operating system: one that is made, opened or found, with its owner's lock and the
//! store's identity.
//!
//! The few files that everything else hangs on (`STORE` and those in `keys/`) are kept twice, each with
//! its own checksum, so one flipped byte or one lost file is named and costs nothing.
//!
//! The tests of all its rooms are here, since they share their folders.

mod aside;
pub(crate) mod ballast;
mod clock;
mod elsewhere;
mod expected;
mod identity;
pub mod keys;
mod label;
mod link;
mod lock;
mod making;
mod moving;
mod notes;
mod reading;
mod succession;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::backend::servers::Servers;
use crate::backend::{Given, Kept, Pulse};
use crate::contract::index::Index;
use crate::crypt::{Cipher, Secret};
use crate::files::disk::Disk;
use crate::files::disk::real::RealDisk;
use crate::files::index::EmbeddedIndex;
use crate::files::room::Reserve;
use crate::{Damage, StoreError};
pub use aside::change_aside;
pub use clock::{CLOCK_AGAIN, clock_fault};
pub use expected::{Expected, StoreId};
pub(crate) use identity::store_id;
use identity::{create, read_key, read_store};
use keys::DataKeys;
pub use keys::{KeyExport, Passphrase};
#[cfg(test)]
pub(crate) use label::Labels;
pub use label::{Lines, copy_name, parse_label, read_copy};
use lock::lock;
use making::{MAKING, begin_making, close_folders, end_making, make_folder, refuse_leftovers};
pub use moving::{BEFORE_MOVE, MOVING_INDEX, MOVING_INDEX_HERE, kept_in};
pub use notes::{Note, Noted};
pub(crate) use reading::unwritable;
pub use reading::{Beside, OnlyRead, ToRead, beside};
pub use succession::{bequeath, exchange, has_succeeded, is_to_succeed};

/// The file that says which store this is.
pub const STORE: &str = "STORE";
/// The folder of keys.
pub const KEYS: &str = "keys";
/// The root key's file, unless it is kept elsewhere.
pub const ROOT_KEY: &str = "root.key";
/// The file of the wrapped data keys.
pub const DATA_KEYS: &str = "data.keys";
/// The first line of `STORE`.
pub const STORE_TITLE: &str = "lucid-store/v1";
/// The first line of a file with one key.
pub const KEY_TITLE: &str = "lucid-key/v1";
/// The first line of the data keys' file.
pub const DATA_KEYS_TITLE: &str = "lucid-data-keys/v1";
/// The folder outside of verification: the lock.
pub const RUN: &str = "run";
/// The folder of the derived index.
pub const INDEX: &str = "index";
/// The folder of an index that is used for a trial, and removed.
pub const TRIAL_INDEX: &str = "index-trial";

/// How a folder is to be opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The service that owns such folders: `data-chain` or `block-manager`.
    pub service: &'static str,
    /// What the key that signs is for: `recorder` or `block`.
    pub signing_key: &'static str,
    /// Whether a folder that holds no store may become one.
    pub create: bool,
    /// Which store it has to hold, if that is known; then none is made.
    pub expected: Option<Expected>,
    /// Whether a new store is encrypted.
    pub encrypt: bool,
    /// A file with the root key, instead of the one in the folder. A new store is made under it; then the
    /// file is made too, if it is not there.
    pub root_key_file: Option<PathBuf>,
    /// The passphrase, for a store whose keys are wrapped under one. A new store is made under it.
    pub passphrase: Option<Passphrase>,
    /// Who opens it, to be named to another process that finds it locked: `lucid up on http://127.0.0.1:8087`.
    pub owner: String,
    /// How much room stays free for what gives some back.
    pub reserve: Reserve,
    /// The moment a new store is made, RFC 3339.
    pub now: String,
    /// What of the store is elsewhere, as the settings say.
    pub given: Given,
}

/// An open data folder: locked, or [only read](ToRead).
pub struct DataFolder {
    /// Where it is.
    pub root: PathBuf,
    /// Its files.
    pub disk: Arc<dyn Disk>,
    /// The store's id.
    pub store: [u8; 16],
    /// Makes its records and reads them.
    pub cipher: Arc<Cipher>,
    /// The seed of the key that signs.
    pub signing_seed: Secret,
    /// Whether an export of its root key was verified.
    pub key_export: KeyExport,
    /// What is wrong with the files read so far.
    pub damage: Vec<Damage>,
    /// Whether the store was made just now.
    pub is_new: bool,
    /// What is kept where.
    pub kept: Kept,
    servers: Option<Arc<Servers>>,
    only_read: Option<OnlyRead>,
    _lock: Option<File>,
}

impl DataFolder {
    /// Opens a folder, and makes it a store when it is none and may become one.
    pub fn open(root: &Path, options: &Options) -> Result<Self, StoreError> {
        let mut servers = None;
        if !is_store(root)? {
            may_become_one(root, options)?;
            // Nothing is made before everything was seen to be there that will be needed.
            servers = Servers::reach(&options.given, options.service)?;
            if let Some(servers) = &servers {
                servers.try_bucket(false)?;
                if let Some(lock) = servers.lock() {
                    let disk = RealDisk::for_reading(root);
                    elsewhere::look(&disk, options, servers, lock.as_ref())?;
                }
            }
        }
        make_folder(root).map_err(|error| StoreError::unwritable(root, error))?;
        link::check(root)?;
        let lock = lock(root, options).map_err(|error| StoreError::unwritable(root, error))?;
        let real: Arc<dyn Disk> = Arc::new(RealDisk::new(root).keeping(options.reserve));
        let disk = real.as_ref();
        // Asked once more: the process that held the lock until now may have made the store.
        let is_new = !is_store(root)?;
        if is_new {
            may_become_one(root, options)?;
            let database = servers.as_ref().and_then(|servers| Some((servers, servers.lock()?)));
            match database {
                // Its keys are given, or are the next start's, too: none is ever put away.
                Some((servers, lock)) => {
                    refuse_leftovers(disk, root)?;
                    elsewhere::create(disk, options, servers, lock.as_ref())?;
                }
                None => {
                    begin_making(disk, root)?;
                    if let Err(refused) = create(disk, options) {
                        // Nothing was interrupted: what is there, or is put there meanwhile, is the next start's.
                        end_making(disk, root)?;
                        return Err(refused);
                    }
                }
            }
        }
        end_making(disk, root)?;
        close_folders(root);
        ballast::settle(disk);
        let opened = Self::with_keys(root, options, real, servers, true)?;
        Ok(Self { is_new, _lock: Some(lock), ..opened })
    }

    /// Reads which store it is, and its keys. `settle`: what a crash interrupted among the keys is
    /// finished.
    fn with_keys(
        root: &Path,
        options: &Options,
        disk: Arc<dyn Disk>,
        servers: Option<Arc<Servers>>,
        settle: bool,
    ) -> Result<Self, StoreError> {
        let mut damage = Vec::new();
        let store = read_store(disk.as_ref(), options, &mut damage)?;
        if let Some(expected) = &options.expected {
            expected.is_it(root, store.id)?;
        }
        keys::fit(options, store.keyed)?;
        options.given.fits(root, store.kept)?;
        let signing_name = format!("{}.key", options.signing_key);
        let signing_seed = read_key(disk.as_ref(), &signing_name, "ed25519", &mut damage)?;
        let servers = match servers {
            Some(servers) => Some(servers),
            None => Servers::reach(&options.given, options.service)?,
        };
        let lock = servers.as_ref().and_then(|servers| servers.lock());
        if let (Some(servers), Some(lock)) = (&servers, &lock) {
            elsewhere::check(options, servers, lock.as_ref(), store.id, &signing_seed)?;
            if settle {
                elsewhere::claim(root, options, servers, lock.as_ref(), &store)?;
            }
        }
        let (cipher, key_export) = if store.keyed {
            let keys = match &lock {
                Some(lock) => {
                    DataKeys::open_elsewhere(lock.as_ref(), disk.as_ref(), options, &mut damage)?
                }
                None => DataKeys::open(disk.as_ref(), options, &mut damage)?,
            };
            let keyring = keys.keyring()?;
            match (&lock, settle) {
                (Some(_), true) => keys::keep_copy(disk.as_ref(), &keys)?,
                (None, true) => keys::settle(disk.as_ref(), &keys)?,
                (_, false) => {}
            }
            let key_export = KeyExport::known(disk.as_ref(), &keys, &mut damage);
            (Cipher::new(Some(keyring)), key_export)
        } else {
            (Cipher::new(None), KeyExport::NotEncrypted)
        };
        Ok(Self {
            root: root.to_owned(),
            disk,
            store: store.id,
            cipher: Arc::new(cipher),
            signing_seed,
            key_export,
            damage,
            is_new: false,
            kept: store.kept,
            servers,
            only_read: None,
            _lock: None,
        })
    }

    /// The servers that have what is not in the folder.
    pub(crate) fn servers(&self) -> Option<&Servers> {
        self.servers.as_deref()
    }

    /// What people know the servers by that have what is not in the folder; no name of a user and no secret.
    pub fn elsewhere(&self) -> Vec<String> {
        self.servers.as_ref().map(|servers| servers.titles()).unwrap_or_default()
    }

    /// How these servers are: it waits for their answers.
    pub fn pulse(&self) -> Vec<Pulse> {
        self.servers.as_ref().map(|servers| servers.pulse()).unwrap_or_default()
    }

    /// Opens the index, or what stands for it where it may not be written to.
    pub fn index(&self) -> Result<Arc<dyn Index>, StoreError> {
        match &self.only_read {
            None => Ok(Arc::new(EmbeddedIndex::open(&self.index_folder())?)),
            Some(only_read) => only_read.index(&self.index_folder(), true),
        }
    }

    /// Where the index is.
    pub fn index_folder(&self) -> PathBuf {
        self.root.join(INDEX)
    }

    /// Throws the index away, regardless of its state; the next opening builds it anew.
    pub fn remove_index(&self) -> Result<(), StoreError> {
        remove(&self.index_folder())
    }

    /// Works with an index that has followed nothing, beside the one in use, and removes it afterwards.
    pub fn with_trial_index<T>(
        &self,
        work: impl FnOnce(Arc<dyn Index>) -> T,
    ) -> Result<T, StoreError> {
        let folder = self.root.join(TRIAL_INDEX);
        // What a process left that was killed.
        remove(&folder)?;
        let done = EmbeddedIndex::open(&folder).map(|index| work(Arc::new(index)));
        remove(&folder)?;
        done
    }
}

fn remove(index: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(index) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io(format!("removing {}", index.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Whether the folder holds a whole store. `STORE` is the last file to be made. That it may not be
/// looked into is another answer than no.
pub fn is_store(root: &Path) -> Result<bool, StoreError> {
    let is_there = |path: PathBuf| {
        path.try_exists().map_err(StoreError::io(format!("looking into {}", root.display())))
    };
    if is_there(root.join(STORE))? {
        return Ok(true);
    }
    Ok(!is_there(root.join(RUN).join(MAKING))? && is_there(root.join(copy_name(STORE)))?)
}

/// Which store a folder holds, beside its owner and without any key. Another one than is expected is refused.
pub fn identify(root: &Path, options: &Options) -> Result<StoreId, StoreError> {
    if !is_store(root)? {
        return Err(no_store(root));
    }
    let found = read_store(&RealDisk::for_reading(root), options, &mut Vec::new())?.id;
    if let Some(expected) = &options.expected {
        expected.is_it(root, found)?;
    }
    Ok(StoreId(found))
}

/// The beginnings of the files by which a store is known, wherever it is: its label, and the copy of that.
/// A store holds its own keys, so a walk that archives folders leaves it out.
pub fn labels() -> [String; 2] {
    [STORE.to_owned(), copy_name(STORE)]
}

/// Whether a file by one of the [`labels`] names a store, by its first bytes.
pub fn begins_label(bytes: &[u8]) -> bool {
    bytes.starts_with(STORE_TITLE.as_bytes())
}

/// Whether a folder is a store of any service, regardless of who made it, as far as it may be looked into.
pub fn holds_store(folder: &Path) -> bool {
    labels().iter().any(|name| {
        let mut bytes = [0; STORE_TITLE.len()];
        let how = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        File::options()
            .read(true)
            .custom_flags(how)
            .open(folder.join(name))
            .and_then(|mut file| file.read_exact(&mut bytes))
            .is_ok_and(|()| begins_label(&bytes))
    })
}

/// The store that a path is, or is in: links are followed, and every folder upwards is asked.
pub fn store_around(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    path.ancestors().find(|folder| holds_store(folder)).map(Path::to_path_buf)
}

/// Refuses to make a store where there is none: nothing is in the folder then that was not there before.
fn may_become_one(root: &Path, options: &Options) -> Result<(), StoreError> {
    match &options.expected {
        // A database says itself which store it is, and an empty disk is a copy of that one then.
        Some(_) if options.create && options.given.mongo.is_some() => Ok(()),
        Some(expected) => Err(expected.missing(root)),
        None if !options.create => Err(no_store(root)),
        None => Ok(()),
    }
}

fn no_store(root: &Path) -> StoreError {
    StoreError::Folder(format!(
        "{} holds no Lucid store; `lucid archive PATH` makes one, --data names another",
        root.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        /// The folders that were synced, each with the names that were in it then.
        static SYNCED: RefCell<Vec<(PathBuf, Vec<PathBuf>)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note_sync(folder: &Path) {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().path()).collect();
        SYNCED.with_borrow_mut(|synced| synced.push((folder.to_owned(), names)));
    }

    /// Of these paths, those whose names no sync of their folder has made durable since this was asked last.
    fn lost_by_a_power_cut(paths: &[PathBuf]) -> Vec<PathBuf> {
        let synced = SYNCED.take();
        let is_durable = |path: &PathBuf| synced.iter().any(|(_, names)| names.contains(path));
        paths.iter().filter(|path| !is_durable(path)).cloned().collect()
    }

    pub(super) fn options(service: &'static str) -> Options {
        Options {
            service,
            signing_key: "recorder",
            create: true,
            expected: None,
            encrypt: false,
            root_key_file: None,
            passphrase: None,
            owner: "a test".into(),
            reserve: Default::default(),
            now: "2026-01-01T00:00:00Z".into(),
            given: Default::default(),
        }
    }

    #[test]
    fn every_folder_that_is_made_on_the_way_is_durable_in_the_one_above_it() {
        let home = tempfile::tempdir().unwrap();
        let below = |names: &[&str]| {
            let mut at = home.path().to_owned();
            names
                .iter()
                .map(|name| {
                    at.push(name);
                    at.clone()
                })
                .collect::<Vec<_>>()
        };
        let root = below(&["a", "b", "c"]);
        let chain = below(&["chain"]);
        let chunks = below(&["disk-1", "far", "chunks"]);
        let blocks = below(&["disk-2", "far", "blocks"]);

        let folder = DataFolder::open(&root[2], &options("data-chain")).unwrap();
        assert_eq!(lost_by_a_power_cut(&root), Vec::<PathBuf>::new());
        folder.keep_chunks_in(&chunks[2]).unwrap();
        let linked = [chunks.clone(), vec![root[2].join("chunks")]].concat();
        assert_eq!(lost_by_a_power_cut(&linked), Vec::<PathBuf>::new());

        let folder = DataFolder::open(&chain[0], &options("block-manager")).unwrap();
        assert_eq!(lost_by_a_power_cut(&chain), Vec::<PathBuf>::new());
        folder.keep_blocks_in(&blocks[2]).unwrap();
        let linked = [blocks.clone(), vec![chain[0].join("blocks")]].concat();
        assert_eq!(lost_by_a_power_cut(&linked), Vec::<PathBuf>::new());
        // What is there already is not made again, and nothing tells it from what is missing.
        assert_eq!(lost_by_a_power_cut(&blocks), blocks);
    }

    #[test]
    fn a_folder_that_a_killed_start_left_is_made_durable_by_the_next_one() {
        for there in 1..=3 {
            let home = tempfile::tempdir().unwrap();
            let paths = ["a", "a/b", "a/b/c"].map(|name| home.path().join(name));
            for path in &paths[..there] {
                std::fs::create_dir(path).unwrap();
            }
            DataFolder::open(&paths[2], &options("data-chain")).unwrap();
            // Those above the last one were durable before that was made.
            assert_eq!(lost_by_a_power_cut(&paths[there - 1..]), Vec::<PathBuf>::new(), "{there}");
        }
    }
}
