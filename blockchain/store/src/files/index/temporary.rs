//! The index of a store that nothing is written to.
//!
//! fjall has no way to open without writing. So the index is copied to a folder of its own, or built
//! there if there is none that can be used, and is removed when the reader is done. Where no such folder has
//! room, it is built in memory, up to a bound.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::StoreError;
use crate::contract::index::{Change, Index, Row};
use crate::files::index::{EmbeddedIndex, MADE};
use crate::memory::index::MemoryIndex;

/// What must be free besides: the index's journal, and what the log brings that it had not taken in.
const MARGIN_BYTES: u64 = 192 << 20;

/// Bytes of memory that an index may take where no folder has room for it: some four million rows.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Where an index may be that is not to be in its store.
#[derive(Debug, Clone)]
pub struct Room {
    /// A folder for what is temporary.
    pub scratch: PathBuf,
    /// How much memory it may take, if there is no room in that folder.
    pub memory_bytes_max: u64,
}

/// The folders that are there now, for a process that has to end at once.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes every temporary index of this process, which ends right after this.
pub fn remove_all() {
    for folder in FOLDERS.lock().drain(..) {
        // There is nobody left to tell.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Opens an index with the rows of the one in `index`, or an empty one if those are not `wanted` or not
/// to be had: recovery builds it then.
pub fn open(index: &Path, wanted: bool, room: &Room) -> Result<Arc<dyn Index>, StoreError> {
    let free = free_bytes(&room.scratch);
    let fits = |bytes: u64| bytes.saturating_add(MARGIN_BYTES) <= free;
    let whole = (wanted && index.join(MADE).exists()).then(|| size(index));
    match whole {
        Some(Ok(bytes)) if fits(bytes) => match TemporaryIndex::open(Some(index), room) {
            Ok(copied) => return Ok(Arc::new(copied)),
            Err(error) => {
                tracing::warn!(%error, "the index could not be copied, and is built anew")
            }
        },
        // What is built anew takes as much.
        Some(Ok(_)) => return Ok(in_memory(room)),
        Some(Err(error)) => tracing::warn!(%error, "the index cannot be read, and is built anew"),
        None => {}
    }
    if fits(0) {
        match TemporaryIndex::open(None, room) {
            Ok(fresh) => return Ok(Arc::new(fresh)),
            Err(error) => tracing::warn!(%error, "the index is built in memory"),
        }
    }
    Ok(in_memory(room))
}

fn in_memory(room: &Room) -> Arc<dyn Index> {
    Arc::new(MemoryIndex::bounded(room.memory_bytes_max, &room.scratch))
}

/// Bytes that are free in a folder that can be written to; none in any other.
fn free_bytes(folder: &Path) -> u64 {
    use rustix::fs::{Access, access, statvfs};
    let writable = access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    let free = statvfs(folder).map_or(0, |now| now.f_bavail.saturating_mul(now.f_frsize));
    if writable { free } else { 0 }
}

/// Bytes of the files below a folder.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        bytes += if facts.is_dir() { size(&entry.path())? } else { facts.len() };
    }
    Ok(bytes)
}

/// Copies files and folders; regardless of their modes, the copy is its owner's alone, and can be written.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            let mut file =
                File::options().write(true).create_new(true).mode(0o600).open(&target)?;
            io::copy(&mut File::open(entry.path())?, &mut file)?;
        }
    }
    Ok(())
}

/// An index in a folder that goes with it.
struct TemporaryIndex {
    // The index goes first, then its folder.
    index: Option<EmbeddedIndex>,
    folder: TempDir,
}

impl TemporaryIndex {
    fn open(from: Option<&Path>, room: &Room) -> Result<Self, StoreError> {
        let context = || StoreError::io(format!("copying the index to {}", room.scratch.display()));
        let folder = tempfile::Builder::new()
            .prefix("lucid-index-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&room.scratch)
            .map_err(context())?;
        FOLDERS.lock().push(folder.path().to_owned());
        let mut made = Self { index: None, folder };
        let place = made.folder.path().join(super::super::folder::INDEX);
        if let Some(from) = from {
            copy(from, &place).map_err(context())?;
        }
        made.index = Some(EmbeddedIndex::open(&place)?);
        Ok(made)
    }

    fn index(&self) -> Result<&EmbeddedIndex, StoreError> {
        self.index.as_ref().ok_or_else(|| StoreError::Index("it is closed".into()))
    }
}

impl Drop for TemporaryIndex {
    fn drop(&mut self) {
        self.index = None;
        let path = self.folder.path();
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::warn!(%error, folder = %path.display(), "a temporary index was left behind");
        }
        FOLDERS.lock().retain(|known| known != path);
    }
}

impl Index for TemporaryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index()?.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        self.index()?.scan(from, to, limit, backwards)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.index()?.write(changes).map_err(|error| match error {
            StoreError::Io {
                kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded,
                ..
            } => no_room(self.folder.path()),
            error => error,
        })
    }

    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        self.index()?.frozen()
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn distrust(&self) -> Result<(), StoreError> {
        self.index()?.distrust()
    }
}

/// What is said when an index finds no room.
pub(crate) fn no_room(folder: &Path) -> StoreError {
    StoreError::Folder(format!(
        "the store is only read, so its index is built beside it, and {} has no room for it: point \
         TMPDIR at a folder that has",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(scratch: &Path) -> usize {
        fs::read_dir(scratch).unwrap().count()
    }

    #[test]
    fn an_index_is_copied_for_its_owner_alone_and_the_copy_goes_with_whoever_read_it() {
        let home = tempfile::tempdir().unwrap();
        let (from, scratch) = (home.path().join("index"), home.path().join("scratch"));
        fs::create_dir(&scratch).unwrap();
        let there = EmbeddedIndex::open(&from).unwrap();
        there.write(vec![(b"key".to_vec(), Some(b"value".to_vec()))]).unwrap();
        there.flush().unwrap();
        drop(there);
        let room = Room { scratch: scratch.clone(), memory_bytes_max: 0 };
        let index = open(&from, true, &room).unwrap();
        assert_eq!(index.get(b"key").unwrap().unwrap(), b"value");
        index.write(vec![(b"other".to_vec(), Some(Vec::new()))]).unwrap();
        let folder = fs::read_dir(&scratch).unwrap().next().unwrap().unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(index);
        assert_eq!(left(&scratch), 0);
        let anew = open(&from, false, &room).unwrap();
        assert_eq!(anew.get(b"key").unwrap(), None);
        drop(anew);
        let there = EmbeddedIndex::open(&from).unwrap();
        assert_eq!(there.get(b"other").unwrap(), None, "the copy was written to, not the index");
        drop(there);

        // One that cannot be used is built anew.
        for damaged in fs::read_dir(&from).unwrap() {
            let path = damaged.unwrap().path();
            if path.is_file() && path.file_name().unwrap() != MADE {
                fs::write(path, "nonsense").unwrap();
            }
        }
        let anew = open(&from, true, &room).unwrap();
        anew.write(vec![(b"key".to_vec(), Some(Vec::new()))]).unwrap();
        drop(anew);
        assert_eq!(left(&scratch), 0);
    }

    #[test]
    fn without_room_it_is_built_in_memory_up_to_a_bound() {
        let home = tempfile::tempdir().unwrap();
        let room = Room { scratch: home.path().join("absent"), memory_bytes_max: 10_000 };
        let index = open(&home.path().join("index"), true, &room).unwrap();
        let row = |n: u8| vec![(vec![n; 100], Some(vec![n; 100]))];
        let refused = (0..100).find_map(|n| index.write(row(n)).err()).unwrap().to_string();
        assert!(refused.contains("point TMPDIR at a folder that has"), "{refused}");
        assert_eq!(index.get(&[0; 100]).unwrap().unwrap(), [0; 100]);
    }
}
