//! Single chunks: put, find, read, list, delete.

use axum::Json as Answer;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::SessionChunksQuery;
use lucid_api::v1::chunks::{
    CheckedChunk, ChunkChecks, ChunkForm, ChunkInfo, ChunkQuery, ChunkTaken, ChunkWithData,
    ChunksQuery, PutChunk as WirePut, UploadQuery,
};
use lucid_api::v1::list::List;
use lucid_api::{headers, paths};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_http::budget::keep;
use lucid_http::extract::{Path, Query, expect, read_json as read_json_text};
use lucid_http::layers::{Passing, Subject};
use lucid_http::limits::{Allowance, Limits};
use lucid_http::reply::{Content, Refusal, Reply};
use lucid_http::stream::Upload;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::content::{BYTES, BodySender, send};
use super::{AppState, invalid, limit, session_id};
use crate::app::App;
use crate::ops::chunks::delete_chunk::delete_chunk as delete;
use crate::ops::chunks::find_chunk::{FoundChunk, find_seen_chunk, read_found};
use crate::ops::chunks::list_chunks::{all_chunks, session_chunks};
use crate::ops::chunks::put_chunk::{CHUNK_METADATA_BYTES_MAX, PutChunk, Taken, put_chunk as put};
use crate::ops::sight::Sight;
use crate::reply::chunks::{chunk_info, chunk_taken};

/// One chunk in JSON.
#[utoipa::path(post, path = paths::CHUNKS, tag = "chunks", request_body = WirePut, responses(
    (status = 201, body = ChunkTaken),
    (status = 200, body = ChunkTaken, description = "it was there already"),
))]
pub async fn put_chunk(
    State(app): AppState,
    (sight, passing): (Sight, Passing),
    given: HeaderMap,
    mut upload: Upload,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    expect(&given, "application/json")?;
    let most = Limits::LARGE.body_bytes();
    let too_large =
        format!("the body has at most {most} bytes; send raw bytes, or append a stream");
    let body = upload.whole(most, JSON_GROWTH, &too_large).await?;
    put_read(app, (sight, passing), move || read_json(body)).await
}

/// A chunk in JSON, as it is posted ([`WirePut`]). What is said of it stays text until its length is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedChunk {
    data: String,
    session_id: Option<String>,
    #[serde(default)]
    index: u64,
    metadata: Option<Box<RawValue>>,
    chunk_id: Option<String>,
}

/// Text, the base64 in it, and its bytes.
const JSON_GROWTH: usize = 3;
/// What is said of a chunk, with the white space it is spelled with.
const METADATA_TEXT_MAX: usize = 4 * CHUNK_METADATA_BYTES_MAX;

/// Reads what is said of a chunk. As values it takes up to a hundred times as much memory as its text.
fn read_metadata(text: &str) -> Reply<String> {
    if text.len() > METADATA_TEXT_MAX {
        let detail = format!("metadata of a chunk has at most {CHUNK_METADATA_BYTES_MAX} bytes");
        return Err(invalid(detail));
    }
    let object: Map<String, Value> = read_json_text(text.as_bytes())
        .map_err(|fault| invalid(format!("metadata is not a JSON object: {}", fault.detail())))?;
    Ok(Value::Object(object).to_string())
}

/// Takes a chunk in JSON apart.
fn read_json(body: Vec<u8>) -> Reply<(PutChunk, Vec<u8>)> {
    let wanted: PostedChunk = read_json_text(&body)?;
    drop(body);
    let bytes = STANDARD
        .decode(&wanted.data)
        .map_err(|fault| invalid(format!("data is not base64: {fault}")))?;
    let session = wanted.session_id.as_deref().map(session_id).transpose()?;
    let metadata = wanted.metadata.map(|text| read_metadata(text.get())).transpose()?;
    let request = PutChunk {
        session,
        index: Some(wanted.index),
        alias: wanted.chunk_id,
        metadata: metadata.unwrap_or_default(),
        ..PutChunk::default()
    };
    Ok((request, bytes))
}

/// Puts the chunk that `read` makes of a body. Reading and hashing one takes long enough to do it where it
/// keeps no other request waiting.
async fn put_read(
    app: std::sync::Arc<App>,
    (sight, passing): (Sight, Passing),
    read: impl FnOnce() -> Reply<(PutChunk, Vec<u8>)> + Send + 'static,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    app.run_refusing(move |app| {
        let (request, bytes) = read()?;
        let crate::Opened { vault, locks, .. } = &*app.opened;
        if let Some(session) = &request.session {
            passing.concern(|| Subject { session: Some(session.to_string()), chunks: Vec::new() });
            sight.check_or_begin(vault, session)?;
        }
        let request = PutChunk { sight, ..request };
        let taken =
            put(vault, locks, app.storage, &app.bounds(), app.clock.now(), &request, &bytes)?;
        request.session.iter().for_each(|session| app.followers.tell(session));
        Ok((status(&taken), Answer(chunk_taken(request, taken, &bytes))))
    })
    .await
}

fn status(taken: &Taken) -> StatusCode {
    if taken.is_new { StatusCode::CREATED } else { StatusCode::OK }
}

/// A body of one chunk: at most what an upload may bring.
async fn one_chunk(app: &App, upload: &mut Upload) -> Reply<Vec<u8>> {
    let most = app.chunks.upload_max;
    let too_large = format!("a chunk has at most {most} bytes; send several, or append a stream");
    upload.whole(most, 1, &too_large).await
}

/// The hash that the caller believes the bytes to have: BLAKE3 in hex, or `sha256:` and SHA-256 in hex.
fn check_hash(given: &HeaderMap, bytes: &[u8]) -> Reply<()> {
    let Some(value) = given.get(headers::X_CONTENT_HASH) else { return Ok(()) };
    let wanted = value.to_str().unwrap_or_default().trim();
    let found = match wanted.split_once(':') {
        None | Some(("blake3", _)) => ChunkId::from(blake3::hash(bytes)).to_string(),
        Some(("sha256", _)) => hex::encode(Sha256::digest(bytes)),
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
    State(app): AppState,
    sight: Sight,
    Path((session, index)): Path<(String, u64)>,
    given: HeaderMap,
    mut upload: Upload,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    let session = session_id(&session)?;
    expect(&given, BYTES)?;
    let bytes = one_chunk(&app, &mut upload).await?;
    let request = PutChunk { session: Some(session), index: Some(index), ..PutChunk::default() };
    let asked = (sight, Passing::default());
    put_read(app, asked, move || check_hash(&given, &bytes).map(|()| (request, bytes))).await
}

/// One chunk of a session, as raw bytes or as a form; without an index it is the next.
#[utoipa::path(post, path = paths::SESSION_CHUNKS, tag = "chunks",
    params(("session_id" = String, Path), UploadQuery),
    request_body(content(
        (Vec<u8> = "application/octet-stream"), (ChunkForm = "multipart/form-data"),
    ), description = "its bytes, or a form with one file"),
    responses((status = 201, body = ChunkTaken),
        (status = 200, body = ChunkTaken, description = "it was there already")))]
pub async fn add_session_chunk(
    State(app): AppState,
    sight: Sight,
    Path(session): Path<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Reply<(StatusCode, Answer<ChunkTaken>)> {
    let given = request.headers().clone();
    let mut wanted = PutChunk {
        session: Some(session_id(&session)?),
        index: query.index,
        alias: query.chunk_id,
        ..PutChunk::default()
    };
    let kind = given.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let bytes = if kind.starts_with("multipart/form-data") {
        let allowance = Allowance::of(&request);
        let form = Multipart::from_request(request, &())
            .await
            .map_err(|fault| invalid(fault.body_text()))?;
        allowance.in_time(read_form(&app, &allowance, form, &mut wanted)).await?
    } else {
        expect(&given, BYTES)?;
        let mut upload = Upload::from_request(request, &()).await?;
        one_chunk(&app, &mut upload).await?
    };
    let asked = (sight, Passing::default());
    put_read(app, asked, move || check_hash(&given, &bytes).map(|()| (wanted, bytes))).await
}

/// Takes a form apart: one file, and what is said of it.
async fn read_form(
    app: &App,
    allowance: &Allowance,
    mut form: Multipart,
    wanted: &mut PutChunk,
) -> Reply<Vec<u8>> {
    let most = app.chunks.upload_max;
    let broken = |fault: axum::extract::multipart::MultipartError| {
        let code = match fault.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            _ => ErrorCode::Malformed,
        };
        Refusal::new(code, fault.body_text())
    };
    let mut bytes: Option<Vec<u8>> = None;
    let mut held = allowance.bodies.nothing();
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some() || ["file", "chunk", "data"].contains(&&*name);
        if is_file && bytes.is_some() {
            return Err(invalid("the form has several files; send one chunk a request"));
        }
        let most = if is_file { most } else { METADATA_TEXT_MAX };
        let mut content = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(broken)? {
            if content.len() + piece.len() > most {
                let detail = match is_file {
                    true => format!("a chunk has at most {most} bytes; send several"),
                    false => format!("the field {name:?} has over {most} bytes"),
                };
                return Err(Refusal::new(ErrorCode::TooLarge, detail));
            }
            held.take(piece.len()).await?;
            content.extend_from_slice(&piece);
        }
        if is_file {
            bytes = Some(content);
            continue;
        }
        let text = String::from_utf8(content);
        let text = text.map_err(|_| invalid(format!("the field {name:?} is not UTF-8")))?;
        match name.as_str() {
            "index" | "sequence" => {
                let index = text.trim().parse();
                wanted.index =
                    Some(index.map_err(|_| invalid(format!("{name} is {text:?}, not a number")))?);
            }
            "chunk_id" => wanted.alias = Some(text),
            "metadata" => wanted.metadata = read_metadata(&text)?,
            _ => return Err(invalid(format!("the form has an unknown field {name:?}"))),
        }
    }
    keep(held);
    bytes.ok_or_else(|| invalid("the form has no file"))
}

/// Of what is said of chunks, as much as a page has: it is read again for the answer, and values take many
/// times the memory of their text.
const PAGE_METADATA_BYTES: usize = 256 << 10;

/// As many chunks as a page has room for: one at least.
fn within_page(found: &[FoundChunk]) -> &[FoundChunk] {
    let mut bytes = 0;
    let fits = found.iter().take_while(|found| {
        bytes += found.metadata.len();
        bytes <= PAGE_METADATA_BYTES
    });
    let count = fits.count().max(1);
    found.get(..count).unwrap_or(found)
}

/// Chunks, one session after the other and each in order; then those that are kept on their own.
#[utoipa::path(get, path = paths::CHUNKS, tag = "chunks", params(ChunksQuery),
    responses((status = 200, body = Vec<ChunkInfo>), (status = 404), (status = 410)))]
pub async fn list_chunks(
    State(app): AppState,
    (sight, passing): (Sight, Passing),
    Query(query): Query<ChunksQuery>,
) -> Reply<Response> {
    let limit = limit(query.limit)?;
    let session = query.session_id.as_deref().map(session_id).transpose()?;
    session.as_ref().map_or(Ok(()), |session| sight.refuse_log(session))?;
    passing.concern(|| Subject { session: query.session_id.clone(), chunks: Vec::new() });
    let offset = query.offset.unwrap_or(0);
    app.run_large(move |app| {
        let vault = &app.opened.vault;
        let found = match &session {
            Some(session) => session_chunks(vault, session, offset, limit)?,
            None => all_chunks(vault, offset, limit, app.clock.now())?,
        };
        let shown = within_page(&found).iter().map(|found| chunk_info(vault, found));
        shown.collect::<Result<Vec<ChunkInfo>, _>>()
    })
    .await
}

/// The chunks of a session, in order; those that wait for others in front of them included.
#[utoipa::path(get, path = paths::SESSION_CHUNKS, tag = "chunks",
    params(("session_id" = String, Path), SessionChunksQuery),
    responses((status = 200, body = List<ChunkInfo>)))]
pub async fn list_session_chunks(
    State(app): AppState,
    Path(session): Path<String>,
    Query(query): Query<SessionChunksQuery>,
) -> Reply<Response> {
    let (session, limit) = (session_id(&session)?, limit(query.limit)?);
    let start: u64 = match &query.cursor {
        None => 0,
        Some(cursor) => {
            cursor.parse().map_err(|_| invalid("cursor is not one of an earlier page"))?
        }
    };
    app.run_large(move |app| {
        let vault = &app.opened.vault;
        let found = session_chunks(vault, &session, start, limit + 1)?;
        let page = within_page(found.get(..limit).unwrap_or(&found));
        let next = found.get(page.len()).and_then(|next| next.index);
        let shown = page.iter().map(|found| chunk_info(vault, found));
        Ok(List {
            items: shown.collect::<Result<Vec<ChunkInfo>, _>>()?,
            next_cursor: next.map(|next| next.to_string()),
            count: None,
        })
    })
    .await
}

fn in_session(query: &ChunkQuery) -> Reply<Option<SessionId>> {
    query.session_id.as_deref().map(session_id).transpose()
}

/// One chunk: in JSON with what is known of it, or its bytes alone if `Accept` asks for
/// `application/octet-stream`.
#[utoipa::path(get, path = paths::CHUNK, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, content(
        (ChunkWithData = "application/json"), (Vec<u8> = "application/octet-stream"),
    )), (status = 206)))]
pub async fn get_chunk(
    State(app): AppState,
    (sight, passing): (Sight, Passing),
    method: Method,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
    given: HeaderMap,
) -> Reply<Response> {
    let accepts = given.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains(BYTES) {
        return raw(app, (sight, passing), (&method, &given), &called, &query).await;
    }
    passing.concern(|| Subject { session: query.session_id.clone(), chunks: vec![called.clone()] });
    let session = in_session(&query)?;
    app.run_large(move |app| {
        let vault = &app.opened.vault;
        let found = find_seen_chunk(vault, &sight, &called, session.as_ref(), app.clock.now())?;
        let bytes = read_found(vault, &found)?;
        let mut chunk = chunk_info(vault, &found)?;
        chunk.hash_value = Some(blake3::hash(&bytes).into());
        let verification = ChunkChecks { verified: true, algorithm: "BLAKE3".to_owned() };
        Ok(ChunkWithData {
            chunk_id: called,
            data: STANDARD.encode(&bytes),
            metadata: CheckedChunk { chunk, verification },
        })
    })
    .await
}

/// One chunk's bytes.
#[utoipa::path(get, path = paths::CHUNK_RAW, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_chunk_raw(
    State(app): AppState,
    (sight, passing): (Sight, Passing),
    method: Method,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
    given: HeaderMap,
) -> Reply<Response> {
    raw(app, (sight, passing), (&method, &given), &called, &query).await
}

async fn raw(
    app: std::sync::Arc<App>,
    (sight, passing): (Sight, Passing),
    asked: (&Method, &HeaderMap),
    called: &str,
    query: &ChunkQuery,
) -> Reply<Response> {
    let (session, called) = (in_session(query)?, called.to_owned());
    let found = app
        .run(move |app| {
            let (vault, now) = (&app.opened.vault, app.clock.now());
            find_seen_chunk(vault, &sight, &called, session.as_ref(), now)
        })
        .await?;
    let etag = found.id().map(|id| id.to_string());
    let content = Content { length: found.length(), etag: etag.as_deref(), kind: BYTES };
    passing.concern(|| Subject {
        session: query.session_id.clone(),
        chunks: etag.iter().cloned().collect(),
    });
    send(app, &passing, asked, &content, move |app, range, sender: &mut BodySender| {
        let bytes = read_found(&app.opened.vault, &found)?;
        sender.give_part(bytes, range.start as usize..range.end as usize)
    })
    .await
}

/// What is known of one chunk, without its bytes.
#[utoipa::path(get, path = paths::CHUNK_METADATA, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 200, body = ChunkInfo)))]
pub async fn get_chunk_metadata(
    State(app): AppState,
    sight: Sight,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
) -> Reply<Answer<ChunkInfo>> {
    let session = in_session(&query)?;
    let info = app
        .run(move |app| {
            let (vault, now) = (&app.opened.vault, app.clock.now());
            chunk_info(vault, &find_seen_chunk(vault, &sight, &called, session.as_ref(), now)?)
        })
        .await?;
    Ok(Answer(info))
}

/// Ends what keeps an upload.
#[utoipa::path(delete, path = paths::CHUNK, tag = "chunks",
    params(("chunk_id" = String, Path), ChunkQuery),
    responses((status = 204)))]
pub async fn delete_chunk(
    State(app): AppState,
    Path(called): Path<String>,
    Query(query): Query<ChunkQuery>,
) -> Reply<StatusCode> {
    let session = in_session(&query)?;
    app.run(move |app| delete(&app.opened.vault, &called, session.as_ref(), app.clock.now()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
