//! Roots of sessions: anchor one, find it, verify it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::anchoring::{AnchorRoot, Anchoring, AnchoringVerified, VerifyAnchoring};
use lucid_api::v1::anchors::AnchorStatus;
use lucid_core::block_merkle::verify_path;
use lucid_core::session::SessionId;
use lucid_http::extract::{Json as Given, JsonText, Path};
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::forward::{ask_peer, forward};
use crate::ops::anchor_session::{
    CommittedAnchor, SessionAnchor, anchor_session as anchor, find_anchor, find_committed_anchor,
};
use crate::ops::get_transaction::{TransactionStage, lost_with};
use crate::problems;
use crate::reply::moment;

/// Anchors a session's root. 202 means that it is durable; the same root again finds the first.
#[utoipa::path(post, path = paths::ANCHORING_SESSION, tag = "anchoring", request_body = AnchorRoot, responses(
    (status = 202, body = Anchoring), (status = 200, body = Anchoring, description = "it was anchored before"),
))]
pub async fn anchor_session(
    State(app): State<App>,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Reply<Response> {
    if let Some(answer) = forward(&app, &headers, paths::ANCHORING_SESSION, || text.clone()).await?
    {
        return Ok(answer);
    }
    let interval = app.block_interval();
    let (found, is_new) = app
        .run(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            anchor(vault, chain, &manager.admissions, manager.clock.now(), text.as_bytes())
                .map_err(problems::anchor)
        })
        .await?;
    let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(show(found, interval))).into_response())
}

/// Where a session's root is.
#[utoipa::path(get, path = paths::ANCHORING_STATUS, tag = "anchoring", params(("session_id" = String, Path)), responses((status = 200, body = Anchoring), (status = 404)))]
pub async fn get_anchoring(
    State(app): State<App>,
    headers: HeaderMap,
    Path(session): Path<String>,
) -> Reply<Response> {
    let session = session_id(&session)?;
    let (interval, wanted) = (app.block_interval(), session.clone());
    let found = app
        .look_up(move |manager| {
            let found = find_anchor(&manager.vault, manager.chain.as_ref(), &wanted);
            Ok(found.map_err(problems::store)?.map(|found| show(found, interval)))
        })
        .await?;
    if let Some(found) = found {
        return Ok(Json(found).into_response());
    }
    // What a follower does not have may wait with its peer.
    let answer =
        ask_peer(&app, &headers, paths::ANCHORING_STATUS, &session.to_string(), "").await?;
    answer.ok_or_else(|| {
        Refusal::new(ErrorCode::NotFound, format!("no root of session {session} is anchored here"))
    })
}

/// Whether a committed block carries a root. That none does is an answer.
#[utoipa::path(post, path = paths::ANCHORING_VERIFY, tag = "anchoring", request_body = VerifyAnchoring, responses((status = 200, body = AnchoringVerified)))]
pub async fn verify_anchoring(
    State(app): State<App>,
    Given(wanted): Given<VerifyAnchoring>,
) -> Reply<Json<AnchoringVerified>> {
    let VerifyAnchoring { session_id: session, merkle_root: root, proof_path } = wanted;
    let session = session_id(&session)?;
    let found = app
        .look_up(move |manager| {
            find_committed_anchor(manager.chain.as_ref(), &session, &root).map_err(problems::store)
        })
        .await?;
    let Some(CommittedAnchor {
        transaction_id,
        hash,
        position,
        count,
        height,
        at,
        merkle_root,
        path,
    }) = found
    else {
        return Ok(Json(AnchoringVerified {
            verified: false,
            block_height: None,
            transaction_id: None,
            confirmation_time: None,
            merkle_proof_valid: false,
            reason: Some("no committed block anchors this session with this root".to_owned()),
        }));
    };
    let path = proof_path.unwrap_or(path);
    let leads = verify_path(hash, position, count, &path) == Some(merkle_root);
    Ok(Json(AnchoringVerified {
        verified: leads,
        block_height: Some(height),
        transaction_id: Some(transaction_id),
        confirmation_time: Some(moment(at)),
        merkle_proof_valid: leads,
        reason: (!leads).then(|| "proof_path does not lead to the block's Merkle root".to_owned()),
    }))
}

fn session_id(text: &str) -> Reply<SessionId> {
    text.parse().map_err(|fault| Refusal::new(ErrorCode::Invalid, format!("session_id: {fault}")))
}

fn show(anchor: SessionAnchor, interval: Duration) -> Anchoring {
    let SessionAnchor { session, root, found } = anchor;
    let (status, confirmed_at, block_height, reason) = match found.status {
        TransactionStage::Pending => (AnchorStatus::Processing, None, None, None),
        TransactionStage::Confirmed { height, at, .. } => {
            (AnchorStatus::Confirmed, Some(moment(at)), Some(height), None)
        }
        TransactionStage::Failed { reason, .. } => (AnchorStatus::Failed, None, None, Some(reason)),
        TransactionStage::Lost { height } => {
            (AnchorStatus::Failed, None, None, Some(lost_with(height)))
        }
    };
    let seconds = i64::try_from(interval.as_secs_f64().ceil() as u64).unwrap_or(i64::MAX);
    let due = found.submitted_at.map(|at| at.plus_seconds(seconds).to_string());
    let submitted_at = found.submitted_at.map(|at| at.to_string());
    Anchoring {
        anchoring_id: found.id.clone(),
        session_id: session.to_string(),
        status,
        transaction_id: found.id,
        merkle_root: root,
        submitted_at: submitted_at.or_else(|| confirmed_at.clone()).unwrap_or_default(),
        estimated_confirmation_time: due.filter(|_| status == AnchorStatus::Processing),
        confirmed_at,
        block_height,
        reason,
    }
}
