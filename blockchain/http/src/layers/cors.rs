//! Which web pages may read a service's replies in a browser. Invariant: "any page" never comes
//! together with credentials. Who may change something is judged in `callers`.

use axum::http::header::{CONTENT_RANGE, ETAG, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use lucid_api::headers;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// The origins that may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    /// None.
    #[default]
    Nobody,
    /// Any, without credentials.
    Anyone,
    /// These, with credentials.
    Origins(Vec<HeaderValue>),
}

impl Cors {
    /// Reads a list of origins, or `*`. The error is the origin that is none.
    pub fn new(origins: &[String]) -> Result<Self, String> {
        if origins.iter().any(|origin| origin == "*") {
            return Ok(Self::Anyone);
        }
        let origins: Vec<_> = origins.iter().map(|text| origin(text)).collect::<Result<_, _>>()?;
        Ok(if origins.is_empty() { Self::Nobody } else { Self::Origins(origins) })
    }

    /// Whether the list has this origin. "Any" is no list: it is for reading alone.
    pub(crate) fn lists(&self, origin: &HeaderValue) -> bool {
        matches!(self, Self::Origins(origins) if origins.contains(origin))
    }

    pub(crate) fn layer(&self) -> CorsLayer {
        let layer = CorsLayer::new()
            .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([
                ETAG,
                CONTENT_RANGE,
                LOCATION,
                RETRY_AFTER,
                HeaderName::from_static(headers::REQUEST_ID),
                HeaderName::from_static(headers::UPLOAD_OFFSET),
                HeaderName::from_static(headers::PREFERENCE_APPLIED),
            ]);
        match self {
            Self::Nobody => CorsLayer::new(),
            Self::Anyone => layer.allow_origin(AllowOrigin::any()),
            Self::Origins(origins) => {
                layer.allow_origin(AllowOrigin::list(origins.clone())).allow_credentials(true)
            }
        }
    }
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let sound = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '@'])
    });
    match HeaderValue::from_str(text) {
        Ok(value) if sound => Ok(value),
        _ => Err(text.to_owned()),
    }
}
