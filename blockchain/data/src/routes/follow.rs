//! A live session's bytes as they come: `GET /api/v1/sessions/{session_id}/follow`.
//!
//! A follower is a task without a thread. It is woken when bytes have become durable, has a thread read them, and waits
//! until its caller has taken them, so it holds one piece at most.
//!
//! Invariant: the reply ends well only when the session is sealed and all of it was given. Otherwise it breaks off:
//! when the service ends before the session is sealed, the session is gone, the caller's credentials do not count any
//! more, or nothing came for long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::sessions::{FOLLOW_SILENCE_SECONDS, FollowQuery};
use lucid_core::session::SessionId;
use lucid_http::caller::Standing;
use lucid_http::extract::{Path, Query};
use lucid_http::layers::{Giving, Passing};
use lucid_http::places::RequestPlace;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::stream::{Gone, Sender, download};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::content::BYTES;
use super::{AppState, session_id};
use crate::app::{App, FOLLOWERS_MAX};
use crate::followers::Follower;
use crate::ops::sessions::follow_session::{Came, come_since};

/// Bytes that are given at once.
const PIECE_BYTES: usize = 1 << 20;
/// Between two looks without news: what nobody tells of, and whether the caller's credentials still count.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// A service that ends gives what was sealed just before, for so long.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// A caller whose host has vanished is not noticed while nothing is sent to it.
const SILENCE: Duration = Duration::from_secs(FOLLOW_SILENCE_SECONDS);

/// A session's content from a byte on, as it comes, until the session is sealed.
#[utoipa::path(get, path = paths::SESSION_FOLLOW, tag = "content",
    params(("session_id" = String, Path), FollowQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 429, description = "so many are followed already")))]
pub async fn follow_session(
    State(app): AppState,
    passing: Passing,
    standing: Standing,
    Path(id): Path<String>,
    Query(query): Query<FollowQuery>,
) -> Reply<Response> {
    let id = session_id(&id)?;
    let place = app.rooms.followers.take_now().ok_or_else(|| {
        let detail = format!("{FOLLOWERS_MAX} followers are there already; ask again later");
        Refusal::new(ErrorCode::Busy, detail)
    })?;
    let follower = app.followers.follow(&id);
    let at = query.from.unwrap_or(0);
    let following = Following { app, id, at, follower, standing, _place: place };
    // What is wrong with the question is a refusal, and no download that breaks off.
    following.look(0).await?;
    passing.begin(Giving::default).await?;
    let (sender, body) = download();
    tokio::spawn(following.give(sender).in_current_span());
    Ok(([(CONTENT_TYPE, BYTES)], body).into_response())
}

/// A session on its way to a caller.
struct Following {
    app: Arc<App>,
    id: SessionId,
    /// Where the next byte is.
    at: u64,
    follower: Follower,
    standing: Standing,
    _place: RequestPlace,
}

impl Following {
    async fn give(mut self, sender: Sender) {
        let app = self.app.clone();
        let is_whole = tokio::select! {
            () = sender.gone() => return,
            () = async { app.jobs.stopping().await; tokio::time::sleep(LAST_LOOK).await } => false,
            given = self.give_all(&sender) => given,
        };
        if is_whole {
            sender.finish();
        }
    }

    /// Gives what there is and what comes; says whether that was all there will be.
    async fn give_all(&mut self, sender: &Sender) -> bool {
        let (mut given, mut is_last) = (Instant::now(), false);
        loop {
            let news = self.follower.news.clone();
            let news = news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let came = match self.look(PIECE_BYTES).await {
                Ok(came) => came,
                Err(refusal) => {
                    tracing::info!(session = %self.id, why = refusal.detail(), "a follower is left");
                    return false;
                }
            };
            // Asked behind the look: what is given is given to credentials that count.
            if !self.standing.lasts().await {
                tracing::info!(session = %self.id, "a follower's credentials do not count any more");
                return false;
            }
            let has_come = !came.bytes.is_empty();
            if has_come && self.pass(sender, came.bytes).await.is_err() {
                return false;
            }
            if came.is_all {
                return true;
            }
            if has_come {
                given = Instant::now();
                // There may be more than one piece holds.
                continue;
            }
            if is_last || given.elapsed() >= SILENCE {
                return false;
            }
            tokio::select! {
                () = news => {}
                () = self.app.jobs.stopping() => is_last = true,
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
        }
    }

    async fn look(&self, most: usize) -> Reply<Came> {
        let (id, at) = (self.id.clone(), self.at);
        self.app.run(move |app| come_since(&app.opened.vault, &id, at, most)).await
    }

    async fn pass(&mut self, sender: &Sender, bytes: Vec<u8>) -> Result<(), Gone> {
        let mut held = self.app.downloads.nothing();
        let length = bytes.len() as u64;
        held.take(bytes.len()).await.map_err(|_| Gone)?;
        sender.send(held.around(bytes)).await?;
        sender.taken().await?;
        self.at += length;
        Ok(())
    }
}
