//! Querying documents: by the parameters of an address, or by a body.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid_api::v1::documents::{
    BlocksFilter, DocumentItems, DocumentMeta, DocumentOrder, DocumentResults, DocumentsPage,
    DocumentsWanted, QueryStats, SessionsFilter, Total, TransactionsFilter,
};
use lucid_api::v1::list::{LIMIT_DEFAULT, LIMIT_MAX};
use lucid_api::{paths, percent};
use lucid_http::extract::{JsonOrNone, Query};
use lucid_http::layers::Passing;
use lucid_http::reply::Reply;
use serde_json::value::RawValue;

use super::content::stream_in_one;
use super::lines::LINES;
use super::{AppState, invalid};
use crate::app::App;
use crate::document::{DocumentKind, Source};
use crate::ops::OpError;
use crate::ops::documents::export_documents::{ExportForm, export_documents};
use crate::ops::documents::filter::Filter;
use crate::ops::documents::get_document::FoundDocument;
use crate::ops::documents::query_documents::{
    DocumentPage, DocumentQuery, OFFSET_MAX, PAGE_BYTES_MAX, query_documents,
};
use crate::ops::sight::Sight;
use crate::reply;
use crate::row::documents;

/// Queries in numbers, since the service started.
#[utoipa::path(get, path = paths::QUERY_STATS, tag = "documents", responses((status = 200, body = QueryStats)))]
pub async fn get_query_stats(State(app): AppState) -> Answer<QueryStats> {
    let figures = app.answers.figures();
    Answer(QueryStats {
        cache_size: figures.kept,
        total_queries: figures.queries,
        average_query_time: figures.average_seconds,
        cache_hits: figures.hits,
        cache_misses: figures.queries - figures.hits,
    })
}

/// Documents of blocks, by index; by time where only a range of times is asked for.
#[utoipa::path(get, path = paths::DATA_BLOCKS, tag = "documents", params(BlocksFilter, DocumentsPage),
    responses((status = 200, body = DocumentItems, description = "a page; all of them with `Accept: application/x-ndjson` or `text/csv`")))]
pub async fn list_data_blocks(
    State(app): AppState,
    sight: Sight,
    Query(parameters): Query<Vec<(String, String)>>,
    given: HeaderMap,
) -> Reply<Response> {
    list(app, sight, DocumentKind::Block, parameters, &given).await
}

/// Documents of transactions, by time.
#[utoipa::path(get, path = paths::DATA_TRANSACTIONS, tag = "documents", params(TransactionsFilter, DocumentsPage),
    responses((status = 200, body = DocumentItems, description = "a page; all of them with `Accept: application/x-ndjson` or `text/csv`")))]
pub async fn list_data_transactions(
    State(app): AppState,
    sight: Sight,
    Query(parameters): Query<Vec<(String, String)>>,
    given: HeaderMap,
) -> Reply<Response> {
    list(app, sight, DocumentKind::Transaction, parameters, &given).await
}

/// Sessions, by their start: those that are kept here, and documents of others. What else is said of one is
/// asked for as `metadata.NAME=VALUE`.
#[utoipa::path(get, path = paths::DATA_SESSIONS, tag = "documents", params(SessionsFilter, DocumentsPage),
    responses((status = 200, body = DocumentItems, description = "a page; all of them with `Accept: application/x-ndjson` or `text/csv`")))]
pub async fn list_data_sessions(
    State(app): AppState,
    sight: Sight,
    Query(parameters): Query<Vec<(String, String)>>,
    given: HeaderMap,
) -> Reply<Response> {
    list(app, sight, DocumentKind::Session, parameters, &given).await
}

/// Documents of blocks, like `GET /api/v1/data/blocks`.
#[utoipa::path(post, path = paths::QUERY_BLOCKS, tag = "documents", request_body = Option<DocumentsWanted>,
    responses((status = 200, body = DocumentResults)))]
pub async fn query_blocks(
    State(app): AppState,
    sight: Sight,
    JsonOrNone(wanted): JsonOrNone<DocumentsWanted>,
) -> Reply<Response> {
    results(app, sight, DocumentKind::Block, wanted).await
}

/// Documents of transactions, like `GET /api/v1/data/transactions`.
#[utoipa::path(post, path = paths::QUERY_TRANSACTIONS, tag = "documents", request_body = Option<DocumentsWanted>,
    responses((status = 200, body = DocumentResults)))]
pub async fn query_transactions(
    State(app): AppState,
    sight: Sight,
    JsonOrNone(wanted): JsonOrNone<DocumentsWanted>,
) -> Reply<Response> {
    results(app, sight, DocumentKind::Transaction, wanted).await
}

/// Sessions, like `GET /api/v1/data/sessions`.
#[utoipa::path(post, path = paths::QUERY_SESSIONS, tag = "documents", request_body = Option<DocumentsWanted>,
    responses((status = 200, body = DocumentResults)))]
pub async fn query_sessions(
    State(app): AppState,
    sight: Sight,
    JsonOrNone(wanted): JsonOrNone<DocumentsWanted>,
) -> Reply<Response> {
    results(app, sight, DocumentKind::Session, wanted).await
}

/// How a caller wants all documents of a query, if it does not want a page.
fn wanted_form(given: &HeaderMap) -> Option<(ExportForm, &'static str)> {
    let accepted = given.get(ACCEPT).and_then(|value| value.to_str().ok())?;
    let kinds = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.into_iter().find_map(|kind| match kind {
        LINES => Some((ExportForm::Lines, LINES)),
        TABLE => Some((ExportForm::Table, TABLE)),
        _ => None,
    })
}

/// Documents as a table.
const TABLE: &str = "text/csv";

/// Writes all documents of a query out, or as many as `limit` says.
async fn export(
    app: Arc<App>,
    query: DocumentQuery,
    most: Option<usize>,
    (form, kind): (ExportForm, &'static str),
) -> Reply<Response> {
    let places = app.rooms.searches.clone();
    // Documents are no content of sessions.
    let passing = Passing::default();
    let body = stream_in_one(app, &passing, places, move |app, sender| {
        let vault = &app.opened.vault;
        export_documents(vault, &query, form, most, &mut |bytes| match bytes {
            [] => sender.check(),
            bytes => sender.give(bytes),
        })
    });
    Ok(([(CONTENT_TYPE, kind)], body.await?).into_response())
}

async fn list(
    app: Arc<App>,
    sight: Sight,
    kind: DocumentKind,
    parameters: Vec<(String, String)>,
    given: &HeaderMap,
) -> Reply<Response> {
    let most = parameters.iter().any(|(name, _)| name == "limit");
    let query = DocumentQuery { sight, ..by_parameters(&app, kind, parameters)? };
    if let Some(form) = wanted_form(given) {
        let most = most.then_some(query.limit);
        return export(app, query, most, form).await;
    }
    app.run_large(move |app| {
        let (page, cached) = answer(app, &query)?;
        let Shown { documents, meta, next_cursor, total } = shown(&page)?;
        let (limit, offset) = (query.limit, query.offset);
        let (count, complete) = (documents.len(), page.complete);
        let items = documents;
        Ok(DocumentItems {
            items,
            count,
            limit,
            offset,
            next_cursor,
            complete,
            meta,
            total,
            cached,
        })
    })
    .await
}

async fn results(
    app: Arc<App>,
    sight: Sight,
    kind: DocumentKind,
    wanted: DocumentsWanted,
) -> Reply<Response> {
    let query = DocumentQuery { sight, ..by_body(&app, kind, wanted)? };
    app.run_large(move |app| {
        let (page, cached) = answer(app, &query)?;
        let Shown { documents, meta, next_cursor, total } = shown(&page)?;
        let (limit, offset) = (query.limit, query.offset);
        let (count, complete) = (documents.len(), page.complete);
        let results = documents;
        Ok(DocumentResults {
            results,
            count,
            limit,
            offset,
            next_cursor,
            complete,
            meta,
            total,
            cached,
        })
    })
    .await
}

/// Answers a query by what is at hand, or anew. Whether it was at hand.
fn answer(app: &App, query: &DocumentQuery) -> Result<(Arc<DocumentPage>, bool), OpError> {
    let began = Instant::now();
    let vault = &app.opened.vault;
    let changes = documents::changes(vault.index())?;
    let text = query.canonical();
    // Whether something is at hand tells a caller that sees a part of it what others do.
    let is_kept = query.sight.has_all_sessions();
    let kept = if is_kept { app.answers.get(&text, changes) } else { None };
    let was_kept = kept.is_some();
    let page = match kept {
        Some(page) => page,
        None => {
            let page = Arc::new(query_documents(vault, query)?);
            // What was stored meanwhile may be in the answer or not.
            if is_kept && page.lasting && documents::changes(vault.index())? == changes {
                app.answers.keep(text, changes, &page);
            }
            page
        }
    };
    app.answers.count(began.elapsed(), was_kept);
    Ok((page, was_kept))
}

/// A page in the words of the API.
struct Shown {
    documents: Vec<Box<RawValue>>,
    meta: Vec<DocumentMeta>,
    next_cursor: Option<String>,
    total: Option<Total>,
}

fn shown(page: &DocumentPage) -> Result<Shown, OpError> {
    let (mut documents, mut meta) = (Vec::new(), Vec::new());
    for found in &page.documents {
        let text = RawValue::from_string(found.text.clone());
        documents.push(text.map_err(|error| OpError::Unsound(format!("a document: {error}")))?);
        meta.push(DocumentMeta {
            source: reply::source(found.source),
            at: found.at.to_string(),
            indexed_at: found.indexed_at.to_string(),
            block_index: found.block_index,
            proof: proof_of(found),
        });
    }
    let total = page.total.map(|(count, is_all)| match is_all {
        true => Total::Exactly(count as u64),
        false => Total::MoreThan(format!(">{count}")),
    });
    let next_cursor = page.next.as_ref().map(|next| URL_SAFE_NO_PAD.encode(next));
    Ok(Shown { documents, meta, next_cursor, total })
}

/// Where the block-manager has the proof of a document that was taken from it.
fn proof_of(found: &FoundDocument) -> Option<String> {
    if found.source != Source::Synchronised {
        return None;
    }
    match found.kind {
        DocumentKind::Block => Some(paths::BLOCK_BY_HASH.replace("{hash}", &found.id)),
        DocumentKind::Transaction => {
            let mut id = String::new();
            percent::encode(found.id.as_bytes(), &mut id);
            Some(paths::TRANSACTION_PROOF.replace("{tx_id}", &id))
        }
        DocumentKind::Session => None,
    }
}

/// What is asked besides the filter.
#[derive(Default)]
struct Paging {
    limit: Option<u64>,
    offset: Option<u64>,
    cursor: Option<String>,
    order: DocumentOrder,
    total: bool,
}

impl Paging {
    fn query(self, app: &App, kind: DocumentKind, filter: Filter) -> Reply<DocumentQuery> {
        let limit = self.limit.unwrap_or(u64::from(LIMIT_DEFAULT));
        if !(1..=u64::from(LIMIT_MAX)).contains(&limit) {
            return Err(invalid(format!("limit is {limit}; from 1 to {LIMIT_MAX} is allowed")));
        }
        let offset = self.offset.unwrap_or(0);
        if offset > OFFSET_MAX as u64 {
            return Err(invalid(format!(
                "offset is {offset}; up to {OFFSET_MAX} is allowed: go on by cursor, which an earlier page has"
            )));
        }
        let cursor = self.cursor.map(|text| URL_SAFE_NO_PAD.decode(text)).transpose();
        let cursor = cursor.map_err(|_| invalid("cursor is none of an earlier page"))?;
        Ok(DocumentQuery {
            kind,
            filter,
            limit: limit as usize,
            offset: offset as usize,
            bytes_max: PAGE_BYTES_MAX,
            cursor,
            descending: self.order == DocumentOrder::Desc,
            total: self.total,
            quiet_since: app.quiet_since(),
            sight: Sight::everything(),
        })
    }
}

fn by_body(app: &App, kind: DocumentKind, wanted: DocumentsWanted) -> Reply<DocumentQuery> {
    let mut filter = Filter::default();
    for (name, value) in &wanted.filters {
        filter.set(kind, name, value)?;
    }
    let DocumentsWanted { filters: _, limit, offset, cursor, order, total } = wanted;
    Paging { limit, offset, cursor, order, total }.query(app, kind, filter)
}

fn by_parameters(
    app: &App,
    kind: DocumentKind,
    parameters: Vec<(String, String)>,
) -> Reply<DocumentQuery> {
    let (mut filter, mut paging) = (Filter::default(), Paging::default());
    let mut said = std::collections::BTreeSet::new();
    for (name, value) in parameters {
        if !said.insert(name.clone()) && !Filter::takes_several(kind, &name) {
            return Err(invalid(format!("{name} is said twice")));
        }
        let number = || {
            value
                .parse()
                .map_err(|_| invalid(format!("{name} is {value:?}, and has to be a number")))
        };
        match name.as_str() {
            "limit" => paging.limit = Some(number()?),
            "offset" => paging.offset = Some(number()?),
            "cursor" => paging.cursor = Some(value),
            "order" => {
                paging.order = match value.as_str() {
                    "asc" => DocumentOrder::Asc,
                    "desc" => DocumentOrder::Desc,
                    _ => {
                        return Err(invalid(format!(
                            "order is {value:?}; asc and desc are allowed"
                        )));
                    }
                };
            }
            "total" => {
                paging.total = value.parse().map_err(|_| {
                    invalid(format!("total is {value:?}; true and false are allowed"))
                })?;
            }
            _ => filter.set_parameter(kind, &name, &value)?,
        }
    }
    paging.query(app, kind, filter)
}
