//! What would become of an entry, and what stands there as it should: both are only looked at.
//!
//! Called for a run that is to change nothing, and before links are made.

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    fs::{AtFlags, FileType, readlinkat, statat},
    io::Errno,
};

use super::{Inner, Target, TargetError, folders::Missing, made::Made};
use crate::folder::{Entry, EntryKind, path::split};

/// What would become of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreseen {
    /// It would be made.
    New,
    /// It would take the place of what is there.
    Replaced,
    /// It stands there already.
    Stands,
}

impl Target {
    /// What would become of an entry. Of a file that stands there, [`standing`](Target::standing) says whether it
    /// may be the same; here it is not.
    pub fn foresee(&self, entry: &Entry) -> Result<Foreseen, TargetError> {
        let inner = &self.inner;
        if matches!(*inner.made, Made::Everything) {
            return Ok(Foreseen::New);
        }
        if entry.kind == EntryKind::Folder {
            return match inner.folders.open(&entry.path, Missing::Refuse) {
                Ok(_) => Ok(Foreseen::Stands),
                Err(error) => inner.foresee_above(error),
            };
        }
        super::named(&entry.path)?;
        let stands = match entry.kind {
            EntryKind::Symlink => inner.same_symlink(entry).is_some(),
            EntryKind::HardLink => inner.is_same_file(&entry.path, &entry.target),
            EntryKind::File | EntryKind::Folder => false,
        };
        if stands {
            return Ok(Foreseen::Stands);
        }
        let (above, name) = split(&entry.path);
        let folder = match inner.folders.open(above, Missing::Refuse) {
            Ok(folder) => folder,
            Err(error) => return inner.foresee_above(error),
        };
        inner.expect_free(&folder, name, &entry.path)?;
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(Foreseen::New),
            _ => Ok(Foreseen::Replaced),
        }
    }
}

impl Inner {
    /// What comes of something whose folder cannot be opened.
    fn foresee_above(&self, error: TargetError) -> Result<Foreseen, TargetError> {
        match error {
            TargetError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Ok(Foreseen::New)
            }
            TargetError::NotAFolder { .. } if self.options.overwrite => Ok(Foreseen::New),
            error => Err(error),
        }
    }

    /// The folder of a symbolic link that stands there with the same text.
    pub(super) fn same_symlink(&self, entry: &Entry) -> Option<Arc<OwnedFd>> {
        if matches!(*self.made, Made::Everything) || self.made.contains(&entry.path) {
            return None;
        }
        let (above, name) = split(&entry.path);
        let folder = self.folders.open(above, Missing::Refuse).ok()?;
        let text = readlinkat(&folder, name, Vec::new()).ok()?;
        (text.as_bytes() == entry.target).then_some(folder)
    }

    /// Whether two paths are names of one file.
    pub(super) fn is_same_file(&self, path: &[u8], other: &[u8]) -> bool {
        if matches!(*self.made, Made::Everything) || self.made.contains(path) || path == other {
            return false;
        }
        let which = |path: &[u8]| {
            let (above, name) = split(path);
            let folder = self.folders.open(above, Missing::Refuse).ok()?;
            let seen = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let is_folder = FileType::from_raw_mode(seen.st_mode) == FileType::Directory;
            (!is_folder).then_some((seen.st_dev, seen.st_ino))
        };
        which(path).is_some_and(|one| which(other) == Some(one))
    }
}
