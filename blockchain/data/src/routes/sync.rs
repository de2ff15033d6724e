//! Documents that are taken from a block-manager.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::index::DocumentSync;
use lucid_http::reply::{Refusal, Reply};

use super::AppState;
use crate::app::App;
use crate::ops::OpError;
use crate::row::synchronised::SynchronisedRow;

/// How taking documents from the block-manager goes.
#[utoipa::path(get, path = paths::DATA_SYNC_STATUS, tag = "documents", responses((status = 200, body = DocumentSync)))]
pub async fn get_sync(State(app): AppState) -> Reply<Answer<DocumentSync>> {
    app.run(show).await.map(Answer)
}

/// Has documents taken now: what the block-manager has and this store has not.
#[utoipa::path(post, path = paths::DATA_SYNC, tag = "documents", responses(
    (status = 202, body = DocumentSync),
    (status = 503, description = "there is no block-manager"),
))]
pub async fn sync_now(State(app): AppState) -> Reply<(StatusCode, Answer<DocumentSync>)> {
    if app.synchronising.peer().is_none() {
        let detail = "nothing is taken from a block-manager: set BLOCK_MANAGER_URL to its address";
        return Err(Refusal::new(ErrorCode::Unavailable, detail));
    }
    app.synchronising.wake();
    let state = app.run(show).await?;
    Ok((StatusCode::ACCEPTED, Answer(state)))
}

fn show(app: &App) -> Result<DocumentSync, OpError> {
    let figures = app.synchronising.figures();
    let cursor = SynchronisedRow::find(app.opened.vault.index())?;
    Ok(DocumentSync {
        enabled: app.synchronising.peer().is_some() && !figures.unsupported,
        peer: app.synchronising.peer().map(str::to_owned),
        running: app.synchronising.is_running(),
        last_success: figures.last_success.map(|at| at.to_string()),
        cursor: cursor.map(|row| row.last.index),
        cursor_hash: cursor.map(|row| row.last.hash),
        remote_height: figures.remote,
        lag: figures.lag(),
        last_error: figures.fault,
    })
}
