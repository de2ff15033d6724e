//! Feels the pulse of the servers that have what is not in the folder, so that health need not wait for them.

use std::sync::Arc;
use std::time::Duration;

use lucid_http::errand::Errand;
use lucid_http::health::HealthReport;
use lucid_http::serve::Shutdown;
use lucid_store::backend::Pulse;
use serde_json::{Value, json};

use super::round;
use crate::app::App;
use crate::ops::OpError;

impl App {
    /// What of the store is kept where, and by what people know that.
    pub fn kept(&self) -> Value {
        let folder = &self.opened.folder;
        let (log, chunks) = (folder.kept.log.word(), folder.kept.chunks.word());
        json!({ "log": log, "chunks": chunks, "at": folder.elsewhere() })
    }

    /// How these servers were when they were last asked.
    pub(crate) fn report_servers(&self, mut report: HealthReport) -> HealthReport {
        for Pulse { keeper, title, fault } in self.servers.lock().iter() {
            report = report.needed(keeper.word(), fault.is_none());
            report = report.detail(fault.clone().unwrap_or_else(|| title.clone()));
        }
        report
    }
}

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
