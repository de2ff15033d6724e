//! Counts what a restore did, and keeps what went wrong.
//!
//! Filled by the target from all threads; its report goes to the verb. Invariant: memory is
//! bounded, however much goes wrong.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::TargetError;

/// How many of each kind of trouble are kept word for word.
const KEPT: usize = 1000;

/// What became of an entry that is as it should be now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was made.
    Restored,
    /// It was there already.
    Identical,
}

/// Who is told of each entry; from any thread.
pub type Told = Box<dyn Fn(&[u8], Became) + Send + Sync>;

/// What a restore did.
#[derive(Debug, Default)]
pub struct RestoreReport {
    /// What stands in the target now.
    pub restored: RestoredCounts,
    /// What was found not to go only later: links, files that stayed incomplete, syncing.
    pub refused: Few<TargetError>,
    /// What stands there, but not quite as it was.
    pub warnings: Few<Warning>,
    /// Unfinished files that a killed process had left, and that were removed.
    pub swept: u64,
}

/// Counts of what was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoredCounts {
    /// Folders, without those that no entry described.
    pub folders: u64,
    /// Files.
    pub files: u64,
    /// Symbolic and hard links.
    pub links: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Files and links that were there already, as they should be.
    pub identical: u64,
    /// Those of them that were taken for the same by their length and time alone.
    pub unread: u64,
}

/// Something that could not be kept of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The entry.
    pub path: Vec<u8>,
    /// What, and why, in a few words.
    pub what: String,
}

/// The first of many, and how many more there were.
#[derive(Debug)]
pub struct Few<T> {
    /// The first.
    pub first: Vec<T>,
    /// How many came after them.
    pub more: u64,
}

impl<T> Few<T> {
    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.first.len() as u64 + self.more
    }

    fn push(&mut self, item: T) {
        if self.first.len() < KEPT {
            self.first.push(item);
        } else {
            self.more += 1;
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: Vec::new(), more: 0 }
    }
}

/// A report in the making.
#[derive(Default)]
pub(super) struct Tally {
    folders: AtomicU64,
    files: AtomicU64,
    links: AtomicU64,
    bytes: AtomicU64,
    identical: AtomicU64,
    unread: AtomicU64,
    refused: Mutex<Few<TargetError>>,
    warnings: Mutex<Few<Warning>>,
    told: OnceLock<Told>,
}

impl Tally {
    pub(super) fn tell_each(&self, told: Told) {
        let _told_already = self.told.set(told);
    }

    fn tell(&self, path: &[u8], became: Became) {
        if let Some(told) = self.told.get() {
            told(path, became);
        }
    }

    pub(super) fn folder(&self, path: &[u8], is_new: bool) {
        self.tell(path, if is_new { Became::Restored } else { Became::Identical });
        self.folders.fetch_add(1, Relaxed);
    }

    pub(super) fn file(&self, path: &[u8], bytes: u64) {
        self.tell(path, Became::Restored);
        self.files.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn link(&self, path: &[u8]) {
        self.tell(path, Became::Restored);
        self.links.fetch_add(1, Relaxed);
    }

    /// Something stands there as it should; `unread`: by its length and time.
    pub(super) fn identical(&self, path: &[u8], unread: bool) {
        self.tell(path, Became::Identical);
        self.identical.fetch_add(1, Relaxed);
        self.unread.fetch_add(u64::from(unread), Relaxed);
    }

    pub(super) fn refuse(&self, error: TargetError) {
        self.refused.lock().push(error);
    }

    pub(super) fn warn(&self, path: &[u8], what: String) {
        let path = path.to_vec();
        self.warnings.lock().push(Warning { path, what });
    }

    pub(super) fn report(&self, swept: u64) -> RestoreReport {
        RestoreReport {
            restored: RestoredCounts {
                folders: self.folders.load(Relaxed),
                files: self.files.load(Relaxed),
                links: self.links.load(Relaxed),
                bytes: self.bytes.load(Relaxed),
                identical: self.identical.load(Relaxed),
                unread: self.unread.load(Relaxed),
            },
            refused: std::mem::take(&mut *self.refused.lock()),
            warnings: std::mem::take(&mut *self.warnings.lock()),
            swept,
        }
    }
}
