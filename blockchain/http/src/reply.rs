//! What handlers answer: refusals, and content that may be asked for in part.
//!
//! A handler returns [`Reply`]; a [`Refusal`] becomes a problem document on its way out, where the
//! request's id is known (`layers`).

use std::ops::Range;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use headers::{ETag, Header, HeaderMapExt as _, IfMatch, IfNoneMatch, IfRange};
use lucid_api::problem::{Documented, ErrorCode};
use serde_json::{Map, Value};

/// What a handler returns.
pub type Reply<T> = Result<T, Refusal>;

/// Seconds after which a busy service may be asked again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The status of each code.
pub fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The code for a status that a library chose.
pub(crate) fn code(given: StatusCode) -> ErrorCode {
    let known = ErrorCode::ALL.iter().copied().find(|code| status(*code) == given);
    known.unwrap_or(match given.is_server_error() {
        true => ErrorCode::Internal,
        false => ErrorCode::Malformed,
    })
}

/// Why a request is not answered with success.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) detail: String,
    pub(crate) documented: Option<Documented>,
    pub(crate) details: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// Says what kind it is, and in one sentence (lower-case, no full stop) what happened. The
    /// sentence reaches the caller: a cause inside the service belongs in the log.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let (documented, details, headers) = Default::default();
        Self { code, detail: detail.into(), documented, details, headers }
    }

    /// Sets the code for clients of the documented API (`BM_001`).
    pub fn documented(mut self, code: Documented) -> Self {
        self.documented = Some(code);
        self
    }

    /// Adds something a program may need to go on.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says after how many seconds the same may be sent again.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, seconds)
    }

    /// What kind it is.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What is wrong, as a sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Refusal {
    fn into_response(mut self) -> Response {
        let mut response = status(self.code).into_response();
        if matches!(self.code, ErrorCode::Busy | ErrorCode::Unavailable) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        for (name, value) in self.headers.drain(..) {
            response.headers_mut().insert(name, value);
        }
        // The document itself is written where the request's id is known.
        response.extensions_mut().insert(self);
        response
    }
}

/// Content of a known length, which callers may ask for in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<'a> {
    /// All of its bytes.
    pub length: u64,
    /// Names exactly these bytes; without quotes.
    pub etag: Option<&'a str>,
    /// Its media type.
    pub kind: &'a str,
}

/// Which of its bytes are to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// None: the caller has them.
    NotModified,
    /// All of them.
    Whole,
    /// Some of them.
    Part(Range<u64>),
}

impl Content<'_> {
    /// Decides by the request's conditions and its `Range`, in the order of RFC 9110, 13.2.2. Of
    /// several ranges at once everything is sent, and of `HEAD` a range is passed over (14.2).
    pub fn select(&self, method: &Method, request: &HeaderMap) -> Reply<Selection> {
        let etag: Option<ETag> = self.etag.and_then(|etag| format!("\"{etag}\"").parse().ok());
        let is_expected = |expected: IfMatch| {
            expected.is_any()
                || etag.as_ref().is_some_and(|etag| expected.precondition_passes(etag))
        };
        if request.contains_key(IF_MATCH) && !condition(request, &IF_MATCH).is_some_and(is_expected)
        {
            let detail = "the content is not, or no longer, the one that If-Match names";
            return Err(Refusal::new(ErrorCode::Precondition, detail));
        }
        let is_new = |known: IfNoneMatch| match &etag {
            Some(etag) => known.precondition_passes(etag),
            None => request.get(IF_NONE_MATCH).is_none_or(|known| known != "*"),
        };
        if !condition(request, &IF_NONE_MATCH).is_none_or(is_new) {
            return Ok(Selection::NotModified);
        }
        let is_current = |begun: IfRange| !begun.is_modified(etag.as_ref(), None);
        let current = !request.contains_key(IF_RANGE)
            || condition(request, &IF_RANGE).is_some_and(is_current);
        let ranged = current && method == Method::GET;
        let range = request.get(RANGE).and_then(|range| range.to_str().ok());
        match range.filter(|_| ranged).and_then(|range| range.strip_prefix("bytes=")) {
            Some(range) if !range.contains(',') => self.part(range),
            _ => Ok(Selection::Whole),
        }
    }

    fn part(&self, range: &str) -> Reply<Selection> {
        let Some((first, last)) = range.trim().split_once('-') else { return Ok(Selection::Whole) };
        let number = |text: &str| text.parse::<u64>().ok();
        let part = match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => return Ok(Selection::Whole),
            (Some(first), Some(last)) => first..last.saturating_add(1).min(self.length),
            (Some(first), None) if last.is_empty() => first..self.length,
            (None, Some(suffix)) if first.is_empty() => {
                self.length.saturating_sub(suffix)..self.length
            }
            // A header that is not one is passed over.
            _ => return Ok(Selection::Whole),
        };
        if part.is_empty() {
            let detail = format!("the content has {} bytes", self.length);
            let refusal = Refusal::new(ErrorCode::Range, detail).with("length", self.length);
            return Err(match HeaderValue::from_str(&format!("bytes */{}", self.length)) {
                Ok(value) => refusal.header(CONTENT_RANGE, value),
                Err(_) => refusal,
            });
        }
        Ok(Selection::Part(part))
    }

    /// The reply; `body` has the bytes selected.
    pub fn reply(&self, selection: &Selection, body: impl Into<Body>) -> Response {
        let (status, part) = match selection {
            Selection::NotModified => (StatusCode::NOT_MODIFIED, None),
            Selection::Whole => (StatusCode::OK, None),
            Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, Some(part)),
        };
        let unmodified = *selection == Selection::NotModified;
        let body = if unmodified { Body::empty() } else { body.into() };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let mut set = |name, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        set(ACCEPT_RANGES, "bytes".to_owned());
        if let Some(etag) = self.etag {
            set(ETAG, format!("\"{etag}\""));
        }
        if unmodified {
            return response;
        }
        set(CONTENT_TYPE, self.kind.to_owned());
        match part {
            None => set(CONTENT_LENGTH, self.length.to_string()),
            Some(part) => {
                set(CONTENT_LENGTH, (part.end - part.start).to_string());
                let last = part.end.saturating_sub(1);
                set(CONTENT_RANGE, format!("bytes {}-{last}/{}", part.start, self.length));
            }
        }
        response
    }
}

/// A condition of a request, if it can be read. A tag has no blanks, and the library does not expect one.
fn condition<H: Header>(request: &HeaderMap, name: &HeaderName) -> Option<H> {
    let is_blank_in_tag = |value: &HeaderValue| {
        let mut parts = value.as_bytes().split(|byte| *byte == b'"').skip(1).step_by(2);
        parts.any(|tag| tag.contains(&b' ') || tag.contains(&b'\t'))
    };
    match request.get_all(name).iter().any(is_blank_in_tag) {
        true => None,
        false => request.typed_get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(length: u64, headers: &[(HeaderName, &str)]) -> Reply<Selection> {
        let headers = headers.iter().map(|(name, text)| (name.clone(), text.parse().unwrap()));
        let content = Content { length, etag: Some("abc"), kind: "x" };
        content.select(&Method::GET, &headers.collect())
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (range, wanted) in [
            ("bytes=0-0", Selection::Part(0..1)),
            ("bytes=2-", Selection::Part(2..10)),
            ("bytes=-3", Selection::Part(7..10)),
            ("bytes=-30", Selection::Part(0..10)),
            ("bytes=5-99999999999", Selection::Part(5..10)),
            ("bytes=0-18446744073709551615", Selection::Part(0..10)),
            ("bytes=5-4", Selection::Whole),
            ("bytes=0-1,4-5", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=x-1", Selection::Whole),
            ("bytes=0-x", Selection::Whole),
            ("lines=0-1", Selection::Whole),
        ] {
            assert_eq!(select(10, &[(RANGE, range)]), Ok(wanted), "{range}");
        }
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(
                select(10, &[(RANGE, range)]).unwrap_err().code(),
                ErrorCode::Range,
                "{range}"
            );
        }
        assert!(select(0, &[(RANGE, "bytes=0-")]).is_err());
        assert_eq!(select(0, &[]), Ok(Selection::Whole));
    }

    #[test]
    fn conditions_come_before_ranges() {
        let range = (RANGE, "bytes=0-1");
        for tag in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(select(9, &[(IF_NONE_MATCH, tag)]), Ok(Selection::NotModified), "{tag}");
        }
        for tag in ["abc", "\"ab\"", "\"\"abc\"\"", "W/W/\"abc\"", "\"a bc\"", "\"a\tb\", \"c\""] {
            assert_eq!(select(9, &[(IF_NONE_MATCH, tag)]), Ok(Selection::Whole), "{tag}");
        }
        // What was there may have been something like it only.
        for tag in ["\"old\"", "W/\"abc\"", "*", "\"a b\"", "Sat, 28 Nov 2026 10:00:00 GMT"] {
            assert_eq!(select(9, &[(IF_RANGE, tag), range.clone()]), Ok(Selection::Whole), "{tag}");
        }
        assert_eq!(select(9, &[(IF_RANGE, "\"abc\""), range.clone()]), Ok(Selection::Part(0..2)));
        for tag in ["\"old\"", "W/\"abc\""] {
            let refused = select(9, &[(IF_MATCH, tag), range.clone()]).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::Precondition, "{tag}");
        }
        for tag in ["\"old\", \"abc\"", "*"] {
            let part = select(9, &[(IF_MATCH, tag), range.clone()]);
            assert_eq!(part, Ok(Selection::Part(0..2)), "{tag}");
        }
    }

    #[test]
    fn what_has_no_tag_is_there_and_is_none_that_is_named() {
        let content = Content { length: 9, etag: None, kind: "x" };
        let selected = |name: HeaderName, tag: &'static str| {
            let given = HeaderMap::from_iter([(name, HeaderValue::from_static(tag))]);
            content.select(&Method::GET, &given)
        };
        assert_eq!(selected(IF_MATCH, "*"), Ok(Selection::Whole));
        assert_eq!(selected(IF_NONE_MATCH, "*"), Ok(Selection::NotModified));
        assert!(selected(IF_MATCH, "\"abc\"").is_err());
        assert_eq!(selected(IF_NONE_MATCH, "\"abc\""), Ok(Selection::Whole));
    }

    #[test]
    fn a_range_is_for_get_alone() {
        let content = Content { length: 9, etag: None, kind: "x" };
        let given = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-1"))]);
        assert_eq!(content.select(&Method::HEAD, &given), Ok(Selection::Whole));
        assert_eq!(content.select(&Method::GET, &given), Ok(Selection::Part(0..2)));
    }

    #[test]
    fn every_status_leads_to_a_code_of_its_own_kind() {
        for code_ in ErrorCode::ALL {
            assert_eq!(status(code(status(*code_))), status(*code_));
        }
        assert_eq!(code(StatusCode::LOOP_DETECTED), ErrorCode::Internal);
        assert_eq!(code(StatusCode::REQUEST_TIMEOUT), ErrorCode::Malformed);
    }
}
