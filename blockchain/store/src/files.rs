//! The embedded back-end: everything is kept in the files of one folder.

mod append;
pub mod audit;
mod blobs;
pub mod chain;
pub mod descriptors;
pub mod disk;
mod fact_log;
pub mod folder;
pub mod index;
pub mod log;
pub(crate) mod mixed;
mod recovery;
pub mod rewrite;
pub mod room;
pub mod segment;
pub mod segment_rows;
pub(crate) mod units;
pub mod watermark;

use std::sync::Arc;

use parking_lot::Mutex;

use self::blobs::FileBlobs;
use self::disk::Disk;
use self::fact_log::FileLog;
pub use self::mixed::{LogElsewhere, open_with_chunks, open_with_log};
use self::units::FileUnits;
use self::watermark::{begin_mark, read_mark, write_mark};
use crate::StoreError;
use crate::contract::blobs::Blobs;
use crate::contract::index::{Index, Project, is_bound};
use crate::crypt::Cipher;
use crate::damage::DamageList;
use crate::vault::projection::Projection;
use crate::vault::{Followed, Vault, VaultParts};

/// Where a file is closed and the next one begun. Only tests have reason to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment ends at this size.
    pub segment_bytes: u64,
    /// A segment ends at so many records: its footer lists them all, and is one record itself. Above
    /// [`segment::RECORDS_MAX`] it means that.
    pub segment_records: u64,
    /// A log is continued in a new file at this size.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: 256 << 20, segment_records: 100_000, log_bytes: 256 << 20 }
    }
}

/// A store in the files of a folder, before it is opened.
pub struct UnopenedStore {
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// Which store they belong to.
    pub store: [u8; 16],
    /// Makes its records and reads them.
    pub cipher: Arc<Cipher>,
    /// Its derived rows.
    pub index: Arc<dyn Index>,
    /// What its owner makes of facts.
    pub project: Arc<dyn Project>,
    /// Whether the loss of acknowledged facts has been accepted.
    pub accept_loss: bool,
    /// Where its files end.
    pub limits: Limits,
}

/// Recovers what the folder holds and opens it.
pub fn open(unopened: UnopenedStore) -> Result<Vault, StoreError> {
    open_watched(unopened, &|_, _| true)
}

/// Recovers what the folder holds and opens it, like [`open`]. `progress` hears how many bytes of the log are
/// read, of how many that have to be. By `false` it ends the opening ([`StoreError::Stopped`]): the next
/// opening goes on from what was there.
pub fn open_watched(
    unopened: UnopenedStore,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let UnopenedStore { disk, store, cipher, index, project, accept_loss, limits } = unopened;
    let units = Arc::new(FileUnits::new(disk.clone(), store));
    let projection = Arc::new(Projection::new(units, project));
    // Here the cipher first meets the index, and nothing has been projected yet.
    cipher.bind_rows(is_bound(index.as_ref())?);
    let followed = recover(ToRecover {
        disk: &disk,
        store,
        cipher: &cipher,
        index: index.as_ref(),
        projection: &projection,
        accept_loss,
        limits,
        progress,
        chunks: ChunksAre::Here,
    })?;
    let only_read = disk.only_read();
    Vault::new(VaultParts { followed, cipher, index, projection, only_read })
}

/// What is needed to recover the log and the segments of a folder.
#[derive(Clone, Copy)]
pub(crate) struct ToRecover<'a> {
    /// Where the files are.
    pub disk: &'a Arc<dyn Disk>,
    /// Which store they must belong to.
    pub store: [u8; 16],
    /// Opens facts.
    pub cipher: &'a Cipher,
    /// Is brought up to the log.
    pub index: &'a dyn Index,
    /// Makes rows of facts.
    pub projection: &'a Projection,
    /// Whether the loss of acknowledged facts has been accepted.
    pub accept_loss: bool,
    /// Where files end.
    pub limits: Limits,
    /// Hears how many bytes of the log, of how many that have to be, are read; `false` ends the opening.
    pub progress: &'a dyn Fn(u64, u64) -> bool,
    /// Where its chunks are.
    pub chunks: ChunksAre<'a>,
}

/// Where the chunks are that a log in files names.
#[derive(Clone, Copy)]
pub(crate) enum ChunksAre<'a> {
    /// In segments beside it.
    Here,
    /// In segments, whose log is elsewhere.
    LogElsewhere,
    /// Elsewhere.
    Elsewhere(&'a dyn Blobs),
}

/// Recovers what the folder holds.
pub(crate) fn recover(parts: ToRecover<'_>) -> Result<Followed, StoreError> {
    recover_files(parts).map(|(followed, _)| followed)
}

/// Recovers what the folder holds, and says whether chunks may be there whose commits are not.
fn recover_files(parts: ToRecover<'_>) -> Result<(Followed, bool), StoreError> {
    let ToRecover { disk, store, accept_loss, limits, chunks, .. } = parts;
    let is_alone = matches!(chunks, ChunksAre::Elsewhere(_));
    let folders = [log::FOLDER, segment::FOLDER];
    for folder in folders.into_iter().take(if is_alone { 1 } else { 2 }) {
        disk.create_folder(folder).map_err(StoreError::io(format!("making {folder}/")))?;
    }
    let mut damage = Vec::new();
    begin_mark(disk.as_ref())?;
    let mark = read_mark(disk.as_ref(), &mut damage)?;
    let recovered = recovery::recover(parts, mark)?;
    let mut damage = DamageList::from(damage);
    damage.append(recovered.damage);
    let is_writable = recovered.loss.is_none() && disk.only_read().is_none();
    if mark.is_none_or(|mark| accept_loss && mark != recovered.at) && is_writable {
        // What was lost is not asked for again, even if this process is killed; and a mark that could not be read
        // now does not ask later, when more has been written in front of where it is.
        write_mark(disk.as_ref(), &recovered.at)?;
    }
    let ends = Arc::new(Mutex::new(recovered.at));
    let mut log = FileLog::new(disk.clone(), store, limits, ends.clone(), mark);
    if is_alone {
        log = log.beside_chunks_elsewhere();
    }
    let blobs = FileBlobs::new(FileUnits::new(disk.clone(), store), limits, ends);
    if is_writable {
        log.go_on(recovered.newest_log)?;
        if !is_alone {
            blobs.go_on()?;
        }
    }
    let (at, loss, unread) = (recovered.at.position(), recovered.loss, recovered.unread);
    let (log, blobs) = (Arc::new(log), Arc::new(blobs));
    let followed = Followed { log, blobs, at, damage, loss, unread };
    Ok((followed, recovered.commits_are_missing))
}
