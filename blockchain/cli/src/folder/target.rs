//! Makes files, folders and links again inside one folder, and nowhere else.
//!
//! Called by the verbs that restore, from as many threads as they like; `folders` opens what
//! leads to a name, `slot` takes a large file's bytes in any order, `content` leaves holes out, `metadata`
//! sets all the rest; `standing` leaves what is there as it should be, `foresee` says what would be done, and
//! `delete` removes what no entry tells of. The entries are not trusted. Invariants: every name is reached
//! from the folder above it without following a link; a file is written as a
//! [`draft`](super::draft), which has its name only when it is whole, so that what was there before
//! stays until then; links are made after all files, so no entry leads the way for another.

mod content;
mod delete;
mod error;
mod folders;
mod foresee;
mod made;
mod metadata;
mod report;
mod slot;
mod standing;

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use lucid_core::catalogue::{check_path, path_order};
use parking_lot::Mutex;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, linkat, openat, statat, symlinkat},
    io::Errno,
};

use self::{
    content::Hollow,
    folders::{Folders, Missing},
    made::Made,
    metadata::Keeper,
    report::Tally,
};
use super::{
    Entry,
    draft::{Draft, DraftNames},
    path::split,
};
use crate::text;

pub use self::{
    delete::{Deleted, Identity},
    error::TargetError,
    foresee::Foreseen,
    report::{Became, Few, RestoreReport, RestoredCounts, Told, Warning},
    slot::FileSlot,
    standing::Standing,
};

/// How a target treats what it finds and makes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Replace files and links that were there before, and give folders what their entries say; folders
    /// are never removed. Without it a folder that was there stays as it is.
    pub overwrite: bool,
    /// Wait until everything is on the disk.
    pub sync: bool,
    /// Give files to the numbers they had, regardless of the names that these have here.
    pub numeric_owner: bool,
    /// Leave holes wherever a file has zeros, not only where it had holes.
    pub sparse: bool,
    /// Take a file for the same whose length and time are, without reading it.
    pub trust_times: bool,
    /// Touch nothing; what would be done is only looked at.
    pub dry_run: bool,
}

/// A folder that entries are restored into.
pub struct Target {
    inner: Arc<Inner>,
}

/// What a target and its open files share.
struct Inner {
    dir: PathBuf,
    folders: Folders,
    keeper: Keeper,
    options: Options,
    made: Arc<Made>,
    draft_names: Arc<DraftNames>,
    later: Mutex<Later>,
    tally: Tally,
}

/// What is done when all files are there.
#[derive(Default)]
struct Later {
    symlinks: Vec<Entry>,
    hard_links: Vec<Entry>,
    folders: Vec<Entry>,
    /// Files that take no further names once they have their flags, and which files these are.
    sealed: Vec<(Entry, (u64, u64))>,
}

impl Target {
    /// Opens the target, making it if need be. A symbolic link is followed here, and only here.
    pub fn create(dir: &Path, options: Options) -> Result<Self, TargetError> {
        let unusable =
            |source| TargetError::Unusable { dir: text::name(dir.as_os_str().as_bytes()), source };
        if !options.dry_run {
            std::fs::create_dir_all(dir).map_err(unusable)?;
        }
        let (dir, fresh) = match std::fs::read_dir(dir) {
            Ok(mut entries) => (dir, entries.next().is_none()),
            // It is not made for a look alone; where everything is new, nothing is looked for in it.
            Err(error) if options.dry_run && error.kind() == io::ErrorKind::NotFound => {
                (Path::new("/"), true)
            }
            Err(error) => return Err(unusable(error)),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, dir, flags, Mode::empty()).map_err(|errno| unusable(errno.into()))?;
        let (made, draft_names) = (Arc::new(Made::in_target(fresh)), Arc::new(DraftNames::new()));
        let inner = Inner {
            dir: dir.to_owned(),
            folders: Folders::new(top, options, Arc::clone(&made), Arc::clone(&draft_names)),
            draft_names,
            keeper: Keeper::new(options.numeric_owner),
            options,
            made,
            later: Mutex::default(),
            tally: Tally::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Has each entry told that is as it should be now.
    pub fn tell_each(&self, told: Told) {
        self.inner.tally.tell_each(told);
    }

    /// Makes a folder, or takes the one that is there; its mode and times are set at the end.
    ///
    /// One that was there keeps its owner, mode and times, unless it may be written over. The empty path
    /// is the target itself: it keeps them if it had content before.
    pub fn folder(&self, entry: &Entry) -> Result<(), TargetError> {
        let inner = &self.inner;
        check_path(&entry.path)?;
        let folder = inner.folders.open(&entry.path, Missing::MakePrivate)?;
        let is_new = inner.made.contains(&entry.path);
        if is_new || (inner.options.overwrite && !entry.path.is_empty()) {
            inner.later.lock().folders.push(entry.clone());
        }
        if !is_new && inner.options.overwrite {
            inner.keeper.let_in(&folder);
        }
        inner.tally.folder(&entry.path, is_new);
        Ok(())
    }

    /// Makes a file and writes all of it.
    pub fn small_file(&self, entry: &Entry, bytes: &[u8]) -> Result<(), TargetError> {
        if entry.length != bytes.len() as u64 {
            return Err(TargetError::Length {
                path: entry.path.clone(),
                length: entry.length,
                bytes: Some(bytes.len() as u64),
            });
        }
        let inner = &self.inner;
        let (folder, draft) = inner.draft(entry)?;
        content::write(draft.file(), inner.hollow(entry), 0, bytes)
            .map_err(|error| TargetError::io(&entry.path, error))?;
        inner.complete(&folder, &draft, entry)
    }

    /// Makes a file whose bytes come in pieces. An empty one is complete at once.
    pub fn open_file(&self, entry: &Entry) -> Result<FileSlot, TargetError> {
        let (_, draft) = self.inner.draft(entry)?;
        FileSlot::new(Arc::clone(&self.inner), draft, entry.clone())
    }

    /// Notes a symbolic link, to be made by [`finish`](Self::finish).
    pub fn symlink(&self, entry: &Entry) -> Result<(), TargetError> {
        named(&entry.path)?;
        self.inner.later.lock().symlinks.push(entry.clone());
        Ok(())
    }

    /// Notes a further name of a file, to be made by [`finish`](Self::finish).
    pub fn hard_link(&self, entry: &Entry) -> Result<(), TargetError> {
        named(&entry.path)?;
        named(&entry.target)?;
        self.inner.later.lock().hard_links.push(entry.clone());
        Ok(())
    }

    /// Makes the links, sets modes and times of the folders, and tells what was done.
    ///
    /// Call it when every [`FileSlot`] is gone.
    #[must_use]
    pub fn finish(self) -> RestoreReport {
        let inner = &self.inner;
        let later = std::mem::take(&mut *inner.later.lock());
        for link in &later.symlinks {
            inner.settle(inner.make_symlink(link));
        }
        for link in &later.hard_links {
            inner.settle(inner.make_hard_link(link));
        }
        for (file, which) in &later.sealed {
            inner.settle(inner.seal(file, *which));
        }
        let mut folders = later.folders;
        // Deepest first: a folder that may not be entered any more is done with.
        folders.sort_by(|left, right| path_order(&right.path, &left.path));
        for folder in &folders {
            inner.settle(inner.finish_folder(folder));
        }
        if inner.options.sync {
            inner.sync_folders();
        }
        inner.tally.report(inner.draft_names.removed())
    }
}

impl Inner {
    fn draft(&self, entry: &Entry) -> Result<(Arc<OwnedFd>, Draft), TargetError> {
        named(&entry.path)?;
        let (above, name) = split(&entry.path);
        let folder = self.folders.open(above, Missing::Make)?;
        // Or else the bytes would be written for nothing.
        if !matches!(*self.made, Made::Everything) {
            self.expect_free(&folder, name, &entry.path)?;
        }
        // Nobody else may read it under a temporary name, as it has no mode of its own yet.
        let mode = Mode::from_raw_mode(entry.plain_mode() & 0o777);
        let private = Mode::RUSR | Mode::WUSR;
        let draft = Draft::begin(&folder, mode, private, &self.draft_names)
            .map_err(|errno| TargetError::io(&entry.path, errno))?;
        Keeper::prepare(draft.file(), entry);
        if self.hollow(entry).is_some() {
            let sized = draft.file().set_len(entry.length);
            sized.map_err(|error| TargetError::io(&entry.path, error))?;
        }
        Ok((folder, draft))
    }

    /// What of a file is not written if it is zeros.
    fn hollow<'a>(&self, entry: &'a Entry) -> Hollow<'a> {
        if self.options.sparse { Hollow::Blocks } else { Hollow::Holes(&entry.holes) }
    }

    /// Finds out whether a file or link may get this name.
    fn expect_free(&self, folder: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), TargetError> {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(TargetError::io(path, errno)),
            Ok(_) if !self.may_replace(path) => Err(TargetError::Exists { path: path.to_vec() }),
            Ok(seen) if FileType::from_raw_mode(seen.st_mode) == FileType::Directory => {
                Err(TargetError::FolderInTheWay { path: path.to_vec() })
            }
            Ok(_) => Ok(()),
        }
    }

    fn may_replace(&self, path: &[u8]) -> bool {
        self.options.overwrite && !self.made.contains(path)
    }

    /// Makes something new of that name, in the place of what is there if that is allowed.
    fn make(
        &self,
        entry: &Entry,
        make: impl Fn(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<Arc<OwnedFd>, TargetError> {
        named(&entry.path)?;
        let (above, name) = split(&entry.path);
        let folder = self.folders.open(above, Missing::Make)?;
        let made = match make(&folder, name) {
            Err(Errno::EXIST) if self.may_replace(&entry.path) => {
                self.draft_names.replace(&folder, name, |temporary| make(&folder, temporary))
            }
            made => made,
        };
        self.made(entry, made)?;
        Ok(folder)
    }

    /// Notes what got its name, or says why it did not.
    fn made(&self, entry: &Entry, made: Result<(), Errno>) -> Result<(), TargetError> {
        let path = || entry.path.clone();
        match made {
            Ok(()) => {
                self.made.note(&entry.path);
                Ok(())
            }
            Err(Errno::EXIST) => Err(TargetError::Exists { path: path() }),
            Err(Errno::ISDIR) => Err(TargetError::FolderInTheWay { path: path() }),
            Err(errno) => Err(TargetError::io(&entry.path, errno)),
        }
    }

    /// Gives a file that has all its bytes everything else, and last of all its name.
    fn complete(&self, folder: &OwnedFd, draft: &Draft, entry: &Entry) -> Result<(), TargetError> {
        self.keeper.keep(draft.file(), entry, &self.tally);
        if self.options.sync {
            draft.file().sync_all().map_err(|error| TargetError::io(&entry.path, error))?;
        }
        let name = split(&entry.path).1;
        let placed = match draft.place(folder, name) {
            Err(Errno::EXIST) if self.may_replace(&entry.path) => {
                // Or else a power cut could leave neither the old nor the new.
                if !self.options.sync {
                    let synced = draft.file().sync_all();
                    synced.map_err(|error| TargetError::io(&entry.path, error))?;
                }
                draft.replace(folder, name, &self.draft_names)
            }
            placed => placed,
        };
        self.made(entry, placed)?;
        if Keeper::is_sealed(entry) {
            let seen = fstat(draft.file()).map_err(|errno| TargetError::io(&entry.path, errno))?;
            self.later.lock().sealed.push((entry.clone(), (seen.st_dev, seen.st_ino)));
        } else {
            Keeper::keep_flags(draft.file(), entry, &self.tally);
        }
        self.tally.file(&entry.path, entry.length);
        Ok(())
    }

    /// Gives a file that stands there already what else its entry says.
    fn keep_all(&self, file: &File, entry: &Entry, which: (u64, u64)) {
        self.keeper.keep(file, entry, &self.tally);
        match Keeper::is_sealed(entry) {
            true => self.later.lock().sealed.push((entry.clone(), which)),
            false => Keeper::keep_flags(file, entry, &self.tally),
        }
    }

    fn make_symlink(&self, entry: &Entry) -> Result<(), TargetError> {
        if let Some(folder) = self.same_symlink(entry) {
            self.made.note(&entry.path);
            self.keeper.keep_link(&folder, entry, &self.tally);
            self.tally.identical(&entry.path, false);
            return Ok(());
        }
        let text = entry.target.as_slice();
        let folder = self.make(entry, |folder, name| symlinkat(text, folder, name))?;
        self.keeper.keep_link(&folder, entry, &self.tally);
        self.tally.link(&entry.path);
        Ok(())
    }

    fn make_hard_link(&self, entry: &Entry) -> Result<(), TargetError> {
        let missing =
            || TargetError::NoSuchFile { path: entry.path.clone(), target: entry.target.clone() };
        // Clearing the way for a link to itself would remove the file.
        if entry.path == entry.target || !self.made.contains(&entry.target) {
            return Err(missing());
        }
        let (above, first) = split(&entry.target);
        let from = match self.folders.open(above, Missing::Refuse) {
            Err(TargetError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(missing());
            }
            from => from?,
        };
        if self.is_same_file(&entry.path, &entry.target) {
            self.made.note(&entry.path);
            self.tally.identical(&entry.path, false);
            return Ok(());
        }
        let linked =
            self.make(entry, |folder, name| linkat(&from, first, folder, name, AtFlags::empty()));
        match linked {
            Err(TargetError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(missing());
            }
            linked => linked?,
        };
        self.tally.link(&entry.path);
        Ok(())
    }

    /// Gives a file flags with which it stays as it is, if it is still the one that was made.
    fn seal(&self, entry: &Entry, which: (u64, u64)) -> Result<(), TargetError> {
        let (above, name) = split(&entry.path);
        let folder = self.folders.open(above, Missing::Refuse)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let failed = |errno| TargetError::io(&entry.path, errno);
        let file: File = openat(&folder, name, flags, Mode::empty()).map_err(failed)?.into();
        let seen = fstat(&file).map_err(failed)?;
        if (seen.st_dev, seen.st_ino) != which {
            let what = "its flags are left off, as another file has its name by now".to_owned();
            self.tally.warn(&entry.path, what);
            return Ok(());
        }
        Keeper::keep_flags(&file, entry, &self.tally);
        if self.options.sync {
            file.sync_all().map_err(|error| TargetError::io(&entry.path, error))?;
        }
        Ok(())
    }

    fn finish_folder(&self, entry: &Entry) -> Result<(), TargetError> {
        let folder = self.folders.open_real(&entry.path)?;
        self.keeper.keep(&folder, entry, &self.tally);
        Keeper::keep_flags(&folder, entry, &self.tally);
        Ok(())
    }

    fn sync_folders(&self) {
        for path in self.folders.touched() {
            let synced = self.folders.open_real(&path).and_then(|folder| {
                folder.sync_all().map_err(|error| TargetError::io(&path, error))
            });
            self.settle(synced);
        }
        // The target's own name is kept by the folder it is in.
        let above = match self.dir.parent() {
            Some(above) if above.as_os_str().is_empty() => Path::new("."),
            Some(above) => above,
            None => return,
        };
        let synced = File::open(above).and_then(|above| above.sync_all());
        self.settle(synced.map_err(|error| TargetError::io(b"", error)));
    }

    fn settle(&self, outcome: Result<(), TargetError>) {
        if let Err(error) = outcome {
            self.tally.refuse(error);
        }
    }
}

fn named(path: &[u8]) -> Result<(), TargetError> {
    if path.is_empty() {
        return Err(TargetError::Nameless);
    }
    Ok(check_path(path)?)
}
