//! Long work of the service: one run of a kind at a time, and how far each is.
//!
//! Whoever works begins a [`Run`], tells it how far it is, and ends it; routes show what is kept here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lucid_api::paths;
use lucid_api::v1::maintenance::{Progress, ProgressState};
use lucid_core::time::Timestamp;
use lucid_http::serve::Shutdown;
use parking_lot::Mutex;
use serde_json::Value;

use crate::clock;
use crate::ops::OpError;

/// A rate is told once it has been measured for so long.
const MEASURED: Duration = Duration::from_millis(500);

/// Which work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Collecting garbage.
    Gc,
    /// Packing what is stored more tightly.
    Optimise,
    /// Reading stored bytes again.
    Scrub,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Gc, Self::Optimise, Self::Scrub];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::Optimise => "optimise",
            Self::Scrub => "scrub",
        }
    }
}

/// The running and the last runs of each kind.
#[derive(Default)]
pub struct Jobs {
    kept: Mutex<BTreeMap<Kind, Job>>,
    shutdown: Shutdown,
}

struct Job {
    stage: &'static str,
    stage_began: Instant,
    done: u64,
    total: u64,
    rate: f64,
    started_at: Timestamp,
    ended: Option<Ended>,
}

struct Ended {
    at: Timestamp,
    state: ProgressState,
    outcome: Result<Value, String>,
}

/// A run that goes on. Dropping it without an end counts as a failure.
pub struct Run<'a> {
    jobs: &'a Jobs,
    kind: Kind,
}

impl Jobs {
    /// Nothing ran yet. Runs stop when the shutdown is asked for.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { kept: Mutex::default(), shutdown }
    }

    /// Begins a run, unless one of its kind goes on.
    pub fn begin(&self, kind: Kind) -> Result<Run<'_>, OpError> {
        let mut kept = self.kept.lock();
        if kept.get(&kind).is_some_and(|job| job.ended.is_none()) {
            let maintenance = paths::MAINTENANCE;
            return Err(OpError::Conflict(format!(
                "it is running already: {maintenance} says how far"
            )));
        }
        let job = Job {
            stage: "",
            stage_began: Instant::now(),
            done: 0,
            total: 0,
            rate: 0.0,
            started_at: clock::now(),
            ended: None,
        };
        kept.insert(kind, job);
        Ok(Run { jobs: self, kind })
    }

    /// How far one kind of work is.
    pub fn show(&self, kind: Kind) -> Progress {
        let kept = self.kept.lock();
        let job = kept.get(&kind);
        let ended = job.and_then(|job| job.ended.as_ref());
        let running = job.filter(|job| job.ended.is_none());
        Progress {
            kind: kind.as_str().to_owned(),
            state: match (job, ended) {
                (None, _) => ProgressState::Idle,
                (Some(_), None) => ProgressState::Running,
                (Some(_), Some(ended)) => ended.state,
            },
            stage: running.map_or_else(String::new, |job| job.stage.to_owned()),
            done: job.map_or(0, |job| job.done),
            total: job.map_or(0, |job| job.total),
            rate: job.map_or(0.0, |job| job.rate),
            eta_seconds: running.and_then(Job::eta),
            started_at: job.map(|job| job.started_at.to_string()),
            ended_at: ended.map(|ended| ended.at.to_string()),
            result: ended.and_then(|ended| ended.outcome.as_ref().ok()).cloned(),
            error: ended.and_then(|ended| ended.outcome.as_ref().err()).cloned(),
        }
    }
}

impl Job {
    fn eta(&self) -> Option<u64> {
        let left = self.total.saturating_sub(self.done) as f64;
        (self.rate >= 1.0).then(|| (left / self.rate).ceil() as u64)
    }
}

impl Run<'_> {
    /// Notes how far it is; `false` when it has to stop.
    pub fn step(&self, stage: &'static str, done: u64, total: u64) -> bool {
        if let Some(job) = self.jobs.kept.lock().get_mut(&self.kind) {
            if job.stage != stage {
                (job.stage, job.stage_began, job.rate) = (stage, Instant::now(), 0.0);
            }
            (job.done, job.total) = (done, total);
            let elapsed = job.stage_began.elapsed();
            if elapsed >= MEASURED {
                job.rate = done as f64 / elapsed.as_secs_f64();
            }
        }
        !self.jobs.shutdown.is_asked()
    }

    /// Ends it.
    pub fn end(self, state: ProgressState, outcome: Result<Value, String>) {
        self.note(state, outcome);
    }

    fn note(&self, state: ProgressState, outcome: Result<Value, String>) {
        if let Some(job) = self.jobs.kept.lock().get_mut(&self.kind)
            && job.ended.is_none()
        {
            job.ended = Some(Ended { at: clock::now(), state, outcome });
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.note(ProgressState::Failed, Err("it ended without saying how".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_of_a_kind_at_a_time_and_the_last_one_is_remembered() {
        let jobs = Jobs::new(Shutdown::new());
        assert_eq!(jobs.show(Kind::Gc).state, ProgressState::Idle);
        let run = jobs.begin(Kind::Gc).unwrap();
        assert!(matches!(jobs.begin(Kind::Gc), Err(OpError::Conflict(_))));
        assert!(run.step("finding", 1, 4));
        let shown = jobs.show(Kind::Gc);
        assert_eq!((shown.state, shown.done, shown.total), (ProgressState::Running, 1, 4));
        assert_eq!(shown.stage, "finding");
        run.end(ProgressState::Done, Ok(Value::from(7)));
        let shown = jobs.show(Kind::Gc);
        assert_eq!((shown.state, shown.result), (ProgressState::Done, Some(Value::from(7))));
        drop(jobs.begin(Kind::Gc).unwrap());
        assert_eq!(jobs.show(Kind::Gc).state, ProgressState::Failed);
    }

    #[test]
    fn a_run_is_told_to_stop_at_the_end_and_measures_its_rate() {
        let shutdown = Shutdown::new();
        let jobs = Jobs::new(shutdown.clone());
        let run = jobs.begin(Kind::Gc).unwrap();
        run.step("finding", 0, 1_000);
        std::thread::sleep(MEASURED);
        run.step("finding", 500, 1_000);
        let shown = jobs.show(Kind::Gc);
        assert!(shown.rate > 0.0 && shown.rate <= 1_000.0, "{shown:?}");
        assert!(shown.eta_seconds.is_some());
        shutdown.ask();
        assert!(!run.step("finding", 501, 1_000));
    }
}
