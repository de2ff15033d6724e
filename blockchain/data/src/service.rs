//! From settings to a running service, and back down in good order.
//!
//! The binary and `lucid up` start it. Order matters: it listens before the data folder is open, to say how
//! far that is and nothing else; requests end before the delivery of anchors, and the store is closed last.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lucid_api::v1::maintenance::{JobKind, ProgressState};
use lucid_http::credentials::{Credentials, Now};
use lucid_http::ending::{EndError, Rooms, end};
use lucid_http::jobs::Jobs;
use lucid_http::serve::{BindError, Drained, Late, Listening, Shutdown, serve_locally};
use lucid_http::tls::Tls;
use lucid_store::StoreError;
use lucid_store::clock::Clock;
use lucid_store::files::folder::{CLOCK_AGAIN, Options, RUN, clock_fault};
use lucid_store::files::room::Reserve;
use serde_json::Value;
use tokio::task::{JoinError, JoinHandle};

use crate::anchoring::AnchorEngine;
use crate::app::{self, App};
use crate::config::{Config, SERVICE, given};
use crate::integrations::Integrations;
use crate::opened::{FOLDER_OWNER, Opened, SIGNING_KEY};
use crate::workers::anchoring::{self, Anchoring};
use crate::workers::read_log::{self, Writing};
use crate::workers::sync::{self, Synchronising};
use crate::workers::{self, indexing, start};

/// How long the opening of the folder may take to notice it.
const OPENING_ENDS: Duration = Duration::from_secs(2);

/// A server that did not answer is asked again so soon.
const SERVERS_AGAIN: Duration = Duration::from_secs(2);

/// Why a service did not start, or not end in order: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Credentials, or what connections are encrypted by, cannot be read.
    #[error("{0}")]
    Credentials(String),
    /// It was told to end before it had started. What is stored is as it was.
    #[error("the service was told to end before its data folder was open")]
    Stopped,
    /// The system has no thread for the read log.
    #[error("the read log cannot be written: {0}")]
    Thread(io::Error),
    /// It ended, but not in order.
    #[error(transparent)]
    End(#[from] EndError),
    /// A part of the start failed in a way that nobody foresaw.
    #[error("the start failed: {0}")]
    Failed(#[from] JoinError),
}

/// A service that listens.
pub struct Running {
    address: SocketAddr,
    app: Arc<App>,
    serving: JoinHandle<Drained>,
    local: Option<JoinHandle<Drained>>,
    workers: Vec<(&'static str, JoinHandle<()>)>,
    writing: Writing,
}

/// Runs the service until the shutdown is asked for and everything has ended.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    match serve(config, None, &shutdown).await {
        // That is what was asked for.
        Err(StartError::Stopped) => Ok(()),
        running => running?.ended().await.map(|_drained| ()),
    }
}

/// Opens the data folder, binds, and serves until the shutdown is asked for. `engine` anchors
/// sessions; without one, the one at the configured address does.
pub async fn serve(
    config: Config,
    engine: Option<Arc<dyn AnchorEngine>>,
    shutdown: &Shutdown,
) -> Result<Running, StartError> {
    tracing::info!("Starting Lucid Data Chain Service");
    let (gc, level) = (config.chunks.gc, config.chunks.optimise);
    let scrub = config.chunks.scrub;
    let jobs = Arc::new(app::jobs(shutdown, &config.clock));
    let clock = config.clock.clone();
    let now: Now = Arc::new(move || clock.now().as_micros());
    let credentials = Credentials::open(&config.common.access, now.clone());
    let credentials = credentials.map_err(StartError::Credentials)?;
    let tls = config.common.tls.as_ref().map(|tls| Tls::open(tls, now)).transpose();
    let tls = tls.map_err(StartError::Credentials)?;
    let tls_pin = tls.as_ref().and_then(Tls::pin);
    let listening = Listening::bind(SERVICE, config.common.bind).await?.encrypt(tls.clone());
    let (address, late) = (listening.address(), Late::default());
    let router = late.clone().or(app::starting(&jobs, &config, &credentials, tls.clone()));
    let until = shutdown.clone();
    let serving = tokio::spawn(async move {
        let announcing = async {
            until.asked().await;
            tracing::info!("Shutting down Lucid Data Chain Service");
        };
        tokio::join!(listening.serve(router, &until), announcing).0
    });
    let opened = async {
        right_clock(&config.common.data_dir, &jobs, &config.clock, CLOCK_AGAIN, shutdown).await?;
        loop {
            let (config, engine) = (config.clone(), engine.clone());
            let (until, jobs_here) = (shutdown.clone(), jobs.clone());
            let open =
                tokio::task::spawn_blocking(move || open(&config, engine, &until, jobs_here));
            let opened = tokio::select! {
                opened = open => opened.map_err(StartError::from)?,
                // Opening may be left at any point: a crash could end it there, too.
                () = async { shutdown.asked().await; tokio::time::sleep(OPENING_ENDS).await } => {
                    Err(StartError::Stopped)
                }
            };
            match opened {
                // A server may come up later than this, and callers hear meanwhile what is waited for.
                Err(StartError::Store(error)) if error.is_unanswered() => {
                    wait_for_servers(&jobs, &error, shutdown).await?;
                }
                opened => break opened,
            }
        }
    };
    let app = match opened.await {
        Ok(app) => Arc::new(app),
        Err(error) => {
            // A start that failed ends the serving, and nothing else that shares `shutdown`.
            serving.abort();
            return Err(error);
        }
    };
    let writing = match read_log::start(&app) {
        Ok(writing) => writing,
        Err(error) => {
            serving.abort();
            return Err(StartError::Thread(error));
        }
    };
    tracing::info!("Data storage initialized successfully");
    tracing::info!("Data query initialized successfully");
    let router = app::router(app.clone(), &config, &credentials, tls);
    late.set(router.clone());
    let local = serve_locally(SERVICE, &config.common.data_dir.join(RUN), router, shutdown);
    let mut workers = vec![
        start(&app, "anchors", anchoring::deliver(app.clone(), shutdown.clone())),
        start(
            &app,
            "synchronising",
            sync::sync(app.clone(), config.sync_interval, shutdown.clone()),
        ),
        start(
            &app,
            "indexing",
            indexing::index(app.clone(), config.indexing_batch, shutdown.clone()),
        ),
        start(&app, "figures", workers::figures::measure(app.clone(), shutdown.clone())),
        start(&app, "servers", workers::servers::feel(app.clone(), shutdown.clone())),
        start(
            &app,
            "garbage",
            workers::maintenance::collect(app.clone(), gc, level, shutdown.clone()),
        ),
        start(&app, "scrubbing", workers::scrub::scrub(app.clone(), scrub, shutdown.clone())),
    ];
    tracing::info!("Data indexer initialized successfully");
    tracing::info!("Data sync initialized successfully");
    if let Some(look) = config.tells_of_export {
        let telling = workers::tell_of_export(app.clone(), look, shutdown.clone());
        workers.push(start(&app, "telling of exports", telling));
    }
    let pin = tls_pin.map(tracing::field::display);
    tracing::info!(%address, pin, "Lucid Data Chain Service started successfully");
    Ok(Running { address, app, serving, local, workers, writing })
}

/// Says what does not answer, and waits for a moment before it is tried again.
async fn wait_for_servers(
    jobs: &Jobs,
    error: &StoreError,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let why = format!("{error}; it is tried again every {} s", SERVERS_AGAIN.as_secs());
    if jobs.held_up().as_ref() != Some(&why) {
        tracing::warn!("{why}");
    }
    jobs.hold_up(Some(why));
    tokio::select! {
        () = shutdown.asked() => Err(StartError::Stopped),
        () = tokio::time::sleep(SERVERS_AGAIN) => Ok(()),
    }
}

/// Waits until the clock is right, as far as what is stored tells. Meanwhile health says why.
async fn right_clock(
    root: &Path,
    jobs: &Jobs,
    clock: &Clock,
    again: Duration,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    loop {
        let Some(why) = clock_fault(root, clock.now().as_micros()) else {
            jobs.hold_up(None);
            return Ok(());
        };
        let why = format!("{why}; it is looked at again every {} s", CLOCK_AGAIN.as_secs());
        let is_said = jobs.held_up().is_some();
        // What the log says is in the health, too.
        jobs.hold_up(Some(why.clone()));
        if !is_said {
            tracing::warn!("{why}");
        }
        tokio::select! {
            () = shutdown.asked() => return Err(StartError::Stopped),
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// The engine's client and the folder both do what must not be done on an async thread.
fn open(
    config: &Config,
    engine: Option<Arc<dyn AnchorEngine>>,
    shutdown: &Shutdown,
    jobs: Arc<Jobs>,
) -> Result<App, StartError> {
    let integrations = Integrations::new(
        config.engine.as_ref(),
        config.may_be_foreign,
        &config.common.outbound,
        shutdown,
    );
    let engine = engine.or_else(|| integrations.engine());
    let options = Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        create: true,
        expected: config.expected.clone(),
        encrypt: config.chunks.encrypt,
        root_key_file: config.root_key_file.clone(),
        passphrase: config.passphrase.clone(),
        reserve: config.common.reserve_bytes.map_or(Reserve::Usual, Reserve::Bytes),
        owner: format!("{} on http://{}", config.owner, config.common.bind),
        now: config.clock.now().to_string(),
        given: given(&config.common.back_ends, &config.clock),
    };
    let run = RefCell::new(None);
    let opened = Opened::open_watched(
        &config.common.data_dir,
        &options,
        config.chunks.folder.as_deref(),
        &|done, total| {
            let mut run = run.borrow_mut();
            if run.is_none() {
                *run = jobs.begin(JobKind::Reindex).ok();
            }
            run.as_ref().map_or_else(
                || !shutdown.is_asked(),
                |run| run.step("reading the log", done, total),
            )
        },
    );
    let opened = match opened {
        Err(StoreError::Stopped) => return Err(StartError::Stopped),
        opened => opened?,
    };
    if let Some(run) = run.into_inner() {
        run.end(ProgressState::Done, Ok(Value::Null));
    }
    let mut app = App::new(opened, config, Anchoring::new(engine), jobs);
    app.synchronising = Synchronising::new(integrations.chain(), config.pins);
    app.integrations = integrations;
    Ok(app)
}

impl Running {
    /// What its handlers share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the shutdown was asked for and everything has ended, the store last, or has been left: [`end`]
    /// bounds how long that takes.
    pub async fn ended(self) -> Result<Drained, StartError> {
        let Self { app, serving, local, workers, writing, .. } = self;
        let jobs = app.jobs.clone();
        let closing = move || {
            // The last requests are answered, and so noted.
            writing.end();
            app.opened.vault.close()
        };
        let drained = end(Rooms { door: serving, local, workers }, &jobs, closing).await?;
        // Whatever a worker is at that was left, with the store closed it changes nothing any more.
        for part in ["Data sync", "Data indexer", "Data query", "Data storage"] {
            tracing::info!("{part} cleaned up");
        }
        tracing::info!("Lucid Data Chain Service shutdown complete");
        Ok(drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_that_is_set_right_is_noticed_and_the_start_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        let log = std::fs::File::create(folder.path().join("log/00000001.log")).unwrap();
        let written = log.metadata().unwrap().modified().unwrap();
        log.set_modified(written + Duration::from_secs(2 * 3_600)).unwrap();
        let (shutdown, root) = (Shutdown::new(), folder.path().to_owned());
        let jobs = Arc::new(app::jobs(&shutdown, &Clock::system()));
        let (waiting, again) = (jobs.clone(), Duration::from_millis(5));
        let clock = tokio::spawn(async move {
            right_clock(&root, &waiting, &Clock::system(), again, &shutdown).await
        });
        while jobs.held_up().is_none() {
            assert!(!clock.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(jobs.held_up().unwrap().contains("minutes before the last commit"));
        // Less than an hour is believed: clocks are set.
        log.set_modified(written + Duration::from_secs(3_000)).unwrap();
        let looked = tokio::time::timeout(Duration::from_secs(10), clock).await;
        assert!(matches!(looked.unwrap().unwrap(), Ok(())));
        assert_eq!(jobs.held_up(), None);
    }
}
