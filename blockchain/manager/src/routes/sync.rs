//! Synchronising on demand.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::sync::SyncReport;
use lucid_http::long_work::{Begun, Prefer, Wait, at_once, long_work};
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::workers::MISTAKE;
use crate::workers::follow::synchronise;
use crate::{fact, problems};

/// A round that takes longer goes on in the background, unless its caller said how long it waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the peer for blocks now.
#[utoipa::path(post, path = paths::CHAIN_SYNC, tag = "chain", params(Prefer), responses(
    (status = 200, body = SyncReport), (status = 202, body = SyncReport, description = "it goes on in the background"),
    (status = 409, description = "it runs already, or an authority follows nobody"),
    (status = 502, description = "the peer failed"),
))]
pub async fn sync_now(State(app): State<App>, wait: Wait) -> Reply<Response> {
    // The service may still be starting.
    let role = at_once(app.run(|manager| Ok(manager.role))).await?;
    if role == fact::Role::Authority {
        let sentence = "this block-manager is the authority of its chain and follows nobody";
        return Err(Refusal::new(ErrorCode::Role, sentence));
    }
    let shown = app.clone();
    let look = async move {
        let status = shown.sync_status().await?;
        let report = SyncReport {
            success: true,
            synchronized: false,
            synced_blocks: status.synced_blocks,
            local_height: status.local_height,
            remote_height: status.remote_height,
            message: Some("it goes on in the background: see the chain's status".to_owned()),
        };
        Ok((paths::CHAIN_STATUS.to_owned(), report))
    };
    let ask = |begun: Begun| async move {
        match synchronise(&app, || begun.say()).await {
            Err(_) => {
                if let Some(follower) = app.follower() {
                    follower.note_mistake(MISTAKE);
                }
                Err(Refusal::new(ErrorCode::Internal, "synchronising ended unexpectedly"))
            }
            Ok(None) => Err(Refusal::new(
                ErrorCode::Running,
                "synchronising runs already: see the chain's status",
            )),
            Ok(Some(report)) => report.map_err(problems::sync),
        }
    };
    long_work(&wait.or(PATIENCE), look, ask).await
}
