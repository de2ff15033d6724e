//! Bringing anchors and tombstones to the engine.
//!
//! A seal or a removal wakes the delivery; otherwise it looks every few seconds, also while the engine is down: how
//! often that is really asked then is up to what calls it ([`crate::integrations`]). It calls the same op as the
//! command line does, and keeps what the last round found for health, status and the anchor routes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_api::v1::anchors::{AnchorState, AnchorStatus};
use lucid_core::session::SessionId;
use lucid_http::errand::Errand;
use lucid_http::serve::Shutdown;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::round;
use crate::anchoring::{AnchorEngine, EngineError};
use crate::app::App;
use crate::figures;
use crate::opened::Opened;
use crate::ops::OpError;
use crate::ops::proofs::deliver_anchors::{Delivered, deliver_anchors};
use crate::ops::proofs::deliver_elsewhere::deliver_elsewhere;

/// Between rounds while something waits for its block.
const WHILE_WAITING: Duration = Duration::from_secs(2);
/// Between rounds while nothing does.
const WHILE_QUIET: Duration = Duration::from_secs(5);
/// Sessions whose state is kept from the last round.
const NOTED_MAX: usize = 10_000;
/// Why nothing is anchored without an engine.
pub const DISABLED: &str =
    "anchoring is disabled: set BLOCK_MANAGER_URL to the address of a block-manager";

/// The delivery of anchors, as the rest of the service sees it.
#[derive(Default)]
pub struct Anchoring {
    engine: Option<Arc<dyn AnchorEngine>>,
    wake: Notify,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Why the engine did not answer, keeps another chain, or the store did not keep what it said.
    down: Option<String>,
    /// The engine keeps no chain of ours.
    foreign: bool,
    sessions: BTreeMap<SessionId, (AnchorStatus, Option<String>)>,
}

impl Anchoring {
    /// Anchors in this engine, if there is one.
    pub fn new(engine: Option<Arc<dyn AnchorEngine>>) -> Self {
        Self { engine, ..Self::default() }
    }

    /// Whether there is nobody to anchor in, because nobody is named.
    pub fn is_disabled(&self) -> bool {
        self.engine.is_none()
    }

    /// What anchors sessions, and tells what time it is in the chain.
    pub fn engine(&self) -> Option<Arc<dyn AnchorEngine>> {
        self.engine.clone()
    }

    /// Says that an anchor waits.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Why anchors are not brought away, if so.
    pub fn fault(&self) -> Option<String> {
        match self.engine {
            None => Some(DISABLED.to_owned()),
            Some(_) => self.noted.lock().down.clone(),
        }
    }

    /// Whether the engine was last found to keep no chain of ours.
    pub fn is_foreign(&self) -> bool {
        self.noted.lock().foreign
    }

    /// Adds what the last round found to an anchor that is not in a block yet.
    pub fn annotate(&self, session: &SessionId, state: &mut AnchorState) {
        if state.status != AnchorStatus::Pending {
            return;
        }
        let noted = self.noted.lock().sessions.get(session).cloned();
        if let Some((status, reason)) = noted {
            (state.status, state.reason) = (status, reason);
        }
        if state.status == AnchorStatus::Pending && state.reason.is_none() {
            state.reason = self.fault();
        }
    }

    /// Whether the round before found the same.
    fn is_noted(&self, session: &SessionId, error: &EngineError) -> bool {
        let noted = self.noted.lock();
        let reason = noted.sessions.get(session).and_then(|(_, reason)| reason.as_deref());
        reason == Some(error.to_string().as_str())
    }

    fn note(&self, delivered: &Delivered) {
        let mut noted = Noted { foreign: self.is_foreign(), ..Noted::default() };
        for (session, error) in &delivered.failed {
            let status = match error {
                // In a block that cannot be read now, or here: the others go on.
                EngineError::Damaged(_) => AnchorStatus::Pending,
                EngineError::Unavailable(_)
                | EngineError::OtherChain(_)
                | EngineError::Elsewhere(_) => {
                    noted.down = Some(error.to_string());
                    AnchorStatus::Pending
                }
                EngineError::Refused(_) | EngineError::RefusedElsewhere(_) => AnchorStatus::Failed,
            };
            noted.sessions.insert(session.clone(), (status, Some(error.to_string())));
        }
        for session in delivered.waiting.iter().take(NOTED_MAX) {
            noted.sessions.insert(session.clone(), (AnchorStatus::Processing, None));
        }
        *self.noted.lock() = noted;
    }
}

/// Delivers anchors until the shutdown is asked for.
pub async fn deliver(app: Arc<App>, shutdown: Shutdown) {
    let anchoring = &app.anchoring;
    let Some(engine) = anchoring.engine.clone() else {
        tracing::warn!("{DISABLED}");
        return;
    };
    while !shutdown.is_asked() {
        let engine = engine.clone();
        let errand = Errand::of("anchors");
        let outcome = round(&app, &errand, move |app| {
            let Opened { vault, key, .. } = &*app.opened;
            let began = Instant::now();
            let own = key.public();
            let foreign = match engine.foreign() {
                Ok(foreign) => foreign,
                Err(error) => return Ok((Delivered::default(), Some(error))),
            };
            app.anchoring.noted.lock().foreign = foreign.is_some();
            let delivered = match foreign {
                None => deliver_anchors(vault, &own, engine.as_ref())?,
                Some(foreign) => deliver_elsewhere(vault, &own, foreign)?,
            };
            if !delivered.is_empty() {
                figures::STAGES.took("deliver", began.elapsed());
                figures::note_proofs(&delivered.sealed_at, app.clock.now());
            }
            // Where nothing had to be brought to it, it is asked whether it is there.
            let silent = match delivered.is_empty() && foreign.is_none() {
                true => engine.genesis().err(),
                false => None,
            };
            Ok((delivered, silent))
        })
        .await;
        let was_down = anchoring.fault().is_some();
        let wait = errand.run(|| settle(anchoring, outcome));
        app.settled.notify_waiters();
        let is_down = anchoring.fault().is_some();
        let woken = async {
            match is_down {
                // Every seal would knock at a door that does not open.
                true => std::future::pending().await,
                false => anchoring.wake.notified().await,
            }
        };
        if was_down && !is_down {
            tracing::info!("what anchors sessions answers again");
        }
        tokio::select! {
            () = shutdown.asked() => return,
            () = woken => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Notes what a round found, and says how long to wait for the next.
fn settle(
    anchoring: &Anchoring,
    outcome: Result<(Delivered, Option<EngineError>), OpError>,
) -> Duration {
    let was_down = anchoring.fault().is_some();
    match outcome {
        Ok((delivered, silent)) => {
            metrics::counter!("lucid_data_anchors_delivered_total")
                .increment(delivered.anchored.len() as u64);
            for session in &delivered.anchored {
                tracing::info!(session.id = %session, "a session is anchored");
            }
            for session in &delivered.elsewhere {
                tracing::info!(session.id = %session, "a session is anchored elsewhere, by the engine's word");
            }
            for (session, error) in &delivered.failed {
                // What stays as it was is said once.
                if !anchoring.is_noted(session, error) && (!was_down || error.is_of_one()) {
                    tracing::warn!(session.id = %session, %error, "an anchor is not delivered");
                }
            }
            anchoring.note(&delivered);
            if let Some(error) = silent {
                if !was_down {
                    tracing::warn!(%error, "what anchors sessions does not answer");
                }
                anchoring.noted.lock().down = Some(error.to_string());
                return WHILE_QUIET;
            }
            match (anchoring.fault().is_some(), delivered.waiting.is_empty()) {
                (true, _) | (false, false) => WHILE_WAITING,
                (false, true) => WHILE_QUIET,
            }
        }
        Err(error) => {
            if !was_down {
                tracing::error!(%error, "anchors cannot be delivered");
            }
            anchoring.noted.lock().down = Some(error.to_string());
            WHILE_QUIET
        }
    }
}
