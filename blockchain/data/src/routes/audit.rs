//! The read log: its sessions, and what is in them.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::v1::audit::{AuditQuery, AuditSession};
use lucid_api::v1::list::List;
use lucid_http::extract::{Path, RawQuery};
use lucid_http::layers::Passing;
use lucid_http::reply::Reply;

use super::content::{get_data, stream_in_one};
use super::lines::{LINES, Lines};
use super::sessions::time;
use super::{AppState, invalid, session_id};
use crate::ops::audit::LOG_PREFIX;
use crate::ops::audit::find_entries::{FoundEntry, WantedEntries, find_entries};
use crate::ops::audit::list_log::list_log as list;
use crate::reply;

/// The sessions of the read log, the oldest first.
#[utoipa::path(get, path = paths::AUDIT, tag = "audit",
    responses((status = 200, body = List<AuditSession>)))]
pub async fn list_log(State(app): AppState) -> Reply<Answer<List<AuditSession>>> {
    let items = app
        .run(|app| {
            let sessions = list(&app.opened.vault)?;
            Ok(sessions.iter().map(|row| reply::audit_session(row, app.quiet_since())).collect())
        })
        .await?;
    Ok(Answer(List { items, next_cursor: None, count: None }))
}

/// Entries of the read log, in the order in which they were made: a line of JSON each, as soon as it is found.
#[utoipa::path(get, path = paths::AUDIT_ENTRIES, tag = "audit", params(AuditQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-ndjson",
        description = "an `AuditEntry` a line; an empty line says that the search goes on")))]
pub async fn list_entries(
    State(app): AppState,
    passing: Passing,
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let AuditQuery { caller, session, from, to, refused } =
        AuditQuery::parse(&query).map_err(invalid)?;
    let wanted = WantedEntries {
        caller,
        session: session.as_deref().map(session_id).transpose()?,
        from: from.as_deref().map(|text| time("from", text)).transpose()?,
        to: to.as_deref().map(|text| time("to", text)).transpose()?,
        refused,
    };
    let places = app.rooms.searches.clone();
    let body = stream_in_one(app, &passing, places, move |app, sender| {
        let (vault, locks) = (&app.opened.vault, &app.opened.locks);
        let mut lines = Lines::to(sender);
        find_entries(vault, locks, &wanted, &mut |found| match found {
            FoundEntry::Looking => lines.pause(),
            FoundEntry::Entry(line) => lines.add(|text| {
                text.extend_from_slice(line);
                Ok(())
            }),
        })?;
        lines.give()
    });
    Ok(([(CONTENT_TYPE, LINES)], body.await?).into_response())
}

/// A session of the read log as it is kept: an `AuditEntry` a line. Proofs of it are had like those of any session.
#[utoipa::path(get, path = paths::AUDIT_SESSION, tag = "audit",
    params(("session_id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_log(
    app: AppState,
    passing: Passing,
    method: Method,
    Path(id): Path<String>,
    given: HeaderMap,
) -> Reply<Response> {
    if !session_id(&id)?.as_str().starts_with(LOG_PREFIX) {
        return Err(invalid(format!(
            "{id} is no session of the read log: its ids begin with {LOG_PREFIX}"
        )));
    }
    get_data(app, passing, method, Path(id), given).await
}
