//! How files grow: the one engine under the log, the segments and the chain.
//!
//! Records are appended to a [`Tail`], and are there for good once it is synced. What fails before that is cut
//! off again: nobody was told that it is there.

use std::io;
use std::sync::Arc;

use crate::files::disk::{self, Disk, DiskFile};
use crate::frame::Record;
use crate::{CommitError, StoreError, threads};

/// Small records are handed to the disk when so many bytes of them have gathered.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// A file that is appended to.
pub(super) struct Tail {
    file: Arc<dyn DiskFile>,
    path: String,
    /// Where the next record goes.
    length: u64,
    /// Records that are not handed to the disk yet.
    pending: Vec<u8>,
    /// Up to where it is durable: everything behind it is not acknowledged.
    durable: u64,
}

impl Tail {
    /// Goes on in a file that is durable up to here; `None` where it is not there, or the medium does not give it
    /// back.
    pub(super) fn reopen(
        disk: &dyn Disk,
        path: String,
        length: u64,
    ) -> Result<Option<Self>, StoreError> {
        let file = disk::find(disk, &path)?.ok();
        Ok(file.map(|file| Self::on(file, path, length)))
    }

    /// Goes on in this file, which is durable up to here.
    pub(super) fn on(file: Arc<dyn DiskFile>, path: String, length: u64) -> Self {
        Self { file, path, length, pending: Vec::new(), durable: length }
    }

    /// Begins a file, of which nothing is durable yet. A crash, or an attempt that failed, may have left such a
    /// file without anything that counts.
    fn create(disk: &dyn Disk, path: String, first: &Record) -> Result<Self, Failure> {
        disk.unlink(&path).map_err(Failure::append(&path))?;
        let file = disk.create(&path).map_err(Failure::append(&path))?;
        let mut tail = Self { file, path, length: 0, pending: Vec::new(), durable: 0 };
        tail.push(first)?;
        Ok(tail)
    }

    /// Begins a file in this folder, which is durable in name on return; its first record is once it is synced.
    pub(super) fn begin(
        disk: &dyn Disk,
        folder: &str,
        path: String,
        first: &Record,
    ) -> Result<Self, Failure> {
        let tail = Self::create(disk, path, first)?;
        disk.sync_folder(folder).map_err(Failure::sync(&tail.path))?;
        Ok(tail)
    }

    /// Begins a file in this folder, which is durable in name and content on return. The content comes first: a name
    /// that a crash left has its content. An attempt that fails leaves nothing that counts, and the next one begins
    /// by removing it.
    pub(super) fn begin_durably(
        disk: &dyn Disk,
        folder: &str,
        path: String,
        first: &Record,
    ) -> Result<Self, Failure> {
        let begun = Self::create(disk, path.clone(), first).and_then(|mut tail| {
            tail.sync()?;
            disk.sync_folder(folder).map_err(Failure::sync(&tail.path))?;
            Ok(tail)
        });
        begun.map_err(|failure| {
            // When it cannot be removed now, that is why it cannot be begun either.
            let _ = disk.unlink(&path);
            Failure { at_sync: false, ..failure }
        })
    }

    /// The file.
    pub(super) fn file(&self) -> &dyn DiskFile {
        self.file.as_ref()
    }

    /// Its path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where the next record goes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends a record, with others as soon as there are enough.
    pub(super) fn push(&mut self, record: &Record) -> Result<(), Failure> {
        self.pending.extend_from_slice(&record.header.encode());
        self.length += record.record_bytes();
        if self.pending.len() + record.payload.len() < PENDING_BYTES_MAX {
            self.pending.extend_from_slice(&record.payload);
            return Ok(());
        }
        let parts: [&[u8]; 2] = [&self.pending, &record.payload];
        self.file.append(&parts).map_err(Failure::append(&self.path))?;
        self.pending.clear();
        Ok(())
    }

    /// Appends records, and bytes behind them, in one go.
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        rest: &[u8],
    ) -> Result<(), Failure> {
        let (mut headers, mut payloads) = (Vec::new(), Vec::new());
        for record in records {
            headers.push(record.header.encode());
            payloads.push(record.payload.as_slice());
            self.length += record.record_bytes();
        }
        self.length += rest.len() as u64;
        let mut parts = vec![self.pending.as_slice()];
        for (header, payload) in headers.iter().zip(payloads) {
            parts.extend([header.as_slice(), payload]);
        }
        parts.push(rest);
        parts.retain(|part| !part.is_empty());
        self.file.append(&parts).map_err(Failure::append(&self.path))?;
        self.pending.clear();
        Ok(())
    }

    /// Makes everything durable that was appended.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        if self.durable == self.length {
            return Ok(());
        }
        if !self.pending.is_empty() {
            self.file.append(&[&self.pending]).map_err(Failure::append(&self.path))?;
            self.pending.clear();
        }
        self.file.sync().map_err(Failure::sync(&self.path))?;
        self.durable = self.length;
        Ok(())
    }

    /// Durably cuts off what was appended since the last sync.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.cut_to(self.durable)
    }

    /// Durably cuts off what is behind a place.
    pub(super) fn cut_to(&mut self, length: u64) -> io::Result<()> {
        self.pending.clear();
        (self.length, self.durable) = (length, length);
        self.file.truncate(length)?;
        self.file.sync()
    }
}

/// Does two things at once, or one after the other where the system gives no thread. Both are done, whether or
/// not one of them fails.
pub(super) fn both<A, B: Send>(
    first: impl FnOnce() -> A,
    mut second: impl FnMut() -> B + Send,
    panicked: impl FnOnce() -> B,
) -> (A, B) {
    let (first, beside) = std::thread::scope(|scope| {
        let other = threads::start_scoped(scope, "sync", &mut second);
        let first = first();
        (first, other.ok().map(|other| other.join().unwrap_or_else(|_| panicked())))
    });
    (first, beside.unwrap_or_else(second))
}

/// What is said of a thread that ended otherwise than by returning.
pub(super) const PANICKED: &str = "the syncing thread panicked";

/// Why files could not be written.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) why: String,
    /// Whether the disk has no room.
    pub(super) full: bool,
    /// Whether a sync failed: what a file says after that is not to be trusted, and a new one is begun.
    pub(super) at_sync: bool,
}

impl Failure {
    /// Appending to a file failed.
    pub(super) fn append(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { full: is_full(&error), why: format!("{path}: {error}"), at_sync: false }
    }

    /// Syncing a file failed.
    pub(super) fn sync(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self {
            full: is_full(&error),
            why: format!("syncing {path}: {error}"),
            at_sync: true,
        }
    }

    /// Nothing was written: a record could not be made.
    pub(super) fn unmade(error: StoreError) -> Self {
        Self::before(error.to_string())
    }

    /// Nothing was written.
    pub(super) fn before(why: impl Into<String>) -> Self {
        Self { why: why.into(), full: false, at_sync: false }
    }

    /// No file can be begun behind this one.
    pub(super) fn no_number(place: &str) -> Self {
        Self::before(format!("no number is free behind {place}, which is damaged: move it away"))
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            why: format!("{}; {}", self.why, other.why),
            full: self.full || other.full,
            at_sync: self.at_sync || other.at_sync,
        }
    }

    /// What the waiting caller is told, by whether what was written could be cut off.
    pub(super) fn after(self, cut: io::Result<()>) -> CommitError {
        match cut {
            Ok(()) => self.taken_back(),
            Err(error) => CommitError::Broken(format!(
                "{}, and what was written could not be cut off: {error}",
                self.why
            )),
        }
    }

    /// What the waiting caller is told when all that was written has been cut off again.
    pub(super) fn taken_back(self) -> CommitError {
        if self.full { CommitError::Full(self.why) } else { CommitError::Failed(self.why) }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
