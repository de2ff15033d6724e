//! Reading sessions and chunks back, and what that found.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use lucid_api::paths;
use lucid_api::v1::chunks::ChunkQuery;
use lucid_api::v1::maintenance::{JobKind, Progress};
use lucid_api::v1::verification::{
    ChunkVerified, ChunkVerifiedDetails, HistoryQuery, PastVerification, Verified, VerifyQuery,
};
use lucid_http::extract::{Path, Query};
use lucid_http::long_work::{Begun, Prefer, Wait, long_work};
use lucid_http::reply::Reply;

use super::{AppState, invalid, limit, session_id};
use crate::ops::proofs::verify_chunk::{verifications, verify_chunk as verify_one};
use crate::ops::sight::Sight;
use crate::workers::verification::verify_now;

/// Reads every chunk, and holds tree, manifest and anchor against each other. A fault is an answer;
/// so is a session that is not there.
#[utoipa::path(post, path = paths::VERIFY_SESSION, tag = "verification",
    params(("session_id" = String, Path), VerifyQuery, Prefer),
    responses((status = 200, body = Verified), (status = 202, body = Progress)))]
pub async fn verify_session(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<VerifyQuery>,
    wait: Wait,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let expected = query.expected_merkle_root;
    let place = app.rooms.verifying.take().await?;
    let (shown, shown_id) = (app.clone(), id.clone());
    let is_kept = wait.is_said();
    let look = async move {
        let at = paths::fill(paths::VERIFY_SESSION, &[shown_id.as_str().as_bytes()]);
        Ok((at, shown.jobs.show_of(JobKind::Verify, shown_id.as_str())))
    };
    let verify = |begun: Begun| async move {
        // A caller that waits, and leaves, does not want the answer any more.
        let asking = Arc::new(());
        let asked = Arc::downgrade(&asking);
        let verified = app.run_refusing(move |app| {
            let _place = place;
            verify_now(app, begun, is_kept, &id, expected, &|| asked.strong_count() > 0)
        });
        let verified = verified.await;
        drop(asking);
        verified
    };
    long_work(&wait, look, verify).await
}

/// How far reading a session back is, or how it ended if it was among the last sixteen.
#[utoipa::path(get, path = paths::VERIFY_SESSION, tag = "verification",
    params(("session_id" = String, Path)), responses((status = 200, body = Progress)))]
pub async fn get_verification(
    State(app): AppState,
    Path(id): Path<String>,
) -> Reply<Answer<Progress>> {
    let id = session_id(&id)?;
    Ok(Answer(app.jobs.show_of(JobKind::Verify, id.as_str())))
}

/// Reads one chunk and holds it against its hash. Damage is an answer.
#[utoipa::path(post, path = paths::VERIFY_CHUNK, tag = "verification",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, body = ChunkVerified)))]
pub async fn verify_chunk(
    State(app): AppState,
    sight: Sight,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
) -> Reply<Answer<ChunkVerified>> {
    let session = query.session_id.as_deref().map(session_id).transpose()?;
    let place = app.rooms.reading.take().await?;
    let outcome = app
        .run(move |app| {
            let _place = place;
            let (vault, now) = (&app.opened.vault, app.clock.now());
            verify_one(vault, &sight, &called, session.as_ref(), now)
        })
        .await?;
    let checks = ["record", "decryption", "length", "hash"];
    let checks = checks.map(|check| (check.to_owned(), outcome.verified)).into_iter().collect();
    Ok(Answer(ChunkVerified {
        verified: outcome.verified,
        timestamp: outcome.at.to_string(),
        details: ChunkVerifiedDetails {
            chunk_id: outcome.subject,
            checks,
            reason: Some(outcome.reason).filter(|reason| !reason.is_empty()),
        },
    }))
}

/// The latest verifications, the newest first.
#[utoipa::path(get, path = paths::VERIFY_HISTORY, tag = "verification", params(HistoryQuery),
    responses((status = 200, body = Vec<PastVerification>)))]
pub async fn verify_history(
    State(app): AppState,
    Query(query): Query<HistoryQuery>,
) -> Reply<Response> {
    let limit = limit(query.limit)?;
    if query.chunk_id.is_some() && query.session_id.is_some() {
        return Err(invalid("ask for one chunk or for one session"));
    }
    let subject = query.chunk_id.or(query.session_id);
    app.run_large(move |app| {
        let past = verifications(&app.opened.vault, subject.as_deref(), limit)?;
        let shown = past.into_iter().map(|past| PastVerification {
            timestamp: past.at.to_string(),
            kind: if past.is_session { "session" } else { "chunk" }.to_owned(),
            id: past.subject,
            verified: past.verified,
            reason: Some(past.reason).filter(|reason| !reason.is_empty()),
        });
        Ok(shown.collect::<Vec<_>>())
    })
    .await
}
