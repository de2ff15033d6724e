//! Long work on the store: how far it is; collecting garbage, and packing more tightly.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use lucid_api::paths;
use lucid_api::v1::maintenance::{
    BeginRetention, CollectGarbage, GarbageCollected, JobKind, Maintenance, Optimise, Optimised,
    Progress, RetentionBegun,
};
use lucid_http::extract::JsonOrNone;
use lucid_http::jobs::{JobRun, Jobs};
use lucid_http::long_work::{Begun, Prefer, Wait, long_work};
use lucid_http::reply::Reply;
use serde::Serialize;

use super::AppState;
use crate::app::App;
use crate::ops::upkeep::begin_retention::begin_by_policy as begin;
use crate::workers::maintenance::{collect_now, optimise_now};
use crate::{Opened, reply};

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
#[utoipa::path(post, path = paths::MAINTENANCE_GC, tag = "maintenance", params(Prefer),
    request_body = Option<CollectGarbage>,
    responses((status = 200, body = GarbageCollected), (status = 202, body = Progress),
        (status = 409, description = "it runs")))]
pub async fn collect_garbage(
    State(app): AppState,
    wait: Wait,
    JsonOrNone(wanted): JsonOrNone<CollectGarbage>,
) -> Reply<Response> {
    let collect = move |app: &App, run: JobRun<'_>| collect_now(app, run, wanted, true);
    work(app, wait, JobKind::Gc, paths::MAINTENANCE_GC, collect).await
}

/// How far packing more tightly is, or how the last run ended.
#[utoipa::path(get, path = paths::MAINTENANCE_OPTIMISE, tag = "maintenance",
    responses((status = 200, body = Progress)))]
pub async fn get_optimise(State(app): AppState) -> Answer<Progress> {
    Answer(app.jobs.show(JobKind::Optimise))
}

/// Packs what is stored more tightly now, and answers when that is done.
#[utoipa::path(post, path = paths::MAINTENANCE_OPTIMISE, tag = "maintenance", params(Prefer),
    request_body = Option<Optimise>,
    responses((status = 200, body = Optimised), (status = 202, body = Progress),
        (status = 409, description = "it runs")))]
pub async fn optimise(
    State(app): AppState,
    wait: Wait,
    JsonOrNone(wanted): JsonOrNone<Optimise>,
) -> Reply<Response> {
    let pack = move |app: &App, run: JobRun<'_>| optimise_now(app, run, wanted, true);
    work(app, wait, JobKind::Optimise, paths::MAINTENANCE_OPTIMISE, pack).await
}

/// Has a block made, and says its time, by which ages of sessions are counted.
#[utoipa::path(post, path = paths::MAINTENANCE_RETENTION, tag = "maintenance",
    request_body = Option<BeginRetention>,
    responses((status = 200, body = RetentionBegun),
        (status = 409, description = "the clock is far ahead, and that is not confirmed"),
        (status = 503, description = "the chain cannot be asked")))]
pub async fn begin_retention(
    State(app): AppState,
    JsonOrNone(wanted): JsonOrNone<BeginRetention>,
) -> Reply<Answer<RetentionBegun>> {
    let begun = app
        .run(move |app| {
            let Opened { vault, key, .. } = &*app.opened;
            let engine = app.anchoring.engine();
            begin(vault, key, engine.as_deref(), app.clock.now(), wanted.confirm)
        })
        .await?;
    Ok(Answer(reply::retention_begun(&begun)))
}

/// Does work of which one of its kind runs at a time. It goes on when its caller leaves.
async fn work<T: Serialize + Send + 'static>(
    app: Arc<App>,
    wait: Wait,
    kind: JobKind,
    at: &str,
    work: impl FnOnce(&App, JobRun<'_>) -> Reply<T> + Send + 'static,
) -> Reply<Response> {
    let shown = app.clone();
    let look = async move { Ok((at.to_owned(), shown.jobs.show(kind))) };
    let begin = |begun: Begun| async move {
        let work = move |app: &App| {
            let run = app.jobs.begin(kind)?;
            begun.say();
            work(app, run)
        };
        app.run_refusing(work).await
    };
    long_work(&wait, look, begin).await
}
