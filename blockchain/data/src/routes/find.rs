//! Looking for files in all archived folders.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::v1::find::FindQuery;
use lucid_http::extract::RawQuery;
use lucid_http::layers::Passing;
use lucid_http::reply::Reply;

use super::content::stream_in_one;
use super::lines::{LINES, Lines};
use super::sessions::filter;
use super::{AppState, invalid};
use crate::ops::OpError;
use crate::ops::sessions::find_files::{FindFiles, PathPattern, find_files as find};
use crate::ops::sessions::list_sessions::SessionFilter;
use crate::ops::sight::Sight;
use crate::reply::files::find_line;

/// Files by their path, in all archived folders, the newest session first: a line of JSON each, as soon as it is
/// found.
#[utoipa::path(get, path = paths::FIND, tag = "files", params(FindQuery), responses((status = 200,
    body = Vec<u8>, content_type = "application/x-ndjson",
    description = "a line each: `{session_id, started_at, path, ...}` with the rest as `files` has it, or \
        `{session_id, started_at, damage}`; an empty line says that the search goes on")))]
pub async fn find_files(
    State(app): AppState,
    (sight, passing): (Sight, Passing),
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let query = FindQuery::parse(&query).map_err(invalid)?;
    let pattern = PathPattern::new(&query.path, query.ignore_case.unwrap_or(false))?;
    let FindQuery { user_id, status, from, to, metadata, .. } = query;
    let sessions = SessionFilter { sight, metadata, ..filter(&app, status, user_id, from, to)? };
    let wanted = FindFiles { pattern, sessions };
    let places = app.rooms.searches.clone();
    let body = stream_in_one(app, &passing, places, move |app, sender| {
        let mut lines = Lines::to(sender);
        find(&app.opened.vault, &wanted, &mut |step| match find_line(&step) {
            None => lines.pause(),
            Some(line) => lines.add(|text| {
                let written = serde_json::to_writer(text, &line);
                written.map_err(|error| OpError::Fault(error.to_string()))
            }),
        })?;
        lines.give()
    });
    Ok(([(CONTENT_TYPE, LINES)], body.await?).into_response())
}
