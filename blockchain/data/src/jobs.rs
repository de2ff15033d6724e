//! Long work of the service: one run of a kind at a time, and how far each is.
//!
//! The code that does such work begins a [`JobRun`], tells it how far the work is, and ends it; routes show
//! what is kept here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lucid_api::paths;
use lucid_api::v1::maintenance::{Progress, ProgressState};
use lucid_core::time::Timestamp;
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use parking_lot::Mutex;
use serde_json::Value;

use crate::ops::{Clash, OpError};

/// A rate is told once it has been measured for so long.
const MEASURED: Duration = Duration::from_millis(500);

/// Which work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Collecting garbage.
    Gc,
    /// Packing what is stored more tightly.
    Optimise,
    /// Reading stored bytes again.
    Scrub,
    /// Reading a session back.
    Verify,
    /// Reading at the start what the index does not know yet: all of the log, if the index is gone.
    Reindex,
}

impl JobKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Gc, Self::Optimise, Self::Scrub, Self::Verify, Self::Reindex];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::Optimise => "optimise",
            Self::Scrub => "scrub",
            Self::Verify => "verify",
            Self::Reindex => "reindex",
        }
    }
}

/// The running and the last runs of each kind. A kind that is about one of many things (its *subject*)
/// may run for several of them at once; of what has ended, only the last run of a kind is kept.
#[derive(Default)]
pub struct Jobs {
    kept: Mutex<BTreeMap<(JobKind, String), Job>>,
    /// What the start waits for.
    held_up: Mutex<Option<String>>,
    shutdown: Shutdown,
    clock: Clock,
}

/// The key of what a kind did last, and of work that has no subject.
fn last(kind: JobKind) -> (JobKind, String) {
    (kind, String::new())
}

struct Job {
    subject: String,
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
pub struct JobRun<'a> {
    jobs: &'a Jobs,
    key: (JobKind, String),
    has_ended: bool,
}

impl Jobs {
    /// Nothing ran yet. Runs stop when the shutdown is asked for.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, ..Self::default() }
    }

    /// Like [`Self::new`]; `clock` tells when runs begin and end.
    pub fn by(shutdown: Shutdown, clock: Clock) -> Self {
        Self { shutdown, clock, ..Self::default() }
    }

    /// Notes what the start waits for, if it does.
    pub fn hold_up(&self, why: Option<String>) {
        *self.held_up.lock() = why;
    }

    /// What the start waits for.
    pub fn held_up(&self) -> Option<String> {
        self.held_up.lock().clone()
    }

    /// Comes to its end when the service does.
    pub async fn stopping(&self) {
        self.shutdown.asked().await;
    }

    /// Begins a run, unless one of its kind goes on.
    pub fn begin(&self, kind: JobKind) -> Result<JobRun<'_>, OpError> {
        self.begin_of(kind, "")
    }

    /// Begins a run for one of many things, unless one of its kind and for that thing goes on.
    pub fn begin_of(&self, kind: JobKind, subject: &str) -> Result<JobRun<'_>, OpError> {
        let mut kept = self.kept.lock();
        let key = (kind, subject.to_owned());
        if kept.get(&key).is_some_and(|job| job.ended.is_none()) {
            let maintenance = paths::MAINTENANCE;
            return Err(OpError::Conflict(
                Clash::Running,
                format!("it is running already: {maintenance} says how far"),
            ));
        }
        let job = Job {
            subject: subject.to_owned(),
            stage: "",
            stage_began: Instant::now(),
            done: 0,
            total: 0,
            rate: 0.0,
            started_at: self.clock.now(),
            ended: None,
        };
        kept.insert(key.clone(), job);
        Ok(JobRun { jobs: self, key, has_ended: false })
    }

    /// How far one kind of work is, or how it ended last.
    pub fn show(&self, kind: JobKind) -> Progress {
        Job::show(kind, self.kept.lock().get(&last(kind)))
    }

    /// The same of one subject.
    pub fn show_of(&self, kind: JobKind, subject: &str) -> Progress {
        let kept = self.kept.lock();
        let running = kept.get(&(kind, subject.to_owned()));
        let ended = kept.get(&last(kind)).filter(|job| job.subject == subject);
        Job::show(kind, running.or(ended))
    }

    /// Which of these kinds failed when they last ran, and why.
    pub fn failed(&self, kinds: &[JobKind]) -> Vec<String> {
        let kept = self.kept.lock();
        let why = |kind: &JobKind| {
            let ended = kept.get(&last(*kind))?.ended.as_ref()?;
            let why = ended.outcome.as_ref().err()?;
            (ended.state == ProgressState::Failed).then(|| format!("{}: {why}", kind.as_str()))
        };
        kinds.iter().filter_map(why).collect()
    }

    /// Everything: each kind, and after it what else of it runs.
    pub fn list(&self) -> Vec<Progress> {
        let kept = self.kept.lock();
        let of_kind = |kind: &JobKind| {
            let first = std::iter::once(Job::show(*kind, kept.get(&last(*kind))));
            let others = kept.iter().filter(|((of, subject), _)| of == kind && !subject.is_empty());
            first.chain(others.map(|(_, job)| Job::show(*kind, Some(job)))).collect::<Vec<_>>()
        };
        JobKind::ALL.iter().flat_map(of_kind).collect()
    }
}

impl Job {
    fn show(kind: JobKind, job: Option<&Self>) -> Progress {
        let ended = job.and_then(|job| job.ended.as_ref());
        let running = job.filter(|job| job.ended.is_none());
        Progress {
            kind: kind.as_str().to_owned(),
            subject: job.map(|job| job.subject.clone()).filter(|subject| !subject.is_empty()),
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

    fn eta(&self) -> Option<u64> {
        let left = self.total.saturating_sub(self.done) as f64;
        (self.rate >= 1.0).then(|| (left / self.rate).ceil() as u64)
    }
}

impl JobRun<'_> {
    /// Notes how far it is; `false` when it has to stop.
    pub fn step(&self, stage: &'static str, done: u64, total: u64) -> bool {
        if let Some(job) = self.jobs.kept.lock().get_mut(&self.key) {
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
    pub fn end(mut self, state: ProgressState, outcome: Result<Value, String>) {
        self.note(state, outcome);
    }

    fn note(&mut self, state: ProgressState, outcome: Result<Value, String>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let mut kept = self.jobs.kept.lock();
        if let Some(mut job) = kept.remove(&self.key) {
            job.ended = Some(Ended { at: self.jobs.clock.now(), state, outcome });
            kept.insert(last(self.key.0), job);
        }
    }
}

impl Drop for JobRun<'_> {
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
        assert_eq!(jobs.show(JobKind::Gc).state, ProgressState::Idle);
        let run = jobs.begin(JobKind::Gc).unwrap();
        assert!(matches!(jobs.begin(JobKind::Gc), Err(OpError::Conflict(Clash::Running, _))));
        assert!(run.step("finding", 1, 4));
        let shown = jobs.show(JobKind::Gc);
        assert_eq!((shown.state, shown.done, shown.total), (ProgressState::Running, 1, 4));
        assert_eq!(shown.stage, "finding");
        run.end(ProgressState::Done, Ok(Value::from(7)));
        let shown = jobs.show(JobKind::Gc);
        assert_eq!((shown.state, shown.result), (ProgressState::Done, Some(Value::from(7))));
        drop(jobs.begin(JobKind::Gc).unwrap());
        assert_eq!(jobs.show(JobKind::Gc).state, ProgressState::Failed);
    }

    #[test]
    fn many_things_run_at_once_and_the_last_that_ended_is_remembered() {
        let jobs = Jobs::new(Shutdown::new());
        let first = jobs.begin_of(JobKind::Verify, "a").unwrap();
        let second = jobs.begin_of(JobKind::Verify, "b").unwrap();
        assert!(matches!(
            jobs.begin_of(JobKind::Verify, "a"),
            Err(OpError::Conflict(Clash::Running, _))
        ));
        first.step("reading", 1, 2);
        assert_eq!(jobs.show_of(JobKind::Verify, "a").done, 1);
        assert_eq!(jobs.show_of(JobKind::Verify, "c").state, ProgressState::Idle);
        let running: Vec<_> = jobs.list().into_iter().filter_map(|job| job.subject).collect();
        assert_eq!(running, ["a", "b"]);
        first.end(ProgressState::Done, Ok(Value::Null));
        second.end(ProgressState::Done, Ok(Value::Null));
        assert_eq!(jobs.show_of(JobKind::Verify, "a").state, ProgressState::Idle);
        assert_eq!(jobs.show_of(JobKind::Verify, "b").state, ProgressState::Done);
        assert_eq!(jobs.show(JobKind::Verify).subject.as_deref(), Some("b"));
    }

    #[test]
    fn a_run_is_told_to_stop_at_the_end_and_measures_its_rate() {
        let shutdown = Shutdown::new();
        let jobs = Jobs::new(shutdown.clone());
        let run = jobs.begin(JobKind::Gc).unwrap();
        run.step("finding", 0, 1_000);
        std::thread::sleep(MEASURED);
        run.step("finding", 500, 1_000);
        let shown = jobs.show(JobKind::Gc);
        assert!(shown.rate > 0.0 && shown.rate <= 1_000.0, "{shown:?}");
        assert!(shown.eta_seconds.is_some());
        shutdown.ask();
        assert!(!run.step("finding", 501, 1_000));
    }
}
