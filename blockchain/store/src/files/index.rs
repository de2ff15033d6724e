//! The index of a store on one machine: fjall, an LSM tree.
//!
//! Writes are left to the operating system's buffers, since every row can be derived again: after a
//! crash the index is at worst behind its log. Memory is bounded by the cache and the write buffers
//! set here, regardless of the number of rows.
//!
//! The library notes in its tables when it made them, and panics where that is before 1970. So nothing that
//! may make one goes to it by such a clock.

mod frozen;
pub mod temporary;

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::frozen::FrozenRows;
use fjall::compaction::Leveled;
use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::StoreError;
use crate::clock::Clock;
use crate::contract::index::{Change, Index, IndexMemory, Row};
use crate::files::descriptors::{self, Keeper};
use crate::files::disk::real::{PRIVATE_FILE, private_folder};

/// In the index's folder once it is whole, and until it is found to be wrong: what is without it is made
/// anew.
pub(super) const MADE: &str = "made";

const CACHE_BYTES: u64 = 32 << 20;
/// What is written gathers in memory, in pieces of so many bytes. The library's one thread makes tables of them,
/// and merges tables, too; four pieces that wait for it hold up who writes more.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// A row takes so much more in memory than its key and its value.
const ROW_BYTES: usize = 64;
const JOURNAL_BYTES: u64 = 64 << 20;
/// A table has so many bytes. Merging takes one of a level and some ten of the next, so that is how long what is
/// written may have to wait.
const TABLE_BYTES: u64 = 16 << 20;
/// By level of the tree, whether the filter and the block index of a table are made of parts of 4 KiB each.
/// A table of a deeper level has some 300 KiB of them: in one piece, what a lookup of one row needs would
/// throw much else out of the cache, and be read as a whole again once all of them no longer fit it.
const IN_PARTS: [bool; 2] = [false, true];
/// Tables kept open at once: no fewer, because the library takes no lower number, and no more.
const FILES: (usize, usize) = (10, 900);

/// One keyspace of one fjall database.
pub struct EmbeddedIndex {
    folder: PathBuf,
    clock: Clock,
    database: Database,
    rows: Keyspace,
    /// Bytes in the piece that is written to.
    gathered: AtomicU64,
}

impl fmt::Debug for EmbeddedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedIndex")
    }
}

/// Turns fjall's errors into ours, with the remedy that works.
fn fault(error: fjall::Error) -> StoreError {
    if let fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) = &error
        && matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    {
        let reason = format!("the disk is full: {io}; nothing is lost, make room for it");
        return StoreError::Io { context: "the index".into(), reason, kind: io.kind() };
    }
    if let fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) = &error
        && matches!(io.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
    {
        let reason = io.to_string();
        return StoreError::Io { context: "opening the index".into(), reason, kind: io.kind() };
    }
    StoreError::Index(format!("{error}; `lucid reindex` rebuilds it from the log"))
}

impl EmbeddedIndex {
    /// Opens or makes the index in this folder. One whose making was cut short is made again, and so is one
    /// that was found to be wrong.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_by(folder, Clock::system())
    }

    /// Opens or makes the index like [`Self::open`], by this clock, which tells what the library's tells.
    pub fn open_by(folder: &Path, clock: Clock) -> Result<Self, StoreError> {
        clock.must_be_after_1970()?;
        let context = || StoreError::io(format!("making {}", folder.display()));
        let made = folder.join(MADE);
        if made.try_exists().map_err(context())? {
            return Self::try_open(folder, clock).map_err(fault);
        }
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(context()(error)),
            _ => {}
        }
        // The library makes its files as the umask says; nobody else gets to them.
        private_folder(folder).map_err(context())?;
        let index = Self::try_open(folder, clock).map_err(fault)?;
        index.flush()?;
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(PRIVATE_FILE)
            .open(made)
            .and_then(|file| file.sync_all())
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(context())?;
        Ok(index)
    }

    fn try_open(folder: &Path, clock: Clock) -> Result<Self, fjall::Error> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(descriptors::share(Keeper::Index, FILES.1).max(FILES.0)))
            .worker_threads(1)
            .open()?;
        let rows = database.keyspace("rows", || {
            KeyspaceCreateOptions::default()
                // Pieces are ended here, before the library does: see `end_piece`.
                .max_memtable_size(2 * MEMTABLE_BYTES)
                .compaction_strategy(Arc::new(
                    Leveled::default().with_table_target_size(TABLE_BYTES),
                ))
                .filter_block_partitioning_policy(PartitioningPolicy::new(IN_PARTS))
                .index_block_partitioning_policy(PartitioningPolicy::new(IN_PARTS))
        })?;
        let gathered = AtomicU64::new(0);
        Ok(Self { folder: folder.to_owned(), clock, database, rows, gathered })
    }

    /// Ends the piece in memory once it is large enough. The library would have its thread do so, and ask for that
    /// with every write until it is done; a thousand such requests, while it merges tables, fill its queue, and then
    /// it waits for ever for a place in the queue that it alone empties (fjall-rs/fjall, issue 260).
    fn end_piece(&self, written: u64) -> Result<(), fjall::Error> {
        let gathered = self.gathered.fetch_add(written, Ordering::Relaxed) + written;
        if gathered >= MEMTABLE_BYTES {
            self.gathered.store(0, Ordering::Relaxed);
            self.rows.rotate_memtable()?;
        }
        Ok(())
    }
}

/// The first rows of a range, or the last ones backwards.
fn page(range: fjall::Iter, limit: usize, backwards: bool) -> Result<Vec<Row>, StoreError> {
    let read = |guard: fjall::Guard| {
        guard.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(fault)
    };
    if backwards {
        range.rev().take(limit).map(read).collect()
    } else {
        range.take(limit).map(read).collect()
    }
}

impl Index for EmbeddedIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(key).map_err(fault)?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        page(self.rows.range(from.to_vec()..to.to_vec()), limit, backwards)
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.clock.must_be_after_1970()?;
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        let mut written = 0;
        for (key, value) in changes {
            written += ROW_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => batch.insert(&self.rows, key, value),
                None => batch.remove(&self.rows, key),
            }
        }
        batch.commit().and_then(|()| self.end_piece(written as u64)).map_err(fault)
    }

    fn distrust(&self) -> Result<(), StoreError> {
        match std::fs::remove_file(self.folder.join(MADE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => File::open(&self.folder).and_then(|folder| folder.sync_all()),
        }
        .map_err(StoreError::io(format!("giving up {}", self.folder.display())))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncData).map_err(fault)
    }

    fn frozen(&self) -> Result<Option<Box<dyn Index + '_>>, StoreError> {
        Ok(Some(Box::new(FrozenRows::of(&self.database, &self.rows))))
    }

    fn memory(&self) -> IndexMemory {
        let counted = self.rows.metrics();
        IndexMemory {
            cache_bytes: self.database.cache_size(),
            cache_bytes_max: self.database.cache_capacity(),
            unmerged_bytes: self.database.write_buffer_size(),
            cache_hits: counted.block_load_cached_count() as u64,
            cache_misses: counted.block_load_io_count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small writes that come faster than tables are made: what waits in memory stays within its bound, and all of
    /// it goes into tables.
    #[test]
    fn what_gathers_in_memory_is_bounded_however_small_and_fast_writes_are() {
        let folder = tempfile::tempdir().unwrap();
        let index = EmbeddedIndex::open(&folder.path().join("index")).unwrap();
        let mut most = 0;
        for number in 0..200_000_u64 {
            let key = blake3::hash(&number.to_le_bytes()).as_bytes()[..17].to_vec();
            index.write(vec![(key, Some(vec![7; 400]))]).unwrap();
            most = most.max(index.database.write_buffer_size());
        }
        // Four pieces that wait, the one that is written to, and one on its way into a table.
        assert!(most <= 6 * MEMTABLE_BYTES, "{most} bytes waited");
        let ends = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while index.rows.sealed_memtable_count() > 0 {
            assert!(std::time::Instant::now() < ends, "pieces wait for ever");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// A row is read from its table once, and is at hand when it is asked for again.
    #[test]
    fn what_the_cache_spares_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let index = EmbeddedIndex::open(&folder.path().join("index")).unwrap();
        index.write(vec![(b"key".to_vec(), Some(b"value".to_vec()))]).unwrap();
        index.rows.rotate_memtable_and_wait().unwrap();
        let before = index.memory();
        assert!(index.get(b"key").unwrap().is_some());
        let first = index.memory();
        assert!(first.cache_misses > before.cache_misses, "{before:?} {first:?}");
        assert!(index.get(b"key").unwrap().is_some());
        let second = index.memory();
        assert_eq!(second.cache_misses, first.cache_misses);
        assert!(second.cache_hits > first.cache_hits, "{first:?} {second:?}");
    }
}
