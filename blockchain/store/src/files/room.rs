//! Room on a disk, and how much of it stays free.
//!
//! What gives room back has to write first: a removal is a fact, a collection makes segments anew before it
//! removes the old ones. So what brings bytes in is refused while some room is still left, the reserve, and all
//! that looks after a store goes on.
//!
//! Asking the system costs a call, so it is asked again only when a moment has passed, or when half of the room
//! that was found above the reserve has been written: the nearer the reserve, the more often.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::CommitError;
use crate::files::disk::Disk;
use crate::files::disk::real::RealDisk;
use crate::files::folder::ballast;

/// The usual reserve: several segments, which are made anew one at a time, and the log and the index beside them.
const USUAL_BYTES: u64 = 1 << 30;
/// On a disk so small that this would be much of it, the reserve is one part in so many.
const SMALL_PART: u64 = 16;

/// For so long a look at the disk counts: other programs write to it, too.
const LOOK_COUNTS: Duration = Duration::from_secs(1);

/// How much room stays free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reserve {
    /// 1 GiB, and no more than a sixteenth of the disk.
    #[default]
    Usual,
    /// So many bytes; none means that everything may be filled.
    Bytes(u64),
}

impl Reserve {
    /// In bytes, on a disk of this size.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Usual => USUAL_BYTES.min(total / SMALL_PART),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// How much room there is on the disk that a folder is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write there.
    pub free: u64,
    /// How many of them stay free.
    pub reserve: u64,
}

impl Space {
    /// On a disk that has no end.
    pub const ENDLESS: Self = Self { free: u64::MAX, reserve: 0 };

    /// Where this folder of the operating system is.
    pub fn of(folder: &Path, reserve: Reserve) -> io::Result<Self> {
        RealDisk::new(folder).keeping(reserve).space("")
    }

    /// Bytes above the reserve; `None` where so many more would go below it.
    pub fn above(&self, more: u64) -> Option<u64> {
        self.free.checked_sub(self.reserve)?.checked_sub(more)
    }

    /// Why nothing more is brought in, in a sentence.
    pub fn shortage(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "{} MiB are free, and {} MiB stay free for what gives room back: remove something and collect \
             garbage, or give the disk more room",
            mib(self.free),
            mib(self.reserve),
        )
    }
}

/// The room for what is kept in one folder of a store.
pub(crate) struct Room {
    disk: Arc<dyn Disk>,
    folder: &'static str,
    seen: Mutex<Option<Seen>>,
}

/// What the last look at the disk found.
struct Seen {
    at: Instant,
    /// So many bytes may be written before it is looked at again.
    left: u64,
}

impl Room {
    /// Where this folder of the disk is.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &'static str) -> Self {
        Self { disk, folder, seen: Mutex::new(None) }
    }

    /// Refuses so many more bytes where they would go into the reserve. A disk that does not say how much room it
    /// has refuses nothing: the write will tell.
    pub(crate) fn ask(&self, more: u64) -> Result<(), CommitError> {
        let mut seen = self.seen.lock();
        if let Some(seen) = seen.as_mut()
            && seen.at.elapsed() < LOOK_COUNTS
            && let Some(left) = seen.left.checked_sub(more)
        {
            seen.left = left;
            return Ok(());
        }
        *seen = None;
        let space = match self.disk.space(self.folder) {
            Ok(space) => space,
            Err(error) => {
                tracing::debug!(%error, folder = self.folder, "the disk does not say how much room it has");
                return Ok(());
            }
        };
        let Some(above) = space.above(more) else {
            // What is refused now is not what gives room back: that follows, and is to find some.
            ballast::settle(self.disk.as_ref());
            return Err(CommitError::Full(space.shortage()));
        };
        *seen = Some(Seen { at: Instant::now(), left: above / 2 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::disk::simulated::SimulatedDisk;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_usual_reserve_is_never_much_of_the_disk() {
        for (total, reserve) in
            [(0, 0), (64 * MIB, 4 * MIB), (GIB, 64 * MIB), (16 * GIB, GIB), (10_000 * GIB, GIB)]
        {
            assert_eq!(Reserve::Usual.of(total), reserve, "{total}");
        }
        assert_eq!(Reserve::Bytes(7).of(GIB), 7);
    }

    #[test]
    fn what_would_go_into_the_reserve_is_refused_and_the_disk_is_seldom_asked() {
        let disk = SimulatedDisk::new();
        let room = Room::new(Arc::new(disk.clone()), "");
        room.ask(u64::MAX / 2).unwrap();
        disk.set_space(Some(1_000));
        disk.set_reserve(100);
        let fresh = || Room::new(Arc::new(disk.clone()), "");
        assert!(matches!(fresh().ask(901), Err(CommitError::Full(_))));
        let room = fresh();
        room.ask(900).unwrap();
        assert!(matches!(room.ask(901), Err(CommitError::Full(_))));
        // All that was found above the reserve is never given away on one look.
        let room = fresh();
        room.ask(0).unwrap();
        disk.set_space(Some(100));
        room.ask(450).unwrap();
        assert!(matches!(room.ask(1), Err(CommitError::Full(_))), "it is looked at again");
        disk.set_space(Some(101));
        room.ask(1).unwrap();
    }
}
