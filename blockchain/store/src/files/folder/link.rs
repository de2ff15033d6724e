//! Segments or blocks on another disk: `chunks` or `blocks` in the data folder is then a symbolic link to
//! where they are.
//!
//! A link is found by everyone who opens the folder, the command line included, so nobody has to be
//! told twice where a store's files are, and nobody takes a chain that lies elsewhere for a lost one. Only
//! an empty folder is linked, or one with this store's blocks: another store's files in it would be taken
//! for leftovers of this one.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::{DataFolder, make_folder};
use crate::StoreError;
use crate::files::{chain, segment};
use crate::frame::HEADER_BYTES;

/// What may be kept elsewhere: the folder's name here, and what is in it.
#[derive(Clone, Copy)]
struct Movable {
    name: &'static str,
    what: &'static str,
}

const CHUNKS: Movable = Movable { name: segment::FOLDER, what: "chunks" };
const BLOCKS: Movable = Movable { name: chain::FOLDER, what: "blocks" };

impl DataFolder {
    /// Has the segments kept in `target`. A store that has segments already is not moved: that is for
    /// its operator, who is told how.
    pub fn keep_chunks_in(&self, target: &Path) -> Result<(), StoreError> {
        let target = &absolute(target)?;
        if is_linked(&self.root, CHUNKS, target)? {
            return Ok(());
        }
        make_folder(target)?;
        if !is_empty(target)? {
            let (link, target) = (self.root.join(CHUNKS.name), target.display());
            return Err(StoreError::Folder(format!(
                "{target} is not empty: a store's chunks need a folder of their own (if they are this \
                 store's, make {} a symbolic link to it)",
                link.display()
            )));
        }
        self.link(CHUNKS, target)
    }

    /// Has the blocks looked for in `target`, from now on by everybody. It may hold the blocks of this
    /// store already, as for those versions that were told so with every start.
    pub fn keep_blocks_in(&self, target: &Path) -> Result<(), StoreError> {
        let target = &absolute(target)?;
        let here = self.root.join(BLOCKS.name);
        let is_same = |(here, there): (PathBuf, PathBuf)| here == there;
        if *target == absolute(&here)?
            || here.canonicalize().ok().zip(target.canonicalize().ok()).is_some_and(is_same)
        {
            return Ok(());
        }
        let is_ours = self.has_blocks(target)?;
        // The disk may be mounted in another place than it was: what is named and holds them counts.
        if is_ours
            && let Ok(known) = fs::read_link(&here)
            && !self.has_blocks(&known)?
        {
            fs::remove_file(&here)
                .map_err(StoreError::io(format!("removing {}", here.display())))?;
        }
        if is_linked(&self.root, BLOCKS, target)? {
            return Ok(());
        }
        if !is_ours {
            self.must_have_blocks(target)?;
            make_folder(target)?;
            if !is_empty(target)? {
                return Err(StoreError::Folder(format!(
                    "{} is not empty, and what it holds is not of this chain: blocks need a folder of \
                     their own",
                    target.display()
                )));
            }
        }
        self.link(BLOCKS, target)
    }

    /// Refuses a folder that has no block of this chain, if there is a chain.
    pub fn must_have_blocks(&self, target: &Path) -> Result<(), StoreError> {
        let tip = self.root.join(chain::TIP);
        if !tip.exists() || self.has_blocks(target)? {
            return Ok(());
        }
        Err(StoreError::Folder(format!(
            "{} does not hold the blocks of this chain, which {} is the lock of: mount it, put the \
             blocks back, or name the folder they are in (BLOCK_STORAGE_PATH)",
            target.display(),
            tip.display()
        )))
    }

    /// Blocks that lie elsewhere must be there: an empty place is a disk that is not mounted.
    pub fn blocks_are_mounted(&self) -> Result<(), StoreError> {
        check_one(&self.root, BLOCKS)
    }

    /// Whether a folder has a file of this store's blocks: the first record of each names the store. One
    /// is enough, for others may be damaged.
    fn has_blocks(&self, folder: &Path) -> Result<bool, StoreError> {
        let context = |path: &Path| StoreError::io(format!("reading {}", path.display()));
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return Ok(false),
            Err(error) => return Err(context(folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(context(folder))?.path();
            if path.extension().is_none_or(|kind| kind != "blocks") {
                continue;
            }
            let mut head = [0; HEADER_BYTES + 16];
            match fs::File::open(&path).and_then(|mut file| file.read_exact(&mut head)) {
                Ok(()) if head.last_chunk::<16>() == Some(&self.store) => return Ok(true),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(context(&path)(error)),
            }
        }
        Ok(false)
    }

    fn link(&self, kept: Movable, target: &Path) -> Result<(), StoreError> {
        let link = self.root.join(kept.name);
        std::os::unix::fs::symlink(target, &link).map_err(StoreError::io(format!(
            "linking {} to {}",
            link.display(),
            target.display()
        )))?;
        super::making::sync_above(&self.root, &link).map_err(StoreError::io("syncing the folder"))
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(StoreError::io(format!("finding {}", path.display())))
}

/// Whether the link leads there already. An empty folder in its place goes; anything else is refused.
fn is_linked(root: &Path, kept: Movable, target: &Path) -> Result<bool, StoreError> {
    let Movable { name, what } = kept;
    let link = root.join(name);
    let (from, to) = (link.display(), target.display());
    let refuse = |sentence: String| Err(StoreError::Folder(sentence));
    match fs::symlink_metadata(&link) {
        Ok(known) if known.is_symlink() => match fs::read_link(&link) {
            Ok(known) if known == *target => Ok(true),
            Ok(known) => refuse(format!(
                "the {what} are in {}, not in {to}: name that folder, or move its files to {to} and \
                 make {from} a symbolic link to it",
                known.display()
            )),
            Err(error) => Err(StoreError::io(format!("reading {from}"))(error)),
        },
        Ok(_) => match fs::remove_dir(&link) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => refuse(format!(
                "the {what} are in {from}, not in {to}: to have them there, move its files to {to} \
                 (where they are there already, move {from} out of the way)"
            )),
            removed => removed.map(|()| false).map_err(StoreError::io(format!("removing {from}"))),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(format!("reading {from}"))(error)),
    }
}

fn is_empty(folder: &Path) -> Result<bool, StoreError> {
    let mut entries =
        fs::read_dir(folder).map_err(StoreError::io(format!("listing {}", folder.display())))?;
    Ok(entries.next().is_none())
}

/// A link that leads nowhere is a disk that is not mounted, and not an empty store.
pub(super) fn check(root: &Path) -> Result<(), StoreError> {
    check_one(root, CHUNKS)
}

fn check_one(root: &Path, kept: Movable) -> Result<(), StoreError> {
    let link = root.join(kept.name);
    let target: Option<PathBuf> = fs::read_link(&link).ok();
    match target.filter(|_| !link.is_dir()) {
        Some(target) => Err(StoreError::Folder(format!(
            "the {} of this store are in {}, which is not there: mount it, or put it back",
            kept.what,
            target.display()
        ))),
        None => Ok(()),
    }
}
