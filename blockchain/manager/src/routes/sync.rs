//! Synchronising on demand, and removing a block that is not final.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::sync::{RemoveBlockQuery, RemovedBlock, SyncReport};
use lucid_http::extract::{Path, Query};
use lucid_http::patience::{Patience, Prefer, goes_on};
use lucid_http::reply::{Refusal, Reply};

use super::blocks::height as height_in;
use crate::app::App;
use crate::ops::remove_block::remove_block as remove;
use crate::workers::MISTAKE;
use crate::workers::follow::synchronise;
use crate::{facts, problems};

/// A round that takes longer goes on in the background, unless its caller said how long it waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the peer for blocks now.
#[utoipa::path(post, path = paths::CHAIN_SYNC, tag = "chain", params(Prefer), responses(
    (status = 200, body = SyncReport), (status = 202, body = SyncReport, description = "it goes on in the background"),
    (status = 409, description = "it runs already, or an authority follows nobody"),
    (status = 502, description = "the peer failed"),
))]
pub async fn sync_now(State(app): State<App>, patience: Patience) -> Reply<Response> {
    // The service may still be starting.
    let role = app.run(|manager| Ok(manager.role)).await?;
    if role == facts::Role::Authority {
        let sentence = "this block-manager is the authority of its chain and follows nobody";
        return Err(Refusal::new(ErrorCode::Role, sentence));
    }
    let time = match patience {
        Patience::For(time) => time,
        Patience::Unsaid => PATIENCE,
    };
    match tokio::time::timeout(time, synchronise(&app)).await {
        Err(_) => {
            let status = app.sync_status().await?;
            let report = SyncReport {
                success: true,
                synchronized: false,
                synced_blocks: status.synced_blocks,
                local_height: status.local_height,
                remote_height: status.remote_height,
                message: Some("it goes on in the background: see the chain's status".to_owned()),
            };
            goes_on(paths::CHAIN_STATUS, &report)
        }
        Ok(Err(_)) => {
            if let Some(follower) = app.follower() {
                follower.note_mistake(MISTAKE);
            }
            Err(Refusal::new(ErrorCode::Internal, "synchronising ended unexpectedly"))
        }
        Ok(Ok(None)) => Err(Refusal::new(
            ErrorCode::Running,
            "synchronising runs already: see the chain's status",
        )),
        Ok(Ok(Some(Ok(report)))) => Ok(Json(report).into_response()),
        Ok(Ok(Some(Err(error)))) => Err(problems::sync(error)),
    }
}

/// Removes the newest tentative block of a follower. What is committed is final.
#[utoipa::path(delete, path = paths::BLOCK, tag = "blocks", params(("index" = u64, Path), RemoveBlockQuery), responses(
    (status = 200, body = RemovedBlock), (status = 403, description = "the first block"), (status = 404),
    (status = 409, description = "it is final, or not the newest one, or has another hash"),
))]
pub async fn remove_block(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<RemoveBlockQuery>,
) -> Reply<Json<RemovedBlock>> {
    let height = height_in(&name)?;
    app.run(move |manager| {
        let hash = remove(manager.chain.as_ref(), &manager.staging, height, query.confirm)
            .map_err(problems::remove_block)?;
        tracing::info!(block.height = height, block.hash = %hash, "a tentative block was removed");
        Ok(Json(RemovedBlock { removed: true, index: height, hash }))
    })
    .await
}
