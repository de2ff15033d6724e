//! A name for every request, one log line, its figures, and the form of its failure. Invariants:
//! no reply leaves that is in memory whole and not counted, and every reply of 400 or more that is not a
//! document already leaves as a problem document, with the id that the log has.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use lucid_api::problem::{self, Documented, Envelope, ErrorCode, Problem};
use lucid_api::{headers, paths};
use tracing::Instrument as _;

use super::count::Replies;
use crate::limits::REQUEST_ID_CHARS;
use crate::reply::{Refusal, code};
use crate::{Service, errand, telemetry};

/// A library's plain sentence about a failure is at most this long.
const SENTENCE_BYTES: usize = 2 << 10;

/// The request's name, for handlers that hand it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// What knows every request.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    pub(crate) service: &'static Service,
    pub(crate) replies: Replies,
}

pub(crate) async fn observe(
    State(Observer { service, replies }): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request.id = %id, caller = tracing::field::Empty);
    request.extensions_mut().insert(RequestId(id.clone()));

    let started = Instant::now();
    let response = errand::answer(&id, next.run(request)).instrument(span.clone()).await;
    let response = dress(response, service, &id).await;
    let mut response = match replies.count(method.is_safe(), response).await {
        Ok(counted) => counted,
        Err(refusal) => dress(refusal.into_response(), service, &id).await,
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(headers::REQUEST_ID, id);
    }
    let _within = span.enter();
    report(known(&method), matched.as_deref(), response.status().as_u16(), started.elapsed());
    response
}

/// The caller's id when it can stand in a log line, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sound = |id: &&str| {
        (1..=REQUEST_ID_CHARS).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
    };
    let given = headers.get(headers::REQUEST_ID).and_then(|id| id.to_str().ok());
    given.filter(sound).map_or_else(new_id, str::to_owned)
}

/// Unlike any other of this process, and very likely of any process.
pub(crate) fn new_id() -> String {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    format!("{process:016x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn dress(response: Response, service: &Service, id: &str) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let plain = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    let (mut parts, body) = response.into_parts();
    let refusal = match parts.extensions.remove::<Refusal>() {
        Some(refusal) => refusal,
        None if plain => {
            let sentence = to_bytes(body, SENTENCE_BYTES).await.unwrap_or_default();
            let sentence = String::from_utf8_lossy(&sentence);
            let code = code(status);
            // What a library says about a failure of ours is for the log.
            let shown = if status.is_server_error() { "" } else { sentence.trim() };
            if status.is_server_error() && !sentence.is_empty() {
                tracing::error!(error = %sentence, "a request failed");
            }
            Refusal::new(code, if shown.is_empty() { code.title() } else { shown })
        }
        None => return Response::from_parts(parts, body),
    };
    let problem = problem(refusal, status.as_u16(), service, id);
    let Ok(text) = serde_json::to_vec(&problem) else {
        return Response::from_parts(parts, body_of(&[]));
    };
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, body_of(&text))
}

/// The document for a request that the parser refused, and the name it goes by in the log.
pub(crate) fn refused_document(service: &Service, status: StatusCode) -> (String, Vec<u8>) {
    let id = new_id();
    let detail = match status {
        StatusCode::URI_TOO_LONG => "the address is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the headers are too long, or too many",
        _ => "this is no request that HTTP/1.1 allows",
    };
    let problem = problem(Refusal::new(code(status), detail), status.as_u16(), service, &id);
    tracing::info_span!("request", request.id = %id)
        .in_scope(|| report("none", None, status.as_u16(), Duration::ZERO));
    (id, serde_json::to_vec(&problem).unwrap_or_default())
}

fn body_of(text: &[u8]) -> axum::body::Body {
    axum::body::Body::from(text.to_vec())
}

fn problem(refusal: Refusal, status: u16, service: &Service, id: &str) -> Problem {
    let code: ErrorCode = refusal.code;
    Problem {
        kind: format!("urn:lucid:problem:{}", code.as_str()),
        title: code.title().to_owned(),
        status,
        detail: refusal.detail.clone(),
        code,
        request_id: id.to_owned(),
        error: Envelope {
            code: refusal.documented.map_or(code.documented(), Documented::as_str).to_owned(),
            message: refusal.detail,
            details: refusal.details,
            request_id: id.to_owned(),
            timestamp: telemetry::now(),
            service: service.name.to_owned(),
            version: service.version.to_owned(),
        },
    }
}

/// Callers may make methods up, and each name would be a row of figures for ever.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn report(method: &str, route: Option<&str>, status: u16, elapsed: Duration) {
    let route = route.unwrap_or("none");
    let labels = [
        ("method", method.to_owned()),
        ("route", route.to_owned()),
        ("status", status.to_string()),
    ];
    metrics::counter!("lucid_http_requests_total", &labels).increment(1);
    metrics::histogram!("lucid_http_request_seconds", "route" => route.to_owned())
        .record(elapsed.as_secs_f64());

    let elapsed_ms = elapsed.as_millis() as u64;
    let probe = [paths::HEALTH, paths::HEALTH_V1, paths::METRICS].contains(&route);
    match status {
        500.. if !probe => {
            tracing::warn!(
                http.method = method,
                http.route = route,
                http.status = status,
                elapsed_ms,
                "request failed"
            );
        }
        _ if probe => {
            tracing::debug!(
                http.method = method,
                http.route = route,
                http.status = status,
                elapsed_ms,
                "probe answered"
            );
        }
        _ => {
            tracing::info!(
                http.method = method,
                http.route = route,
                http.status = status,
                elapsed_ms,
                "request answered"
            );
        }
    }
}
