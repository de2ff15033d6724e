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
use lucid_http::porch::Porch;
use lucid_http::serve::{BindError, Drained, Listening, Shutdown, serve_locally};
use lucid_http::tls::Tls;
use lucid_store::clock::Clock;
use lucid_store::files::folder::{CLOCK_AGAIN, RUN, clock_fault};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::config::{Config, SERVICE};
use crate::fact::Role;
use crate::follower::Follower;
use crate::opened::{self, OpenError, Opened};
use crate::peer::Peer as _;
use crate::{routes, workers};

/// How long the opening of the folder may take to notice the end.
const OPENING_ENDS: Duration = Duration::from_secs(2);
/// Long work notices the end within a batch of blocks; longer it is not waited for.
const QUIET_WITHIN: Duration = Duration::from_secs(2);

/// Why the service did not start.
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
    #[error("BLOCKCHAIN_ENGINE_URL: {0}")]
    Follow(#[from] ClientError),
    /// It was told to end before it had started. What is stored is as it was.
    #[error("the service was told to end before its data folder was open")]
    Stopped,
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
    /// Produces blocks, or follows those of another.
    blocks: JoinHandle<()>,
    maintaining: JoinHandle<()>,
    feeling: JoinHandle<()>,
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
    let follower =
        move || follow.as_ref().map(|follow| Follower::new(follow, outbound)).transpose();
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
    let probed = app.clone();
    let porch = Porch::new(SERVICE, &config.common, &credentials, move || probed.report());
    let porch = porch.tls(tls).replies(app.replies().clone());
    let router = porch.around(routes::routes(app.clone()));
    let local_router = router.clone();
    // A failed start must end the serving too, without ending everything that shares `shutdown`.
    let until = shutdown.clone();
    let serving = tokio::spawn(async move { listening.serve(router, &until).await });

    let (root, options) = (config.common.data_dir.clone(), config.options());
    let clock = config.clock.clone();
    let opening = async {
        right_clock(&root, &app, &clock, CLOCK_AGAIN, shutdown).await?;
        let folder = root.clone();
        let open =
            tokio::task::spawn_blocking(move || opened::open(&folder, &options, clock.now()));
        tokio::select! {
            opened = open => Ok(opened??),
            // Opening may be left at any point: a crash could end it there, too.
            () = async { shutdown.asked().await; tokio::time::sleep(OPENING_ENDS).await } => {
                Err(StartError::Stopped)
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
    tracing::info!(
        address = %address,
        url = config.url.as_ref().map(tracing::field::display),
        pin = pin.map(tracing::field::display),
        "Lucid Block Manager Service started successfully"
    );
    Ok(Running { address, app, serving, local, blocks, maintaining, feeling })
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

    /// Waits until the shutdown was asked for and everything is done and closed.
    pub async fn finished(self) -> Result<Drained, StartError> {
        self.app.shutdown().asked().await;
        tracing::info!("Shutting down Lucid Block Manager Service");
        let drained = self.serving.await?;
        if let Some(local) = self.local {
            local.await?;
        }
        self.blocks.await?;
        self.maintaining.await?;
        self.feeling.await?;
        let app = self.app;
        // Work whose caller did not wait for it ends at its next step.
        let _late = tokio::time::timeout(QUIET_WITHIN, app.jobs().quiet()).await;
        tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = app.opened().map(|opened| opened.vault.close()) {
                tracing::error!(%error, "the store was not closed in order; the next start recovers it");
            }
        })
        .await?;
        tracing::info!("Lucid Block Manager Service shutdown complete");
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
