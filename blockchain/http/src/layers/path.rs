//! Paths before they meet the router: a trailing slash is dropped, and an alias stands for what it
//! means. It sits outside the router, since routing cannot be undone inside.

use std::task::{Context, Poll};

use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use lucid_api::paths;
use tower::Service;

/// Tidies paths in front of a service.
#[derive(Debug, Clone)]
pub(crate) struct Tidy<S> {
    inner: S,
    alias: Option<(&'static str, &'static str)>,
}

impl<S> Tidy<S> {
    pub(crate) fn new(inner: S, alias: Option<(&'static str, &'static str)>) -> Self {
        Self { inner, alias }
    }
}

impl<S, B> Service<Request<B>> for Tidy<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(uri) = tidy(request.uri(), self.alias) {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}

/// The tidied form; `None` when it is tidy.
fn tidy(uri: &Uri, alias: Option<(&str, &str)>) -> Option<Uri> {
    let path = uri.path();
    // The documentation's pages link relative to their folder, so its slash means something.
    let bare = match path.starts_with(paths::DOCS) {
        true => path,
        false => path.trim_end_matches('/'),
    };
    let aliased = alias.and_then(|(from, to)| {
        let rest = bare.strip_prefix(from).filter(|rest| rest.starts_with('/'))?;
        Some(format!("{to}{rest}"))
    });
    let path = match (aliased, bare) {
        (Some(aliased), _) => aliased,
        (None, "") => "/".to_owned(),
        (None, bare) => bare.to_owned(),
    };
    if path == uri.path() {
        return None;
    }
    let path = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_tidied() {
        let alias = Some(("/api/v1/data-chain", "/api/v1"));
        for (given, wanted) in [
            ("/", "/"),
            ("/a/", "/a"),
            ("/a//?x=1/", "/a?x=1/"),
            ("/a%2F", "/a%2F"),
            ("//", "/"),
            ("/docs/", "/docs/"),
            ("/api/v1/data-chain/chunks/?q", "/api/v1/chunks?q"),
            ("/api/v1/data-chains/x", "/api/v1/data-chains/x"),
        ] {
            let uri: Uri = given.parse().unwrap();
            assert_eq!(tidy(&uri, alias).unwrap_or(uri), wanted, "{given}");
        }
    }
}
