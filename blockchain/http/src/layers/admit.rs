//! A place for every request in work, and a refusal when there is none: waiting in line would
//! only turn a slow service into a dead one. Probes are always let in.

use std::any::Any;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;

use crate::places::Places;
use crate::reply::Refusal;

/// How many requests may be in work.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Places);

impl Gate {
    pub(crate) fn new(places: usize) -> Self {
        Self(Places::new("requests in work", places))
    }

    /// The places that it lets into.
    pub(crate) fn places(&self) -> &Places {
        &self.0
    }
}

pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let probes = [paths::HEALTH, paths::HEALTH_V1, paths::METRICS];
    if probes.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match gate.0.take_now() {
        Some(_place) => next.run(request).await,
        None => Refusal::new(ErrorCode::Busy, "too many requests at once").into_response(),
    }
}

/// A broken invariant costs its request, and is named in the log.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Refusal::new(ErrorCode::Internal, ErrorCode::Internal.title()).into_response()
}
