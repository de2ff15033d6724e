//! The end of sessions: remove, hold, release, and what is left.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid_api::paths;
use lucid_api::v1::list::{List, PageQuery};
use lucid_api::v1::removal::{HoldSession, RemoveQuery, RetainSession, Tombstone};
use lucid_api::v1::sessions::Session;
use lucid_http::extract::{Json, Path, Query};
use lucid_http::reply::Reply;

use super::sessions::{show, time};
use super::{AppState, invalid, limit, session_id};
use crate::ops::sessions::hold_session::{
    hold_session as hold, release_session as release, retain_session as retain,
};
use crate::ops::sessions::list_tombstones::list_tombstones as list;
use crate::ops::sessions::remove_session::remove_in_its_time as remove;
use crate::ops::sight::Sight;
use crate::{Opened, reply};

/// Removes a session. What is left is its tombstone, which the chain records.
#[utoipa::path(delete, path = paths::SESSION, tag = "removal",
    params(("session_id" = String, Path), RemoveQuery),
    responses((status = 200, body = Tombstone), (status = 423, description = "it is held")))]
pub async fn remove_session(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Reply<Answer<Tombstone>> {
    let id = session_id(&id)?;
    let reason = query.reason.unwrap_or_default();
    let removed = app
        .run(move |app| {
            let Opened { vault, locks, key, .. } = &*app.opened;
            let (engine, now) = (app.anchoring.engine(), app.clock.now());
            let row = remove(vault, locks, key, engine.as_deref(), now, &id, &reason)?;
            app.anchoring.wake();
            app.followers.tell(&id);
            Ok(reply::tombstone(&row))
        })
        .await?;
    Ok(Answer(removed))
}

/// Forbids to remove a session.
#[utoipa::path(put, path = paths::SESSION_HOLD, tag = "removal",
    params(("session_id" = String, Path)), request_body = HoldSession,
    responses((status = 200, body = Session)))]
pub async fn hold_session(
    State(app): AppState,
    Path(id): Path<String>,
    Json(wanted): Json<HoldSession>,
) -> Reply<Answer<Session>> {
    let id = session_id(&id)?;
    let held = app
        .run(move |app| {
            let Opened { vault, locks, .. } = &*app.opened;
            show(app, &hold(vault, locks, app.clock.now(), &id, &wanted.reason)?)
        })
        .await?;
    Ok(Answer(held))
}

/// Allows to remove a session again.
#[utoipa::path(delete, path = paths::SESSION_HOLD, tag = "removal",
    params(("session_id" = String, Path)), responses((status = 200, body = Session)))]
pub async fn release_session(
    State(app): AppState,
    Path(id): Path<String>,
) -> Reply<Answer<Session>> {
    let id = session_id(&id)?;
    let released =
        app.run(move |app| show(app, &release(&app.opened.vault, &app.opened.locks, &id)?)).await?;
    Ok(Answer(released))
}

/// Keeps a session until a time. What was said before is extended, and never shortened.
#[utoipa::path(put, path = paths::SESSION_RETENTION, tag = "removal",
    params(("session_id" = String, Path)), request_body = RetainSession,
    responses((status = 200, body = Session)))]
pub async fn retain_session(
    State(app): AppState,
    Path(id): Path<String>,
    Json(wanted): Json<RetainSession>,
) -> Reply<Answer<Session>> {
    let (id, until) = (session_id(&id)?, time("retain_until", &wanted.retain_until)?);
    let retained = app
        .run(move |app| show(app, &retain(&app.opened.vault, &app.opened.locks, &id, until)?))
        .await?;
    Ok(Answer(retained))
}

/// What is left of removed sessions, the last one first.
#[utoipa::path(get, path = paths::TOMBSTONES, tag = "removal", params(PageQuery),
    responses((status = 200, body = List<Tombstone>)))]
pub async fn list_tombstones(
    State(app): AppState,
    sight: Sight,
    Query(query): Query<PageQuery>,
) -> Reply<Response> {
    let limit = limit(query.limit)?;
    let cursor = query.cursor.map(|text| URL_SAFE_NO_PAD.decode(text)).transpose();
    let cursor = cursor.map_err(|_| invalid("cursor is not one of an earlier page"))?;
    app.run_large(move |app| {
        let page = list(&app.opened.vault, &sight, limit, cursor.as_deref())?;
        Ok(List {
            items: page.tombstones.iter().map(reply::tombstone).collect::<Vec<Tombstone>>(),
            next_cursor: page.next.map(|next| URL_SAFE_NO_PAD.encode(next)),
            count: None,
        })
    })
    .await
}
