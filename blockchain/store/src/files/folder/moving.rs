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

use super::label::read_label;
use super::{DataFolder, INDEX, Options, STORE, STORE_TITLE, elsewhere};
use crate::StoreError;
use crate::backend::servers::Servers;
use crate::backend::{Given, Keeper, Kept, bare_form};
use crate::contract::index::Index;
use crate::files::index::EmbeddedIndex;
use crate::files::{chain, log, segment, watermark};

/// The folder, in a data folder, of what was there before its store moved out of it.
pub const BEFORE_MOVE: &str = "before-move";
/// The folder of the index that a move out of the folder makes.
pub const MOVING_INDEX: &str = "index-moving";
/// The folder of the index that a move into the folder makes.
pub const MOVING_INDEX_HERE: &str = "index-moving-here";

/// Who has chunks of its own besides facts.
const WITH_CHUNKS: &str = "data-chain";

/// What of a data folder moves with a store that is kept in it.
const MOVES: [&str; 5] = [log::FOLDER, segment::FOLDER, watermark::MARK, chain::FOLDER, chain::TIP];

/// What keeps the store of a folder, as its label says, beside its owner.
pub fn kept_in(root: &Path, options: &Options) -> Result<Kept, StoreError> {
    let disk = super::RealDisk::for_reading(root);
    Ok(super::read_store(&disk, options, &mut Vec::new())?.kept)
}

impl DataFolder {
    /// The folder as it will be when its store has moved to what is given: what is there is reached, and is made a
    /// place of this store, with its id and its keys, unless it is one. `only_look`: that is only seen to be possible.
    /// What this folder is, stays.
    pub fn moving_to(
        &self,
        options: &Options,
        to: &Given,
        only_look: bool,
    ) -> Result<Self, StoreError> {
        let kept = to.kept();
        let chunks_stay = options.service == WITH_CHUNKS && kept.chunks == self.kept.chunks;
        if kept.log == self.kept.log || chunks_stay || (kept.chunks != kept_with(kept, options)) {
            return Err(StoreError::Folder(format!(
                "a store moves as a whole, and this one has {} and would have {kept}: set both MONGO_URL and the \
                 LUCID_S3_ variables",
                self.kept
            )));
        }
        if !kept.is_here() {
            self.may_be_set_aside()?;
        }
        let servers = Servers::reach(to, options.service)?;
        if let Some(servers) = &servers {
            servers.try_bucket(only_look)?;
            if let Some(lock) = servers.lock() {
                let keyed = self.cipher.is_encrypted();
                elsewhere::adopt(&elsewhere::Adopted {
                    disk: self.disk.as_ref(),
                    options,
                    servers,
                    lock: lock.as_ref(),
                    store: self.store,
                    keyed,
                    seed: &self.signing_seed,
                    only_look,
                })?;
            }
        }
        Ok(Self {
            root: self.root.clone(),
            disk: self.disk.clone(),
            store: self.store,
            cipher: self.cipher.clone(),
            signing_seed: self.signing_seed.clone(),
            key_export: self.key_export.clone(),
            damage: Vec::new(),
            is_new: false,
            kept,
            servers,
            only_read: None,
            _lock: None,
        })
    }

    /// The index of where its store is moving to, of a folder as it will be. It goes on where an earlier try ended.
    pub fn moving_index(&self) -> Result<Arc<dyn Index>, StoreError> {
        Ok(Arc::new(EmbeddedIndex::open(&self.moving_index_folder())?))
    }

    fn moving_index_folder(&self) -> PathBuf {
        self.root.join(if self.kept.is_here() { MOVING_INDEX_HERE } else { MOVING_INDEX })
    }

    /// Throws that index away; the next one is built anew.
    pub fn remove_moving_index(&self) -> Result<(), StoreError> {
        remove_folder(&self.moving_index_folder())
    }

    /// Refuses so many bytes that are to come into the folder, if the disk has no room for them.
    pub fn has_room_for(&self, bytes: u64) -> Result<(), StoreError> {
        let space = self.disk.space("");
        let space = space.map_err(StoreError::io(format!("asking {}", self.root.display())))?;
        let free = space.free.saturating_sub(space.reserve);
        if bytes <= free {
            return Ok(());
        }
        Err(StoreError::Folder(format!(
            "{bytes} bytes are to move into {}, and its disk has room for {free}: make room first",
            self.root.display()
        )))
    }

    /// Makes way in the folder for a store that moves into it: what an earlier move out of it left is put aside.
    pub fn make_way(&self) -> Result<(), StoreError> {
        match self.kept.is_here() && !is_there(&self.moving_index_folder())? {
            true => self.set_before_move_aside().map(|_| ()),
            false => Ok(()),
        }
    }

    /// Says in the label that the store is kept as in `moved`, which is this folder as it will be, from now on; both
    /// indexes are closed. The label is the decision: a crash before it leaves all as it was, and one behind it at most
    /// an index that the next start builds. Says where what was in the folder is now, if it moved out.
    pub fn has_moved(&self, moved: &Self) -> Result<Option<PathBuf>, StoreError> {
        // First the index: one of another log would be refused.
        self.remove_index()?;
        self.write_kept(moved.kept)?;
        let (made, place) = (moved.moving_index_folder(), self.root.join(INDEX));
        match std::fs::rename(&made, &place) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io(format!("renaming {}", made.display()))(error));
            }
            _ => sync(&self.root)?,
        }
        if moved.kept.is_here() { Ok(None) } else { self.set_before_move_aside() }
    }

    /// Writes the label anew, with another keeper of log and chunks.
    fn write_kept(&self, kept: Kept) -> Result<(), StoreError> {
        let mut lines = read_label(self.disk.as_ref(), "", STORE, STORE_TITLE, &mut Vec::new())?;
        let form = lines.get("names").map(|names| bare_form(names).to_owned()).unwrap_or_default();
        lines.insert("names".into(), kept.names(&form).into());
        for part in Kept::PARTS {
            lines.remove(part);
        }
        lines.extend(kept.lines().map(|(part, keeper)| (part.to_owned(), keeper.into())));
        let order =
            |name: &str| ["id", "service", "names", "created"].iter().position(|n| *n == name);
        let mut lines: Vec<_> =
            lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        lines.sort_by_key(|(name, _)| (order(name).unwrap_or(usize::MAX), *name));
        super::label::write_label(self.disk.as_ref(), "", STORE, STORE_TITLE, &lines)
    }

    /// Puts log, chunks and blocks out of the way that lie in the folder, without a change to any of them. Says where
    /// they are; `None` when there are none. What was put there before is never written over.
    pub fn set_before_move_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        let aside = self.root.join(BEFORE_MOVE);
        let names = self.may_be_set_aside()?;
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

    /// What of the store is in the folder, unless something is where it would be put aside.
    fn may_be_set_aside(&self) -> Result<Vec<&'static str>, StoreError> {
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
        Ok(names)
    }
}

/// What keeps the chunks where the log is kept so.
fn kept_with(kept: Kept, options: &Options) -> Keeper {
    match kept.log {
        Keeper::MongoDb if options.service == WITH_CHUNKS => Keeper::S3,
        _ => Keeper::Folder,
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
    fn the_label_decides_where_a_store_is_and_the_index_goes_with_it() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("data");
        let folder = DataFolder::open(&root, &options("data-chain")).unwrap();
        let row = |value: u8| vec![(vec![0x40], Some(vec![value]))];
        folder.index().unwrap().write(row(1)).unwrap();
        std::fs::create_dir(root.join("log")).unwrap();
        let kept = Kept { log: Keeper::MongoDb, chunks: Keeper::S3 };
        let moved = DataFolder { kept, ..as_it_is(&folder) };
        moved.moving_index().unwrap().write(row(2)).unwrap();
        assert_eq!(kept_in(&root, &options("data-chain")).unwrap(), Kept::default());
        let created = std::fs::read_to_string(root.join("STORE")).unwrap();
        assert_eq!(folder.has_moved(&moved).unwrap(), Some(root.join("before-move")));
        assert_eq!(kept_in(&root, &options("data-chain")).unwrap(), kept);
        assert_eq!(folder.index().unwrap().get(&[0x40]).unwrap(), Some(vec![2]));
        let refused = folder.moving_to(&options("data-chain"), &Given::default(), true).err();
        assert!(refused.unwrap().to_string().contains("moves as a whole"));

        // Back: the label is what it was, byte by byte; without an index the next start builds one.
        let home_again = as_it_is(&folder);
        home_again.make_way().unwrap();
        folder.has_moved(&home_again).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("STORE")).unwrap(), created);
        assert_eq!(folder.index().unwrap().get(&[0x40]).unwrap(), None);
    }

    /// The folder as a move sees it.
    fn as_it_is(folder: &DataFolder) -> DataFolder {
        DataFolder {
            root: folder.root.clone(),
            disk: folder.disk.clone(),
            store: folder.store,
            cipher: folder.cipher.clone(),
            signing_seed: folder.signing_seed.clone(),
            key_export: folder.key_export.clone(),
            damage: Vec::new(),
            is_new: false,
            kept: Kept::default(),
            servers: None,
            only_read: None,
            _lock: None,
        }
    }
}
