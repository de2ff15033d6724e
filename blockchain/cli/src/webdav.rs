//! Sessions as files that can be mounted over WebDAV, and never a byte that was not checked.
//!
//! `lucid serve` runs it. `gate` lets requests in that only read, `sessions` says what there is (each call opens what
//! it needs, and blocks), `files` is how the protocol's crate asks for it, and `reading` hands out bytes, read ahead on
//! a thread of their own. Invariants: nothing is written by any request; bytes come from chunks that had their ids, or
//! the connection ends; memory is bounded, however many callers there are and whatever they ask for.

mod files;
mod gate;
mod reading;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use lucid_api::access::TokenSource;
use lucid_core::check::Trust;
use lucid_http::Service;

use self::gate::Gate;
use self::sessions::Sessions;
use crate::place::Place;

/// What the server is called.
pub const SERVICE: Service = Service {
    name: "lucid-webdav",
    title: "Lucid WebDAV",
    prefix: "LUCID_WEBDAV",
    port: 8093,
    version: env!("CARGO_PKG_VERSION"),
    about: "Sessions as files, to be read.",
    endpoints: &["/"],
};

/// Hears what goes wrong while nobody is asked.
pub type Hear = Arc<dyn Fn(&str) + Send + Sync>;

/// What is served, and to whom.
pub struct Served {
    sessions: Arc<Sessions>,
    token: Option<TokenSource>,
}

impl Served {
    /// Serves a place: everything in it, or with `trust` only what is proved by that, or by the keys that the place
    /// itself names. With a token, only callers who show it.
    pub fn new(
        place: Box<dyn Place>,
        trust: Option<Vec<Trust>>,
        token: Option<TokenSource>,
        hear: Hear,
    ) -> Self {
        Self { sessions: Arc::new(Sessions::new(place, trust, hear)), token }
    }

    /// What answers requests.
    pub fn router(&self) -> Router {
        let gate = Arc::new(Gate::new(self.sessions.clone(), self.token.clone()));
        Router::new().fallback(move |request: Request| {
            let gate = gate.clone();
            async move { gate.answer(request).await }
        })
    }

    /// The place, once no request is in work any more; one that hangs keeps it.
    pub fn into_place(self) -> Option<Box<dyn Place>> {
        Arc::into_inner(self.sessions).map(Sessions::into_place)
    }
}
