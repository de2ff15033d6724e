//! What a place promises to who keeps it well: collecting, packing, and reading again.

use lucid_api::v1::maintenance::{CollectGarbage, GarbageCollected, Optimised};
use lucid_api::v1::scrub::Scrub;

/// Keeps a store well. Every `progress` is told the stage, and how many bytes of how many are done in it.
pub trait KeepStore: Sync {
    /// Collects garbage.
    fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<GarbageCollected>;

    /// Packs what is stored more tightly.
    fn optimise(
        &self,
        level: u8,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<Optimised>;

    /// How far reading stored bytes again has come, and what was found.
    fn scrub(&self) -> anyhow::Result<Scrub>;

    /// Reads stored bytes again, to the end.
    fn scrub_now(&self, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Scrub>;
}
