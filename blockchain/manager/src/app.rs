//! What the service's rooms share: the open block-manager, once it is open.
//!
//! Handlers and workers get at it through [`App::run`], which takes the op off the async threads.
//! Until the folder is open, requests are answered with `unavailable` and health with `starting`.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::maintenance::JobKind;
use lucid_api::v1::service::ProcessStatus;
use lucid_api::v1::sync::SyncStatus;
use lucid_http::budget::{Budget, kept};
use lucid_http::errand::Errand;
use lucid_http::health::HealthReport;
use lucid_http::jobs::Jobs;
use lucid_http::places::{Places, RequestPlace};
use lucid_http::process::Folders;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::serve::Shutdown;
use lucid_http::telemetry::Page;
use lucid_store::clock::Clock;
use lucid_store::contract::chain::{ChainStore, Tip};
use lucid_store::files::folder::DataFolder;
use lucid_store::{StoreError, backend};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::config::SERVICE;
use crate::follower::Follower;
use crate::limits::{LARGE_MAX, LOOKUPS_MAX, OPS_MAX, RELAYS_MAX};
use crate::maintenance::Maintenance;
use crate::opened::Opened;
use crate::ops::maintain_chain::known_suspects;
use crate::problems;
use crate::workers::pulse;

/// Shared by everything that runs. Cloning shares it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    opened: OnceLock<Opened>,
    started: Instant,
    shutdown: Shutdown,
    pool_is_full: Notify,
    producing_fault: Mutex<Option<String>>,
    block_interval: Duration,
    relays: Arc<Semaphore>,
    ops: Places,
    large: Places,
    lookups: Places,
    /// Memory for replies that their callers have not read yet.
    replies: Budget,
    follower: OnceLock<Follower>,
    folders: OnceLock<Folders>,
    /// Validating, and what the start waits for.
    jobs: Jobs,
    maintenance: Maintenance,
    /// So many bodies are kept at least; 0 keeps all.
    keep: u64,
    pulse: Mutex<Option<Pulse>>,
    servers: Mutex<Vec<backend::Pulse>>,
    newest: Mutex<Newest>,
}

/// The newest block, and its time as it spells it.
type Newest = (Option<Tip>, Option<String>);

/// What was felt when the newest block was last read.
struct Pulse {
    at: Instant,
    storage: Option<String>,
    validator: Option<String>,
}

impl App {
    /// Nothing is open yet. `keep` bodies are kept at least; 0 keeps all.
    pub fn new(shutdown: &Shutdown, clock: Clock, block_interval: Duration, keep: u64) -> Self {
        Self(Arc::new(Shared {
            opened: OnceLock::new(),
            started: Instant::now(),
            shutdown: shutdown.clone(),
            pool_is_full: Notify::new(),
            producing_fault: Mutex::new(None),
            block_interval,
            relays: Arc::new(Semaphore::new(RELAYS_MAX)),
            ops: Places::new("requests", OPS_MAX),
            large: Places::new("large answers", LARGE_MAX),
            lookups: Places::new("look-ups", LOOKUPS_MAX),
            replies: Budget::default(),
            follower: OnceLock::new(),
            folders: OnceLock::new(),
            jobs: Jobs::new(&[JobKind::Validate], shutdown.clone(), move || {
                clock.now().to_string()
            }),
            maintenance: Maintenance::default(),
            keep,
            pulse: Mutex::new(None),
            servers: Mutex::default(),
            newest: Mutex::default(),
        }))
    }

    /// Start-up is complete. The first one counts.
    pub fn set_opened(&self, opened: Opened) {
        match known_suspects(&opened.vault) {
            Ok(suspects) => self.0.maintenance.remember(suspects),
            Err(error) => tracing::error!(%error, "it is not known which blocks broke a rule"),
        }
        // Only start-up sets it, once.
        let _already = self.0.opened.set(opened);
    }

    /// The open block-manager.
    pub fn opened(&self) -> Option<&Opened> {
        self.0.opened.get()
    }

    /// Says whom it follows. The first one counts.
    pub fn set_follower(&self, follower: Follower) {
        // Only start-up sets it, once.
        let _already = self.0.follower.set(follower);
    }

    /// The block-manager that it follows, if one is set.
    pub fn follower(&self) -> Option<&Follower> {
        self.0.follower.get()
    }

    /// Says where it keeps what it has, to tell how full the disks are. The first one counts.
    pub fn set_folders(&self, folders: Folders) {
        // Only start-up sets it, once.
        let _already = self.0.folders.set(folders);
    }

    /// What the process takes of its machine. It may block.
    pub fn process(&self) -> ProcessStatus {
        self.0.folders.get().map(Folders::status).unwrap_or_default()
    }

    /// How synchronisation is; of an authority that it is disabled.
    pub async fn sync_status(&self) -> Reply<SyncStatus> {
        let app = self.clone();
        self.run(move |manager| match app.follower() {
            Some(follower) => follower.status(manager).map_err(problems::store),
            None => Ok(SyncStatus::default()),
        })
        .await
    }

    /// Runs an op of a request where it may block. What its request holds of memory is held until it ends,
    /// even if its caller has left.
    pub async fn run<T: Send + 'static>(
        &self,
        op: impl FnOnce(&Opened) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let held = (self.0.ops.wait().await, kept());
        self.run_blocking(move |opened| {
            let _held = held;
            op(opened)
        })
        .await
    }

    /// Runs an op like [`Self::run`], for an answer that may be large: few are made at once.
    pub async fn run_large(
        &self,
        op: impl FnOnce(&Opened) -> Reply<Vec<u8>> + Send + 'static,
    ) -> Reply<Vec<u8>> {
        let place = self.large_place().await?;
        let (bytes, _place) = self.run(move |opened| Ok((op(opened)?, place))).await?;
        Ok(bytes)
    }

    /// A place for an answer that may be large.
    pub async fn large_place(&self) -> Reply<RequestPlace> {
        self.0.large.take().await
    }

    /// Writes onto a page of `/metrics` how many places for work are taken.
    pub fn show_places(&self, page: &mut Page) {
        for places in [&self.0.ops, &self.0.large, &self.0.lookups] {
            places.show(page, SERVICE.name);
        }
    }

    /// The memory that all replies share.
    pub fn replies(&self) -> &Budget {
        &self.0.replies
    }

    /// Counts an answer until it is sent, for a route that says more of a refusal than the porch does, which
    /// counts all other answers. Refused as busy where others hold all the memory for too long.
    pub async fn until_sent(&self, bytes: Vec<u8>) -> Reply<Bytes> {
        let mut held = self.0.replies.nothing();
        held.take(bytes.len()).await?;
        Ok(held.around(bytes))
    }

    /// Runs an op like [`Self::run`], for one that reads the block of a transaction: few do at once. What it
    /// returns must not hold on to that block.
    pub async fn look_up<T: Send + 'static>(
        &self,
        op: impl FnOnce(&Opened) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let place = self.0.lookups.take().await?;
        self.run(move |opened| {
            let _place = place;
            op(opened)
        })
        .await
    }

    /// Runs an op on a thread that may block, at once: what the service does by itself waits for no request.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        op: impl FnOnce(&Opened) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let (app, errand) = (self.clone(), Errand::current());
        let ran = tokio::task::spawn_blocking(move || match app.opened() {
            Some(opened) => errand.run(|| op(opened)),
            None => Err(Refusal::new(ErrorCode::Unavailable, "the service is starting")),
        });
        ran.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an operation panicked");
            Err(Refusal::new(ErrorCode::Internal, "the operation failed"))
        })
    }

    /// Whole seconds since start-up began.
    pub fn uptime_seconds(&self) -> u64 {
        self.0.started.elapsed().as_secs()
    }

    /// The long work that goes on, and what the start waits for.
    pub fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// The wish to end.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// A place for a request that is handed on, if one is free.
    pub fn relay_place(&self) -> Option<OwnedSemaphorePermit> {
        self.0.relays.clone().try_acquire_owned().ok()
    }

    /// How long a transaction waits for its block at most.
    pub fn block_interval(&self) -> Duration {
        self.0.block_interval
    }

    /// Asks for a block before its time.
    pub fn pool_is_full(&self) -> &Notify {
        &self.0.pool_is_full
    }

    /// The upkeep of the chain.
    pub fn maintenance(&self) -> &Maintenance {
        &self.0.maintenance
    }

    /// So many bodies are kept at least; 0 keeps all.
    pub fn keep(&self) -> u64 {
        self.0.keep
    }

    /// Notes why the newest block cannot be read, and why it cannot be judged; `None` where it can.
    pub fn note_pulse(&self, storage: Option<String>, validator: Option<String>) {
        *self.0.pulse.lock() = Some(Pulse { at: Instant::now(), storage, validator });
    }

    /// Notes how the servers are that have what is not in the folder.
    pub fn note_servers(&self, servers: Vec<backend::Pulse>) {
        *self.0.servers.lock() = servers;
    }

    /// What of the store is kept where, and by what people know that.
    pub fn kept(opened: &Opened) -> Value {
        let at = opened.folder().map(DataFolder::elsewhere).unwrap_or_default();
        let log = opened.kept().log.word();
        json!({ "log": log, "blocks": log, "at": at })
    }

    /// The newest block, if that is known without reading.
    pub fn newest(&self, chain: &dyn ChainStore) -> Option<Newest> {
        let tip = chain.tip().ok()?;
        let newest = self.0.newest.lock();
        (newest.0 == tip).then(|| newest.clone())
    }

    /// Reads the newest block, and remembers it.
    pub fn read_newest(&self, chain: &dyn ChainStore) -> Reply<Newest> {
        let tip = chain.tip().map_err(problems::store)?;
        let stored = match tip.map(|tip| chain.record(tip.height)).transpose() {
            // The chain's height is known even so; health says what is wrong.
            Err(StoreError::Damaged(_)) => return Ok((tip, None)),
            stored => stored.map_err(problems::store)?,
        };
        let newest = (tip, stored.flatten().map(|stored| stored.record.entry.timestamp));
        self.0.newest.lock().clone_from(&newest);
        Ok(newest)
    }

    /// Why blocks cannot be read or judged, if so.
    fn pulse(&self) -> (Option<String>, Option<String>) {
        match self.0.pulse.lock().as_ref() {
            // Start-up has just read it.
            None => (None, None),
            Some(pulse) if pulse.at.elapsed() > pulse::STALE => {
                let why = format!("reading a block takes over {} s", pulse::STALE.as_secs());
                (Some(why.clone()), Some(why))
            }
            Some(pulse) => (pulse.storage.clone(), pulse.validator.clone()),
        }
    }

    /// Notes why no block is produced; `None` when it works again.
    pub fn set_producing_fault(&self, why: Option<String>) {
        *self.0.producing_fault.lock() = why;
    }

    /// How the components are, from what is known already: nothing is read here.
    pub fn report(&self) -> HealthReport {
        let Some(opened) = self.opened() else {
            let starting = HealthReport::starting().needed("block_storage", false);
            return match self.0.jobs.held_up() {
                Some(why) => starting.detail(why),
                None => starting.detail("the data folder is being opened"),
            };
        };
        let producing = self.0.producing_fault.lock().clone();
        let (unreadable, unjudged) = self.pulse();
        let damage = opened.damage();
        let mut report = HealthReport::new();
        for (component, fault) in [
            ("block_validator", unjudged),
            ("chain_manager", producing.or_else(|| self.0.maintenance.fault())),
            ("block_storage", opened.read_only().or(unreadable)),
        ] {
            report = report.needed(component, fault.is_none());
            if let Some(why) = fault {
                report = report.detail(why);
            }
        }
        for backend::Pulse { keeper, title, fault } in self.0.servers.lock().iter() {
            report = report.needed(keeper.word(), fault.is_none());
            report = report.detail(fault.clone().unwrap_or_else(|| title.clone()));
        }
        // An authority has nobody to synchronise with; a follower without its peer still serves.
        let unsynchronised = self
            .follower()
            .and_then(|follower| follower.fault(opened.opened_at, opened.clock.now()));
        report = report.optional("chain_sync", unsynchronised.is_none());
        if let Some(why) = unsynchronised {
            report = report.detail(why);
        }
        let suspect = self.0.maintenance.suspects().into_iter().next();
        report = report.optional("integrity", damage.is_empty() && suspect.is_none());
        match (damage.first(), suspect) {
            (Some(first), _) => {
                report.detail(format!("{} damaged places, the first: {first}", damage.len()))
            }
            (None, Some(block)) => {
                report.detail(format!("block {} breaks a rule: {}", block.index, block.why))
            }
            (None, None) => report,
        }
    }
}
