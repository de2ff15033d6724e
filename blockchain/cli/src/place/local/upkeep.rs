//! Keeping a folder well.

use anyhow::Context as _;
use lucid_api::v1::maintenance::{CollectGarbage, GarbageCollected, JobKind, Optimised, Progress};
use lucid_api::v1::scrub::Scrub;
use lucid_data_chain::anchoring::AnchorEngine;
use lucid_data_chain::ops::upkeep::collect_garbage::{
    GarbageRequest, GarbageStage, collect_garbage,
};
use lucid_data_chain::ops::upkeep::optimise::optimise;
use lucid_data_chain::ops::upkeep::scrub_store::{
    begin_round, note_scrub, scrub_state, scrub_stretch,
};
use lucid_data_chain::ops::upkeep::snapshot_log::{WORTH_COMMITS, snapshot_log};
use lucid_data_chain::{Opened, reply};

use super::Local;
use super::anchoring::Embedded;
use crate::place::KeepStore;

/// Why no session is removed by its age where the chain cannot be opened.
pub(super) const AGES: &str =
    "sessions have the age that the chain gives them, and that cannot be opened";
/// Bytes that are read again at a time.
const SCRUB_STRETCH: u64 = 4 << 20;
/// How often it is noted how far that has come.
const SCRUB_NOTED: std::time::Duration = std::time::Duration::from_secs(30);

impl KeepStore for Local {
    fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<GarbageCollected> {
        let Opened { vault, locks, key, .. } = &*self.data;
        let request = GarbageRequest {
            keep_days: wanted.keep_days.unwrap_or(0),
            keep_log_days: 0,
            dry_run: wanted.dry_run,
            confirm: wanted.confirm,
        };
        // Only ages are asked of the chain.
        let chain = (request.keep_days > 0 && !request.dry_run)
            .then(|| self.chain(true))
            .transpose()
            .context(AGES)?;
        let engine = chain.as_ref().map(|chain| Embedded { chain, clock: &self.clock });
        let engine = engine.as_ref().map(|engine| engine as &dyn AnchorEngine);
        let mut watch = |stage: GarbageStage, done, total| {
            progress(stage.as_str(), done, total);
            true
        };
        let garbage =
            collect_garbage(vault, locks, key, self.clock.now(), engine, &request, &mut watch)?;
        if let Some(chain) = chain {
            chain.close()?;
        }
        if !wanted.dry_run {
            snapshot_log(&self.data, WORTH_COMMITS, &mut |done, total| {
                progress("making a snapshot", done, total);
                true
            })?;
        }
        Ok(reply::garbage(&garbage, wanted.dry_run))
    }

    fn optimise(
        &self,
        level: u8,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<Optimised> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let collected = optimise(&self.data.vault, level, threads, true, &mut |done, total| {
            progress("rewriting", done, total);
            true
        })?;
        Ok(reply::optimised(&collected, level))
    }

    fn scrub(&self) -> anyhow::Result<Scrub> {
        let vault = &self.data.vault;
        // Nobody else has the folder, so nobody reads at this moment.
        let progress = Progress::idle(JobKind::Scrub);
        Ok(reply::scrub(vault, &scrub_state(vault)?, progress)?)
    }

    fn scrub_now(&self, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Scrub> {
        let vault = &self.data.vault;
        let mut state = scrub_state(vault)?;
        begin_round(&mut state, self.clock.now());
        let total = vault.scrub_bytes()?;
        let mut noted = std::time::Instant::now();
        while scrub_stretch(vault, &mut state, self.clock.now(), 100, SCRUB_STRETCH)? {
            progress("scrubbing", state.bytes, total);
            // What comes after a kill goes on from here.
            if noted.elapsed() >= SCRUB_NOTED {
                note_scrub(vault, &state)?;
                noted = std::time::Instant::now();
            }
        }
        note_scrub(vault, &state)?;
        self.scrub()
    }
}
