//! A folder that a command has open, shown to other commands beside it: what only reads, by the folder's local door.
//!
//! Invariant: nothing is written because of what is asked here. The door is the one that a service has, with the same
//! permissions; memory and connections are fewer, since only this machine's commands come.

use std::sync::Arc;
use std::time::Duration;

use lucid_api::paths;
use lucid_core::session::SessionId;
use lucid_http::budget::Budget;
use lucid_http::config::{ConfigError, Environment};
use lucid_http::credentials::Credentials;
use lucid_http::health::HealthReport;
use lucid_http::porch::Porch;
use lucid_http::serve::{LOCAL_SOCKET, Listening, LocalDoorError, Shutdown};
use lucid_store::clock::Clock;
use lucid_store::files::folder::RUN;

use crate::Opened;
use crate::app::{self, App};
use crate::config::{Config, SERVICE, load};
use crate::routes;
use crate::workers::anchoring::Anchoring;

/// Connections at once.
const CONNECTIONS: usize = 32;
/// What replies may hold together, and likewise downloads, and what is being made into answers.
const REPLIES_BYTES: usize = 32 << 20;
/// What bodies of requests may hold together: lists of chunks, at most.
const BODIES_BYTES: usize = 4 << 20;
/// So long the end waits for requests in work.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a folder is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// There can be no socket.
    #[error(transparent)]
    Door(#[from] LocalDoorError),
    /// The defaults of the settings contradict each other.
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

/// A folder whose door is there: callers wait until it is served.
pub struct Shown {
    app: Arc<App>,
    config: Config,
    owner: Arc<str>,
    listening: Listening,
}

/// Tells those who look on what the command does.
#[derive(Clone)]
pub struct News(Arc<App>);

impl Shown {
    /// Makes the door of an open folder that `owner` has. Needs a runtime.
    pub fn begin(
        opened: &Arc<Opened>,
        owner: &str,
        clock: &Clock,
        shutdown: &Shutdown,
    ) -> Result<Self, ShowError> {
        let mut config = load(&Environment::new(), None)?.config;
        config.common.data_dir.clone_from(&opened.folder.root);
        config.chunks.encrypt = opened.vault.cipher().is_encrypted();
        config.clock = clock.clone();
        let folder = opened.folder.root.join(RUN);
        let listening = Listening::bind_locally(SERVICE, &folder.join(LOCAL_SOCKET))?;
        let jobs = app::jobs(shutdown, clock);
        let mut app = App::new(opened.clone(), &config, Anchoring::default(), jobs);
        let budget = || Budget::new(REPLIES_BYTES);
        (app.replies, app.downloads, app.making) = (budget(), budget(), budget());
        app.remembers = false;
        Ok(Self {
            app: Arc::new(app),
            config,
            owner: owner.into(),
            listening: listening.at_most(CONNECTIONS).drain_for(DRAIN),
        })
    }

    /// By what others hear of what the command does.
    pub fn news(&self) -> News {
        News(self.app.clone())
    }

    /// Lets others read until the shutdown is asked for. The door is gone first, then requests in work end.
    pub async fn serve(self, shutdown: &Shutdown) {
        let Self { app, config, owner, listening } = self;
        let probed = app.clone();
        let probe = move || {
            let fault = probed.opened.vault.read_only();
            HealthReport::new().needed("data_storage", fault.is_none())
        };
        let porch = Porch::new(SERVICE, &config.common, &Credentials::nobody_asks(), probe);
        let router = porch
            .alias(paths::DATA_CHAIN_ALIAS, paths::API_V1)
            .bodies(Budget::new(BODIES_BYTES))
            .replies(app.replies.clone())
            .around(routes::reading(app, &owner));
        listening.serve(router, shutdown).await;
    }
}

impl News {
    /// Tells that a session has grown, or was sealed or anchored.
    pub fn tell(&self, session: &SessionId) {
        self.0.followers.tell(session);
        self.0.settled.notify_waiters();
    }
}
