//! Waiting for a server: what time can mend is waited out, said once when it begins and once when it
//! is over.
//!
//! A recording cannot be made again, so a stream ends only by what no waiting mends: a refusal that
//! the same request would get tomorrow. A command that can simply be started again has no [`Patience`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lucid_api::address::Address;
use lucid_api::client::{ClientError, ClientOptions, Retry};

use crate::output::Output;

/// Before the first further attempt; doubled each time.
const PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer: so long after it is back a server may be waited for.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Who is waited for, and who is told.
pub struct Patience {
    output: Output,
    url: Address,
    /// Whether a server that does not answer is waited for: one that never did may not be one.
    believed: AtomicBool,
    /// Whether the user was told that the server is waited for.
    waiting: AtomicBool,
}

/// The pauses of one call.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(PAUSE)
    }
}

impl Patience {
    /// Waits for this server. With `from_start` it is waited for even before it has answered once.
    pub fn new(output: &Output, url: &Address, from_start: bool) -> Self {
        Self {
            output: output.clone(),
            url: url.clone(),
            believed: AtomicBool::new(from_start),
            waiting: AtomicBool::new(false),
        }
    }

    /// How a client is set up whose failures come here: the first of them is to be told.
    pub fn options(given: ClientOptions) -> ClientOptions {
        let retry = Retry { count: 0, ..Retry::default() };
        ClientOptions { retry, ..given }
    }

    /// Calls until there is an answer, or a refusal that stays one.
    pub fn wait_out<T>(
        &self,
        mut call: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut pauses = Pauses::default();
        loop {
            match call() {
                Ok(answer) => {
                    self.answered();
                    return Ok(answer);
                }
                Err(error) => self.pause(error, &mut pauses)?,
            }
        }
    }

    /// Waits after a failure, if waiting may mend it.
    pub fn pause(&self, error: ClientError, pauses: &mut Pauses) -> Result<(), ClientError> {
        let believed = error.refused().is_some() || self.believed.load(Ordering::Relaxed);
        if !(believed && is_mended_by_time(&error)) {
            return Err(error);
        }
        if !self.waiting.swap(true, Ordering::Relaxed) {
            self.output
                .warn(&format!("waiting for {}, and going on after that: {error}", self.url));
        }
        std::thread::sleep(pauses.0);
        pauses.0 = (pauses.0 * 2).min(PAUSE_MAX);
        Ok(())
    }

    /// Notes that the server does what it is asked.
    pub fn answered(&self) {
        self.believed.store(true, Ordering::Relaxed);
        if self.waiting.swap(false, Ordering::Relaxed) {
            self.output.warn(&format!("{} answers again; going on", self.url));
        }
    }
}

/// Whether the same request may be answered another day: a server starts, a network comes back, an
/// operator makes room.
fn is_mended_by_time(error: &ClientError) -> bool {
    const REQUEST_TIMEOUT: u16 = 408;
    const INSUFFICIENT_STORAGE: u16 = 507;
    let refused = error.refused().map(|refused| refused.status);
    error.is_passing() || matches!(refused, Some(REQUEST_TIMEOUT | INSUFFICIENT_STORAGE))
}
