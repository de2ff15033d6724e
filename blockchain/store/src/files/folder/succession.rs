//! One store takes the place of another: under the same key, in one step, and once.

use std::fs::File;
use std::path::Path;

use super::identity::{read_key, write_key};
use super::making::make_folder;
use super::{KEYS, Options, RUN};
use crate::StoreError;
use crate::files::disk::real::RealDisk;
use crate::files::disk::{self, Disk as _};

/// In `run/` of a store that is to take another one's place, from before it is one.
const SUCCEEDING: &str = "succeeding";

/// Gives a store that is to be made at `new` the key by which that at `root` signs. What is at `new` before was
/// promised to nobody. Until [`has_succeeded`] the new store [`is_to_succeed`], even if its making or its
/// removal ends half-way.
pub fn bequeath(root: &Path, new: &Path, options: &Options) -> Result<(), StoreError> {
    let mut damage = Vec::new();
    let name = format!("{}.key", options.signing_key);
    let key = read_key(&RealDisk::new(root), &name, "ed25519", &mut damage)?;
    remove_all_but_run(new).map_err(StoreError::io(format!("removing {}", new.display())))?;
    make_folder(new).map_err(|error| StoreError::unwritable(new, error))?;
    let (disk, making) = (RealDisk::new(new), || StoreError::io("making a new store"));
    disk.create_folder(RUN).map_err(making())?;
    let mark = disk::join(RUN, SUCCEEDING);
    if disk.open(&mark).map_err(making())?.is_none() {
        disk.create(&mark).and_then(|file| file.sync()).map_err(making())?;
    }
    disk.sync_folder(RUN).and_then(|()| disk.sync_folder("")).map_err(making())?;
    disk.create_folder(KEYS).map_err(making())?;
    write_key(&disk, &name, "ed25519", &key)
}

/// Removes what is in a folder, but for `run/`, which says what it is.
fn remove_all_but_run(folder: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == RUN {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Whether a folder holds a store, or what is left of one, that was to take another one's place and has not.
pub fn is_to_succeed(root: &Path) -> Result<bool, StoreError> {
    let mark = root.join(RUN).join(SUCCEEDING);
    mark.try_exists().map_err(StoreError::io(format!("looking into {}", root.display())))
}

/// Notes that a store is in its place.
pub fn has_succeeded(root: &Path) -> Result<(), StoreError> {
    let disk = RealDisk::new(root);
    disk.unlink(&disk::join(RUN, SUCCEEDING))
        .and_then(|()| disk.sync_folder(RUN))
        .map_err(StoreError::io(format!("looking into {}", root.display())))
}

/// Lets two folders side by side change places, in one step that is durable on return.
pub fn exchange(one: &Path, other: &Path) -> Result<(), StoreError> {
    let context = || format!("exchanging {} and {}", one.display(), other.display());
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags)
        .map_err(|error| StoreError::io(context())(error.into()))?;
    let above = one.parent().unwrap_or(one);
    File::open(above).and_then(|above| above.sync_all()).map_err(StoreError::io(context()))
}
