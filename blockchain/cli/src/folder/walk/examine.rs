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
    fs::{Advice, OFlags, fadvise, readlinkat},
    io::Errno,
};

use super::{
    EntryContent, Holes, Identity, Skipped, Step, WalkedEntry, WhySkipped, another, open_reading,
    open_unread,
    scout::{NameInFolder, Task},
};
use crate::folder::attributes::{self, Attributes};
use crate::folder::{Entry, EntryKind, FileTime, Owner};

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
    is_sparse: bool,
    /// Where reading fails, as on a disk with a bad sector.
    #[cfg(test)]
    fails_at: Option<u64>,
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

    /// From now on the file cannot be read from `offset` on.
    #[cfg(test)]
    pub(super) fn fail_at(&mut self, offset: Option<u64>) {
        self.fails_at = offset;
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(end) = self.fails_at {
            let sound = usize::try_from(end.saturating_sub(offset)).unwrap();
            if sound == 0 && !buffer.is_empty() {
                return Err(Errno::IO.into());
            }
            let sound = sound.min(buffer.len());
            return self.file.read_at(&mut buffer[..sound], offset);
        }
        self.file.read_at(buffer, offset)
    }

    /// Fills a buffer from a place in the file, from any thread. Less comes at the file's end, and before
    /// a place that cannot be read; reading on from there tells which of the two it is.
    pub fn read_at(&self, mut offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_some(offset, rest) {
                Ok(0) => break,
                Ok(length) => {
                    filled += length;
                    offset += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Finds where the file takes no room, before it is read.
    pub(crate) fn holes(&self) -> io::Result<Holes> {
        if self.is_sparse { Holes::find(&self.file, self.length()) } else { Ok(Holes::default()) }
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
                another(&file).and_then(|file| opened(file, seen, small_max, admit))
            };
            (path, examined)
        }
        Task::Passed { seen, path } => (path, Ok(passed(&seen))),
        Task::File(place) => {
            let examined = open_reading(&place.folder, &*place.name, OFlags::NOFOLLOW)
                .map_err(WhySkipped::from_errno)
                .and_then(|file| {
                    let seen = file.metadata().map_err(WhySkipped::Unreadable)?;
                    if let Some(why) = place.bounds.fault(&seen) {
                        return Err(why.into());
                    }
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
            Examined { step: Step::Entry(Box::new(found)), shared }
        }
        Err(why) => Examined::plain(Step::Skipped(Skipped { path, why })),
    }
}

impl Examined {
    fn plain(step: Step) -> Self {
        Self { step, shared: None }
    }

    #[cfg(test)]
    pub(super) fn failing_at(mut self, offset: Option<u64>) -> Self {
        if let Step::Entry(found) = &mut self.step
            && let EntryContent::Open(file) = &mut found.content
        {
            file.fail_at(offset);
        }
        self
    }

    /// How many bytes it brings along.
    pub(super) fn bytes(&self) -> u64 {
        match &self.step {
            Step::Entry(found) => match &found.content {
                EntryContent::Read(bytes) => bytes.len() as u64,
                _ => 0,
            },
            Step::Skipped(_) => 0,
        }
    }
}

type ExaminedEntry = (WalkedEntry, Option<Shared>);

fn folder(file: &File, seen: &Metadata) -> ExaminedEntry {
    (described(EntryKind::Folder, seen, &attributes::AttributesOf::Open(file)), None)
}

/// A folder that was only passed through: nothing is missing of what nobody asked for.
fn passed(seen: &Metadata) -> ExaminedEntry {
    let entry = describe(EntryKind::Folder, seen);
    let lacks = Vec::new();
    (WalkedEntry { entry, content: EntryContent::None, has_more_names: false, lacks }, None)
}

fn opened(
    file: File,
    seen: Metadata,
    small_max: u64,
    admit: impl FnOnce(u64),
) -> Result<ExaminedEntry, WhySkipped> {
    if !seen.is_file() {
        // It was a file when its folder was listed.
        return Err(WhySkipped::Changed);
    }
    let mut found = described(EntryKind::File, &seen, &attributes::AttributesOf::Open(&file));
    let (size, before) = (seen.size(), Before::from(&seen));
    if size < small_max {
        admit(size);
        let (bytes, fault) =
            read_small(size, small_max, |bytes| rustix::io::read(&file, spare_capacity(bytes)));
        if is_sparse(&seen) {
            match Holes::find(&file, size) {
                Ok(mut holes) => {
                    holes.hold_against(0, &bytes);
                    found.entry.holes = holes.within(bytes.len() as u64);
                }
                Err(why) => found.lacks.push(no_holes(&why)),
            }
        }
        found.entry.length = bytes.len() as u64;
        found.entry.changed = found.entry.length != size || moved(&file, before);
        match fault.map(io::Error::from) {
            Some(why) if bytes.is_empty() => return Err(WhySkipped::Unreadable(why)),
            Some(why) => found.lacks.push(only(bytes.len() as u64, &why.to_string())),
            None => {}
        }
        found.content = EntryContent::Read(bytes);
    } else {
        found.entry.length = size;
        // Only a hint: larger read-ahead.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        found.content = EntryContent::Open(OpenFile {
            file,
            before,
            is_sparse: is_sparse(&seen),
            #[cfg(test)]
            fails_at: None,
        });
    }
    Ok((found, shared(&seen)))
}

fn symlink(place: &NameInFolder) -> Result<ExaminedEntry, WhySkipped> {
    let link = open_unread(&place.folder, &place.name)?;
    let seen = link.metadata().map_err(WhySkipped::Unreadable)?;
    if !seen.is_symlink() {
        return Err(WhySkipped::Changed);
    }
    // An empty path means the open link itself.
    let target = readlinkat(&link, c"", Vec::new()).map_err(WhySkipped::from_errno)?;
    let attributes = attributes::AttributesOf::link(&place.folder, &place.name);
    let mut found = described(EntryKind::Symlink, &seen, &attributes);
    found.entry.target = target.into_bytes();
    Ok((found, shared(&seen)))
}

/// What is known before any byte is read.
fn described(
    kind: EntryKind,
    seen: &Metadata,
    attributes: &attributes::AttributesOf<'_>,
) -> WalkedEntry {
    let mut entry = describe(kind, seen);
    let Attributes { read, flags, lacking } = attributes.read();
    entry.attributes = read;
    entry.flags = flags;
    WalkedEntry {
        entry: entry.with_acls(),
        content: EntryContent::None,
        has_more_names: false,
        lacks: lacking,
    }
}

fn describe(kind: EntryKind, seen: &Metadata) -> Entry {
    Entry {
        path: Vec::new(),
        kind,
        mode: seen.mode() & 0o7777,
        modified: FileTime {
            seconds: seen.mtime(),
            nanos: u32::try_from(seen.mtime_nsec().min(999_999_999)).unwrap_or_default(),
        },
        owner: Owner { uid: seen.uid(), gid: seen.gid() },
        ..Entry::bare()
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

/// Whether a file takes less room than its bytes do.
fn is_sparse(seen: &Metadata) -> bool {
    seen.blocks().saturating_mul(512) < seen.size()
}

/// That a file comes back without its holes.
pub(crate) fn no_holes(why: &io::Error) -> String {
    format!("its holes cannot be found: {why}")
}

/// How much of a file is kept that could not be read to its end.
pub(crate) fn only(bytes: u64, why: &str) -> String {
    format!("only {bytes} bytes could be read: {why}")
}

/// Reads to the end, but never `small_max` bytes or more, however fast the file grows. Comes back with
/// the bytes up to an error, and the error.
fn read_small(
    size: u64,
    small_max: u64,
    mut read: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
) -> (Vec<u8>, Option<Errno>) {
    let most = usize::try_from(small_max).unwrap_or(usize::MAX);
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(most);
    // One more than it should have, so that growing shows in the same call.
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    let mut fault = None;
    loop {
        if bytes.len() == bytes.capacity() {
            if bytes.len() >= most {
                break;
            }
            bytes.reserve(bytes.len().max(4096).min(most - bytes.len()));
        }
        match read(&mut bytes) {
            Ok(0) => break,
            // A file that claims to be empty may still have something to say, like those in /proc.
            Ok(_) if bytes.len() == size => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                fault = Some(errno);
                break;
            }
        }
    }
    bytes.truncate(most);
    (bytes, fault)
}

#[cfg(test)]
mod tests;
