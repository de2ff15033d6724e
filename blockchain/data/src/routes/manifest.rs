//! What a sealed session consists of: `GET /api/v1/sessions/{session_id}/manifest`.

use axum::Json as Answer;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::list::{LIMIT_DEFAULT, LIMIT_MAX};
use lucid_api::v1::manifest::{Manifest, ManifestQuery};
use lucid_http::extract::{Path, Query};
use lucid_http::reply::Reply;

use super::{AppState, invalid, session_id};
use crate::ops::proofs::prove_session::{named, session_manifest};
use crate::ops::sessions::read_session::StoredSession;
use crate::reply;
use crate::source::SessionSource as _;

/// The manifest, with one page of its chunks.
#[utoipa::path(get, path = paths::SESSION_MANIFEST, tag = "sessions",
    params(("session_id" = String, Path), ManifestQuery),
    responses((status = 200, body = Manifest)))]
pub async fn get_manifest(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<ManifestQuery>,
) -> Reply<Answer<Manifest>> {
    let id = session_id(&id)?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if limit > LIMIT_MAX {
        return Err(invalid(format!("limit is {limit}; from 0 to {LIMIT_MAX} is allowed")));
    }
    let manifest = app
        .run(move |app| {
            let vault = &app.opened.vault;
            let (name, row) = named(vault, &id)?;
            let (text, manifest) = session_manifest(vault, &name, &row)?;
            let source = StoredSession::open(vault, &id)?;
            let chunks = match limit {
                0 => Vec::new(),
                limit => source.references(query.start, limit as usize)?,
            };
            Ok(reply::manifest(&text, &manifest, query.start, &chunks))
        })
        .await?;
    Ok(Answer(manifest))
}
