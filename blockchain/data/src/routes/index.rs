//! The index: what waits to be in it, what is in it, and what could not be.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::index::{DeadItem, IndexStats, ItemsQueued, ItemsRevived, ReviveItems};
use lucid_api::v1::list::{List, PageQuery};
use lucid_http::extract::{JSON, JsonOrNone, JsonText, Path, Query};
use lucid_http::reply::{Refusal, Reply};

use super::{AppState, invalid, limit};
use crate::document::DocumentKind;
use crate::fact::ItemName;
use crate::ops::documents::count_documents::count_documents;
use crate::ops::documents::index_items::{
    Item, ItemFault, dead_items, get_entry, queue_items, revive_items,
};
use crate::ops::sessions::count_sessions::count_sessions;
use crate::problems;
use crate::row::indexing::IndexingCounts;

/// Queues items: one, or a list of them. What is stored needs none of this, since it is in the index at once.
#[utoipa::path(post, path = paths::DATA_INDEX, tag = "documents", request_body = Object, responses(
    (status = 202, body = ItemsQueued),
    (status = 422, description = "an item has no known type, or no id; nothing is queued"),
    (status = 429, description = "as many items wait as may"),
))]
pub async fn queue(
    State(app): AppState,
    JsonText(text): JsonText,
) -> Reply<(StatusCode, Answer<ItemsQueued>)> {
    let queued = app
        .run_refusing(move |app| {
            let items = Item::read_all(&text).map_err(|fault| {
                if let ItemFault::Kind(_) = fault {
                    tracing::warn!("{fault}");
                }
                let code = match &fault {
                    ItemFault::Json(fault) => problems::json(fault),
                    ItemFault::Kind(_) | ItemFault::Invalid(_) => ErrorCode::Invalid,
                };
                Refusal::new(code, fault.to_string())
            })?;
            let queue_size = queue_items(&app.opened.vault, app.clock.now(), &items)?;
            Ok(ItemsQueued { queued: true, count: items.len(), queue_size })
        })
        .await?;
    app.indexing.wake();
    Ok((StatusCode::ACCEPTED, Answer(queued)))
}

/// The index in numbers, and the routes below.
#[utoipa::path(get, path = paths::INDEX, tag = "documents", responses((status = 200, body = IndexStats)))]
pub async fn get_index(State(app): AppState) -> Reply<Answer<IndexStats>> {
    let below =
        [paths::DATA_INDEX, paths::INDEX_STATS, paths::INDEX_DEAD, paths::INDEX_DEAD_REPLAY];
    let mut stats = stats(app).await?;
    stats.endpoints = Some(below.map(str::to_owned).to_vec());
    Ok(Answer(stats))
}

/// The index in numbers.
#[utoipa::path(get, path = paths::INDEX_STATS, tag = "documents", responses((status = 200, body = IndexStats)))]
pub async fn get_index_stats(State(app): AppState) -> Reply<Answer<IndexStats>> {
    stats(app).await.map(Answer)
}

async fn stats(app: std::sync::Arc<crate::app::App>) -> Reply<IndexStats> {
    app.run(|app| {
        let vault = &app.opened.vault;
        let documents = count_documents(vault)?;
        let kept = count_sessions(vault)?.sessions.sessions;
        let counts = IndexingCounts::find(vault.index())?;
        let [blocks, transactions, sessions] = counts.entries;
        let all = [
            documents.blocks + blocks,
            documents.transactions + transactions,
            documents.sessions + sessions + kept,
        ];
        let names = DocumentKind::ALL.map(|kind| kind.as_str().to_owned());
        Ok(IndexStats {
            total_indexed: all.iter().sum(),
            queue_size: counts.queued,
            indexed: names.iter().cloned().zip(all).collect(),
            indexes: names.to_vec(),
            failed: counts.dead,
            dead_letter: counts.dead,
            endpoints: None,
        })
    })
    .await
}

/// What the index has of a block, a transaction or a session.
#[utoipa::path(get, path = paths::INDEX_ENTRY, tag = "documents",
    params(("kind" = String, Path), ("id" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn get_index_entry(
    State(app): AppState,
    Path((kind, id)): Path<(String, String)>,
) -> Reply<Response> {
    let known = DocumentKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let kind = known.ok_or_else(|| {
        Refusal::new(
            ErrorCode::NotFound,
            format!("there is no index {kind:?}: block, transaction and session are there"),
        )
    })?;
    let entry = app.run(move |app| get_entry(&app.opened.vault, kind, &id)).await?;
    Ok(([(CONTENT_TYPE, JSON)], entry).into_response())
}

/// Items that could not be indexed.
#[utoipa::path(get, path = paths::INDEX_DEAD, tag = "documents", params(PageQuery),
    responses((status = 200, body = List<DeadItem>)))]
pub async fn list_dead(State(app): AppState, Query(query): Query<PageQuery>) -> Reply<Response> {
    let limit = limit(query.limit)?;
    let from = query.cursor.map(|cursor| cursor.parse()).transpose();
    let from = from.map_err(|_| invalid("cursor is not one of an earlier page"))?;
    app.run_large(move |app| {
        let (rows, next) = dead_items(&app.opened.vault, from, limit)?;
        let items = rows.into_iter().map(|(name, row)| DeadItem {
            item_id: name.to_string(),
            kind: row.kind.as_str().to_owned(),
            why: row.why,
            failed_at: row.at.to_string(),
            item: row.text,
        });
        Ok(List {
            items: items.collect(),
            next_cursor: next.map(|next| next.to_string()),
            count: None,
        })
    })
    .await
}

/// Queues items again that could not be indexed.
#[utoipa::path(post, path = paths::INDEX_DEAD_REPLAY, tag = "documents", request_body = Option<ReviveItems>,
    responses((status = 202, body = ItemsRevived)))]
pub async fn replay_dead(
    State(app): AppState,
    JsonOrNone(wanted): JsonOrNone<ReviveItems>,
) -> Reply<(StatusCode, Answer<ItemsRevived>)> {
    let names = wanted.item_ids.map(|ids| ids.iter().map(|id| id.parse()).collect()).transpose();
    let names: Option<Vec<ItemName>> =
        names.map_err(|_| invalid("item_ids has something that is no id of an item"))?;
    let revived = app
        .run(move |app| {
            let (vault, now) = (&app.opened.vault, app.clock.now());
            revive_items(vault, now, names.as_deref())
        })
        .await?;
    app.indexing.wake();
    Ok((StatusCode::ACCEPTED, Answer(ItemsRevived { replayed: revived })))
}
