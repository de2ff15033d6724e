//! Looks after the chain once in an interval, one cycle at a time.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::maintenance::CycleReport;
use crate::opened::Opened;
use crate::ops::maintain_chain::{CyclePlan, Upkeep, UpkeepError, maintain_chain};

/// The first wait after a cycle that failed, unless the interval is shorter; it doubles with each.
const RETRY: Duration = Duration::from_secs(30);
/// The longest wait after one that failed.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// An ordinary cycle looks through blocks for so long at most.
const CYCLE: Duration = Duration::from_secs(2);

/// Runs cycles until the shutdown is asked for.
pub async fn maintain_in_time(app: App, interval: Duration) {
    // The first one comes at once.
    let mut has_run = false;
    loop {
        let wait = match app.maintenance().failures() {
            0 if !has_run => Duration::ZERO,
            0 => interval,
            failures => {
                let doubled = RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8));
                doubled.min(RETRY_MAX).min(interval.max(RETRY))
            }
        };
        has_run = true;
        app.maintenance().expect_within(wait);
        tokio::select! {
            () = app.shutdown().asked() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let working = app.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let opened = working.opened()?;
            match maintain_now(&working, opened, false)? {
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "the chain could not be looked after"),
            }
            Some(())
        });
        if let Err(error) = ran.await {
            tracing::error!(%error, "looking after the chain panicked");
        }
    }
}

/// Runs one cycle, unless one runs already.
pub fn maintain_now(
    app: &App,
    opened: &Opened,
    full: bool,
) -> Option<Result<CycleReport, UpkeepError>> {
    let maintenance = app.maintenance();
    let last = maintenance.last().map(|last| last.upkeep);
    let cycle = maintenance.begin(opened.clock.now())?;
    let suspects = last.as_ref().map_or(&[][..], |last| &last.suspects);
    let cursor = last.as_ref().map(|last| last.cursor);
    let wanted = CyclePlan { full, cursor, keep: app.keep(), suspects };
    let began = Instant::now();
    let mut goes_on = |_: &_| !app.shutdown().is_asked() && (full || began.elapsed() < CYCLE);
    let chain = opened.chain.as_ref();
    let outcome = maintain_chain(&opened.vault, chain, opened.clock.now(), &wanted, &mut goes_on);
    if let Ok(upkeep) = &outcome {
        measure(upkeep);
    }
    metrics::histogram!("lucid_maintenance_seconds").record(began.elapsed().as_secs_f64());
    let result = if outcome.is_ok() { "completed" } else { "failed" };
    metrics::counter!("lucid_maintenance_cycles_total", "result" => result).increment(1);
    Some(cycle.end(opened.clock.now(), outcome))
}

/// What a cycle found, in numbers.
fn measure(upkeep: &Upkeep) {
    let faults = upkeep.integrity.faults.max(upkeep.suspects.len() as u64);
    metrics::gauge!("lucid_chain_faults").set(faults as f64);
    metrics::counter!("lucid_blocks_pruned_total").increment(upkeep.pruning.blocks);
    metrics::counter!("lucid_blocks_checked_total").increment(upkeep.integrity.checked);
}
