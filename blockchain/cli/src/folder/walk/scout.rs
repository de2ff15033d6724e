//! Lists a tree's names depth-first, each folder's in order of their bytes.
//!
//! Called by the walk and the prefetcher, which examine what it names. Folders are opened one
//! below the other, never by a whole path, so depth has no limit. Invariants: of the folders
//! between the top and the current one only the last few are open, and a folder is gone back
//! to only if it is still the same one.

use std::{
    collections::VecDeque,
    fs::{File, Metadata},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, FileTypeExt},
    },
    path::Path,
    sync::Arc,
    vec,
};

use lucid_core::limits::PATH_BYTES_MAX;
use lucid_store::files::folder::{STORE_TITLE, begins_label, labels};
use rustix::{
    fs::{FileType, OFlags, RawDir},
    io::Errno,
};

use super::{
    Identity, Skipped, WalkError, WhySkipped, open_reading, open_top, open_unread, refuse_store,
};
use crate::folder::path::join;

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
}

/// Lists a tree.
pub(super) struct Scout {
    top: Arc<File>,
    frames: Vec<Frame>,
    /// The path of the last frame, and of those before it by their lengths.
    path: Vec<u8>,
    exclude: Vec<Identity>,
    /// What was found before its turn.
    ahead: VecDeque<Task>,
    listing: Vec<u8>,
}

/// A name and what the folder says it stands for.
type Name = (Box<[u8]>, FileType);

/// A folder whose names are being visited.
struct Frame {
    /// None while it is far up the current path.
    folder: Option<Arc<File>>,
    identity: Identity,
    path_length: usize,
    names: vec::IntoIter<Name>,
}

impl Scout {
    /// Opens the top of the tree.
    pub(super) fn start(path: &Path, exclude: &[Identity]) -> Result<Self, WalkError> {
        let (top, seen) = open_top(path)?;
        refuse_store(path)?;
        let mut scout = Self {
            top: Arc::clone(&top),
            frames: Vec::new(),
            path: Vec::new(),
            exclude: exclude.to_vec(),
            ahead: VecDeque::new(),
            listing: Vec::with_capacity(LISTING_BYTES),
        };
        let first = if seen.is_dir() {
            scout.enter(top, seen, Vec::new())
        } else {
            let name = path.file_name().unwrap_or("file".as_ref());
            let path = name.as_bytes().to_vec();
            Task::Opened { file: top, seen, path }
        };
        // What listing had to say follows the folder itself.
        scout.ahead.push_front(first);
        Ok(scout)
    }

    fn visit(&mut self, folder: Arc<File>, path: Vec<u8>, name: Box<[u8]>, kind: FileType) -> Task {
        if path.len() > PATH_BYTES_MAX {
            return skip(path, WhySkipped::TooLong);
        }
        let place = NameInFolder { folder, name, path };
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
                Ok(kind) => return self.visit(place.folder, place.path, place.name, kind),
                Err(why) => why,
            },
        };
        skip(place.path, why)
    }

    fn descend(&mut self, place: NameInFolder) -> Task {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let folder = match open_reading(&place.folder, &*place.name, flags) {
            Ok(folder) => folder,
            Err(errno) => return skip(place.path, WhySkipped::from_errno(errno)),
        };
        match folder.metadata() {
            Ok(seen) => self.enter(Arc::new(folder), seen, place.path),
            Err(error) => skip(place.path, WhySkipped::Unreadable(error)),
        }
    }

    /// Lists a folder, so that its names come next.
    fn enter(&mut self, folder: Arc<File>, seen: Metadata, path: Vec<u8>) -> Task {
        let identity = Identity::from(&seen);
        if self.exclude.contains(&identity) {
            return skip(path, WhySkipped::OwnFolder);
        }
        let (names, failed) = self.list(&folder);
        if is_store(&folder, &names) {
            return skip(path, WhySkipped::OwnFolder);
        }
        if let Some(errno) = failed {
            self.ahead.push_back(skip(path.clone(), WhySkipped::Listing(errno.into())));
        }
        self.path.clone_from(&path);
        self.frames.push(Frame {
            folder: Some(Arc::clone(&folder)),
            identity,
            path_length: path.len(),
            names: names.into_iter(),
        });
        if let Some(far) = self.frames.iter_mut().rev().nth(OPEN_FRAMES) {
            far.folder = None;
        }
        Task::Opened { file: folder, seen, path }
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

    /// Opens a folder again: one step up, or else all the way down from the top.
    fn return_to(&self, below: Option<&File>, wanted: Identity) -> Option<Arc<File>> {
        let same = |file: &File| file.metadata().is_ok_and(|seen| Identity::from(&seen) == wanted);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        if let Some(below) = below
            && let Ok(above) = open_reading(below, c"..", flags)
            && same(&above)
        {
            return Some(Arc::new(above));
        }
        let mut folder = Arc::clone(&self.top);
        for part in self.path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
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

/// Whether the folder with these names is a store, by its label.
fn is_store(folder: &File, names: &[Name]) -> bool {
    labels().iter().any(|label| {
        let found = names.binary_search_by(|(name, _)| (**name).cmp(label.as_bytes()));
        found.is_ok() && open_reading(folder, label.as_bytes(), OFlags::empty()).is_ok_and(begins)
    })
}

fn begins(label: File) -> bool {
    let mut bytes = [0; STORE_TITLE.len()];
    label.read_exact_at(&mut bytes, 0).is_ok() && begins_label(&bytes)
}

fn skip(path: Vec<u8>, why: WhySkipped) -> Task {
    Task::Skipped(Skipped { path, why })
}

/// Asks what a name stands for, without opening it for reading.
fn ask(place: &NameInFolder) -> Result<FileType, WhySkipped> {
    let file = open_unread(&place.folder, &place.name)?;
    let kind = file.metadata().map_err(WhySkipped::Unreadable)?.file_type();
    Ok(match () {
        () if kind.is_dir() => FileType::Directory,
        () if kind.is_file() => FileType::RegularFile,
        () if kind.is_symlink() => FileType::Symlink,
        () if kind.is_socket() => FileType::Socket,
        () if kind.is_fifo() => FileType::Fifo,
        () if kind.is_block_device() => FileType::BlockDevice,
        () if kind.is_char_device() => FileType::CharacterDevice,
        () => FileType::Unknown,
    })
}
