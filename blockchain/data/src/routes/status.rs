//! What the service has, and what is wrong with it: `GET /api/v1/status`.

use axum::Json;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::chunks::DeduplicationStats;
use lucid_api::v1::service::Status;
use lucid_http::reply::Reply;
use serde_json::{Value, json};

use super::AppState;
use crate::config::SERVICE;
use crate::ops::sessions::count_sessions::count_sessions;

/// Places of damage that are listed; all of them are counted.
const DAMAGE_LISTED: usize = 100;

/// Counts, damage, and how long the oldest anchor waits.
#[utoipa::path(get, path = paths::STATUS, tag = "service", responses((status = 200, body = Status)))]
pub async fn get_status(State(app): AppState) -> Reply<Json<Status>> {
    let document = app.report().document(SERVICE);
    let uptime_seconds = app.started.elapsed().as_secs();
    let (process, counts) = app
        .run(|app| {
            let totals = count_sessions(&app.opened.vault)?;
            let waiting = app.waiting_since()?;
            let damage = app.opened.damage();
            let listed: Vec<Value> = damage
                .iter()
                .take(DAMAGE_LISTED)
                .map(|at| json!({ "file": at.file, "offset": at.offset, "why": at.why }))
                .collect();
            let age =
                waiting.map_or(0, |since| app.clock.now().micros_since(since).max(0) / 1_000_000);
            let export = &app.opened.folder.key_export;
            let counts = json!({
                "total_sessions": totals.sessions.sessions,
                "sealed_sessions": totals.sessions.sealed,
                "anchored_sessions": totals.sessions.anchored,
                "anchored_elsewhere_sessions": totals.sessions.elsewhere,
                "chunk_references": totals.sessions.references,
                "session_bytes": totals.sessions.bytes,
                "unique_chunks": totals.sessions.unique,
                "unique_bytes": totals.sessions.unique_bytes,
                "uploaded_chunks": totals.sessions.uploads,
                "deduplication": app.chunks.deduplicate,
                "stored_bytes": totals.stored_bytes,
                "encrypted": app.storage.encrypt,
                "compression": app.storage.compression.to_string(),
                "damaged_places": damage.len(),
                "damage": listed,
                "anchoring": app.anchoring.fault().map_or("working".to_owned(), |why| why),
                "unanchored_age_seconds": age,
                "integrations": app.integrations.health(),
                "store_id": app.opened.store_id(),
                "kept": app.kept(),
                "key_export": {
                    "state": export.state(),
                    "verified_at": export.verified_at(),
                    "why": export.why(),
                },
                "recorder_key": app.opened.key.public().to_string(),
            });
            Ok((app.folders.status(), counts.as_object().cloned().unwrap_or_default()))
        })
        .await?;
    let (service, version) = (SERVICE.name.to_owned(), SERVICE.version.to_owned());
    let status = document.status;
    Ok(Json(Status { status, service, version, uptime_seconds, process, counts }))
}

/// How much deduplication saves.
#[utoipa::path(get, path = paths::DEDUPLICATION_STATS, tag = "service",
    responses((status = 200, body = DeduplicationStats)))]
pub async fn deduplication_stats(State(app): AppState) -> Reply<Json<DeduplicationStats>> {
    let stats = app
        .run(|app| {
            let counts = count_sessions(&app.opened.vault)?.sessions;
            // Bytes that wait for their cut are no chunks yet.
            let (referred, unique) = (counts.chunk_bytes, counts.unique_bytes);
            Ok(DeduplicationStats {
                enabled: app.chunks.deduplicate,
                total_unique_chunks: counts.unique,
                total_references: counts.references + counts.uploads,
                total_size_bytes: unique,
                deduplication_ratio: match unique {
                    0 => 1.0,
                    _ => referred as f64 / unique as f64,
                },
                space_saved_bytes: referred.saturating_sub(unique),
            })
        })
        .await?;
    Ok(Json(stats))
}
