//! What handlers and workers share, and how the pieces become what is served.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::v1::maintenance::{JobKind, ProgressState};
use lucid_core::time::Timestamp;
use lucid_core::words::many;
use lucid_http::budget::{Budget, keep, kept};
use lucid_http::credentials::Credentials;
use lucid_http::errand::Errand;
use lucid_http::extract::JSON;
use lucid_http::health::HealthReport;
use lucid_http::jobs::Jobs;
use lucid_http::places::Places;
use lucid_http::porch::Porch;
use lucid_http::process::Folders;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::serve::Shutdown;
use lucid_http::telemetry;
use lucid_http::tls::Tls;
use lucid_store::backend::Pulse;
use lucid_store::clock::Clock;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use crate::Opened;
use crate::answers::Answers;
use crate::config::{ChunkSettings, Config, SERVICE};
use crate::followers::Followers;
use crate::foreground::Foreground;
use crate::integrations::Integrations;
use crate::ops::OpError;
use crate::ops::chunks::put_chunk::Bounds;
use crate::ops::chunks::store_chunks::StorageOptions;
use crate::ops::proofs::deliver_anchors::{sealed_waiting_since, waiting_since};
use crate::ops::proofs::prove_session::Allow;
use crate::read_log::ReadLog;
use crate::read_log::witness::{Recorder, Recording};
use crate::workers::anchoring::Anchoring;
use crate::workers::indexing::IndexQueue;
use crate::workers::sync::Synchronising;
use crate::{figures, routes};

/// Requests that wait for a session at once: far fewer than may be in work, so that others have room.
pub const WAITING_MAX: usize = 128;

/// Threads that requests have at once, for ops that are short. The runtime has twice as many, so what the
/// service does unasked always finds one.
pub const OPS_MAX: usize = 512;
/// Answers that may be large and are made at once: pages, trees, proofs, chunks in JSON.
pub const LARGE_MAX: usize = 8;
/// Downloads that are read at once. One whose caller does not take what is read waits without a thread.
pub const READING_MAX: usize = 32;
/// Small ones, which do not wait behind large ones.
pub const SMALL_MAX: usize = 64;
/// Downloads up to so many bytes are small.
pub const SMALL_BYTES: u64 = 256 << 10;
/// Tar streams at once. They cannot be left off and gone on with, so each keeps a thread while its caller
/// reads.
pub const TARS_MAX: usize = 16;
/// Searches at once. They walk through all there is, and may go on for minutes.
pub const SEARCHES_MAX: usize = 8;
/// Those who follow live sessions at once. None of them has a thread while nothing comes.
pub const FOLLOWERS_MAX: usize = 128;
/// Sessions that are verified at once, each on every core.
pub const VERIFYING_MAX: usize = 4;
/// What streams may hold together: eight at full speed, thousands that trickle.
const STREAMS_BYTES: usize = 64 << 20;

/// What one answer may take while it is made: the longest bundle, in a session of four million chunks.
const MAKING_BYTES_MAX: usize = 640 << 20;

/// How much goes on at once.
pub struct Rooms {
    /// Short ops.
    pub ops: Places,
    /// Answers that may be large.
    pub large: Places,
    /// Downloads.
    pub reading: Places,
    /// Small downloads.
    pub small: Places,
    /// Tar streams.
    pub tars: Places,
    /// Searches of all there is: finding files, and all documents of a query.
    pub searches: Places,
    /// Followers of live sessions.
    pub followers: Places,
    /// Verifications of whole sessions.
    pub verifying: Places,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            ops: Places::new("requests", OPS_MAX),
            large: Places::new("large answers", LARGE_MAX),
            reading: Places::new("downloads", READING_MAX),
            small: Places::new("small downloads", SMALL_MAX),
            tars: Places::new("tar streams", TARS_MAX),
            searches: Places::new("searches", SEARCHES_MAX),
            followers: Places::new("followers", FOLLOWERS_MAX),
            verifying: Places::new("verifications of sessions", VERIFYING_MAX),
        }
    }
}

/// Reading the figures takes milliseconds and comes every few seconds: a disk that hangs is told by this.
const STALE: Duration = Duration::from_secs(120);

/// The parts of a running service.
pub struct App {
    /// The data folder.
    pub opened: Arc<Opened>,
    /// How new chunks are kept.
    pub storage: StorageOptions,
    /// What else the settings say about chunks.
    pub chunks: ChunkSettings,
    /// Threads for one request that has much to compute.
    pub threads: usize,
    /// Memory for streams: their own, because a recording must not wait for another client's slow batch.
    pub streams: Budget,
    /// Memory for replies that are made whole, until their callers have read them.
    pub replies: Budget,
    /// Memory for pieces of downloads, likewise: their own, so that slow downloads keep no reply from being
    /// made.
    pub downloads: Budget,
    /// Memory for proofs and trees that are being made into answers.
    pub making: Budget,
    /// Taking documents from a block-manager.
    pub synchronising: Synchronising,
    /// What is called elsewhere.
    pub integrations: Integrations,
    /// The queue of the index.
    pub indexing: IndexQueue,
    /// Answers of queries that are at hand.
    pub answers: Answers,
    /// How much goes on at once.
    pub rooms: Rooms,
    /// How long a live stream may be silent before it counts as unterminated.
    pub session_timeout: Duration,
    /// The delivery of anchors.
    pub anchoring: Anchoring,
    /// Long work.
    pub jobs: Arc<Jobs>,
    /// What callers wait for.
    pub foreground: Foreground,
    /// Asks for stored bytes to be read again.
    pub scrub_now: Notify,
    /// News for callers that follow a session.
    pub followers: Followers,
    /// News for callers that wait for a session: one was sealed or anchored.
    pub settled: Notify,
    /// Places for them.
    pub waiting: Semaphore,
    /// When the figures were last read, which takes the index and the folders, and why not if so.
    pub felt: Mutex<(Instant, Option<String>)>,
    /// Workers that ended as they never may.
    pub stopped: Mutex<Vec<&'static str>>,
    /// For how many days sealed sessions are kept; zero is for ever.
    pub keep_days: u32,
    /// The same of sessions of the read log.
    pub keep_log_days: u32,
    /// What is asked of the service, on its way to the sessions that keep it.
    pub read_log: ReadLog,
    /// What tells the time.
    pub clock: Clock,
    /// Whether what verifications find is kept in mind, which writes.
    pub remembers: bool,
    /// When the service started.
    pub started: Instant,
    /// How the servers that have what is not in the folder were when they were last asked.
    pub servers: Mutex<Vec<Pulse>>,
    /// Where it keeps what it has, to tell how full the disks are.
    pub folders: Folders,
}

impl App {
    /// A service on an open folder.
    pub fn new(
        opened: impl Into<Arc<Opened>>,
        config: &Config,
        anchoring: Anchoring,
        jobs: impl Into<Arc<Jobs>>,
    ) -> Self {
        let opened = opened.into();
        let is_encrypted = opened.vault.cipher().is_encrypted();
        if config.chunks.encrypt && !is_encrypted {
            tracing::warn!("the store was made without encryption, and is not encrypted");
        } else if !config.chunks.encrypt {
            tracing::warn!("DATA_CHAIN_ENCRYPTION_ENABLED is off: new chunks are not encrypted");
        }
        if config.keep_days.max(config.keep_log_days) > 0 && anchoring.is_disabled() {
            tracing::warn!(
                "DATA_CHAIN_KEEP_DAYS and LUCID_READ_LOG_KEEP_DAYS remove nothing: sessions have the age that the chain gives them, and \
                 anchoring is disabled"
            );
        }
        Self {
            storage: StorageOptions {
                compression: config.chunks.compression,
                encrypt: config.chunks.encrypt && is_encrypted,
            },
            opened,
            chunks: config.chunks.clone(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            streams: Budget::new(STREAMS_BYTES),
            replies: Budget::default(),
            downloads: Budget::default(),
            making: Budget::default(),
            synchronising: Synchronising::default(),
            integrations: Integrations::default(),
            indexing: IndexQueue::default(),
            answers: Answers::new(config.query_cache_size),
            rooms: Rooms::default(),
            session_timeout: config.session_timeout,
            anchoring,
            jobs: jobs.into(),
            foreground: Foreground::default(),
            scrub_now: Notify::new(),
            followers: Followers::default(),
            settled: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
            felt: Mutex::new((Instant::now(), None)),
            servers: Mutex::default(),
            stopped: Mutex::default(),
            keep_days: config.keep_days,
            keep_log_days: config.keep_log_days,
            read_log: ReadLog::default(),
            clock: config.clock.clone(),
            remembers: true,
            started: Instant::now(),
            folders: Folders::new(&config.common.data_dir, &["chunks"]),
        }
    }

    /// Since when the oldest anchor waits that can be brought away: an engine that keeps no chain of ours takes no
    /// tombstones.
    pub fn waiting_since(&self) -> Result<Option<Timestamp>, OpError> {
        let (vault, own) = (&self.opened.vault, self.opened.key.public());
        match self.anchoring.is_foreign() {
            true => sealed_waiting_since(vault, &own),
            false => waiting_since(vault, &own),
        }
    }

    /// A live stream that took nothing since then is unterminated.
    pub fn quiet_since(&self) -> Timestamp {
        let seconds = i64::try_from(self.session_timeout.as_secs()).unwrap_or(i64::MAX);
        self.clock.now().plus_seconds(seconds.saturating_neg())
    }

    /// Runs an op on a thread that may block. What its request holds of memory is held until it ends, even
    /// if its caller has left.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        op: impl FnOnce(&Self) -> Result<T, OpError> + Send + 'static,
    ) -> Reply<T> {
        self.run_refusing(move |app| op(app).map_err(Refusal::from)).await
    }

    /// Runs work like [`Self::run`] that says itself what its caller is refused with.
    pub async fn run_refusing<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let (app, errand, kept) = (self.clone(), Errand::current(), kept());
        let place = self.rooms.ops.wait().await;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, kept);
            let _waiting = app.foreground.wait();
            errand.run(|| work(&app))
        });
        match done.await {
            Ok(outcome) => outcome,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(OpError::Abandoned.into()),
            },
        }
    }

    /// Runs an op like [`Self::run`], and makes a reply in JSON of its answer. The answer may be large, so
    /// few are made at once.
    pub async fn run_large<T: Serialize + Send + 'static>(
        self: &Arc<Self>,
        op: impl FnOnce(&Self) -> Result<T, OpError> + Send + 'static,
    ) -> Reply<Response> {
        let place = self.rooms.large.take().await?;
        let made = self.run(move |app| {
            let answer = op(app)?;
            let text =
                serde_json::to_vec(&answer).map_err(|error| OpError::Fault(error.to_string()))?;
            Ok((text, place))
        });
        let (text, _place) = made.await?;
        Ok(([(CONTENT_TYPE, JSON)], text).into_response())
    }

    /// Runs an op like [`Self::run`] that asks for memory before it takes it, as all such work together has
    /// a bounded amount. The op is given up when its caller leaves. The memory that it took counts until the
    /// request is answered.
    pub async fn run_asking<T: Send + 'static>(
        self: &Arc<Self>,
        op: impl FnOnce(&Self, Allow<'_>) -> Result<T, OpError> + Send + 'static,
    ) -> Reply<T> {
        let place = self.rooms.large.take().await?;
        // A caller that leaves does not want the answer any more.
        let asking = Arc::new(());
        let asked = Arc::downgrade(&asking);
        let made = self.run(move |app| {
            let _place = place;
            let taking = RefCell::new((0, app.making.nothing()));
            let allow = |bytes: usize| {
                if asked.strong_count() == 0 {
                    return Err(OpError::Abandoned);
                }
                let (all, held) = &mut *taking.borrow_mut();
                *all = bytes.saturating_add(*all);
                if *all > MAKING_BYTES_MAX {
                    let detail = "this takes more memory than a service has for one answer: ask for a \
                                  part, or use `lucid` on the data folder";
                    return Err(OpError::TooLarge(detail.to_owned()));
                }
                let taken = Handle::current().block_on(held.take(bytes));
                taken.map_err(|refusal| OpError::Busy(refusal.detail().to_owned()))
            };
            let answer = op(app, &allow)?;
            Ok((answer, taking.into_inner().1))
        });
        let (answer, held) = made.await?;
        drop(asking);
        keep(held);
        Ok(answer)
    }

    /// What single chunks may be.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            most: self.chunks.upload_max,
            split_over: self.chunks.split.over,
            splits: self.chunks.split.allowed,
            profile: self.chunks.profile,
            own_copies: !self.chunks.deduplicate,
        }
    }

    /// How the service is. Nothing here waits for a disk or a network.
    pub fn report(&self) -> HealthReport {
        let fault = self.opened.vault.read_only().or_else(|| self.unread());
        let mut report = HealthReport::new().needed("data_storage", fault.is_none());
        if let Some(why) = fault {
            report = report.detail(why);
        }
        report = self.report_servers(report);
        let unread = self.unread();
        report = report.needed("data_query", unread.is_none());
        if let Some(why) = unread {
            report = report.detail(why);
        }
        let unindexed = self.indexing.fault();
        report = report.optional("data_indexer", unindexed.is_none());
        if let Some(why) = unindexed {
            report = report.detail(format!("items cannot be indexed: {why}"));
        }
        report = self.report_sync(report);
        let damaged = self.opened.damage().len();
        report = report.optional("data_integrity", damaged == 0);
        if damaged > 0 {
            let status = paths::STATUS;
            report = report.detail(format!("{damaged} places are damaged; {status} names them"));
        }
        if let Some(why) = self.read_log.fault() {
            let detail = format!("nothing is given that has to be noted: {why}");
            report = report.optional("read_log", false).detail(detail);
        }
        let stopped = self.stopped.lock().join(", ");
        report = report.optional("workers", stopped.is_empty());
        if !stopped.is_empty() {
            report =
                report.detail(format!("ended in a fault of the code, until a restart: {stopped}"));
        }
        let failed = self.jobs.failed(&[JobKind::Gc, JobKind::Optimise, JobKind::Scrub]);
        report = report.optional("maintenance", failed.is_empty());
        if !failed.is_empty() {
            report = report.detail(failed.join("; "));
        }
        match self.anchoring.fault() {
            None => report.optional("anchoring", true),
            Some(why) if self.anchoring.is_disabled() => report.disabled("anchoring", why),
            Some(why) => report.optional("anchoring", false).detail(why),
        }
    }

    fn report_sync(&self, report: HealthReport) -> HealthReport {
        let figures = self.synchronising.figures();
        match (self.synchronising.peer(), figures.fault.clone()) {
            (None, _) => report.disabled(
                "data_sync",
                "no documents are taken from a chain: set BLOCK_MANAGER_URL to the address of a block-manager",
            ),
            (Some(_), Some(why)) if figures.unsupported => report.disabled("data_sync", why),
            (Some(_), Some(why)) => report.optional("data_sync", false).detail(why),
            (Some(_), None) if figures.lag() > 0 => {
                let report = report.optional("data_sync", true);
                report.detail(format!("{} are not here yet", many(figures.lag() as usize, "block")))
            }
            (Some(_), None) => report.optional("data_sync", true),
        }
    }

    /// Why the store cannot be read, if so.
    fn unread(&self) -> Option<String> {
        let felt = self.felt.lock();
        let since = felt.0.elapsed();
        match since > STALE {
            true => Some(format!("the store was last read {} s ago", since.as_secs())),
            false => felt.1.clone(),
        }
    }
}

/// Nothing of this service's long work ran yet.
pub fn jobs(shutdown: &Shutdown, clock: &Clock) -> Jobs {
    use JobKind::{Gc, Optimise, Reindex, Scrub, Verify};
    let clock = clock.clone();
    let now = move || clock.now().to_string();
    Jobs::new(&[Gc, Optimise, Scrub, Verify, Reindex], shutdown.clone(), now)
}

/// What is served while the folder is opened: how far that is.
pub fn starting(
    jobs: &Arc<Jobs>,
    config: &Config,
    credentials: &Credentials,
    tls: Option<Tls>,
) -> Router {
    let probed = jobs.clone();
    let probe = move || {
        let at = probed.show(JobKind::Reindex);
        let report = HealthReport::starting().needed("data_storage", false);
        if let Some(why) = probed.held_up() {
            return report.detail(why);
        }
        match at.state {
            ProgressState::Running => {
                report.detail(format!("{} of {} bytes of the log are read", at.done, at.total))
            }
            _ => report.detail("the data folder is being opened"),
        }
    };
    Porch::new(SERVICE, &config.common, credentials, probe)
        .tls(tls)
        .alias(paths::DATA_CHAIN_ALIAS, paths::API_V1)
        .around(routes::starting(jobs.clone()))
}

/// Everything that is served.
pub fn router(
    app: Arc<App>,
    config: &Config,
    credentials: &Credentials,
    tls: Option<Tls>,
) -> Router {
    let probe = app.clone();
    let porch = Porch::new(SERVICE, &config.common, credentials, move || probe.report()).tls(tls);
    telemetry::announce(figures::FIGURES);
    let looked = Arc::downgrade(&app);
    let porch = porch.folders(app.folders.clone()).look(move |page| {
        // While the service ends, there is nothing left to look at.
        if let Some(app) = looked.upgrade() {
            figures::look(&app, page);
        }
    });
    let porch = match config.read_log {
        Recording::Never => porch,
        recording => {
            porch.witness(Arc::new(Recorder::new(app.clone(), credentials.clone(), recording)))
        }
    };
    porch
        .alias(paths::DATA_CHAIN_ALIAS, paths::API_V1)
        .replies(app.replies.clone())
        .around(routes::routes(app))
}
