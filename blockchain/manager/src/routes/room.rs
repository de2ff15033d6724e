//! Routes that bring many bytes in are refused before a body is read where the chain takes nothing in any more. Single
//! transactions are not among them: what is in one decides whether it is taken all the same.

use axum::http::Method;
use lucid_api::paths;
use lucid_http::ahead::refused_ahead;
use lucid_http::table::RouteRow;

use crate::app::App;
use crate::opened::Opened;
use crate::problems;

/// The routes by which many bytes come in.
const BRINGING: [(Method, &str); 2] =
    [(Method::POST, paths::BLOCKS), (Method::POST, paths::TRANSACTIONS_BATCH)];

/// What is put around a route of the table.
pub(super) fn refused_without_room(row: RouteRow<App>, app: &App) -> RouteRow<App> {
    if !BRINGING.contains(&(row.method.clone(), row.path)) {
        return row;
    }
    let app = app.clone();
    refused_ahead(row, move || {
        let app = app.clone();
        let room = |opened: &Opened| {
            let room = opened.vault.room().and_then(|()| opened.chain.room(0));
            room.map_err(problems::commit)
        };
        async move { app.run(room).await }
    })
}
