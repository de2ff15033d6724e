//! One half of a store in files and the other one elsewhere: segments under a log that is kept elsewhere, or a log
//! beside chunks that are.
//!
//! Both promise what a folder promises that has both. What a commit names is durable before the commit is, so that a
//! crash between the two leaves chunks that nothing names: these are no damage, and go with the next collection. Which
//! store the other half is of is its own business; that a folder is not opened as what it is not is seen here, as far
//! as its files tell.

mod adopt;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;

use super::recovery::{self, SegmentsAlone};
use super::{ChunksAre, ToRecover, UnopenedStore, log, recover_files, segment};
use crate::StoreError;
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{FactLog, Position};
use crate::contract::index::is_bound;
use crate::files::blobs::FileBlobs;
use crate::files::units::FileUnits;
use crate::files::watermark::Watermark;
use crate::vault::elsewhere::{Loss, ToFollow};
use crate::vault::projection::Projection;
use crate::vault::{Followed, Vault, VaultParts};

/// A log that is kept elsewhere.
pub struct LogElsewhere {
    /// Keeps the facts, loses nothing by promise, and says itself where the chunks of its commits are.
    pub log: Arc<dyn FactLog>,
    /// Where it ends without commits.
    pub start: Position,
}

/// Opens the segments of a folder under a log that is kept elsewhere. `progress` is that of
/// [`open_watched`](super::open_watched).
///
/// # Errors
///
/// Those of opening a folder; [`StoreError::Folder`] where it has a log of its own, or where that elsewhere has less than
/// was acknowledged; [`StoreError::Anew`] where the index cannot follow it, and the next opening makes it anew.
pub fn open_with_log(
    unopened: UnopenedStore,
    elsewhere: LogElsewhere,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let UnopenedStore { disk, store, cipher, index, project, accept_loss, limits } = unopened;
    let units = FileUnits::new(disk.clone(), store);
    let projection = Arc::new(Projection::new(Arc::new(units), project));
    cipher.bind_rows(is_bound(index.as_ref())?);
    let followed = recover_with_log(
        ToRecover {
            disk: &disk,
            store,
            cipher: &cipher,
            index: index.as_ref(),
            projection: &projection,
            accept_loss,
            limits,
            progress,
            chunks: ChunksAre::LogElsewhere,
        },
        elsewhere,
    )?;
    let only_read = disk.only_read();
    Vault::new(VaultParts { followed, cipher, index, projection, only_read })
}

/// Has the index follow the log, and looks at the segments that it names.
pub(crate) fn recover_with_log(
    parts: ToRecover<'_>,
    LogElsewhere { log, start }: LogElsewhere,
) -> Result<Followed, StoreError> {
    let ToRecover { disk, store, cipher, index, projection, limits, progress, .. } = parts;
    if !log::numbers(disk.as_ref())?.is_empty() {
        return Err(StoreError::Folder(format!(
            "{}/ has a log of this folder's own, and its log is to be elsewhere: name another folder",
            log::FOLDER
        )));
    }
    projection.check(index)?;
    let folder = segment::FOLDER;
    // Its own name is to be durable before anything in it is.
    disk.create_folder(folder)
        .and_then(|()| disk.sync_folder(""))
        .map_err(StoreError::io(format!("making {folder}/")))?;
    let ends = Arc::new(Mutex::new(Watermark::START));
    let blobs = FileBlobs::new(FileUnits::new(disk.clone(), store), limits, ends.clone());
    let blobs = blobs.under_a_log_elsewhere();
    // What is lost of the log is accepted with an index that is made anew; of segments it is with any.
    let loss = match parts.accept_loss && Position::of(index)?.is_none() {
        true => Loss::Accepted,
        false => Loss::Refused,
    };
    let to_follow =
        ToFollow { log: log.as_ref(), blobs: &blobs, index, projection, cipher, progress };
    let at = to_follow.to_the_end(start, loss)?;
    let SegmentsAlone { at: end, damage, loss, unread, left } = recovery::recover_segments(parts)?;
    *ends.lock() = end;
    if loss.is_none() && disk.only_read().is_none() {
        blobs.go_on()?;
        blobs.remove_later(left);
    }
    Ok(Followed { log, blobs: Arc::new(blobs), at, damage, loss, unread })
}

/// Opens the log of a folder, whose chunks are kept elsewhere. `progress` is that of
/// [`open_watched`](super::open_watched).
///
/// # Errors
///
/// Those of opening a folder; [`StoreError::Folder`] where it has chunks of its own.
pub fn open_with_chunks(
    unopened: UnopenedStore,
    chunks: Arc<dyn Blobs>,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let UnopenedStore { disk, store, cipher, index, project, accept_loss, limits } = unopened;
    let projection = Arc::new(Projection::new(chunks.clone(), project));
    cipher.bind_rows(is_bound(index.as_ref())?);
    let followed = recover_with_chunks(
        ToRecover {
            disk: &disk,
            store,
            cipher: &cipher,
            index: index.as_ref(),
            projection: &projection,
            accept_loss,
            limits,
            progress,
            chunks: ChunksAre::Elsewhere(chunks.as_ref()),
        },
        chunks.clone(),
    )?;
    let only_read = disk.only_read();
    Vault::new(VaultParts { followed, cipher, index, projection, only_read })
}

/// Recovers the log.
pub(crate) fn recover_with_chunks(
    parts: ToRecover<'_>,
    chunks: Arc<dyn Blobs>,
) -> Result<Followed, StoreError> {
    if !segment::numbers(parts.disk.as_ref())?.is_empty() {
        return Err(StoreError::Folder(format!(
            "{}/ has chunks of this folder's own, and its chunks are to be elsewhere: name another folder",
            segment::FOLDER
        )));
    }
    let (recovered, commits_are_missing) = recover_files(parts)?;
    let mut followed = Followed { blobs: chunks, ..recovered };
    if commits_are_missing && followed.loss.is_none() {
        adopt::adopt(parts, &mut followed)?;
    }
    Ok(followed)
}
