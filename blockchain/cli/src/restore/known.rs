//! What a session has, for what it does not have to be found in a target.
//!
//! Invariant: memory is eight bytes a path, and the paths of the folders.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use lucid_core::catalogue::{Entry, EntryKind};

/// The paths that were met.
pub(super) struct Known {
    names: Option<HashSet<u64>>,
    hashes: RandomState,
    folders: Vec<Vec<u8>>,
    is_whole: bool,
}

impl Known {
    /// Nothing was met yet; nothing is kept unless it is `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        let names = wanted.then(HashSet::new);
        Self { names, hashes: RandomState::new(), folders: Vec::new(), is_whole: true }
    }

    /// Something of the session was met.
    pub(super) fn note(&mut self, entry: &Entry) {
        let Some(names) = &mut self.names else { return };
        names.insert(self.hashes.hash_one(entry.path.as_slice()));
        if entry.kind == EntryKind::Folder {
            self.folders.push(entry.path.clone());
        }
    }

    /// Not everything could be met.
    pub(super) fn lacks(&mut self) {
        self.is_whole = false;
    }

    /// Whether everything was met.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the session has this path. Of another path it is said in one of 2^64 cases.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        let hash = self.hashes.hash_one(path);
        self.names.as_ref().is_none_or(|names| names.contains(&hash))
    }

    /// The folders that were met.
    pub(super) fn folders(&self) -> &[Vec<u8>] {
        &self.folders
    }
}
