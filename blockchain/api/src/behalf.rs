//! On whose behalf a thread calls other services: every call carries the id of that request, so that one search
//! over the logs of both services finds both ends.
//!
//! A service says so around the work; the client asks here. Threads that help must be told, too.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static CURRENT: RefCell<Option<Behalf>> = const { RefCell::new(None) };
}

/// A request, or what a service does by itself, by its id. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Behalf(Arc<Named>);

#[derive(Debug)]
struct Named {
    id: String,
    calls: AtomicU64,
}

impl Behalf {
    /// Of the request with this id.
    pub fn of(id: impl Into<String>) -> Self {
        Self(Arc::new(Named { id: id.into(), calls: AtomicU64::new(0) }))
    }

    /// Of the request that this thread works for, if it does for one.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Has this thread work for it.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _before = Before(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// How many calls were made for it so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// The id that a call made now carries.
    #[cfg(feature = "client")]
    pub(crate) fn called(&self) -> &str {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        &self.0.id
    }
}

/// Has the thread work again for what it did before, even where the work ends in a panic.
struct Before(Option<Behalf>);

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}
