//! The service: how the rooms join, and in which order they open and close.
//!
//! `main` and `lucid up` call [`start`]; tests enter here too. The socket is bound first, so that
//! health can say `starting` while the folder is recovered; when that fails, nothing stays behind.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lucid_api::client::ClientError;
use lucid_core::digest::BlockHash;
use lucid_http::credentials::{Credentials, Now};
use lucid_http::ending::{EndError, Rooms, end};
use lucid_http::porch::Porch;
use lucid_http::process::Folders;
use lucid_http::serve::{BindError, Drained, Listening, Shutdown, serve_locally};
use lucid_http::telemetry;
use lucid_http::tls::Tls;
use lucid_store::StoreError;
use lucid_store::clock::Clock;
use lucid_store::files::folder::{CLOCK_AGAIN, RUN, clock_fault};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::{Config, SERVICE};
use crate::fact::Role;
use crate::follower::Follower;
use crate::opened::{self, OpenError, Opened};
use crate::peer::Peer as _;
use crate::{figures, routes, workers};

/// How long the opening of the folder may take to notice the end.
const OPENING_ENDS: Duration = Duration::from_secs(2);

/// A server that did not answer is asked again so soon.
const SERVERS_AGAIN: Duration = Duration::from_secs(2);

/// Why the service did not start, or not end in order.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its data folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something that was acknowledged is not there any more.
    #[error("{0} (the command line still reads what is there)")]
    Lost(String),
    /// It would begin another chain than it is told to keep.
    #[error(
        "LUCID_CHAIN_GENESIS is {0}, and this authority has no blocks yet: import that chain with `lucid \
         chain import`, or unset it to begin a new one"
    )]
    NoGenesis(BlockHash),
    /// Credentials, or what connections are encrypted by, cannot be read.
    #[error("{0}")]
    Credentials(String),
    /// Whom it is to follow cannot be asked.
    #[error("LUCID_CHAIN_FOLLOW_URL: {0}")]
    Follow(#[from] ClientError),
    /// It was told to end before it had started. What is stored is as it was.
    #[error("the service was told to end before its data folder was open")]
    Stopped,
    /// It ended, but not in order.
    #[error(transparent)]
    End(#[from] EndError),
    /// A task of its own ended early: a mistake of ours.
    #[error("a task of the service failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A service that runs.
pub struct Running {
    address: SocketAddr,
    app: App,
    serving: JoinHandle<Drained>,
    local: Option<JoinHandle<Drained>>,
    /// One produces blocks, or follows those of another.
    workers: Vec<(&'static str, JoinHandle<()>)>,
}

/// Runs the service until the shutdown is asked for and everything has ended.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    match start(config, &shutdown).await {
        // That is what was asked for.
        Err(StartError::Stopped) => Ok(()),
        running => running?.finished().await.map(|_drained| ()),
    }
}

/// Starts the service. It runs until `shutdown` is asked for.
pub async fn start(config: Config, shutdown: &Shutdown) -> Result<Running, StartError> {
    tracing::info!("Starting Lucid Block Manager Service");
    // The client blocks, so it may not even be made on an async thread.
    let (follow, outbound) = (config.follow.clone(), config.common.outbound.clone());
    let ending = shutdown.clone();
    let follower =
        move || follow.as_ref().map(|follow| Follower::new(follow, &outbound, ending)).transpose();
    let follower = tokio::task::spawn_blocking(follower);
    let follower = follower.await??;
    let clock = config.clock.clone();
    let now: Now = Arc::new(move || clock.now().as_micros());
    let credentials = Credentials::open(&config.common.access, now.clone());
    let credentials = credentials.map_err(StartError::Credentials)?;
    let tls = config.common.tls.as_ref().map(|tls| Tls::open(tls, now)).transpose();
    let tls = tls.map_err(StartError::Credentials)?;
    let pin = tls.as_ref().and_then(Tls::pin);
    let listening = Listening::bind(SERVICE, config.common.bind).await?.encrypt(tls.clone());
    let address = listening.address();
    let app = App::new(shutdown, config.clock.clone(), config.block_interval, config.keep);
    let folders = Folders::new(&config.common.data_dir, &["blocks"]);
    app.set_folders(folders.clone());
    let probed = app.clone();
    let porch = Porch::new(SERVICE, &config.common, &credentials, move || probed.report());
    let porch = porch.tls(tls).replies(app.replies().clone()).folders(folders);
    telemetry::announce(figures::FIGURES);
    let looked = app.clone();
    let porch = porch.look(move |page| figures::look(&looked, page));
    let router = porch.around(routes::routes(app.clone()));
    let local_router = router.clone();
    // A failed start must end the serving too, without ending everything that shares `shutdown`.
    let until = shutdown.clone();
    let serving = tokio::spawn(async move { listening.serve(router, &until).await });

    let (root, options) = (config.common.data_dir.clone(), config.options());
    let clock = config.clock.clone();
    let opening = async {
        right_clock(&root, &app, &clock, CLOCK_AGAIN, shutdown).await?;
        loop {
            let (folder, options, clock) = (root.clone(), options.clone(), clock.clone());
            let open =
                tokio::task::spawn_blocking(move || opened::open(&folder, &options, clock.now()));
            let opened = tokio::select! {
                opened = open => opened?,
                // Opening may be left at any point: a crash could end it there, too.
                () = async { shutdown.asked().await; tokio::time::sleep(OPENING_ENDS).await } => {
                    return Err(StartError::Stopped);
                }
            };
            match opened {
                // A server may come up later than this, and callers hear meanwhile what is waited for.
                Err(OpenError::Store(error)) if error.is_unanswered() => {
                    wait_for_servers(&app, &error, shutdown).await?;
                }
                opened => break Ok(opened?),
            }
        }
    };
    let whole = |opened: Opened| {
        if let Some(why) = opened.read_only() {
            return Err(StartError::Lost(why));
        }
        match (opened.kind.genesis, opened.chain.tip().map_err(OpenError::from)?) {
            (Some(pinned), None) if opened.role == Role::Authority => {
                Err(StartError::NoGenesis(pinned))
            }
            _ => Ok(opened),
        }
    };
    let opened = opening.await.and_then(whole);
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            serving.abort();
            return Err(error);
        }
    };
    let height = opened.chain.tip().ok().flatten().map_or(0, |tip| tip.height);
    tracing::info!("Chain state loaded: height={height}");
    app.set_opened(opened);
    tracing::info!("Block storage initialized successfully");
    tracing::info!("Block validator initialized successfully");
    let local = serve_locally(SERVICE, &root.join(RUN), local_router, shutdown);
    let blocks = match follower {
        None => {
            let interval = config.block_interval;
            let produce = move |app| workers::produce_in_time(app, interval);
            tokio::spawn(workers::keep_up(app.clone(), "producing blocks", produce))
        }
        Some(follower) => {
            tracing::info!(peer = follower.peer().name(), "Following the chain of another service");
            app.set_follower(follower);
            tokio::spawn(workers::keep_up(app.clone(), "following", workers::follow::follow))
        }
    };
    let interval = config.maintenance_interval;
    let maintain = move |app| workers::maintenance::maintain_in_time(app, interval);
    let maintaining = tokio::spawn(workers::keep_up(app.clone(), "upkeep", maintain));
    let feel = workers::pulse::feel_pulse;
    let feeling = tokio::spawn(workers::keep_up(app.clone(), "pulse", feel));
    tracing::info!("Chain manager initialized successfully");
    tracing::info!("Chain sync initialized successfully");
    tracing::info!(
        address = %address,
        url = config.url.as_ref().map(tracing::field::display),
        pin = pin.map(tracing::field::display),
        "Lucid Block Manager Service started successfully"
    );
    let mut workers = vec![("blocks", blocks), ("upkeep", maintaining), ("pulse", feeling)];
    if let Some(look) = config.tells_of_export {
        let tell = move |app| workers::tell_of_export(app, look);
        let telling = workers::keep_up(app.clone(), "telling", tell);
        workers.push(("telling", tokio::spawn(telling)));
    }
    Ok(Running { address, app, serving, local, workers })
}

/// Says what does not answer, and waits for a moment before it is tried again.
async fn wait_for_servers(
    app: &App,
    error: &StoreError,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let why = format!("{error}; it is tried again every {} s", SERVERS_AGAIN.as_secs());
    if app.jobs().held_up().as_ref() != Some(&why) {
        tracing::warn!("{why}");
    }
    app.jobs().hold_up(Some(why));
    tokio::select! {
        () = shutdown.asked() => Err(StartError::Stopped),
        () = tokio::time::sleep(SERVERS_AGAIN) => Ok(()),
    }
}

/// Waits until the clock is right, as far as what is stored tells. Meanwhile health says why.
async fn right_clock(
    root: &Path,
    app: &App,
    clock: &Clock,
    again: Duration,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let mut is_said = false;
    while let Some(why) = clock_fault(root, clock.now().as_micros()) {
        let why = format!("{why}; it is looked at again every {} s", CLOCK_AGAIN.as_secs());
        // The reason stands in the health as well as in the log.
        app.jobs().hold_up(Some(why.clone()));
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!("{why}");
        }
        tokio::select! {
            () = shutdown.asked() => return Err(StartError::Stopped),
            () = tokio::time::sleep(again) => {}
        }
    }
    app.jobs().hold_up(None);
    Ok(())
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the shutdown was asked for and everything is done and closed, or has been left: [`end`] bounds
    /// how long that takes.
    pub async fn finished(self) -> Result<Drained, StartError> {
        let Self { app, serving, local, workers, .. } = self;
        app.shutdown().asked().await;
        tracing::info!("Shutting down Lucid Block Manager Service");
        let closed = app.clone();
        let closing = move || closed.opened().map_or(Ok(()), |opened| opened.vault.close());
        let drained = end(Rooms { door: serving, local, workers }, app.jobs(), closing).await?;
        // Whatever a worker is at that was left, with the store closed it changes nothing any more.
        for part in ["Chain sync", "Chain manager", "Block validator", "Block storage"] {
            tracing::info!("{part} cleaned up");
        }
        tracing::info!("Lucid Block Manager Service shutdown complete");
        Ok(drained)
    }
}

#[cfg(test)]
mod tests {
    use lucid_core::sign::SigningKey;
    use lucid_store::crypt::Cipher;
    use lucid_store::files::disk::faulty::FaultyDisk;
    use lucid_store::files::disk::simulated::SimulatedDisk;
    use lucid_store::memory::index::MemoryIndex;

    use super::*;
    use crate::opened::{ManagerKind, UnopenedManager, over};
    use crate::ops::produce_block::produce_block;
    use crate::ops::submit_transaction::submit_transaction;

    /// A service over a disk, without doors; its pulse is felt.
    fn running(disk: &FaultyDisk, shutdown: &Shutdown) -> Running {
        let parts = UnopenedManager {
            disk: Arc::new(disk.clone()),
            blocks: Arc::new(disk.clone()),
            store: [7; 16],
            cipher: Arc::new(Cipher::new(None)),
            index: Arc::new(MemoryIndex::new()),
            key: SigningKey::from_seed([3; 32]),
            accept_loss: false,
            block_file_bytes: 1 << 20,
            kind: ManagerKind::default(),
        };
        let app = App::new(shutdown, Clock::system(), Duration::from_secs(3_600), 0);
        app.set_opened(over(parts, Clock::system().now()).unwrap());
        let until = shutdown.clone();
        let serving = tokio::spawn(async move {
            until.asked().await;
            Drained::Whole
        });
        let feeling = workers::keep_up(app.clone(), "pulse", workers::pulse::feel_pulse);
        let workers = vec![("pulse", tokio::spawn(feeling))];
        let address = "127.0.0.1:0".parse().unwrap();
        Running { address, app, serving, local: None, workers }
    }

    fn produce(app: &App, id: &str) {
        let manager = app.opened().unwrap();
        let text = format!(r#"{{"id":"{id}","type":"data_storage"}}"#);
        let (vault, chain, now) = (&manager.vault, manager.chain.as_ref(), manager.clock.now());
        submit_transaction(vault, chain, &manager.admissions, now, text.as_bytes()).unwrap();
        produce_block(vault, chain, &manager.producing, &manager.key, now).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_hangs_holds_up_the_end_no_longer_than_is_documented() {
        let inner = Arc::new(SimulatedDisk::new());
        let disk = FaultyDisk::over(inner.clone());
        let shutdown = Shutdown::new();
        let first = running(&disk, &shutdown);
        produce(&first.app, "a");
        // Only reading hangs: what reads is left, and the store is closed in order.
        disk.hang("blocks/");
        waits(&disk).await;
        shutdown.ask();
        let ended = tokio::time::timeout(Duration::from_secs(60), first.finished()).await.unwrap();
        assert_eq!(ended.unwrap(), Drained::Whole);
        disk.repair();

        let shutdown = Shutdown::new();
        let second = running(&disk, &shutdown);
        produce(&second.app, "b");
        // Everything hangs: the store is left, too.
        disk.hang("");
        waits(&disk).await;
        shutdown.ask();
        let ended = tokio::time::timeout(Duration::from_secs(60), second.finished()).await.unwrap();
        assert!(matches!(ended, Err(StartError::End(EndError::Unclosed))), "{ended:?}");

        // What was acknowledged is on the disk, although it hangs.
        let left = FaultyDisk::over(Arc::new(inner.fork()));
        let third = running(&left, &Shutdown::new());
        let tip = third.app.opened().unwrap().chain.tip().unwrap();
        assert_eq!(tip.map(|tip| tip.height), Some(1));
        // The threads that wait hold up the end of this test.
        disk.repair();
    }

    async fn waits(disk: &FaultyDisk) {
        let begun = std::time::Instant::now();
        while disk.waiting() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "nothing reads");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_right_is_noticed_and_the_start_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        let log = std::fs::File::create(folder.path().join("log/00000001.log")).unwrap();
        let written = log.metadata().unwrap().modified().unwrap();
        let ahead = |by: u64| written + Duration::from_secs(by);
        log.set_modified(ahead(2 * 3_600)).unwrap();
        let (shutdown, root) = (Shutdown::new(), folder.path().to_owned());
        let app = App::new(&shutdown, Clock::system(), Duration::from_secs(1), 0);
        let (waiting, again) = (app.clone(), Duration::from_millis(5));
        let clock = tokio::spawn(async move {
            right_clock(&root, &waiting, &Clock::system(), again, &shutdown).await
        });
        let said = || serde_json::to_string(&app.report().document(SERVICE)).unwrap();
        while !said().contains("minutes before the last commit") {
            assert!(!clock.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Less than an hour is believed: clocks are set.
        log.set_modified(ahead(3_000)).unwrap();
        let looked = tokio::time::timeout(Duration::from_secs(10), clock).await;
        assert!(matches!(looked.unwrap().unwrap(), Ok(())));
        assert!(said().contains("the data folder is being opened"), "{}", said());
    }
}
