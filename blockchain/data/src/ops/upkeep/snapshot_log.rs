//! Makes a snapshot of a log that copies share, from which a copy without an index starts, and empties the commits
//! behind the snapshot before it. Does nothing for a store in files, whose log is condensed when it is collected.

use std::sync::Arc;

use lucid_store::contract::index::Index;
use lucid_store::vault::Vault;
use lucid_store::vault::snapshot::{Snapped, Snapshotting};

use crate::Opened;
use crate::ops::OpError;
use crate::ops::upkeep::weigh_facts::matters_by;
use crate::row::orders::sessions_in_order_key;

/// A snapshot is worth its work, which is to read all that matters twice, when so many commits are behind the one
/// before.
pub const WORTH_COMMITS: u64 = 1_000;

/// Makes one, unless fewer commits than `least` are behind the one before. `watch` is told how many commits of how many
/// are done, and stops the work by `false`.
pub fn snapshot_log(
    opened: &Opened,
    least: u64,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Snapped, OpError> {
    let Opened { vault, folder, .. } = opened;
    if !vault.keeps_snapshots() {
        return Ok(Snapped::default());
    }
    folder.with_trial_index(|scratch| snapshot_in(vault, scratch, least, watch))?
}

/// The same, tried in an index that has followed nothing, and is of no use afterwards.
pub fn snapshot_in(
    vault: &Vault,
    scratch: Arc<dyn Index>,
    least: u64,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Snapped, OpError> {
    // How this index keeps orders is as it was made, and not in the log.
    let how = sessions_in_order_key();
    if let Some(kept) = vault.index().get(&how)? {
        scratch.write(vec![(how, Some(kept))])?;
    }
    let matters = |index: &dyn Index, fact: &[u8]| matters_by(index, vault.cipher(), fact);
    Ok(vault.snapshot(Snapshotting { matters: &matters, scratch, least, step: watch })?)
}
