//! Lists a tree's names depth-first, each folder's in order of their bytes.
//!
//! Called by the walk and the prefetcher, which examine what it names. Folders are opened one
//! below the other, never by a whole path, so depth has no limit. Invariants: of the folders
//! between the top and the current one only the last few are open, and those on the way to a path that was
//! named; a folder is gone back to only if it is still the same one. Names are opened without following a link,
//! but for those that the user named or that lead there.

use std::{
    collections::VecDeque,
    fs::{File, Metadata},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    sync::Arc,
    vec,
};

use ignore::gitignore::Gitignore;
use lucid_core::limits::PATH_BYTES_MAX;
use rustix::{
    fs::{CWD, FileType, OFlags, RawDir},
    io::Errno,
};

use super::{
    Identity, Options, Skipped, WalkError, WhySkipped, contents, open_passage, open_reading,
    open_top, open_unread, refuse_store,
    tops::{Meaning, Sources, Tops},
};
use crate::folder::path::{absolute, join};
use crate::folder::select::{Bounds, Excluded, Selection};

/// Folders of the current path that stay open.
const OPEN_FRAMES: usize = 32;
/// Room for a few hundred names a call.
const LISTING_BYTES: usize = 64 << 10;

/// Something to be examined.
pub(super) enum Task {
    /// A folder or file that is open already.
    Opened {
        /// The open folder or file.
        file: Arc<File>,
        /// What it was when opened.
        seen: Metadata,
        /// Its path in the tree.
        path: Vec<u8>,
    },
    /// A folder on the way to what was named, of which nothing but this may be known.
    Passed {
        /// What it is.
        seen: Metadata,
        /// Its path in the tree.
        path: Vec<u8>,
    },
    /// A file in an open folder.
    File(NameInFolder),
    /// A symbolic link in an open folder.
    Symlink(NameInFolder),
    /// Something that is left out.
    Skipped(Skipped),
}

/// A name in an open folder.
pub(super) struct NameInFolder {
    pub folder: Arc<File>,
    pub name: Box<[u8]>,
    pub path: Vec<u8>,
    pub bounds: Bounds,
}

/// Lists a tree.
pub(super) struct Scout {
    frames: Vec<Frame>,
    /// The path of the last frame, and of those before it by their lengths.
    path: Vec<u8>,
    /// Where the tree stands among all paths.
    base: Vec<u8>,
    tops: Tops,
    exclude: Vec<Identity>,
    selection: Arc<Selection>,
    /// What was found before its turn.
    ahead: VecDeque<Task>,
    listing: Vec<u8>,
}

/// A name and what the folder says it stands for.
pub(super) type Name = (Box<[u8]>, FileType);

/// A folder whose names are being visited.
struct Frame {
    /// None while it is far up the current path.
    folder: Option<Arc<File>>,
    identity: Identity,
    path_length: usize,
    names: vec::IntoIter<Name>,
    how: Entered,
    ignores: Option<Box<Gitignore>>,
}

/// How a folder was come to.
#[derive(Clone, Copy)]
struct Entered {
    /// Whether its content is wanted, or only leads to what was named.
    is_wanted: bool,
    /// Whether a link may have been followed to it, so that it stays open: there is no other way back.
    is_pinned: bool,
    /// The file system that the walk began on.
    device: Option<u64>,
}

impl Scout {
    /// Opens the top of the tree.
    pub(super) fn start(sources: &Sources, options: &Options) -> Result<Self, WalkError> {
        for path in sources.paths() {
            refuse_store(path)?;
        }
        let mut scout = Self {
            frames: Vec::new(),
            path: Vec::new(),
            base: Vec::new(),
            tops: Tops::default(),
            exclude: options.exclude.clone(),
            selection: Arc::clone(&options.selection),
            ahead: VecDeque::new(),
            listing: Vec::with_capacity(LISTING_BYTES),
        };
        let first = match sources {
            Sources::Whole(path) => {
                let (top, seen) = open_top(path)?;
                let base = absolute(path);
                if seen.is_dir() {
                    scout.base = base.as_os_str().as_bytes().to_vec();
                    let how =
                        Entered { is_wanted: true, is_pinned: true, device: Some(seen.dev()) };
                    scout.enter(top, seen, Vec::new(), how)
                } else {
                    let name = path.file_name().unwrap_or("file".as_ref());
                    scout.opened(top, seen, name.as_bytes().to_vec())
                }
            }
            Sources::Each(paths) => {
                scout.tops = Tops::new(paths);
                let is_named = scout.tops.meaning(b"") == Meaning::Named;
                let root = open_passage(CWD, b"/").map_err(|errno| WalkError::Open {
                    path: "/".to_owned(),
                    source: errno.into(),
                })?;
                scout.go_on(root, Vec::new(), is_named, None)
            }
        };
        // What listing had to say follows the folder itself.
        scout.ahead.push_front(first);
        Ok(scout)
    }

    /// A file that was named and is open.
    fn opened(&self, file: Arc<File>, seen: Metadata, path: Vec<u8>) -> Task {
        match self.selection.bounds(None).fault(&seen) {
            Some(why) => skip(path, why.into()),
            None => Task::Opened { file, seen, path },
        }
    }

    fn visit(&mut self, folder: Arc<File>, path: Vec<u8>, name: Box<[u8]>, kind: FileType) -> Task {
        if path.len() > PATH_BYTES_MAX {
            return skip(path, WhySkipped::TooLong);
        }
        let (is_wanted, device) = self
            .frames
            .last()
            .map_or((true, None), |frame| (frame.how.is_wanted, frame.how.device));
        let place = NameInFolder { folder, name, path, bounds: self.selection.bounds(device) };
        match self.tops.meaning(&place.path) {
            Meaning::Named if self.is_excluded(&place.path) => {
                skip(place.path, Excluded::Pattern.into())
            }
            Meaning::Named => self.follow(place, true, None),
            Meaning::Passage => {
                let why = self.why_excluded(&place.path, true).filter(|_| is_wanted);
                self.ahead.extend(why.map(|why| skip(place.path.clone(), why.into())));
                self.follow(place, is_wanted && why.is_none(), device)
            }
            Meaning::Plain => self.visit_plain(place, kind),
        }
    }

    fn visit_plain(&mut self, place: NameInFolder, kind: FileType) -> Task {
        if let Some(why) = self.why_excluded(&place.path, kind == FileType::Directory) {
            return skip(place.path, why.into());
        }
        let why = match kind {
            FileType::Directory => return self.descend(place),
            FileType::RegularFile => return Task::File(place),
            FileType::Symlink => return Task::Symlink(place),
            FileType::Socket => WhySkipped::Socket,
            FileType::Fifo => WhySkipped::Pipe,
            FileType::BlockDevice | FileType::CharacterDevice => WhySkipped::Device,
            // Some file systems do not tell while listing.
            FileType::Unknown => match ask(&place) {
                Ok(FileType::Unknown) => WhySkipped::Device,
                Ok(kind) => return self.visit_plain(place, kind),
                Err(why) => why,
            },
        };
        skip(place.path, why)
    }

    /// Whether patterns exclude a path in the tree.
    fn is_excluded(&self, path: &[u8]) -> bool {
        self.selection.has_patterns() && self.selection.excludes(&below(&self.base, path))
    }

    /// Why a name is not wanted that was not named itself, if so.
    fn why_excluded(&self, path: &[u8], is_folder: bool) -> Option<Excluded> {
        if self.is_excluded(path) {
            return Some(Excluded::Pattern);
        }
        if !self.selection.git_ignore {
            return None;
        }
        // The nearest of them that says something counts.
        let said = self.frames.iter().rev().find_map(|frame| {
            let behind = path.get(frame.path_length..)?;
            let behind = behind.strip_prefix(b"/").unwrap_or(behind);
            contents::verdict(frame.ignores.as_deref()?, behind, is_folder)
        });
        (said == Some(true)).then_some(Excluded::GitIgnored)
    }

    fn descend(&mut self, place: NameInFolder) -> Task {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let folder = match open_reading(&place.folder, &*place.name, flags) {
            Ok(folder) => folder,
            Err(errno) => return skip(place.path, WhySkipped::from_errno(errno)),
        };
        let device = self.frames.last().and_then(|frame| frame.how.device);
        let how = Entered { is_wanted: true, is_pinned: false, device };
        match folder.metadata() {
            Ok(seen) => self.enter(Arc::new(folder), seen, place.path, how),
            Err(error) => skip(place.path, WhySkipped::Unreadable(error)),
        }
    }

    /// Goes on to what was named, or to a folder on the way there; a link is followed. Without a `device` the walk
    /// begins here.
    fn follow(&mut self, place: NameInFolder, is_wanted: bool, device: Option<u64>) -> Task {
        match open_passage(&place.folder, &place.name) {
            Ok(opened) => self.go_on(opened, place.path, is_wanted, device),
            Err(errno) => self.lost(place.path, errno),
        }
    }

    fn go_on(
        &mut self,
        (file, may_be_read): (File, bool),
        path: Vec<u8>,
        is_wanted: bool,
        device: Option<u64>,
    ) -> Task {
        let seen = match file.metadata() {
            Ok(seen) => seen,
            Err(error) => return skip(path, WhySkipped::Unreadable(error)),
        };
        let is_named = self.tops.meaning(&path) == Meaning::Named;
        if seen.is_dir() {
            let device = device.or(is_named.then_some(seen.dev()));
            if is_wanted && !may_be_read {
                let why = WhySkipped::Listing(Errno::ACCESS.into());
                self.ahead.push_back(skip(path.clone(), why));
            }
            let is_wanted = is_wanted && may_be_read;
            let how = Entered { is_wanted, is_pinned: true, device };
            let entered = self.enter(Arc::new(file), seen, path, how);
            return match entered {
                Task::Opened { seen, path, .. } if !may_be_read => Task::Passed { seen, path },
                entered => entered,
            };
        }
        if !is_named {
            return self.lost(path, Errno::NOTDIR);
        }
        if !may_be_read {
            return self.lost(path, Errno::ACCESS);
        }
        match kind_of(&seen) {
            FileType::RegularFile => self.opened(Arc::new(file), seen, path),
            FileType::Fifo => skip(path, WhySkipped::Pipe),
            FileType::Socket => skip(path, WhySkipped::Socket),
            _ => skip(path, WhySkipped::Device),
        }
    }

    /// Names everything that cannot be come to because of this path.
    fn lost(&mut self, path: Vec<u8>, errno: Errno) -> Task {
        let why = || match errno {
            Errno::NOENT | Errno::NOTDIR => WhySkipped::Absent,
            Errno::NXIO => WhySkipped::Socket,
            errno => WhySkipped::from_errno(errno),
        };
        let tops: Vec<Vec<u8>> = self.tops.below(&path).map(<[u8]>::to_vec).collect();
        let mut lost = tops.into_iter().map(|path| skip(path, why()));
        if self.tops.meaning(&path) == Meaning::Named {
            self.ahead.extend(lost);
            return skip(path, why());
        }
        let first = lost.next();
        self.ahead.extend(lost);
        first.unwrap_or_else(|| skip(path, why()))
    }

    /// Lists a folder, so that its names come next.
    fn enter(&mut self, folder: Arc<File>, seen: Metadata, path: Vec<u8>, how: Entered) -> Task {
        let identity = Identity::from(&seen);
        if how.is_wanted && self.exclude.contains(&identity) {
            return skip(path, WhySkipped::OwnFolder);
        }
        let mut how = how;
        let is_elsewhere =
            self.selection.one_file_system && how.device.is_some_and(|device| device != seen.dev());
        let (mut names, mut ignores) = (Vec::new(), None);
        if how.is_wanted && is_elsewhere {
            // It stays as the place where the other file system is to be mounted.
            self.ahead.push_back(skip(path.clone(), Excluded::OtherFileSystem.into()));
            how.is_wanted = false;
        } else if how.is_wanted {
            let failed;
            (names, failed) = self.list(&folder);
            if contents::is_store(&folder, &names) {
                return skip(path, WhySkipped::OwnFolder);
            }
            if let Some(errno) = failed {
                self.ahead.push_back(skip(path.clone(), WhySkipped::Listing(errno.into())));
            }
            if let Some(marker) = contents::marker(&self.selection, &folder, &names) {
                names.retain(|(name, _)| **name == *marker.name);
                self.ahead.push_back(skip(path.clone(), marker.says.into()));
                how.is_wanted = false;
            } else if self.selection.git_ignore && contents::has_ignores(&names) {
                ignores = self.read_ignores(&folder, &path);
            }
        }
        for name in self.tops.names_in(&path) {
            if let Err(at) = names.binary_search_by(|(known, _)| known.cmp(&name)) {
                names.insert(at, (name, FileType::Unknown));
            }
        }
        self.path.clone_from(&path);
        self.frames.push(Frame {
            folder: Some(Arc::clone(&folder)),
            identity,
            path_length: path.len(),
            names: names.into_iter(),
            how,
            ignores,
        });
        if let Some(far) = self.frames.iter_mut().rev().nth(OPEN_FRAMES)
            && !far.how.is_pinned
        {
            far.folder = None;
        }
        Task::Opened { file: folder, seen, path }
    }

    fn read_ignores(&mut self, folder: &File, path: &[u8]) -> Option<Box<Gitignore>> {
        let (ignores, passed_over) = match contents::ignores(folder) {
            Ok((ignores, passed_over)) => (Some(Box::new(ignores)), passed_over),
            Err(why) => (None, vec![format!("its .gitignore cannot be read: {why}")]),
        };
        let told = passed_over.into_iter().map(|why| skip(path.to_vec(), WhySkipped::Nothing(why)));
        self.ahead.extend(told);
        ignores
    }

    /// Reads a folder's names; on an error, those up to it.
    fn list(&mut self, folder: &File) -> (Vec<Name>, Option<Errno>) {
        let mut names: Vec<Name> = Vec::new();
        let mut failed = None;
        let mut listing = RawDir::new(folder, self.listing.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            match entry {
                Ok(entry) => match entry.file_name().to_bytes() {
                    b"." | b".." => {}
                    name => names.push((name.into(), entry.file_type())),
                },
                Err(Errno::INTR) => {}
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            }
        }
        names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        (names, failed)
    }

    /// Ends a folder and goes back to the one above it.
    fn leave(&mut self) {
        let Some(left) = self.frames.pop() else {
            return;
        };
        let Some(above) = self.frames.last() else {
            return;
        };
        self.path.truncate(above.path_length);
        if above.folder.is_some() {
            return;
        }
        let folder = self.return_to(left.folder.as_deref(), above.identity);
        let Some(above) = self.frames.last_mut() else {
            return;
        };
        if folder.is_none() && above.names.len() > 0 {
            self.ahead.push_back(skip(self.path.clone(), WhySkipped::Changed));
            above.names = Vec::new().into_iter();
        }
        above.folder = folder;
    }

    /// Opens a folder again: one step up, or else all the way down from the last one that stays open.
    fn return_to(&self, below: Option<&File>, wanted: Identity) -> Option<Arc<File>> {
        let same = |file: &File| file.metadata().is_ok_and(|seen| Identity::from(&seen) == wanted);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        if let Some(below) = below
            && let Ok(above) = open_reading(below, c"..", flags)
            && same(&above)
        {
            return Some(Arc::new(above));
        }
        let pinned = self.frames.iter().rev().find(|frame| frame.how.is_pinned)?;
        let mut folder = Arc::clone(pinned.folder.as_ref()?);
        let rest = self.path.get(pinned.path_length..).unwrap_or_default();
        for part in rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            folder = Arc::new(open_reading(&folder, part, flags).ok()?);
        }
        same(&folder).then_some(folder)
    }
}

impl Iterator for Scout {
    type Item = Task;

    fn next(&mut self) -> Option<Task> {
        loop {
            if let Some(task) = self.ahead.pop_front() {
                return Some(task);
            }
            let frame = self.frames.last_mut()?;
            match (frame.names.next(), &frame.folder) {
                (Some((name, kind)), Some(folder)) => {
                    let (folder, path) = (Arc::clone(folder), join(&self.path, &name));
                    return Some(self.visit(folder, path, name, kind));
                }
                _ => self.leave(),
            }
        }
    }
}

fn skip(path: Vec<u8>, why: WhySkipped) -> Task {
    Task::Skipped(Skipped { path, why })
}

/// Asks what a name stands for, without opening it for reading.
fn ask(place: &NameInFolder) -> Result<FileType, WhySkipped> {
    let file = open_unread(&place.folder, &place.name)?;
    Ok(kind_of(&file.metadata().map_err(WhySkipped::Unreadable)?))
}

fn kind_of(seen: &Metadata) -> FileType {
    let kind = seen.file_type();
    match () {
        () if kind.is_dir() => FileType::Directory,
        () if kind.is_file() => FileType::RegularFile,
        () if kind.is_symlink() => FileType::Symlink,
        () if kind.is_socket() => FileType::Socket,
        () if kind.is_fifo() => FileType::Fifo,
        () if kind.is_block_device() => FileType::BlockDevice,
        () if kind.is_char_device() => FileType::CharacterDevice,
        () => FileType::Unknown,
    }
}

/// A path below another one that is absolute.
fn below(base: &[u8], path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return base.to_vec();
    }
    let mut whole = Vec::with_capacity(base.len() + 1 + path.len());
    whole.extend_from_slice(base.strip_suffix(b"/").unwrap_or(base));
    whole.push(b'/');
    whole.extend_from_slice(path);
    whole
}
