//! Making entries of the items that wait to be indexed.
//!
//! It is woken by every item, and looks once a second besides; after a failure it rests. What it was doing when
//! the service ends stays queued.

use std::sync::Arc;
use std::time::Duration;

use lucid_http::errand::Errand;
use lucid_http::serve::Shutdown;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::round;
use crate::app::App;
use crate::document::DocumentKind;
use crate::ops::documents::index_items::{IndexedItems, index_items};

/// Between two looks when nobody wakes it.
const TICK: Duration = Duration::from_secs(1);
/// After a round that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The queue of the index, as the rest of the service sees it.
#[derive(Default)]
pub struct IndexQueue {
    wake: Notify,
    failed: Mutex<Option<String>>,
}

impl IndexQueue {
    /// Says that items wait.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Why the last round failed, if it did.
    pub fn fault(&self) -> Option<String> {
        self.failed.lock().clone()
    }
}

/// Indexes what waits until the shutdown is asked for.
pub async fn index(app: Arc<App>, batch: usize, shutdown: Shutdown) {
    while !shutdown.is_asked() {
        let errand = Errand::of("indexing");
        let done =
            round(&app, &errand, move |app| index_items(&app.opened.vault, app.clock.now(), batch));
        let wait = match done.await {
            Ok(done) => {
                tell(&done);
                *app.indexing.failed.lock() = None;
                if done.goes_on { Duration::ZERO } else { TICK }
            }
            Err(error) => {
                tracing::error!(%error, "items cannot be indexed, and wait");
                *app.indexing.failed.lock() = Some(error.to_string());
                AFTER_FAILURE
            }
        };
        if wait.is_zero() {
            continue;
        }
        let woken = async {
            match wait == AFTER_FAILURE {
                true => std::future::pending().await,
                false => app.indexing.wake.notified().await,
            }
        };
        tokio::select! {
            () = shutdown.asked() => return,
            () = woken => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn tell(done: &IndexedItems) {
    for (kind, id) in &done.indexed {
        match kind {
            DocumentKind::Block => tracing::info!(block.hash = %id, "Indexed block {id}"),
            DocumentKind::Transaction => tracing::debug!("Indexed transaction {id}"),
            DocumentKind::Session => tracing::info!(session.id = %id, "Indexed session {id}"),
        }
    }
    for (name, why) in &done.buried {
        tracing::warn!(item = %name, why, "an item cannot be indexed, and is laid aside");
    }
}
