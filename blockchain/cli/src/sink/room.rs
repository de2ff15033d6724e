//! How much may wait to be sent, and whether the disk takes more: what there is no room for is not read.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::output::Output;
use crate::text;

/// A connection that waits for room asks again this often; others make room on a disk without a word.
const ASK: Duration = Duration::from_millis(250);
/// Between two looks whether it has been well for long enough to say so.
pub const LOOK: Duration = Duration::from_millis(500);
/// Nobody was kept waiting for so long: then it is well again, and said so. Sooner, it could be said in turns.
const WELL_AFTER: Duration = Duration::from_secs(3);

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// As much as may wait does.
    Limit,
    /// The disk of the spool takes nothing.
    Disk,
}

/// The room for what waits.
#[derive(Debug)]
pub struct Room {
    limit: u64,
    waiting: AtomicU64,
    freed: Notify,
    /// What is lacking, and when a connection was last kept waiting for it.
    lacks: Mutex<BTreeMap<Lack, Instant>>,
    output: Output,
}

impl Room {
    /// Room for so many bytes, of which some wait already.
    pub fn new(limit: u64, waiting: u64, output: &Output) -> Self {
        let output = output.clone();
        let (freed, lacks) = (Notify::new(), Mutex::default());
        Self { limit, waiting: AtomicU64::new(waiting), freed, lacks, output }
    }

    /// Sets so many bytes aside, or says that there is no room for them. At least one connection may always go on
    /// where nothing waits.
    pub fn reserve(&self, bytes: u64) -> bool {
        let more = |waiting: u64| {
            let then = waiting.saturating_add(bytes);
            (then <= self.limit || waiting == 0).then_some(then)
        };
        let reserved =
            self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !reserved {
            self.note(Lack::Limit, || {
                format!("{} wait to be sent, as many as may", text::size(self.limit))
            });
        }
        reserved
    }

    /// Gives back what was set aside and not used, or was sent.
    pub fn give_back(&self, bytes: u64) {
        let less = |waiting: u64| Some(waiting.saturating_sub(bytes));
        // It always succeeds.
        let _before = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if bytes > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Notes that the disk of the spool took nothing.
    pub fn disk_is_full(&self, error: &io::Error) {
        self.note(Lack::Disk, || format!("nothing can be written to it: {error}"));
    }

    fn note(&self, lack: Lack, why: impl FnOnce() -> String) {
        if self.lacks.lock().insert(lack, Instant::now()).is_none() {
            self.output.warn(&format!(
                "the spool has no room, {}; nothing more is read, connections wait, and it goes on by itself",
                why()
            ));
        }
    }

    /// Whether a connection was kept waiting a moment ago.
    pub fn is_short(&self) -> bool {
        !self.lacks.lock().is_empty()
    }

    /// Waits until there may be room.
    pub async fn freed(&self) {
        tokio::select! {
            () = self.freed.notified() => {}
            () = tokio::time::sleep(ASK) => {}
        }
    }

    /// Says that there is room again, once nobody has waited for a while.
    pub fn look(&self) {
        let mut lacks = self.lacks.lock();
        let lacked = !lacks.is_empty();
        lacks.retain(|_, last| last.elapsed() < WELL_AFTER);
        if lacked && lacks.is_empty() {
            self.output.warn("the spool has room again; connections are read");
        }
    }
}

/// Whether a write failed because there is no room, which others may make.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputMode;

    #[test]
    fn no_more_is_set_aside_than_may_wait_but_for_the_first() {
        let room = Room::new(100, 0, &Output::new(OutputMode::default()));
        assert!(room.reserve(200), "a limit stops nobody for ever");
        assert!(!room.reserve(1) && room.is_short());
        room.give_back(150);
        assert!(room.reserve(50) && !room.reserve(1));
        room.give_back(1_000);
        assert!(room.reserve(100) && !room.reserve(1));
    }
}
