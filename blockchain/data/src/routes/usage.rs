//! What sessions take in the store.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::v1::usage::UsageQuery;
use lucid_http::extract::RawQuery;
use lucid_http::layers::Passing;
use lucid_http::reply::Reply;

use super::content::stream_in_one;
use super::lines::{LINES, Lines};
use super::{AppState, invalid, session_id};
use crate::ops::OpError;
use crate::ops::sessions::weigh_sessions::{WantedWeights, weigh_sessions as weigh};
use crate::ops::sight::Sight;
use crate::reply::usage::{grouping, lines};

/// What sessions take in the store, and what removing them would free: a line of JSON for each group, the last one for
/// all of them.
#[utoipa::path(get, path = paths::USAGE, tag = "sessions", params(UsageQuery), responses((status = 200,
    body = Vec<u8>, content_type = "application/x-ndjson",
    description = "a `UsageLine` each: `{name, sessions, content_bytes, total_bytes, chunks, chunk_bytes, \
        stored_bytes, freed_bytes?, freed_chunks?}`, the last one without `name`; an empty line says that the work \
        goes on"), (status = 404), (status = 410)))]
pub async fn weigh_sessions(
    State(app): AppState,
    sight: Sight,
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let query = UsageQuery::parse(&query).map_err(invalid)?;
    let named = query.session_id.iter().map(|id| session_id(id));
    let sessions = named.collect::<Reply<Vec<_>>>()?;
    let wanted = WantedWeights { by: grouping(query.by.unwrap_or_default()), sessions, sight };
    let places = app.rooms.searches.clone();
    // How large they are is no content of sessions.
    let passing = Passing::default();
    let body = stream_in_one(app, &passing, places, move |app, sender| {
        let mut said = Lines::to(sender);
        let weighed = weigh(&app.opened.vault, &wanted, &mut || said.pause())?;
        for line in lines(weighed) {
            said.add(|text| {
                let written = serde_json::to_writer(text, &line);
                written.map_err(|error| OpError::Fault(error.to_string()))
            })?;
        }
        said.give()
    });
    Ok(([(CONTENT_TYPE, LINES)], body.await?).into_response())
}
