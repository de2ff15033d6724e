//! Segments on another disk: `chunks` in the data folder is then a symbolic link to where they are.
//!
//! A link is found by everyone who opens the folder, the command line included, so nobody has to be
//! told twice where a store's chunks are. Only an empty folder is linked: another store's segments in
//! it would be taken for leftovers of this one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::DataFolder;
use crate::StoreError;
use crate::segment::FOLDER;

impl DataFolder {
    /// Has the segments kept in `target`. A store that has segments already is not moved: that is for
    /// its operator, who is told how.
    pub fn keep_chunks_in(&self, target: &Path) -> Result<(), StoreError> {
        let link = self.root.join(FOLDER);
        let (from, to) = (link.display(), target.display());
        let target =
            std::path::absolute(target).map_err(StoreError::io(format!("finding {to}")))?;
        let refuse = |sentence: String| Err(StoreError::Folder(sentence));
        match fs::symlink_metadata(&link) {
            Ok(known) if known.is_symlink() => match fs::read_link(&link) {
                Ok(known) if known == target => return Ok(()),
                Ok(known) => {
                    return refuse(format!(
                        "the chunks are in {}, not in {to}: name that folder, or move its files to \
                         {to} and make {from} a symbolic link to it",
                        known.display()
                    ));
                }
                Err(error) => return Err(StoreError::io(format!("reading {from}"))(error)),
            },
            // An empty one may go.
            Ok(_) => match fs::remove_dir(&link) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                    return refuse(format!(
                        "the chunks are in {from}, not in {to}: to have them there, move its files \
                         to {to} and make {from} a symbolic link to it"
                    ));
                }
                removed => removed.map_err(StoreError::io(format!("removing {from}")))?,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(format!("reading {from}"))(error)),
        }
        fs::create_dir_all(&target).map_err(StoreError::io(format!("making {to}")))?;
        if holds_something(&target)? {
            return refuse(format!(
                "{to} is not empty: a store's chunks need a folder of their own (if they are this \
                 store's, make {from} a symbolic link to it)"
            ));
        }
        std::os::unix::fs::symlink(&target, &link)
            .map_err(StoreError::io(format!("linking {from} to {to}")))?;
        fs::File::open(&self.root)
            .and_then(|root| root.sync_all())
            .map_err(StoreError::io(format!("syncing {}", self.root.display())))
    }
}

fn holds_something(folder: &Path) -> Result<bool, StoreError> {
    let mut entries =
        fs::read_dir(folder).map_err(StoreError::io(format!("listing {}", folder.display())))?;
    Ok(entries.next().is_some())
}

/// A link that leads nowhere is a disk that is not mounted, and not an empty store.
pub(super) fn check(root: &Path) -> Result<(), StoreError> {
    let link = root.join(FOLDER);
    let target: Option<PathBuf> = fs::read_link(&link).ok();
    match target.filter(|_| !link.is_dir()) {
        Some(target) => Err(StoreError::Folder(format!(
            "the chunks of this store are in {}, which is not there: mount it, or put it back",
            target.display()
        ))),
        None => Ok(()),
    }
}
