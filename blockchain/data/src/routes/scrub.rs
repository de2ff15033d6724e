//! Reading stored bytes again.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::maintenance::{JobKind, ProgressState};
use lucid_api::v1::scrub::Scrub;
use lucid_http::long_work::{Prefer, Wait, at_once, goes_on};
use lucid_http::reply::{Refusal, Reply};
use tokio::sync::watch;

use super::AppState;
use crate::app::{App, WAITING_MAX};
use crate::ops::OpError;
use crate::ops::upkeep::scrub_store::scrub_state;
use crate::reply;

/// How far reading again is, and what it found.
#[utoipa::path(get, path = paths::SCRUB, tag = "maintenance",
    responses((status = 200, body = Scrub)))]
pub async fn get_scrub(State(app): AppState) -> Reply<Answer<Scrub>> {
    Ok(Answer(app.run(show).await?))
}

/// Reads everything again now, or goes on where the last round was stopped, as fast as callers allow.
/// Answers at once, unless it is asked to wait.
#[utoipa::path(post, path = paths::SCRUB, tag = "maintenance", params(Prefer),
    responses((status = 200, body = Scrub), (status = 202, body = Scrub)))]
pub async fn begin_scrub(State(app): AppState, wait: Wait) -> Reply<Response> {
    let Some(limit) = wait.limit().filter(|limit| !limit.is_zero()) else {
        app.scrub_now.notify_one();
        return goes_on(&wait, paths::SCRUB, &at_once(app.run(show)).await?);
    };
    let Ok(_place) = app.waiting.try_acquire() else {
        let sentence = format!("{WAITING_MAX} requests wait already: ask again, without waiting");
        return Err(Refusal::new(ErrorCode::Busy, sentence));
    };
    let mut ends = app.jobs.ends();
    let before = at_once(app.run(show)).await?;
    app.scrub_now.notify_one();
    tokio::select! {
        ended = end_of_round(&app, &before, &mut ends) => Ok(Answer(ended?).into_response()),
        () = tokio::time::sleep(limit) => {
            goes_on(&wait, paths::SCRUB, &at_once(app.run(show)).await?)
        }
        () = app.jobs.stopping() => goes_on(&wait, paths::SCRUB, &before),
    }
}

/// Comes to its end with the round that goes on, or with the next one if none does.
async fn end_of_round(
    app: &Arc<App>,
    before: &Scrub,
    ends: &mut watch::Receiver<u64>,
) -> Reply<Scrub> {
    let wanted = if before.complete { before.round + 1 } else { before.round };
    loop {
        // The app has what tells it, so that cannot fail.
        let _told = ends.changed().await;
        let now = app.run(show).await?;
        if now.round > wanted || (now.round == wanted && now.complete) {
            return Ok(now);
        }
        let (then, at) = (&before.progress, &now.progress);
        let is_of_then = at.started_at == then.started_at && then.state != ProgressState::Running;
        if let Some(why) = &at.error
            && at.state == ProgressState::Failed
            && !is_of_then
        {
            let code = at.code.unwrap_or(ErrorCode::Internal);
            return Err(Refusal::new(code, format!("it was not read to its end: {why}")));
        }
    }
}

fn show(app: &App) -> Result<Scrub, OpError> {
    let vault = &app.opened.vault;
    reply::scrub(vault, &scrub_state(vault)?, app.jobs.show(JobKind::Scrub))
}
