//! An archived folder's catalogue: every path with what is known about it but its bytes.
//!
//! Archiving writes one [`Entry`] for each path into the pages of the session's appendix
//! ([`crate::page`]); listing, restoring and [`crate::check`] read them back.
//!
//! Entries stand in [`path_order`]: a folder directly before what is in it. The page key is the path
//! with every `/` written as a zero byte, which sorts before all others and never occurs in a path,
//! so that plain byte order is path order and the path need not be kept twice.

use std::cmp::Ordering;
use std::fmt;

use crate::limits::PATH_BYTES_MAX;
use crate::wire::{Reader, WireFault, Writer};

/// The permission bits; the kind is not among them.
pub const MODE_MAX: u32 = 0o7777;
const NANOS_MAX: u32 = 999_999_999;

/// A path that a catalogue does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path in an archive: {rule}")]
pub struct PathFault {
    path: String,
    rule: &'static str,
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Bytes that are not encoded like an entry.
    #[error("not a catalogue entry: {0}")]
    Wire(#[from] WireFault),
    /// A path that no entry has.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// Fields that do not belong together.
    #[error("the entry of {path:?} is not sound: {rule}")]
    Unsound {
        /// The entry's path.
        path: String,
        /// The rule it breaks.
        rule: &'static str,
    },
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with bytes of its own.
    File,
    /// A link that holds a text.
    Symlink,
    /// Another name of a file that came before.
    HardLink,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Folder => 1,
            Self::File => 2,
            Self::Symlink => 3,
            Self::HardLink => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Folder),
            2 => Some(Self::File),
            3 => Some(Self::Symlink),
            4 => Some(Self::HardLink),
            _ => None,
        }
    }

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
            Self::Symlink => "symlink",
            Self::HardLink => "hard link",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file's time: seconds since 1970 (before it, negative) and nanoseconds on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after them, below a thousand million.
    pub nanos: u32,
}

/// Whom a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// One path of an archived folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path from the archived folder on; empty for that folder itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its permission bits, at most [`MODE_MAX`].
    pub mode: u32,
    /// When it was last changed.
    pub modified: FileTime,
    /// Whom it belongs to.
    pub owner: Owner,
    /// A symlink's text, or the path whose file a hard link shares; otherwise empty.
    pub target: Vec<u8>,
    /// Extended attributes, names ascending.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its bytes begin in the session; a hard link repeats its file's.
    pub offset: u64,
    /// How many bytes were actually read; zero for folders and symlinks.
    pub length: u64,
    /// Whether it changed while it was read.
    pub changed: bool,
}

impl Entry {
    /// The page key: [`path_key`] of its path.
    pub fn key(&self) -> Vec<u8> {
        path_key(&self.path)
    }

    /// The page value: everything but the path. Faults are those that [`Entry::decode`] would find.
    pub fn encode(&self) -> Result<Vec<u8>, EntryFault> {
        self.check()?;
        let mut w = Writer::new();
        w.u8(self.kind.code()).u32(self.mode);
        w.i64(self.modified.seconds).u32(self.modified.nanos);
        w.u32(self.owner.uid).u32(self.owner.gid);
        w.u8(u8::from(self.changed)).u64(self.offset).u64(self.length).bytes(&self.target);
        w.u32(u32::try_from(self.attributes.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.attributes {
            w.bytes(name).bytes(value);
        }
        Ok(w.finish())
    }

    /// Reads an entry from its page key and value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, EntryFault> {
        let path = path_of_key(key)?;
        let mut r = Reader::new(value);
        let kind = Kind::from_code(r.u8("an entry's kind")?)
            .ok_or(WireFault::Invalid { what: "an entry's kind" })?;
        let mode = r.u32("an entry's mode")?;
        let modified =
            FileTime { seconds: r.i64("an entry's time")?, nanos: r.u32("an entry's time")? };
        let owner = Owner { uid: r.u32("an entry's owner")?, gid: r.u32("an entry's group")? };
        let changed = match r.u8("an entry's changed mark")? {
            0 => false,
            1 => true,
            _ => {
                return Err(WireFault::Invalid { what: "an entry's changed mark" }.into());
            }
        };
        let offset = r.u64("an entry's offset")?;
        let length = r.u64("an entry's length")?;
        let target = r.bytes("an entry's target")?.to_vec();
        let count = r.u32("an entry's attributes")?;
        let mut attributes = Vec::new();
        for _ in 0..count {
            let name = r.bytes("an attribute's name")?.to_vec();
            attributes.push((name, r.bytes("an attribute's value")?.to_vec()));
        }
        r.finish()?;
        let entry =
            Self { path, kind, mode, modified, owner, target, attributes, offset, length, changed };
        entry.check()?;
        Ok(entry)
    }

    fn check(&self) -> Result<(), EntryFault> {
        check_path(&self.path)?;
        let need = |kept: bool, rule| {
            let unsound = || EntryFault::Unsound { path: shown(&self.path), rule };
            if kept { Ok(()) } else { Err(unsound()) }
        };
        need(self.mode <= MODE_MAX, "its mode has more than permission bits")?;
        need(self.modified.nanos <= NANOS_MAX, "its nanoseconds make a second")?;
        need(self.offset.checked_add(self.length).is_some(), "its bytes have no end")?;
        match self.kind {
            Kind::Folder | Kind::File => need(self.target.is_empty(), "it has a target")?,
            Kind::Symlink => {
                let sound = !self.target.is_empty()
                    && self.target.len() <= PATH_BYTES_MAX
                    && !self.target.contains(&0);
                need(sound, "its target is not a link's")?;
            }
            Kind::HardLink => {
                check_path(&self.target)?;
                let before = path_order(&self.target, &self.path) == Ordering::Less;
                need(before && !self.target.is_empty(), "its file does not come before it")?;
            }
        }
        if matches!(self.kind, Kind::Folder | Kind::Symlink) {
            need(self.offset == 0 && self.length == 0, "it has bytes")?;
        }
        let names = || self.attributes.iter().map(|(name, _)| name);
        need(names().all(|n| !n.is_empty() && !n.contains(&0)), "an attribute has no name")?;
        need(names().zip(names().skip(1)).all(|(a, b)| a < b), "attributes do not ascend")
    }
}

/// A path as text for a message.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path.get(..160).unwrap_or(path)).into_owned()
}

/// Checks that a path is relative and plain: no empty component, no `.` or `..`, no NUL, not too
/// long. The empty path is the archived folder itself.
pub fn check_path(path: &[u8]) -> Result<(), PathFault> {
    let fault = |rule| PathFault { path: shown(path), rule };
    if path.is_empty() {
        return Ok(());
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(fault("it is too long"));
    }
    if path.contains(&0) {
        return Err(fault("it holds a zero byte"));
    }
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" => return Err(fault("a component is empty")),
            b"." | b".." => return Err(fault("a component is . or ..")),
            _ => {}
        }
    }
    Ok(())
}

/// The order of a catalogue: component by component, in bytes. A folder comes directly before what
/// is in it, and `a/b` before `a.b`.
pub fn path_order(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(|b| sortable(*b)).cmp(b.iter().map(|b| sortable(*b)))
}

/// A byte of a path as a byte of its key.
const fn sortable(byte: u8) -> u8 {
    if byte == b'/' { 0 } else { byte }
}

/// The page key of a path: every `/` becomes a zero byte.
pub fn path_key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|b| sortable(*b)).collect()
}

/// What the keys of everything in a folder begin with; everything, for the archived folder itself.
pub fn folder_prefix(folder: &[u8]) -> Vec<u8> {
    let mut prefix = path_key(folder);
    if !prefix.is_empty() {
        prefix.push(0);
    }
    prefix
}

/// The path of a page key.
pub fn path_of_key(key: &[u8]) -> Result<Vec<u8>, PathFault> {
    if key.contains(&b'/') {
        return Err(PathFault { path: shown(key), rule: "it is a key with a slash" });
    }
    let path: Vec<u8> = key.iter().map(|b| if *b == 0 { b'/' } else { *b }).collect();
    check_path(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests;
