//! Room that is taken before others can take it.
//!
//! The [reserve](crate::files::room) keeps our own writing from filling a disk, and nobody else's. A removal writes a
//! little to the log and to the index, so a file in `run/` holds that much room, and is let go where a disk has none
//! left. It has no length: who copies the folder copies nothing.

use crate::StoreError;
use crate::files::disk::{Disk, join};
use crate::files::folder::RUN;

/// The file.
const BALLAST: &str = "ballast";
/// How much room it holds: the log and the index of many removals.
pub(crate) const BALLAST_BYTES: u64 = 8 << 20;

/// Lets the ballast go where there is hardly any room beside it, and takes it where there is plenty. It is a help, and
/// no promise: a file system that cannot hold room for a file goes without.
pub(crate) fn settle(disk: &dyn Disk) {
    let path = join(RUN, BALLAST);
    let settled = disk.space(RUN).and_then(|space| {
        if space.free < BALLAST_BYTES {
            if disk.list(RUN)?.iter().all(|name| name != BALLAST) {
                return Ok(());
            }
            tracing::warn!(free = space.free, "the disk is full: {path} is let go");
            disk.unlink(&path)
        } else if space.above(2 * BALLAST_BYTES).is_some() {
            disk.set_aside(&path, BALLAST_BYTES)
        } else {
            Ok(())
        }
    });
    if let Err(error) = settled.map_err(StoreError::io("setting room aside")) {
        tracing::debug!(%error, "no room is set aside");
    }
}
