//! Routes that bring bytes in are refused before a body is read where the store takes nothing in any more: a caller
//! learns at once what it would learn after the last byte. The committer decides all the same.

use std::sync::Arc;

use axum::http::Method;
use lucid_api::paths;
use lucid_http::ahead::refused_ahead;
use lucid_http::table::RouteRow;

use crate::app::App;

/// The routes by which bytes come in.
const BRINGING: [(Method, &str); 13] = [
    (Method::POST, paths::SESSIONS),
    (Method::POST, paths::SESSION_REFERENCES),
    (Method::POST, paths::SESSION_APPEND),
    (Method::POST, paths::CHUNKS),
    (Method::PUT, paths::SESSION_CHUNK),
    (Method::POST, paths::SESSION_CHUNKS),
    (Method::POST, paths::CHUNKS_BATCH),
    (Method::POST, paths::MERKLE_BUILD),
    (Method::POST, paths::SESSION_IMPORT),
    (Method::POST, paths::STORAGE_BLOCKS),
    (Method::POST, paths::STORAGE_TRANSACTIONS),
    (Method::POST, paths::STORAGE_SESSIONS),
    (Method::POST, paths::DATA_INDEX),
];

/// What is put around a route of the table.
pub(super) fn refused_without_room(row: RouteRow<Arc<App>>, app: &Arc<App>) -> RouteRow<Arc<App>> {
    if !BRINGING.contains(&(row.method.clone(), row.path)) {
        return row;
    }
    let app = app.clone();
    refused_ahead(row, move || {
        let app = app.clone();
        async move { app.run(|app| Ok(app.opened.vault.room()?)).await }
    })
}
