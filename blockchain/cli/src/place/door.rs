//! The local door of a folder that this command has for long: other commands of its user read by it meanwhile.
//!
//! It is served on a thread of its own, gone when the command ends in any way but by being killed, and shows what
//! [`Shown`] shows.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lucid_core::session::SessionId;
use lucid_data_chain::Opened;
use lucid_data_chain::shown::{News, Shown};
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use lucid_store::threads;
use parking_lot::Mutex;

use crate::interrupt;

/// Threads that requests have at once, beside the one that serves.
const THREADS: usize = 64;
/// A thread that is busy with a disk at the end is given this long.
const LAST_WORK: Duration = Duration::from_secs(1);
/// A command that is interrupted waits so long for requests in work.
const INTERRUPTED: Duration = Duration::from_secs(3);

/// A door that others come in by, until it is dropped.
pub(super) struct Door {
    shutdown: Shutdown,
    news: Option<News>,
    serving: Option<JoinHandle<()>>,
}

impl Door {
    /// Opens the door of an open folder that `owner` has.
    pub(super) fn open(opened: &Arc<Opened>, owner: &str, clock: &Clock) -> anyhow::Result<Self> {
        let shutdown = Shutdown::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(THREADS)
            .build()?;
        let shown = {
            let _here = runtime.enter();
            Shown::begin(opened, owner, clock, &shutdown)?
        };
        let (news, until) = (shown.news(), shutdown.clone());
        let (ending, ended) = channel::<()>();
        let serving = threads::start("door", move || {
            let _ending = ending;
            runtime.block_on(shown.serve(&until));
            runtime.shutdown_timeout(LAST_WORK);
        })?;
        interrupt::end_with(Some(waiting(shutdown.clone(), ended)));
        Ok(Self { shutdown, news: Some(news), serving: Some(serving) })
    }

    /// Tells those who look on that a session has grown, or is further.
    pub(super) fn tell(&self, session: &SessionId) {
        if let Some(news) = &self.news {
            news.tell(session);
        }
    }
}

/// Ends the door, and waits for those who are in it.
fn waiting(shutdown: Shutdown, ended: Receiver<()>) -> Box<dyn FnOnce() + Send> {
    let ended = Mutex::new(ended);
    Box::new(move || {
        shutdown.ask();
        // It is over when the other side is gone.
        let _over = ended.lock().recv_timeout(INTERRUPTED);
    })
}

impl Drop for Door {
    fn drop(&mut self) {
        interrupt::end_with(None);
        self.shutdown.ask();
        // With it goes what it had of the folder.
        self.news = None;
        if let Some(serving) = self.serving.take() {
            // A panic was told already.
            let _ended = serving.join();
        }
    }
}
