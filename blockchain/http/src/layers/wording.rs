//! What a request's headers say of its body and of itself, where passing over it would do something
//! else than was asked: half a body stored as the whole, a compressed one as the recording, a
//! change in spite of a condition. Such requests are refused before a handler sees them.

use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lucid_api::headers;
use lucid_api::problem::ErrorCode;

use crate::reply::{Refusal, Reply};

/// Headers that mean one thing. Of two, one would be passed over.
const ONCE: [HeaderName; 8] = [
    CONTENT_TYPE,
    RANGE,
    IF_RANGE,
    HeaderName::from_static(headers::UPLOAD_OFFSET),
    HeaderName::from_static(headers::LUCID_TIME),
    HeaderName::from_static(headers::LUCID_CLOCK_BACK),
    HeaderName::from_static(headers::CONTENT_DIGEST),
    HeaderName::from_static(headers::X_CONTENT_HASH),
];

pub(crate) async fn wording(request: Request, next: Next) -> Response {
    match check_headers(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check_headers(method: &Method, given: &HeaderMap) -> Reply<()> {
    if let Some(name) = ONCE.iter().find(|name| given.get_all(*name).iter().nth(1).is_some()) {
        let detail = format!("{name} is given more than once");
        return Err(Refusal::new(ErrorCode::Malformed, detail));
    }
    let encodings = given.get_all(CONTENT_ENCODING);
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !encodings.iter().all(plain) {
        let detail = "the body has a Content-Encoding; send it as it is";
        let plain = HeaderValue::from_static("identity");
        return Err(Refusal::new(ErrorCode::Unsupported, detail).header(ACCEPT_ENCODING, plain));
    }
    if given.contains_key(CONTENT_RANGE) {
        let detail = "the body is a part (Content-Range), and would be taken for the whole; append \
                      to a session instead";
        return Err(Refusal::new(ErrorCode::Malformed, detail));
    }
    let length = given.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let has_body = given.contains_key(TRANSFER_ENCODING) || length.is_some_and(|n| n != b"0");
    if has_body && !given.contains_key(CONTENT_TYPE) {
        let detail = "the body has no Content-Type; say what it is";
        return Err(Refusal::new(ErrorCode::Unsupported, detail));
    }
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    let conditional = [IF_MATCH, IF_UNMODIFIED_SINCE].iter().find(|name| given.contains_key(*name));
    match conditional {
        Some(name) if !safe => {
            let detail = format!("nothing that can be changed here has a version for {name}");
            Err(Refusal::new(ErrorCode::Precondition, detail))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_passed_over_is_refused() {
        let (malformed, unsupported) = (Err(ErrorCode::Malformed), Err(ErrorCode::Unsupported));
        let bytes = ("content-type", "application/octet-stream");
        for (method, headers, wanted) in [
            ("PUT", vec![bytes, ("content-length", "3")], Ok(())),
            ("PUT", vec![("content-length", "3")], unsupported),
            ("PUT", vec![("transfer-encoding", "chunked")], unsupported),
            ("POST", vec![("content-length", "0")], Ok(())),
            ("POST", vec![], Ok(())),
            ("PUT", vec![bytes, ("content-encoding", "gzip")], unsupported),
            ("PUT", vec![bytes, ("content-encoding", "Identity")], Ok(())),
            ("PUT", vec![bytes, ("content-encoding", "identity, gzip")], unsupported),
            ("PUT", vec![bytes, ("content-range", "bytes 0-2/9")], malformed),
            ("POST", vec![("upload-offset", "0"), ("upload-offset", "0")], malformed),
            ("GET", vec![("range", "bytes=0-1"), ("range", "bytes=2-3")], malformed),
            ("POST", vec![bytes, bytes], malformed),
            ("DELETE", vec![("if-match", "\"x\"")], Err(ErrorCode::Precondition)),
            ("DELETE", vec![("if-unmodified-since", "x")], Err(ErrorCode::Precondition)),
            ("GET", vec![("if-match", "\"x\"")], Ok(())),
        ] {
            let mut given = HeaderMap::new();
            for (name, value) in &headers {
                given.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let judged =
                check_headers(&method.parse().unwrap(), &given).map_err(|refusal| refusal.code());
            assert_eq!(judged, wanted, "{method} {headers:?}");
        }
    }
}
