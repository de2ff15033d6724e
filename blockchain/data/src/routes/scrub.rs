//! Reading stored bytes again.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use lucid_api::paths;
use lucid_api::v1::scrub::Scrub;
use lucid_http::reply::Reply;

use super::AppState;
use crate::app::App;
use crate::jobs::JobKind;
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
#[utoipa::path(post, path = paths::SCRUB, tag = "maintenance",
    responses((status = 202, body = Scrub)))]
pub async fn begin_scrub(State(app): AppState) -> Reply<(StatusCode, Answer<Scrub>)> {
    app.scrub_now.notify_one();
    Ok((StatusCode::ACCEPTED, Answer(app.run(show).await?)))
}

fn show(app: &App) -> Result<Scrub, OpError> {
    let vault = &app.opened.vault;
    reply::scrub(vault, &scrub_state(vault)?, app.jobs.show(JobKind::Scrub))
}
