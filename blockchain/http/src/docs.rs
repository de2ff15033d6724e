//! The API as it describes itself: `/openapi.json` from the routes, `/docs` for reading it without
//! a network, and a list below each of the addresses that `/` names.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::routing::get;
use axum::{Json, Router};
use lucid_api::paths;
use lucid_api::problem::{self, Problem};
use serde_json::json;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{Info, OpenApi, Ref, Response, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::Service;

/// What the page may do in a browser: run and show what this service serves, and ask this service.
/// The reader draws with styles of its own making, and with small pictures in its sheet.
const READER_MAY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// What every service's description holds.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Common;

/// Names the service in its description, and says of every operation how it fails.
pub(crate) fn describe(openapi: &mut OpenApi, service: &Service) {
    openapi.info = Info::new(service.title, service.version);
    openapi.merge(Common::openapi());
    // The router's way to say that a value may have slashes in it is not the document's.
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths =
        paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    for item in openapi.paths.paths.values_mut() {
        let PathItem { get, put, post, delete, head, .. } = item;
        for operation in [get, put, post, delete, head].into_iter().flatten() {
            let default = operation.responses.responses.entry("default".to_owned());
            default.or_insert_with(|| refusal().into());
        }
    }
}

fn refusal() -> Response {
    let document = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description("refused or failed")
        .content(problem::CONTENT_TYPE, document)
        .build()
}

pub(crate) fn routes(service: &'static Service, openapi: OpenApi) -> Router {
    let known: Vec<String> = openapi.paths.paths.keys().cloned().collect();
    // Without a validator URL: the default one would send the document to a public server.
    let config = Config::new([paths::OPENAPI]).validator_url("none");
    let policy = SetResponseHeaderLayer::overriding(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(READER_MAY),
    );
    let docs =
        Router::from(SwaggerUi::new(paths::DOCS).config(config).url(paths::OPENAPI, openapi))
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
