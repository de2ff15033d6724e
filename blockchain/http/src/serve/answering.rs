//! What a connection is at: the replies that are not written yet, until when they must be taken, and
//! the bodies of requests that were answered before all of them had come.
//!
//! The service's end of the connection tells it, the socket's end asks. Two invariants:
//!
//! - A reply that lies in memory whole is taken at a stated pace, or the connection breaks off. Nothing
//!   that its caller does moves that moment. A caller that takes nothing at all is let go by the
//!   stream's own timeout, so asking before each write is enough.
//! - What is left of a request's body is read and thrown away behind its reply: a caller that is still
//!   sending when the connection ends would hear of a broken connection, and not of the reason. One that
//!   waits to be asked for its body (`Expect: 100-continue`) is not asked.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::budget::FREE_BYTES;
use crate::limits::{DRAINED_BYTES_MAX, DRAINED_WITHIN};

/// A rest of a body that is as good as here: the connection goes on behind it.
const SHORT_REST: u64 = 64 << 10;

/// How fast a reply that lies in memory must be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadingPace {
    /// Bytes a second, over the whole reply.
    pub(super) rate: u64,
    /// How much longer it may take.
    pub(super) grace: Duration,
}

/// What a connection is at. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Answering(Arc<State>);

#[derive(Debug)]
struct State {
    peer: SocketAddr,
    pace: ReadingPace,
    /// Replies whose bodies are not given to the connection yet.
    open: AtomicUsize,
    /// Whether bytes of a reply may still wait to be written.
    unflushed: AtomicBool,
    /// Since when nothing is asked, while that is so.
    resting: Mutex<Instant>,
    taking: Mutex<Taking>,
    rest: Mutex<Rest>,
}

/// Replies that are to be taken at a pace.
#[derive(Debug, Default)]
struct Taking {
    /// Those whose bodies are not given to the connection yet.
    open: usize,
    /// When all of them must be taken.
    due: Option<Instant>,
}

/// What is left of the body of the request that is being answered.
#[derive(Debug, Default)]
enum Rest {
    /// Nobody asks for it.
    #[default]
    Unwanted,
    /// It is told once nobody reads it any more.
    Awaited,
    /// This.
    Left(Body),
    /// All of it: the caller was not asked for it.
    Unasked,
}

/// A request that is not answered yet, and then a reply that is not given to the connection whole.
#[derive(Debug)]
pub(super) struct Open {
    answering: Answering,
    /// Whether the request has a body.
    has_body: bool,
}

impl Answering {
    /// A connection at which nothing is asked yet.
    pub(super) fn new(peer: SocketAddr, pace: ReadingPace) -> Self {
        let (open, unflushed, taking, rest) = Default::default();
        let resting = Mutex::new(Instant::now());
        Self(Arc::new(State { peer, pace, open, unflushed, resting, taking, rest }))
    }

    /// A request reached the service.
    pub(super) fn begin<B>(&self, request: Request<B>) -> (Request<Body>, Open)
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        self.0.unflushed.store(true, Ordering::SeqCst);
        let has_body = !request.body().is_end_stream();
        let open = Open { answering: self.clone(), has_body };
        if !has_body {
            return (request.map(|_| Body::empty()), open);
        }
        *locked(&self.0.rest) = Rest::Awaited;
        let expects = request.headers().get(EXPECT).map(HeaderValue::as_bytes);
        let waits = expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        let to = self.clone();
        let read = |body| Body::new(Read { body: Some(body), ended: false, waits, to });
        (request.map(read), open)
    }

    /// Everything that was given to the connection is written.
    pub(super) fn flushed(&self) {
        if self.0.open.load(Ordering::SeqCst) == 0 && self.0.unflushed.swap(false, Ordering::SeqCst)
        {
            *locked(&self.0.resting) = Instant::now();
        }
        let mut taking = locked(&self.0.taking);
        if taking.open == 0 {
            taking.due = None;
        }
    }

    /// Whether no request is being answered.
    pub(super) fn is_idle(&self) -> bool {
        !self.0.unflushed.load(Ordering::SeqCst)
    }

    /// Since when no request has been answered, unless one is.
    pub(super) fn resting_since(&self) -> Option<Instant> {
        self.is_idle().then(|| *locked(&self.0.resting))
    }

    /// Whether more may be written: an error once a reply should have been taken.
    pub(super) fn in_time(&self) -> io::Result<()> {
        let due = locked(&self.0.taking).due;
        if due.is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        let (peer, rate) = (self.0.peer, self.0.pace.rate);
        tracing::warn!(%peer, rate, "a reply was taken too slowly, and is broken off");
        Err(io::Error::new(io::ErrorKind::TimedOut, "the reply was taken too slowly"))
    }

    /// A reply of so many bytes is to be taken, behind those that are not taken yet.
    fn take(&self, bytes: u64) {
        let ReadingPace { rate, grace } = self.0.pace;
        let mut taking = locked(&self.0.taking);
        let from = taking.due.unwrap_or_else(|| Instant::now() + grace);
        taking.open += 1;
        taking.due = Some(from + Duration::from_secs_f64(bytes as f64 / rate as f64));
    }
}

impl Open {
    /// The reply, which is open until all of its body is given to the connection.
    pub(super) fn answer(self, mut reply: Response<Body>) -> Response<Body> {
        let rest = match self.has_body {
            true => std::mem::take(&mut *locked(&self.answering.0.rest)),
            false => Rest::Unwanted,
        };
        let (rest, closes) = match rest {
            Rest::Left(rest) => {
                let short = rest.size_hint().upper().is_some_and(|bytes| bytes <= SHORT_REST);
                (Some(rest), !short)
            }
            Rest::Unasked => (None, true),
            // The service still reads it, or nobody asks for it.
            Rest::Awaited | Rest::Unwanted => (None, false),
        };
        if closes {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let length = reply.body().size_hint().exact();
        let length = length.filter(|length| *length > FREE_BYTES as u64);
        if let Some(length) = length {
            self.answering.take(length);
        }
        let in_memory = length.is_some();
        reply.map(|inner| Body::new(Written { inner, in_memory, rest, open: self }))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.answering.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request's body, which comes back when nobody reads it any more.
struct Read<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    body: Option<B>,
    ended: bool,
    /// Whether the caller waits to be asked for it, and was not.
    waits: bool,
    to: Answering,
}

impl<B> HttpBody for Read<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        this.waits = false;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        this.ended |= matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(B::size_hint).unwrap_or_default()
    }
}

impl<B> Drop for Read<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if self.ended || body.is_end_stream() {
            return;
        }
        let mut rest = locked(&self.to.0.rest);
        if matches!(*rest, Rest::Awaited) {
            *rest = if self.waits { Rest::Unasked } else { Rest::Left(Body::new(body)) };
        }
    }
}

/// A reply's body on its way to the connection.
struct Written {
    inner: Body,
    /// Whether it is to be taken at a pace.
    in_memory: bool,
    rest: Option<Body>,
    open: Open,
}

impl HttpBody for Written {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.in_memory {
            locked(&self.open.answering.0.taking).open -= 1;
        }
        if let (Some(rest), Ok(runtime)) = (self.rest.take(), Handle::try_current()) {
            runtime.spawn(drain(rest));
        }
    }
}

/// Reads what a caller who has its answer still sends, for as long as that is bearable.
async fn drain(mut rest: Body) {
    let all = async {
        let mut drained = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {
            drained += frame.data_ref().map_or(0, Bytes::len);
            if drained > DRAINED_BYTES_MAX {
                break;
            }
        }
    };
    let _too_slow = tokio::time::timeout(DRAINED_WITHIN, all).await;
}
