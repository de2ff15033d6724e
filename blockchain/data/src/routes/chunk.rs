//! Single chunks: put, find, read, list, delete.

use axum::Json as Answer;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::SessionChunksQuery;
use lucid_api::v1::chunks::{
    CheckedChunk, ChunkChecks, ChunkInfo, ChunkQuery, ChunkTaken, ChunkWithData, ChunksQuery,
    PutChunk as WirePut, UploadQuery,
};
use lucid_api::v1::list::List;
use lucid_api::{headers, paths};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_http::extract::{Path, Query, expect, read_json as read_json_text};
use lucid_http::limits::Limits;
use lucid_http::reply::{Content, Refusal, Reply};
use lucid_http::stream::Upload;
use sha2::{Digest as _, Sha256};

use super::body::take_whole;
use super::content::{BYTES, Outlet, send};
use super::{Desk, content_length, invalid, limit, session_id};
use crate::app::App;
use crate::budget::Held;
use crate::clock;
use crate::ops::delete_chunk::delete_chunk as delete;
use crate::ops::find_chunk::{all_chunks, find_chunk, read_found, session_chunks};
use crate::ops::put_chunk::{PutChunk, Taken, put_chunk as put};
use crate::reply::chunks::{chunk_info, chunk_taken};

/// One chunk in JSON.
#[utoipa::path(post, path = paths::CHUNKS, tag = "chunks", request_body = WirePut, responses(
    (status = 201, body = ChunkTaken),
    (status = 200, body = ChunkTaken, description = "it was there already"),
))]
pub async fn put_chunk(
    State(app): Desk,
    given: HeaderMap,
    mut upload: Upload,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    expect(&given, "application/json")?;
    let most = Limits::LARGE.body_bytes.unwrap_or_default();
    let too_large =
        format!("the body has at most {most} bytes; send raw bytes, or append a stream");
    let (body, held) = take_whole(&app, &given, &mut upload, most, &too_large).await?;
    store(app, held, move || read_json(body)).await
}

/// Takes a chunk in JSON apart.
fn read_json(body: Vec<u8>) -> Reply<(PutChunk, Vec<u8>)> {
    let wanted: WirePut = read_json_text(&body)?;
    drop(body);
    let bytes = STANDARD
        .decode(&wanted.data)
        .map_err(|fault| invalid(format!("data is not base64: {fault}")))?;
    let session = wanted.session_id.as_deref().map(session_id).transpose()?;
    let metadata = wanted.metadata.map(|metadata| serde_json::Value::Object(metadata).to_string());
    let request = PutChunk {
        session,
        index: Some(wanted.index),
        alias: wanted.chunk_id,
        metadata: metadata.unwrap_or_default(),
    };
    Ok((request, bytes))
}

/// Stores what `read` makes of a body. Reading and hashing one takes long enough to do it where it keeps
/// no other request waiting.
async fn store(
    app: std::sync::Arc<App>,
    held: Held,
    read: impl FnOnce() -> Reply<(PutChunk, Vec<u8>)> + Send + 'static,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    app.run(move |app| {
        let _held = held;
        let (request, bytes) = match read() {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let crate::Opened { vault, locks, .. } = &app.opened;
        let taken = put(vault, locks, app.keeping, &app.bounds(), clock::now(), &request, &bytes)?;
        Ok(Ok((status(&taken), Answer(chunk_taken(request, taken, &bytes)))))
    })
    .await?
}

fn status(taken: &Taken) -> StatusCode {
    if taken.is_new { StatusCode::CREATED } else { StatusCode::OK }
}

/// A body of one chunk: at most what an upload may bring.
async fn one_chunk(app: &App, given: &HeaderMap, upload: &mut Upload) -> Reply<(Vec<u8>, Held)> {
    let most = app.chunks.upload_max;
    let too_large = format!("a chunk has at most {most} bytes; send several, or append a stream");
    take_whole(app, given, upload, most, &too_large).await
}

/// The hash that the caller believes the bytes to have: BLAKE3 in hex, or `sha256:` and SHA-256 in hex.
fn check_hash(given: &HeaderMap, bytes: &[u8]) -> Reply<()> {
    let Some(value) = given.get(headers::X_CONTENT_HASH) else { return Ok(()) };
    let wanted = value.to_str().unwrap_or_default().trim();
    let found = match wanted.split_once(':') {
        None | Some(("blake3", _)) => ChunkId::from(blake3::hash(bytes)).to_string(),
        Some(("sha256", _)) => {
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
        }
        Some((algorithm, _)) => {
            return Err(invalid(format!(
                "X-Content-Hash: {algorithm:?} is neither blake3 nor sha256"
            )));
        }
    };
    let hex = wanted.split_once(':').map_or(wanted, |(_, hex)| hex);
    match found.eq_ignore_ascii_case(hex) {
        true => Ok(()),
        false => Err(invalid(format!("X-Content-Hash names {hex}, and the bytes have {found}"))),
    }
}

/// One chunk of a session, as raw bytes at its index.
#[utoipa::path(put, path = paths::SESSION_CHUNK, tag = "chunks",
    params(("session_id" = String, Path), ("index" = u64, Path),
        ("X-Content-Hash" = Option<String>, Header, description = "BLAKE3 of the body in hex, or \
            `sha256:` and SHA-256 in hex")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = ChunkTaken),
        (status = 200, body = ChunkTaken, description = "it was there already")))]
pub async fn put_session_chunk(
    State(app): Desk,
    Path((session, index)): Path<(String, u64)>,
    given: HeaderMap,
    mut upload: Upload,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    let session = session_id(&session)?;
    expect(&given, BYTES)?;
    let (bytes, held) = one_chunk(&app, &given, &mut upload).await?;
    let request = PutChunk { session: Some(session), index: Some(index), ..PutChunk::default() };
    store(app, held, move || check_hash(&given, &bytes).map(|()| (request, bytes))).await
}

/// One chunk of a session, as raw bytes or as a form; without an index it is the next.
#[utoipa::path(post, path = paths::SESSION_CHUNKS, tag = "chunks",
    params(("session_id" = String, Path), UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "or `multipart/form-data` with one file, and the fields `index`, `chunk_id` \
            and `metadata`"),
    responses((status = 201, body = ChunkTaken),
        (status = 200, body = ChunkTaken, description = "it was there already")))]
pub async fn add_session_chunk(
    State(app): Desk,
    Path(session): Path<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    let given = request.headers().clone();
    let mut wanted = PutChunk {
        session: Some(session_id(&session)?),
        index: query.index,
        alias: query.chunk_id,
        metadata: String::new(),
    };
    let kind = given.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (bytes, held) = if kind.starts_with("multipart/form-data") {
        let most = Limits::LARGE.body_bytes.unwrap_or_default();
        let length = content_length(&given).unwrap_or(most).min(most);
        let form = Multipart::from_request(request, &())
            .await
            .map_err(|fault| invalid(fault.body_text()))?;
        read_form(&app, form, length, &mut wanted).await?
    } else {
        expect(&given, BYTES)?;
        let mut upload = Upload::from_request(request, &()).await?;
        one_chunk(&app, &given, &mut upload).await?
    };
    store(app, held, move || check_hash(&given, &bytes).map(|()| (wanted, bytes))).await
}

/// Takes a form apart: one file, and what is said of it.
async fn read_form(
    app: &App,
    mut form: Multipart,
    length: usize,
    wanted: &mut PutChunk,
) -> Reply<(Vec<u8>, Held)> {
    let most = app.chunks.upload_max;
    let broken = |fault: axum::extract::multipart::MultipartError| {
        let code = match fault.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            _ => ErrorCode::Malformed,
        };
        Refusal::new(code, fault.body_text())
    };
    let mut bytes: Option<Vec<u8>> = None;
    // Whoever announces much and sends nothing keeps nobody out.
    let mut next = form.next_field().await.map_err(broken)?;
    let held = app.bodies.take(length).await;
    while let Some(mut field) = next {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some() || ["file", "chunk", "data"].contains(&&*name);
        if is_file {
            if bytes.is_some() {
                return Err(invalid("the form has several files; send one chunk a request"));
            }
            let mut content = Vec::new();
            while let Some(piece) = field.chunk().await.map_err(broken)? {
                if content.len() + piece.len() > most {
                    let detail = format!("a chunk has at most {most} bytes; send several");
                    return Err(Refusal::new(ErrorCode::TooLarge, detail));
                }
                content.extend_from_slice(&piece);
            }
            bytes = Some(content);
            drop(field);
            next = form.next_field().await.map_err(broken)?;
            continue;
        }
        let text = field.text().await.map_err(broken)?;
        match name.as_str() {
            "index" | "sequence" => {
                let index = text.trim().parse();
                wanted.index =
                    Some(index.map_err(|_| invalid(format!("{name} is {text:?}, not a number")))?);
            }
            "chunk_id" => wanted.alias = Some(text),
            "metadata" => {
                let object: serde_json::Map<String, serde_json::Value> =
                    read_json_text(text.as_bytes()).map_err(|fault| {
                        invalid(format!("metadata is not a JSON object: {}", fault.detail()))
                    })?;
                wanted.metadata = serde_json::Value::Object(object).to_string();
            }
            _ => return Err(invalid(format!("the form has an unknown field {name:?}"))),
        }
        next = form.next_field().await.map_err(broken)?;
    }
    Ok((bytes.ok_or_else(|| invalid("the form has no file"))?, held))
}

/// Chunks, one session after the other and each in order; then those that are kept on their own.
#[utoipa::path(get, path = paths::CHUNKS, tag = "chunks", params(ChunksQuery),
    responses((status = 200, body = Vec<ChunkInfo>)))]
pub async fn list_chunks(
    State(app): Desk,
    Query(query): Query<ChunksQuery>,
) -> Reply<Answer<Vec<ChunkInfo>>> {
    let limit = limit(query.limit)?;
    let session = query.session_id.as_deref().map(session_id).transpose()?;
    let offset = query.offset.unwrap_or(0);
    let chunks = app
        .run(move |app| {
            let vault = &app.opened.vault;
            let found = match &session {
                Some(session) => session_chunks(vault, session, offset, limit)?,
                None => all_chunks(vault, offset, limit, clock::now())?,
            };
            found.iter().map(|found| chunk_info(vault, found)).collect()
        })
        .await?;
    Ok(Answer(chunks))
}

/// The chunks of a session, in order; those that wait for others in front of them included.
#[utoipa::path(get, path = paths::SESSION_CHUNKS, tag = "chunks",
    params(("session_id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<ChunkInfo>)))]
pub async fn list_session_chunks(
    State(app): Desk,
    Path(session): Path<String>,
    Query(query): Query<SessionChunksQuery>,
) -> Reply<Answer<List<ChunkInfo>>> {
    let (session, limit) = (session_id(&session)?, limit(query.limit)?);
    let start: u64 = match &query.cursor {
        None => 0,
        Some(cursor) => {
            cursor.parse().map_err(|_| invalid("cursor is not one of an earlier page"))?
        }
    };
    let list = app
        .run(move |app| {
            let vault = &app.opened.vault;
            let found = session_chunks(vault, &session, start, limit + 1)?;
            let next = found.get(limit).and_then(|next| next.index);
            let shown = found.iter().take(limit).map(|found| chunk_info(vault, found));
            Ok(List {
                items: shown.collect::<Result<_, _>>()?,
                next_cursor: next.map(|next| next.to_string()),
                count: None,
            })
        })
        .await?;
    Ok(Answer(list))
}

fn in_session(query: &ChunkQuery) -> Reply<Option<SessionId>> {
    query.session_id.as_deref().map(session_id).transpose()
}

/// One chunk: in JSON with what is known of it, or its bytes alone if `Accept` asks for
/// `application/octet-stream`.
#[utoipa::path(get, path = paths::CHUNK, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, body = ChunkWithData)))]
pub async fn get_chunk(
    State(app): Desk,
    method: Method,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
    given: HeaderMap,
) -> Reply<Response> {
    let accepts = given.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains(BYTES) {
        return raw(app, &method, &called, &query, &given).await;
    }
    let session = in_session(&query)?;
    let held = app.bodies.take(app.chunks.upload_max * 2).await;
    let answer = app
        .run(move |app| {
            let _held = held;
            let vault = &app.opened.vault;
            let found = find_chunk(vault, &called, session.as_ref(), clock::now())?;
            let bytes = read_found(vault, &found)?;
            let mut chunk = chunk_info(vault, &found)?;
            chunk.hash_value = Some(blake3::hash(&bytes).into());
            let verification = ChunkChecks { verified: true, algorithm: "BLAKE3".to_owned() };
            Ok(Answer(ChunkWithData {
                chunk_id: called,
                data: STANDARD.encode(&bytes),
                metadata: CheckedChunk { chunk, verification },
            }))
        })
        .await?;
    Ok(answer.into_response())
}

/// One chunk's bytes.
#[utoipa::path(get, path = paths::CHUNK_RAW, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_chunk_raw(
    State(app): Desk,
    method: Method,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
    given: HeaderMap,
) -> Reply<Response> {
    raw(app, &method, &called, &query, &given).await
}

async fn raw(
    app: std::sync::Arc<App>,
    method: &Method,
    called: &str,
    query: &ChunkQuery,
    given: &HeaderMap,
) -> Reply<Response> {
    let (session, called) = (in_session(query)?, called.to_owned());
    let found = app
        .run(move |app| find_chunk(&app.opened.vault, &called, session.as_ref(), clock::now()))
        .await?;
    let etag = found.id().map(|id| id.to_string());
    let content = Content { length: found.length(), etag: etag.as_deref(), kind: BYTES };
    send(app, method, given, &content, move |app, range, outlet: &mut Outlet| {
        let bytes = read_found(&app.opened.vault, &found)?;
        let (from, to) = (range.start as usize, range.end as usize);
        outlet.give(bytes.get(from..to).unwrap_or_default())
    })
    .await
}

/// What is known of one chunk, without its bytes.
#[utoipa::path(get, path = paths::CHUNK_METADATA, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, body = ChunkInfo)))]
pub async fn get_chunk_metadata(
    State(app): Desk,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
) -> Reply<Answer<ChunkInfo>> {
    let session = in_session(&query)?;
    let info = app
        .run(move |app| {
            let vault = &app.opened.vault;
            chunk_info(vault, &find_chunk(vault, &called, session.as_ref(), clock::now())?)
        })
        .await?;
    Ok(Answer(info))
}

/// Ends what keeps an upload.
#[utoipa::path(delete, path = paths::CHUNK, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 204)))]
pub async fn delete_chunk(
    State(app): Desk,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
) -> Reply<StatusCode> {
    let session = in_session(&query)?;
    app.run(move |app| delete(&app.opened.vault, &called, session.as_ref(), clock::now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
