//! Places for one sort of work: so many at a time, and the others wait without a thread.

use std::sync::Arc;
use std::time::Duration;

use lucid_api::problem::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::reply::{Refusal, Reply};
use crate::telemetry::Page;

/// How long a request waits for a place before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places for one sort of work. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Places {
    /// What has them, for people.
    what: &'static str,
    count: usize,
    free: Arc<Semaphore>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct RequestPlace(
    #[expect(dead_code, reason = "it is only held")] Option<OwnedSemaphorePermit>,
);

impl Places {
    /// So many places for what is called so.
    pub fn new(what: &'static str, count: usize) -> Self {
        Self { what, count, free: Arc::new(Semaphore::new(count)) }
    }

    /// A place before long, or a refusal.
    pub async fn take(&self) -> Reply<RequestPlace> {
        tokio::time::timeout(PATIENCE, self.wait()).await.map_err(|_| {
            let detail = format!("{} {} go on already; ask again later", self.count, self.what);
            Refusal::new(ErrorCode::Busy, detail)
        })
    }

    /// A place, if one is free.
    pub fn take_now(&self) -> Option<RequestPlace> {
        let place = self.free.clone().try_acquire_owned().ok()?;
        Some(RequestPlace(Some(place)))
    }

    /// Writes onto a page of `/metrics` how many are taken.
    pub fn show(&self, page: &mut Page, service: &str) {
        let of = [("service", service), ("work", self.what)];
        let taken = self.count.saturating_sub(self.free.available_permits());
        let help = "Places for a sort of work that are taken.";
        page.gauge("lucid_http_places_taken", help, &of, taken as f64);
        let help = "Places for a sort of work; what comes when all are taken waits, or is refused.";
        page.gauge("lucid_http_places", help, &of, self.count as f64);
    }

    /// A place, however long it takes.
    pub async fn wait(&self) -> RequestPlace {
        // It is never closed.
        RequestPlace(self.free.clone().acquire_owned().await.ok())
    }
}
