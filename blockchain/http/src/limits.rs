//! Every bound on a request, with its reason. A service groups its routes by them; the porch
//! holds the ones that are the same for all.

use std::future::Future;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use lucid_api::problem::ErrorCode;
use tower::ServiceBuilder;
use utoipa_axum::router::OpenApiRouter;

use crate::budget::{Budget, storage};
use crate::reply::{Refusal, Reply};

/// Requests in work at once: twice the thousand slow callers who may not keep others out. What their
/// bodies may hold in memory is bounded elsewhere.
pub const CONCURRENT_REQUESTS: usize = 2_048;
/// Connections at once, as far as the system allows so many open files.
pub const CONNECTIONS: usize = 4_096;
/// Open files that are not connections: what the stores have open, with room to spare.
pub const OTHER_FILES: usize = 512;
/// How long a connection may take to say what it wants, the wait for the next request included:
/// longer than the minute that proxies keep theirs, so that they are the ones to let go.
pub const HEAD: Duration = Duration::from_secs(75);
/// How long a body may pause, on its way in or out.
pub const IDLE: Duration = Duration::from_secs(30);
/// How fast a reply that lies in memory whole must be taken, in bytes a second over all of it: about as
/// fast as large bodies must come.
pub const TAKING_RATE: u64 = 256 << 10;
/// How much longer it may take: a caller that is slow to begin is no slow reader.
pub const TAKING_GRACE: Duration = IDLE;
/// What is read of a body behind the reply to its request, so that the caller that sends it hears the
/// reply: as much as any route takes whole.
pub const DRAINED_BYTES_MAX: usize = 64 << 20;
/// How long that may take.
pub const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// Replies that are made and wait for memory at once; more are refused.
pub const WAITING_REPLIES: usize = 4;
/// How long requests in work are waited for at the end; container engines kill after ten seconds.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Text of a request id that is taken from a caller.
pub const REQUEST_ID_CHARS: usize = 128;

/// What a group of routes allows a request. Only streams have no bound in bytes, and only routes of which
/// few run at a time have none in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How the body comes.
    pub body: Body,
    /// How long the rest may take, until the head of the reply.
    pub answer: Answer,
}

/// How a request's body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Whole, before anything is done with it.
    Whole {
        /// At most so many bytes.
        bytes: usize,
        /// Within this time, however it trickles.
        within: Duration,
        /// What JSON takes in memory once it is read, in multiples of its text.
        growth: usize,
    },
    /// Piece by piece, each done with before the next is read. Only a pause ends it.
    Streamed,
}

/// How long a reply may be in coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// So long, once the body is there.
    Within(Duration),
    /// As long as it flows or is worked on. There are few of them at a time, each service says how
    /// many.
    Lasting,
}

impl Limits {
    /// Most routes: 4 MiB holds ten thousand chunk ids, and any question people ask.
    pub const ORDINARY: Self = Self::new(4 << 20, 30, 16);
    /// Routes that take one chunk or one block (16 MiB, and base64 around it).
    pub const LARGE: Self = Self::new(32 << 20, 120, 4);
    /// Routes that take many chunks at once.
    pub const BATCH: Self = Self::new(64 << 20, 300, 1);
    /// Routes that are asked for much, or for long work.
    pub const LASTING: Self = Self { answer: Answer::Lasting, ..Self::ORDINARY };
    /// Routes that take what comes, for as long as it comes. Bodies that pause are still cut off.
    pub const STREAM: Self = Self { body: Body::Streamed, answer: Answer::Lasting };

    /// Bodies of so many bytes, read within so many seconds and answered within as many again.
    pub const fn new(bytes: usize, seconds: u64, growth: usize) -> Self {
        let time = Duration::from_secs(seconds);
        let body = Body::Whole { bytes, within: time, growth };
        Self { body, answer: Answer::Within(time) }
    }

    /// Bytes of a body that is taken whole.
    pub const fn body_bytes(self) -> usize {
        match self.body {
            Body::Whole { bytes, .. } => bytes,
            Body::Streamed => 0,
        }
    }

    /// From the head of a request to the head of its reply.
    fn time(self) -> Option<Duration> {
        match (self.body, self.answer) {
            (Body::Whole { within, .. }, Answer::Within(time)) => Some(within + time),
            (Body::Streamed, Answer::Within(time)) => Some(time),
            (_, Answer::Lasting) => None,
        }
    }

    /// Puts the limits around a group of routes.
    pub fn around<S>(self, routes: OpenApiRouter<S>) -> OpenApiRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        // Of what is read by the library itself: forms.
        let body = match self.body {
            Body::Whole { bytes, .. } => DefaultBodyLimit::max(bytes),
            Body::Streamed => DefaultBodyLimit::disable(),
        };
        routes.layer(ServiceBuilder::new().layer(from_fn_with_state(self, within)).layer(body))
    }
}

/// What a request may take: its route's limits, and the memory that all bodies share.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// The route's limits.
    pub limits: Limits,
    /// The memory.
    pub bodies: Budget,
}

impl Allowance {
    /// The allowance of a request; that of most routes where nobody gave one.
    pub fn of(request: &Request) -> Self {
        let given = request.extensions().get::<Self>().cloned();
        given.unwrap_or_else(|| Self { limits: Limits::ORDINARY, bodies: Budget::default() })
    }

    /// How long the body may take: of a stream that is taken whole all the same, as long as a chunk.
    pub fn reading(&self) -> Duration {
        match (self.limits.body, Limits::LARGE.body) {
            (Body::Whole { within, .. }, _) | (_, Body::Whole { within, .. }) => within,
            (Body::Streamed, Body::Streamed) => IDLE,
        }
    }

    /// Reads something of the body, in time.
    pub async fn in_time<T>(&self, read: impl Future<Output = Reply<T>>) -> Reply<T> {
        tokio::time::timeout(self.reading(), read).await.unwrap_or_else(|_| Err(self.too_slow()))
    }

    pub(crate) fn too_slow(&self) -> Refusal {
        let detail = format!("the body was not there after {} s", self.reading().as_secs_f32());
        Refusal::new(ErrorCode::Malformed, detail)
    }
}

async fn within(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    let bodies = request.extensions().get::<Budget>().cloned().unwrap_or_default();
    request.extensions_mut().insert(Allowance { limits, bodies });
    let answer = storage(next.run(request));
    let Some(time) = limits.time() else { return answer.await };
    match tokio::time::timeout(time, answer).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request took longer than {} s", time.as_secs());
            Refusal::new(ErrorCode::Unavailable, detail).into_response()
        }
    }
}
