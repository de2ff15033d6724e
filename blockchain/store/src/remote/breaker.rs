//! Spares callers the wait for a server that does not answer.
//!
//! A call that is given up has waited long. If each of those behind it did, too, the last of many callers would wait
//! for ever. So after one was given up the next are refused at once, with the same words, until a pause is over. Then
//! one call tries, while others are still refused; what it finds counts for all. Nothing is decided by this: a call that
//! is refused was not made.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Whether a server answered when it was last called. `E` is why not.
pub struct Breaker<E>(Mutex<State<E>>);

struct State<E> {
    /// When a call was last given up, and why; `None` while calls are answered.
    away: Option<(Instant, E)>,
    /// Whether a call finds out now if that is so still.
    is_tried: bool,
}

impl<E> Default for Breaker<E> {
    fn default() -> Self {
        Self(Mutex::new(State { away: None, is_tried: false }))
    }
}

impl<E: Clone> Breaker<E> {
    /// Lets a call begin, or says why the server is away. `pause`: how long nothing is called after a call was given up;
    /// without one each call finds out by itself.
    pub fn begin(&self, pause: Option<Duration>) -> Result<Begun<'_, E>, E> {
        let Some(pause) = pause else { return Ok(Begun { breaker: self, is_trial: false }) };
        let mut state = self.0.lock();
        let is_trial = match &state.away {
            None => false,
            Some((since, why)) if state.is_tried || since.elapsed() < pause => {
                return Err(why.clone());
            }
            Some(_) => true,
        };
        state.is_tried |= is_trial;
        Ok(Begun { breaker: self, is_trial })
    }
}

/// A call that has begun.
pub struct Begun<'a, E> {
    breaker: &'a Breaker<E>,
    is_trial: bool,
}

impl<E> Begun<'_, E> {
    /// It was answered, or given up: then this is why.
    pub fn end(self, away: Option<E>) {
        self.breaker.0.lock().away = away.map(|why| (Instant::now(), why));
    }
}

impl<E> Drop for Begun<'_, E> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.0.lock().is_tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_call_that_was_given_up_one_tries_and_the_others_are_spared() {
        let (breaker, long) = (Breaker::default(), Some(Duration::from_secs(3_600)));
        let now = Some(Duration::ZERO);
        // As long as calls are answered, any number of them goes at once.
        let two = (breaker.begin(long).unwrap(), breaker.begin(long).unwrap());
        two.0.end(None);
        two.1.end(Some("gone"));
        assert_eq!(breaker.begin(long).err(), Some("gone"));
        let trial = breaker.begin(now).unwrap();
        assert_eq!(breaker.begin(now).err(), Some("gone"), "one tries already");
        trial.end(Some("still gone"));
        assert_eq!(breaker.begin(long).err(), Some("still gone"));
        // A call that ends in no way of these leaves it to the next to find out.
        drop(breaker.begin(now).unwrap());
        assert!(breaker.begin(None).is_ok(), "where nobody is spared");
        breaker.begin(now).unwrap().end(None);
        assert!(breaker.begin(long).is_ok());
    }
}
