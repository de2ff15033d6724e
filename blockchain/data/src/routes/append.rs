//! Bytes onto the end of a live session: `POST /api/v1/sessions/{session_id}/append`.
//!
//! A body of any length is taken in pieces, each durable before the next is read. If the body breaks
//! off, what came before stays, and the session's offset says where to go on.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::v1::sessions::{Appended, CLOCK_BACK_SECONDS_MAX};
use lucid_api::{headers, paths};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::timeline::{MARK_MICROS_MIN, Recorded};
use lucid_http::budget::HeldMemory;
use lucid_http::extract::{Path, expect};
use lucid_http::layers::Passing;
use lucid_http::limits::Limits;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::stream::Upload;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::content::BYTES;
use super::{AppState, UPLOAD_OFFSET, invalid, session_id};
use crate::app::App;
use crate::ops::sessions::append_stream::{
    Moment, StreamPiece, StreamPosition, append_stream as append,
};

/// Bytes that become durable together: as many as the committer takes at once.
const PIECE_BYTES: usize = 8 << 20;
/// A stream that pauses for so long has what it sent made durable meanwhile.
const PAUSE: Duration = Duration::from_millis(200);
/// So has one that trickles for so long.
const GATHERING: Duration = Duration::from_secs(1);

/// Appends bytes at `Upload-Offset`.
#[utoipa::path(post, path = paths::SESSION_APPEND, tag = "sessions",
    params(
        ("session_id" = String, Path),
        ("Upload-Offset" = u64, Header, description = "the session's length so far"),
        ("Lucid-Time" = Option<String>, Header,
            description = "when the body begins to be recorded (RFC 3339); makes marks of a timeline"),
        ("Lucid-Clock-Back" = Option<u64>, Header, maximum = 315537897599i64,
            description = "by how many seconds the clock that Lucid-Time is of has gone back since it told \
                           of bytes before, rounded up"),
        ("Content-Digest" = Option<String>, Header,
            description = "sha-256 of the body, which is then at most 32 MiB and taken whole"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Appended, headers(("Upload-Offset" = u64, description = "where the next byte goes"))),
        (status = 409, description = "the stream is elsewhere, or takes no bytes", headers(("Upload-Offset" = u64, description = "where the next byte goes")))))]
pub async fn append_stream(
    State(app): AppState,
    passing: Passing,
    Path(id): Path<String>,
    given: HeaderMap,
    upload: Upload,
) -> Reply<Response> {
    let id = session_id(&id)?;
    expect(&given, BYTES)?;
    let offset = offset(&given)?;
    let recorded = recorded(&given)?.map(|recorded| (recorded, app.clock.moment()));
    let mut stream = Stream { app, id, offset, recorded };
    let digest = digest(&given)?;
    // Before the body is asked for: a caller that waits for that need not send it in vain.
    let before = stream.append(Vec::new(), None).await;
    if before.is_ok() {
        passing.begin_change();
    }
    let mut pieces = PieceReader { upload, left: None };
    let taken = match (before, digest) {
        (Err(refusal), _) => Err(refusal),
        (Ok(_), Some(digest)) => stream.take_whole(&mut pieces, &digest).await,
        (Ok(before), None) => stream.take(&mut pieces, before).await,
    };
    let appended = taken?;
    let document = Appended {
        offset: appended.offset,
        root: appended.root,
        root_offset: appended.root_offset,
        chunk_count: appended.chunk_count,
    };
    Ok(([(UPLOAD_OFFSET, appended.offset.to_string())], Answer(document)).into_response())
}

fn offset(given: &HeaderMap) -> Reply<u64> {
    let text = given.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        invalid("Upload-Offset is missing or not a number; HEAD of the session tells it")
    })
}

/// When the body begins to be recorded.
fn recorded(given: &HeaderMap) -> Reply<Option<Recorded>> {
    let back = clock_back(given)?;
    let Some(value) = given.get(headers::LUCID_TIME) else {
        return match back {
            None => Ok(None),
            Some(_) => Err(invalid(
                "Lucid-Clock-Back says how far the clock of Lucid-Time went back: give both",
            )),
        };
    };
    let time = value.to_str().ok().and_then(|text| Timestamp::parse(text.trim()).ok());
    let time = time
        .ok_or_else(|| invalid("Lucid-Time is not a time: write it like 2026-01-27T10:00:00.5Z"))?;
    let back = back.unwrap_or(0).saturating_mul(MARK_MICROS_MIN.unsigned_abs());
    Ok(Some(Recorded { at: time, back }))
}

/// By how many seconds the recorder's clock has gone back, if it says so.
fn clock_back(given: &HeaderMap) -> Reply<Option<u64>> {
    let Some(value) = given.get(headers::LUCID_CLOCK_BACK) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds =
        text.parse().ok().filter(|seconds| is_number && *seconds <= CLOCK_BACK_SECONDS_MAX);
    match seconds {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(invalid(format!(
            "Lucid-Clock-Back is not a number of whole seconds up to {CLOCK_BACK_SECONDS_MAX}: write it like 300"
        ))),
    }
}

/// The body's SHA-256, if the request names it (RFC 9530).
fn digest(given: &HeaderMap) -> Reply<Option<[u8; 32]>> {
    let Some(value) = given.get(headers::CONTENT_DIGEST) else { return Ok(None) };
    let wrong = || invalid("Content-Digest is not sha-256=:BASE64:");
    let text = value.to_str().map_err(|_| wrong())?;
    let digests = text.split(',').filter_map(|part| part.trim().split_once('='));
    let (_, sha) = digests
        .into_iter()
        .find(|(algorithm, _)| algorithm.eq_ignore_ascii_case("sha-256"))
        .ok_or_else(wrong)?;
    let base64 = sha.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).ok_or_else(wrong)?;
    let bytes = STANDARD.decode(base64).map_err(|_| wrong())?;
    Ok(Some(bytes.try_into().map_err(|_| wrong())?))
}

struct Stream {
    app: Arc<App>,
    id: SessionId,
    offset: u64,
    /// When the body began to be recorded, and to come. Later pieces of a long body are recorded as
    /// much later as they come, even if our own clock is set meanwhile.
    recorded: Option<(Recorded, Moment)>,
}

impl Stream {
    /// Appends piece by piece.
    async fn take(
        &mut self,
        pieces: &mut PieceReader,
        before: StreamPosition,
    ) -> Reply<StreamPosition> {
        let mut appended = before;
        while let Some(BodyPiece { bytes, held, broken }) = pieces.next(&self.app).await? {
            appended = self.append(bytes, Some(held)).await?;
            if let Some(refusal) = broken {
                return Err(refusal);
            }
        }
        Ok(appended)
    }

    /// Appends all or nothing: what is durable cannot be taken back when the digest turns out wrong.
    async fn take_whole(
        &mut self,
        pieces: &mut PieceReader,
        digest: &[u8; 32],
    ) -> Reply<StreamPosition> {
        let most = Limits::LARGE.body_bytes();
        let too_large = format!("a body with Content-Digest has at most {most} bytes");
        let whole = pieces.upload.whole(most, 1, &too_large).await?;
        if Sha256::digest(&whole).as_slice() != digest.as_slice() {
            return Err(invalid("the body does not have the Content-Digest it names"));
        }
        self.append(whole, None).await
    }

    async fn append(&mut self, bytes: Vec<u8>, held: Option<HeldMemory>) -> Reply<StreamPosition> {
        let (id, offset, now) = (self.id.clone(), self.offset, self.app.clock.moment());
        let recorded = self.recorded.map(|(first, began)| {
            // Marks are exact to a second: what a body took on its way here does not count.
            Recorded { at: first.at.plus_seconds(now.seconds_since(&began)), ..first }
        });
        let appended = self
            .app
            .run(move |app| {
                let _held = held;
                let crate::Opened { vault, locks, .. } = &*app.opened;
                let piece = StreamPiece { offset, bytes: &bytes, recorded };
                append(vault, locks, app.storage, now, &id, piece)
            })
            .await?;
        self.app.followers.tell(&self.id);
        // The clock went back before the body, so its first bytes say that.
        if let Some((first, _)) = self.recorded.as_mut().filter(|_| appended.offset > offset) {
            first.back = 0;
        }
        self.offset = appended.offset;
        Ok(appended)
    }
}

/// A body, gathered into pieces.
struct PieceReader {
    upload: Upload,
    /// What came and did not fit any more.
    left: Option<Bytes>,
}

/// A part of a body.
struct BodyPiece {
    bytes: Vec<u8>,
    held: HeldMemory,
    /// Why nothing follows, if the body broke off.
    broken: Option<Refusal>,
}

impl PieceReader {
    /// The next piece; `None` at the end.
    async fn next(&mut self, app: &App) -> Reply<Option<BodyPiece>> {
        let first = match self.left.take() {
            Some(left) => Some(left),
            None => self.upload.next().await.transpose()?,
        };
        let Some(first) = first else { return Ok(None) };
        let mut held = app.streams.nothing();
        held.take(first.len()).await?;
        let mut piece = BodyPiece { bytes: first.to_vec(), held, broken: None };
        let ends = Instant::now() + GATHERING;
        while piece.bytes.len() < PIECE_BYTES {
            let until = ends.min(Instant::now() + PAUSE);
            match tokio::time::timeout_at(until, self.upload.next()).await {
                Err(_) | Ok(None) => break,
                Ok(Some(Err(refusal))) => {
                    piece.broken = Some(refusal);
                    break;
                }
                Ok(Some(Ok(bytes))) => {
                    // A request that holds memory does not wait for more: what it has becomes durable first.
                    if !piece.held.take_now(bytes.len()) {
                        self.left = Some(bytes);
                        break;
                    }
                    piece.bytes.extend_from_slice(&bytes);
                }
            }
        }
        Ok(Some(piece))
    }
}
