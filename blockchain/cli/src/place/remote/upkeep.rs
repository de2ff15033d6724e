//! Having a server keep its store well.

use lucid_api::v1::maintenance::{
    CollectGarbage, GarbageCollected, Optimise, Optimised, ProgressState,
};
use lucid_api::v1::scrub::Scrub;

use super::Remote;
use super::{PROGRESS_INTERVAL, watched};
use crate::place::KeepStore;

impl KeepStore for Remote {
    fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<GarbageCollected> {
        let ask = || Ok(self.client.collect_garbage(wanted)?);
        watched(ask, || self.client.gc_progress(), progress)
    }

    fn optimise(
        &self,
        level: u8,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<Optimised> {
        let ask = || Ok(self.client.optimise(&Optimise { level: Some(level) })?);
        watched(ask, || self.client.optimise_progress(), progress)
    }

    fn scrub(&self) -> anyhow::Result<Scrub> {
        Ok(self.client.scrub()?)
    }

    fn scrub_now(&self, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Scrub> {
        let before = self.client.begin_scrub()?;
        // A round that goes on already is the one that is waited for.
        let wanted = if before.complete { before.round + 1 } else { before.round };
        loop {
            let now = self.client.scrub()?;
            if now.round > wanted || (now.round == wanted && now.complete) {
                return Ok(now);
            }
            let at = &now.progress;
            match (&at.error, at.state) {
                (Some(why), ProgressState::Failed) => anyhow::bail!("scrubbing failed: {why}"),
                _ => progress("scrubbing", at.done, at.total),
            }
            std::thread::sleep(PROGRESS_INTERVAL);
        }
    }
}
