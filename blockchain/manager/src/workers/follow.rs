//! Follows another chain: asks it for new blocks, again and again.

use lucid_api::v1::sync::SyncReport;
use lucid_http::errand::Errand;
use tokio::sync::oneshot;

use super::MISTAKE;
use crate::app::App;
use crate::ops::sync_chain::SyncError;

/// What became of the rounds: `None` if others are at it.
pub type Rounds = Option<Result<SyncReport, SyncError>>;

/// Asks the peer until the shutdown is asked for: at once, then every interval, and sooner after a failure
/// that may pass.
pub async fn follow(app: App) {
    loop {
        let rounds = tokio::select! {
            // A peer that hangs must not hold up the end: what it sends then is refused by the closed store.
            () = app.shutdown().asked() => return,
            rounds = synchronise(&app, || ()) => rounds,
        };
        let Some(follower) = app.follower() else { return };
        if rounds.is_err() {
            tracing::error!("a round of synchronising panicked, or no thread was to be had for it");
            follower.note_mistake(MISTAKE);
        }
        let rounds = rounds.ok().flatten();
        let failed = rounds.as_ref().and_then(|rounds| rounds.as_ref().err());
        let pause = follower.pause(failed);
        tokio::select! {
            () = app.shutdown().asked() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Makes rounds on a thread of their own, which nobody has to wait for: not one of the runtime's, since
/// these hold up its end. `begun` is called unless others are at it.
pub fn synchronise(app: &App, begun: impl FnOnce() + Send + 'static) -> oneshot::Receiver<Rounds> {
    let (tell, told) = oneshot::channel();
    let (app, errand) = (app.clone(), Errand::of("following"));
    let thread = std::thread::Builder::new().name("synchronising".into());
    let spawned = thread.spawn(move || {
        let stop = || app.shutdown().is_asked();
        let rounds = match (app.opened(), app.follower()) {
            (Some(opened), Some(follower)) => {
                errand.run(|| follower.synchronise(opened, &|| opened.clock.now(), &stop, begun))
            }
            _ => None,
        };
        // The caller may have gone.
        let _heard = tell.send(rounds);
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread could be started for synchronising");
    }
    told
}
