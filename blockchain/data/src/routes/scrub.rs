//! Reading stored bytes again.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::maintenance::{JobKind, ProgressState};
use lucid_api::v1::scrub::Scrub;
use lucid_http::long_work::{Prefer, Wait, goes_on};
use lucid_http::reply::{Refusal, Reply};
use tokio::time::{Instant, timeout_at};

use super::AppState;
use crate::app::App;
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
    let mut ends = app.jobs.ends();
    let before = app.run(show).await?;
    app.scrub_now.notify_one();
    let time = match wait {
        Wait::For(time) if !time.is_zero() => time,
        _ => return goes_on(paths::SCRUB, &app.run(show).await?),
    };
    // A round that goes on already is the one that is waited for.
    let wanted = if before.complete { before.round + 1 } else { before.round };
    let until = Instant::now() + time;
    loop {
        let is_late = !matches!(timeout_at(until, ends.changed()).await, Ok(Ok(())));
        let now = app.run(show).await?;
        if now.round > wanted || (now.round == wanted && now.complete) {
            return Ok(Answer(now).into_response());
        }
        let (then, at) = (&before.progress, &now.progress);
        let is_of_then = at.started_at == then.started_at && then.state != ProgressState::Running;
        match &at.error {
            Some(why) if at.state == ProgressState::Failed && !is_of_then => {
                let code = at.code.unwrap_or(ErrorCode::Internal);
                return Err(Refusal::new(code, format!("it was not read to its end: {why}")));
            }
            _ if is_late => return goes_on(paths::SCRUB, &now),
            _ => {}
        }
    }
}

fn show(app: &App) -> Result<Scrub, OpError> {
    let vault = &app.opened.vault;
    reply::scrub(vault, &scrub_state(vault)?, app.jobs.show(JobKind::Scrub))
}
