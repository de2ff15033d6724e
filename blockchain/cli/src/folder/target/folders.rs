//! Opens the folders inside a target, one below the other, and remembers the last ones.
//!
//! Called for everything a target makes. Invariant: every folder handed out was reached from the
//! target's own handle by plain names, none of which was a link.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    os::fd::OwnedFd,
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::{
    fs::{Mode, OFlags, mkdirat, openat},
    io::Errno,
};

use super::{Options, TargetError, made::Made};
use crate::folder::{draft::DraftNames, path::split};

/// Folders that stay open.
const REMEMBERED: usize = 64;

/// What to do about a folder that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// That is an error.
    Refuse,
    /// Make it like any new folder, because no entry describes it.
    Make,
    /// Make it, and those above it, with nobody else allowed in until its entry's mode is set.
    MakePrivate,
}

/// The folders of a target.
pub(super) struct Folders {
    top: Arc<OwnedFd>,
    overwrite: bool,
    made: Arc<Made>,
    draft_names: Arc<DraftNames>,
    remembered: Mutex<Remembered>,
    /// Every folder that something was made in, if they are to be synced.
    touched: Option<Mutex<BTreeSet<Vec<u8>>>>,
}

#[derive(Default)]
struct Remembered {
    folders: HashMap<Box<[u8]>, (Arc<OwnedFd>, u64)>,
    clock: u64,
}

impl Folders {
    /// Takes the handle of the target itself.
    pub(super) fn new(
        top: OwnedFd,
        options: Options,
        made: Arc<Made>,
        draft_names: Arc<DraftNames>,
    ) -> Self {
        Self {
            top: Arc::new(top),
            overwrite: options.overwrite,
            made,
            draft_names,
            remembered: Mutex::default(),
            touched: options.sync.then(|| Mutex::new(BTreeSet::from([Vec::new()]))),
        }
    }

    /// Opens a folder as a starting point for names, by a path that was found sound.
    pub(super) fn open(&self, path: &[u8], missing: Missing) -> Result<Arc<OwnedFd>, TargetError> {
        let mut known = path;
        let mut folder = loop {
            if known.is_empty() {
                break Arc::clone(&self.top);
            }
            if let Some(folder) = self.remembered.lock().get(known) {
                break folder;
            }
            known = split(known).0;
        };
        let mut end = known.len();
        while end < path.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            let rest = path.get(start..).unwrap_or_default();
            let part = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            end = start + part.len();
            let path = path.get(..end).unwrap_or_default();
            folder = Arc::new(self.step(&folder, part, path, missing)?);
            self.remembered.lock().put(path, &folder);
            if let Some(touched) = &self.touched {
                touched.lock().insert(path.to_vec());
            }
        }
        Ok(folder)
    }

    /// Opens a folder for reading, which setting its mode and times takes.
    pub(super) fn open_real(&self, path: &[u8]) -> Result<File, TargetError> {
        let (above, name) = split(path);
        let above = self.open(above, Missing::Refuse)?;
        let name = if path.is_empty() { b"." } else { name };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&above, name, flags, Mode::empty())
            .map(File::from)
            .map_err(|errno| TargetError::io(path, errno))
    }

    /// The folders to be synced, each after what is in it.
    pub(super) fn touched(&self) -> Vec<Vec<u8>> {
        let Some(touched) = &self.touched else {
            return Vec::new();
        };
        std::mem::take(&mut *touched.lock()).into_iter().rev().collect()
    }

    fn step(
        &self,
        above: &OwnedFd,
        name: &[u8],
        path: &[u8],
        missing: Missing,
    ) -> Result<OwnedFd, TargetError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(above, name, flags, Mode::empty());
        let fail = |errno| match errno {
            Errno::NOTDIR | Errno::LOOP => TargetError::NotAFolder { path: path.to_vec() },
            errno => TargetError::io(path, errno),
        };
        let errno = match open() {
            Ok(folder) => return Ok(folder),
            Err(errno) => errno,
        };
        let mode = match missing {
            Missing::Refuse => return Err(fail(errno)),
            Missing::Make => Mode::RWXU | Mode::RWXG | Mode::RWXO,
            Missing::MakePrivate => Mode::RWXU,
        };
        match errno {
            Errno::NOENT => {}
            // This removes a file or a link, never what the link leads to.
            Errno::NOTDIR | Errno::LOOP if self.overwrite && !self.made.contains(path) => {
                self.draft_names.replace_with_folder(above, name, mode).map_err(fail)?;
                self.made.note(path);
                return open().map_err(fail);
            }
            errno => return Err(fail(errno)),
        }
        match mkdirat(above, name, mode) {
            Ok(()) => self.made.note(path),
            // Another thread was faster.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(fail(errno)),
        }
        open().map_err(fail)
    }
}

impl Remembered {
    fn get(&mut self, path: &[u8]) -> Option<Arc<OwnedFd>> {
        self.clock += 1;
        let (folder, used) = self.folders.get_mut(path)?;
        *used = self.clock;
        Some(Arc::clone(folder))
    }

    fn put(&mut self, path: &[u8], folder: &Arc<OwnedFd>) {
        if self.folders.len() >= REMEMBERED {
            let oldest = self.folders.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                self.folders.remove(&oldest);
            }
        }
        self.clock += 1;
        self.folders.insert(path.into(), (Arc::clone(folder), self.clock));
    }
}
