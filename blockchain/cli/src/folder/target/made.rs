//! Knows which names in a target were made by this very restore.
//!
//! Asked before something is replaced (never what was just made), and before a hard link is
//! made (only to what was made). Invariant: memory is eight bytes a name, and none at all when
//! the target was empty, because then everything in it is ours.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use parking_lot::Mutex;

/// The names made so far.
pub(super) enum Made {
    /// Nothing was there before.
    Everything,
    /// Others were; the hash cannot be steered from outside.
    These(Mutex<HashSet<u64>>, RandomState),
}

impl Made {
    pub(super) fn in_target(fresh: bool) -> Self {
        if fresh { Self::Everything } else { Self::These(Mutex::default(), RandomState::new()) }
    }

    pub(super) fn note(&self, path: &[u8]) {
        if let Self::These(names, hashes) = self {
            names.lock().insert(hashes.hash_one(path));
        }
    }

    pub(super) fn contains(&self, path: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::These(names, hashes) => names.lock().contains(&hashes.hash_one(path)),
        }
    }
}
