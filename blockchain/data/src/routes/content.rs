//! Bytes on their way out: a session's content, and what every other download needs.
//!
//! A blocking thread reads, the caller is handed piece after piece, and only a few wait in between. A caller
//! that does not take them keeps no thread: reading is left off, and begun anew where it was once everything
//! is taken. So a caller that reads on at full speed costs one thread; a slow one costs a task while it is
//! waited for, and one chunk that is read twice.
//!
//! The first piece is read before the reply begins, so that damage there is still a refusal; later
//! damage breaks the download off, so that half is never taken for a whole.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use lucid_api::paths;
use lucid_http::budget::{Budget, FREE_BYTES};
use lucid_http::extract::Path;
use lucid_http::layers::{Giving, Passing};
use lucid_http::places::{Places, RequestPlace};
use lucid_http::reply::{Content, Reply, Selection};
use lucid_http::stream::{NotTaken, Sender, download};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{AppState, session_id};
use crate::app::{App, SMALL_BYTES};
use crate::ops::OpError;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::read_session::{StoredSession, read_range};

/// The media type of bytes that say nothing of themselves.
pub const BYTES: &str = "application/octet-stream";
/// Longer pieces are handed over in parts.
const PIECE_BYTES: usize = 1 << 20;
/// A caller that keeps a thread waiting for so long, and for as long again with each [`PIECE_BYTES`] that it
/// takes, is waited for without a thread.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where a reading thread puts its bytes.
pub struct BodySender {
    body: Sender,
    /// Memory for what is not taken yet.
    replies: Budget,
    /// Bytes that were handed over.
    at: u64,
    /// Bytes that are not handed over, because they were before.
    over: u64,
    /// Whether reading can be left off, and whether it was.
    pauses: bool,
    paused: bool,
    /// How long the caller may still keep the thread waiting.
    patience: Duration,
    /// Told once, as soon as it is known that there is something to send.
    begun: Option<oneshot::Sender<Result<(), OpError>>>,
}

impl BodySender {
    /// Hands over bytes.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), OpError> {
        let known = self.known(bytes.len());
        let bytes = bytes.get(known..).unwrap_or_default();
        bytes.chunks(PIECE_BYTES).try_for_each(|part| self.pass(part))
    }

    /// Hands over a part of bytes that are in memory already, without copying them where they may stay there.
    pub fn give_part(&mut self, bytes: Vec<u8>, part: Range<usize>) -> Result<(), OpError> {
        let mut held = self.replies.nothing();
        if !held.take_now(bytes.len()) {
            return self.give(bytes.get(part).unwrap_or_default());
        }
        let to = part.end.min(bytes.len());
        let from = part.start.saturating_add(self.known(part.len())).min(to);
        let mut rest = held.around(bytes).slice(from..to);
        self.begin(Ok(()));
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            let length = piece.len() as u64;
            self.send(piece)?;
            self.at += length;
        }
        Ok(())
    }

    /// Breaks off work whose caller is gone, where nothing is handed over that would tell.
    pub fn check(&self) -> Result<(), OpError> {
        if self.body.is_gone() { Err(OpError::Abandoned) } else { Ok(()) }
    }

    /// How many of the next so many bytes were handed over before.
    fn known(&mut self, length: usize) -> usize {
        let known = usize::try_from(self.over).unwrap_or(usize::MAX).min(length);
        self.over -= known as u64;
        known
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
            return self.body.blocking_send(piece).map_err(|_| OpError::Abandoned);
        }
        let (earned, begun) = (Self::earned(piece.len()), Instant::now());
        let taken = self.body.offer(piece, self.patience);
        // A caller that takes a little now and then wears it out, too.
        self.patience = (self.patience.saturating_sub(begun.elapsed()) + earned).min(PATIENCE);
        taken.map_err(|not_taken| {
            self.paused = not_taken != NotTaken::Gone;
            OpError::Abandoned
        })
    }

    /// Patience for so many bytes that are taken.
    fn earned(bytes: usize) -> Duration {
        PATIENCE.mul_f64(bytes as f64 / PIECE_BYTES as f64)
    }

    /// Tells the request's handler, once, how the reply begins; says whether the handler still waited for
    /// that.
    fn begin(&mut self, outcome: Result<(), OpError>) -> bool {
        // A caller that is gone is noticed with the next piece.
        self.begun.take().is_some_and(|begun| begun.send(outcome).is_ok())
    }

    /// Says how it ended, where nothing more is given.
    fn end(mut self, outcome: Result<(), OpError>) {
        match outcome {
            Ok(()) => {
                self.begin(Ok(()));
                self.body.finish();
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
/// first piece is there, and it is noted that it is given.
pub async fn stream(
    app: Arc<App>,
    passing: &Passing,
    (length, range): (u64, Option<String>),
    read: impl Fn(&App, u64, &mut BodySender) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Body> {
    let noted = passing.begin(|| Giving { bytes: Some(length), range });
    let places = if length <= SMALL_BYTES { &app.rooms.small } else { &app.rooms.reading };
    let places = places.clone();
    let place = places.take().await?;
    let body = begin(app, place, Some(places), read).await?;
    noted.await.map(|()| body)
}

/// Streams what cannot be left off and gone on with. Few can be read at once: as many as `places` has.
pub async fn stream_in_one(
    app: Arc<App>,
    passing: &Passing,
    places: Places,
    read: impl Fn(&App, &mut BodySender) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Body> {
    passing.begin(Giving::default).await?;
    let place = places.take().await?;
    begin(app, place, None, move |app, _, sender| read(app, sender)).await
}

async fn begin(
    app: Arc<App>,
    place: RequestPlace,
    again: Option<Places>,
    read: impl Fn(&App, u64, &mut BodySender) -> Result<(), OpError> + Send + Sync + 'static,
) -> Reply<Body> {
    let (sender, body) = download();
    let (begun, begins) = oneshot::channel();
    let replies = app.downloads.clone();
    let pauses = again.is_some();
    let sender = BodySender {
        body: sender,
        replies,
        at: 0,
        over: 0,
        pauses,
        paused: false,
        patience: PATIENCE,
        begun: Some(begun),
    };
    read_on(DownloadReader { app, again, read: Arc::new(read) }, place, sender);
    match begins.await {
        Ok(outcome) => outcome?,
        // The reading thread panicked, which the log has.
        Err(_) => return Err(OpError::Abandoned.into()),
    }
    Ok(body)
}

/// What a download is read by.
struct DownloadReader<R> {
    app: Arc<App>,
    /// Where a place is had to go on, where reading can be left off.
    again: Option<Places>,
    read: Arc<R>,
}

/// Reads on a thread, until everything is given or the caller is waited for.
fn read_on<R>(reading: DownloadReader<R>, place: RequestPlace, mut sender: BodySender)
where
    R: Fn(&App, u64, &mut BodySender) -> Result<(), OpError> + Send + Sync + 'static,
{
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let _within = span.entered();
        let from = sender.at;
        sender.patience = PATIENCE;
        let outcome = (reading.read)(&reading.app, from, &mut sender);
        drop(place);
        match (std::mem::take(&mut sender.paused), reading.again.clone()) {
            (true, Some(again)) => {
                let waiting = wait_and_go_on(reading, again, sender).in_current_span();
                tokio::runtime::Handle::current().spawn(waiting);
            }
            _ => sender.end(outcome),
        }
    });
}

/// Waits, without a thread, until the caller has taken what was given.
async fn wait_and_go_on<R>(reading: DownloadReader<R>, again: Places, sender: BodySender)
where
    R: Fn(&App, u64, &mut BodySender) -> Result<(), OpError> + Send + Sync + 'static,
{
    match sender.body.taken().await {
        Ok(()) => read_on(reading, again.wait().await, sender),
        Err(_) => sender.end(Err(OpError::Abandoned)),
    }
}

/// Answers with the part of `content` that the request asks for, read by `read`.
pub async fn send(
    app: Arc<App>,
    passing: &Passing,
    (method, given): (&Method, &HeaderMap),
    content: &Content<'_>,
    read: impl Fn(&App, Range<u64>, &mut BodySender) -> Result<(), OpError> + Send + Sync + 'static,
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
    let read = move |app: &App, from: u64, sender: &mut BodySender| {
        read(app, range.start.saturating_add(from)..range.end, sender)
    };
    let part = matches!(selection, Selection::Part(_));
    let part = part.then(|| format!("{}-{}/{}", range.start, range.end - 1, content.length));
    let body = stream(app, passing, (length, part), read).await?;
    Ok(content.reply(&selection, body))
}

/// A session's content: of a live one, what it has so far.
#[utoipa::path(get, path = paths::SESSION_DATA, tag = "content",
    params(("session_id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_data(
    State(app): AppState,
    passing: Passing,
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
    send(app, &passing, (&method, &given), &content, move |app, range, sender: &mut BodySender| {
        let source = StoredSession::open_live(&app.opened.vault, &app.opened.locks, &id)?;
        read_range(&source, range, |bytes| sender.give(bytes))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;

    use axum::body::HttpBody as _;

    use super::*;

    /// How much is given of what never ends until the thread is let go, to a caller that takes a piece of so
    /// many bytes and then waits so long.
    async fn given_until_paused(piece: usize, pause: Duration) -> u64 {
        let (sender, mut body) = download();
        let replies = Budget::new(64 << 20);
        let mut sender = BodySender {
            body: sender,
            replies,
            at: 0,
            over: 0,
            pauses: true,
            paused: false,
            patience: PATIENCE,
            begun: None,
        };
        let reading = tokio::task::spawn_blocking(move || {
            while sender.at < 64 << 20 && sender.give(&vec![0; piece]).is_ok() {}
            sender.at
        });
        let taking = async {
            while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some_and(|f| f.is_ok())
            {
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            at = reading => at.unwrap(),
            () = taking => panic!("the download ended first"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_trickles_does_not_keep_a_thread() {
        let trickled = given_until_paused(16 << 10, PATIENCE / 2).await;
        assert!(trickled <= 10 * (16 << 10), "{trickled}");
        let read_on = given_until_paused(PIECE_BYTES, PATIENCE / 10).await;
        assert_eq!(read_on, 64 << 20);
    }
}
