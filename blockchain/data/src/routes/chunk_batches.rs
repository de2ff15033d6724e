//! Chunks in bulk: which are missing, many in, many out.

use axum::Json as Answer;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use lucid_api::framing::{self, Frames};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::{
    BATCH_BYTES_MAX, BATCH_MAX, ChunkIds, GET_MAX, MISSING_MAX, MissingChunks, StoredChunk,
    StoredChunks,
};
use lucid_http::extract::{Json, expect};
use lucid_http::layers::{Passing, Subject};
use lucid_http::reply::{Refusal, Reply};
use lucid_http::stream::Upload;

use super::content::stream;
use super::{AppState, invalid, session_id};
use crate::ops::chunks::missing_chunks::{missing_chunks as missing, missing_of_session};
use crate::ops::chunks::read_chunks::{find_seen_chunks, read_chunks};
use crate::ops::chunks::store_chunks::store_chunks as store;
use crate::ops::sight::Sight;

/// Which of these chunks would have to be sent. Advice: taking references decides.
#[utoipa::path(post, path = paths::CHUNKS_MISSING, tag = "chunks", request_body = ChunkIds,
    responses((status = 200, body = MissingChunks)))]
pub async fn missing_chunks(
    State(app): AppState,
    sight: Sight,
    Json(asked): Json<ChunkIds>,
) -> Reply<Answer<MissingChunks>> {
    within(&asked, MISSING_MAX)?;
    let session = asked.session_id.as_deref().map(session_id).transpose()?;
    let missing = app
        .run(move |app| match &session {
            None => missing(&app.opened.vault, &sight, &asked.chunks),
            Some(session) => missing_of_session(&app.opened.vault, &sight, session, &asked.chunks),
        })
        .await?;
    Ok(Answer(MissingChunks { missing }))
}

fn within(asked: &ChunkIds, most: usize) -> Reply<()> {
    match asked.chunks.len() {
        count if count > most => {
            Err(invalid(format!("{count} chunks are asked for; at most {most} are answered")))
        }
        _ => Ok(()),
    }
}

/// Stores framed chunks, all or none; durable on return.
#[utoipa::path(post, path = paths::CHUNKS_BATCH, tag = "chunks",
    request_body(content = Vec<u8>, content_type = "application/x-lucid-chunks"),
    responses((status = 200, body = StoredChunks)))]
pub async fn store_chunks(
    State(app): AppState,
    sight: Sight,
    given: HeaderMap,
    mut upload: Upload,
) -> Reply<Answer<StoredChunks>> {
    expect(&given, framing::CONTENT_TYPE)?;
    let too_large = format!("a batch has at most {BATCH_BYTES_MAX} bytes; send several");
    let body = upload.whole(BATCH_BYTES_MAX, 1, &too_large).await?;
    let frames = Frames::new(body.into(), app.chunks.upload_max).take(BATCH_MAX + 1);
    let frames = frames.collect::<Result<Vec<Bytes>, _>>();
    let frames =
        frames.map_err(|fault| invalid(fault.to_string()).with("position", fault.position()))?;
    if frames.len() > BATCH_MAX {
        let detail = format!("a batch has at most {BATCH_MAX} chunks; send several");
        return Err(Refusal::new(ErrorCode::TooLarge, detail));
    }
    if let Some(position) = frames.iter().position(Bytes::is_empty) {
        let detail = format!("chunk {position} is empty; a chunk has at least one byte");
        return Err(invalid(detail).with("position", position));
    }
    let stored = app
        .run(move |app| {
            let chunks: Vec<&[u8]> = frames.iter().map(Bytes::as_ref).collect();
            let (vault, now, sender) = (&app.opened.vault, app.clock.now(), sight.caller());
            let mut stored = store(vault, app.storage, app.threads, now, sender, &chunks)?;
            if sender.is_some() {
                // Whether others have them is not told.
                for (stored, sent) in stored.iter_mut().zip(&chunks) {
                    (stored.deduplicated, stored.stored_bytes) = (false, sent.len() as u64);
                }
            }
            Ok(stored)
        })
        .await?;
    let chunks = stored.into_iter().map(|chunk| StoredChunk {
        chunk_id: chunk.id,
        stored_bytes: chunk.stored_bytes,
        deduplicated: chunk.deduplicated,
    });
    Ok(Answer(StoredChunks { chunks: chunks.collect() }))
}

/// Reads chunks, framed, in the order asked.
#[utoipa::path(post, path = paths::CHUNKS_GET, tag = "chunks", request_body = ChunkIds,
    responses((status = 200, body = Vec<u8>, content_type = "application/x-lucid-chunks")))]
pub async fn get_chunks(
    State(app): AppState,
    sight: Sight,
    passing: Passing,
    Json(asked): Json<ChunkIds>,
) -> Reply<Response> {
    within(&asked, GET_MAX)?;
    passing.concern(|| Subject {
        session: asked.session_id.clone(),
        chunks: asked.chunks.iter().map(ToString::to_string).collect(),
    });
    let session = asked.session_id.as_deref().map(session_id).transpose()?;
    let found = app
        .run(move |app| {
            let (vault, now) = (&app.opened.vault, app.clock.now());
            find_seen_chunks(vault, &sight, &asked.chunks, session.as_ref(), now)
        })
        .await?;
    let framed = found.iter().map(|(_, length)| u64::from(*length) + framing::HEADER_BYTES as u64);
    let length: u64 = framed.sum();
    let body = stream(app, &passing, (length, None), move |app, from, outlet| {
        let left = outlet.pass_over(from, &found, |(_, length)| {
            u64::from(*length) + framing::HEADER_BYTES as u64
        });
        read_chunks(&app.opened.vault, left, |chunk| {
            outlet.give(&framing::header(chunk.len()).unwrap_or_default())?;
            outlet.give(&chunk)
        })
    })
    .await?;
    let headers =
        [(CONTENT_TYPE, framing::CONTENT_TYPE.to_owned()), (CONTENT_LENGTH, length.to_string())];
    Ok((headers, body).into_response())
}
