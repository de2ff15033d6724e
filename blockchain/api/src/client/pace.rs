//! How fast bodies may go, either way: so that a line that others use, too, is not taken up by one caller.
//!
//! Only bodies count, of all calls of a client together. Bytes go in pieces of a quarter of a second's worth, so no
//! connection is silent for long.

use std::io::{self, Cursor, Read};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::blocking::Body;

/// The slowest that is allowed, in KiB a second: the largest chunk is there in time then, as a service
/// wants a body.
pub const KIB_PER_SECOND_MIN: u32 = 16;
/// The fastest that can be counted.
pub const KIB_PER_SECOND_MAX: u32 = u32::MAX >> 10;

/// How fast bodies may go, in KiB a second; as fast as they can where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Of requests.
    pub upload: Option<u32>,
    /// Of replies.
    pub download: Option<u32>,
}

impl Pace {
    /// As fast as they can.
    pub const FREE: Self = Self { upload: None, download: None };
}

/// What keeps the pace of a client. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pacing {
    upload: Option<Arc<Limiter>>,
    download: Option<Arc<Limiter>>,
}

#[derive(Debug)]
struct Limiter {
    allowed: DefaultDirectRateLimiter,
    clock: DefaultClock,
    rate: NonZeroU32,
    piece: NonZeroU32,
}

impl Limiter {
    fn new(kib_per_second: u32) -> Self {
        let kib = kib_per_second.clamp(KIB_PER_SECOND_MIN, KIB_PER_SECOND_MAX);
        let rate = NonZeroU32::MIN.saturating_add((kib << 10) - 1);
        let piece = NonZeroU32::MIN.saturating_add((kib << 8) - 1);
        let quota = Quota::per_second(rate).allow_burst(piece);
        let clock = DefaultClock::default();
        Self { allowed: RateLimiter::direct(quota), clock, rate, piece }
    }

    /// Waits until so many bytes may go.
    fn wait(&self, bytes: usize) {
        let count = u32::try_from(bytes).ok().and_then(NonZeroU32::new);
        let Some(count) = count else { return };
        // More than a piece is never asked for.
        while let Ok(Err(not_yet)) = self.allowed.check_n(count) {
            std::thread::sleep(not_yet.wait_time_from(self.clock.now()));
        }
    }

    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_secs(bytes / u64::from(self.rate.get()) + 1)
    }
}

impl Pacing {
    pub fn new(pace: Pace) -> Self {
        let limiter = |rate: Option<u32>| rate.map(|rate| Arc::new(Limiter::new(rate)));
        Self { upload: limiter(pace.upload), download: limiter(pace.download) }
    }

    /// The body of a request.
    pub fn body(&self, bytes: Bytes) -> Body {
        match &self.upload {
            None => Body::from(bytes),
            Some(limiter) => {
                let length = bytes.len() as u64;
                Body::sized(Paced::new(Cursor::new(bytes), Some(limiter.clone())), length)
            }
        }
    }

    /// The body of a request that comes as a stream.
    pub fn stream(&self, stream: impl Read + Send + 'static) -> Body {
        Body::new(Paced::new(stream, self.upload.clone()))
    }

    /// The body of a reply.
    pub fn reply<R: Read>(&self, body: R) -> Paced<R> {
        Paced::new(body, self.download.clone())
    }

    /// How much longer a call may take: `sent` bytes of its body, and up to `replied` of its reply.
    pub fn patience(&self, sent: u64, replied: u64) -> Duration {
        let of = |limiter: &Option<Arc<Limiter>>, bytes| {
            limiter.as_ref().map_or(Duration::ZERO, |limiter| limiter.time_for(bytes))
        };
        of(&self.upload, sent) + of(&self.download, replied)
    }
}

/// A stream of bytes that keeps a pace.
#[derive(Debug)]
pub(super) struct Paced<R> {
    inner: R,
    limiter: Option<Arc<Limiter>>,
}

impl<R> Paced<R> {
    fn new(inner: R, limiter: Option<Arc<Limiter>>) -> Self {
        Self { inner, limiter }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(limiter) = &self.limiter else { return self.inner.read(buffer) };
        let most = buffer.len().min(limiter.piece.get() as usize);
        let count = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        limiter.wait(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn all_bodies_of_a_client_together_keep_its_pace() {
        // Twice 512 KiB at 1 MiB a second: a second, less the quarter that may go at once.
        let pacing = Pacing::new(Pace { upload: None, download: Some(1 << 10) });
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut all = Vec::new();
                    pacing.reply(Cursor::new(vec![7; 512 << 10])).read_to_end(&mut all).unwrap();
                    assert_eq!(all, vec![7; 512 << 10]);
                });
            }
        });
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_millis(700), "{taken:?}");
    }

    #[test]
    fn without_a_pace_nothing_waits_and_nothing_is_given_more_time() {
        let pacing = Pacing::new(Pace::FREE);
        assert_eq!(pacing.patience(1 << 30, 1 << 30), Duration::ZERO);
        let mut all = Vec::new();
        pacing.reply(Cursor::new(vec![7; 64 << 20])).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 64 << 20);
        let slow = Pacing::new(Pace { upload: Some(16), download: Some(32) });
        assert_eq!(slow.patience(16 << 20, 32 << 20), Duration::from_secs(2 * 1025));
        // Less is no pace at which anything would get there.
        let slowest = Pacing::new(Pace { upload: Some(0), download: None });
        assert_eq!(slowest.patience(16 << 10, 0), Duration::from_secs(2));
    }
}
