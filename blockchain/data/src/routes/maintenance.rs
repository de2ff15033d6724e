//! Long work on the store: how far it is; collecting garbage, and packing more tightly.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::maintenance::{
    CollectGarbage, GarbageCollected, Maintenance, Optimise, Optimised, Progress,
};
use lucid_http::extract::JsonOrNone;
use lucid_http::reply::Reply;

use super::AppState;
use crate::jobs::{JobKind, Jobs};
use crate::workers::maintenance::{collect_now, optimise_now};

/// Every kind of long work, and how far it is.
#[utoipa::path(get, path = paths::MAINTENANCE, tag = "maintenance",
    responses((status = 200, body = Maintenance)))]
pub async fn list_maintenance(State(app): AppState) -> Answer<Maintenance> {
    Answer(Maintenance { items: app.jobs.list() })
}

/// The same while the service starts.
#[utoipa::path(get, path = paths::MAINTENANCE, tag = "maintenance",
    responses((status = 200, body = Maintenance)))]
pub async fn list_starting(State(jobs): State<Arc<Jobs>>) -> Answer<Maintenance> {
    Answer(Maintenance { items: jobs.list() })
}

/// How far collecting garbage is, or how the last collection ended.
#[utoipa::path(get, path = paths::MAINTENANCE_GC, tag = "maintenance",
    responses((status = 200, body = Progress)))]
pub async fn get_gc(State(app): AppState) -> Answer<Progress> {
    Answer(app.jobs.show(JobKind::Gc))
}

/// Collects garbage now, and answers when that is done.
#[utoipa::path(post, path = paths::MAINTENANCE_GC, tag = "maintenance",
    request_body = Option<CollectGarbage>,
    responses((status = 200, body = GarbageCollected), (status = 409, description = "it runs")))]
pub async fn collect_garbage(
    State(app): AppState,
    JsonOrNone(wanted): JsonOrNone<CollectGarbage>,
) -> Reply<Answer<GarbageCollected>> {
    Ok(Answer(app.run(move |app| collect_now(app, wanted, true)).await?))
}

/// How far packing more tightly is, or how the last run ended.
#[utoipa::path(get, path = paths::MAINTENANCE_OPTIMISE, tag = "maintenance",
    responses((status = 200, body = Progress)))]
pub async fn get_optimise(State(app): AppState) -> Answer<Progress> {
    Answer(app.jobs.show(JobKind::Optimise))
}

/// Packs what is stored more tightly now, and answers when that is done.
#[utoipa::path(post, path = paths::MAINTENANCE_OPTIMISE, tag = "maintenance",
    request_body = Option<Optimise>,
    responses((status = 200, body = Optimised), (status = 409, description = "it runs")))]
pub async fn optimise(
    State(app): AppState,
    JsonOrNone(wanted): JsonOrNone<Optimise>,
) -> Reply<Answer<Optimised>> {
    Ok(Answer(app.run(move |app| optimise_now(app, wanted, true)).await?))
}
