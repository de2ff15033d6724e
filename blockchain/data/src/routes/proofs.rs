//! Proof bundles: `GET /api/v1/sessions/{session_id}/proof`.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::v1::proofs::{ChunkProof, ProofQuery};
use lucid_core::time::Timestamp;
use lucid_core::timeline::Span;
use lucid_http::caller::Caller;
use lucid_http::extract::{Path, RawQuery};
use lucid_http::layers::Passing;
use lucid_http::reply::Reply;
use lucid_http::table::{Access, Wanted};

use super::content::BYTES;
use super::{AppState, invalid, session_id};
use crate::app::App;
use crate::ops::proofs::prove_chunk::prove_chunk as prove_one;
use crate::ops::proofs::prove_session::{Allow, WantedProof, prove_session as prove};
use crate::ops::sight::Sight;
use crate::reply::chunks::chunk_proof;

/// A bundle that proves the session, or a part of it, without this service.
#[utoipa::path(get, path = paths::SESSION_PROOF, tag = "proofs",
    params(
        ("session_id" = String, Path),
        ("chunk" = Option<u64>, Query, description = "one chunk, by its index"),
        ("range" = Option<String>, Query, description = "FIRST-LAST, both included"),
        ("path" = Option<String>, Query, description = "one file of an archived folder"),
        ("from" = Option<String>, Query, description = "with `to`: what a recording has from this time"),
        ("to" = Option<String>, Query, description = "to before this one (RFC 3339)"),
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn prove_session(
    State(app): AppState,
    (caller, sight, passing): (Caller, Sight, Passing),
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let wanted = wanted(ProofQuery::parse(&query).map_err(invalid)?)?;
    // Such a proof shows what it is about, and what of its chunks and pages lies beside that.
    if matches!(wanted, WantedProof::Bytes(_) | WantedProof::Path(_) | WantedProof::Span(_)) {
        passing.give_content();
        match id.is_reserved() {
            true => sight.refuse_log(&id)?,
            false => Wanted { access: Access::Content, is_within: true }.check(&caller)?,
        }
    }
    let prove = move |app: &App, allow: Allow<'_>| prove(&app.opened.vault, &id, &wanted, allow);
    let bundle = app.run_asking(prove).await?;
    Ok(([(CONTENT_TYPE, BYTES)], bundle).into_response())
}

/// One chunk's way to its session's root and into the block, as values.
#[utoipa::path(get, path = paths::SESSION_CHUNK_PROOF, tag = "proofs",
    params(("session_id" = String, Path), ("index" = u64, Path)),
    responses((status = 200, body = ChunkProof)))]
pub async fn prove_chunk(
    State(app): AppState,
    Path((id, index)): Path<(String, u64)>,
) -> Reply<Answer<ChunkProof>> {
    let id = session_id(&id)?;
    let prove = move |app: &App, allow: Allow<'_>| {
        chunk_proof(&id, prove_one(&app.opened.vault, &id, index, allow)?)
    };
    Ok(Answer(app.run_asking(prove).await?))
}

fn wanted(query: ProofQuery) -> Reply<WantedProof> {
    Ok(match query {
        ProofQuery::Session => WantedProof::Session,
        ProofQuery::Chunk(index) => WantedProof::Chunk(index),
        ProofQuery::Range { first, last } => {
            let end = last.checked_add(1);
            WantedProof::Bytes(
                first..end.ok_or_else(|| invalid("range ends beyond every session"))?,
            )
        }
        ProofQuery::Path(path) => WantedProof::Path(path),
        ProofQuery::Time { from, to } => {
            WantedProof::Span(Span { from: moment("from", &from)?, to: moment("to", &to)? })
        }
    })
}

fn moment(name: &str, text: &str) -> Reply<i64> {
    let time = Timestamp::parse(text).map_err(|fault| invalid(format!("{name}: {fault}")))?;
    Ok(time.as_micros())
}
