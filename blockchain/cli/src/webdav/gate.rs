//! What a request has to pass before it is answered: who asks, and that it only reads.
//!
//! Invariants: a request that would change something is refused before anything else is done with it; without a
//! token, only callers by this machine's own names are answered, so that no page of a stranger reaches it by a name of
//! its own; what is shown in a browser runs nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, RANGE,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dav_server::{DavHandler, DavMethodSet};
use futures_util::{StreamExt as _, stream};
use lucid_api::access::{Token, TokenSource};
use lucid_http::layers::Hosts;
use tokio::sync::Semaphore;

use super::files::{Asked, Files};
use super::reading::PIECE_BYTES;
use super::sessions::Sessions;

/// Files that are read at once: each takes a thread, and what is read ahead.
const PLACES: usize = 32;
/// What may be asked.
const ALLOWED: &str = "OPTIONS, GET, HEAD, PROPFIND";
/// What a reply may do in a browser.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
const DAV: HeaderName = HeaderName::from_static("dav");
const DEPTH: HeaderName = HeaderName::from_static("depth");
const MS_AUTHOR_VIA: HeaderName = HeaderName::from_static("ms-author-via");
/// What RFC 4918, 9.1, has for a search that would not end.
const FINITE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\">\
    <D:propfind-finite-depth/></D:error>\n";

pub(super) struct Gate {
    files: DavHandler<Asked>,
    token: Option<TokenSource>,
    hosts: Hosts,
    places: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(sessions: Arc<Sessions>, token: Option<TokenSource>) -> Self {
        let files = DavHandler::builder()
            .filesystem(Box::new(Files(sessions)))
            .methods(DavMethodSet::WEBDAV_RO)
            .autoindex(false)
            .read_buf_size(PIECE_BYTES)
            .build_handler();
        let places = Arc::new(Semaphore::new(PLACES));
        Self { files, token, hosts: Hosts::default(), places }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request) -> Response {
        let mut response = match self.check(&request) {
            Err(refusal) => *refusal,
            Ok(()) if request.method() == Method::OPTIONS => options(),
            Ok(()) => self.read(request).await,
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(NOTHING));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    fn check(&self, request: &Request) -> Result<(), Box<Response>> {
        match &self.token {
            Some(token) => is_shown(token, request.headers())?,
            None => {
                let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                let host = host.or_else(|| request.uri().host());
                if host.is_some_and(|host| !self.hosts.are_meant_by(host)) {
                    let why = "this server is not called that: ask for it by its address";
                    return Err(refusal(StatusCode::FORBIDDEN, why));
                }
            }
        }
        let method = request.method().as_str();
        if !ALLOWED.split(", ").any(|allowed| allowed == method) {
            let why = "this is read-only: nothing can be changed here";
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, why));
        }
        if method == "PROPFIND" {
            let mut depths = request.headers().get_all(DEPTH).iter();
            match (depths.next().map(HeaderValue::as_bytes), depths.next()) {
                (Some(b"0" | b"1"), None) => {}
                // That is what is meant without one.
                (None | Some(b"infinity"), None) => {
                    let kind = [(CONTENT_TYPE, "application/xml; charset=utf-8")];
                    return Err(Box::new((StatusCode::FORBIDDEN, kind, FINITE).into_response()));
                }
                _ => return Err(refusal(StatusCode::BAD_REQUEST, "Depth is 0 or 1")),
            }
        }
        Ok(())
    }

    async fn read(&self, mut request: Request) -> Response {
        let mut asked = Asked::default();
        let lists = request.method().as_str() == "PROPFIND";
        if request.method() == Method::GET {
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                let why = "as many files are read as can be at once: try again";
                let mut busy = *refusal(StatusCode::SERVICE_UNAVAILABLE, why);
                busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                return busy;
            };
            asked.place = Some(Arc::new(place));
        }
        match one_range(request.headers()) {
            Some(last) => asked.last = last,
            // Several ranges, or none that can be read: all of the file is sent, as RFC 9110, 14.2, has it.
            None => drop(request.headers_mut().remove(RANGE)),
        }
        let is_lacking = asked.is_lacking.clone();
        let answered = self.files.handle_guarded(request, String::new(), asked).await;
        let mut response = answered.map(Body::new);
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                let why = "this is a folder: mount it, or list it with PROPFIND";
                *refusal(StatusCode::METHOD_NOT_ALLOWED, why)
            }
            StatusCode::BAD_GATEWAY => {
                *refusal(StatusCode::BAD_GATEWAY, "the server behind this one cannot be asked now")
            }
            _ => {
                if lists {
                    // A list that lacks something is broken off, and not taken for a whole one.
                    response = response.map(|body| {
                        let end = stream::once(async move {
                            match is_lacking.load(Ordering::Acquire) {
                                false => Ok(Bytes::new()),
                                true => Err(axum::Error::new("not all of it can be listed")),
                            }
                        });
                        Body::from_stream(body.into_data_stream().chain(end))
                    });
                }
                response
            }
        }
    }
}

/// The answer to what may be done. Class 1 of the protocol has no locks, and clients that want to write take it for
/// read-only.
fn options() -> Response {
    let headers = [
        (DAV, HeaderValue::from_static("1")),
        (MS_AUTHOR_VIA, HeaderValue::from_static("DAV")),
        (ALLOW, HeaderValue::from_static(ALLOWED)),
    ];
    (StatusCode::OK, headers, Body::empty()).into_response()
}

/// A refusal, in one sentence.
fn refusal(status: StatusCode, why: &'static str) -> Box<Response> {
    let mut response = (status, format!("{why}\n")).into_response();
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    }
    Box::new(response)
}

/// Whether the token is shown: as such, or as a password, which is what file managers ask for.
fn is_shown(token: &TokenSource, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Ok(wanted) = token.read() else {
        let why = "the token that callers have to show cannot be read";
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, why));
    };
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let text = match (shown.next(), shown.next()) {
        (Some(text), None) => text.to_str().unwrap_or_default(),
        _ => "",
    };
    let given = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(Token::given(token)),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = STANDARD.decode(pair.trim()).ok();
            let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
            pair.and_then(|pair| Some(Token::given(pair.split_once(':')?.1)))
        }
        _ => None,
    };
    if given.is_some_and(|given| given.hash() == wanted.hash()) {
        return Ok(());
    }
    let why = "a token is wanted: give it as the password, with any name";
    let mut response = refusal(StatusCode::UNAUTHORIZED, why);
    let challenge = HeaderValue::from_static("Basic realm=\"lucid\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    Err(response)
}

/// Of one range its last byte, if it has one. Nothing, if there are several, or it cannot be read.
fn one_range(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut ranges = headers.get_all(RANGE).iter();
    let (range, None) = (ranges.next()?, ranges.next()) else { return None };
    let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| text.parse::<u64>().ok();
    match (first.is_empty(), last.is_empty()) {
        (true, _) => number(last).map(|_| None),
        (false, true) => number(first).map(|_| None),
        (false, false) => number(first).and(number(last)).map(Some),
    }
}
