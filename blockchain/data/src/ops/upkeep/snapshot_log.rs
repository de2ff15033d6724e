//! Makes a snapshot of a log that copies share, from which a copy without an index starts, and empties the commits
//! behind the snapshot before it. Does nothing for a store in files, whose log is condensed when it is collected.

use std::sync::Arc;

use lucid_store::contract::index::Index;
use lucid_store::vault::Vault;
use lucid_store::vault::snapshot::{Snapped, Snapshotting};

use crate::ops::OpError;
use crate::ops::upkeep::weigh_facts::matters_by;

/// Makes one. `scratch` is an index that has followed nothing, in which it is tried and which is of no use afterwards;
/// `watch` is told how many commits of how many are done, and stops the work by `false`.
pub fn snapshot_log(
    vault: &Vault,
    scratch: Arc<dyn Index>,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Snapped, OpError> {
    let matters = |index: &dyn Index, fact: &[u8]| matters_by(index, vault.cipher(), fact);
    Ok(vault.snapshot(Snapshotting { matters: &matters, scratch, step: watch })?)
}
