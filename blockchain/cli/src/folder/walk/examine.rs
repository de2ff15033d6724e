//! Turns a name into an entry: opens it, reads what is known about it, and small files' bytes.
//!
//! Called for every task of the scout, in many threads. Invariant: everything said about a file
//! was read from the one that was opened, and `changed` is false only if it was the same before
//! and after its bytes were read.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
};

use rustix::{
    buffer::spare_capacity,
    fs::{Advice, Mode, OFlags, fadvise, openat, readlinkat},
    io::Errno,
};

use super::{
    Content, Found, Identity, Skipped, Step, Why, open_reading,
    scout::{Place, Task},
};
use crate::folder::{Entry, FileTime, Kind, Owner, attributes};

/// What became of a task, before second names are recognised.
pub(super) struct Examined {
    pub step: Step,
    /// Present if the file has several names.
    pub shared: Option<Shared>,
}

/// A file with several names.
pub(super) struct Shared {
    pub identity: Identity,
    pub names: u64,
    pub state: State,
}

/// What tells whether a file is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    size: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for State {
    fn from(seen: &Metadata) -> Self {
        Self { size: seen.size(), modified: (seen.mtime(), seen.mtime_nsec()) }
    }
}

/// A file that is open and not yet read.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    before: Before,
}

/// What a file was before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    state: State,
    /// Changes with everything, even when the other time is set back.
    inode_changed: (i64, i64),
}

impl From<&Metadata> for Before {
    fn from(seen: &Metadata) -> Self {
        Self { state: seen.into(), inode_changed: (seen.ctime(), seen.ctime_nsec()) }
    }
}

impl OpenFile {
    /// How many bytes it had when it was opened: read these, and no more.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.before.state.size
    }

    /// Fills a buffer from a place in the file, from any thread; less only at the file's end.
    pub fn read_at(&self, mut offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(length) => {
                    filled += length;
                    offset += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Decides, after reading, whether the file changed since it was opened.
    #[must_use]
    pub fn changed(&self, bytes_read: u64) -> bool {
        bytes_read != self.length() || moved(&self.file, self.before)
    }
}

/// Examines one task. Before a small file is read, its size is passed to `admit`, which may wait.
pub(super) fn examine(task: Task, small_max: u64, admit: impl FnOnce(u64)) -> Examined {
    let (path, examined) = match task {
        Task::Skipped(skipped) => return Examined::plain(Step::Skipped(skipped)),
        Task::Opened { file, seen, path } => {
            let examined = if seen.is_dir() {
                Ok(folder(&file, &seen))
            } else {
                // The scout keeps the top of the tree too, so this is a second handle.
                file.try_clone()
                    .map_err(Why::Unreadable)
                    .and_then(|file| opened(file, seen, small_max, admit))
            };
            (path, examined)
        }
        Task::File(place) => {
            let examined = open_reading(&place.folder, &*place.name, OFlags::NOFOLLOW)
                .map_err(Why::from_errno)
                .and_then(|file| {
                    let seen = file.metadata().map_err(Why::Unreadable)?;
                    opened(file, seen, small_max, admit)
                });
            (place.path, examined)
        }
        Task::Symlink(place) => {
            let examined = symlink(&place);
            (place.path, examined)
        }
    };
    match examined {
        Ok((mut found, shared)) => {
            found.entry.path = path;
            Examined { step: Step::Found(Box::new(found)), shared }
        }
        Err(why) => Examined::plain(Step::Skipped(Skipped { path, why })),
    }
}

impl Examined {
    fn plain(step: Step) -> Self {
        Self { step, shared: None }
    }

    /// How many bytes it brings along.
    pub(super) fn bytes(&self) -> u64 {
        match &self.step {
            Step::Found(found) => match &found.content {
                Content::Read(bytes) => bytes.len() as u64,
                _ => 0,
            },
            Step::Skipped(_) => 0,
        }
    }
}

type Outcome = (Found, Option<Shared>);

fn folder(file: &File, seen: &Metadata) -> Outcome {
    let mut entry = describe(Kind::Folder, seen);
    entry.attributes = attributes::Place::Open(file).read();
    let content = Content::None;
    (Found { entry, content, has_more_names: false }, None)
}

fn opened(
    file: File,
    seen: Metadata,
    small_max: u64,
    admit: impl FnOnce(u64),
) -> Result<Outcome, Why> {
    if !seen.is_file() {
        // It was a file when its folder was listed.
        return Err(Why::Changed);
    }
    let mut entry = describe(Kind::File, &seen);
    entry.attributes = attributes::Place::Open(&file).read();
    let (size, before) = (seen.size(), Before::from(&seen));
    let content = if size < small_max {
        admit(size);
        let bytes = read_small(&file, size, small_max).map_err(Why::Unreadable)?;
        entry.length = bytes.len() as u64;
        entry.changed = entry.length != size || moved(&file, before);
        Content::Read(bytes)
    } else {
        entry.length = size;
        // Only a hint: larger read-ahead.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Content::Open(OpenFile { file, before })
    };
    Ok((Found { entry, content, has_more_names: false }, shared(&seen)))
}

fn symlink(place: &Place) -> Result<Outcome, Why> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link: File =
        openat(&place.folder, &*place.name, flags, Mode::empty()).map_err(Why::from_errno)?.into();
    let seen = link.metadata().map_err(Why::Unreadable)?;
    if !seen.is_symlink() {
        return Err(Why::Changed);
    }
    let mut entry = describe(Kind::Symlink, &seen);
    // An empty path means the open link itself.
    let target = readlinkat(&link, c"", Vec::new()).map_err(Why::from_errno)?;
    entry.target = target.into_bytes();
    entry.attributes = attributes::Place::link(&place.folder, &place.name).read();
    let content = Content::None;
    Ok((Found { entry, content, has_more_names: false }, shared(&seen)))
}

fn describe(kind: Kind, seen: &Metadata) -> Entry {
    Entry {
        path: Vec::new(),
        kind,
        mode: seen.mode() & 0o7777,
        modified: FileTime {
            seconds: seen.mtime(),
            nanos: u32::try_from(seen.mtime_nsec().min(999_999_999)).unwrap_or_default(),
        },
        owner: Owner { uid: seen.uid(), gid: seen.gid() },
        target: Vec::new(),
        attributes: Vec::new(),
        offset: 0,
        length: 0,
        changed: false,
        owner_name: Vec::new(),
        group_name: Vec::new(),
        flags: None,
        holes: Vec::new(),
        access_acl: Vec::new(),
        default_acl: Vec::new(),
    }
}

fn shared(seen: &Metadata) -> Option<Shared> {
    (seen.nlink() > 1).then(|| Shared {
        identity: seen.into(),
        names: seen.nlink(),
        state: seen.into(),
    })
}

fn moved(file: &File, before: Before) -> bool {
    // If it cannot be asked, nobody can say that it did not.
    file.metadata().map_or(true, |after| Before::from(&after) != before)
}

/// Reads to the end, but never `small_max` bytes or more, however fast the file grows.
fn read_small(file: &File, size: u64, small_max: u64) -> io::Result<Vec<u8>> {
    let most = usize::try_from(small_max).unwrap_or(usize::MAX);
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(most);
    // One more than it should have, so that growing shows in the same call.
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    loop {
        if bytes.len() == bytes.capacity() {
            if bytes.len() >= most {
                break;
            }
            bytes.reserve(bytes.len().max(4096).min(most - bytes.len()));
        }
        match rustix::io::read(file, spare_capacity(&mut bytes)) {
            Ok(0) => break,
            // A file that claims to be empty may still have something to say, like those in /proc.
            Ok(_) if bytes.len() == size => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(most);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use super::*;

    fn place(folder: &std::path::Path, name: &str) -> Task {
        Task::File(Place {
            folder: Arc::new(File::open(folder).unwrap()),
            name: name.as_bytes().into(),
            path: name.as_bytes().to_vec(),
        })
    }

    fn found(examined: Examined) -> Found {
        match examined.step {
            Step::Found(found) => *found,
            Step::Skipped(skipped) => panic!("skipped: {skipped:?}"),
        }
    }

    #[test]
    fn a_small_file_that_grows_while_it_is_read_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"one").unwrap();
        let grow = |_| {
            let mut file = File::options().append(true).open(&path).unwrap();
            file.write_all(b" two").unwrap();
        };
        let found = found(examine(place(folder.path(), "log"), 1000, grow));
        assert!(found.entry.changed);
        assert_eq!(found.entry.length, 7);
        assert!(matches!(found.content, Content::Read(bytes) if bytes == b"one two"));
    }

    #[test]
    fn a_small_file_that_grows_beyond_small_is_cut_and_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"one").unwrap();
        let grow = |_| std::fs::write(&path, vec![7; 100_000]).unwrap();
        let found = found(examine(place(folder.path(), "log"), 1000, grow));
        assert!(found.entry.changed);
        assert_eq!(found.entry.length, 1000);
    }

    #[test]
    fn a_small_file_that_shrinks_while_it_is_read_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"one two").unwrap();
        let shrink = |_| File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        let found = found(examine(place(folder.path(), "log"), 1000, shrink));
        assert!(found.entry.changed);
        assert_eq!(found.entry.length, 3);
    }

    #[test]
    fn a_small_file_that_is_rewritten_in_place_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, b"one").unwrap();
        let rewrite = |_| std::fs::write(&path, b"two").unwrap();
        let found = found(examine(place(folder.path(), "log"), 1000, rewrite));
        assert!(found.entry.changed);
    }

    #[test]
    fn a_quiet_file_is_not_marked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("quiet"), b"words").unwrap();
        let found = found(examine(place(folder.path(), "quiet"), 1000, |_| {}));
        assert!(!found.entry.changed);
        assert!(matches!(found.content, Content::Read(bytes) if bytes == b"words"));
    }

    #[test]
    fn what_is_no_longer_a_file_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("folder", folder.path().join("link")).unwrap();
        for name in ["folder", "link", "gone"] {
            let examined = examine(place(folder.path(), name), 1000, |_| {});
            let Step::Skipped(skipped) = examined.step else {
                panic!("{name} was taken for a file");
            };
            assert!(matches!(skipped.why, Why::Changed), "{skipped:?}");
        }
    }

    #[test]
    fn a_file_that_fails_while_it_is_read_is_skipped_with_the_reason() {
        // Its first page can be read by nobody, not even by root.
        if !std::path::Path::new("/proc/self/mem").exists() {
            return;
        }
        let task = place(std::path::Path::new("/proc/self"), "mem");
        let Step::Skipped(skipped) = examine(task, 1000, |_| {}).step else {
            panic!("it was read");
        };
        assert!(matches!(skipped.why, Why::Unreadable(_)), "{skipped:?}");
        assert!(skipped.why.to_string().starts_with("it cannot be read: "));
    }

    #[test]
    fn files_that_claim_to_be_empty_are_read_to_their_end() {
        if !std::path::Path::new("/proc/self/status").exists() {
            return;
        }
        let task = place(std::path::Path::new("/proc/self"), "status");
        let found = found(examine(task, 100_000, |_| {}));
        assert!(found.entry.changed && found.entry.length > 100);
    }
}
