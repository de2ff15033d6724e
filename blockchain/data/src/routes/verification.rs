//! Reading a session back: `POST /api/v1/verify/session/{session_id}`.

use axum::Json as Answer;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::verification::{Verified, VerifyQuery};
use lucid_http::extract::{Path, Query};
use lucid_http::reply::Reply;

use super::{Desk, session_id};
use crate::ops::OpError;
use crate::ops::verify_session::{SessionVerified, verify_session as verify};
use crate::{clock, reply};

/// Reads every chunk, and holds tree, manifest and anchor against each other. A fault is an answer;
/// so is a session that is not there.
#[utoipa::path(post, path = paths::VERIFY_SESSION, tag = "verification",
    params(("session_id" = String, Path), VerifyQuery),
    responses((status = 200, body = Verified)))]
pub async fn verify_session(
    State(app): Desk,
    Path(id): Path<String>,
    Query(query): Query<VerifyQuery>,
) -> Reply<Answer<Verified>> {
    let id = session_id(&id)?;
    let verified = app
        .run(move |app| match verify(&app.opened.vault, &id, app.threads, &|_| {}) {
            Err(error @ (OpError::NoSession(_) | OpError::Removed(_))) => {
                Ok(SessionVerified { faults: vec![error.to_string()], ..Default::default() })
            }
            outcome => outcome,
        })
        .await?;
    Ok(Answer(reply::verified(&verified, query.expected_merkle_root, clock::now())))
}
