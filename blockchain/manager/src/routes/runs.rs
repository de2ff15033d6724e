//! Committed blocks in a row, framed, for the followers of this chain.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::sync::{RUN_BLOCKS_MAX, RunQuery};
use lucid_api::{framing, paths};
use lucid_http::extract::Query;
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::ops::read_run::{Half, read_run};
use crate::problems;

/// The heads of blocks in a row: each the nine lines of its entry, and who signed it.
#[utoipa::path(get, path = paths::BLOCKS_HEADS, tag = "blocks", params(RunQuery), responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn get_heads(State(app): State<App>, Query(query): Query<RunQuery>) -> Reply<Response> {
    answer(app, Half::Heads, query).await
}

/// The transactions of blocks in a row.
#[utoipa::path(get, path = paths::BLOCKS_BODIES, tag = "blocks", params(RunQuery), responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 410, description = "they were pruned")))]
pub async fn get_bodies(State(app): State<App>, Query(query): Query<RunQuery>) -> Reply<Response> {
    answer(app, Half::Bodies, query).await
}

async fn answer(app: App, half: Half, query: RunQuery) -> Reply<Response> {
    let limit = query.limit.unwrap_or(RUN_BLOCKS_MAX);
    if !(1..=RUN_BLOCKS_MAX).contains(&limit) {
        let sentence = format!("limit is from 1 to {RUN_BLOCKS_MAX}");
        return Err(Refusal::new(ErrorCode::Invalid, sentence));
    }
    let from = query.from;
    let body = app
        .run_large(move |manager| {
            let run = read_run(manager.chain.as_ref(), half, from, limit as usize)
                .map_err(problems::store)?;
            let run = run.here().ok_or_else(|| {
                let sentence = format!("the transactions of block {from} were pruned");
                Refusal::new(ErrorCode::Gone, sentence)
                    .with("pruned_below", manager.chain.pruned_below())
            })?;
            framing::encode(run.iter().map(Vec::as_slice))
                .ok_or_else(|| Refusal::new(ErrorCode::Internal, "a block is too long to be sent"))
        })
        .await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}
