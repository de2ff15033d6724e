//! An archived folder: its catalogue, single files, all of it as a tar stream.

use std::io;
use std::ops::ControlFlow;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::files::{FileEntry, FilesQuery};
use lucid_api::v1::list::{List, PageQuery};
use lucid_core::catalogue::{EntryKind, check_path};
use lucid_http::extract::{BytePath, Path, RawQuery};
use lucid_http::layers::Passing;
use lucid_http::reply::{Content, Refusal, Reply};

use super::content::{BYTES, BodySender, send, stream_in_one};
use super::{AppState, invalid, limit, session_id};
use crate::ops::OpError;
use crate::ops::sessions::chosen::Chosen;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::read_session::{StoredSession, find_entry, read_range, visit_entries};
use crate::ops::sessions::write_tar::{Unreadable, write_tar};
use crate::reply::files::file_entry;

/// The catalogue, in order.
#[utoipa::path(get, path = paths::SESSION_FILES, tag = "files",
    params(
        ("session_id" = String, Path),
        ("path" = Option<String>, Query, description = "this path and what is below it"),
        PageQuery,
    ),
    responses((status = 200, body = List<FileEntry>)))]
pub async fn list_files(
    State(app): AppState,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let mut query = FilesQuery::parse(&query).map_err(invalid)?;
    let limit = limit(query.limit)?;
    // A folder may be named with the slash that says so.
    let named = query.path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    query.path.truncate(named);
    check_path(&query.path).map_err(|fault| invalid(format!("path: {fault}")))?;
    let after = query.cursor.map(|text| cursor_path(&text, &query.path)).transpose()?;
    app.run_large(move |app| {
        let source = StoredSession::open(&app.opened.vault, &id)?;
        let mut page = List { items: Vec::new(), next_cursor: None, count: None };
        let (mut last, mut bytes) = (Vec::new(), 0);
        visit_entries(&source, &query.path, after.as_deref(), |entry| {
            if page.items.len() == limit || bytes > PAGE_NAME_BYTES {
                page.next_cursor = Some(cursor(&last));
                return ControlFlow::Break(());
            }
            bytes += entry.path.len() + entry.target.len();
            bytes += entry
                .attributes
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
            page.items.push(file_entry(&entry));
            last = entry.path;
            ControlFlow::Continue(())
        })?;
        Ok(page)
    })
    .await
}

/// A page of the catalogue ends once its names and attributes are longer than this.
const PAGE_NAME_BYTES: usize = 2 << 20;

/// Where the next page begins: behind this path, which may be empty, as a cursor never is.
fn cursor(path: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([b"/", path].concat())
}

/// The path in a cursor of an earlier page of the same list.
fn cursor_path(cursor: &str, below: &[u8]) -> Reply<Vec<u8>> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok();
    let path = decoded.as_deref().and_then(|bytes| bytes.strip_prefix(b"/"));
    let is_below = |path: &&[u8]| match path.strip_prefix(below) {
        Some(rest) => below.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    };
    let path = path.filter(|path| check_path(path).is_ok()).filter(is_below);
    path.map(<[u8]>::to_vec).ok_or_else(|| invalid("cursor is not one of an earlier page"))
}

/// One file's bytes.
#[utoipa::path(get, path = paths::SESSION_FILE, tag = "files",
    params(("session_id" = String, Path), ("path" = String, Path, description = "percent-encoded")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "the range asked for")))]
pub async fn get_file(
    State(app): AppState,
    passing: Passing,
    method: Method,
    BytePath(values): BytePath,
    given: HeaderMap,
) -> Reply<Response> {
    let [id, path] = <[Vec<u8>; 2]>::try_from(values).map_err(|_| invalid("the path is cut"))?;
    let id = session_id(&String::from_utf8_lossy(&id))?;
    let asked = id.clone();
    let (entry, root) = app
        .run(move |app| {
            let row = get_session(&app.opened.vault, &asked)?;
            let source = StoredSession::open(&app.opened.vault, &asked)?;
            let found = find_entry(&source, &path)?.ok_or_else(|| OpError::NoFile {
                session: asked.clone(),
                path: String::from_utf8_lossy(&path).into_owned(),
            })?;
            Ok((found.0, row.root()))
        })
        .await?;
    if !matches!(entry.kind, EntryKind::File | EntryKind::HardLink) {
        let shown = String::from_utf8_lossy(&entry.path);
        let detail = format!("{shown:?} is a {}, and has no bytes", entry.kind);
        return Err(Refusal::new(ErrorCode::Kind, detail));
    }
    let etag = format!("{root}-{}-{}", entry.offset, entry.length);
    let content = Content { length: entry.length, etag: Some(&etag), kind: BYTES };
    send(app, &passing, (&method, &given), &content, move |app, range, sender: &mut BodySender| {
        let source = StoredSession::open(&app.opened.vault, &id)?;
        let within =
            entry.offset.saturating_add(range.start)..entry.offset.saturating_add(range.end);
        read_range(&source, within, |bytes| sender.give(bytes))
    })
    .await
}

/// The whole folder as a tar stream.
#[utoipa::path(get, path = paths::SESSION_TAR, tag = "files", params(("session_id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar")))]
pub async fn get_archive(
    State(app): AppState,
    passing: Passing,
    method: Method,
    Path(id): Path<String>,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let asked = id.clone();
    let row = app.run(move |app| get_session(&app.opened.vault, &asked)).await?;
    let body = match method {
        Method::HEAD => axum::body::Body::empty(),
        _ => {
            let places = app.rooms.tars.clone();
            stream_in_one(app, &passing, places, move |app, sender| {
                let source = StoredSession::open(&app.opened.vault, &id)?;
                let pieces = TarBody { sender, gathered: Vec::new() };
                write_tar(&source, Chosen::new(&[]), Unreadable::Ends, pieces).map(drop)
            })
            .await?
        }
    };
    let kind = HeaderValue::from_static("application/x-tar");
    let mut response = ([(CONTENT_TYPE, kind)], body).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}-tar\"", row.root())) {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// Bytes of a tar stream that are handed over together.
const PIECE_BYTES: usize = 256 << 10;

/// Small headers and large pieces alike become pieces of one size. What is gathered when reading fails is dropped:
/// before the first piece the reply has not begun, and is a refusal then.
struct TarBody<'a> {
    sender: &'a mut BodySender,
    gathered: Vec<u8>,
}

impl io::Write for TarBody<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        match bytes.len() < PIECE_BYTES {
            true => self.gathered.extend_from_slice(bytes),
            false => self.sender.give(bytes).map_err(io::Error::other)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let given = self.sender.give(&self.gathered).map_err(io::Error::other);
        self.gathered.clear();
        given
    }
}
