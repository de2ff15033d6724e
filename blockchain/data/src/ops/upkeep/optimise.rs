//! Packs what is stored more tightly. Nothing else about it changes: no id, no root, no proof.

use lucid_store::vault::Vault;
use lucid_store::vault::collect::Collected;

use crate::ops::{Clash, OpError};

/// The levels that there are.
pub const LEVELS: std::ops::RangeInclusive<u8> = 1..=19;

/// Rewrites every segment that was not packed at this zstd level yet; the one that is being written to
/// is ended first, if `all` is to be packed. `watch` is told how many bytes of how many are done, and
/// stops the work in order by `false`. Neither two of these nor one beside a collection run at a time.
pub fn optimise(
    vault: &Vault,
    level: u8,
    threads: usize,
    all: bool,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Collected, OpError> {
    if !LEVELS.contains(&level) {
        return Err(OpError::Invalid(format!("there is no zstd level {level}; 1 to 19 are")));
    }
    let collection = vault.begin_collection().ok_or_else(|| {
        OpError::Conflict(
            Clash::Running,
            "segments are being rewritten already: wait until that has ended".into(),
        )
    })?;
    Ok(collection.repack(level, threads, all, &mut |done, total| watch(done, total))?)
}
