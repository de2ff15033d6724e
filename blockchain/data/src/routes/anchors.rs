//! A session's anchor: ask for it, find out where it is.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::anchors::{AnchorSession, AnchorState};
use lucid_http::extract::{JsonOrNone, Path};
use lucid_http::reply::{Refusal, Reply};

use super::sessions::seal_now;
use super::{AppState, session_id};
use crate::app::App;
use crate::ops::OpError;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::seal_session::SealRequest;
use crate::reply;
use crate::row::SessionRow;

/// Has a session anchored; one that is not sealed yet is sealed first. The anchor is durable on
/// return, and brought to the block-manager as soon as that answers.
#[utoipa::path(post, path = paths::SESSION_ANCHOR, tag = "anchors",
    params(("session_id" = String, Path)), request_body = Option<AnchorSession>,
    responses((status = 202, body = AnchorState)))]
pub async fn anchor_session(
    State(app): AppState,
    Path(id): Path<String>,
    JsonOrNone(AnchorSession {}): JsonOrNone<AnchorSession>,
) -> Reply<(StatusCode, Answer<AnchorState>)> {
    let id = session_id(&id)?;
    let state = app
        .run(move |app| {
            let row = seal_now(app, &id, &SealRequest::default())?;
            state(app, &row)
        })
        .await?;
    state.map(|state| (StatusCode::ACCEPTED, Answer(state))).ok_or_else(unsealed)
}

/// Where a session's anchor is.
#[utoipa::path(get, path = paths::SESSION_ANCHOR, tag = "anchors",
    params(("session_id" = String, Path)), responses((status = 200, body = AnchorState)))]
pub async fn get_anchor(
    State(app): AppState,
    Path(id): Path<String>,
) -> Reply<Answer<AnchorState>> {
    let id = session_id(&id)?;
    let state = app.run(move |app| state(app, &get_session(&app.opened.vault, &id)?)).await?;
    state.map(Answer).ok_or_else(unsealed)
}

fn state(app: &App, row: &SessionRow) -> Result<Option<AnchorState>, OpError> {
    let Some(sealed) = &row.sealed else { return Ok(None) };
    let (vault, recorder) = (&app.opened.vault, app.opened.key.public());
    let mut state = reply::anchor_state(vault, &recorder, row, sealed)?;
    app.anchoring.annotate(&row.id, &mut state);
    Ok(Some(state))
}

fn unsealed() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "the session is not sealed, so it has no anchor yet")
}
