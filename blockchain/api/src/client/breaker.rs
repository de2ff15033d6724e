//! A circuit breaker: a service that failed several times in a row is left alone for a while, and then tried with a few
//! calls. So one that hangs costs its callers a timeout a minute, not one a call.
//!
//! Invariant: an answer counts as an answer, whatever it says, unless the service says that it cannot (5xx). While the
//! circuit is open a call fails at once, with the reason of the last failure: it surely was not carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When a service is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaking {
    /// After so many failures in a row.
    pub failures: u32,
    /// For so long at first, and for twice as long each time that it fails again.
    pub pause: Duration,
    /// For no longer than this.
    pub pause_max: Duration,
    /// So many calls try it then, until one of them is answered.
    pub trials: u32,
}

impl Default for Breaking {
    fn default() -> Self {
        let (pause, pause_max) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { failures: 5, pause, pause_max, trials: 3 }
    }
}

/// How a service was found to be, without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// It is called.
    Closed,
    /// It is not called for so much longer.
    Open(Duration),
    /// It is being tried.
    HalfOpen,
}

/// The breaker of one service. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    breaking: Breaking,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failed: u32,
    /// What the last one was.
    why: String,
    /// When it was last left alone.
    since: Option<Instant>,
    /// How often in a row.
    opened: u32,
    /// Calls that try it now.
    trying: u32,
}

impl Breaker {
    pub(super) fn new(breaking: Breaking) -> Self {
        Self { breaking, state: Arc::default() }
    }

    /// Lets a call through, or says why none is.
    pub(super) fn enter(&self) -> Result<(), String> {
        let mut state = self.state.lock();
        match self.circuit_of(&state) {
            Circuit::Closed => Ok(()),
            Circuit::Open(_) => Err(state.why.clone()),
            Circuit::HalfOpen if state.trying < self.breaking.trials => {
                state.trying += 1;
                Ok(())
            }
            Circuit::HalfOpen => Err(state.why.clone()),
        }
    }

    /// Notes that a call that was let through was answered, or why not.
    pub(super) fn leave(&self, answered: Result<(), String>) {
        let mut state = self.state.lock();
        match answered {
            Ok(()) => {
                *state = State::default();
                return;
            }
            Err(why) => state.why = why,
        }
        state.failed = state.failed.saturating_add(1);
        state.trying = state.trying.saturating_sub(1);
        // What was under way when it opened says nothing new.
        let is_open = matches!(self.circuit_of(&state), Circuit::Open(_));
        if state.failed >= self.breaking.failures && !is_open {
            state.opened = state.opened.saturating_add(1);
            (state.since, state.trying) = (Some(Instant::now()), 0);
        }
    }

    pub(super) fn circuit(&self) -> Circuit {
        self.circuit_of(&self.state.lock())
    }

    fn circuit_of(&self, state: &State) -> Circuit {
        let Some(since) = state.since else { return Circuit::Closed };
        let Breaking { pause, pause_max, .. } = self.breaking;
        let doubled = 2u32.saturating_pow(state.opened.saturating_sub(1));
        let pause = pause.saturating_mul(doubled).min(pause_max);
        let left = pause.saturating_sub(since.elapsed());
        if left.is_zero() { Circuit::HalfOpen } else { Circuit::Open(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.enter().unwrap();
            breaker.leave(Err("it is away".to_owned()));
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_closes_it() {
        let patient = Breaking { pause: HOUR, pause_max: 4 * HOUR, ..Breaking::default() };
        let breaker = Breaker::new(patient);
        failed(&breaker, 4);
        breaker.enter().unwrap();
        breaker.leave(Ok(()));
        failed(&breaker, 4);
        assert_eq!(breaker.circuit(), Circuit::Closed);
        breaker.enter().unwrap();
        failed(&breaker, 1);
        assert_eq!(breaker.enter().unwrap_err(), "it is away");
        let Circuit::Open(left) = breaker.circuit() else { panic!("{:?}", breaker.circuit()) };
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        // What was under way when it opened makes it no longer, and may still be answered.
        breaker.leave(Err("it is away".to_owned()));
        assert!(matches!(breaker.circuit(), Circuit::Open(left) if left <= HOUR));
        breaker.leave(Ok(()));
        assert_eq!(breaker.enter(), Ok(()));
    }

    #[test]
    fn after_the_pause_a_few_calls_try_it_and_a_failure_doubles_it() {
        let breaker = Breaker::new(Breaking { pause: Duration::ZERO, ..Breaking::default() });
        failed(&breaker, 5);
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        for _ in 0..3 {
            breaker.enter().unwrap();
        }
        assert!(breaker.enter().is_err());
        breaker.leave(Ok(()));
        assert_eq!(breaker.circuit(), Circuit::Closed);

        let pause = Duration::from_millis(1);
        let breaker = Breaker::new(Breaking { pause, pause_max: HOUR, ..Breaking::default() });
        failed(&breaker, 5);
        // 1 ms, 2, 4, ...: after so many failures of its trials it is over an hour.
        for _ in 0..40 {
            breaker.state.lock().since = Instant::now().checked_sub(HOUR);
            if breaker.enter().is_ok() {
                breaker.leave(Err("it is away".to_owned()));
            }
        }
        let Circuit::Open(left) = breaker.circuit() else { panic!("{:?}", breaker.circuit()) };
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
    }
}
