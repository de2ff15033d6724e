//! What SIGINT and SIGTERM do to a service: the first asks for the end, the second is the end.
//!
//! They are listened to on a thread of its own, which waits for nothing else. So a second signal is heard where
//! disks or peers hold up every other thread, and the end comes in time even if the way to it hangs.

use std::io;
use std::process::exit;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::serve::Shutdown;

/// So long after the first signal a process ends, whatever it is at.
const LAST_MOMENT: Duration = Duration::from_secs(15);
/// A log that nobody reads holds up the end for so long.
const SAYING: Duration = Duration::from_secs(1);

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        let next = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        next.as_raw_value()
    }
}

/// Listens from now on until the process ends: the first SIGINT or SIGTERM asks for the shutdown, and the second
/// of either kind ends the process at once. What was acknowledged is durable at any moment.
pub fn heed(shutdown: &Shutdown) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _here = runtime.enter();
        Signals::listen()?
    };
    let shutdown = shutdown.clone();
    let heeding = async move {
        let number = signals.next().await;
        say(move || tracing::info!("Received signal {number}, initiating graceful shutdown..."));
        shutdown.ask();
        match timeout(LAST_MOMENT, signals.next()).await {
            Ok(number) => {
                say(move || {
                    tracing::warn!(
                        "Received signal {number} as well, ending at once: what was acknowledged is kept"
                    );
                });
                exit(128 + number)
            }
            Err(_) => {
                say(|| {
                    tracing::error!(
                        "the shutdown hangs and is given up after {} s: what was acknowledged is kept",
                        LAST_MOMENT.as_secs()
                    );
                });
                exit(1)
            }
        }
    };
    Builder::new().name("signals".into()).spawn(move || runtime.block_on(heeding)).map(drop)
}

/// Says something on a thread of its own.
fn say(line: impl FnOnce() + Send + 'static) {
    let (saying, said) = mpsc::channel::<()>();
    let started = Builder::new().name("last-words".into()).spawn(move || {
        line();
        drop(saying);
    });
    if started.is_ok() {
        // It is over when the other side is gone.
        let _said = said.recv_timeout(SAYING);
    }
}
