//! Bytes on their way out: a session's content, and what every other download needs.
//!
//! A blocking thread reads, the caller is handed piece after piece, and only a few wait in between.
//! The first piece is read before the reply begins, so that damage there is still a refusal; later
//! damage breaks the download off, so that half is never taken for a whole.

use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use lucid_api::paths;
use lucid_http::extract::Path;
use lucid_http::reply::{Content, Reply, Selection};
use lucid_http::stream::{Sender, download};
use tokio::sync::oneshot;

use super::{Desk, session_id};
use crate::app::App;
use crate::ops::OpError;
use crate::ops::list_sessions::get_session;
use crate::ops::read_session::{StoredSession, read_range};

/// The media type of bytes that say nothing of themselves.
pub const BYTES: &str = "application/octet-stream";
/// Longer pieces are handed over in parts.
const PIECE_BYTES: usize = 1 << 20;

/// Where a reading thread puts its bytes.
pub struct Outlet {
    sender: Sender,
    /// Told once, as soon as it is known that there is something to send.
    begun: Option<oneshot::Sender<Result<(), OpError>>>,
}

impl Outlet {
    /// Hands over bytes.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), OpError> {
        bytes.chunks(PIECE_BYTES).try_for_each(|part| self.pass(Bytes::copy_from_slice(part)))
    }

    /// Hands over bytes without copying them.
    pub fn give_whole(&mut self, bytes: Vec<u8>) -> Result<(), OpError> {
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            self.pass(bytes.split_to(bytes.len().min(PIECE_BYTES)))?;
        }
        Ok(())
    }

    fn pass(&mut self, part: Bytes) -> Result<(), OpError> {
        self.begin(Ok(()));
        self.sender.blocking_send(part).map_err(|_| OpError::Abandoned)
    }

    /// Whether somebody still had to be told.
    fn begin(&mut self, outcome: Result<(), OpError>) -> bool {
        // A caller that is gone is noticed with the next piece.
        self.begun.take().is_some_and(|begun| begun.send(outcome).is_ok())
    }

    fn end(mut self, outcome: Result<(), OpError>) {
        match outcome {
            Ok(()) => {
                self.begin(Ok(()));
                let _gone = self.sender.blocking_finish();
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

/// Streams what `read` gives. The reply begins when its first piece is there.
pub async fn stream(
    app: Arc<App>,
    read: impl FnOnce(&App, &mut Outlet) -> Result<(), OpError> + Send + 'static,
) -> Reply<Body> {
    let (sender, body) = download();
    let (begun, begins) = oneshot::channel();
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let _within = span.entered();
        let mut outlet = Outlet { sender, begun: Some(begun) };
        let outcome = read(&app, &mut outlet);
        outlet.end(outcome);
    });
    match begins.await {
        Ok(outcome) => outcome?,
        // The reading thread panicked, which the log has.
        Err(_) => return Err(OpError::Abandoned.into()),
    }
    Ok(body)
}

/// Answers with the part of `content` that the request asks for, read by `read`.
pub async fn send(
    app: Arc<App>,
    method: &Method,
    given: &HeaderMap,
    content: &Content<'_>,
    read: impl FnOnce(&App, Range<u64>, &mut Outlet) -> Result<(), OpError> + Send + 'static,
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
    let body = stream(app, move |app, outlet| read(app, range, outlet)).await?;
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
