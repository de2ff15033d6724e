//! Reading sessions and chunks back, and what that found.

use lucid_core::words::many_do;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Response;
use lucid_api::paths;
use lucid_api::v1::chunks::ChunkQuery;
use lucid_api::v1::maintenance::{Progress, ProgressState};
use lucid_api::v1::verification::{
    ChunkVerified, ChunkVerifiedDetails, HistoryQuery, PastVerification, Verified, VerifyQuery,
};
use lucid_http::extract::{Path, Query};
use lucid_http::reply::Reply;
use serde_json::Value;

use super::{AppState, invalid, limit, session_id};
use crate::fact::Verified as Outcome;
use crate::jobs::JobKind;
use crate::ops::OpError;
use crate::ops::proofs::verify_chunk::{remember, verifications, verify_chunk as verify_one};
use crate::ops::proofs::verify_session::{SessionVerified, verify_session as verify};
use crate::ops::sessions::list_sessions::get_session;
use crate::reply;

/// Reads every chunk, and holds tree, manifest and anchor against each other. A fault is an answer;
/// so is a session that is not there.
#[utoipa::path(post, path = paths::VERIFY_SESSION, tag = "verification",
    params(("session_id" = String, Path), VerifyQuery),
    responses((status = 200, body = Verified)))]
pub async fn verify_session(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<VerifyQuery>,
) -> Reply<Answer<Verified>> {
    let id = session_id(&id)?;
    let expected = query.expected_merkle_root;
    let place = app.rooms.verifying.take().await?;
    // A caller that leaves does not want the answer any more.
    let asking = Arc::new(());
    let asked = Arc::downgrade(&asking);
    let verified = app
        .run(move |app| {
            let _place = place;
            let vault = &app.opened.vault;
            // A caller that verifies what is being verified already waits as long, and is not counted twice.
            let run = app.jobs.begin_of(JobKind::Verify, id.as_str()).ok();
            let total = get_session(vault, &id).map_or(0, |row| row.offset());
            let progress = |done| {
                let goes_on = run.as_ref().is_none_or(|run| run.step("reading", done, total));
                goes_on && asked.strong_count() > 0
            };
            let _begun = progress(0);
            let outcome = verify(vault, &id, app.threads, &progress);
            if let Some(run) = run {
                match &outcome {
                    Ok(_) => run.end(ProgressState::Done, Ok(Value::Null)),
                    Err(error) => run.end(ProgressState::Failed, Err(error.to_string())),
                }
            }
            let found = match outcome {
                Err(error @ OpError::NoSession(_)) => {
                    let faults = vec![error.to_string()];
                    let found = SessionVerified { faults, ..SessionVerified::default() };
                    return Ok(reply::verified(&found, expected, app.clock.now()));
                }
                outcome => outcome?,
            };
            let now = app.clock.now();
            let mut verified = reply::verified(&found, expected, now);
            let reason = match (found.failed.len(), &verified.details.reason) {
                (0, reason) => reason.clone().unwrap_or_default(),
                (failed, _) => {
                    format!("{} damaged or missing", many_do(failed, "chunk", "is", "are"))
                }
            };
            let outcome = Outcome {
                at: now,
                subject: id.to_string(),
                is_session: true,
                verified: verified.verified,
                reason: reason.clone(),
            };
            let told = remember(vault, outcome).reason;
            if told != reason {
                verified.details.reason = Some(told);
            }
            Ok(verified)
        })
        .await?;
    drop(asking);
    Ok(Answer(verified))
}

/// How far reading a session back is, or how it ended if that was the last one.
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
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
) -> Reply<Answer<ChunkVerified>> {
    let session = query.session_id.as_deref().map(session_id).transpose()?;
    let place = app.rooms.reading.take().await?;
    let outcome = app
        .run(move |app| {
            let _place = place;
            verify_one(&app.opened.vault, &called, session.as_ref(), app.clock.now())
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
