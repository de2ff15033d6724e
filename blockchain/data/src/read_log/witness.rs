//! Notes what requests ask for, and how they end.
//!
//! Every change, every read of content and every refusal is noted. Content that is given piece by piece is noted while
//! its first piece is read, and given once it is: what is short is noted once and for all, what is long once more when
//! it ends ([`super::body`]). Other replies with content, and changes, are answered once they are noted. Chunks,
//! references and appended bytes are many, and are put together, as are refusals of strangers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::audit::{AuditEnd, AuditEntry, AuditKind, LOCAL};
use lucid_api::{paths, percent};
use lucid_http::credentials::Credentials;
use lucid_http::layers::{Giving, Passage, Subject, Witness, Witnessed};
use lucid_http::rates::network;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::table::Access;

use super::body::RecordedBody;
use super::gathering::Alike;
use super::{ReadLog, Unrecorded, Written};
use crate::app::App;

/// How content of up to so many bytes ends is not noted by itself.
const SHORT_BYTES: u64 = 256 << 10;
/// Bytes of an address that are noted.
const TARGET_BYTES: usize = 2_048;

/// What changes something many times over.
const INTAKE: [&str; 6] = [
    paths::SESSION_REFERENCES,
    paths::SESSION_APPEND,
    paths::CHUNKS,
    paths::SESSION_CHUNK,
    paths::SESSION_CHUNKS,
    paths::CHUNKS_BATCH,
];

/// Whether requests are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// Where callers have to show who they are.
    OfKnown,
    /// All.
    Always,
    /// None.
    Never,
}

/// What notes the requests of a service.
pub struct Recorder {
    app: Arc<App>,
    credentials: Credentials,
    recording: Recording,
}

/// What is noted of a request.
enum Noted {
    Nothing,
    Read,
    Change,
    /// A change of which there may be many.
    Intake,
    Refusal,
}

impl Recorder {
    /// What notes the requests of this service.
    pub fn new(app: Arc<App>, credentials: Credentials, recording: Recording) -> Self {
        Self { app, credentials, recording }
    }

    fn is_on(&self) -> bool {
        match self.recording {
            Recording::OfKnown => self.credentials.are_asked_for(),
            Recording::Always => true,
            Recording::Never => false,
        }
    }

    fn log(&self) -> &ReadLog {
        &self.app.read_log
    }

    /// An entry about a request that ended so.
    fn entry(&self, passage: &Passage, kind: AuditKind, status: Option<StatusCode>) -> AuditEntry {
        let is_let_in = passage.wanted().is_some();
        let target = match passage.uri.path_and_query() {
            Some(all) if is_let_in => all.as_str(),
            // What a stranger sends may be a token.
            _ => passage.uri.path(),
        };
        let end = target.floor_char_boundary(TARGET_BYTES);
        let target = target.get(..end).unwrap_or_default().to_owned();
        let (now, method) = (self.app.clock.now(), passage.method.as_str());
        let Subject { session, mut chunks } = passage.subject();
        if chunks.is_empty() {
            chunks.extend(named(passage, "{chunk_id}"));
        }
        AuditEntry {
            caller: passage.caller().and_then(|caller| caller.name()).map(str::to_owned),
            from: passage.from.map_or(LOCAL.to_owned(), |from| from.to_string()),
            session: session.or_else(|| named(passage, "{session_id}")),
            chunks,
            status: status.map(|status| status.as_u16()),
            ended: match status {
                Some(status) if status.is_client_error() => AuditEnd::Refused,
                Some(status) if status.is_server_error() => AuditEnd::Failed,
                _ => AuditEnd::Whole,
            },
            request_id: passage.request_id.clone(),
            ..super::entry(now, kind, method, target)
        }
    }

    /// Notes a request together with those that are alike.
    fn gather(&self, passage: &Passage, mut entry: AuditEntry) {
        let is_stranger = entry.caller.is_none();
        let from: Option<IpAddr> = match is_stranger {
            true => passage.from.map(network),
            false => passage.from,
        };
        let route = passage.route.as_ref().map_or("", |route| route.as_str()).to_owned();
        entry.chunks.clear();
        let alike = Alike {
            kind: entry.kind,
            caller: entry.caller.clone(),
            from,
            session: entry.session.clone().filter(|_| entry.kind != AuditKind::Refusal),
            route: (entry.method.clone(), route),
            status: entry.status,
            ended: entry.ended,
        };
        self.log().gather(alike, entry);
    }

    async fn record(&self, passage: Arc<Passage>, reply: Response) -> Response {
        let status = reply.status();
        match noted(&passage, Some(status)) {
            Noted::Nothing => reply,
            Noted::Refusal => {
                let entry = self.entry(&passage, AuditKind::Refusal, Some(status));
                // Those that anyone can cause are many.
                if entry.caller.is_none() || status == StatusCode::TOO_MANY_REQUESTS {
                    self.gather(&passage, entry);
                } else if let Err(why) = self.log().write(entry).await {
                    tracing::error!(error = %why, "a refusal is not noted yet");
                }
                reply
            }
            Noted::Intake => {
                let mut entry = self.entry(&passage, AuditKind::Change, Some(status));
                entry.bytes = passage.body_bytes;
                self.gather(&passage, entry);
                reply
            }
            Noted::Change => {
                let mut entry = self.entry(&passage, AuditKind::Change, Some(status));
                entry.bytes = passage.body_bytes.filter(|bytes| *bytes > 0);
                match self.log().write(entry).await {
                    Err(why) if status.is_success() => {
                        let detail = format!("it was done, and cannot be noted: {why}");
                        Refusal::new(ErrorCode::Unavailable, detail).into_response()
                    }
                    _ => reply,
                }
            }
            Noted::Read => self.give(&passage, reply).await,
        }
    }

    /// Gives content, once it is noted.
    async fn give(&self, passage: &Passage, reply: Response) -> Response {
        let status = reply.status();
        let is_refused = is_failed(status);
        if passage.is_begun() && !is_refused {
            return self.follow(passage, reply);
        }
        let mut entry = self.entry(passage, AuditKind::Read, Some(status));
        if is_refused {
            if let Err(why) = self.log().write(entry).await {
                tracing::error!(error = %why, "a refusal is not noted yet");
            }
            return reply;
        }
        entry.bytes = reply.body().size_hint().exact();
        match self.log().ask(entry.clone()).await {
            Ok(()) => reply,
            Err(why) => {
                (entry.ended, entry.status, entry.bytes) = (AuditEnd::Failed, Some(503), None);
                self.gather(passage, entry);
                refuse(&why).into_response()
            }
        }
    }

    /// Follows a long reply to its end.
    fn follow(&self, passage: &Passage, reply: Response) -> Response {
        let length = header(&reply, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        if length.is_some_and(|length| length <= SHORT_BYTES) {
            return reply;
        }
        let mut entry = self.entry(passage, AuditKind::Read, Some(reply.status()));
        entry.range = header(&reply, &CONTENT_RANGE).and_then(part);
        let at = (self.log().clone(), self.app.clock.clone());
        reply.map(|body| Body::new(RecordedBody::new(body, at, entry, length)))
    }

    /// Notes content that is about to be given.
    fn note_giving(&self, passage: &Passage, giving: Giving) -> Written {
        let status = match giving.range {
            Some(_) => StatusCode::PARTIAL_CONTENT,
            None => StatusCode::OK,
        };
        let mut entry = self.entry(passage, AuditKind::Read, Some(status));
        entry.range = giving.range;
        match giving.bytes {
            Some(bytes) if bytes <= SHORT_BYTES => entry.bytes = Some(bytes),
            // What it ends with is not known yet.
            _ => (entry.ended, entry.status) = (AuditEnd::Begun, None),
        }
        self.log().ask(entry)
    }

    fn uncount(&self, passage: &Passage) {
        if passage.swap_counted(false) {
            self.log().came();
        }
    }
}

fn is_failed(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn refuse(why: &Unrecorded) -> Refusal {
    tracing::error!(error = %why, "content is not given");
    Refusal::new(ErrorCode::Unavailable, why.to_string())
}

/// The part that a reply gives.
fn part(range: &str) -> Option<String> {
    range.strip_prefix("bytes ").map(str::to_owned)
}

impl Witness for Recorder {
    fn let_in(&self, passage: &Passage) {
        let is_read = passage.wanted().is_some_and(|wanted| wanted.access == Access::Content);
        if is_read && self.is_on() && !passage.swap_counted(true) {
            self.log().comes();
        }
    }

    fn begins(&self, passage: &Passage, giving: Giving) -> Witnessed<'static, Reply<()>> {
        if !self.is_on() || !matches!(noted(passage, None), Noted::Read) {
            return Box::pin(std::future::ready(Ok(())));
        }
        let written = self.note_giving(passage, giving);
        Box::pin(async { written.await.map_err(|why| refuse(&why)) })
    }

    fn begins_change(&self, passage: &Passage) {
        if self.is_on() {
            let entry = self.entry(passage, AuditKind::Change, None);
            self.gather(passage, AuditEntry { ended: AuditEnd::Begun, ..entry });
        }
    }

    fn answered(&self, passage: Arc<Passage>, reply: Response) -> Witnessed<'_, Response> {
        self.uncount(&passage);
        if !self.is_on() {
            return Box::pin(std::future::ready(reply));
        }
        Box::pin(self.record(passage, reply))
    }

    fn left(&self, passage: &Passage) {
        self.uncount(passage);
        let kind = match noted(passage, None) {
            _ if !self.is_on() => return,
            Noted::Nothing | Noted::Refusal => return,
            Noted::Read => AuditKind::Read,
            Noted::Change | Noted::Intake => AuditKind::Change,
        };
        let entry = AuditEntry { ended: AuditEnd::Left, ..self.entry(passage, kind, None) };
        self.gather(passage, entry);
    }
}

/// What is noted of a request that was answered so, or was not.
fn noted(passage: &Passage, status: Option<StatusCode>) -> Noted {
    let access = passage.wanted().map(|wanted| wanted.access);
    if matches!(access, Some(Access::Content | Access::Audit)) || passage.gives_content() {
        return Noted::Read;
    }
    let is_change = matches!(access, Some(Access::Append | Access::Write | Access::Administer));
    if is_change && !passage.method.is_safe() {
        let route = passage.route.as_ref().map_or("", |route| route.as_str());
        return match route {
            // It only asks.
            paths::CHUNKS_MISSING => refused(passage, status),
            route if INTAKE.contains(&route) => Noted::Intake,
            _ => Noted::Change,
        };
    }
    refused(passage, status)
}

fn refused(passage: &Passage, status: Option<StatusCode>) -> Noted {
    match status {
        Some(
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::MISDIRECTED_REQUEST,
        ) => Noted::Refusal,
        // What a caller does not see, it is told there is not.
        Some(StatusCode::NOT_FOUND)
            if passage.caller().is_some_and(|caller| caller.is_narrowed()) =>
        {
            Noted::Refusal
        }
        _ => Noted::Nothing,
    }
}

fn header<'a>(reply: &'a Response, name: &HeaderName) -> Option<&'a str> {
    reply.headers().get(name)?.to_str().ok()
}

/// What stands in an address in the place of a name.
fn named(passage: &Passage, name: &str) -> Option<String> {
    let place = passage.route.as_ref()?.as_str().split('/').position(|part| part == name)?;
    let named = passage.uri.path().split('/').nth(place).and_then(percent::decode)?;
    String::from_utf8(named).ok()
}
