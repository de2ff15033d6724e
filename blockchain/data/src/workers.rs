//! What the service does by itself, or goes on doing when it was asked for: bringing anchors and tombstones to
//! the engine ([`anchoring`]), keeping its figures ([`figures`]), making entries of what waits to be indexed
//! ([`indexing`]), collecting garbage and packing ([`maintenance`]), writing the read log ([`read_log`]), reading
//! stored bytes again ([`scrub`]), taking documents from a block-manager ([`sync`]), and verifying sessions
//! (`verification`, only when asked).

pub mod anchoring;
pub mod figures;
pub mod indexing;
pub mod maintenance;
pub mod read_log;
pub mod scrub;
pub mod servers;
pub mod sync;
pub mod verification;

use std::sync::Arc;
use std::time::Duration;

use lucid_http::daily::say_daily;
use lucid_http::errand::Errand;
use lucid_http::serve::Shutdown;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::ops::OpError;

/// Runs one round of a worker on a thread that may block. One that ends in a fault of the code has failed
/// like any other: its worker goes on with the next.
async fn round<T: Send + 'static, E: From<OpError> + Send + 'static>(
    app: &Arc<App>,
    errand: &Errand,
    op: impl FnOnce(&App) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let (app, errand) = (app.clone(), errand.clone());
    match tokio::task::spawn_blocking(move || errand.run(|| op(&app))).await {
        Ok(outcome) => outcome,
        Err(failed) => Err(OpError::Fault(failed.to_string()).into()),
    }
}

/// Tells the log every day that no export of the root key was verified, if so: that changes only while nobody runs the
/// folder. Whether a day has passed is looked at every `look`.
pub async fn tell_of_export(app: Arc<App>, look: Duration, shutdown: Shutdown) {
    if let Some(warning) = app.opened.export_warning() {
        let seconds = || app.clock.moment().steady / 1_000_000;
        say_daily(seconds, look, &shutdown, || tracing::warn!("{warning}")).await;
    }
}

/// Starts a worker, and says what it is called. One that ends in a fault of the code is named by health until the
/// service starts anew.
pub fn start(
    app: &Arc<App>,
    name: &'static str,
    worker: impl Future<Output = ()> + Send + 'static,
) -> (&'static str, JoinHandle<()>) {
    let (app, working) = (app.clone(), tokio::spawn(worker));
    let watched = tokio::spawn(async move {
        if let Err(error) = working.await
            && error.is_panic()
        {
            tracing::error!(worker = name, %error, "a worker ended, and does nothing more");
            app.stopped.lock().push(name);
        }
    });
    (name, watched)
}
