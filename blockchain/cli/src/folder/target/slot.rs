//! A file whose bytes come in pieces, in any order, from any thread.
//!
//! Made by [`Target::open_file`](super::Target::open_file). Invariants: nothing is written
//! outside the announced length; a file that is dropped before all its bytes came never gets its name.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{AcqRel, Acquire, Release},
    },
};

use super::{Inner, TargetError, content, folders::Missing};
use crate::folder::{Entry, draft::Draft, path::split};

/// A file that is being restored. Give every byte exactly once.
pub struct FileSlot {
    target: Arc<Inner>,
    draft: Draft,
    entry: Entry,
    left: AtomicU64,
    complete: AtomicBool,
}

impl FileSlot {
    pub(super) fn new(target: Arc<Inner>, draft: Draft, entry: Entry) -> Result<Self, TargetError> {
        let slot = Self {
            target,
            draft,
            left: AtomicU64::new(entry.length),
            entry,
            complete: AtomicBool::new(false),
        };
        if slot.entry.length == 0 {
            slot.finish()?;
        }
        Ok(slot)
    }

    /// Writes bytes at their place; the last ones give the file its mode and times.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let length = bytes.len() as u64;
        if length == 0 {
            return Ok(());
        }
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.entry.length) {
            return Err(self.wrong_length(end));
        }
        content::write(self.draft.file(), self.target.hollow(&self.entry), offset, bytes)
            .map_err(|error| TargetError::io(&self.entry.path, error))?;
        let before = self
            .left
            .fetch_update(AcqRel, Acquire, |left| left.checked_sub(length))
            // Some bytes came twice, so others may never come.
            .map_err(|_| self.wrong_length(None))?;
        if before == length {
            self.finish()?;
        }
        Ok(())
    }

    /// Whether all bytes came.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Acquire)
    }

    /// The entry being restored.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    fn finish(&self) -> Result<(), TargetError> {
        let above = split(&self.entry.path).0;
        let folder = self.target.folders.open(above, Missing::Refuse)?;
        self.target.complete(&folder, &self.draft, &self.entry)?;
        self.complete.store(true, Release);
        Ok(())
    }

    fn wrong_length(&self, bytes: Option<u64>) -> TargetError {
        TargetError::Length { path: self.entry.path.clone(), length: self.entry.length, bytes }
    }
}

impl Drop for FileSlot {
    fn drop(&mut self) {
        let left = self.left.load(Acquire);
        // The caller that wrote the last byte was told why the file could not be completed.
        if left == 0 {
            return;
        }
        let came = self.entry.length - left.min(self.entry.length);
        self.target.tally.refuse(self.wrong_length(Some(came)));
    }
}
