//! The one door to the file system.
//!
//! Everything that must be durable goes through [`Disk`] and [`DiskFile`]: the segments, the log, the
//! chain, the keys. There are two implementations: [`real::RealDisk`], and [`simulated::SimulatedDisk`],
//! which records every call and can replay any prefix of them as a power cut would leave it; and
//! [`view::View`], which lets either be read and never writes to it. The promise both keep is the
//! weakest one a file system gives:
//!
//! - appended bytes are durable once [`DiskFile::sync`] has returned, and not before: until then any
//!   part of them may be lost, torn or written out of order;
//! - a created, renamed or unlinked name is durable once [`Disk::sync_folder`] of its folder has
//!   returned;
//! - after a failed sync nothing is known about what was not synced before it.

pub mod real;
pub mod simulated;
pub mod view;

use std::io;
use std::sync::Arc;

/// A folder tree. Paths are relative to its root, with `/` between components.
pub trait Disk: Send + Sync {
    /// Makes a new, empty file. An existing one is an error of kind `AlreadyExists`.
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and appending. Absence is `None`, not an error.
    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>>;

    /// Makes a folder, and is content if it is there already.
    fn create_folder(&self, path: &str) -> io::Result<()>;

    /// Puts `from` in the place of `to`, whether or not `to` exists.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Absence is not an error.
    fn unlink(&self, path: &str) -> io::Result<()>;

    /// Makes the names inside a folder durable; `""` is the root.
    fn sync_folder(&self, path: &str) -> io::Result<()>;

    /// The names inside a folder, sorted, folders with a trailing `/`. An absent folder is empty.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Why nothing is written to this disk, whatever is asked of it, if so.
    fn only_read(&self) -> Option<String> {
        None
    }
}

/// One file.
pub trait DiskFile: Send + Sync {
    /// Adds the parts, one after the other, to the end of the file.
    fn append(&self, parts: &[&[u8]]) -> io::Result<()>;

    /// Fills `buffer` from `offset` on and says how many bytes there were: fewer than asked for only
    /// at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Makes the content durable. After an error nothing more may be expected of this file.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Reads a whole file; absence is `None`.
pub fn read_all(disk: &dyn Disk, path: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = disk.open(path)? else { return Ok(None) };
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// Puts `bytes` in the place of the file at `folder/name`, durably and at once: a crash leaves the
/// old content or the new, never a mixture.
pub fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = join(folder, name);
    let fresh = format!("{path}.new");
    disk.unlink(&fresh)?;
    let file = disk.create(&fresh)?;
    file.append(&[bytes])?;
    file.sync()?;
    disk.rename(&fresh, &path)?;
    disk.sync_folder(folder)
}

/// `folder/name`, where `""` is the root.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
