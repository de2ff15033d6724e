//! A file whose bytes come in pieces, in any order, from any thread.
//!
//! Made by [`Target::open_file`](super::Target::open_file). Invariants: nothing is written
//! outside the announced length; a file that is dropped before all its bytes came is removed.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};

use super::{Inner, TargetError, folders::Missing};
use crate::folder::{Entry, path::split};

/// A file that is being restored. Give every byte exactly once.
pub struct FileSlot {
    target: Arc<Inner>,
    file: File,
    entry: Entry,
    left: AtomicU64,
    complete: AtomicBool,
}

impl FileSlot {
    pub(super) fn new(target: Arc<Inner>, file: File, entry: Entry) -> Result<Self, TargetError> {
        let slot = Self {
            target,
            file,
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
        self.file
            .write_all_at(bytes, offset)
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
        self.target.complete(&self.file, &self.entry)?;
        self.complete.store(true, Release);
        Ok(())
    }

    fn wrong_length(&self, bytes: Option<u64>) -> TargetError {
        TargetError::Length { path: self.entry.path.clone(), length: self.entry.length, bytes }
    }
}

impl Drop for FileSlot {
    fn drop(&mut self) {
        if self.is_complete() {
            return;
        }
        let above = split(&self.entry.path).0;
        match self.target.folders.open(above, Missing::Refuse) {
            Ok(folder) => self.target.remove(&folder, &self.entry),
            Err(error) => self.target.tally.refuse(error),
        }
        let came = self.entry.length - self.left.load(Acquire).min(self.entry.length);
        self.target.tally.refuse(self.wrong_length(Some(came)));
    }
}
