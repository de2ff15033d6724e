//! What time it is: the one room that asks the system's clocks.
//!
//! A [`Clock`] is handed to code that needs the time again and again; ops are handed the time itself. Tests
//! hand in one that they turn ([`Clock::by_hand`]): ahead, back, before 1970. A system's clock may do all of
//! that, so nobody takes it for one that only goes on, nor for one that is right.
//!
//! Code that times bytes by a clock looks at it through a [`ClockDrift`], which knows how far the clock was set back,
//! no matter how long after the last look. It knows that by a clock that nobody sets ([`Moment::steady`]).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lucid_core::time::Timestamp;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use crate::StoreError;

/// What the two clocks tell is of one moment if they are read within so many microseconds.
const TOGETHER: i64 = 50_000;
/// How often that is tried. A machine that is so busy is not kept waiting for it.
const TRIES: usize = 16;
/// Steps back up to so many microseconds are none: a leap second is one, and the two clocks are not read in
/// the same instant. Where a clock is set right little by little, the steady one goes with it.
const STEP_MIN: u64 = 1_000_000;

/// What the clocks tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time by the clock, which is only as right as it was set.
    pub wall: Timestamp,
    /// Microseconds since some moment, asleep or awake: of a clock that nobody sets. What it tells is
    /// compared within one run of one process.
    pub steady: i64,
}

impl Moment {
    /// How many whole seconds have passed since an earlier one, wherever the clock was set to.
    pub fn seconds_since(&self, earlier: &Self) -> i64 {
        self.steady.saturating_sub(earlier.steady).max(0) / 1_000_000
    }
}

/// A clock. Clones tell the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Moment>>>);

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

    /// One that stands still until it is turned, or time passes.
    pub fn by_hand(at: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(Moment { wall: at, steady: 0 }))))
    }

    /// Sets it and its clones: no time passes. The system's cannot be set.
    pub fn turn(&self, to: Timestamp) {
        if let Some(by_hand) = &self.0 {
            by_hand.lock().wall = to;
        }
    }

    /// Lets time pass. The system's passes by itself.
    pub fn pass(&self, time: Duration) {
        let Some(by_hand) = &self.0 else { return };
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let mut now = by_hand.lock();
        now.wall = Timestamp::from_micros(now.wall.as_micros().saturating_add(micros));
        now.steady = now.steady.saturating_add(micros);
    }

    /// What it tells. Before 1970 the number is negative.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(by_hand) => by_hand.lock().wall,
            None => system_wall(),
        }
    }

    /// What it tells, and how much time has passed regardless of what it tells.
    pub fn moment(&self) -> Moment {
        if let Some(by_hand) = &self.0 {
            return *by_hand.lock();
        }
        let mut steady = system_steady();
        for _ in 1..TRIES {
            let wall = system_wall();
            let after = system_steady();
            if after.saturating_sub(steady) <= TOGETHER {
                return Moment { wall, steady };
            }
            steady = after;
        }
        Moment { wall: system_wall(), steady }
    }

    /// Refuses a time before 1970: the library of the index panics then.
    pub(crate) fn must_be_after_1970(&self) -> Result<(), StoreError> {
        match fault_before_1970(self.now()) {
            Some(why) => Err(StoreError::Folder(why)),
            None => Ok(()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
fn system_wall() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
    };
    Timestamp::from_micros(micros)
}

/// It goes on while the machine sleeps, and is never set.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the clock")]
fn system_steady() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

/// Why nothing works by a clock that tells this, if so.
pub(crate) fn fault_before_1970(now: Timestamp) -> Option<String> {
    (now.as_micros() < 0)
        .then(|| format!("the clock tells {now}, which is before 1970: set the clock"))
}

/// How a clock goes beside the steady one, as seen by the code that times something by it.
///
/// The way back is counted from the furthest that the clock ever was ahead, so that steps back add up. It
/// is told until it was noted, and again when the clock is further back than was noted: what fails on its
/// way is not forgotten, and what is known is not said twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockDrift {
    /// The most that the clock was ahead of the steady one.
    ahead: Option<i64>,
    /// How far back was noted.
    noted: u64,
}

impl ClockDrift {
    /// By how many microseconds the clock has gone back at this moment, if that is not noted yet.
    pub fn went_back(&mut self, now: &Moment) -> u64 {
        let ahead = now.wall.as_micros().saturating_sub(now.steady);
        let most = self.ahead.map_or(ahead, |most| most.max(ahead));
        self.ahead = Some(most);
        let back = most.abs_diff(ahead);
        if back > self.noted.saturating_add(STEP_MIN) { back } else { 0 }
    }

    /// Notes that this is known where it must be.
    pub fn note(&mut self, back: u64) {
        self.noted = self.noted.max(back);
    }
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
        clock.pass(Duration::from_micros(1_500_000));
        assert_eq!(clone.now(), at("2026-01-27T09:59:01.5Z"));
        let system = Clock::system();
        system.turn(at("1969-12-31T23:59:59Z"));
        assert!(system.now() > at("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let clock = Clock::by_hand(Timestamp::parse("2026-01-27T10:00:00Z").unwrap());
        let began = clock.moment();
        clock.pass(Duration::from_secs(600));
        clock.turn(clock.now().plus_seconds(-3_600));
        let now = clock.moment();
        assert_eq!(now.wall.micros_since(began.wall), -3_000_000_000);
        assert_eq!((now.seconds_since(&began), began.seconds_since(&now)), (600, 0));
        // The system's steady clock goes on, and beside the other.
        let (one, two) = (Clock::system().moment(), Clock::system().moment());
        assert!(two.steady >= one.steady && one.steady > 0);
        let apart = |moment: &Moment| moment.wall.as_micros() - moment.steady;
        assert!(apart(&one).abs_diff(apart(&two)) < STEP_MIN);
    }

    #[test]
    fn a_pace_tells_how_far_a_clock_went_back_however_long_nobody_looked() {
        let clock = Clock::by_hand(Timestamp::parse("2026-01-27T10:00:00Z").unwrap());
        let step = |seconds: i64| clock.turn(clock.now().plus_seconds(seconds));
        let mut pace = ClockDrift::default();
        assert_eq!(pace.went_back(&clock.moment()), 0);
        // As ever, asleep for a week, and a leap second.
        for quiet in [0, 1, 604_800] {
            clock.pass(Duration::from_secs(quiet));
            assert_eq!(pace.went_back(&clock.moment()), 0);
        }
        step(-1);
        assert_eq!(pace.went_back(&clock.moment()), 0);
        step(1);
        // By less than has passed, and by more.
        clock.pass(Duration::from_secs(600));
        step(-300);
        for _ in 0..2 {
            assert_eq!(pace.went_back(&clock.moment()), 300_000_000, "until it is noted");
        }
        pace.note(300_000_000);
        clock.pass(Duration::from_secs(600));
        assert_eq!(pace.went_back(&clock.moment()), 0, "that is known");
        step(-3_300);
        assert_eq!(pace.went_back(&clock.moment()), 3_600_000_000, "steps add up");
        pace.note(3_600_000_000);
        // Ahead of what it ever was, and back to where it was then.
        step(10_000);
        assert_eq!(pace.went_back(&clock.moment()), 0);
        step(-3_000);
        assert_eq!(pace.went_back(&clock.moment()), 0, "less than is known already");
        step(-7_000);
        assert_eq!(pace.went_back(&clock.moment()), 10_000_000_000);
    }

    #[test]
    fn a_clock_that_is_set_right_little_by_little_is_told_once_it_matters() {
        let clock = Clock::by_hand(Timestamp::parse("2026-01-27T10:00:00Z").unwrap());
        let mut pace = ClockDrift::default();
        let mut most = 0;
        for _ in 0..100 {
            clock.pass(Duration::from_secs(60));
            clock.turn(Timestamp::from_micros(clock.now().as_micros() - 100_000));
            let back = pace.went_back(&clock.moment());
            pace.note(back);
            most = most.max(back);
        }
        assert!((8_900_000..=10_000_000).contains(&most), "{most}");
        let mut pace = ClockDrift::default();
        let end = Moment { wall: Timestamp::from_micros(i64::MAX), steady: i64::MIN };
        assert_eq!(pace.went_back(&end), 0);
        pace.went_back(&Moment { wall: Timestamp::from_micros(i64::MIN), steady: i64::MAX });
    }
}
