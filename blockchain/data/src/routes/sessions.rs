//! Sessions: begin, find, add references, seal.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::anchors::AnchorStatus;
use lucid_api::v1::list::List;
use lucid_api::v1::sessions::{
    AddReferences, Appendix as WireAppendix, AppendixKind as WireAppendixKind,
    CLOCK_BACK_SECONDS_MAX, CreateSession, Cutting, CuttingMode, ExitStatus as WireStatus,
    Layout as WireLayout, ReferencesAdded, SealSession, Sealed, Session, SessionEnd, SessionQuery,
    SessionStatus, SessionsQuery,
};
use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::{Appendix, AppendixKind, End, ExitStatus, SIGNAL_MAX, path_bytes};
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_http::extract::{Json, JsonOrNone, Path, Query, RawQuery};
use lucid_http::layers::{Passing, Subject};
use lucid_http::reply::{Refusal, Reply};

use super::{AppState, UPLOAD_OFFSET, invalid, limit, session_id};
use crate::app::{App, WAITING_MAX};
use crate::ops::OpError;
use crate::ops::sessions::add_references::add_foreign_references;
use crate::ops::sessions::create_session::{Created, NewSession, create_session as create};
use crate::ops::sessions::fresh_id::unused_id;
use crate::ops::sessions::get_session::get_session as find;
use crate::ops::sessions::hold_session::retain_at_least as retain;
use crate::ops::sessions::list_sessions::{SessionFilter, list_sessions as list};
use crate::ops::sessions::seal_session::{SealRequest, seal_session as seal};
use crate::ops::sight::Sight;
use crate::reply;
use crate::reply::source::{PATH_SPELLING, read_source, read_terminal};
use crate::row::{SessionRow, SessionStage};

/// Between two looks at a session that a caller waits for, when there is no news.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Begins a session.
#[utoipa::path(post, path = paths::SESSIONS, tag = "sessions", request_body = CreateSession, responses(
    (status = 201, body = Session),
    (status = 200, body = Session, description = "it had begun already, with the same parameters"),
    (status = 410, description = "a session of this id was removed"),
))]
pub async fn create_session(
    State(app): AppState,
    sight: Sight,
    passing: Passing,
    Json(wanted): Json<CreateSession>,
) -> Reply<(StatusCode, Answer<Session>)> {
    passing.concern(|| Subject { session: wanted.session_id.clone(), chunks: Vec::new() });
    let request = new_session(wanted, sight, &app)?;
    let (status, session) = app
        .run_refusing(move |app| {
            let (vault, locks) = (&app.opened.vault, &app.opened.locks);
            let id = request.id.clone().map_or_else(|| unused_id(vault, request.started_at), Ok)?;
            refuse_outside(&request.sight, &id, &request.user)?;
            Ok(match create(vault, locks, NewSession { id: Some(id), ..request })? {
                Created::Began(row) => (StatusCode::CREATED, show(app, &row)?),
                Created::Existed(row) => (StatusCode::OK, show(app, &row)?),
            })
        })
        .await?;
    let named = || Some(session.session_id.clone());
    passing.concern(|| Subject { session: named(), chunks: Vec::new() });
    Ok((status, Answer(session)))
}

/// Refuses to begin a session that its caller would not see.
fn refuse_outside(sight: &Sight, id: &SessionId, user: &str) -> Reply<()> {
    if sight.would_see(id, user) {
        return Ok(());
    }
    let detail = format!(
        "these credentials are narrowed to some sessions, and {id} is none of them: begin one that is"
    );
    Err(Refusal::new(ErrorCode::Forbidden, detail))
}

fn new_session(wanted: CreateSession, sight: Sight, app: &App) -> Reply<NewSession> {
    Ok(NewSession {
        one_shot: wanted.one_shot,
        own_copies: !app.chunks.deduplicate,
        sight,
        retain_until: wanted.retain_until.map(|text| time("retain_until", &text)).transpose()?,
        id: wanted.session_id.as_deref().map(session_id).transpose()?,
        user: wanted.user_id.unwrap_or_default(),
        layout: match wanted.layout {
            WireLayout::Raw => Layout::Raw,
            WireLayout::Tree => Layout::Tree,
        },
        public: wanted.public,
        profile: wanted.cutting.map_or(Ok(app.chunks.profile), |cutting| profile(&cutting))?,
        metadata: wanted.metadata,
        source: wanted.source.map(read_source).transpose()?,
        terminal: wanted.terminal.map(read_terminal),
        started_at: match wanted.started_at {
            Some(text) => time("started_at", &text)?,
            None => app.clock.now(),
        },
    })
}

fn profile(cutting: &Cutting) -> Reply<ChunkProfile> {
    match cutting.mode {
        CuttingMode::Content => ChunkProfile::content_defined(cutting.avg_bytes),
        CuttingMode::Fixed => ChunkProfile::fixed(cutting.avg_bytes),
    }
    .map_err(|fault| invalid(fault.to_string()))
}

pub(super) fn time(name: &str, text: &str) -> Reply<Timestamp> {
    Timestamp::parse(text).map_err(|fault| invalid(format!("{name}: {fault}")))
}

pub(super) fn show(app: &App, row: &SessionRow) -> Result<Session, OpError> {
    let mut session =
        reply::session(&app.opened.vault, &app.opened.key.public(), row, app.quiet_since())?;
    if let Some(anchor) = &mut session.anchor {
        app.anchoring.annotate(&row.id, anchor);
    }
    Ok(session)
}

/// Sessions, the newest first.
#[utoipa::path(get, path = paths::SESSIONS, tag = "sessions", params(SessionsQuery), responses(
    (status = 200, body = List<Session>),
))]
pub async fn list_sessions(
    State(app): AppState,
    sight: Sight,
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let query = SessionsQuery::parse(&query).map_err(invalid)?;
    let limit = limit(query.limit)?;
    let cursor = query.cursor.map(|text| URL_SAFE_NO_PAD.decode(text)).transpose();
    let cursor = cursor.map_err(|_| invalid("cursor is not one of an earlier page"))?;
    let filter = filter(&app, query.status, query.user_id, query.from, query.to)?;
    let paths = query.path.iter().map(|path| {
        path_bytes(path).ok_or_else(|| invalid(format!("path is {path:?}: {PATH_SPELLING}")))
    });
    let filter = SessionFilter {
        sight,
        host: query.host,
        tags: query.tag,
        paths: paths.collect::<Reply<_>>()?,
        metadata: query.metadata,
        prefix: query.prefix,
        ..filter
    };
    app.run_large(move |app| {
        let page = list(&app.opened.vault, &filter, limit, cursor.as_deref())?;
        let items = page.sessions.iter().map(|row| show(app, row));
        Ok(List {
            items: items.collect::<Result<Vec<Session>, _>>()?,
            next_cursor: page.next.map(|next| URL_SAFE_NO_PAD.encode(next)),
            count: None,
        })
    })
    .await
}

/// Which sessions are asked for.
pub(super) fn filter(
    app: &App,
    status: Option<SessionStatus>,
    user: Option<String>,
    from: Option<String>,
    to: Option<String>,
) -> Reply<SessionFilter> {
    Ok(SessionFilter {
        status: status.map(|status| match status {
            SessionStatus::Active => SessionStage::Active,
            SessionStatus::Sealed => SessionStage::Sealed,
            SessionStatus::Anchored => SessionStage::Anchored,
            SessionStatus::Unterminated => SessionStage::Unterminated,
        }),
        user,
        from: from.map(|text| time("from", &text)).transpose()?,
        // The op takes the last moment, the API the first one after it.
        to: to.map(|text| time("to", &text)).transpose()?.map(just_before),
        quiet_since: Some(app.quiet_since()),
        ..SessionFilter::default()
    })
}

fn just_before(time: Timestamp) -> Timestamp {
    let micro = i64::try_from(Duration::from_micros(1).as_micros()).unwrap_or(1);
    Timestamp::from_micros(time.as_micros().saturating_sub(micro))
}

/// One session: at once, or with `wait` and `status` as soon as it is that far.
#[utoipa::path(get, path = paths::SESSION, tag = "sessions",
    params(("session_id" = String, Path), SessionQuery),
    responses((status = 200, body = Session, headers(("Upload-Offset" = u64, description = "where the next byte goes")))))]
pub async fn get_session(
    State(app): AppState,
    Path(id): Path<String>,
    Query(query): Query<SessionQuery>,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let session = match query.wish().map_err(invalid)? {
        None => look(&app, &id).await?,
        Some((status, at_most)) => wait(&app, &id, status, at_most).await?,
    };
    Ok(described(session))
}

fn described(session: Session) -> Response {
    ([(UPLOAD_OFFSET, session.offset.to_string())], Answer(session)).into_response()
}

async fn look(app: &Arc<App>, id: &SessionId) -> Reply<Session> {
    let id = id.clone();
    app.run(move |app| show(app, &find(&app.opened.vault, &id)?)).await
}

/// Looks whenever sessions were sealed or anchored, and now and then besides: that a stream fell silent
/// is nobody's news.
async fn wait(
    app: &Arc<App>,
    id: &SessionId,
    wanted: SessionStatus,
    at_most: Duration,
) -> Reply<Session> {
    let Ok(_place) = app.waiting.try_acquire() else {
        let sentence = format!("{WAITING_MAX} requests wait already: ask again, without waiting");
        return Err(Refusal::new(ErrorCode::Busy, sentence));
    };
    let deadline = tokio::time::Instant::now() + at_most;
    loop {
        let news = app.settled.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let session = look(app, id).await?;
        let now = tokio::time::Instant::now();
        if is_so_far(app, &session, wanted) || now >= deadline {
            return Ok(session);
        }
        tokio::select! {
            () = news => {}
            () = tokio::time::sleep_until(deadline.min(now + BETWEEN_LOOKS)) => {}
            () = app.jobs.stopping() => return Ok(session),
        }
    }
}

fn is_so_far(app: &App, session: &Session, wanted: SessionStatus) -> bool {
    let status = session.status;
    match wanted {
        SessionStatus::Active => true,
        SessionStatus::Sealed => {
            matches!(status, SessionStatus::Sealed | SessionStatus::Anchored)
        }
        SessionStatus::Anchored => {
            let anchor = session.anchor.as_ref();
            let is_elsewhere =
                anchor.is_some_and(|anchor| anchor.status == AnchorStatus::Elsewhere);
            // Where an engine of another kind is asked, it comes no farther.
            status == wanted || (is_elsewhere && app.anchoring.is_foreign())
        }
        SessionStatus::Unterminated => status == wanted,
    }
}

/// Where a session's next byte goes: what `GET` answers, without its document.
#[utoipa::path(head, path = paths::SESSION, tag = "sessions", params(("session_id" = String, Path)),
    responses((status = 200, headers(("Upload-Offset" = u64, description = "where the next byte goes")))))]
pub async fn head_session(State(app): AppState, Path(id): Path<String>) -> Reply<Response> {
    Ok(described(look(&app, &session_id(&id)?).await?))
}

/// Makes stored chunks a session's next ones.
#[utoipa::path(post, path = paths::SESSION_REFERENCES, tag = "sessions",
    params(("session_id" = String, Path)), request_body = AddReferences,
    responses((status = 200, body = ReferencesAdded)))]
pub async fn add_references(
    State(app): AppState,
    sight: Sight,
    Path(id): Path<String>,
    Json(wanted): Json<AddReferences>,
) -> Reply<Answer<ReferencesAdded>> {
    let id = session_id(&id)?;
    let chunks = wanted.chunks.iter().map(|chunk| (chunk.chunk_id, chunk.length)).collect();
    let added = app
        .run(move |app| {
            let (vault, locks) = (&app.opened.vault, &app.opened.locks);
            let (storage, start) = (app.storage, wanted.start_index);
            let added = add_foreign_references(vault, locks, storage, &sight, &id, start, chunks)?;
            locks.note_news(&id, app.clock.now());
            app.followers.tell(&id);
            Ok(added)
        })
        .await?;
    Ok(Answer(ReferencesAdded { next_index: added.next_index, offset: added.offset }))
}

/// Seals a session.
#[utoipa::path(post, path = paths::SESSION_SEAL, tag = "sessions",
    params(("session_id" = String, Path)), request_body = Option<SealSession>,
    responses((status = 200, body = Sealed)))]
pub async fn seal_session(
    State(app): AppState,
    Path(id): Path<String>,
    JsonOrNone(how): JsonOrNone<SealSession>,
) -> Reply<Answer<Sealed>> {
    let id = session_id(&id)?;
    let end = end(&how)?;
    let mut metadata = how.metadata;
    metadata.extend(how.owner_address.map(|address| ("owner_address".to_owned(), address)));
    let request = SealRequest {
        expected_chunk_count: how.expected_chunk_count,
        begun_at: how.started_at.as_deref().map(|text| time("started_at", text)).transpose()?,
        appendix: how.appendix.map(appendix),
        metadata,
        end,
        clock_back: clock_back(how.clock_back_seconds)?,
    };
    let until = how.retain_until.as_deref().map(|text| time("retain_until", text)).transpose()?;
    let sealed = app
        .run(move |app| {
            // Before it is whole: a recorder that is cut off in between has its session kept.
            if let Some(until) = until {
                retain(&app.opened.vault, &app.opened.locks, &id, until)?;
            }
            seal_and_wake(app, &id, &request)
        })
        .await?;
    Ok(Answer(sealed))
}

/// How the session ends, by what may be said in two ways.
fn end(how: &SealSession) -> Reply<End> {
    let end = match (how.end, how.unterminated) {
        (None | Some(SessionEnd::Unterminated), true) => SessionEnd::Unterminated,
        (Some(_), true) => return Err(invalid("unterminated contradicts end; say end alone")),
        (given, false) => given.unwrap_or(SessionEnd::Eof),
    };
    match (end, how.exit_status) {
        (SessionEnd::Eof, None) => Ok(End::Eof),
        (SessionEnd::Unterminated, None) => Ok(End::Unterminated),
        (SessionEnd::Exit, Some(WireStatus::Code(code))) => Ok(End::Exit(ExitStatus::Code(code))),
        (SessionEnd::Exit, Some(WireStatus::Signal(signal))) => match signal {
            1..=SIGNAL_MAX => Ok(End::Exit(ExitStatus::Signal(signal))),
            _ => Err(invalid(format!("signal is {signal}; from 1 to {SIGNAL_MAX} is allowed"))),
        },
        (SessionEnd::Exit, None) => {
            Err(invalid("end is exit without an exit_status: {\"code\": N} or {\"signal\": N}"))
        }
        (_, Some(_)) => Err(invalid("exit_status goes with end: exit alone")),
    }
}

/// By how many microseconds the recorder's clock went back.
fn clock_back(seconds: Option<u64>) -> Reply<u64> {
    match seconds.unwrap_or(0) {
        seconds @ 0..=CLOCK_BACK_SECONDS_MAX => Ok(seconds.saturating_mul(1_000_000)),
        other => Err(invalid(format!(
            "clock_back_seconds is {other}; up to {CLOCK_BACK_SECONDS_MAX} is allowed"
        ))),
    }
}

fn appendix(given: WireAppendix) -> Appendix {
    Appendix {
        kind: match given.kind {
            WireAppendixKind::Catalogue => AppendixKind::Catalogue,
            WireAppendixKind::Timeline => AppendixKind::Timeline,
        },
        offset: given.offset,
        length: given.length,
    }
}

/// Seals, and lets the anchor go its way.
fn seal_and_wake(app: &App, id: &SessionId, request: &SealRequest) -> Result<Sealed, OpError> {
    let row = seal_now(app, id, request)?;
    reply::sealed(&row)
}

/// Seals at this moment.
pub(super) fn seal_now(
    app: &App,
    id: &SessionId,
    request: &SealRequest,
) -> Result<SessionRow, OpError> {
    let crate::Opened { vault, key, locks, .. } = &*app.opened;
    let row = seal(vault, locks, key, app.storage, app.clock.moment(), id, request)?;
    app.anchoring.wake();
    app.settled.notify_waiters();
    app.followers.tell(id);
    Ok(row)
}
