//! What the caller of a request sees, and the one question that is asked before every route about one session.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use lucid_api::access::Role;
use lucid_api::{paths, percent};
use lucid_http::caller::Caller;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::table::{Access, RouteRow, Wanted};

use super::session_id;
use crate::app::App;
use crate::ops::sight::Sight;

/// Routes that begin the session they name, if there is none.
const BEGINNING: [&str; 2] = [paths::SESSION_CHUNK, paths::SESSION_CHUNKS];

/// What a caller sees who does this.
fn sight(caller: &Caller, access: Access) -> Sight {
    let is_everything = !caller.is_narrowed() && caller.has_any(&[Role::Admin]);
    match caller.name().filter(|_| !is_everything) {
        None => Sight::everything(),
        Some(name) => {
            // A caller that may only add, adds to what it began.
            let is_own = access == Access::Append && !caller.has_any(&[Role::Write, Role::Admin]);
            let sight = Sight::of(name.to_owned(), caller.narrowing().cloned(), is_own);
            match !caller.is_narrowed() && caller.has_any(Access::Audit.roles()) {
                true => sight.with_log(),
                false => sight,
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sight {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, state).await?;
        // What stands in no table reads.
        let access = parts.extensions.get::<Wanted>().map_or(Access::Read, |wanted| wanted.access);
        Ok(sight(&caller, access))
    }
}

/// What is put around a route of the table.
pub(super) fn kept_to_sight(row: RouteRow<Arc<App>>, app: &Arc<App>) -> RouteRow<Arc<App>> {
    let place = row.path.split('/').position(|segment| segment == "{session_id}");
    let Some(place) = place.filter(|_| row.wanted.is_within) else { return row };
    let begins = BEGINNING.contains(&row.path) && row.wanted.access == Access::Append;
    let gives = row.wanted.access == Access::Content;
    let route = SessionRoute { app: app.clone(), place, begins, gives };
    row.layer(from_fn_with_state(route, keep_to_sight))
}

/// A route about one session.
#[derive(Clone)]
struct SessionRoute {
    app: Arc<App>,
    /// Which segment of its path is the session's id. (Others need not be text.)
    place: usize,
    /// Whether it begins the session, if there is none.
    begins: bool,
    /// Whether it gives what the session holds.
    gives: bool,
}

/// Answers for a session that is not seen as for one that there is not.
async fn keep_to_sight(
    State(SessionRoute { app, place, begins, gives }): State<SessionRoute>,
    sight: Sight,
    request: Request,
    next: Next,
) -> Response {
    if sight.has_all_sessions() && !gives {
        return next.run(request).await;
    }
    let named = request.uri().path().split('/').nth(place).and_then(percent::decode);
    let named = String::from_utf8_lossy(&named.unwrap_or_default()).into_owned();
    let checked: Reply<()> = async {
        let id = session_id(&named)?;
        if gives {
            sight.refuse_log(&id)?;
        }
        if sight.has_all_sessions() {
            return Ok(());
        }
        let check = move |app: &App| match begins {
            true => sight.check_or_begin(&app.opened.vault, &id),
            false => sight.check(&app.opened.vault, &id),
        };
        app.run(check).await
    }
    .await;
    match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}
