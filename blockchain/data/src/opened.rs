//! A data-chain's folder, opened: the parts that the ops take as parameters.
//!
//! One process owns a folder. The command line opens it for one verb, the service for as long as it
//! runs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::backend::{Keeper, opening};
use lucid_store::clock::{ClockDrift, Moment};
use lucid_store::contract::fact_log::Position;
use lucid_store::contract::index::Index;
use lucid_store::files::Limits;
use lucid_store::files::UnopenedStore;
use lucid_store::files::folder::keys::export_warning;
use lucid_store::files::folder::{DataFolder, Options, ToRead};
use lucid_store::vault::Vault;
use lucid_store::{Damage, StoreError};
use parking_lot::{Mutex, MutexGuard};

use crate::projection::{RemadeOrders, SessionProjection};
use crate::row::orders::{WITH_BEGINNINGS, sessions_in_order_key};

/// The service's name, in `STORE` and on the wire.
pub const FOLDER_OWNER: &str = "data-chain";
/// What the key that signs anchors is for.
pub const SIGNING_KEY: &str = "recorder";

/// An open data folder of a data-chain.
pub struct Opened {
    /// Facts and chunks.
    pub vault: Vault,
    /// Signs anchor transactions.
    pub key: SigningKey,
    /// Spares writers of one session looking twice.
    pub locks: SessionLocks,
    /// The folder itself, locked while this lives.
    pub folder: DataFolder,
}

impl Opened {
    /// Opens a folder and recovers what it holds.
    pub fn open(root: &Path, options: &Options) -> Result<Self, StoreError> {
        Self::open_watched(root, options, None, &|_, _| true)
    }

    /// The same of a folder whose segments may be kept elsewhere, in `chunks`. `progress` hears how many
    /// bytes of the log, of how many that have to be, are read, and ends the opening by `false`.
    pub fn open_watched(
        root: &Path,
        options: &Options,
        chunks: Option<&Path>,
        progress: &dyn Fn(u64, u64) -> bool,
    ) -> Result<Self, StoreError> {
        let folder = DataFolder::open(root, options)?;
        if let Some(chunks) = chunks {
            if folder.kept.chunks != Keeper::Folder {
                return Err(StoreError::Folder(format!(
                    "the chunks of this store are in a bucket, and {} is named for them: unset \
                     DATA_CHAIN_CHUNK_STORAGE_PATH",
                    chunks.display()
                )));
            }
            folder.keep_chunks_in(chunks)?;
        }
        Self::from_folder(folder, false, progress)
    }

    /// Opens a folder that nothing is written to.
    pub fn read(root: &Path, options: &Options, to_read: &ToRead) -> Result<Self, StoreError> {
        Self::from_folder(DataFolder::read(root, options, to_read)?, false, &|_, _| true)
    }

    /// Makes the orders of documents anew, from the rows that are there. Nobody may write meanwhile.
    pub fn remake_orders(&self) -> Result<RemadeOrders, StoreError> {
        let projection = SessionProjection::new(self.folder.cipher.clone(), self.key.public());
        projection.remake_orders(self.vault.index())
    }

    /// Throws the index away and builds it from the log and the segments. `accept_loss`: go on even
    /// if acknowledged facts are missing from the log. `progress` hears how many bytes of the log, of
    /// how many, are read.
    pub fn reindex(
        root: &Path,
        options: &Options,
        accept_loss: bool,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Self, StoreError> {
        let folder = DataFolder::open(root, options)?;
        folder.remove_index()?;
        Self::from_folder(folder, accept_loss, &|done, total| {
            progress(done, total);
            true
        })
    }

    fn from_folder(
        folder: DataFolder,
        accept_loss: bool,
        progress: &dyn Fn(u64, u64) -> bool,
    ) -> Result<Self, StoreError> {
        let key = SigningKey::from_seed(*folder.signing_seed);
        let join = |index: Arc<dyn Index>| {
            mark_new_index(index.as_ref())?;
            let unopened = UnopenedStore {
                disk: folder.disk.clone(),
                store: folder.store,
                cipher: folder.cipher.clone(),
                index,
                project: Arc::new(SessionProjection::new(folder.cipher.clone(), key.public())),
                accept_loss,
                limits: Limits::default(),
            };
            opening::open(&folder, unopened, progress)?.whole()
        };
        let vault = folder.join(join, |error| Some(error))?;
        Ok(Self { vault, key, locks: SessionLocks::default(), folder })
    }

    /// What tells this store from every other, in hex, as its file `STORE` has it.
    pub fn store_id(&self) -> String {
        hex::encode(self.folder.store)
    }

    /// What its operator is to be warned of as to an export of the root key, if anything.
    pub fn export_warning(&self) -> Option<String> {
        export_warning(&[(self.folder.root.clone(), self.folder.key_export.clone())])
    }

    /// Damage found while opening and since.
    pub fn damage(&self) -> Vec<Damage> {
        let mut damage = self.folder.damage.clone();
        damage.extend(self.vault.damage());
        damage
    }

    /// Ends in order; dropping does the same, but can tell nobody how it went.
    pub fn close(self) -> Result<(), StoreError> {
        self.vault.close()
    }
}

/// How many sessions can be written to at once, at most.
const STRIPES: usize = 1_024;
/// Live streams over which the clock is watched at once, at most: some megabytes. One more, and all are
/// watched anew: that the clock went back before is lost then, as with a restart, where neither marks nor
/// the time of the last append show it.
const WATCHED_MAX: usize = 65_536;

/// Keeps writers of one session apart, so that none of them has to look twice. Nothing rests on it: a
/// submission says what it rests on, and is refused where that has changed. With the feature `no-locks`,
/// which only tests have reason to ask for, no writer waits for another.
pub struct SessionLocks {
    stripes: Vec<Mutex<()>>,
    /// Manifests form a chain, so sessions are best sealed one at a time.
    seal: Option<Mutex<()>>,
    /// When those that are being filled were last heard of.
    news: Mutex<HashMap<SessionId, Timestamp>>,
    /// How our own clock goes while timed streams come. Sealing forgets, since what it told is in the
    /// timeline then.
    clocks: Mutex<HashMap<SessionId, ClockDrift>>,
    /// The session that the read log is written to.
    log: Mutex<Option<SessionId>>,
}

impl Default for SessionLocks {
    fn default() -> Self {
        if cfg!(feature = "no-locks") {
            return Self::none();
        }
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Self { stripes, seal: Some(Mutex::new(())), ..Self::none() }
    }
}

impl SessionLocks {
    /// No locks at all: no writer waits for another.
    pub fn none() -> Self {
        Self {
            stripes: Vec::new(),
            seal: None,
            news: Mutex::default(),
            clocks: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// Waits until nobody else writes to the session, where there are locks.
    pub fn hold(&self, session: &SessionId) -> Option<MutexGuard<'_, ()>> {
        let hash = blake3::hash(session.as_str().as_bytes());
        let [a, b, ..] = *hash.as_bytes();
        let stripe = usize::from(u16::from_le_bytes([a, b])) % STRIPES;
        self.stripes.get(stripe).map(Mutex::lock)
    }

    /// Waits until nobody else seals, where there are locks.
    pub fn hold_seal(&self) -> Option<MutexGuard<'_, ()>> {
        self.seal.as_ref().map(Mutex::lock)
    }

    /// Notes that a client is filling a session.
    pub fn note_news(&self, session: &SessionId, now: Timestamp) {
        self.news.lock().insert(session.clone(), now);
    }

    /// Whether a client was filling a session since then, as far as this process knows.
    pub fn has_news(&self, session: &SessionId, since: Timestamp) -> bool {
        self.news.lock().get(session).is_some_and(|last| *last >= since)
    }

    /// By how many microseconds our own clock went back since a session was first watched, if that was
    /// not noted.
    pub fn watch_clock(&self, session: &SessionId, now: &Moment) -> u64 {
        let mut clocks = self.clocks.lock();
        if clocks.len() >= WATCHED_MAX && !clocks.contains_key(session) {
            clocks.clear();
        }
        clocks.entry(session.clone()).or_default().went_back(now)
    }

    /// The same of a session that is watched already.
    pub fn clock_back(&self, session: &SessionId, now: &Moment) -> u64 {
        self.clocks.lock().get_mut(session).map_or(0, |clock| clock.went_back(now))
    }

    /// Notes that the session's marks say so.
    pub fn note_back(&self, session: &SessionId, back: u64) {
        if let Some(clock) = self.clocks.lock().get_mut(session) {
            clock.note(back);
        }
    }

    /// Ends watching.
    pub fn forget_clock(&self, session: &SessionId) {
        self.clocks.lock().remove(session);
    }

    /// Keeps a session for the read log from now on, instead of the one before.
    pub fn keep_for_log(&self, session: &SessionId) {
        *self.log.lock() = Some(session.clone());
    }

    /// Whether the read log is written to a session.
    pub fn is_log(&self, session: &SessionId) -> bool {
        self.log.lock().as_ref() == Some(session)
    }

    /// Forgets what is older.
    pub fn forget_news(&self, before: Timestamp) {
        self.news.lock().retain(|_, last| *last >= before);
    }
}

/// Marks an index that nothing was projected into yet: the sessions of this store will stand in their orders.
pub fn mark_new_index(index: &dyn Index) -> Result<(), StoreError> {
    let key = sessions_in_order_key();
    if index.get(&key)?.is_none() && Position::of(index)?.is_none() {
        index.write(vec![(key, Some(WITH_BEGINNINGS.to_vec()))])?;
    }
    Ok(())
}
