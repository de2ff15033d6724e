//! The chain as a whole.

use axum::Json;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::chain::{ChainHeight, ChainInfo, ChainState, ChainStatus};
use lucid_http::reply::Reply;

use crate::reply::moment;

use super::maintenance::report;
use super::status::counts;
use crate::app::App;
use crate::fact::Role;
use crate::ops::chain_info::chain_info;
use crate::problems;

/// What the chain is.
#[utoipa::path(get, path = paths::CHAIN_INFO, tag = "chain", responses((status = 200, body = ChainInfo)))]
pub async fn get_info(State(app): State<App>) -> Reply<Json<ChainInfo>> {
    let state = match (app.shutdown().is_asked(), app.maintenance().is_running()) {
        (true, _) => ChainState::Shutdown,
        (_, true) => ChainState::Maintenance,
        _ => ChainState::Idle,
    };
    let app_in = app.clone();
    app.run(move |manager| {
        let facts = chain_info(&manager.vault, manager.chain.as_ref()).map_err(problems::store)?;
        let last = app_in.maintenance().last();
        let mut statistics = counts(&facts);
        statistics.insert("role".to_owned(), manager.role.name().into());
        Ok(Json(ChainInfo {
            height: facts.tip.map_or(0, |tip| tip.height),
            tentative_height: manager.staging.top().map(|top| top.height),
            state,
            last_updated: manager.clock.now().to_string(),
            block_count: facts.blocks,
            latest_block_hash: facts.tip.map(|tip| tip.hash),
            genesis_hash: facts.genesis,
            pruned_below: manager.chain.pruned_below(),
            max_blocks_to_keep: app_in.keep(),
            last_maintenance: last.as_ref().map(|last| last.ended_at.to_string()),
            last_report: last.as_ref().map(report),
            producer: match manager.role {
                Role::Authority => Some(manager.key.public().to_string()),
                Role::Follower => {
                    Some(manager.kind.producer.to_string()).filter(|keys| !keys.is_empty())
                }
            },
            statistics,
        }))
    })
    .await
}

/// How far the chain is.
#[utoipa::path(get, path = paths::CHAIN_HEIGHT, tag = "chain", responses((status = 200, body = ChainHeight)))]
pub async fn get_height(State(app): State<App>) -> Reply<Json<ChainHeight>> {
    // Asked often: it must not wait behind everybody who waits for the disk.
    let known = app.opened().and_then(|manager| app.newest(manager.chain.as_ref()));
    let (tip, timestamp) = match known {
        Some(known) => known,
        None => {
            let asking = app.clone();
            app.run(move |manager| asking.read_newest(manager.chain.as_ref())).await?
        }
    };
    let staging = app.opened().map(|manager| &manager.staging);
    Ok(Json(ChainHeight {
        height: tip.map_or(0, |tip| tip.height),
        tentative_height: staging.and_then(|staging| staging.top()).map(|top| top.height),
        hash: tip.map(|tip| tip.hash),
        timestamp,
        empty: tip.is_none(),
    }))
}

/// How the chain is, and how synchronisation.
#[utoipa::path(get, operation_id = "get_chain_status", path = paths::CHAIN_STATUS, tag = "chain", responses((status = 200, body = ChainStatus)))]
pub async fn get_status(State(app): State<App>) -> Reply<Json<ChainStatus>> {
    let sync = app.sync_status().await?;
    let facts = app
        .run(|manager| chain_info(&manager.vault, manager.chain.as_ref()).map_err(problems::store))
        .await?;
    let height = facts.tip.map_or(0, |tip| tip.height);
    Ok(Json(ChainStatus {
        status: app.report().state(),
        sync_status: sync.state,
        chain_height: height,
        current_height: height,
        latest_block_hash: facts.tip.map(|tip| tip.hash),
        last_block_time: facts.tip_time.map(moment),
        sync,
    }))
}

/// The same.
#[utoipa::path(get, operation_id = "get_blockchain_status", path = paths::BLOCKCHAIN_STATUS, tag = "chain", responses((status = 200, body = ChainStatus)))]
pub async fn get_status_alias(app: State<App>) -> Reply<Json<ChainStatus>> {
    get_status(app).await
}

/// The same.
#[utoipa::path(get, operation_id = "get_blockchain_info", path = paths::BLOCKCHAIN_INFO, tag = "chain", responses((status = 200, body = ChainStatus)))]
pub async fn get_info_alias(app: State<App>) -> Reply<Json<ChainStatus>> {
    get_status(app).await
}
