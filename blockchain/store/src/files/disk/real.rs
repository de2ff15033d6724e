//! The operating system's files.
//!
//! Content is synced with `fdatasync`, which also makes a grown length durable. Reads are positioned,
//! so any number of threads share a handle. What is made is its owner's alone: a store holds keys and
//! recordings, and a umask that lets others in was not chosen for those.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, Mode};

use super::{Disk, DiskFile, PathError};
use crate::files::descriptors::patiently;
use crate::files::room::{Reserve, Space};

/// Who may do what with a folder of ours: its owner everything, everybody else nothing.
const PRIVATE_FOLDER: u32 = 0o700;
/// And with a file.
pub const PRIVATE_FILE: u32 = 0o600;

/// A folder of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Whether files are opened for appending, too.
    appends: bool,
    /// How much of the room stays free.
    reserve: Reserve,
}

impl RealDisk {
    /// Everything below `root`, which must exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), appends: true, reserve: Reserve::default() }
    }

    /// The same, of which so much stays free.
    pub fn keeping(self, reserve: Reserve) -> Self {
        Self { reserve, ..self }
    }

    /// Everything below `root`, which must exist, for a caller that may only read: the operating system itself
    /// refuses to change a file that is opened through it. Names are for [`super::view::View`] to leave alone.
    pub fn for_reading(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), appends: false, reserve: Reserve::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

/// Makes a folder, and those above it that are missing, for its owner alone, regardless of the umask.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path)
}

/// Makes everything else that this process creates, other libraries' files included, its owner's alone: for
/// services, which create nothing for other users.
pub fn keep_to_owner() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}

/// Closes a folder to everybody but its owner. One that is closed is not touched.
pub fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    match mode & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, Permissions::from_mode(mode & !0o077)),
    }
}

/// Adds the path to an error, which the operating system leaves out.
fn name_path<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| PathError::io(path, error))
}

impl Disk for RealDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.at(path);
        let opened = patiently(|| {
            OpenOptions::new()
                .read(true)
                .append(true)
                .create_new(true)
                .mode(PRIVATE_FILE)
                .open(&path)
        });
        Ok(Arc::new(RealFile { file: name_path(&path, opened)?, path }))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let path = self.at(path);
        match patiently(|| OpenOptions::new().read(true).append(self.appends).open(&path)) {
            Ok(file) => Ok(Some(Arc::new(RealFile { file, path }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => name_path(&path, Err(error)),
        }
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        name_path(&path, private_folder(&path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let from = self.at(from);
        name_path(&from, fs::rename(&from, self.at(to)))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => name_path(&path, Err(error)),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        name_path(&path, patiently(|| File::open(&path)).and_then(|folder| folder.sync_all()))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let path = self.at(path);
        let entries = match patiently(|| fs::read_dir(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => name_path(&path, entries)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                name.push('/');
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    fn space(&self, path: &str) -> io::Result<Space> {
        let path = self.at(path);
        let now = name_path(&path, rustix::fs::statvfs(&path).map_err(io::Error::from))?;
        let bytes = |blocks: u64| blocks.saturating_mul(now.f_frsize);
        Ok(Space { free: bytes(now.f_bavail), reserve: self.reserve.of(bytes(now.f_blocks)) })
    }

    fn set_aside(&self, path: &str, bytes: u64) -> io::Result<()> {
        let path = self.at(path);
        let file = patiently(|| {
            OpenOptions::new().append(true).create(true).mode(PRIVATE_FILE).open(&path)
        });
        let set_aside = file
            .and_then(|file| Ok(rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)?));
        name_path(&path, set_aside)
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        name_path(&self.path, result)
    }
}

impl DiskFile for RealFile {
    fn append(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match (&self.file).write_vectored(rest) {
                Ok(0) => return self.named(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.named(Err(error)),
            }
        }
        Ok(())
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.named(self.file.read_at(buffer, offset))
    }

    fn length(&self) -> io::Result<u64> {
        self.named(self.file.metadata().map(|facts| facts.len()))
    }

    fn sync(&self) -> io::Result<()> {
        self.named(self.file.sync_data())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.named(self.file.set_len(length))
    }
}
