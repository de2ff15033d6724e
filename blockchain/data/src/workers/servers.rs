//! Feels the pulse of the servers that have what is not in the folder, so that health need not wait for them.

use std::sync::Arc;
use std::time::Duration;

use lucid_http::errand::Errand;
use lucid_http::serve::Shutdown;

use super::round;
use crate::app::App;
use crate::ops::OpError;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Asks them until the shutdown is asked for; at once where all is in the folder.
pub async fn feel(app: Arc<App>, shutdown: Shutdown) {
    let errand = Errand::of("servers");
    while !shutdown.is_asked() && !app.opened.folder.kept.is_here() {
        let asked = round(&app, &errand, |app| {
            let pulse = app.opened.folder.pulse();
            for felt in pulse.iter().filter(|felt| felt.fault.is_some()) {
                tracing::warn!(server = felt.title, why = felt.fault, "a server is no use now");
            }
            *app.servers.lock() = pulse;
            Ok::<_, OpError>(())
        });
        if let Err(error) = asked.await {
            tracing::error!(%error, "the servers could not be asked");
        }
        tokio::select! {
            () = shutdown.asked() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
