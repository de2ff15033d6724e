//! Looking for files in all archived folders.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::v1::find::FindQuery;
use lucid_http::extract::RawQuery;
use lucid_http::reply::Reply;

use super::content::{BodySender, stream_in_one};
use super::query::LINES;
use super::sessions::filter;
use super::{AppState, invalid};
use crate::ops::OpError;
use crate::ops::sessions::find_files::{FindFiles, PathPattern, Step, find_files as find};
use crate::ops::sessions::list_sessions::SessionFilter;
use crate::ops::sight::Sight;
use crate::reply::files::find_line;

/// Lines that are handed over together, while more are found.
const PIECE_BYTES: usize = 64 << 10;
/// So long a line waits for others, if paths are looked at meanwhile.
const GATHER: Duration = Duration::from_millis(100);
/// So long nothing is said; then an empty line says that the search goes on.
const SILENCE: Duration = Duration::from_secs(5);

/// Files by their path, in all archived folders, the newest session first: a line of JSON each, as soon as it is
/// found.
#[utoipa::path(get, path = paths::FIND, tag = "files", params(FindQuery), responses((status = 200,
    body = Vec<u8>, content_type = "application/x-ndjson",
    description = "a line each: `{session_id, started_at, path, ...}` with the rest as `files` has it, or \
        `{session_id, started_at, damage}`; an empty line says that the search goes on")))]
pub async fn find_files(
    State(app): AppState,
    sight: Sight,
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let query = FindQuery::parse(&query).map_err(invalid)?;
    let pattern = PathPattern::new(&query.path, query.ignore_case.unwrap_or(false))?;
    let FindQuery { user_id, status, from, to, metadata, .. } = query;
    let sessions = SessionFilter { sight, ..filter(&app, status, user_id, from, to)? };
    let wanted = FindFiles { pattern, sessions, metadata };
    let places = app.rooms.searches.clone();
    let body = stream_in_one(app, places, move |app, sender| {
        let mut lines = FoundLines { sender, gathered: Vec::new(), given: Instant::now() };
        find(&app.opened.vault, &wanted, &mut |step| lines.hear(&step))?;
        lines.give()
    });
    Ok(([(CONTENT_TYPE, LINES)], body.await?).into_response())
}

/// Lines on their way to the caller.
struct FoundLines<'a> {
    sender: &'a mut BodySender,
    gathered: Vec<u8>,
    /// When something was handed over.
    given: Instant,
}

impl FoundLines<'_> {
    fn hear(&mut self, step: &Step<'_>) -> Result<(), OpError> {
        let Some(line) = find_line(step) else { return self.pause() };
        serde_json::to_writer(&mut self.gathered, &line)
            .map_err(|error| OpError::Fault(error.to_string()))?;
        self.gathered.push(b'\n');
        if self.gathered.len() < PIECE_BYTES { Ok(()) } else { self.give() }
    }

    /// Nothing was found for a while.
    fn pause(&mut self) -> Result<(), OpError> {
        self.sender.check()?;
        let silent = self.given.elapsed();
        if silent >= SILENCE && self.gathered.is_empty() {
            self.gathered.push(b'\n');
        }
        if silent >= GATHER { self.give() } else { Ok(()) }
    }

    fn give(&mut self) -> Result<(), OpError> {
        if !self.gathered.is_empty() {
            self.sender.give(&self.gathered)?;
            self.gathered.clear();
            self.given = Instant::now();
        }
        Ok(())
    }
}
