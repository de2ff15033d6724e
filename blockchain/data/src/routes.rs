//! The whole API of the data-chain as one table.
//!
//! Handlers live one noun a file; each takes a request apart, calls one op on a thread that may block,
//! and words the answer. What goes wrong becomes a problem document in `problems`. Root, health,
//! metrics and documentation are the porch's.

mod anchors;
mod append;
mod chunk;
mod chunks;
mod content;
mod files;
mod maintenance;
mod manifest;
mod merkle;
mod mirror;
mod proofs;
mod removal;
mod scrub;
mod sessions;
mod status;
mod verification;

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderName;
use lucid_api::headers::UPLOAD_OFFSET as OFFSET;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::list::{LIMIT_DEFAULT, LIMIT_MAX};
use lucid_core::session::SessionId;
use lucid_http::limits::Limits;
use lucid_http::reply::{Refusal, Reply};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::jobs::Jobs;

/// What handlers are given.
type Desk = State<Arc<App>>;

/// The header that says where a session's next byte goes.
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static(OFFSET);

/// What names the leaves of a tree: the names may be short.
const TREES: Limits = Limits::new(32 << 20, 120, 12);

/// Every route, by what a request of it may cost.
pub fn table(app: Arc<App>) -> OpenApiRouter {
    let ordinary = OpenApiRouter::new()
        .routes(routes!(status::get_status))
        .routes(routes!(sessions::create_session, sessions::list_sessions))
        .routes(routes!(removal::hold_session, removal::release_session))
        .routes(routes!(removal::list_tombstones))
        .routes(routes!(maintenance::list_maintenance))
        .routes(routes!(scrub::get_scrub, scrub::begin_scrub))
        .routes(routes!(mirror::export_session))
        .routes(routes!(anchors::anchor_session, anchors::get_anchor))
        .routes(routes!(manifest::get_manifest))
        .routes(routes!(files::list_files))
        .routes(routes!(chunk::get_chunk_metadata))
        .routes(routes!(merkle::get_tree))
        .routes(routes!(merkle::prove_leaf))
        .routes(routes!(merkle::verify_proof))
        .routes(routes!(verification::verify_history))
        .routes(routes!(status::deduplication_stats))
        .routes(routes!(chunks::missing_chunks));
    let large = OpenApiRouter::new()
        .routes(routes!(sessions::add_references))
        .routes(routes!(mirror::import_session))
        .routes(routes!(chunk::put_chunk, chunk::list_chunks))
        .routes(routes!(chunk::put_session_chunk))
        .routes(routes!(chunk::add_session_chunk, chunk::list_session_chunks))
        .routes(routes!(chunk::get_chunk, chunk::delete_chunk))
        .routes(routes!(verification::verify_chunk));
    let trees = OpenApiRouter::new().routes(routes!(merkle::build_tree));
    let patient = OpenApiRouter::new()
        .routes(routes!(sessions::seal_session))
        .routes(routes!(sessions::get_session, sessions::head_session, removal::remove_session))
        .routes(routes!(proofs::prove_session))
        .routes(routes!(proofs::prove_chunk))
        .routes(routes!(chunks::store_chunks));
    let streaming = OpenApiRouter::new().routes(routes!(append::append_stream));
    let lasting = OpenApiRouter::new()
        .routes(routes!(chunks::get_chunks))
        .routes(routes!(chunk::get_chunk_raw))
        .routes(routes!(content::get_data))
        .routes(routes!(files::get_file))
        .routes(routes!(files::get_archive))
        .routes(routes!(verification::verify_session, verification::get_verification))
        .routes(routes!(maintenance::get_gc, maintenance::collect_garbage))
        .routes(routes!(maintenance::get_optimise, maintenance::optimise));
    Limits::ORDINARY
        .around(ordinary)
        .merge(Limits::LARGE.around(large))
        .merge(TREES.around(trees))
        .merge(Limits::BATCH.around(patient))
        .merge(Limits::LASTING.around(lasting))
        .merge(Limits::STREAM.around(streaming))
        .with_state(app)
}

/// What can be asked before the folder is open.
pub fn starting(jobs: Arc<Jobs>) -> OpenApiRouter {
    let refuse = || async {
        let detail = "the service is starting; /health says how far it is";
        Refusal::new(ErrorCode::Unavailable, detail)
    };
    let routes = OpenApiRouter::new().routes(routes!(maintenance::list_starting));
    Limits::ORDINARY.around(routes).fallback(refuse).with_state(jobs)
}

/// Reads a session's id.
fn session_id(text: &str) -> Reply<SessionId> {
    text.parse().map_err(|fault| invalid(format!("{fault}")))
}

/// Refuses what can be read and is not allowed.
fn invalid(sentence: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::Invalid, sentence)
}

/// How many items a page is to have.
fn limit(given: Option<u32>) -> Reply<usize> {
    match given.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        other => Err(invalid(format!("limit is {other}; from 1 to {LIMIT_MAX} is allowed"))),
    }
}
