//! The API as it describes itself: `/openapi.json` from the routes, `/docs` for reading it without
//! a network, and a list below each of the addresses that `/` names.

use axum::routing::get;
use axum::{Json, Router};
use lucid_api::paths;
use serde_json::json;
use utoipa::openapi::{Info, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::Service;

/// Names the service in its description.
pub(crate) fn describe(openapi: &mut OpenApi, service: &Service) {
    openapi.info = Info::new(service.title, service.version);
}

pub(crate) fn routes(service: &'static Service, openapi: OpenApi) -> Router {
    let known: Vec<String> = openapi.paths.paths.keys().cloned().collect();
    // Without a validator URL: the default one would send the document to a public server.
    let config = Config::new([paths::OPENAPI]).validator_url("none");
    let docs =
        Router::from(SwaggerUi::new(paths::DOCS).config(config).url(paths::OPENAPI, openapi));
    let unlisted =
        service.endpoints.iter().filter(|path| !known.iter().any(|known| known == *path));
    unlisted.fold(docs, |docs, path| {
        let below: Vec<_> = known.iter().filter(|known| known.starts_with(path)).cloned().collect();
        docs.route(path, get(move || async move { Json(json!({ "endpoints": below })) }))
    })
}
