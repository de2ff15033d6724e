//! What of the table a command gives that has a folder open: what only reads. It is asked by other commands of its
//! user, which have the folder itself for everything else once it is free.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_http::reply::Refusal;
use lucid_http::table::RouteRow;

use crate::app::App;

/// What only reads, though it is not asked for by GET.
const POSTED: [&str; 5] = [
    paths::CHUNKS_MISSING,
    paths::CHUNKS_GET,
    paths::MERKLE_VERIFY,
    paths::VERIFY_SESSION,
    paths::QUERY_SESSIONS,
];

/// Documents that a service takes from the chain. A command takes none, so here they would be incomplete.
const OF_CHAIN: [&str; 4] =
    [paths::DATA_BLOCKS, paths::DATA_TRANSACTIONS, paths::QUERY_BLOCKS, paths::QUERY_TRANSACTIONS];

/// Why a route is not given, if so.
fn refusal(row: &RouteRow<Arc<App>>) -> Option<&'static str> {
    let reads = [Method::GET, Method::HEAD].contains(&row.method) || POSTED.contains(&row.path);
    if OF_CHAIN.contains(&row.path) {
        return Some(
            "gives no documents of blocks and transactions, which a service takes from the chain",
        );
    }
    (!reads).then_some("lets others read, and nothing else")
}

/// The route, or its refusal.
pub(super) fn only_reading(row: RouteRow<Arc<App>>, owner: &Arc<str>) -> RouteRow<Arc<App>> {
    match refusal(&row) {
        None => row,
        Some(why) => row.layer(from_fn_with_state((owner.clone(), why), refuse)),
    }
}

async fn refuse(
    State((owner, why)): State<(Arc<str>, &'static str)>,
    _: Request,
    _: Next,
) -> Response {
    let detail =
        format!("{owner} has the folder, and {why}: end that first, then run the same again");
    Refusal::new(ErrorCode::Forbidden, detail).into_response()
}

#[cfg(test)]
mod tests {
    use lucid_http::table::Access;

    use super::*;

    #[test]
    fn whatever_adds_or_removes_is_refused() {
        let given = super::super::rows().into_iter().filter(|row| refusal(row).is_none());
        let changes = given.filter(|row| {
            let is_change =
                matches!(row.wanted.access, Access::Append | Access::Write | Access::Administer);
            is_change && row.method != Method::GET && row.method != Method::HEAD
        });
        let paths: Vec<&str> = changes.map(|row| row.path).collect();
        // It is asked by those who are about to add, and adds nothing.
        assert_eq!(paths, [paths::CHUNKS_MISSING]);
    }
}
