//! Chunks in bulk, and single ones: which are missing, many in, many out.

use axum::Json as Answer;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use lucid_api::framing::{self, Frames};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::{
    BATCH_BYTES_MAX, ChunkIds, GET_MAX, MISSING_MAX, MissingChunks, StoredChunk, StoredChunks,
};
use lucid_core::digest::ChunkId;
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_http::extract::{Json, Path, expect};
use lucid_http::reply::{Content, Refusal, Reply};
use lucid_http::stream::Upload;

use super::content::{BYTES, Outlet, send, stream};
use super::{Desk, after_body, content_length, invalid};
use crate::ops::missing_chunks::missing_chunks as missing;
use crate::ops::read_chunk::{chunk_lengths, read_chunk, read_chunks};
use crate::ops::store_chunks::store_chunks as store;

/// Which of these chunks would have to be sent. Advice: taking references decides.
#[utoipa::path(post, path = paths::CHUNKS_MISSING, tag = "chunks", request_body = ChunkIds,
    responses((status = 200, body = MissingChunks)))]
pub async fn missing_chunks(
    State(app): Desk,
    Json(asked): Json<ChunkIds>,
) -> Reply<Answer<MissingChunks>> {
    within(&asked, MISSING_MAX)?;
    let missing = app.run(move |app| missing(&app.opened.vault, &asked.chunks)).await?;
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
    State(app): Desk,
    given: HeaderMap,
    mut upload: Upload,
) -> Reply<Answer<StoredChunks>> {
    expect(&given, framing::CONTENT_TYPE)?;
    let told = content_length(&given);
    let length = told.unwrap_or(BATCH_BYTES_MAX);
    if length > BATCH_BYTES_MAX {
        return Err(after_body(&mut upload, too_large()).await);
    }
    let held = app.bodies.take(length).await;
    let mut body = Vec::with_capacity(told.unwrap_or_default());
    while let Some(bytes) = upload.next().await {
        let bytes = bytes?;
        if body.len() + bytes.len() > BATCH_BYTES_MAX {
            return Err(after_body(&mut upload, too_large()).await);
        }
        body.extend_from_slice(&bytes);
    }
    let frames = Frames::new(body.into(), CHUNK_BYTES_MAX).collect::<Result<Vec<Bytes>, _>>();
    let frames =
        frames.map_err(|fault| invalid(fault.to_string()).with("position", fault.position()))?;
    if let Some(position) = frames.iter().position(Bytes::is_empty) {
        let detail = format!("chunk {position} is empty; a chunk has 1 to {CHUNK_BYTES_MAX} bytes");
        return Err(invalid(detail).with("position", position));
    }
    let stored = app
        .run(move |app| {
            let _held = held;
            let chunks: Vec<&[u8]> = frames.iter().map(Bytes::as_ref).collect();
            store(&app.opened.vault, app.keeping, app.threads, &chunks)
        })
        .await?;
    let chunks = stored.into_iter().map(|chunk| StoredChunk {
        chunk_id: chunk.id,
        stored_bytes: chunk.stored_bytes,
        deduplicated: chunk.deduplicated,
    });
    Ok(Answer(StoredChunks { chunks: chunks.collect() }))
}

fn too_large() -> Refusal {
    let detail = format!("a batch has at most {BATCH_BYTES_MAX} bytes; send several");
    Refusal::new(ErrorCode::TooLarge, detail)
}

/// Reads chunks, framed, in the order asked.
#[utoipa::path(post, path = paths::CHUNKS_GET, tag = "chunks", request_body = ChunkIds,
    responses((status = 200, body = Vec<u8>, content_type = "application/x-lucid-chunks")))]
pub async fn get_chunks(State(app): Desk, Json(asked): Json<ChunkIds>) -> Reply<Response> {
    within(&asked, GET_MAX)?;
    let (ids, lengths) = app
        .run(move |app| {
            let lengths = chunk_lengths(&app.opened.vault, &asked.chunks)?;
            Ok((asked.chunks, lengths))
        })
        .await?;
    let framed = lengths.iter().map(|length| u64::from(*length) + framing::HEADER_BYTES as u64);
    let length: u64 = framed.sum();
    let body = stream(app, move |app, outlet| {
        read_chunks(&app.opened.vault, &ids, |chunk| {
            outlet.give(&framing::header(chunk.len()).unwrap_or_default())?;
            outlet.give_whole(chunk)
        })
    })
    .await?;
    let headers =
        [(CONTENT_TYPE, framing::CONTENT_TYPE.to_owned()), (CONTENT_LENGTH, length.to_string())];
    Ok((headers, body).into_response())
}

/// One chunk's bytes.
#[utoipa::path(get, path = paths::CHUNK_RAW, tag = "chunks", params(("chunk_id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_chunk(
    State(app): Desk,
    method: Method,
    Path(id): Path<String>,
    given: HeaderMap,
) -> Reply<Response> {
    let id: ChunkId = id.parse().map_err(|fault| invalid(format!("{fault}")))?;
    let lengths = app.run(move |app| chunk_lengths(&app.opened.vault, &[id])).await?;
    let length = lengths.first().copied().unwrap_or_default().into();
    let etag = id.to_string();
    let content = Content { length, etag: Some(&etag), kind: BYTES };
    send(app, &method, &given, &content, move |app, range, outlet: &mut Outlet| {
        let chunk = read_chunk(&app.opened.vault, &mut Default::default(), &id)?;
        let (from, to) = (range.start as usize, range.end as usize);
        outlet.give(chunk.get(from..to).unwrap_or_default())
    })
    .await
}
