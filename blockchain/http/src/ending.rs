//! How a service ends: its doors and its workers side by side, its store behind them, all within [`WITHIN`].
//!
//! Both services end here. A disk or a peer may hang for ever, and holds up nobody's end: what is waited for in
//! vain is named in the log and left as a crash would leave it. Nothing that was acknowledged depends on it.

use std::fmt::Display;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::jobs::Jobs;
use crate::serve::Drained;

/// From the wish to end until a service is at its end. Of this the store has what the doors leave of it.
pub const WITHIN: Duration = Duration::from_secs(13);
/// How long workers may take to notice the wish, while requests are answered.
const WORKERS_END: Duration = Duration::from_secs(2);

/// What runs in a service and ends before its store is closed.
pub struct Rooms {
    /// Serves the network.
    pub door: JoinHandle<Drained>,
    /// Serves the local socket, if there is one.
    pub local: Option<JoinHandle<Drained>>,
    /// What it does without being asked, by name.
    pub workers: Vec<(&'static str, JoinHandle<()>)>,
}

/// Why a service did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The store said why.
    #[error("the store was not closed in order, and the next start recovers it: {0}")]
    Store(String),
    /// The store said nothing: a disk hangs.
    #[error(
        "the store was not closed within {} s and is left as it is: what was acknowledged is kept, and the \
         next start recovers it",
        WITHIN.as_secs()
    )]
    Unclosed,
    /// A task of its own failed: a mistake of ours.
    #[error("a task of the service failed: {0}")]
    Task(#[from] JoinError),
}

/// Waits for the wish to end, and then for everything to end; `close` closes the store, and may block.
pub async fn end<E: Display + Send + 'static>(
    rooms: Rooms,
    jobs: &Jobs,
    close: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Result<Drained, EndError> {
    let Rooms { door, local, workers } = rooms;
    jobs.stopping().await;
    let ends = Instant::now() + WITHIN;
    let (drained, ()) = tokio::join!(door, rest(workers, jobs));
    let local = match local {
        Some(local) => local.await.map(drop),
        None => Ok(()),
    };
    match timeout_at(ends, tokio::task::spawn_blocking(close)).await {
        Ok(closed) => closed?.map_err(|error| EndError::Store(error.to_string()))?,
        Err(_) => return Err(EndError::Unclosed),
    }
    local?;
    Ok(drained?)
}

/// Waits for what nobody asked for. Closing the store breaks nothing that is left here: it finds it closed.
async fn rest(workers: Vec<(&'static str, JoinHandle<()>)>, jobs: &Jobs) {
    let ends = Instant::now() + WORKERS_END;
    for (name, worker) in workers {
        if timeout_at(ends, worker).await.is_err() {
            tracing::warn!(worker = name, "a worker waits for a disk or a peer, and is left");
        }
    }
    // Work whose caller did not wait for it ends at its next step.
    if timeout_at(ends, jobs.quiet()).await.is_err() {
        tracing::warn!("long work waits for a disk or a peer, and is left");
    }
}
