//! What the service does by itself, or goes on doing when it was asked for: bringing anchors and tombstones to
//! the engine ([`anchoring`]), keeping its figures ([`figures`]), making entries of what waits to be indexed
//! ([`indexing`]), collecting garbage and packing ([`maintenance`]), writing the read log ([`read_log`]), reading stored bytes again ([`scrub`]), taking
//! documents from a block-manager ([`sync`]), and verifying sessions (`verification`, only when
//! asked).

pub mod anchoring;
pub mod figures;
pub mod indexing;
pub mod maintenance;
pub mod read_log;
pub mod scrub;
pub mod sync;
pub mod verification;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::app::App;
use crate::ops::OpError;

/// Runs one round of a worker on a thread that may block. One that ends in a fault of the code has failed
/// like any other: its worker goes on with the next.
async fn round<T: Send + 'static, E: From<OpError> + Send + 'static>(
    app: &Arc<App>,
    op: impl FnOnce(&App) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let app = app.clone();
    match tokio::task::spawn_blocking(move || op(&app)).await {
        Ok(outcome) => outcome,
        Err(failed) => Err(OpError::Fault(failed.to_string()).into()),
    }
}

/// Starts a worker. One that ends in a fault of the code is named by health until the service starts anew.
pub fn start(
    app: &Arc<App>,
    name: &'static str,
    worker: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let (app, working) = (app.clone(), tokio::spawn(worker));
    tokio::spawn(async move {
        if let Err(error) = working.await
            && error.is_panic()
        {
            tracing::error!(worker = name, %error, "a worker ended, and does nothing more");
            app.stopped.lock().push(name);
        }
    })
}
