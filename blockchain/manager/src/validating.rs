//! That the chain is being validated, and how far that is: one run at a time.
//!
//! The route begins a run; the service's status shows it.

use parking_lot::Mutex;

/// The run of validating that is under way, if any.
#[derive(Debug, Default)]
pub struct Validating {
    at: Mutex<Option<Course>>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Blocks that were judged.
    pub done: u64,
    /// Blocks that are to be judged.
    pub total: u64,
}

/// A run. Dropping it ends it.
#[derive(Debug)]
pub struct ValidationRun<'a> {
    of: &'a Validating,
}

impl Validating {
    /// Begins a run over so many blocks; `None` while another one is under way.
    pub fn begin(&self, total: u64) -> Option<ValidationRun<'_>> {
        let mut at = self.at.lock();
        if at.is_some() {
            return None;
        }
        *at = Some(Course { done: 0, total });
        Some(ValidationRun { of: self })
    }

    /// How far the run is, if there is one.
    pub fn course(&self) -> Option<Course> {
        *self.at.lock()
    }
}

impl ValidationRun<'_> {
    /// Tells how many blocks were judged.
    pub fn is_at(&self, done: u64) {
        if let Some(course) = self.of.at.lock().as_mut() {
            course.done = done;
        }
    }
}

impl Drop for ValidationRun<'_> {
    fn drop(&mut self) {
        *self.of.at.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runs_at_a_time_and_says_how_far_it_is() {
        let validating = Validating::default();
        let run = validating.begin(9).unwrap();
        assert!(validating.begin(3).is_none());
        run.is_at(4);
        assert_eq!(validating.course(), Some(Course { done: 4, total: 9 }));
        drop(run);
        assert_eq!(validating.course(), None);
        assert!(validating.begin(3).is_some());
    }
}
