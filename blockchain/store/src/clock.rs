//! What time it is: the one room that asks the system's clock.
//!
//! A [`Clock`] is handed to whoever needs the time again and again; ops are handed the time itself. Tests
//! hand in one that they turn ([`Clock::by_hand`]): ahead, back, before 1970. A system's clock may do all of
//! that, so nobody takes it for one that only goes on, nor for one that is right.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lucid_core::time::Timestamp;

use crate::StoreError;

/// A clock. Clones tell the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Clock {
    /// The system's.
    pub const fn system() -> Self {
        Self(None)
    }

    /// One that stands still until it is turned.
    pub fn by_hand(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.as_micros()))))
    }

    /// Turns it and its clones. The system's cannot be turned.
    pub fn turn(&self, to: Timestamp) {
        if let Some(micros) = &self.0 {
            micros.store(to.as_micros(), Ordering::SeqCst);
        }
    }

    /// What it tells. Before 1970 the number is negative.
    #[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
    pub fn now(&self) -> Timestamp {
        if let Some(micros) = &self.0 {
            return Timestamp::from_micros(micros.load(Ordering::SeqCst));
        }
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
        };
        Timestamp::from_micros(micros)
    }

    /// Refuses a time before 1970: the library of the index panics then.
    pub(crate) fn must_be_after_1970(&self) -> Result<(), StoreError> {
        match fault_before_1970(self.now()) {
            Some(why) => Err(StoreError::Folder(why)),
            None => Ok(()),
        }
    }
}

/// Why nothing works by a clock that tells this, if so.
pub(crate) fn fault_before_1970(now: Timestamp) -> Option<String> {
    (now.as_micros() < 0)
        .then(|| format!("the clock tells {now}, which is before 1970: set the clock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_turned_with_its_clones_and_the_systems_is_not() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let clock = Clock::by_hand(at("2026-01-27T10:00:00Z"));
        let clone = clock.clone();
        for text in ["2099-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-01-27T09:59:00Z"] {
            clock.turn(at(text));
            assert_eq!(clone.now(), at(text));
            assert_eq!(clone.must_be_after_1970().is_err(), text.starts_with("1969"));
        }
        let system = Clock::system();
        system.turn(at("1969-12-31T23:59:59Z"));
        assert!(system.now() > at("2026-01-01T00:00:00Z"));
    }
}
