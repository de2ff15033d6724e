//! The whole API as one table. What every service has (`/`, health, docs, metrics) the porch adds.

mod anchoring;
mod blocks;
mod chain;
mod maintenance;
mod propose;
mod runs;
mod status;
mod sync;
mod transactions;
mod validation;

use lucid_http::limits::{Answer, Limits};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Routes that are told little and take as long as the chain is. One of each runs at a time.
const UNHURRIED: Limits = Limits { answer: Answer::Lasting, ..Limits::new(64 << 10, 30, 16) };
/// Routes that take one block, or a batch of transactions: read into canonical texts, in which a letter may
/// take three times its bytes.
const BLOCK: Limits = Limits::new(32 << 20, 120, 8);

/// Every route of this service.
pub fn routes(app: App) -> OpenApiRouter {
    let ordinary = OpenApiRouter::new()
        .routes(routes!(status::get_status))
        .routes(routes!(blocks::list_headers))
        .routes(routes!(blocks::get_stats))
        .routes(routes!(blocks::get_latest_block))
        .routes(routes!(blocks::get_block_by_height))
        .routes(routes!(blocks::get_block_by_hash))
        .routes(routes!(blocks::get_block, sync::remove_block))
        .routes(routes!(blocks::get_block_proof))
        .routes(routes!(runs::get_heads))
        .routes(routes!(runs::get_bodies))
        .routes(routes!(validation::get_rules))
        .routes(routes!(transactions::submit_transaction))
        .routes(routes!(transactions::list_pending))
        .routes(routes!(transactions::get_transaction))
        .routes(routes!(transactions::get_proof))
        .routes(routes!(anchoring::anchor_session))
        .routes(routes!(anchoring::get_anchoring))
        .routes(routes!(anchoring::verify_anchoring))
        .routes(routes!(sync::sync_now))
        .routes(routes!(chain::get_status))
        .routes(routes!(chain::get_status_alias))
        .routes(routes!(chain::get_info_alias))
        .routes(routes!(chain::get_info))
        .routes(routes!(chain::get_height));
    let unhurried = OpenApiRouter::new()
        .routes(routes!(validation::validate_chain))
        .routes(routes!(maintenance::maintain_chain));
    let large = OpenApiRouter::new()
        .routes(routes!(blocks::list_blocks, blocks::submit_block))
        .routes(routes!(transactions::submit_batch))
        .routes(routes!(propose::propose_block))
        .routes(routes!(validation::validate_block))
        .routes(routes!(validation::validate_block_alias));
    Limits::ORDINARY
        .around(ordinary)
        .merge(BLOCK.around(large))
        .merge(UNHURRIED.around(unhurried))
        .with_state(app)
}
