//! Bytes on their way out: a session's content, and what every other download needs.
//!
//! A blocking thread reads, the caller is handed piece after piece, and only a few wait in between. A caller
//! that does not take them keeps no thread: reading is left off, and begun anew where it was once everything
//! is taken. Pushing with a pause, rather than a task for each piece, because whoever reads on at full speed
//! then costs what it did before, and only slow callers cost a chunk read twice.
//!
//! The first piece is read before the reply begins, so that damage there is still a refusal; later
//! damage breaks the download off, so that half is never taken for a whole.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use lucid_api::paths;
use lucid_http::budget::{Budget, FREE_BYTES};
use lucid_http::extract::Path;
use lucid_http::places::{Place, Places};
use lucid_http::reply::{Content, Reply, Selection};
use lucid_http::stream::{NotTaken, Sender, download};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{Desk, session_id};
use crate::app::{App, SMALL_BYTES};
use crate::ops::OpError;
use crate::ops::list_sessions::get_session;
use crate::ops::read_session::{StoredSession, read_range};

/// The media type of bytes that say nothing of themselves.
pub const BYTES: &str = "application/octet-stream";
/// Longer pieces are handed over in parts.
const PIECE_BYTES: usize = 1 << 20;
/// A caller that takes nothing for so long is waited for without a thread.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where a reading thread puts its bytes.
pub struct Outlet {
    sender: Sender,
    /// Memory for what is not taken yet.
    replies: Budget,
    /// Bytes that were handed over.
    at: u64,
    /// Bytes that are not handed over, because they were before.
    over: u64,
    /// Whether reading can be left off, and whether it was.
    pauses: bool,
    paused: bool,
    /// Told once, as soon as it is known that there is something to send.
    begun: Option<oneshot::Sender<Result<(), OpError>>>,
}

impl Outlet {
    /// Hands over bytes.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), OpError> {
        let known = usize::try_from(self.over).unwrap_or(usize::MAX).min(bytes.len());
        self.over -= known as u64;
        let bytes = bytes.get(known..).unwrap_or_default();
        bytes.chunks(PIECE_BYTES).try_for_each(|part| self.pass(part))
    }

    /// What is left of a row of pieces behind the first `from` bytes of all; the beginning of the first
    /// piece that is left is passed over when it is given.
    pub fn pass_over<'a, T>(
        &mut self,
        mut from: u64,
        pieces: &'a [T],
        length: impl Fn(&T) -> u64,
    ) -> &'a [T] {
        let mut left = pieces;
        while let [first, rest @ ..] = left
            && from >= length(first)
        {
            (from, left) = (from - length(first), rest);
        }
        self.over = from;
        left
    }

    fn pass(&mut self, mut part: &[u8]) -> Result<(), OpError> {
        self.begin(Ok(()));
        while !part.is_empty() {
            let mut held = self.replies.nothing();
            // Where others hold all of it, a little goes out all the same.
            let size = if held.take_now(part.len()) { part.len() } else { FREE_BYTES };
            let (piece, rest) = part.split_at(size.min(part.len()));
            self.send(held.around(piece.to_vec()))?;
            self.at += piece.len() as u64;
            part = rest;
        }
        Ok(())
    }

    fn send(&mut self, piece: Bytes) -> Result<(), OpError> {
        if !self.pauses {
            return self.sender.blocking_send(piece).map_err(|_| OpError::Abandoned);
        }
        self.sender.offer(piece, PATIENCE).map_err(|not_taken| {
            self.paused = not_taken != NotTaken::Gone;
            OpError::Abandoned
        })
    }

    /// Whether somebody still had to be told.
    fn begin(&mut self, outcome: Result<(), OpError>) -> bool {
        // A caller that is gone is noticed with the next piece.
        self.begun.take().is_some_and(|begun| begun.send(outcome).is_ok())
    }

    async fn end(mut self, outcome: Result<(), OpError>) {
        match outcome {
            Ok(()) => {
                self.begin(Ok(()));
                let _gone = self.sender.finish().await;
            }
            Err(OpError::Abandoned) => tracing::debug!("the caller of a download is gone"),
            Err(error) => {
                if !self.begin(Err(error.clone())) {
                    tracing::error!(%error, "a download broke off");
                }
            }
        }
    }
}

/// Streams what `read` gives from the byte it is told on, `length` bytes in all. The reply begins when its
/// first piece is there.
pub async fn stream(
    app: Arc<App>,
    length: u64,
    read: impl Fn(&App, u64, &mut Outlet) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Body> {
    let places = if length <= SMALL_BYTES { &app.rooms.small } else { &app.rooms.reading };
    let places = places.clone();
    let place = places.take().await?;
    begin(app, place, Some(places), read).await
}

/// Streams what cannot be left off and gone on with. Few can be read at once.
pub async fn stream_in_one(
    app: Arc<App>,
    read: impl Fn(&App, &mut Outlet) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Body> {
    let place = app.rooms.tars.take().await?;
    begin(app, place, None, move |app, _, outlet| read(app, outlet)).await
}

async fn begin(
    app: Arc<App>,
    place: Place,
    again: Option<Places>,
    read: impl Fn(&App, u64, &mut Outlet) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Body> {
    let (sender, body) = download();
    let (begun, begins) = oneshot::channel();
    let replies = app.downloads.clone();
    let pauses = again.is_some();
    let outlet =
        Outlet { sender, replies, at: 0, over: 0, pauses, paused: false, begun: Some(begun) };
    tokio::spawn(drive(app, place, again, Arc::new(read), outlet).in_current_span());
    match begins.await {
        Ok(outcome) => outcome?,
        // The reading thread panicked, which the log has.
        Err(_) => return Err(OpError::Abandoned.into()),
    }
    Ok(body)
}

/// Reads until everything is taken, on a thread while it is. A place is had `again` where that can be left
/// off.
async fn drive<R>(
    app: Arc<App>,
    place: Place,
    again: Option<Places>,
    read: Arc<R>,
    mut outlet: Outlet,
) where
    R: Fn(&App, u64, &mut Outlet) -> Result<(), OpError> + Send + Sync + 'static,
{
    let mut held = Some(place);
    loop {
        let (reading, reader, span) = (app.clone(), read.clone(), tracing::Span::current());
        let place = held.take();
        let done = tokio::task::spawn_blocking(move || {
            let _within = (span.entered(), place);
            let from = outlet.at;
            let outcome = reader(&reading, from, &mut outlet);
            (outlet, outcome)
        });
        let outcome;
        (outlet, outcome) = match done.await {
            Ok(done) => done,
            // It panicked, and the download is broken off with it.
            Err(_) => return,
        };
        if !std::mem::take(&mut outlet.paused) {
            return outlet.end(outcome).await;
        }
        if outlet.sender.taken().await.is_err() {
            return outlet.end(Err(OpError::Abandoned)).await;
        }
        if let Some(places) = &again {
            held = Some(places.wait().await);
        }
    }
}

/// Answers with the part of `content` that the request asks for, read by `read`.
pub async fn send(
    app: Arc<App>,
    method: &Method,
    given: &HeaderMap,
    content: &Content<'_>,
    read: impl Fn(&App, Range<u64>, &mut Outlet) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Response> {
    let selection = content.select(method, given)?;
    let range = match &selection {
        Selection::NotModified => 0..0,
        Selection::Whole => 0..content.length,
        Selection::Part(part) => part.clone(),
    };
    if range.is_empty() || method == Method::HEAD {
        return Ok(content.reply(&selection, Body::empty()));
    }
    let length = range.end - range.start;
    let read = move |app: &App, from: u64, outlet: &mut Outlet| {
        read(app, range.start.saturating_add(from)..range.end, outlet)
    };
    let body = stream(app, length, read).await?;
    Ok(content.reply(&selection, body))
}

/// A session's content: of a live one, what it has so far.
#[utoipa::path(get, path = paths::SESSION_DATA, tag = "content",
    params(("session_id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_data(
    State(app): Desk,
    method: Method,
    Path(id): Path<String>,
    given: HeaderMap,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let asked = id.clone();
    let row = app.run(move |app| get_session(&app.opened.vault, &asked)).await?;
    // Only a sealed session's bytes stay what they are.
    let root = row.sealed.as_ref().map(|sealed| sealed.root.to_string());
    let length = row.sealed.as_ref().map_or(row.offset(), |sealed| sealed.content_bytes);
    let content = Content { length, etag: root.as_deref(), kind: BYTES };
    send(app, &method, &given, &content, move |app, range, outlet: &mut Outlet| {
        let source = StoredSession::open_live(&app.opened.vault, &app.opened.locks, &id)?;
        read_range(&source, range, |bytes| outlet.give(bytes))
    })
    .await
}
