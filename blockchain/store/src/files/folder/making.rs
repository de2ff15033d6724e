//! Making a folder a store, as durably as what will be in it; and clearing away what was never finished.

use std::fs::File;
use std::path::Path;

use super::{INDEX, KEYS, RUN, STORE, copy_name};
use crate::StoreError;
use crate::files::disk::{self, Disk, real};
use crate::files::{chain, log, segment};

/// In `run/` while a new store is being made: what else is in the folder then was promised to nobody.
pub(super) const MAKING: &str = "making";

/// Puts away a store that was begun and never finished, and notes that another is begun. Keys that were
/// there before are not this store's making: then nothing is noted, and never cleared away.
pub(super) fn begin_making(disk: &dyn Disk, root: &Path) -> Result<(), StoreError> {
    let making = || StoreError::io("making a new store");
    let mark = disk::join(RUN, MAKING);
    if disk.open(&mark).map_err(making())?.is_some() {
        set_aside(disk).map_err(making())?;
        for name in [copy_name(STORE), format!("{STORE}.new"), format!("{STORE}.copy.new")] {
            disk.unlink(&name).map_err(making())?;
        }
        return Ok(());
    }
    refuse_leftovers(disk, root)?;
    if !disk.list(KEYS).map_err(making())?.is_empty() {
        return Ok(());
    }
    disk.create(&mark).and_then(|file| file.sync()).map_err(making())?;
    disk.sync_folder(RUN).and_then(|()| disk.sync_folder("")).map_err(making())
}

/// Moves keys of a store that was never finished out of the way. They are not removed: the operator may have
/// put others there since.
fn set_aside(disk: &dyn Disk) -> std::io::Result<()> {
    let names = disk.list(KEYS)?;
    if names.is_empty() {
        return Ok(());
    }
    let mut number = 1;
    let folder = loop {
        let folder = disk::join(RUN, &format!("unfinished-{KEYS}-{number}"));
        if disk.list(&folder)?.is_empty() {
            break folder;
        }
        number += 1;
    };
    disk.create_folder(&folder)?;
    for name in names {
        disk.rename(&disk::join(KEYS, &name), &disk::join(&folder, &name))?;
    }
    disk.sync_folder(&folder)?;
    disk.sync_folder(RUN)?;
    disk.sync_folder(KEYS)
}

pub(super) fn end_making(disk: &dyn Disk, root: &Path) -> Result<(), StoreError> {
    if !root.join(RUN).join(MAKING).exists() {
        return Ok(());
    }
    disk.unlink(&disk::join(RUN, MAKING))
        .and_then(|()| disk.sync_folder(RUN))
        .map_err(StoreError::io("making a new store"))
}

/// Makes a folder and those above it. Their names must be as durable as what will be in them, so the folder
/// of each one that is made is synced. Of those that are there, the last may have been made by a start that was
/// killed before it came to that.
pub(super) fn make_folder(path: &Path) -> Result<(), StoreError> {
    let making = || StoreError::io(format!("making {}", path.display()));
    let path = std::path::absolute(path).map_err(making())?;
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
    if let Some(there) = path.ancestors().nth(missing.len())
        && let Some(above) = there.parent()
        && let Err(error) = sync_above(above, there)
    {
        // The process or user that made the folder may not have been allowed to read the one above it either.
        // They cannot be told from one who never had to sync it.
        tracing::warn!(%error, "a folder's name may not be durable");
    }
    for folder in missing.into_iter().rev() {
        match real::private_folder(folder) {
            // Another process was a little faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made.map_err(making())?,
        }
        if let Some(above) = folder.parent() {
            sync_above(above, folder)
                .map_err(StoreError::io(format!("syncing {}", above.display())))?;
        }
    }
    Ok(())
}

/// Closes the folders of a store that a version before left open to whom the umask let in. The folder itself
/// is its operator's: others may be let in on purpose, and find nothing open there.
pub(super) fn close_folders(root: &Path) {
    for name in [KEYS, RUN, INDEX, log::FOLDER, segment::FOLDER, chain::FOLDER] {
        let folder = root.join(name);
        match real::close_to_others(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let folder = folder.display();
                tracing::warn!(%folder, %error, "others may look into the folder: close it to them");
            }
            _ => {}
        }
    }
}

/// Makes the name of what was just made durable. A folder that may only be passed through and written to
/// cannot be opened, so all of its file system is synced.
pub(super) fn sync_above(above: &Path, made: &Path) -> std::io::Result<()> {
    #[cfg(test)]
    super::tests::note_sync(above);
    match File::open(above) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Ok(rustix::fs::syncfs(File::open(made)?)?)
        }
        opened => opened?.sync_all(),
    }
}

/// A folder with segments or a log, but without `STORE`, is a store that lost a file, not a new one.
pub(super) fn refuse_leftovers(disk: &dyn Disk, root: &Path) -> Result<(), StoreError> {
    for folder in [log::FOLDER, segment::FOLDER, chain::FOLDER] {
        let names = disk.list(folder).map_err(StoreError::io(format!("listing {folder}/")))?;
        if !names.is_empty() {
            return Err(StoreError::Folder(format!(
                "{} holds {folder}/ but no {STORE} file: put {STORE} back from a copy, or name an \
                 empty folder with --data",
                root.display()
            )));
        }
    }
    Ok(())
}
