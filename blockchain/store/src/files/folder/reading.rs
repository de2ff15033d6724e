//! A folder that nothing is written to: on a read-only medium, one that this process may only read, or one that
//! must not be touched.
//!
//! It is opened without its lock, through a [`View`] and beside its index. A process that would write to it at
//! the same time is kept away where that can be done: a lock that can be opened for reading is shared by all
//! readers, and refused to owners meanwhile. So a store is never read while it is collected.
//!
//! [`StoreError::forbids_writing`] decides when that is how a folder is opened; the command line asks.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, FlockOperation, access};
use rustix::io::Errno;

use super::lock::holder;
use super::{DataFolder, Options, RUN, is_store, link, no_store};
use crate::StoreError;
use crate::contract::index::Index;
use crate::error::{NO_PERMISSION, READ_ONLY};
use crate::files::disk::Disk;
use crate::files::disk::real::RealDisk;
use crate::files::disk::view::{Settled, View};
use crate::files::index::temporary::{self, Room};
use crate::measured::MeasuredIndex;

/// How a folder is opened that nothing is to be written to.
#[derive(Debug, Clone)]
pub struct ToRead {
    /// Why nothing is.
    pub why: String,
    /// Where its index may be meanwhile.
    pub room: Room,
}

/// What is known of a folder that is only read.
#[derive(Debug)]
pub struct OnlyRead {
    settled: Arc<Settled>,
    room: Room,
    why: String,
    /// Why it is not known whether another process writes to it.
    doubt: Option<String>,
}

impl DataFolder {
    /// Opens a folder that nothing is written to, and sees what a start would have made of it.
    pub fn read(root: &Path, options: &Options, to_read: &ToRead) -> Result<Self, StoreError> {
        if !is_store(root)? {
            return Err(no_store(root));
        }
        link::check(root)?;
        let (only_read, lock) = OnlyRead::begin(root, to_read)?;
        let disk = only_read.disk(root);
        let opened = Self::with_keys(root, options, disk, None, false);
        let opened = only_read.keys(root, opened)?;
        Ok(Self { only_read: Some(only_read), _lock: lock, ..opened })
    }

    /// What to say of a folder that is only read.
    pub fn only_read(&self) -> Option<&OnlyRead> {
        self.only_read.as_ref()
    }

    /// Another folder that files of this store are in, written to if this one is.
    pub fn disk_at(&self, root: &Path) -> Arc<dyn Disk> {
        match &self.only_read {
            None => Arc::new(RealDisk::new(root)),
            Some(only_read) => only_read.disk(root),
        }
    }

    /// Joins what is here with its index. One that cannot follow its log although nothing is lost
    /// ([`StoreError::Anew`]) is made anew, once. Where an index proves to be another log's, a folder that is only read
    /// goes on with one that is built anew, too: `lucid reindex` cannot help it.
    pub fn join<T, E>(
        &self,
        join: impl Fn(Arc<dyn Index>) -> Result<T, E>,
        fault: impl Fn(&E) -> Option<&StoreError>,
    ) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        let measured = |index| Arc::new(MeasuredIndex::over(index)) as Arc<dyn Index>;
        let joined = join(measured(self.index()?));
        let Some(only_read) = &self.only_read else {
            let is_anew = |error| matches!(fault(error), Some(StoreError::Anew(_)));
            return match joined {
                Err(error) if is_anew(&error) => {
                    tracing::warn!(why = said(fault(&error)), "the index is made anew");
                    // It was marked when that was found out, so what is opened now is empty.
                    join(measured(self.index()?))
                }
                joined => joined,
            };
        };
        let joined = match &joined {
            Err(error)
                if matches!(fault(error), Some(StoreError::Index(_) | StoreError::Anew(_))) =>
            {
                tracing::warn!(
                    why = said(fault(error)),
                    "the index cannot be used, and is built anew"
                );
                join(measured(only_read.index(&self.index_folder(), false)?))
            }
            _ => joined,
        };
        only_read.settle();
        joined
    }
}

/// What an error says.
fn said(error: Option<&StoreError>) -> String {
    error.map(ToString::to_string).unwrap_or_default()
}

impl OnlyRead {
    /// Keeps owners away as far as that can be done, and refuses to read beside one.
    pub(super) fn begin(root: &Path, how: &ToRead) -> Result<(Self, Option<File>), StoreError> {
        let (lock, doubt) = share(root)?;
        let why = format!("nothing is written to {}: {}", root.display(), how.why);
        let only_read =
            Self { settled: Settled::not_yet(why.clone()), room: how.room.clone(), why, doubt };
        Ok((only_read, lock))
    }

    pub(super) fn disk(&self, root: &Path) -> Arc<dyn Disk> {
        Arc::new(View::of(Arc::new(RealDisk::for_reading(root)), self.settled.clone()))
    }

    pub(super) fn index(&self, folder: &Path, wanted: bool) -> Result<Arc<dyn Index>, StoreError> {
        temporary::open(folder, wanted, &self.room)
    }

    /// The store is open: from now on every write is refused.
    pub(super) fn settle(&self) {
        self.settled.settle();
    }

    /// Without its keys nothing of a store can be read, so that is what is said first.
    pub(super) fn keys<T>(
        &self,
        root: &Path,
        opened: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        opened.map_err(|error| match error {
            StoreError::Io { kind: ErrorKind::PermissionDenied, reason, .. } => {
                StoreError::Key(format!(
                    "{reason}: nothing can be read without the keys of a store, so whoever may only \
                     read {} needs the right to read STORE and keys/ too",
                    root.display()
                ))
            }
            error => error,
        })
    }

    /// That nothing is written, and why.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Why it is not known whether another process writes to the folder meanwhile, if so.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }
}

/// Who else uses a folder beside a reader of files in it that do not change any more.
#[derive(Debug)]
pub enum Beside {
    /// An owner, by what it is called.
    Owner(String),
    /// Nobody that is known of. The lock keeps owners away, where there is one.
    Nobody(Option<File>),
}

/// Shares the lock, if it is there and can be, and says who holds it otherwise.
pub fn beside(root: &Path) -> Result<Beside, StoreError> {
    let Ok(mut file) = OpenOptions::new().read(true).open(root.join(RUN).join("lock")) else {
        return Ok(Beside::Nobody(None));
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Beside::Nobody(Some(file))),
        Err(Errno::WOULDBLOCK) => Ok(Beside::Owner(holder(&mut file))),
        Err(_) => Ok(Beside::Nobody(None)),
    }
}

/// Why a folder cannot be written to, if so.
pub(crate) fn unwritable(root: &Path) -> Option<&'static str> {
    let lock = root.join(RUN).join("lock");
    let asked = match access(&lock, Access::WRITE_OK) {
        Err(Errno::NOENT) => access(root, Access::WRITE_OK),
        asked => asked,
    };
    match asked {
        Err(Errno::ROFS) => Some(READ_ONLY),
        Err(Errno::ACCESS | Errno::PERM) => Some(NO_PERMISSION),
        _ => None,
    }
}

/// Shares the lock, if it is there and can be: says why it is not known whether an owner lives.
fn share(root: &Path) -> Result<(Option<File>, Option<String>), StoreError> {
    let path = root.join(RUN).join("lock");
    let doubt = |why: String| {
        let path = path.display();
        format!("it is not known whether somebody writes to it meanwhile: {path}: {why}")
    };
    let mut file = match OpenOptions::new().read(true).open(&path) {
        Ok(file) => file,
        // Owners leave it behind: nobody has been one here.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, None)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Ok((None, Some(doubt(error.to_string()))));
        }
        Err(error) => return Err(StoreError::io(format!("opening {}", path.display()))(error)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok((Some(file), None)),
        Err(Errno::WOULDBLOCK) => Err(StoreError::Folder(format!(
            "{} is in use by {}, and is not read beside it: ask that with --server, or wait until it \
             has ended",
            root.display(),
            holder(&mut file)
        ))),
        Err(errno) => Ok((None, Some(doubt(errno.to_string())))),
    }
}
