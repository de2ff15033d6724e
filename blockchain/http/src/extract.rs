//! Taking a request apart. Each failure is a refusal with the code that the API promises: 400 for
//! what cannot be read, 415 for another media type, 413 for too much, 422 for what is read and
//! not allowed.

mod strict;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use lucid_api::percent;
use lucid_api::problem::ErrorCode;
use serde::de::DeserializeOwned;

use crate::budget::kept;
use crate::limits::Body;
use crate::reply::{Refusal, Reply, code};
use crate::stream::Upload;

/// A text that takes long to read takes so at least.
const LONG_BYTES: usize = 64 << 10;

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// A body in JSON: objects where objects belong, each name once.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        expect(request.headers(), JSON)?;
        read_long(text(request).await?).await.map(Self)
    }
}

/// A body in JSON like [`Json`]; a request without a body says what an empty object says.
#[derive(Debug, Clone, Copy)]
pub struct JsonOrNone<T>(pub T);

impl<T: DeserializeOwned + Send + 'static, S: Send + Sync> FromRequest<S> for JsonOrNone<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let said = request.headers().contains_key(CONTENT_TYPE);
        if said {
            expect(request.headers(), JSON)?;
        }
        match text(request).await? {
            body if body.is_empty() => read_json(b"{}").map(Self),
            _ if !said => Err(unsupported(JSON)),
            body => read_long(body).await.map(Self),
        }
    }
}

/// Reads a text where that keeps no other request waiting.
async fn read_long<T: DeserializeOwned + Send + 'static>(text: Vec<u8>) -> Reply<T> {
    if text.len() <= LONG_BYTES {
        return read_json(&text);
    }
    let kept = kept();
    let read = tokio::task::spawn_blocking(move || {
        let _kept = kept;
        read_json(&text)
    });
    read.await.unwrap_or_else(|error| Err(Refusal::new(ErrorCode::Internal, error.to_string())))
}

/// Reads a text as the API documents JSON.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refusal> {
    strict::from_slice(text).map_err(|fault| {
        let code = match fault.is_data() {
            true => ErrorCode::Invalid,
            false => ErrorCode::Malformed,
        };
        let path = if fault.is_data() { strict::path_of_fault::<T>(text) } else { String::new() };
        let detail = if path.is_empty() { fault.to_string() } else { format!("{path}: {fault}") };
        Refusal::new(code, detail)
    })
}

/// A body in JSON that passes through as its text, for what general JSON values would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(pub String);

impl<S: Send + Sync> FromRequest<S> for JsonText {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        expect(request.headers(), JSON)?;
        match String::from_utf8(text(request).await?) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Refusal::new(ErrorCode::Malformed, "the body is not UTF-8")),
        }
    }
}

/// A body of bytes, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        whole(request, false).await.map(|body| Self(body.into()))
    }
}

/// A text in JSON, counted as what it becomes.
async fn text(request: Request) -> Reply<Vec<u8>> {
    whole(request, true).await
}

async fn whole(request: Request, is_json: bool) -> Reply<Vec<u8>> {
    let mut upload = Upload::of(request);
    let Body::Whole { bytes, growth, .. } = upload.allowance().limits.body else {
        let detail = "this route takes its body piece by piece";
        return Err(Refusal::new(ErrorCode::Internal, detail));
    };
    let too_large = format!("the body has at most {bytes} bytes");
    upload.whole(bytes, if is_json { growth } else { 1 }, &too_large).await
}

/// The named values of a query.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Refusal::new(ErrorCode::Invalid, rejection.body_text())),
        }
    }
}

/// The query as it was sent, for values that are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawQuery(pub String);

impl<S: Send + Sync> FromRequestParts<S> for RawQuery {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}

/// The values of a path's `{..}` parts, when all of them are text.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(values)) => Ok(Self(values)),
            Err(rejection) if rejection.status().is_server_error() => {
                Err(refuse(rejection.status(), rejection.body_text()))
            }
            Err(rejection) => Err(Refusal::new(ErrorCode::Invalid, rejection.body_text())),
        }
    }
}

/// The values of a path's `{..}` parts as bytes, in order, for paths that need not be text. The
/// route must not be nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BytePath(pub Vec<Vec<u8>>);

impl<S: Send + Sync> FromRequestParts<S> for BytePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let template = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        values(template.unwrap_or_default(), parts.uri.path())
            .map(Self)
            .ok_or_else(|| Refusal::new(ErrorCode::Invalid, "the path has a wrong escape"))
    }
}

fn values(template: &str, path: &str) -> Option<Vec<Vec<u8>>> {
    let mut values = Vec::new();
    let mut rest = path;
    for part in template.split('/') {
        if part.starts_with("{*") {
            values.push(percent::decode(rest)?);
            break;
        }
        let (segment, after) = rest.split_once('/').unwrap_or((rest, ""));
        if part.starts_with('{') {
            values.push(percent::decode(segment)?);
        }
        rest = after;
    }
    Some(values)
}

/// Refuses a body of another media type than `kind`.
pub fn expect(headers: &HeaderMap, kind: &'static str) -> Result<(), Refusal> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    match essence.eq_ignore_ascii_case(kind) {
        true => Ok(()),
        false => Err(unsupported(kind)),
    }
}

fn unsupported(kind: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Unsupported, format!("the body must be {kind}"))
}

fn refuse(status: StatusCode, sentence: String) -> Refusal {
    Refusal::new(code(status), sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_values_are_bytes() {
        let template = "/api/v1/sessions/{session_id}/files/{*path}";
        assert_eq!(
            values(template, "/api/v1/sessions/s%3A1/files/a/b%FF/c"),
            Some(vec![b"s:1".to_vec(), b"a/b\xff/c".to_vec()])
        );
        assert_eq!(values(template, "/api/v1/sessions/s/files/%F"), None);
    }
}
