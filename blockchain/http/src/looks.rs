//! When what was read from disk is looked at again: by a request, once the last look is long ago, and in a thread of
//! its own.
//!
//! Invariant: a file system that hangs holds up the thread that looks, and the one request that wanted the look for as
//! long as [`LOOK_MAX`]; everything else goes on with what is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How long what was read from disk is believed without a look.
const BELIEVED: Duration = Duration::from_secs(1);
/// How long a request waits for a look that it wanted.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// When was looked last, and whether one looks now. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Looks(Arc<State>);

#[derive(Debug)]
struct State {
    last: Mutex<Instant>,
    is_looking: AtomicBool,
}

/// Ends a look, however it ends.
struct Looking(Arc<State>);

impl Drop for Looking {
    fn drop(&mut self) {
        *self.0.last.lock() = Instant::now();
        self.0.is_looking.store(false, Ordering::SeqCst);
    }
}

impl Looks {
    /// What was read just now.
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            last: Mutex::new(Instant::now()),
            is_looking: AtomicBool::new(false),
        }))
    }

    /// Looks, if the last look is long ago. While one looks, nobody else does.
    pub(crate) async fn again(&self, look: impl FnOnce() + Send + 'static) {
        if self.0.last.lock().elapsed() < BELIEVED || self.0.is_looking.swap(true, Ordering::SeqCst)
        {
            return;
        }
        let looking = Looking(self.0.clone());
        let (told, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("looking".to_owned()).spawn(move || {
            let _told = told;
            let _looking = looking;
            look();
        });
        match thread {
            // It ends by dropping the other end.
            Ok(_) => {
                let _ended = tokio::time::timeout(LOOK_MAX, ended).await;
            }
            Err(error) => tracing::warn!(%error, "no thread looks whether files have changed"),
        }
    }
}
