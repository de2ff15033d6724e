//! Storing documents and finding them again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::v1::documents::{DocumentStored, EarlierDocument, StorageStats};
use lucid_api::v1::list::{List, PageQuery};
use lucid_http::extract::{JSON, JsonText, Path, Query};
use lucid_http::reply::Reply;

use super::{AppState, invalid, limit};
use crate::app::App;
use crate::document::DocumentKind;
use crate::ops::documents::count_documents::count_documents;
use crate::ops::documents::get_document::{document_history, get_document};
use crate::ops::documents::store_document::{StoreOutcome, store_document};
use crate::ops::sessions::count_sessions::count_sessions;
use crate::{problems, reply};

/// How much is stored.
#[utoipa::path(get, path = paths::STORAGE_STATS, tag = "documents", responses((status = 200, body = StorageStats)))]
pub async fn get_storage_stats(State(app): AppState) -> Reply<Json<StorageStats>> {
    app.run(|app| {
        let documents = count_documents(&app.opened.vault)?;
        let totals = count_sessions(&app.opened.vault)?;
        Ok(Json(StorageStats {
            total_blocks: documents.blocks,
            total_transactions: documents.transactions,
            total_sessions: documents.sessions + totals.sessions.sessions,
            storage_size: totals.stored_bytes,
            kept_sessions: totals.sessions.sessions,
            unique_chunks: totals.sessions.unique,
            unique_bytes: totals.sessions.unique_bytes,
        }))
    })
    .await
}

/// Stores a block. It has to have the hash, the root and the transactions that it says it has; which block it
/// follows is not looked at.
#[utoipa::path(post, path = paths::STORAGE_BLOCKS, tag = "documents", request_body = Object, responses(
    (status = 201, body = DocumentStored),
    (status = 200, body = DocumentStored, description = "the same is stored already"),
    (status = 409, description = "another block is stored at this index; both are in `details`"),
    (status = 422, description = "it is not what it says; `details.validation` has why"),
))]
pub async fn store_block(
    State(app): AppState,
    JsonText(text): JsonText,
) -> Reply<(StatusCode, Json<DocumentStored>)> {
    store(app, DocumentKind::Block, text).await
}

/// Stores a transaction.
#[utoipa::path(post, path = paths::STORAGE_TRANSACTIONS, tag = "documents", request_body = Object, responses(
    (status = 201, body = DocumentStored),
    (status = 200, body = DocumentStored, description = "the same is stored already"),
    (status = 409, description = "another transaction is stored under this id; both are in `details`"),
))]
pub async fn store_transaction(
    State(app): AppState,
    JsonText(text): JsonText,
) -> Reply<(StatusCode, Json<DocumentStored>)> {
    store(app, DocumentKind::Transaction, text).await
}

/// Stores what is said of a session: `id` (or `session_id`), and what else there is. Posted again it takes the
/// place of what was said before, which is kept.
#[utoipa::path(post, path = paths::STORAGE_SESSIONS, tag = "documents", request_body = Object, responses(
    (status = 201, body = DocumentStored),
    (status = 200, body = DocumentStored, description = "the same was said before, or it is updated"),
    (status = 409, description = "the session is kept here, and says itself what it is"),
))]
pub async fn store_session(
    State(app): AppState,
    JsonText(text): JsonText,
) -> Reply<(StatusCode, Json<DocumentStored>)> {
    store(app, DocumentKind::Session, text).await
}

async fn store(
    app: Arc<App>,
    kind: DocumentKind,
    text: String,
) -> Reply<(StatusCode, Json<DocumentStored>)> {
    app.run_refusing(move |app| {
        let stored = store_document(&app.opened.vault, app.clock.now(), kind, &text)
            .map_err(|error| problems::unstored(error, &text))?;
        if let Some((index, hash)) = stored.block
            && stored.outcome == StoreOutcome::New
        {
            tracing::info!(block.index = index, block.hash = %hash, "Stored block {index}");
        }
        let status = match stored.outcome {
            StoreOutcome::New => StatusCode::CREATED,
            StoreOutcome::Updated | StoreOutcome::Identical => StatusCode::OK,
        };
        Ok((
            status,
            Json(DocumentStored {
                stored: true,
                id: stored.id,
                index: stored.block.map(|(index, _)| index),
                hash: stored.block.map(|(_, hash)| hash.to_string()),
                updated: stored.outcome == StoreOutcome::Updated,
            }),
        ))
    })
    .await
}

/// A stored block, as it was posted: by its index or its hash.
#[utoipa::path(get, path = paths::STORAGE_BLOCK, tag = "documents", params(("id" = String, Path)), responses(
    (status = 200, body = Object), (status = 404)))]
pub async fn get_stored_block(State(app): AppState, Path(id): Path<String>) -> Reply<Response> {
    get(app, DocumentKind::Block, id).await
}

/// A stored transaction, as it was posted.
#[utoipa::path(get, path = paths::STORAGE_TRANSACTION, tag = "documents", params(("id" = String, Path)), responses(
    (status = 200, body = Object), (status = 404)))]
pub async fn get_stored_transaction(
    State(app): AppState,
    Path(id): Path<String>,
) -> Reply<Response> {
    get(app, DocumentKind::Transaction, id).await
}

/// What is said of a session, as it was posted; a session that is kept here says so itself.
#[utoipa::path(get, path = paths::STORAGE_SESSION, tag = "documents", params(("id" = String, Path)), responses(
    (status = 200, body = Object), (status = 404)))]
pub async fn get_stored_session(State(app): AppState, Path(id): Path<String>) -> Reply<Response> {
    get(app, DocumentKind::Session, id).await
}

async fn get(app: Arc<App>, kind: DocumentKind, id: String) -> Reply<Response> {
    // It may be a block of 16 MiB.
    let place = app.rooms.large.take().await?;
    let found = app.run(move |app| {
        Ok((get_document(&app.opened.vault, kind, &id, app.quiet_since())?, place))
    });
    let (found, _place) = found.await?;
    Ok(([(CONTENT_TYPE, JSON)], found.text).into_response())
}

/// What was said of a session before, the oldest first.
#[utoipa::path(get, path = paths::STORAGE_SESSION_HISTORY, tag = "documents",
    params(("id" = String, Path), PageQuery), responses((status = 200, body = List<EarlierDocument>), (status = 404)))]
pub async fn get_session_history(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Reply<Response> {
    history(app, DocumentKind::Session, id, query).await
}

/// What was posted of a block and gave way to what the chain has, or contradicts it, the oldest first.
#[utoipa::path(get, path = paths::STORAGE_BLOCK_HISTORY, tag = "documents",
    params(("id" = String, Path, description = "hash or index"), PageQuery),
    responses((status = 200, body = List<EarlierDocument>), (status = 404)))]
pub async fn get_block_history(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Reply<Response> {
    history(app, DocumentKind::Block, id, query).await
}

/// What was posted of a transaction and gave way to what the chain has, or contradicts it, the oldest first.
#[utoipa::path(get, path = paths::STORAGE_TRANSACTION_HISTORY, tag = "documents",
    params(("id" = String, Path), PageQuery), responses((status = 200, body = List<EarlierDocument>), (status = 404)))]
pub async fn get_transaction_history(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Reply<Response> {
    history(app, DocumentKind::Transaction, id, query).await
}

async fn history(
    app: Arc<App>,
    kind: DocumentKind,
    id: String,
    query: PageQuery,
) -> Reply<Response> {
    let limit = limit(query.limit)?;
    let from = query.cursor.map_or(Ok(0), |cursor| cursor.parse());
    let from = from.map_err(|_| invalid("cursor is not one of an earlier page"))?;
    app.run_large(move |app| {
        let vault = &app.opened.vault;
        let (texts, next) = document_history(vault, kind, &id, from, limit)?;
        let items = texts.into_iter().map(|earlier| EarlierDocument {
            source: reply::source(earlier.source),
            stored_at: earlier.stored_at.to_string(),
            was_current: earlier.was_current,
            text: earlier.text,
        });
        Ok(List {
            items: items.collect(),
            next_cursor: next.map(|next| next.to_string()),
            count: None,
        })
    })
    .await
}
