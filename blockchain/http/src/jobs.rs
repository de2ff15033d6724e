//! Long work of a service: one run of a kind at a time, and how far each is.
//!
//! The code that does such work begins a [`JobRun`], tells it how far the work is, and ends it; routes show
//! what is kept here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lucid_api::problem::ErrorCode;
use lucid_api::v1::maintenance::{JobKind, Progress, ProgressState};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::reply::Refusal;
use crate::serve::Shutdown;

/// A rate is told once it has been measured for so long.
const MEASURED: Duration = Duration::from_millis(500);
/// Of a kind that is about one of many things, so many runs that ended are remembered.
const REMEMBERED: usize = 16;

/// The running and the last runs of each kind. A kind that is about one of many things (its *subject*)
/// may run for several of them at once.
pub struct Jobs {
    kinds: &'static [JobKind],
    /// Those that ended in the order in which they did; those that run anywhere.
    kept: Mutex<VecDeque<Job>>,
    /// How many have ended.
    ended: watch::Sender<u64>,
    /// What the start waits for.
    held_up: Mutex<Option<String>>,
    shutdown: Shutdown,
    now: Box<dyn Fn() -> String + Send + Sync>,
}

/// It runs already: one of a kind, and of a subject, runs at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is running already: the service says how far it is")]
pub struct AlreadyRuns;

impl From<AlreadyRuns> for Refusal {
    fn from(error: AlreadyRuns) -> Self {
        Self::new(ErrorCode::Running, error.to_string())
    }
}

struct Job {
    kind: JobKind,
    subject: String,
    stage: &'static str,
    stage_began: Instant,
    done: u64,
    total: u64,
    rate: f64,
    started_at: String,
    ended: Option<Ended>,
}

struct Ended {
    at: String,
    state: ProgressState,
    outcome: Result<Value, JobFault>,
}

/// Why work failed, or was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFault {
    /// What a caller who waited is refused with.
    pub code: ErrorCode,
    /// A sentence, for operators.
    pub why: String,
}

/// A run that goes on. Dropping it without an end counts as a failure.
pub struct JobRun<'a> {
    jobs: &'a Jobs,
    kind: JobKind,
    subject: String,
    has_ended: bool,
}

impl Jobs {
    /// Nothing of these kinds ran yet. Runs stop when the shutdown is asked for; `now` tells the time as it is
    /// written on the wire.
    pub fn new(
        kinds: &'static [JobKind],
        shutdown: Shutdown,
        now: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let (kept, ended, held_up) = Default::default();
        Self { kinds, kept, ended, held_up, shutdown, now: Box::new(now) }
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

    /// Hears of every run that ends from now on.
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Begins a run, unless one of its kind goes on.
    pub fn begin(&self, kind: JobKind) -> Result<JobRun<'_>, AlreadyRuns> {
        self.begin_of(kind, "")
    }

    /// Begins a run for one of many things, unless one of its kind and for that thing goes on.
    pub fn begin_of(&self, kind: JobKind, subject: &str) -> Result<JobRun<'_>, AlreadyRuns> {
        let mut kept = self.kept.lock();
        if kept.iter().any(|job| job.is(kind, subject) && job.ended.is_none()) {
            return Err(AlreadyRuns);
        }
        kept.retain(|job| !job.is(kind, subject));
        kept.push_back(Job {
            kind,
            subject: subject.to_owned(),
            stage: "",
            stage_began: Instant::now(),
            done: 0,
            total: 0,
            rate: 0.0,
            started_at: (self.now)(),
            ended: None,
        });
        Ok(JobRun { jobs: self, kind, subject: subject.to_owned(), has_ended: false })
    }

    /// How much of how much is done, while a kind of work goes on.
    pub fn course(&self, kind: JobKind) -> Option<(u64, u64)> {
        let kept = self.kept.lock();
        let job = kept.iter().find(|job| job.kind == kind && job.ended.is_none())?;
        Some((job.done, job.total))
    }

    /// Comes to its end once nothing runs any more: after the shutdown was asked for, that is soon.
    pub async fn quiet(&self) {
        let mut ends = self.ends();
        while self.kept.lock().iter().any(|job| job.ended.is_none()) {
            // What tells it is here, so that cannot fail.
            let _told = ends.changed().await;
        }
    }

    /// How far one kind of work is, or how it ended last.
    pub fn show(&self, kind: JobKind) -> Progress {
        latest(&self.kept.lock(), kind).map_or_else(|| Progress::idle(kind), Job::show)
    }

    /// How far the work on one subject is, or how it ended last if that is not long ago.
    pub fn show_of(&self, kind: JobKind, subject: &str) -> Progress {
        let kept = self.kept.lock();
        let job = kept.iter().find(|job| job.is(kind, subject));
        job.map_or_else(|| Progress::idle(kind), Job::show)
    }

    /// Which of these kinds failed when they last ran, and why.
    pub fn failed(&self, kinds: &[JobKind]) -> Vec<String> {
        let kept = self.kept.lock();
        let why = |kind: &JobKind| {
            let ended = latest(&kept, *kind)?.ended.as_ref()?;
            let fault = ended.outcome.as_ref().err()?;
            (ended.state == ProgressState::Failed)
                .then(|| format!("{}: {}", kind.as_str(), fault.why))
        };
        kinds.iter().filter_map(why).collect()
    }

    /// Everything: each kind, and after it what else of it runs.
    pub fn list(&self) -> Vec<Progress> {
        let kept = self.kept.lock();
        let of_kind = |kind: &JobKind| {
            let first = latest(&kept, *kind).map_or_else(|| Progress::idle(*kind), Job::show);
            let others = kept
                .iter()
                .filter(|job| job.kind == *kind && !job.subject.is_empty() && job.ended.is_none());
            std::iter::once(first).chain(others.map(Job::show)).collect::<Vec<_>>()
        };
        self.kinds.iter().flat_map(of_kind).collect()
    }
}

/// The run of a kind that ended last, or the one that goes on if the kind has no subject.
fn latest(kept: &VecDeque<Job>, kind: JobKind) -> Option<&Job> {
    let mut of_kind = kept.iter().rev().filter(|job| job.kind == kind);
    of_kind.find(|job| job.subject.is_empty() || job.ended.is_some())
}

impl Job {
    fn is(&self, kind: JobKind, subject: &str) -> bool {
        self.kind == kind && self.subject == subject
    }

    fn show(&self) -> Progress {
        let ended = self.ended.as_ref();
        let fault = ended.and_then(|ended| ended.outcome.as_ref().err());
        Progress {
            kind: self.kind,
            subject: Some(self.subject.clone()).filter(|subject| !subject.is_empty()),
            state: ended.map_or(ProgressState::Running, |ended| ended.state),
            stage: if ended.is_some() { String::new() } else { self.stage.to_owned() },
            done: self.done,
            total: self.total,
            rate: self.rate,
            eta_seconds: if ended.is_some() { None } else { self.eta() },
            started_at: Some(self.started_at.clone()),
            ended_at: ended.map(|ended| ended.at.clone()),
            result: ended.and_then(|ended| ended.outcome.as_ref().ok()).cloned(),
            error: fault.map(|fault| fault.why.clone()),
            code: fault.map(|fault| fault.code),
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
        let mut kept = self.jobs.kept.lock();
        if let Some(job) = kept.iter_mut().find(|job| job.is(self.kind, &self.subject)) {
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
    pub fn end(mut self, state: ProgressState, outcome: Result<Value, JobFault>) {
        self.note(state, outcome);
    }

    /// Ends it without a result.
    pub fn fail(self, code: ErrorCode, why: impl Into<String>) {
        self.end(ProgressState::Failed, Err(JobFault { code, why: why.into() }));
    }

    fn note(&mut self, state: ProgressState, outcome: Result<Value, JobFault>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let mut kept = self.jobs.kept.lock();
        let at = kept.iter().position(|job| job.is(self.kind, &self.subject));
        if let Some(mut job) = at.and_then(|at| kept.remove(at)) {
            job.ended = Some(Ended { at: (self.jobs.now)(), state, outcome });
            kept.push_back(job);
        }
        let has_ended = |job: &Job| job.kind == self.kind && job.ended.is_some();
        if kept.iter().filter(|job| has_ended(job)).count() > REMEMBERED {
            let oldest = kept.iter().position(has_ended);
            let _forgotten = oldest.and_then(|oldest| kept.remove(oldest));
        }
        drop(kept);
        self.jobs.ended.send_modify(|ended| *ended += 1);
    }
}

impl Drop for JobRun<'_> {
    fn drop(&mut self) {
        let why = "it ended without saying how".to_owned();
        self.note(ProgressState::Failed, Err(JobFault { code: ErrorCode::Internal, why }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(shutdown: Shutdown) -> Jobs {
        Jobs::new(&[JobKind::Gc, JobKind::Verify], shutdown, || "now".to_owned())
    }

    #[test]
    fn one_run_of_a_kind_at_a_time_and_the_last_one_is_remembered() {
        let jobs = jobs(Shutdown::new());
        assert_eq!(jobs.show(JobKind::Gc).state, ProgressState::Idle);
        let run = jobs.begin(JobKind::Gc).unwrap();
        assert!(matches!(jobs.begin(JobKind::Gc), Err(AlreadyRuns)));
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
        let jobs = jobs(Shutdown::new());
        let first = jobs.begin_of(JobKind::Verify, "a").unwrap();
        let second = jobs.begin_of(JobKind::Verify, "b").unwrap();
        assert!(matches!(jobs.begin_of(JobKind::Verify, "a"), Err(AlreadyRuns)));
        first.step("reading", 1, 2);
        assert_eq!(jobs.show_of(JobKind::Verify, "a").done, 1);
        assert_eq!(jobs.show_of(JobKind::Verify, "c").state, ProgressState::Idle);
        let running: Vec<_> = jobs.list().into_iter().filter_map(|job| job.subject).collect();
        assert_eq!(running, ["a", "b"]);
        first.end(ProgressState::Done, Ok(Value::Null));
        second.end(ProgressState::Done, Ok(Value::Null));
        assert_eq!(jobs.show_of(JobKind::Verify, "a").state, ProgressState::Done);
        assert_eq!(jobs.show_of(JobKind::Verify, "b").state, ProgressState::Done);
        assert_eq!(jobs.show(JobKind::Verify).subject.as_deref(), Some("b"));
        for number in 0..REMEMBERED {
            let run = jobs.begin_of(JobKind::Verify, &number.to_string()).unwrap();
            run.end(ProgressState::Done, Ok(Value::Null));
        }
        assert_eq!(jobs.show_of(JobKind::Verify, "b").state, ProgressState::Idle);
        assert_eq!(jobs.show_of(JobKind::Verify, "0").state, ProgressState::Done);
    }

    #[test]
    fn a_run_is_told_to_stop_at_the_end_and_measures_its_rate() {
        let shutdown = Shutdown::new();
        let jobs = jobs(shutdown.clone());
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
