//! Every bound on a request, with its reason. A service groups its routes by them; the porch
//! holds the ones that are the same for all.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use lucid_api::problem::ErrorCode;
use utoipa_axum::router::OpenApiRouter;

use crate::reply::Refusal;

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
/// How long requests in work are waited for at the end; container engines kill after ten seconds.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Text of a request id that is taken from a caller.
pub const REQUEST_ID_CHARS: usize = 128;

/// What a group of routes allows a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body that is read whole; `None` for bodies that are read piece by piece.
    pub body_bytes: Option<usize>,
    /// From the head of the request to the head of the reply.
    pub time: Option<Duration>,
}

impl Limits {
    /// Most routes: 4 MiB holds ten thousand chunk ids, and any question people ask.
    pub const ORDINARY: Self = Self::new(4 << 20, 30);
    /// Routes that take one chunk or one block (16 MiB, and base64 around it).
    pub const LARGE: Self = Self::new(32 << 20, 120);
    /// Routes that take many chunks at once.
    pub const BATCH: Self = Self::new(64 << 20, 300);
    /// Routes that stream in or out for as long as it takes. Bodies that pause are still cut off.
    pub const STREAM: Self = Self { body_bytes: None, time: None };

    const fn new(body_bytes: usize, seconds: u64) -> Self {
        Self { body_bytes: Some(body_bytes), time: Some(Duration::from_secs(seconds)) }
    }

    /// Puts the limits around a group of routes.
    pub fn around<S>(self, routes: OpenApiRouter<S>) -> OpenApiRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let body = self.body_bytes.map_or_else(DefaultBodyLimit::disable, DefaultBodyLimit::max);
        routes.layer(body).layer(from_fn_with_state(self, within))
    }
}

async fn within(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let Some(time) = limits.time else { return next.run(request).await };
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request took longer than {} s", time.as_secs());
            Refusal::new(ErrorCode::Unavailable, detail).into_response()
        }
    }
}
