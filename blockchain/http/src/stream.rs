//! Bodies piece by piece: uploads of any length, and downloads that a blocking thread reads from
//! a store. Neither ever holds more than a few pieces in memory.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_LENGTH;
use http_body::Frame;
use lucid_api::problem::ErrorCode;
use tokio::sync::mpsc;
use tower_http::timeout::TimeoutError;

use crate::budget::keep;
use crate::limits::{Allowance, IDLE};
use crate::reply::{Refusal, Reply};

/// Pieces of a download that wait for the caller.
const WAITING_PIECES: usize = 4;

/// A whole body is given the room it announces once it is longer than this.
const BEGUN: usize = 64 << 10;

/// A request's body, piece by piece or whole.
#[derive(Debug)]
pub struct Upload {
    body: Body,
    allowance: Allowance,
    /// What the caller says its length is.
    announced: Option<usize>,
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        Ok(Self::of(request))
    }
}

impl Upload {
    /// A request's body.
    pub(crate) fn of(request: Request) -> Self {
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let allowance = Allowance::of(&request);
        Self { body: request.into_body(), allowance, announced }
    }

    /// Reads all of it within the time that its route allows: at most `most` bytes, each of which
    /// takes `growth` times its room in memory, once it is what it becomes. That is counted until the
    /// request is done with.
    pub async fn whole(&mut self, most: usize, growth: usize, too_large: &str) -> Reply<Vec<u8>> {
        let allowance = self.allowance.clone();
        let gathered = self.gather(most, growth, too_large);
        let gathered = tokio::time::timeout(allowance.reading(), gathered).await;
        gathered.unwrap_or_else(|_| Err(allowance.too_slow()))
    }

    async fn gather(&mut self, most: usize, growth: usize, too_large: &str) -> Reply<Vec<u8>> {
        let too_large = || Refusal::new(ErrorCode::TooLarge, too_large);
        if self.announced.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let (mut whole, mut held) = (Vec::new(), self.allowance.bodies.nothing());
        while let Some(bytes) = self.next().await {
            let bytes = bytes?;
            let so_far = whole.len() + bytes.len();
            if so_far > most {
                return Err(too_large());
            }
            held.take(bytes.len().saturating_mul(growth)).await?;
            if whole.len() <= BEGUN && so_far > BEGUN {
                // Memory that nobody writes to is not there yet.
                whole.reserve_exact(self.announced.unwrap_or(so_far).saturating_sub(whole.len()));
            }
            whole.extend_from_slice(&bytes);
        }
        keep(held);
        Ok(whole)
    }

    /// What its route allows.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// The next piece; `None` at the end. A body that breaks off is a refusal, so that half an
    /// upload is never taken for a whole one.
    pub async fn next(&mut self) -> Option<Result<Bytes, Refusal>> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(piece)) => return Some(Ok(piece)),
                Ok(Err(_trailers)) => {}
                Err(error) => {
                    tracing::debug!(%error, "a request body broke off");
                    let detail = match has_paused(&error) {
                        true => format!("the body paused for {} s", IDLE.as_secs()),
                        false => "the body broke off".to_owned(),
                    };
                    return Some(Err(Refusal::new(ErrorCode::Malformed, detail)));
                }
            }
        }
    }
}

/// Whether a body was given up because nothing more of it came.
fn has_paused(error: &(dyn std::error::Error + 'static)) -> bool {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.into_iter().any(|error| error.is::<TimeoutError>())
}

/// Makes a download: what the sender is given, the body hands to the caller.
pub fn download() -> (Sender, Body) {
    let (sender, pieces) = mpsc::channel(WAITING_PIECES);
    let finished = Arc::new(AtomicBool::new(false));
    let body = Download { pieces, finished: finished.clone() };
    (Sender { pieces: sender, finished }, Body::new(body))
}

/// The near end of a download. Dropping it without [`Sender::finish`] breaks the download off, so
/// a caller never takes half for a whole.
#[derive(Debug)]
pub struct Sender {
    pieces: mpsc::Sender<Bytes>,
    /// Whether all of it was given.
    finished: Arc<AtomicBool>,
}

/// The caller is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller is gone")]
pub struct Gone;

/// A piece that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The caller is gone.
    Gone,
    /// The caller does not read; this is the piece.
    Slow(Bytes),
}

impl Sender {
    /// Hands over a piece from a blocking thread; waits while the caller is slow.
    pub fn blocking_send(&self, piece: Bytes) -> Result<(), Gone> {
        self.pieces.blocking_send(piece).map_err(|_| Gone)
    }

    /// Hands over a piece from a blocking thread, if there is room for it before long. Otherwise it
    /// comes back, so that the thread need not wait for a caller that does not read.
    pub fn offer(&self, piece: Bytes, before: Duration) -> Result<(), NotTaken> {
        let piece = match self.pieces.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(NotTaken::Gone),
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
        };
        let room = async { tokio::time::timeout(before, self.pieces.reserve()).await };
        match tokio::runtime::Handle::current().block_on(room) {
            Ok(Ok(room)) => {
                room.send(piece);
                Ok(())
            }
            Ok(Err(_)) => Err(NotTaken::Gone),
            Err(_) => Err(NotTaken::Slow(piece)),
        }
    }

    /// Hands over a piece; waits, without a thread, while the caller is slow.
    pub async fn send(&self, piece: Bytes) -> Result<(), Gone> {
        self.pieces.send(piece).await.map_err(|_| Gone)
    }

    /// Comes to its end once the caller is gone.
    pub async fn gone(&self) {
        self.pieces.closed().await;
    }

    /// Whether the caller is gone.
    pub fn is_gone(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Waits until the caller has taken everything.
    pub async fn taken(&self) -> Result<(), Gone> {
        self.pieces.reserve_many(WAITING_PIECES).await.map(drop).map_err(|_| Gone)
    }

    /// Declares that this was all. It waits for nobody.
    pub fn finish(self) {
        // Seen by the body before it sees that no more pieces come.
        self.finished.store(true, Ordering::Release);
    }
}

struct Download {
    pieces: mpsc::Receiver<Bytes>,
    finished: Arc<AtomicBool>,
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if self.finished.load(Ordering::Acquire) => None,
            None => {
                Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the content broke off")))
            }
        })
    }
}
