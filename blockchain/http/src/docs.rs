//! The API as it describes itself: `/openapi.json` from the routes, `/docs` for reading it without
//! a network, and a list below each of the addresses that `/` names.

mod document;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::routing::get;
use axum::{Json, Router};
use lucid_api::paths;
use serde_json::{Value, json};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::Service;

/// What the page may do in a browser: run and show what this service serves, and ask this service.
/// The reader draws with styles of its own making, and with small pictures in its sheet.
const READER_MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

pub(crate) fn routes(service: &'static Service, openapi: OpenApi) -> Router {
    let document = document::document(openapi, service);
    let known = document.get("paths").and_then(Value::as_object);
    let known: Vec<String> = known.into_iter().flatten().map(|(path, _)| path.clone()).collect();
    // Without a validator URL: the default one would send the document to a public server.
    let config = Config::new([paths::OPENAPI]).validator_url("none");
    let policy = SetResponseHeaderLayer::overriding(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(READER_MAY),
    );
    let docs = Router::from(
        SwaggerUi::new(paths::DOCS).config(config).external_url_unchecked(paths::OPENAPI, document),
    )
    .layer(policy);
    let unlisted =
        service.endpoints.iter().filter(|path| !known.iter().any(|known| known == *path));
    unlisted.fold(docs, |docs, path| {
        let below: Vec<_> = known.iter().filter(|known| known.starts_with(path)).cloned().collect();
        // A service that is starting has nothing there yet, and says so itself.
        match below.is_empty() {
            true => docs,
            false => {
                docs.route(path, get(move || async move { Json(json!({ "endpoints": below })) }))
            }
        }
    })
}
