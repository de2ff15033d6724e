//! Asks every request whose it is, and holds that against what its route wants.
//!
//! Invariant: a request that shows nothing, or what does not count, reaches no handler but those of the open routes:
//! what the service is, how it is, and its documentation.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderValue;
use axum::http::header::WWW_AUTHENTICATE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lucid_api::access::Role;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;

use super::Passage;
use crate::caller::{Caller, Standing};
use crate::credentials::Credentials;
use crate::rates::Rates;
use crate::reply::{Refusal, Reply};
use crate::table::Access;

/// Whether a path is open to everybody: it tells nothing of what is stored.
pub(crate) fn is_open(path: &str) -> bool {
    let below_docs = path.strip_prefix(paths::DOCS).is_some_and(|rest| rest.starts_with('/'));
    let open = [paths::ROOT, paths::HEALTH, paths::HEALTH_V1, paths::OPENAPI, paths::DOCS];
    below_docs || open.contains(&path)
}

/// A door that only this machine's administrator has, which is as good as credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalDoor;

/// Who is let in, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) credentials: Credentials,
    pub(crate) rates: Rates,
}

impl Admission {
    fn caller(&self, request: &Request) -> Reply<Caller> {
        if request.extensions().get::<LocalDoor>().is_some() {
            return Ok(Caller::known("local", Role::Admin.into(), None));
        }
        let path = request.uri().path();
        let caller = match is_open(path) {
            true => Ok(Caller::anyone()),
            false => self.credentials.caller(request.headers()),
        };
        // Those who look whether it is well are never too many.
        if ![paths::HEALTH, paths::HEALTH_V1, paths::METRICS].contains(&path) {
            let name = caller.as_ref().ok().and_then(Caller::name);
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
            let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
            self.rates.count(name, peer, request.headers())?;
        }
        caller
    }
}

pub(crate) async fn authenticate(
    State(admission): State<Admission>,
    mut request: Request,
    next: Next,
) -> Response {
    admission.credentials.look_again().await;
    match admission.caller(&request) {
        Ok(caller) => {
            if let Some(name) = caller.name() {
                // In each line of the log that is about this request.
                tracing::Span::current().record("caller", name);
            }
            if let Some(passage) = request.extensions().get::<Arc<Passage>>() {
                passage.know_caller(&caller);
            }
            let standing = match request.extensions().get::<LocalDoor>() {
                Some(LocalDoor) => Standing::lasting(caller.clone()),
                None => Standing::of(caller.clone(), &admission.credentials, request.headers()),
            };
            request.extensions_mut().insert(standing);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// What a route wants of who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// What is done there.
    pub access: Access,
    /// Whether it keeps to the sessions that a caller sees.
    pub is_within: bool,
}

pub(crate) async fn admit_caller(
    State(wanted): State<Wanted>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller.map_or_else(unasked, |caller| wanted.check(caller)) {
        Ok(()) => {
            if let Some(passage) = request.extensions().get::<Arc<Passage>>() {
                passage.know_wanted(wanted);
            }
            // What a caller sees depends on what it does.
            request.extensions_mut().insert(wanted);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn unasked() -> Reply<()> {
    Err(Refusal::new(ErrorCode::Internal, "nobody asked who calls"))
}

impl Wanted {
    /// Refuses a caller that may not: 403, with the roles that may.
    pub fn check(self, caller: &Caller) -> Reply<()> {
        let roles = self.access.roles();
        if !caller.has_any(roles) {
            let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            let detail =
                format!("{caller} may not do this; the roles that may: {}", roles.join(", "));
            return Err(forbidden(detail));
        }
        if caller.is_narrowed() && !self.is_within {
            let detail = format!(
                "this is about all that is stored, and {caller} is narrowed to some sessions"
            );
            return Err(forbidden(detail));
        }
        Ok(())
    }
}

/// 403 for a caller that is known (RFC 6750, 3.1).
fn forbidden(detail: String) -> Refusal {
    let challenge = "Bearer realm=\"lucid\", error=\"insufficient_scope\"";
    Refusal::new(ErrorCode::Forbidden, detail)
        .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
