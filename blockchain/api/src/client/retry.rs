//! How long to wait before the next attempt: twice as long each time, with jitter, up to a minute, and as long as the
//! service asks for at least.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ClientError;

/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What happens after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts after the first.
    pub count: u32,
    /// Before the first of them; doubled each time.
    pub delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { count: 3, delay: Duration::from_secs(1) }
    }
}

/// Says whether answers are not wanted any more, because a service ends.
#[derive(Clone, Default)]
pub struct GivenUp(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

/// What may bring a service back that a call did not reach: it says whether the call may be made again at once.
#[derive(Clone, Default)]
pub struct Revival(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Revival {
    /// Nothing does.
    pub const NONE: Self = Self(None);

    /// This function does, where it can.
    pub fn by(revive: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(revive)))
    }

    pub(super) fn revive(&self) -> bool {
        self.0.as_ref().is_some_and(|revive| revive())
    }
}

impl fmt::Debug for Revival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revival")
    }
}

impl PartialEq for Revival {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// So often it is asked while a wait lasts.
const LOOK: Duration = Duration::from_millis(20);

impl GivenUp {
    /// They are wanted for as long as it takes.
    pub const NEVER: Self = Self(None);

    /// Says what this function does.
    pub fn when(is_given_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_given_up)))
    }

    /// Waits so long; whether the answer is still wanted then.
    pub(super) fn wait(&self, wait: Duration) -> bool {
        let Some(is_given_up) = &self.0 else {
            std::thread::sleep(wait);
            return true;
        };
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if is_given_up() {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

impl fmt::Debug for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenUp")
    }
}

impl PartialEq for GivenUp {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Retry {
    /// How long to wait after attempt number `attempt` (from 0) that failed so; `None` if that was the last, or if the
    /// service asks for a longer time than anyone waits here.
    pub(super) fn wait_after(&self, attempt: u32, error: &ClientError) -> Option<Duration> {
        if attempt >= self.count || !error.is_passing() {
            return None;
        }
        let refused = error.refused();
        let asked = refused.and_then(|refused| refused.retry_after);
        // A refusal that names no time is final.
        if asked.is_none() && refused.is_some_and(|refused| refused.status < 500) {
            return None;
        }
        let asked = asked.unwrap_or_default();
        (asked <= WAIT_MAX).then(|| self.wait(attempt).max(asked))
    }

    /// How long to wait after attempt number `attempt` (from 0): between half and all of the
    /// doubled delay, so that clients that failed together do not come back together.
    pub fn wait(&self, attempt: u32) -> Duration {
        let doubled = self.delay.saturating_mul(2u32.saturating_pow(attempt)).min(WAIT_MAX);
        let random = RandomState::new().hash_one(attempt) as f64 / u64::MAX as f64;
        doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let retry = Retry { count: 9, delay: Duration::from_secs(1) };
        for attempt in 0..64 {
            let wait = retry.wait(attempt);
            let full = Duration::from_secs(1u64 << attempt.min(6)).min(WAIT_MAX);
            assert!(wait >= full / 2 && wait <= full, "attempt {attempt}: {wait:?}");
        }
    }
}
