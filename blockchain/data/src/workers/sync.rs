//! Taking the blocks of a block-manager in as documents, from time to time and when asked.
//!
//! A chain that is away, behind, forked or lying delays this and is reported; nothing else waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lucid_core::time::Timestamp;
use lucid_http::errand::Errand;
use lucid_http::serve::Shutdown;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::app::App;
use crate::chain::{Chain, ChainError};
use crate::ops::OpError;
use crate::ops::documents::sync_documents::{
    ChainPins, SyncDocumentsError, SyncWatch, SyncedDocuments, sync_documents,
};
use crate::row::synchronised::SynchronisedRow;

/// How rarely a chain is asked at most that was no use several times, in intervals.
const PATIENCE_MAX: u32 = 16;

/// The chain that documents are taken from, and how that goes.
#[derive(Default)]
pub struct Synchronising {
    chain: Option<Arc<dyn Chain>>,
    pins: ChainPins,
    wake: Notify,
    runs: AtomicBool,
    state: Mutex<SyncFigures>,
}

/// How taking documents from a chain goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncFigures {
    /// When a round last ended as it should.
    pub last_success: Option<Timestamp>,
    /// The newest block that was taken.
    pub local: Option<u64>,
    /// The chain's newest block, as it last said.
    pub remote: Option<u64>,
    /// Why the last round ended early, if it did.
    pub fault: Option<String>,
    /// That it is another kind of engine, from which nothing can be taken.
    pub unsupported: bool,
}

impl SyncFigures {
    /// Blocks of the chain that were not taken yet.
    pub fn lag(&self) -> u64 {
        let next = self.local.map_or(0, |local| local.saturating_add(1));
        self.remote.map_or(0, |remote| remote.saturating_add(1).saturating_sub(next))
    }
}

impl Synchronising {
    /// From this chain, if there is one.
    pub fn new(chain: Option<Arc<dyn Chain>>, pins: ChainPins) -> Self {
        Self { chain, pins, ..Self::default() }
    }

    /// What the chain is called, if there is one.
    pub fn peer(&self) -> Option<&str> {
        self.chain.as_ref().map(|chain| chain.name())
    }

    /// How it goes.
    pub fn figures(&self) -> SyncFigures {
        self.state.lock().clone()
    }

    /// Whether a round is running.
    pub fn is_running(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }

    /// Asks for a round now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    fn note(&self, outcome: Result<SyncedDocuments, SyncDocumentsError>, now: Timestamp) {
        let mut state = self.state.lock();
        match outcome {
            Ok(done) => {
                if state.fault.take().is_some() {
                    tracing::info!("documents are taken from the block-manager again");
                }
                state.unsupported = false;
                state.last_success = Some(now);
                if done.blocks > 0 {
                    tracing::info!(blocks = done.blocks, "blocks were taken in as documents");
                }
            }
            Err(SyncDocumentsError::Chain(ChainError::Unsupported(why))) => {
                state.unsupported = true;
                state.fault = Some(why);
            }
            Err(error) => {
                let why = error.to_string();
                // What stays as it was is said once.
                if state.fault.as_ref() != Some(&why) {
                    tracing::warn!(error = why, "documents are not taken from the block-manager");
                }
                state.unsupported = false;
                state.fault = Some(why);
            }
        }
    }
}

/// Takes documents until the shutdown is asked for.
pub async fn sync(app: Arc<App>, interval: Duration, shutdown: Shutdown) {
    let Some(chain) = app.synchronising.chain.clone() else { return };
    let mut failed = 0;
    while !shutdown.is_asked() {
        app.synchronising.runs.store(true, Ordering::Relaxed);
        let (chain, asked) = (chain.clone(), shutdown.clone());
        let errand = Errand::of("synchronising");
        let round = super::round(&app, &errand, move |app| {
            let (vault, pins) = (&app.opened.vault, &app.synchronising.pins);
            let now = app.clock.now();
            let state = &app.synchronising.state;
            state.lock().local = SynchronisedRow::find(vault.index())?.map(|row| row.last.index);
            let watch = SyncWatch {
                heard: &|remote| state.lock().remote = remote,
                go_on: &|| !asked.is_asked(),
            };
            let done = sync_documents(vault, chain.as_ref(), pins, now, &watch);
            state.lock().local = SynchronisedRow::find(vault.index())?.map(|row| row.last.index);
            app.synchronising.note(done, now);
            Ok::<_, OpError>(())
        });
        if let Err(error) = round.await {
            app.synchronising.state.lock().fault = Some(error.to_string());
        }
        app.synchronising.runs.store(false, Ordering::Relaxed);
        failed = match app.synchronising.figures().fault {
            None => 0,
            Some(_) => (failed + 1).min(PATIENCE_MAX),
        };
        tokio::select! {
            () = shutdown.asked() => return,
            () = app.synchronising.wake.notified() => {}
            () = tokio::time::sleep(interval * failed.max(1)) => {}
        }
    }
}
