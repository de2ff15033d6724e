//! Reads stored bytes again in the background, a round in every interval, and goes on after a restart.
//!
//! It spreads a round over its interval, steps back while callers wait, and hurries when it is asked to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_api::v1::maintenance::{JobKind, ProgressState};
use lucid_core::time::Timestamp;
use lucid_http::errand::Errand;
use lucid_http::jobs::JobRun;
use lucid_http::reply::Refusal;
use lucid_http::serve::Shutdown;
use serde_json::json;

use super::round as work;
use crate::app::App;
use crate::config::Scrub;
use crate::fact::Scrubbed;
use crate::ops::OpError;
use crate::ops::upkeep::scrub_store::{begin_round, note_scrub, scrub_state, scrub_stretch};

/// Bytes that are read at a time: callers wait for one such stretch at most.
const STRETCH: u64 = 1 << 20;
/// How often it is noted how far it has come.
const NOTED: Duration = Duration::from_secs(60);
/// What could not be read is tried again after so long.
const AFTER_FAILURE: Duration = Duration::from_secs(600);
/// What an earlier process left waits until the service has found its feet.
const AFTER_START: Duration = Duration::from_secs(60);
/// A round is to be done in this part of its interval, so that slow days leave room.
const PART: f64 = 0.8;

/// Scrubs until the shutdown is asked for. A failure costs its round, and is waited out.
pub async fn scrub(app: Arc<App>, how: Option<Scrub>, shutdown: Shutdown) {
    let mut asked = false;
    while !shutdown.is_asked() {
        let failed = next_round(&app, how.as_ref(), asked, &shutdown).await.err();
        asked = false;
        if let Some(error) = failed {
            tracing::error!(%error, "scrubbing failed, and is tried again later");
            tokio::select! {
                () = shutdown.asked() => return,
                () = app.scrub_now.notified() => asked = true,
                () = tokio::time::sleep(AFTER_FAILURE) => {}
            }
        }
    }
}

/// Waits until a round is due or asked for, and reads to its end.
async fn next_round(
    app: &Arc<App>,
    how: Option<&Scrub>,
    mut asked: bool,
    shutdown: &Shutdown,
) -> Result<(), OpError> {
    let state =
        match work(app, &Errand::of("scrubbing"), |app| scrub_state(&app.opened.vault)).await {
            Ok(state) => state,
            Err(error) => {
                let why = format!("it is not known how far it has come: {error}");
                let code = Refusal::from(error.clone()).code();
                app.jobs.begin(JobKind::Scrub)?.fail(code, why);
                return Err(error);
            }
        };
    if !asked {
        tokio::select! {
            () = shutdown.asked() => return Ok(()),
            () = app.scrub_now.notified() => asked = true,
            () = rest(due(&state, how, app.clock.now())) => {}
        }
    }
    round(app, how, state, asked, shutdown).await
}

/// After how long the next round begins, or the one goes on that was stopped; `None` for never.
fn due(state: &Scrubbed, how: Option<&Scrub>, now: Timestamp) -> Option<Duration> {
    let how = how?;
    if state.next.is_some() || state.round == 0 {
        return Some(AFTER_START);
    }
    let since = u64::try_from(now.micros_since(state.began_at).max(0)).unwrap_or(u64::MAX);
    Some(how.interval.saturating_sub(Duration::from_micros(since)))
}

async fn rest(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

/// Reads to the end of the round, or until the shutdown is asked for.
async fn round(
    app: &Arc<App>,
    how: Option<&Scrub>,
    mut state: Scrubbed,
    mut hurried: bool,
    shutdown: &Shutdown,
) -> Result<(), OpError> {
    let run = app.jobs.begin(JobKind::Scrub)?;
    begin_round(&mut state, app.clock.now());
    let outcome = stretches(app, how, &mut state, &mut hurried, shutdown, &run).await;
    let (noted, state_now) = (state.clone(), state);
    let kept =
        work(app, &Errand::of("scrubbing"), move |app| note_scrub(&app.opened.vault, &noted)).await;
    match outcome.and(kept) {
        Ok(()) => {
            let ended = state_now.next.is_none();
            let state = if ended { ProgressState::Done } else { ProgressState::Stopped };
            run.end(state, Ok(json!({ "bytes": state_now.bytes, "records": state_now.records })));
            if ended {
                tracing::info!(
                    bytes = state_now.bytes,
                    records = state_now.records,
                    damaged = state_now.findings.len(),
                    "stored bytes were read again"
                );
            }
            Ok(())
        }
        Err(error) => {
            run.fail(Refusal::from(error.clone()).code(), error.to_string());
            Err(error)
        }
    }
}

async fn stretches(
    app: &Arc<App>,
    how: Option<&Scrub>,
    state: &mut Scrubbed,
    hurried: &mut bool,
    shutdown: &Shutdown,
    run: &JobRun<'_>,
) -> Result<(), OpError> {
    let percent = how.map_or(100, |how| how.percent);
    let total = work(app, &Errand::of("scrubbing"), |app| {
        app.opened.vault.scrub_bytes().map_err(OpError::from)
    })
    .await?;
    let wanted = total / 100 * u64::from(percent);
    let (mut noted, began, had) = (Instant::now(), Instant::now(), state.bytes);
    loop {
        let (mut reading, started) = (state.clone(), Instant::now());
        let (read, goes_on) = work(app, &Errand::of("scrubbing"), move |app| {
            let _disturbing = app.foreground.disturb();
            let vault = &app.opened.vault;
            let goes_on = scrub_stretch(vault, &mut reading, app.clock.now(), percent, STRETCH)?;
            Ok::<_, OpError>((reading, goes_on))
        })
        .await?;
        *state = read;
        if !run.step("scrubbing", state.bytes, wanted.max(state.bytes)) || !goes_on {
            return Ok(());
        }
        if noted.elapsed() >= NOTED {
            let noting = state.clone();
            work(app, &Errand::of("scrubbing"), move |app| note_scrub(&app.opened.vault, &noting))
                .await?;
            noted = Instant::now();
        }
        let behind = app.foreground.rest(started.elapsed());
        let pace = match how.filter(|_| !*hurried) {
            Some(how) => {
                let share = (state.bytes - had) as f64 / wanted.max(1) as f64;
                how.interval.mul_f64((share * PART).min(1.0)).saturating_sub(began.elapsed())
            }
            None => Duration::ZERO,
        };
        tokio::select! {
            () = shutdown.asked() => return Ok(()),
            () = app.scrub_now.notified() => *hurried = true,
            () = tokio::time::sleep(pace.max(behind)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use lucid_store::vault::scrub::Cursor;

    use super::due as when;
    use super::*;

    #[test]
    fn a_round_begins_when_its_interval_is_over_and_an_interrupted_one_soon() {
        let how = Scrub { interval: Duration::from_secs(3_600), percent: 100 };
        let began_at = Timestamp::from_micros(1_700_000_000_000_000);
        let state = Scrubbed { round: 1, began_at, ..Scrubbed::default() };
        let due =
            |state: &Scrubbed, seconds| when(state, Some(&how), began_at.plus_seconds(seconds));
        assert_eq!(due(&state, 600), Some(Duration::from_secs(3_000)));
        assert_eq!(due(&state, 4_000), Some(Duration::ZERO));
        assert_eq!(due(&Scrubbed::default(), 0), Some(AFTER_START));
        let stopped = Scrubbed { next: Some(Cursor::default()), ..state.clone() };
        assert_eq!(due(&stopped, 1), Some(AFTER_START));
        assert_eq!(when(&state, None, began_at), None);
    }
}
