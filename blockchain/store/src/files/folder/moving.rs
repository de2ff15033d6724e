//! What a folder looks like while its store moves into a database or a bucket, and back.
//!
//! The label says where log, chunks and blocks are; what lies in the folder otherwise is nobody's. So a move into the
//! folder writes them where they will be, and nothing counts before the label says so; and a move out of it leaves
//! them there, under another name, until the operator removes them. The index that a move makes is beside the one in
//! use, and takes its place with the label.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DataFolder, INDEX};
use crate::StoreError;
use crate::contract::index::Index;
use crate::files::index::EmbeddedIndex;
use crate::files::{chain, log, segment, watermark};

/// The folder, in a data folder, of what was there before its store moved out of it.
pub const BEFORE_MOVE: &str = "before-move";
/// The folder of the index that a move makes.
pub const MOVING_INDEX: &str = "index-moving";

/// What of a data folder moves with a store that is kept in it.
const MOVES: [&str; 5] = [log::FOLDER, segment::FOLDER, watermark::MARK, chain::FOLDER, chain::TIP];

impl DataFolder {
    /// The index of where a store is moving to, which goes on where an earlier try ended.
    pub fn moving_index(&self) -> Result<Arc<dyn Index>, StoreError> {
        Ok(Arc::new(EmbeddedIndex::open(&self.root.join(MOVING_INDEX))?))
    }

    /// Throws that index away; the next one is built anew.
    pub fn remove_moving_index(&self) -> Result<(), StoreError> {
        remove_folder(&self.root.join(MOVING_INDEX))
    }

    /// Has the index that a move made take the place of the one before. Both are closed. A crash between leaves
    /// none, and the next start builds it.
    pub fn take_moving_index(&self) -> Result<(), StoreError> {
        self.remove_index()?;
        let (made, place) = (self.root.join(MOVING_INDEX), self.root.join(INDEX));
        match std::fs::rename(&made, &place) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io(format!("renaming {}", made.display()))(error))
            }
            _ => sync(&self.root),
        }
    }

    /// Puts log, chunks and blocks out of the way that lie in the folder, without a change to any of them. Says where
    /// they are; `None` when there are none. What was put there before is never written over.
    pub fn set_before_move_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        let aside = self.root.join(BEFORE_MOVE);
        let mut names = Vec::new();
        for name in MOVES {
            if is_there(&self.root.join(name))? {
                if is_there(&aside.join(name))? {
                    return Err(StoreError::Folder(format!(
                        "{} holds what was in the folder before an earlier move: move it away or remove it, then run \
                         the same again",
                        aside.display()
                    )));
                }
                names.push(name);
            }
        }
        if names.is_empty() {
            return Ok(None);
        }
        self.disk.create_folder(BEFORE_MOVE).map_err(StoreError::io(context(&aside)))?;
        sync(&self.root)?;
        for name in names {
            let (from, to) = (self.root.join(name), aside.join(name));
            std::fs::rename(&from, &to).map_err(StoreError::io(context(&from)))?;
        }
        sync(&aside)?;
        sync(&self.root)?;
        Ok(Some(aside))
    }
}

fn context(path: &Path) -> String {
    format!("putting {} aside", path.display())
}

/// Whether something has this name, be it a link to what is not mounted.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(format!("looking at {}", path.display()))(error)),
    }
}

fn remove_folder(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StoreError::io(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(StoreError::io(format!("syncing {}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::folder::tests::options;

    #[test]
    fn what_was_there_is_put_aside_once_and_never_written_over() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("data");
        let folder = DataFolder::open(&root, &options("data-chain")).unwrap();
        assert_eq!(folder.set_before_move_aside().unwrap(), None);
        let elsewhere = home.path().join("other-disk");
        folder.keep_chunks_in(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("00000001.seg"), "records").unwrap();
        std::fs::create_dir(root.join("log")).unwrap();
        std::fs::write(root.join("log/00000001.log"), "facts").unwrap();
        std::fs::write(root.join("CLOSED"), "mark").unwrap();
        let aside = folder.set_before_move_aside().unwrap().unwrap();
        assert_eq!(aside, root.join("before-move"));
        assert_eq!(std::fs::read(aside.join("log/00000001.log")).unwrap(), b"facts");
        assert_eq!(std::fs::read(aside.join("chunks/00000001.seg")).unwrap(), b"records");
        assert_eq!(std::fs::read(aside.join("CLOSED")).unwrap(), b"mark");
        assert!(
            ["log", "chunks", "CLOSED"].iter().all(|name| !is_there(&root.join(name)).unwrap())
        );
        // A crash on the way leaves a part for the next run.
        assert_eq!(folder.set_before_move_aside().unwrap(), None);
        std::fs::write(root.join("TIP"), "tip").unwrap();
        assert_eq!(folder.set_before_move_aside().unwrap(), Some(aside.clone()));
        std::fs::create_dir(root.join("log")).unwrap();
        let refused = folder.set_before_move_aside().unwrap_err().to_string();
        assert!(refused.contains("before-move holds what was in the folder before"), "{refused}");
        assert_eq!(std::fs::read(aside.join("log/00000001.log")).unwrap(), b"facts");
    }

    #[test]
    fn the_index_that_a_move_made_takes_the_place_of_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("data");
        let folder = DataFolder::open(&root, &options("data-chain")).unwrap();
        let row = |value: u8| vec![(vec![0x40], Some(vec![value]))];
        folder.index().unwrap().write(row(1)).unwrap();
        folder.moving_index().unwrap().write(row(2)).unwrap();
        folder.take_moving_index().unwrap();
        assert_eq!(folder.index().unwrap().get(&[0x40]).unwrap(), Some(vec![2]));
        // Without one, the next start builds it.
        folder.take_moving_index().unwrap();
        assert_eq!(folder.index().unwrap().get(&[0x40]).unwrap(), None);
        folder.moving_index().unwrap().write(row(3)).unwrap();
        folder.remove_moving_index().unwrap();
        folder.remove_moving_index().unwrap();
        assert_eq!(folder.moving_index().unwrap().get(&[0x40]).unwrap(), None);
    }
}
