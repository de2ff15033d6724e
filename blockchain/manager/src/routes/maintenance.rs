//! Looking after the chain when a request asks for it.

use axum::Json;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chain::{BlockInvalid, IntegrityReport, Maintain, MaintenanceReport};
use lucid_http::extract::JsonOrNone;
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::maintenance::CycleReport;
use crate::problems;
use crate::workers::maintenance::maintain_now;

/// Runs one cycle of maintenance, and answers when that is done.
#[utoipa::path(post, path = paths::CHAIN_MAINTENANCE, tag = "chain", request_body = Option<Maintain>, responses(
    (status = 200, body = MaintenanceReport), (status = 409, description = "one runs already"),
))]
pub async fn maintain_chain(
    State(app): State<App>,
    JsonOrNone(wanted): JsonOrNone<Maintain>,
) -> Reply<Json<MaintenanceReport>> {
    let runner = app.clone();
    let ran = app.run(move |manager| Ok(maintain_now(&runner, manager, wanted.full))).await?;
    match ran {
        Some(Ok(done)) => Ok(Json(report(&done))),
        Some(Err(error)) => Err(problems::upkeep(error)),
        None => {
            let sentence = "maintenance runs already: `state` of the chain says when it is done";
            Err(Refusal::new(ErrorCode::Running, sentence))
        }
    }
}

/// A cycle on the wire.
pub(super) fn report(done: &CycleReport) -> MaintenanceReport {
    let (integrity, pruning) = (&done.upkeep.integrity, &done.upkeep.pruning);
    let invalid = integrity.invalid.iter();
    let spared = done.upkeep.spared.iter().cloned();
    MaintenanceReport {
        status: "completed".to_owned(),
        started_at: done.started_at.to_string(),
        duration_ms: u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
        integrity: IntegrityReport {
            checked: integrity.checked,
            from: integrity.from,
            to: integrity.next.checked_sub(1).filter(|_| integrity.checked > 0),
            missing: integrity.missing.clone(),
            invalid: invalid
                .map(|invalid| BlockInvalid { index: invalid.index, why: invalid.why.clone() })
                .collect(),
            damage: integrity.damage.iter().map(ToString::to_string).collect(),
            faults: integrity.faults,
        },
        removed: pruning.blocks,
        removed_bytes: pruning.bytes,
        spared: spared.chain(pruning.spared.iter().map(ToString::to_string)).collect(),
        height: done.upkeep.height,
    }
}
