//! Memory for every reply that lies in it whole, refusals included, until it is sent. Here no route can
//! forget to count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use lucid_api::problem::ErrorCode;
use tokio::sync::Semaphore;

use crate::budget::{Budget, Counted, FREE_BYTES, HeldMemory};
use crate::limits::WAITING_REPLIES;
use crate::reply::{Refusal, Reply};

/// What replies may hold. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Replies {
    memory: Budget,
    /// A reply that waits for memory is in memory, so few do.
    waiting: Arc<Semaphore>,
}

impl Replies {
    pub(crate) fn new(memory: Budget) -> Self {
        Self { memory, waiting: Semaphore::new(WAITING_REPLIES).into() }
    }

    /// Counts a reply until all of it is sent, or says why it cannot be sent. Streams count each piece
    /// themselves.
    pub(crate) async fn count(&self, is_safe: bool, reply: Response) -> Reply<Response> {
        let whole = reply.body().size_hint().exact();
        let whole = whole.filter(|bytes| *bytes > FREE_BYTES as u64);
        let Some(bytes) = whole.filter(|_| reply.extensions().get::<Counted>().is_none()) else {
            return Ok(reply);
        };
        match self.hold(usize::try_from(bytes).unwrap_or(usize::MAX)).await {
            Ok(held) => Ok(reply.map(|inner| Body::new(Whole { inner, held: held.into() }))),
            Err(refusal) if is_safe || reply.status().is_client_error() => Err(refusal),
            // Busy would mean that nothing was done.
            Err(refusal) => {
                let why = refusal.detail();
                let detail =
                    format!("it was done, and cannot be answered with what came of it: {why}");
                Err(Refusal::new(ErrorCode::Unavailable, detail))
            }
        }
    }

    async fn hold(&self, bytes: usize) -> Reply<HeldMemory> {
        let mut held = self.memory.nothing();
        if !held.take_now(bytes) {
            let waits = self.waiting.try_acquire().map_err(|_| {
                let detail = "other replies take all the memory there is for them, and more wait";
                Refusal::new(ErrorCode::Busy, detail)
            });
            let _waits = waits?;
            held.take(bytes).await?;
        }
        Ok(held)
    }
}

/// The body of a reply that is counted.
struct Whole {
    inner: Body,
    held: Arc<HeldMemory>,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        // The connection has the bytes for longer than their body.
        let counted = |bytes| Bytes::from_owner(CountedPiece { bytes, _held: this.held.clone() });
        frame.map_ok(|frame| frame.map_data(counted))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A piece of such a body, which is counted for as long as the piece is in memory.
struct CountedPiece {
    bytes: Bytes,
    _held: Arc<HeldMemory>,
}

impl AsRef<[u8]> for CountedPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
