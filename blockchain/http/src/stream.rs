//! Bodies piece by piece: uploads of any length, and downloads that a blocking thread reads from
//! a store. Neither ever holds more than a few pieces in memory.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::EXPECT;
use http_body::Frame;
use lucid_api::problem::ErrorCode;
use tokio::sync::mpsc;
use tower_http::timeout::TimeoutError;

use crate::limits::IDLE;
use crate::reply::Refusal;

/// What a refused caller may still have sent on its way.
const DRAINED_BYTES_MAX: usize = 64 << 20;
/// How long such a caller may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(10);

/// Pieces of a download that wait for the caller.
const WAITING_PIECES: usize = 4;

/// A request's body, piece by piece. Its route needs [`crate::limits::Limits::STREAM`].
#[derive(Debug)]
pub struct Upload {
    body: Body,
    /// Whether the caller waits to be asked for the body, and was not.
    waits: bool,
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
        let expects = request.headers().get(EXPECT).map(HeaderValue::as_bytes);
        let waits = expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        Self { body: request.into_body(), waits }
    }

    /// Refuses once the rest of the body has been read: a caller that is still sending when the
    /// connection ends would hear of a broken connection, and not of the reason. One that waits to
    /// be asked for its body (`Expect: 100-continue`), and was not, sends nothing in vain.
    pub async fn refuse(&mut self, refusal: Refusal) -> Refusal {
        if self.waits {
            return refusal;
        }
        let drain = async {
            let mut drained = 0;
            while let Some(Ok(bytes)) = self.next().await {
                drained += bytes.len();
                if drained > DRAINED_BYTES_MAX {
                    break;
                }
            }
        };
        let _too_slow = tokio::time::timeout(DRAINED_WITHIN, drain).await;
        refusal
    }

    /// The next piece; `None` at the end. A body that breaks off is a refusal, so that half an
    /// upload is never taken for a whole one.
    pub async fn next(&mut self) -> Option<Result<Bytes, Refusal>> {
        self.waits = false;
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
    (Sender(sender), Body::new(Download { pieces, finished: false }))
}

/// The near end of a download. Dropping it without [`Sender::finish`] breaks the download off, so
/// a caller never takes half for a whole.
#[derive(Debug)]
pub struct Sender(mpsc::Sender<Option<Bytes>>);

/// The caller is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller is gone")]
pub struct Gone;

impl Sender {
    /// Hands over a piece from a blocking thread; waits while the caller is slow.
    pub fn blocking_send(&self, piece: Bytes) -> Result<(), Gone> {
        self.0.blocking_send(Some(piece)).map_err(|_| Gone)
    }

    /// Hands over a piece; waits while the caller is slow.
    pub async fn send(&self, piece: Bytes) -> Result<(), Gone> {
        self.0.send(Some(piece)).await.map_err(|_| Gone)
    }

    /// Declares, from a blocking thread, that this was all.
    pub fn blocking_finish(self) -> Result<(), Gone> {
        self.0.blocking_send(None).map_err(|_| Gone)
    }

    /// Declares that this was all.
    pub async fn finish(self) -> Result<(), Gone> {
        self.0.send(None).await.map_err(|_| Gone)
    }
}

struct Download {
    pieces: mpsc::Receiver<Option<Bytes>>,
    finished: bool,
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => {
                self.finished = true;
                None
            }
            None => {
                self.finished = true;
                Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the content broke off")))
            }
        })
    }
}
