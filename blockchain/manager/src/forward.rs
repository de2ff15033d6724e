//! Requests that only the authority of a chain can answer, handed on to whom a follower follows.
//!
//! The routes that take transactions and anchors call it before anything else. A follower owns no pool: it
//! hands the request on as it came, and the answer back as it comes, or says in a sentence why not.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use lucid_api::headers::HOPS;
use lucid_api::problem::ErrorCode;
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::fact::Role;
use crate::limits::RELAYS_MAX;
use crate::peer::Peer as _;

/// A request was handed on from follower to follower so often that they must follow each other.
const HOPS_MAX: u32 = 8;

/// The peer's answer to a posted JSON text; `None` for an authority, which answers itself.
pub async fn forward(
    app: &App,
    headers: &HeaderMap,
    path: &'static str,
    text: impl FnOnce() -> String,
) -> Reply<Option<Response>> {
    match is_follower(app).await? {
        true => {
            let asked =
                ForwardedRequest { path, body: Some(text()), ..ForwardedRequest::default() };
            relay(app, headers, asked).await.map(Some)
        }
        false => Ok(None),
    }
}

/// The peer's answer about something that is not here and may wait there; `None` for an authority, which
/// knows that it is nowhere.
pub async fn ask_peer(
    app: &App,
    headers: &HeaderMap,
    path: &'static str,
    name: &str,
    query: &str,
) -> Reply<Option<Response>> {
    match is_follower(app).await? {
        true => {
            let (name, query) = (name.to_owned(), query.to_owned());
            relay(app, headers, ForwardedRequest { path, name, query, body: None }).await.map(Some)
        }
        false => Ok(None),
    }
}

/// What is handed on.
#[derive(Default)]
struct ForwardedRequest {
    path: &'static str,
    name: String,
    query: String,
    body: Option<String>,
}

async fn is_follower(app: &App) -> Reply<bool> {
    match app.follower() {
        Some(_) => Ok(true),
        None => app.run(|manager| Ok(manager.role == Role::Follower)).await,
    }
}

async fn relay(app: &App, headers: &HeaderMap, asked: ForwardedRequest) -> Reply<Response> {
    let hops = headers.get(HOPS).and_then(|hops| hops.to_str().ok()?.parse::<u32>().ok());
    let hops = hops.unwrap_or(0).saturating_add(1);
    if hops > HOPS_MAX {
        let sentence = format!(
            "the request was handed on {HOPS_MAX} times and found no authority: followers that follow \
             each other in a ring have none"
        );
        return Err(Refusal::new(ErrorCode::Unavailable, sentence));
    }
    let busy = || {
        let sentence = format!("{RELAYS_MAX} requests wait for whom this block-manager follows");
        Refusal::new(ErrorCode::Unavailable, sentence)
    };
    let place = app.relay_place().ok_or_else(busy)?;
    let relaying = app.clone();
    let relayed = app
        .run(move |_| {
            // Held until the peer has answered, whether or not the caller still waits.
            let _place = place;
            let unavailable = |why: String| Refusal::new(ErrorCode::Unavailable, why);
            let follower = relaying.follower().ok_or_else(|| {
                unavailable("this block-manager follows another one, and nobody is named".to_owned())
            })?;
            let peer = follower.peer();
            let ForwardedRequest { path, name, query, body } = asked;
            let relayed = peer.client().relay(path, &name, &query, body, hops).map_err(|error| {
                unavailable(format!(
                    "this block-manager follows {}, which makes the blocks, and it cannot be asked: {error}",
                    peer.name()
                ))
            })?;
            if [401, 403].contains(&relayed.status) {
                // It is about what this service shows; what the caller showed was taken.
                return Err(unavailable(format!(
                    "this block-manager follows {}, which makes the blocks and does not let it in (HTTP {}): give it \
                     a token for that by LUCID_PEER_TOKEN_FILE",
                    peer.name(),
                    relayed.status
                )));
            }
            Ok(relayed)
        })
        .await?;
    let status = StatusCode::from_u16(relayed.status).unwrap_or(StatusCode::BAD_GATEWAY);
    Ok((status, [(CONTENT_TYPE, relayed.kind)], relayed.body).into_response())
}
