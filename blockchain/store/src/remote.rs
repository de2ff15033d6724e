//! Calls of what is reached over a network, from threads that wait for their answers.
//!
//! The drivers of remote back-ends are asynchronous, and every contract of this crate is not: the caller waits,
//! on a thread that may wait. So the drivers run on threads of their own, and a call hands its future over there.
//! Invariant: no call waits longer than it was given, whatever the other side does.

pub(crate) mod breaker;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::runtime;

/// Threads that drive calls. Most of their time they wait for a network.
const THREADS: usize = 2;

/// How long a call waits behind its own limit, for the thread that has to say that it is over.
const GRACE: Duration = Duration::from_secs(5);

/// Drives the calls of remote back-ends; clones are the same.
#[derive(Clone)]
pub struct Driver {
    runtime: Arc<Threads>,
}

/// A runtime that ends without waiting for what is still on its way: nobody waits for that any more.
struct Threads(Option<runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// No answer came in time, so it is not known what became of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer came within {within:?}")]
pub struct NoAnswer {
    /// How long it was waited for.
    pub within: Duration,
}

impl Driver {
    /// Starts the threads.
    pub fn start() -> io::Result<Self> {
        let mut builder = runtime::Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("remote").enable_all();
        Ok(Self { runtime: Arc::new(Threads(Some(builder.build()?))) })
    }

    /// Waits for a call, so long at most; what is not done by then is given up. Not for calls themselves: a thread that
    /// waits drives nothing, not even what it waits for.
    pub fn wait<T: Send + 'static>(
        &self,
        within: Duration,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (send, answer) = sync_channel(1);
        let Some(runtime) = &self.runtime.0 else { return Err(NoAnswer { within }) };
        runtime.spawn(async move {
            if let Ok(done) = tokio::time::timeout(within, call).await {
                // Who waited may have given up.
                let _gone = send.send(done);
            }
        });
        match answer.recv_timeout(within + GRACE) {
            Ok(done) => Ok(done),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(NoAnswer { within })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_waited_for_and_one_that_stalls_is_given_up() {
        let driver = Driver::start().unwrap();
        assert_eq!(driver.wait(Duration::from_secs(60), async { 7 }), Ok(7));
        let within = Duration::from_millis(20);
        let stalled = driver.wait(within, std::future::pending::<()>());
        assert_eq!(stalled, Err(NoAnswer { within }));
        // A call that fails by itself has no answer, and the next one has.
        let failed = driver.wait(Duration::from_secs(60), async move { assert!(within.is_zero()) });
        assert!(failed.is_err());
        assert_eq!(driver.wait(Duration::from_secs(60), async { 9 }), Ok(9));
    }
}
