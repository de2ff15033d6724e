//! A file in the making: it gets its name when it is whole.
//!
//! Everything that writes a file of the user makes a [`Draft`]: the target of a restore, and
//! [`write_whole`] for single files such as a tar or a bundle. Where the system can make a file without a
//! name, a draft has none, so nothing is left behind, regardless of how this process ends. Elsewhere, and for
//! the moment in which a draft takes the place of another file, it is called `.lucid-0123456789abcdef.tmp`,
//! beside that file, and is locked. One that nobody holds is what a killed process left: the [`DraftNames`] takes it
//! away before it gives the next such name in the same folder. Invariants: what stands under a name stays
//! there until what replaces it is whole; a draft that is dropped is gone.

use std::{
    collections::HashSet,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufWriter, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt},
        },
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::{
    fs::{
        Access, AtFlags, CWD, Dir, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid,
        access, fchmod, fchown, flock, fstat, linkat, openat, renameat, renameat_with, statat,
        unlinkat,
    },
    io::Errno,
    process::geteuid,
};

/// How many temporary names are tried, where another process took one away or holds it.
const TRIES: usize = 8;
/// What temporary names begin and end with.
const BEFORE: &[u8] = b".lucid-";
const BEHIND: &[u8] = b".tmp";

/// Whether the system names a file by its handle, which is quicker than by way of `/proc`; kernels before
/// 6.10 do so for root alone.
static BY_HANDLE: AtomicBool = AtomicBool::new(true);

/// Gives temporary names, and removes those that a killed process left.
pub(crate) struct DraftNames {
    /// Whether drafts need no name.
    nameless: bool,
    names: RandomState,
    count: AtomicU64,
    /// Folders, by device and number, in which nothing is left from before.
    swept: Mutex<HashSet<(u64, u64)>>,
    removed: AtomicU64,
}

impl DraftNames {
    /// Makes drafts without names where the system can.
    pub(crate) fn new() -> Self {
        // That is where a file without a name is reached to be given one.
        Self::with(access("/proc/self/fd", Access::EXISTS).is_ok())
    }

    fn with(nameless: bool) -> Self {
        Self {
            nameless,
            names: RandomState::new(),
            count: AtomicU64::new(0),
            swept: Mutex::default(),
            removed: AtomicU64::new(0),
        }
    }

    /// How many files that killed processes left were taken away.
    pub(crate) fn removed(&self) -> u64 {
        self.removed.load(Relaxed)
    }

    /// Puts what `make` makes under a temporary name in the place of what stands under a name; what
    /// stands there goes in the same moment.
    pub(crate) fn replace(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        make: impl FnOnce(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let temporary = self.name(folder);
        make(&temporary)?;
        let moved = renameat(folder, temporary.as_slice(), folder, name);
        // Two names of one file are left alone by the system, and a failure leaves what was made.
        match unlinkat(folder, temporary.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => moved,
            Err(errno) => moved.and(Err(errno)),
        }
    }

    /// Puts a new folder in the place of a file or link.
    pub(crate) fn replace_with_folder(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        mode: Mode,
    ) -> Result<(), Errno> {
        let temporary = self.name(folder);
        let temporary = temporary.as_slice();
        rustix::fs::mkdirat(folder, temporary, mode)?;
        let moved = match renameat_with(folder, temporary, folder, name, RenameFlags::EXCHANGE) {
            Ok(()) => return unlinkat(folder, temporary, AtFlags::empty()),
            // The file system cannot exchange.
            Err(Errno::INVAL | Errno::NOSYS) => unlinkat(folder, name, AtFlags::empty())
                .and_then(|()| renameat(folder, temporary, folder, name)),
            Err(errno) => Err(errno),
        };
        if moved.is_err() {
            // Only an empty folder goes that way; the fault is the one to be told.
            let _ = unlinkat(folder, temporary, AtFlags::REMOVEDIR);
        }
        moved
    }

    /// A name that nobody else takes.
    fn name(&self, folder: &OwnedFd) -> Vec<u8> {
        self.sweep(folder);
        let number = self.names.hash_one(self.count.fetch_add(1, Relaxed));
        [BEFORE, format!("{number:016x}").as_bytes(), BEHIND].concat()
    }

    /// Removes what killed processes left in a folder. What cannot be removed keeps its name, by
    /// which its owner will know it.
    fn sweep(&self, folder: &OwnedFd) {
        let Ok(seen) = fstat(folder) else { return };
        if !self.swept.lock().insert((seen.st_dev, seen.st_ino)) {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(entries) = openat(folder, ".", flags, Mode::empty()).and_then(Dir::new) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_bytes();
            if is_temporary(name) && remove_if_nobodys(folder, name).is_ok() {
                self.removed.fetch_add(1, Relaxed);
            }
        }
    }
}

fn is_temporary(name: &[u8]) -> bool {
    let number = name.strip_prefix(BEFORE).and_then(|name| name.strip_suffix(BEHIND));
    number.is_some_and(|number| {
        number.len() == 16 && number.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Removes a file that is ours and that no process holds, a link, or an empty folder.
fn remove_if_nobodys(folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let seen = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if seen.st_uid != geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Directory => unlinkat(folder, name, AtFlags::REMOVEDIR),
        FileType::Symlink => unlinkat(folder, name, AtFlags::empty()),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(folder, name, flags, Mode::empty())?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            unlinkat(folder, name, AtFlags::empty())
        }
        _ => Err(Errno::PERM),
    }
}

/// A file that is being written. Dropped before it was placed, it is gone.
pub(crate) struct Draft {
    file: File,
    temporary: Mutex<Option<Temporary>>,
}

struct Temporary {
    folder: Arc<OwnedFd>,
    name: Vec<u8>,
}

impl Draft {
    /// Begins a file in a folder: with `mode`, or with `shown` for as long as it has a temporary name.
    pub(crate) fn begin(
        folder: &Arc<OwnedFd>,
        mode: Mode,
        shown: Mode,
        draft_names: &DraftNames,
    ) -> Result<Self, Errno> {
        if draft_names.nameless {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match openat(folder, ".", flags, mode) {
                Ok(file) => return Ok(Self { file: file.into(), temporary: Mutex::new(None) }),
                // What file systems and kernels say that cannot do this.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW;
        for _ in 0..TRIES {
            let name = draft_names.name(folder);
            let file = match openat(folder, name.as_slice(), flags | OFlags::CLOEXEC, shown) {
                Err(Errno::EXIST) => continue,
                file => File::from(file?),
            };
            let temporary = Mutex::new(Some(Temporary { folder: Arc::clone(folder), name }));
            let draft = Self { file, temporary };
            // Another process that sweeps may have been faster than the lock.
            if hold(&draft.file) && fstat(&draft.file)?.st_nlink > 0 {
                return Ok(draft);
            }
        }
        Err(Errno::EXIST)
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, which must be free.
    pub(crate) fn place(&self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let mut temporary = self.temporary.lock();
        match &*temporary {
            None => self.link(folder, name),
            Some(Temporary { folder: from, name: old }) => {
                rename_to_free(from, old, folder, name)?;
                *temporary = None;
                Ok(())
            }
        }
    }

    /// Gives the file a name that another file or a link has, which is gone in the same moment.
    pub(crate) fn replace(
        &self,
        folder: &OwnedFd,
        name: &[u8],
        draft_names: &DraftNames,
    ) -> Result<(), Errno> {
        let mut temporary = self.temporary.lock();
        match &*temporary {
            None => {
                hold(&self.file);
                draft_names.replace(folder, name, |temporary| self.link(folder, temporary))
            }
            Some(Temporary { folder: from, name: old }) => {
                renameat(from, old.as_slice(), folder, name)?;
                *temporary = None;
                Ok(())
            }
        }
    }

    fn link(&self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if BY_HANDLE.load(Relaxed) {
            match linkat(&self.file, "", folder, name, AtFlags::EMPTY_PATH) {
                Err(Errno::NOENT | Errno::INVAL) => BY_HANDLE.store(false, Relaxed),
                linked => return linked,
            }
        }
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, path, folder, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(Temporary { folder, name }) = self.temporary.get_mut().take() {
            // What is left has a name by which a later run knows it.
            let _ = unlinkat(&folder, name.as_slice(), AtFlags::empty());
        }
    }
}

/// Locks a file, so that nobody takes it for left behind. Where there are no locks, nobody can get one
/// to remove it either.
fn hold(file: &File) -> bool {
    !matches!(flock(file, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK))
}

/// Renames to a name that must be free, the safest way that the file system has.
fn rename_to_free(from: &OwnedFd, old: &[u8], folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match renameat_with(from, old, folder, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        renamed => return renamed,
    }
    match linkat(from, old, folder, name, AtFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        linked => return linked.and_then(|()| unlinkat(from, old, AtFlags::empty())),
    }
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => renameat(from, old, folder, name),
        seen => seen.and(Err(Errno::EXIST)),
    }
}

/// Writes a file that the user named: all of it, or what was there stays as it was. What is no file (a
/// pipe, a terminal) is written to; a link is followed. `sync`: it is on the disk on return.
pub(crate) fn write_whole<T>(
    path: &Path,
    sync: bool,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let context = || format!("\"{}\" cannot be written", path.display());
    let old = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        seen => Some(seen.with_context(context)?),
    };
    if let Some(old) = old.as_ref().filter(|old| !old.is_file()) {
        anyhow::ensure!(!old.is_dir(), "\"{}\" is a folder: name a file", path.display());
        let socket = old.file_type().is_socket();
        anyhow::ensure!(!socket, "\"{}\" is a socket: name a file", path.display());
        let mut out = BufWriter::new(File::options().write(true).open(path).with_context(context)?);
        let made = write(&mut out)?;
        out.flush().with_context(context)?;
        return Ok(made);
    }
    let place = match &old {
        Some(_) => path.canonicalize().with_context(context)?,
        None => path.to_owned(),
    };
    let name = place.file_name().with_context(context)?.as_bytes();
    let above = place.parent().filter(|above| !above.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, above.unwrap_or(Path::new(".")), flags, Mode::empty());
    let folder = Arc::new(folder.with_context(context)?);
    let draft_names = DraftNames::new();
    // What is new is open to whom the user's umask says, what is replaced to whom it was open.
    let mode = Mode::from_raw_mode(old.as_ref().map_or(0o666, |old| old.mode() & 0o777));
    let draft = Draft::begin(&folder, mode, mode, &draft_names).with_context(context)?;
    let mut out = BufWriter::with_capacity(1 << 16, draft.file());
    let made = write(&mut out)?;
    out.flush().with_context(context)?;
    drop(out);
    if let Some(old) = &old {
        if geteuid().is_root() {
            let (user, group) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
            fchown(draft.file(), Some(user), Some(group)).with_context(context)?;
        }
        fchmod(draft.file(), mode).with_context(context)?;
    }
    // Or else a power cut could leave neither the old nor the new.
    if sync || old.is_some() {
        draft.file().sync_all().with_context(context)?;
    }
    let placed = match old {
        Some(_) => draft.replace(&folder, name, &draft_names),
        None => draft.place(&folder, name),
    };
    placed.with_context(context)?;
    if sync {
        rustix::fs::fsync(&folder).with_context(context)?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open(path: &Path) -> Arc<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Arc::new(openat(CWD, path, flags, Mode::empty()).unwrap())
    }

    fn names(path: &Path) -> Vec<String> {
        let found = fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            found.map(|found| found.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn draft(folder: &Arc<OwnedFd>, draft_names: &DraftNames, bytes: &[u8]) -> Draft {
        let draft = Draft::begin(folder, Mode::RUSR, Mode::RUSR, draft_names).unwrap();
        draft.file().write_all(bytes).unwrap();
        draft
    }

    #[test]
    fn a_file_has_its_name_when_it_is_whole_with_or_without_a_temporary_one() {
        for nameless in [true, false] {
            let place = tempfile::tempdir().unwrap();
            let (folder, draft_names) = (open(place.path()), DraftNames::with(nameless));
            let new = draft(&folder, &draft_names, b"new");
            assert_eq!(names(place.path()).len(), usize::from(!nameless));
            new.place(&folder, b"a").unwrap();
            assert_eq!(names(place.path()), ["a"]);
            let other = draft(&folder, &draft_names, b"other");
            assert_eq!(other.place(&folder, b"a"), Err(Errno::EXIST));
            assert_eq!(fs::read(place.path().join("a")).unwrap(), b"new");
            other.replace(&folder, b"a", &draft_names).unwrap();
            drop((new, other));
            assert_eq!(fs::read(place.path().join("a")).unwrap(), b"other");
            drop(draft(&folder, &draft_names, b"never"));
            fs::create_dir(place.path().join("b")).unwrap();
            let third = draft(&folder, &draft_names, b"third");
            assert_eq!(third.replace(&folder, b"b", &draft_names), Err(Errno::ISDIR));
            drop(third);
            assert_eq!(names(place.path()), ["a", "b"]);
        }
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_a_living_one_holds_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = open(place.path());
        let (here, there) = (DraftNames::with(false), DraftNames::with(false));
        let held = draft(&folder, &there, b"held");
        let living = names(place.path());
        let left = [".lucid-0123456789abcdef.tmp", ".lucid-0123456789abcdee.tmp"];
        fs::write(place.path().join(left[0]), "half").unwrap();
        std::os::unix::fs::symlink("x", place.path().join(left[1])).unwrap();
        // These belong to other programs.
        let others = [".lucid-0123456789abcdeX.tmp", ".lucid-.tmp", "lucid"];
        for name in others {
            fs::write(place.path().join(name), "").unwrap();
        }
        drop(draft(&folder, &here, b""));
        assert_eq!(here.removed(), 2);
        let mut wanted: Vec<_> = others.map(str::to_owned).into_iter().chain(living).collect();
        wanted.sort();
        assert_eq!(names(place.path()), wanted);
        held.place(&folder, b"a").unwrap();
        assert_eq!(fs::read(place.path().join("a")).unwrap(), b"held");
    }

    #[test]
    fn a_folder_takes_the_place_of_a_file() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a"), "").unwrap();
        DraftNames::new().replace_with_folder(&open(place.path()), b"a", Mode::RWXU).unwrap();
        assert!(place.path().join("a").is_dir());
        assert_eq!(names(place.path()), ["a"]);
    }

    #[test]
    fn a_file_is_written_whole_or_stays_as_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        let fail = |path: &Path| {
            write_whole(path, false, |out| -> anyhow::Result<()> {
                out.write_all(&[0; 1 << 20])?;
                anyhow::bail!("no more")
            })
        };
        assert!(fail(&path).is_err());
        assert!(names(place.path()).is_empty());
        fs::write(&path, "precious").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(fail(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        // A link is followed, and stays.
        let link = place.path().join("link");
        std::os::unix::fs::symlink("a", &link).unwrap();
        write_whole(&link, true, |out| Ok(out.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(place.path()), ["a", "link"]);
        // A name that leads nowhere is not written through.
        std::os::unix::fs::symlink("nowhere", place.path().join("b")).unwrap();
        let refused = write_whole(&place.path().join("b"), true, |_| Ok(())).unwrap_err();
        assert!(refused.to_string().contains("cannot be written"), "{refused:#}");
        // What is no file is written to.
        write_whole(Path::new("/dev/null"), false, |out| Ok(out.write_all(b"gone")?)).unwrap();
    }
}
