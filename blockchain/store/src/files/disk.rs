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
//!
//! And this is the one place that tells what the *medium* failed to give back from what *we* failed to
//! ask for: [`is_media_error`]. The first is damage, which reading steps over; the second says nothing
//! about what is stored. [`faulty::FaultyDisk`] fails in both ways.

pub mod faulty;
pub(crate) mod lengths;
pub mod real;
pub mod simulated;
pub mod view;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

use crate::Damage;
use crate::files::room::Space;

/// What a system says of stored bytes that cannot be had any more: of a sector, of a block whose
/// checksum differs, of what lies behind a damaged piece of the file system. All else (too many open
/// files, no permission, no memory, a server that is away) is no property of what is stored.
const MEDIA_ERRORS: [Errno; 7] = [
    Errno::IO,
    Errno::ILSEQ,
    Errno::BADMSG,
    Errno::NODATA,
    Errno::UCLEAN,
    Errno::REMOTEIO,
    Errno::HWPOISON,
];

/// Reading around a bad place goes on in pieces of this size, the least that systems read.
const PAGE_BYTES: usize = 4_096;

/// More than any file has that is read in one piece: a longer one reads back cut, and is refused by the reader
/// that checks it.
const WHOLE_BYTES_MAX: u64 = 256 << 20;

/// An error of the operating system with the path that it leaves out; keeps its number.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct PathError {
    path: PathBuf,
    error: io::Error,
}

impl PathError {
    /// The error, of the same kind, with the path.
    pub fn io(path: impl Into<PathBuf>, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self { path: path.into(), error })
    }
}

/// Whether a read failed because of what is stored: then the bytes asked for are damaged. Any other
/// error is a failure of ours, says nothing about them, and may pass.
pub fn is_media_error(error: &io::Error) -> bool {
    if let Some(code) = error.raw_os_error() {
        return MEDIA_ERRORS.contains(&Errno::from_raw_os_error(code));
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PathError>());
    inner.is_some_and(|named| is_media_error(&named.error))
}

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

    /// How much room there is for what is added to a folder, which may be a link to another disk.
    fn space(&self, path: &str) -> io::Result<Space>;

    /// Has a file without content hold so many bytes of the disk, where that can be done: nothing else gets them
    /// until it is unlinked.
    fn set_aside(&self, path: &str, bytes: u64) -> io::Result<()>;

    /// Why this disk refuses every write, if it does.
    fn only_read(&self) -> Option<String> {
        None
    }
}

/// One file.
pub trait DiskFile: Send + Sync {
    /// Adds the parts, one after the other, to the end of the file.
    fn append(&self, parts: &[&[u8]]) -> io::Result<()>;

    /// Reads some bytes from `offset` on and says how many: none only at the end of the file. Readers
    /// call [`DiskFile::read_at`], to which a short read means nothing.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Fills `buffer` from `offset` on and says how many bytes there were: fewer than asked for only
    /// at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_some(offset.saturating_add(done as u64), rest) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Makes the content durable. After an error nothing more may be expected of this file.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Opens a file that has to be there. One that is not, or that the medium does not give back, is damage.
pub fn find(
    disk: &dyn Disk,
    path: &str,
) -> Result<Result<Arc<dyn DiskFile>, Damage>, crate::StoreError> {
    match disk.open(path) {
        Ok(Some(file)) => Ok(Ok(file)),
        Ok(None) => Ok(Err(Damage::new(path, 0, "the file is missing"))),
        Err(error) if is_media_error(&error) => Ok(Err(Damage::unreadable(path, 0, &error))),
        Err(error) => Err(crate::StoreError::io(format!("opening {path}"))(error)),
    }
}

/// Fills `buffer` as [`DiskFile::read_at`] does, and with zeros where the medium does not give its bytes
/// back; these places are added to `bad`. So a bad sector costs what is in it.
pub fn read_around(
    file: &dyn DiskFile,
    offset: u64,
    buffer: &mut [u8],
    bad: &mut Vec<Range<u64>>,
) -> io::Result<usize> {
    match file.read_at(offset, buffer) {
        Err(error) if is_media_error(&error) => {}
        read => return read,
    }
    let end = file.length()?;
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(done as u64);
        let to_boundary = PAGE_BYTES as u64 - at % PAGE_BYTES as u64;
        let length = to_boundary.min(end.saturating_sub(at)).min(rest.len() as u64);
        let piece = rest.get_mut(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        match file.read_at(at, piece) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if is_media_error(&error) => {
                piece.fill(0);
                done += piece.len();
                let to = at.saturating_add(length);
                match bad.last_mut() {
                    Some(last) if last.end == at => last.end = to,
                    _ => bad.push(at..to),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether a file ends here, and its last byte can be read: only then is it written on. A system that
/// appends reads the page first in which the file ends.
pub fn ends_readably(file: &dyn DiskFile, end: u64) -> io::Result<bool> {
    if file.length()? != end {
        return Ok(false);
    }
    match file.read_at(end.saturating_sub(1), &mut [0]) {
        Ok(_) => Ok(true),
        Err(error) if is_media_error(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a whole file; absence is `None`. Where the medium does not give its bytes back there are zeros,
/// which no checksum lets pass.
pub fn read_all(disk: &dyn Disk, path: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(error) if is_media_error(&error) => return Ok(Some(Vec::new())),
        Err(error) => return Err(error),
    };
    let length = file.length()?.min(WHOLE_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let count = read_around(file.as_ref(), 0, &mut bytes, &mut Vec::new())?;
    bytes.truncate(count);
    Ok(Some(bytes))
}

/// Puts `bytes` in the place of the file at `folder/name`, durably and at once: a crash leaves the
/// old content or the new, never a mixture.
pub fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = join(folder, name);
    let fresh = prepare(disk, &path, bytes)?;
    put_in_place(disk, &fresh, &path)
}

/// Writes what is to be at `path` beside it, durably, and says where: until it is put in place, nothing at
/// `path` has changed.
pub fn prepare(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<String> {
    let fresh = format!("{path}.new");
    disk.unlink(&fresh)?;
    let file = disk.create(&fresh)?;
    file.append(&[bytes])?;
    file.sync()?;
    Ok(fresh)
}

/// Gives a file another one's place, durably and at once. Where this fails it may have happened.
pub fn put_in_place(disk: &dyn Disk, fresh: &str, path: &str) -> io::Result<()> {
    disk.rename(fresh, path)?;
    let (folder, _) = path.rsplit_once('/').unwrap_or(("", path));
    disk.sync_folder(folder)
}

/// `folder/name`, where `""` is the root.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
