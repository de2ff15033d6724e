//! A vault over whatever keeps a store.

use std::sync::Arc;

use super::no_chunks::NoChunks;
use super::servers::Servers;
use super::{Keeper, Kept};
use crate::StoreError;
use crate::contract::blobs::Blobs;
use crate::contract::chain::ChainStore;
use crate::files::audit::{Audit, OtherHalf, audit_labels, audit_with};
use crate::files::disk::Disk;
use crate::files::folder::DataFolder;
use crate::files::{self, LogElsewhere, UnopenedStore, log};
use crate::vault::audit::Audited;
use crate::vault::{Elsewhere, Vault};

/// Opens the store of a folder, with its log and its chunks where its label says that they are. `progress` hears how
/// many bytes of the log, of how many that have to be, are read, and ends the opening by `false`.
///
/// # Errors
///
/// Those of opening a store; [`StoreError::Anew`] where the index cannot follow a log that others write to, too: it is
/// marked, and [`DataFolder::join`] makes it anew and opens once more.
pub fn open(
    folder: &DataFolder,
    unopened: UnopenedStore,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let Some(servers) = folder.servers() else { return files::open_watched(unopened, progress) };
    let Kept { log, chunks } = servers.kept();
    match (log == Keeper::MongoDb, chunks == Keeper::S3) {
        (false, false) => files::open_watched(unopened, progress),
        (true, true) => {
            let is_unused = servers.is_unused()?;
            let blobs = chunks_of(folder, servers, is_unused)?;
            follow(folder, servers, unopened, blobs, progress)
        }
        (true, false) => {
            let (log, start) = servers.log(unopened.store)?;
            files::open_with_log(unopened, LogElsewhere { log, start }, progress)
        }
        (false, true) => {
            let logs = unopened.disk.list(log::FOLDER);
            let logs = logs.map_err(StoreError::io(format!("listing {}/", log::FOLDER)))?;
            let blobs = chunks_of(folder, servers, logs.is_empty())?;
            files::open_with_chunks(unopened, blobs, progress)
        }
    }
}

/// Opens a store that has facts and no chunks, a block-manager's.
pub fn open_without_chunks(
    folder: &DataFolder,
    unopened: UnopenedStore,
) -> Result<Vault, StoreError> {
    match folder.servers() {
        None => files::open(unopened),
        Some(servers) => follow(folder, servers, unopened, Arc::new(NoChunks), &|_, _| true),
    }
}

/// The blocks of a folder's store, if they are in a database.
pub fn chain(folder: &DataFolder) -> Result<Option<Box<dyn ChainStore>>, StoreError> {
    let servers = folder.servers().filter(|servers| servers.kept().log == Keeper::MongoDb);
    servers.map(|servers| servers.chain(folder.store)).transpose()
}

/// Opens what a store is moving to: of a folder as it will be. That its bucket has nothing yet is no fault.
pub fn open_to_move(
    folder: &DataFolder,
    unopened: UnopenedStore,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    match folder.servers() {
        None => files::open_watched(unopened, progress),
        Some(servers) => {
            let blobs = servers.blobs(unopened.store, false)?;
            follow(folder, servers, unopened, blobs, progress)
        }
    }
}

/// The bucket of a store. One that has nothing of a store that has commits is not its bucket.
fn chunks_of(
    folder: &DataFolder,
    servers: &Servers,
    is_unused: bool,
) -> Result<Arc<dyn Blobs>, StoreError> {
    let reads = folder.only_read().is_some();
    servers.try_bucket(reads)?;
    if servers.bucket_of()?.is_none() && !is_unused {
        return Err(StoreError::Folder(format!(
            "{} has nothing of this store, and its log has commits: name the bucket and the prefix that its chunks \
             are in with LUCID_S3_BUCKET and LUCID_S3_PREFIX",
            servers.titles().pop().unwrap_or_default(),
        )));
    }
    servers.blobs(folder.store, reads)
}

fn follow(
    folder: &DataFolder,
    servers: &Servers,
    unopened: UnopenedStore,
    blobs: Arc<dyn Blobs>,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let UnopenedStore { store, cipher, index, project, accept_loss, .. } = unopened;
    let (log, start) = servers.log(store)?;
    let elsewhere = Elsewhere { log, blobs, start, cipher, index, project };
    if accept_loss {
        return Vault::open_elsewhere_accepting_loss(elsewhere, progress);
    }
    let only_read = folder.only_read().map(|only_read| only_read.why().to_owned());
    Vault::open_elsewhere_watched(elsewhere, only_read, progress)
}

/// Reads all that is kept of a store, wherever that is, and says what is wrong. `progress` hears how many bytes of how many are read.
pub fn audit(
    disk: &Arc<dyn Disk>,
    kept: Kept,
    vault: &Vault,
    store: [u8; 16],
    progress: &dyn Fn(u64, u64),
) -> Result<Audit, StoreError> {
    let half = match (kept.log == Keeper::MongoDb, kept.chunks == Keeper::S3) {
        (true, false) => Some(OtherHalf::Log(vault.log())),
        (false, true) => Some(OtherHalf::Chunks(vault.blobs())),
        (false, false) => None,
        (true, true) => return audit_elsewhere(disk.as_ref(), vault, progress),
    };
    audit_with(disk, Some(vault.cipher()), store, None, half, progress)
}

/// Of the folder its label and its keys; all else by its contracts.
fn audit_elsewhere(
    disk: &dyn Disk,
    vault: &Vault,
    progress: &dyn Fn(u64, u64),
) -> Result<Audit, StoreError> {
    let mut found = audit_labels(disk)?;
    let Audited { records, plain_bytes, damage, unknown } = vault.audit(progress)?;
    found.records += records;
    found.opened += records;
    found.plain_bytes += plain_bytes;
    found.damage.extend(damage.iter().cloned());
    if damage.more() > 0 {
        found.not_checked.push(format!("{} more places that are damaged", damage.more()));
    }
    found.not_checked.extend(unknown);
    Ok(found)
}
