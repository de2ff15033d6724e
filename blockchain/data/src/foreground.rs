//! How busy the service is with what callers asked for, so that work in the background can step back.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Work that takes longer says nothing of how long others wait.
const SHORT: Duration = Duration::from_secs(1);
/// The weight of the newest measurement is one in so many.
const WEIGHT: u64 = 8;

/// What callers wait for at this moment, and how long they waited lately.
#[derive(Debug, Default)]
pub struct Foreground {
    waiting: AtomicUsize,
    /// Microseconds that an op takes, on average and lately.
    lately: AtomicU64,
    /// The same while nothing ran in the background.
    usual: AtomicU64,
    disturbed: AtomicUsize,
}

/// A caller waits while this lives.
#[derive(Debug)]
pub struct Waiting<'a> {
    of: &'a Foreground,
    since: Instant,
}

/// Work in the background goes on while this lives.
#[derive(Debug)]
pub struct Disturbing<'a>(&'a Foreground);

impl Foreground {
    /// A caller begins to wait.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting { of: self, since: Instant::now() }
    }

    /// Work in the background begins.
    pub fn disturb(&self) -> Disturbing<'_> {
        self.disturbed.fetch_add(1, Ordering::Relaxed);
        Disturbing(self)
    }

    /// How long to rest after work in the background that took so long: not at all while no caller
    /// waits; as long again while one does; much longer while callers wait twice as long as usual.
    pub fn rest(&self, worked: Duration) -> Duration {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return Duration::ZERO;
        }
        let lately = self.lately.load(Ordering::Relaxed);
        let usual = self.usual.load(Ordering::Relaxed);
        worked * if lately > usual.saturating_mul(2) { 8 } else { 1 }
    }

    fn measured(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let blend = |to: &AtomicU64| {
            let before = to.load(Ordering::Relaxed);
            let after = if before == 0 { took } else { before - before / WEIGHT + took / WEIGHT };
            // Two at once lose one measurement, which matters to nobody.
            to.store(after, Ordering::Relaxed);
        };
        blend(&self.lately);
        if self.disturbed.load(Ordering::Relaxed) == 0 {
            blend(&self.usual);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.of.waiting.fetch_sub(1, Ordering::Relaxed);
        let took = self.since.elapsed();
        if took < SHORT {
            self.of.measured(took);
        }
    }
}

impl Drop for Disturbing<'_> {
    fn drop(&mut self) {
        self.0.disturbed.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_in_the_background_steps_back_for_whoever_waits() {
        let foreground = Foreground::default();
        let worked = Duration::from_millis(10);
        assert_eq!(foreground.rest(worked), Duration::ZERO);
        foreground.measured(Duration::from_micros(200));
        let waiting = foreground.wait();
        assert_eq!(foreground.rest(worked), worked);
        let disturbing = foreground.disturb();
        for _ in 0..20 {
            foreground.measured(Duration::from_millis(5));
        }
        assert_eq!(foreground.rest(worked), worked * 8);
        drop(disturbing);
        drop(waiting);
        assert_eq!(foreground.rest(worked), Duration::ZERO);
    }
}
