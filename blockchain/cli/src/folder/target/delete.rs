//! Removes from a target what no entry tells of.
//!
//! Called only where that was asked for, after all files are there and before folders get their times. Invariants:
//! every folder is reached from the target's own handle without following a link; what is on another file system,
//! and every store, stays; so does a folder in which something stays.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use lucid_store::files::folder::holds_store;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat},
    io::Errno,
};

use super::{Target, TargetError, made::Made};
use crate::folder::path::join;

/// A folder, by device and number.
pub type Identity = (u64, u64);

/// What was removed, or would be.
#[derive(Debug, Default)]
pub struct Deleted {
    /// The paths, each folder behind what was in it.
    pub paths: Vec<Vec<u8>>,
    /// What stays though it was to go, and why.
    pub stays: Vec<(Vec<u8>, String)>,
}

/// What goes and what does not.
struct Deleting<'a> {
    stays: &'a dyn Fn(&[u8]) -> bool,
    not: &'a [Identity],
    /// The file system of the target.
    device: u64,
    dry_run: bool,
    deleted: Deleted,
}

const KEPT: &str = "a data folder of lucid is in it";

impl Target {
    /// Removes what is in these folders and does not stay: `stays` is asked of each path, and what it is in stays with
    /// it. A folder in `not` stays too. With a run that changes nothing, it is only found.
    pub fn delete(
        &self,
        folders: &[Vec<u8>],
        not: &[Identity],
        stays: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Deleted, TargetError> {
        let inner = &self.inner;
        if inner.options.dry_run && matches!(*inner.made, Made::Everything) {
            return Ok(Deleted::default());
        }
        let top = inner.folders.open_real(b"")?;
        let device = fstat(&top).map_err(|errno| TargetError::io(b"", errno))?.st_dev;
        let (dry_run, deleted) = (inner.options.dry_run, Deleted::default());
        let mut deleting = Deleting { stays, not, device, dry_run, deleted };
        for path in folders {
            match inner.folders.open_real(path) {
                Ok(folder) => {
                    deleting.empty(&folder.into(), path);
                }
                // What is not there, or is something else, has nothing in it to be removed.
                Err(TargetError::Io { .. } | TargetError::NotAFolder { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleting.deleted)
    }
}

impl Deleting<'_> {
    /// Removes what is in a folder and goes; whether all of it did.
    fn empty(&mut self, folder: &OwnedFd, path: &[u8]) -> bool {
        let entries = match openat(folder, ".", flags(), Mode::empty()).and_then(Dir::new) {
            Ok(entries) => entries,
            Err(errno) => return self.stays(path, errno),
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name().to_bytes().to_vec()),
                Err(errno) => return self.stays(path, errno),
            }
        }
        names.retain(|name| name != b"." && name != b"..");
        names.sort_unstable();
        let mut is_empty = true;
        for name in names {
            is_empty &= self.remove(folder, &name, join(path, &name));
        }
        is_empty
    }

    /// Removes a name, and what is below it; whether it is gone.
    fn remove(&mut self, folder: &OwnedFd, name: &[u8], path: Vec<u8>) -> bool {
        if (self.stays)(&path) {
            return false;
        }
        let seen = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return true,
            Err(errno) => return self.stays(&path, errno),
            Ok(seen) => seen,
        };
        let is_folder = FileType::from_raw_mode(seen.st_mode) == FileType::Directory;
        if is_folder {
            let inside = match openat(folder, name, flags(), Mode::empty()) {
                Ok(inside) => inside,
                Err(errno) => return self.stays(&path, errno),
            };
            let is_elsewhere = fstat(&inside).map_or(true, |seen| seen.st_dev != self.device);
            if is_elsewhere || self.not.contains(&(seen.st_dev, seen.st_ino)) || is_store(&inside) {
                let why = if is_elsewhere { "it is another file system" } else { KEPT };
                self.deleted.stays.push((path, why.to_owned()));
                return false;
            }
            if !self.empty(&inside, &path) {
                return false;
            }
        }
        if !self.dry_run {
            let how = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match unlinkat(folder, name, how) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return self.stays(&path, errno),
            }
        }
        self.deleted.paths.push(path);
        true
    }

    fn stays(&mut self, path: &[u8], errno: Errno) -> bool {
        self.deleted.stays.push((path.to_vec(), std::io::Error::from(errno).to_string()));
        false
    }
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Whether a folder is a store, or has one directly in it, as the folder of `--data` has.
fn is_store(folder: &OwnedFd) -> bool {
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let here = Path::new(&here);
    let holds = |folder: &Path| holds_store(folder);
    holds(here) || ["data-chain", "block-manager"].iter().any(|name| holds(&here.join(name)))
}
