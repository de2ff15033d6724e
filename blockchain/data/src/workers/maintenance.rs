//! Work on the store that takes long: asked for, or done from time to time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_api::v1::maintenance::{
    CollectGarbage, GarbageCollected, JobKind, OPTIMISE_LEVEL, Optimise, Optimised, ProgressState,
};
use lucid_http::errand::Errand;
use lucid_http::jobs::{JobFault, JobRun};
use lucid_http::reply::{Refusal, Reply};
use lucid_http::serve::Shutdown;
use lucid_store::vault::snapshot::Snapped;
use serde::Serialize;
use serde_json::json;

use super::round;
use crate::app::App;
use crate::ops::upkeep::collect_garbage::{GarbageRequest, GarbageStage, collect_garbage};
use crate::ops::upkeep::optimise::optimise;
use crate::ops::upkeep::snapshot_log::{WORTH_COMMITS, snapshot_log};
use crate::ops::{Clash, OpError};
use crate::{Opened, reply};

/// Work goes on for so long before it looks whether others wait.
const STEP: Duration = Duration::from_millis(20);
/// The longest rest: even on the busiest day it comes to its end.
const REST_MAX: Duration = Duration::from_secs(1);
/// The first collection after a start does not wait for the whole interval, or a service that is
/// restarted often would never collect.
const FIRST_MAX: Duration = Duration::from_secs(3_600);

/// Collects garbage, telling everyone how far it is; stepping back while callers wait, unless one of them
/// `asked` for it.
pub fn collect_now(
    app: &App,
    run: JobRun<'_>,
    wanted: CollectGarbage,
    asked: bool,
) -> Reply<GarbageCollected> {
    let request = GarbageRequest {
        keep_days: wanted.keep_days.unwrap_or(app.keep_days),
        keep_log_days: app.keep_log_days,
        dry_run: wanted.dry_run,
        confirm: wanted.confirm,
    };
    let Opened { vault, locks, key, .. } = &*app.opened;
    let _disturbing = app.foreground.disturb();
    let mut since = Instant::now();
    let mut watch = |stage: GarbageStage, done, total| {
        let goes_on = run.step(stage.as_str(), done, total);
        // A slow search sees more change meanwhile, so only the stages after it rest.
        if !asked && stage != GarbageStage::Finding && since.elapsed() >= STEP {
            let rest = app.foreground.rest(since.elapsed());
            std::thread::sleep(rest.min(REST_MAX));
            since = Instant::now();
        }
        goes_on
    };
    let engine = app.anchoring.engine();
    let outcome = collect_garbage(
        vault,
        locks,
        key,
        app.clock.now(),
        engine.as_deref(),
        &request,
        &mut watch,
    );
    if matches!(&outcome, Ok(garbage) if garbage.expired.retention > 0) {
        app.anchoring.wake();
    }
    let collected = outcome.map(|garbage| reply::garbage(&garbage, request.dry_run));
    ended(run, collected, |collected| collected.stopped)
}

/// Ends a run with what came of the work, which its caller is told as well.
pub(super) fn ended<T: Serialize>(
    run: JobRun<'_>,
    outcome: Result<T, OpError>,
    was_stopped: impl FnOnce(&T) -> bool,
) -> Reply<T> {
    match outcome {
        Ok(done) => {
            let stopped = was_stopped(&done);
            let state = if stopped { ProgressState::Stopped } else { ProgressState::Done };
            run.end(state, Ok(json!(done)));
            Ok(done)
        }
        Err(error) => {
            let state = match error {
                // That others are at it, or that nobody waits any more, is no failure of the store.
                OpError::Conflict(Clash::Running, _) | OpError::Abandoned => ProgressState::Stopped,
                _ => ProgressState::Failed,
            };
            let why = error.to_string();
            let refusal = Refusal::from(error);
            run.end(state, Err(JobFault { code: refusal.code(), why }));
            Err(refusal)
        }
    }
}

/// Packs what is stored more tightly, telling everyone how far it is: everything, or what has long been
/// full.
pub fn optimise_now(app: &App, run: JobRun<'_>, wanted: Optimise, all: bool) -> Reply<Optimised> {
    let level = wanted.level.unwrap_or(OPTIMISE_LEVEL);
    let mut watch = |done, total| run.step("rewriting", done, total);
    let collected = optimise(&app.opened.vault, level, app.threads, all, &mut watch);
    let optimised = collected.map(|collected| reply::optimised(&collected, level));
    ended(run, optimised, |optimised| optimised.stopped)
}

/// Makes a snapshot of a log that copies share, if enough came since the one before, stepping back while callers wait.
fn snapshot_now(app: &App, until: &Shutdown) -> Result<Snapped, OpError> {
    let _disturbing = app.foreground.disturb();
    let mut since = Instant::now();
    snapshot_log(&app.opened, WORTH_COMMITS, &mut |_, _| {
        if since.elapsed() >= STEP {
            std::thread::sleep(app.foreground.rest(since.elapsed()).min(REST_MAX));
            since = Instant::now();
        }
        !until.is_asked()
    })
}

/// Collects garbage from time to time, until the shutdown is asked for. What would free an abnormal share
/// of the store waits for the operator to confirm it. Then full segments are packed at a level, if one is
/// set.
pub async fn collect(
    app: Arc<App>,
    every: Option<Duration>,
    level: Option<u8>,
    shutdown: Shutdown,
) {
    let Some(every) = every else { return };
    let mut wait = every.min(FIRST_MAX);
    loop {
        tokio::select! {
            () = shutdown.asked() => return,
            () = tokio::time::sleep(wait) => wait = every,
        }
        let collect = |app: &App| {
            collect_now(app, app.jobs.begin(JobKind::Gc)?, CollectGarbage::default(), false)
        };
        match round(&app, &Errand::of("garbage"), collect).await {
            Ok(collected) => tracing::info!(
                chunks = collected.chunks_removed,
                bytes = collected.bytes_freed,
                sessions = collected.sessions_expired + collected.sessions_interrupted,
                "garbage was collected"
            ),
            Err(_) => {
                let error = app.jobs.show(JobKind::Gc).error;
                tracing::warn!(error, "garbage was not collected");
            }
        }
        let until = shutdown.clone();
        let snapshot = move |app: &App| snapshot_now(app, &until);
        match round(&app, &Errand::of("snapshot"), snapshot).await {
            Ok(Snapped { number: 0, .. }) => {}
            Ok(snapped) => tracing::info!(
                snapshot = snapped.number,
                pieces = snapped.pieces_kept + snapped.pieces_written,
                commits = snapped.commits_hollowed,
                "a snapshot of the log was made, and the commits behind the one before were emptied"
            ),
            Err(error) => tracing::warn!(%error, "no snapshot of the log was made"),
        }
        if level.is_none() {
            continue;
        }
        let pack = move |app: &App| {
            optimise_now(app, app.jobs.begin(JobKind::Optimise)?, Optimise { level }, false)
        };
        match round(&app, &Errand::of("garbage"), pack).await {
            Ok(optimised) => tracing::info!(
                segments = optimised.segments_rewritten,
                bytes = optimised.bytes_freed,
                "full segments were packed more tightly"
            ),
            Err(_) => {
                let error = app.jobs.show(JobKind::Optimise).error;
                tracing::warn!(error, "nothing was packed more tightly");
            }
        }
    }
}
