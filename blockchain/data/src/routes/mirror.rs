//! Sessions on their way to another store, and from one.

use axum::Json as Answer;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::paths;
use lucid_api::v1::mirror::ExportedSession;
use lucid_api::v1::sessions::Session;
use lucid_http::extract::{Json, Path};
use lucid_http::layers::Passing;
use lucid_http::reply::Reply;

use super::sessions::show;
use super::{AppState, invalid, session_id};
use crate::ops::OpError;
use crate::ops::audit::write_log::is_of_store;
use crate::ops::sessions::export_session::{Exported, export_session as export};
use crate::ops::sessions::import_session::import_session as import;

/// Everything about a session but its chunks, its secret included.
#[utoipa::path(get, path = paths::SESSION_EXPORT, tag = "mirror",
    params(("session_id" = String, Path)), responses((status = 200, body = ExportedSession)))]
pub async fn export_session(
    State(app): AppState,
    passing: Passing,
    Path(id): Path<String>,
) -> Reply<Answer<ExportedSession>> {
    let id = session_id(&id)?;
    // Its secret, and what it consists of.
    passing.give_content();
    let found = app.run(move |app| export(&app.opened.vault, &id)).await?;
    Ok(Answer(ExportedSession {
        started: STANDARD.encode(found.started),
        sealed: found.sealed.map(|fact| STANDARD.encode(fact)),
        anchored: found.anchored.map(|fact| STANDARD.encode(fact)),
        chunk_count: found.chunk_count,
    }))
}

/// Begins a session of another store here, and seals it once all of its chunks are here.
#[utoipa::path(post, path = paths::SESSION_IMPORT, tag = "mirror",
    params(("session_id" = String, Path)), request_body = ExportedSession,
    responses((status = 200, body = Session)))]
pub async fn import_session(
    State(app): AppState,
    Path(id): Path<String>,
    Json(given): Json<ExportedSession>,
) -> Reply<Answer<Session>> {
    let id = session_id(&id)?;
    let bytes = |text: &String| STANDARD.decode(text).map_err(|_| invalid("a fact is not base64"));
    let given = Exported {
        started: bytes(&given.started)?,
        sealed: given.sealed.as_ref().map(bytes).transpose()?,
        anchored: given.anchored.as_ref().map(bytes).transpose()?,
        chunk_count: given.chunk_count,
    };
    let session = app
        .run(move |app| {
            // A day of our own log comes back whole, or not at all.
            if given.sealed.is_none() && is_of_store(&id, &app.opened.store_id()) {
                return Err(OpError::Reserved(id));
            }
            let row = import(&app.opened.vault, &app.opened.locks, &id, &given)?;
            show(app, &row)
        })
        .await?;
    Ok(Answer(session))
}
