//! A disk whose `blocks/` is another folder, as `BLOCK_STORAGE_PATH` says of a store that is only read.
//!
//! Where a store may be written to, it keeps in mind by a link where its blocks are. Where it may not, the
//! block-manager puts this between the chain and the folder's own disk, so that blocks on a medium that is
//! mounted elsewhere today are found all the same.

use std::io;
use std::sync::Arc;

use crate::files::chain::FOLDER;
use crate::files::disk::{Disk, DiskFile};
use crate::files::room::Space;

/// Two disks in one.
pub struct BlocksElsewhere {
    /// Everything but the blocks.
    pub home: Arc<dyn Disk>,
    /// Its root is the folder of the blocks.
    pub blocks: Arc<dyn Disk>,
}

impl BlocksElsewhere {
    fn route<'a>(&self, path: &'a str) -> (&dyn Disk, &'a str) {
        match path.strip_prefix(FOLDER) {
            Some("") => (self.blocks.as_ref(), ""),
            Some(rest) if rest.starts_with('/') => {
                (self.blocks.as_ref(), rest.trim_start_matches('/'))
            }
            _ => (self.home.as_ref(), path),
        }
    }
}

impl Disk for BlocksElsewhere {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (disk, path) = self.route(path);
        disk.create(path)
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let (disk, path) = self.route(path);
        disk.open(path)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let (disk, path) = self.route(path);
        disk.create_folder(path)
    }

    fn set_aside(&self, path: &str, bytes: u64) -> io::Result<()> {
        let (disk, path) = self.route(path);
        disk.set_aside(path, bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (disk, from) = self.route(from);
        disk.rename(from, self.route(to).1)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let (disk, path) = self.route(path);
        disk.unlink(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let (disk, path) = self.route(path);
        disk.sync_folder(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let (disk, path) = self.route(path);
        disk.list(path)
    }

    fn space(&self, path: &str) -> io::Result<Space> {
        let (disk, path) = self.route(path);
        disk.space(path)
    }

    fn only_read(&self) -> Option<String> {
        self.home.only_read().or_else(|| self.blocks.only_read())
    }
}
