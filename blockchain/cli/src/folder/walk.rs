//! Reads a folder, or a single file, as a stream of entries in catalogue order.
//!
//! Called by the verbs that archive. `tops` is what was named, `scout` lists names in order and asks the
//! [selection](super::select) and `contents` which are wanted, `examine` opens and reads what they name,
//! `prefetch` does the latter in many threads, `holes` finds where files take no room, `links` finds second
//! names.
//! Invariants: no symbolic link inside is followed; everything that is left out is named in a [`Skipped`]; a
//! store is never walked into; memory does not grow with the tree (except by the files that have several
//! names).

mod contents;
mod examine;
mod holes;
mod links;
mod prefetch;
mod scout;
mod tops;

use std::{
    collections::HashSet,
    fs::{File, Metadata},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::Path,
    sync::Arc,
};

use lucid_store::files::descriptors::{patiently, patiently_raw};
use lucid_store::files::folder::store_around;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, statat},
    io::Errno,
    path::Arg,
};
use serde::Serialize;
use thiserror::Error;

use self::{
    links::Links,
    scout::{Scout, Task},
};
use super::{
    Entry,
    names::Names,
    select::{Excluded, Selection},
};
use crate::text;

pub(crate) use self::examine::{no_holes, only};
pub(crate) use self::holes::Holes;
pub use self::{examine::OpenFile, prefetch::Prefetch, tops::Sources};

/// How a walk is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folders to leave out besides: the data folder of this process. Every folder that is a store is left
    /// out by its label, regardless of who made it, because its keys are in it.
    pub exclude: Vec<Identity>,
    /// What of it is wanted.
    pub selection: Arc<Selection>,
    /// Threads that read.
    pub readers: usize,
    /// Bytes of small files that may be read ahead.
    pub bytes_ahead: u64,
    /// Where every large file fails.
    #[cfg(test)]
    pub(crate) fails_at: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            exclude: Vec::new(),
            selection: Arc::default(),
            // More than cores, because these threads wait for disks.
            readers: (2 * cores).clamp(4, 16),
            bytes_ahead: 32 << 20,
            #[cfg(test)]
            fails_at: None,
        }
    }
}

/// Which file or folder it is, regardless of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The number in it.
    pub inode: u64,
}

impl Identity {
    /// Finds the identity of what a path leads to.
    pub fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|seen| Self::from(&seen))
    }
}

impl From<&Metadata> for Identity {
    fn from(seen: &Metadata) -> Self {
        Self { device: seen.dev(), inode: seen.ino() }
    }
}

/// What a walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// An entry, and its bytes or the way to them.
    Entry(Box<WalkedEntry>),
    /// Something that is left out.
    Skipped(Skipped),
}

/// An entry of the tree.
#[derive(Debug)]
pub struct WalkedEntry {
    /// What it is; its offset is not known yet.
    pub entry: Entry,
    /// Its bytes.
    pub content: EntryContent,
    /// Whether hard links to it may follow.
    pub has_more_names: bool,
    /// What belongs to it and could not be read, in sentences.
    pub lacks: Vec<String>,
}

/// Where the bytes of an entry are.
#[derive(Debug)]
pub enum EntryContent {
    /// It has none: a folder or a link.
    None,
    /// Read already; the entry's `length` and `changed` are final.
    Read(Vec<u8>),
    /// To be read; the entry's `length` is what to expect, and reading decides `changed`.
    Open(OpenFile),
}

/// Something that is not archived.
#[derive(Debug)]
pub struct Skipped {
    /// Its path in the tree.
    pub path: Vec<u8>,
    /// Why it is left out.
    pub why: WhySkipped,
}

/// How much of a path is not kept, and whether that is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The store itself, which cannot be in itself. No failure.
    Own,
    /// It is not wanted. No failure, and not listed.
    Excluded,
    /// Nothing: more is kept than was wanted. No failure.
    #[serde(rename = "none")]
    Nothing,
    /// Something without content: a socket, a pipe, a device. No failure, unless it is asked for.
    #[serde(rename = "kind")]
    SpecialFile,
    /// It is kept, and something that belongs to it is not.
    Part,
    /// It is not kept, and should have been.
    Whole,
}

/// Why something is not archived.
#[derive(Debug, Error)]
pub enum WhySkipped {
    /// A meeting place of programs, without content.
    #[error("it is a socket")]
    Socket,
    /// A pipe with a name: its content is only what other programs write to it.
    #[error("it is a named pipe")]
    Pipe,
    /// A disk, terminal or other device.
    #[error("it is a device")]
    Device,
    /// A store: the one that is being written to, or any other. Its keys are in it.
    #[error("it is a data folder of lucid")]
    OwnFolder,
    /// No catalogue holds a path of that length.
    #[error("its path is too long")]
    TooLong,
    /// It vanished, or became something else, between being listed and being read.
    #[error("it vanished or was replaced while the folder was read")]
    Changed,
    /// The system does not let us read it.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It was named, and there is nothing.
    #[error("there is no such file or folder")]
    Absent,
    /// The user does not want it; of a folder that is kept, its content.
    #[error(transparent)]
    Excluded(#[from] Excluded),
    /// Nothing is left out, although something says that it should be.
    #[error("{0}")]
    Nothing(String),
    /// A folder whose names cannot all be read.
    #[error("not all of its names can be read: {0}")]
    Listing(io::Error),
}

impl WhySkipped {
    /// How much is not kept for this reason.
    #[must_use]
    pub fn loss(&self) -> Loss {
        match self {
            WhySkipped::Socket | WhySkipped::Pipe | WhySkipped::Device => Loss::SpecialFile,
            WhySkipped::OwnFolder => Loss::Own,
            WhySkipped::Listing(_) => Loss::Part,
            WhySkipped::Excluded(_) => Loss::Excluded,
            WhySkipped::Nothing(_) => Loss::Nothing,
            WhySkipped::TooLong
            | WhySkipped::Changed
            | WhySkipped::Absent
            | WhySkipped::Unreadable(_) => Loss::Whole,
        }
    }

    /// Tells a tree in motion from one that cannot be read.
    fn from_errno(errno: Errno) -> Self {
        match errno {
            // A link or a socket where a file was, a file where a folder was.
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::STALE => {
                WhySkipped::Changed
            }
            other => WhySkipped::Unreadable(other.into()),
        }
    }
}

/// Why a walk does not begin.
#[derive(Debug, Error)]
pub enum WalkError {
    /// There is nothing at the path, or it may not be read.
    #[error("{path} cannot be opened")]
    Open {
        /// As given.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is a store, or in one.
    #[error(
        "{path} is in a data folder of lucid ({store}), whose keys are in it: it is not archived. `lucid \
         mirror` copies sessions into another store"
    )]
    InStore {
        /// As given.
        path: String,
        /// The store.
        store: String,
    },
    /// It is something that has no content to archive.
    #[error("{path} is neither a folder nor a file")]
    Unfit {
        /// As given.
        path: String,
    },
    /// No thread could be started.
    #[error("the threads that read files cannot be started")]
    Threads(#[source] io::Error),
}

/// Walks in one thread, leaving every file open and unread.
pub fn walk(sources: impl Into<Sources>, options: &Options) -> Result<Walk, WalkError> {
    Ok(Walk { scout: Scout::start(&sources.into(), options)?, last: LastStep::default() })
}

/// The sizes of the files that a walk would come upon, each once, without opening them: an estimate for those
/// who wait.
pub fn sizes(
    sources: &Sources,
    options: &Options,
) -> Result<impl Iterator<Item = u64> + use<>, WalkError> {
    let scout = Scout::start(sources, options)?;
    let mut met = HashSet::new();
    Ok(scout.filter_map(move |task| {
        let (size, has_one_name, identity) = match task {
            Task::Opened { seen, .. } if seen.is_file() => {
                (seen.size(), seen.nlink() < 2, Identity::from(&seen))
            }
            Task::File(place) => {
                let seen = statat(&place.folder, &*place.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                let size = u64::try_from(seen.st_size).ok()?;
                if place.bounds.forbid(seen.st_dev, size) {
                    return None;
                }
                let identity = Identity { device: seen.st_dev, inode: seen.st_ino };
                (size, seen.st_nlink < 2, identity)
            }
            _ => return None,
        };
        (has_one_name || met.insert(identity)).then_some(size)
    }))
}

/// Walks with reading ahead: files below `small_max` bytes arrive with their bytes.
///
/// Order is the same as in [`walk`]; larger files arrive open.
pub fn walk_with_contents(
    sources: impl Into<Sources>,
    options: &Options,
    small_max: u64,
) -> Result<Prefetch, WalkError> {
    let scout = Scout::start(&sources.into(), options)?;
    Prefetch::start(scout, options, small_max)
}

/// A walk in one thread.
pub struct Walk {
    scout: Scout,
    last: LastStep,
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let task = self.scout.next()?;
        Some(self.last.take(examine::examine(task, 0, |_| {})))
    }
}

/// What is left to one thread, in catalogue order: second names, and whose each entry is.
#[derive(Default)]
struct LastStep {
    links: Links,
    names: Names,
}

impl LastStep {
    fn take(&mut self, examined: examine::Examined) -> Step {
        let mut step = self.links.settle(examined);
        if let Step::Entry(found) = &mut step {
            let WalkedEntry { entry, lacks, .. } = &mut **found;
            self.names.give(entry, lacks);
        }
        step
    }
}

/// Refuses a path that is a store or leads into one.
pub fn refuse_store(path: &Path) -> Result<(), WalkError> {
    let shown = |path: &Path| text::name(path.as_os_str().as_bytes());
    match store_around(path) {
        None => Ok(()),
        Some(store) => Err(WalkError::InStore { path: shown(path), store: shown(&store) }),
    }
}

/// Opens the top of a tree, where a symbolic link is followed because the user named it.
fn open_top(path: &Path) -> Result<(Arc<File>, Metadata), WalkError> {
    let shown = || text::name(path.as_os_str().as_bytes());
    let open = |source| WalkError::Open { path: shown(), source };
    let file = open_reading(CWD, path, OFlags::empty()).map_err(|errno| match errno {
        Errno::NXIO => WalkError::Unfit { path: shown() },
        errno => open(errno.into()),
    })?;
    let seen = file.metadata().map_err(open)?;
    if seen.is_dir() || seen.is_file() {
        Ok((Arc::new(file), seen))
    } else {
        Err(WalkError::Unfit { path: shown() })
    }
}

/// Opens for reading, without hanging on pipes, and without touching access times if allowed.
fn open_reading(
    folder: impl std::os::fd::AsFd,
    name: impl Arg + Copy,
    flags: OFlags,
) -> rustix::io::Result<File> {
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |flags| patiently_raw(|| openat(folder.as_fd(), name, flags, Mode::empty()));
    let file: OwnedFd = match open(flags | OFlags::NOATIME) {
        // Only its owner may leave the access time alone.
        Err(Errno::PERM) => open(flags)?,
        opened => opened?,
    };
    Ok(file.into())
}

/// Opens a folder or file that was named, or a folder on the way to one, through a link, too. The latter need
/// not be readable; says whether it is.
fn open_passage(folder: impl std::os::fd::AsFd, name: &[u8]) -> rustix::io::Result<(File, bool)> {
    match open_reading(folder.as_fd(), name, OFlags::empty()) {
        Err(Errno::ACCESS | Errno::PERM) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let file = patiently_raw(|| openat(folder.as_fd(), name, flags, Mode::empty()))?;
            Ok((file.into(), false))
        }
        opened => Ok((opened?, true)),
    }
}

/// Opens what a name stands for, without following it and without reading it.
fn open_unread(folder: &File, name: &[u8]) -> Result<File, WhySkipped> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = patiently_raw(|| openat(folder, name, flags, Mode::empty()));
    opened.map(File::from).map_err(WhySkipped::from_errno)
}

/// A second handle of an open file.
fn another(file: &File) -> Result<File, WhySkipped> {
    patiently(|| file.try_clone()).map_err(WhySkipped::Unreadable)
}
