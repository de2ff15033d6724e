//! How long to wait before the next attempt: twice as long each time, with jitter, up to a minute.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

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

impl Retry {
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
