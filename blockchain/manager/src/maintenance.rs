//! What is known of the upkeep of the chain: whether it runs, how it ended, and when.
//!
//! The worker and the route begin a [`Cycle`] here, so only one runs at a time; health and the chain's
//! state read what is kept.

use std::time::{Duration, Instant};

use lucid_core::time::Timestamp;
use parking_lot::Mutex;

use crate::ops::check_integrity::Invalid;
use crate::ops::maintain_chain::{Upkeep, UpkeepError};

/// Cycles may be so many intervals apart before the loop counts as dead.
const INTERVALS_MAX: u32 = 3;
/// A cycle of a short interval may itself take so long.
const GRACE: Duration = Duration::from_secs(30);

/// A cycle that ended well.
#[derive(Debug, Clone)]
pub struct CycleReport {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it did.
    pub upkeep: Upkeep,
}

struct MaintenanceState {
    is_running: bool,
    last: Option<CycleReport>,
    /// Blocks that break a rule, as far as is known.
    suspects: Vec<Invalid>,
    /// Why the last one failed, and how many did in a row.
    failure: Option<String>,
    failures: u32,
    /// When the last one ended, or the loop began.
    ended: Instant,
    /// Until when the next one is expected.
    wait: Duration,
}

/// The upkeep of one chain.
pub struct Maintenance {
    kept: Mutex<MaintenanceState>,
}

impl Default for Maintenance {
    fn default() -> Self {
        let kept = MaintenanceState {
            is_running: false,
            last: None,
            suspects: Vec::new(),
            failure: None,
            failures: 0,
            ended: Instant::now(),
            wait: Duration::MAX,
        };
        Self { kept: Mutex::new(kept) }
    }
}

/// A cycle that runs. Dropping it without an end counts as a failure.
pub struct Cycle<'a> {
    of: &'a Maintenance,
    began: Instant,
    started_at: Timestamp,
    has_ended: bool,
}

impl Maintenance {
    /// Begins a cycle, unless one runs.
    pub fn begin(&self, now: Timestamp) -> Option<Cycle<'_>> {
        let mut kept = self.kept.lock();
        if kept.is_running {
            return None;
        }
        kept.is_running = true;
        Some(Cycle { of: self, began: Instant::now(), started_at: now, has_ended: false })
    }

    /// Whether a cycle runs.
    pub fn is_running(&self) -> bool {
        self.kept.lock().is_running
    }

    /// The last cycle that ended well.
    pub fn last(&self) -> Option<CycleReport> {
        self.kept.lock().last.clone()
    }

    /// What is known of before the first cycle.
    pub fn remember(&self, suspects: Vec<Invalid>) {
        self.kept.lock().suspects = suspects;
    }

    /// Blocks that break a rule, as far as is known.
    pub fn suspects(&self) -> Vec<Invalid> {
        self.kept.lock().suspects.clone()
    }

    /// How many cycles failed in a row.
    pub fn failures(&self) -> u32 {
        self.kept.lock().failures
    }

    /// The loop says how long it will wait at most before the next cycle.
    pub fn expect_within(&self, wait: Duration) {
        let mut kept = self.kept.lock();
        kept.wait = wait;
    }

    /// Why upkeep does not work, if so.
    pub fn fault(&self) -> Option<String> {
        let ended = self.kept.lock().ended;
        self.fault_after(ended.elapsed())
    }

    /// Why upkeep does not work, if so, given that the last cycle ended so long ago.
    fn fault_after(&self, since: Duration) -> Option<String> {
        let kept = self.kept.lock();
        let late = kept.wait.saturating_mul(INTERVALS_MAX).saturating_add(GRACE);
        if !kept.is_running && since > late {
            return Some(format!("the chain was last looked after {} s ago", since.as_secs()));
        }
        kept.failure.as_ref().map(|why| format!("the chain could not be looked after: {why}"))
    }
}

impl Cycle<'_> {
    /// Keeps how it ended, and hands the report back.
    pub fn end(
        mut self,
        now: Timestamp,
        outcome: Result<Upkeep, UpkeepError>,
    ) -> Result<CycleReport, UpkeepError> {
        self.has_ended = true;
        let mut kept = self.of.kept.lock();
        kept.is_running = false;
        kept.ended = Instant::now();
        match outcome {
            Ok(upkeep) => {
                let (started_at, took) = (self.started_at, self.began.elapsed());
                let report = CycleReport { started_at, ended_at: now, took, upkeep };
                kept.suspects.clone_from(&report.upkeep.suspects);
                kept.last = Some(report.clone());
                kept.failure = None;
                kept.failures = 0;
                Ok(report)
            }
            Err(error) => {
                kept.failure = Some(error.to_string());
                kept.failures = kept.failures.saturating_add(1);
                Err(error)
            }
        }
    }
}

impl Drop for Cycle<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut kept = self.of.kept.lock();
        kept.is_running = false;
        kept.failure = Some("it ended in a mistake of ours; the log has it".to_owned());
        kept.failures = kept.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use lucid_store::CommitError;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(0);

    #[test]
    fn one_cycle_runs_at_a_time_and_one_that_breaks_off_is_a_failure() {
        let maintenance = Maintenance::default();
        assert!(!maintenance.is_running() && maintenance.fault().is_none());
        let cycle = maintenance.begin(NOW).unwrap();
        assert!(maintenance.begin(NOW).is_none() && maintenance.is_running());
        drop(cycle);
        assert!(maintenance.fault().unwrap().contains("mistake of ours"));
        let cycle = maintenance.begin(NOW).unwrap();
        let failed = CommitError::Failed("the disk is gone".into());
        assert!(cycle.end(NOW, Err(failed.into())).is_err());
        assert!(maintenance.fault().unwrap().contains("the disk is gone"));
        assert_eq!((maintenance.failures(), maintenance.last().is_none()), (2, true));
    }

    #[test]
    fn a_loop_that_does_not_come_back_is_noticed() {
        let maintenance = Maintenance::default();
        let hour = Duration::from_secs(3_600);
        // Nobody has said yet how long it may take.
        assert_eq!(maintenance.fault_after(hour), None);
        maintenance.expect_within(Duration::from_secs(60));
        assert_eq!(maintenance.fault_after(Duration::from_secs(200)), None);
        assert!(maintenance.fault_after(hour).unwrap().contains("3600 s ago"));
        let _runs = maintenance.begin(NOW).unwrap();
        assert_eq!(maintenance.fault_after(hour), None);
    }
}
