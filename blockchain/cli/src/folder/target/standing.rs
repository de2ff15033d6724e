//! A file that stands in the target already, while it is found out whether it is the one to be restored.
//!
//! Made by [`Target::standing`](super::Target::standing) for a regular file of the right length; the caller reads it
//! piece by piece and says of each whether it is the same. Invariants: it is opened for each piece, so that however
//! many there are, none stays open; a file that has further names gets nothing set, as these may be outside the
//! target.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};

use super::{Inner, Target, TargetError, folders::Missing, made::Made, metadata};
use crate::folder::{Entry, path::split};

/// A file that may be the one to be restored.
pub struct Standing {
    target: Arc<Inner>,
    entry: Entry,
    /// Device and number.
    which: (u64, u64),
    /// Whether nothing is to be set on it.
    is_right: bool,
    has_time: bool,
    left: AtomicU64,
    differs: AtomicBool,
}

impl Target {
    /// The file that stands where this one belongs, if it may be the same: it is a regular file of that length.
    #[must_use]
    pub fn standing(&self, entry: &Entry) -> Option<Standing> {
        let inner = &self.inner;
        if matches!(*inner.made, Made::Everything) || super::named(&entry.path).is_err() {
            return None;
        }
        let (above, name) = split(&entry.path);
        let folder = inner.folders.open(above, Missing::Refuse).ok()?;
        let seen = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let may_be_same = FileType::from_raw_mode(seen.st_mode) == FileType::RegularFile
            && u64::try_from(seen.st_size) == Ok(entry.length)
            && !inner.made.contains(&entry.path);
        let looks_right = inner.keeper.is_right(&seen, entry);
        let has_names = seen.st_nlink > 1;
        if !may_be_same || (has_names && !looks_right) {
            return None;
        }
        Some(Standing {
            target: Arc::clone(inner),
            which: (seen.st_dev, seen.st_ino),
            is_right: looks_right && (has_names || metadata::is_bare(entry)),
            has_time: metadata::has_time(&seen, entry),
            left: AtomicU64::new(entry.length),
            differs: AtomicBool::new(false),
            entry: entry.clone(),
        })
    }
}

impl Standing {
    /// The entry that it is compared with.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether it counts as the same without being read.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.target.options.trust_times && self.has_time
    }

    /// Reads a piece of it; one that is shorter by now, or another one, is an error.
    pub fn read(&self, at: u64, piece: &mut [u8]) -> io::Result<()> {
        self.open()?.read_exact_at(piece, at)
    }

    /// A piece is the same. With the last one the file is known to be, and gets whatever else its entry says; says
    /// whether it was that.
    pub fn same(&self, length: u64) -> Result<bool, TargetError> {
        let is_last = self.left.fetch_sub(length, AcqRel) == length;
        if is_last && !self.differs.load(Acquire) {
            self.settle(false).map(|()| true)
        } else {
            Ok(false)
        }
    }

    /// It counts as the same, by its length and time.
    pub fn trust(&self) -> Result<(), TargetError> {
        self.settle(true)
    }

    /// It is not the same, or cannot be read; whether that is news.
    pub fn differ(&self) -> bool {
        !self.differs.swap(true, AcqRel)
    }

    /// Whether it is known not to be the same.
    #[must_use]
    pub fn is_different(&self) -> bool {
        self.differs.load(Relaxed)
    }

    fn settle(&self, unread: bool) -> Result<(), TargetError> {
        let (inner, entry) = (&self.target, &self.entry);
        inner.made.note(&entry.path);
        if !self.is_right && !inner.options.dry_run {
            let file = self.open().map_err(|error| TargetError::io(&entry.path, error))?;
            inner.keep_all(&file, entry, self.which);
        }
        inner.tally.identical(&entry.path, unread);
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let (above, name) = split(&self.entry.path);
        let folder = self.target.folders.open(above, Missing::Refuse).map_err(io::Error::other)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = openat(&folder, name, flags, Mode::empty())?.into();
        let seen = fstat(&file)?;
        match (seen.st_dev, seen.st_ino) == self.which {
            true => Ok(file),
            false => Err(io::Error::other("another file has its name by now")),
        }
    }
}
