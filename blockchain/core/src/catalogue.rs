//! An archived folder's catalogue: every path with what is known about it but its bytes.
//!
//! Archiving writes one [`Entry`] for each path into the pages of the session's appendix
//! ([`crate::page`]); listing, restoring and [`crate::check`] read them back.
//!
//! Entries stand in [`path_order`]: a folder directly before what is in it. The page key is the path
//! with every `/` written as a zero byte, which sorts before all others and never occurs in a path,
//! so that plain byte order is path order and the path need not be kept twice.
//!
//! Entries are written as version 2. Those of version 1 are read for ever: what it did not have is unset.

mod acl;
mod encoding;

use std::cmp::Ordering;
use std::fmt;

pub use acl::{AclEntry, AclTag, PERMISSIONS_MAX, acl_of_attribute, attribute_of_acl};

use crate::limits::PATH_BYTES_MAX;
use crate::wire::WireFault;

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
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A file with bytes of its own.
    File,
    /// A link that holds a text.
    Symlink,
    /// Another name of a file that came before.
    HardLink,
}

impl EntryKind {
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

impl fmt::Display for EntryKind {
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
    pub kind: EntryKind,
    /// Its permission bits, at most [`MODE_MAX`].
    pub mode: u32,
    /// When it was last changed.
    pub modified: FileTime,
    /// Whom it belongs to.
    pub owner: Owner,
    /// A symlink's text, or the path whose file a hard link shares; otherwise empty.
    pub target: Vec<u8>,
    /// Extended attributes, names ascending. Version 1 has POSIX ACLs among them, as Linux keeps them;
    /// version 2 has them in [`Entry::access_acl`] and [`Entry::default_acl`].
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its bytes begin in the session; a hard link repeats its file's.
    pub offset: u64,
    /// How many bytes were actually read; zero for folders and symlinks.
    pub length: u64,
    /// Whether it changed while it was read.
    pub changed: bool,
    /// The name of the user it belongs to; empty where the host had none for the number.
    pub owner_name: Vec<u8>,
    /// The name of the group it belongs to; empty where the host had none for the number.
    pub group_name: Vec<u8>,
    /// Its flags, as `FS_IOC_GETFLAGS` has them on Linux; `None` where its file system has none.
    pub flags: Option<u32>,
    /// Where a file has no blocks: the content has zeros there, and restoring need not write them. A
    /// hard link repeats its file's.
    pub holes: Vec<Hole>,
    /// The POSIX ACL that decides who may use it; empty where the mode says all.
    pub access_acl: Vec<AclEntry>,
    /// The POSIX ACL that what is made in a folder begins with; empty without one.
    pub default_acl: Vec<AclEntry>,
}

/// A stretch of a file that takes no room on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hole {
    /// Where it begins, from the file's first byte.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// The longest name of a user or a group, in bytes; hosts stop at 32 or 256.
pub const OWNER_NAME_BYTES_MAX: usize = 1024;
/// Holes of one file: a reader that finds more keeps the largest. An entry must fit in one chunk.
pub const HOLES_MAX: usize = 65_536;
/// The names of extended attributes that version 2 keeps as ACLs.
pub const ACL_ATTRIBUTES: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

impl Entry {
    /// The folder itself, without anything that need not be there: what the other entries are made from.
    pub fn bare() -> Self {
        Self {
            path: Vec::new(),
            kind: EntryKind::Folder,
            mode: 0,
            modified: FileTime { seconds: 0, nanos: 0 },
            owner: Owner::default(),
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

    /// The page key: [`path_key`] of its path.
    pub fn key(&self) -> Vec<u8> {
        path_key(&self.path)
    }

    /// The entry as version 2 has it: ACLs that version 1 keeps as attributes are read. What is no sound
    /// ACL stays an attribute.
    #[must_use]
    pub fn with_acls(mut self) -> Self {
        let [access, default] = ACL_ATTRIBUTES;
        let lists = [(access, &mut self.access_acl), (default, &mut self.default_acl)];
        for (name, list) in lists {
            let kept = self.attributes.iter().position(|(at, _)| at == name);
            let read = kept.and_then(|at| acl_of_attribute(&self.attributes.get(at)?.1));
            if let (Some(at), Some(read)) = (kept, read) {
                self.attributes.remove(at);
                *list = read;
            }
        }
        self
    }

    /// The mode for readers that know no ACLs. The group's bits of a file that has an ACL are its mask,
    /// the most that anyone named in it gets; here they are what the group itself gets, never more.
    pub fn plain_mode(&self) -> u32 {
        const GROUP: u32 = 0o070;
        let of = |tag| {
            let found = self.access_acl.iter().find(|entry| entry.tag == tag);
            found.map(|entry| u32::from(entry.permissions & PERMISSIONS_MAX) << 3)
        };
        let [access, _] = ACL_ATTRIBUTES;
        match of(AclTag::GroupObj) {
            Some(group) => self.mode & (!GROUP | (group & of(AclTag::Mask).unwrap_or(GROUP))),
            // An ACL that nobody can read says nothing that could be granted.
            None if self.attributes.iter().any(|(name, _)| name == access) => self.mode & !GROUP,
            None => self.mode,
        }
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
            EntryKind::Folder | EntryKind::File => need(self.target.is_empty(), "it has a target")?,
            EntryKind::Symlink => {
                let sound = !self.target.is_empty()
                    && self.target.len() <= PATH_BYTES_MAX
                    && !self.target.contains(&0);
                need(sound, "its target is not a link's")?;
            }
            EntryKind::HardLink => {
                check_path(&self.target)?;
                let before = path_order(&self.target, &self.path) == Ordering::Less;
                need(before && !self.target.is_empty(), "its file does not come before it")?;
            }
        }
        if matches!(self.kind, EntryKind::Folder | EntryKind::Symlink) {
            need(self.offset == 0 && self.length == 0, "it has bytes")?;
        }
        let names = || self.attributes.iter().map(|(name, _)| name);
        need(names().all(|n| !n.is_empty() && !n.contains(&0)), "an attribute has no name")?;
        need(names().zip(names().skip(1)).all(|(a, b)| a < b), "attributes do not ascend")?;
        let named = |name: &[u8]| name.len() <= OWNER_NAME_BYTES_MAX && !name.contains(&0);
        need(named(&self.owner_name) && named(&self.group_name), "its owner's name is none")?;
        let may_have =
            matches!(self.kind, EntryKind::File | EntryKind::HardLink) || self.holes.is_empty();
        need(may_have, "it has holes and is no file")?;
        need(self.holes.len() <= HOLES_MAX, "it has too many holes")?;
        need(holes_fit(&self.holes, self.length), "its holes are not in order, or outside it")?;
        if let Some(rule) = acl::fault(&self.access_acl).or_else(|| acl::fault(&self.default_acl)) {
            need(false, rule)?;
        }
        let may_have = self.kind == EntryKind::Folder || self.default_acl.is_empty();
        need(may_have, "it has a default ACL and is no folder")?;
        let may_have = self.kind != EntryKind::Symlink || self.access_acl.is_empty();
        need(may_have, "it has an ACL and is a symlink")
    }
}

/// Whether each hole has a length, none touches the one before, and the last ends within the file.
fn holes_fit(holes: &[Hole], length: u64) -> bool {
    let mut free = 0;
    holes.iter().enumerate().all(|(n, hole)| {
        let apart = n == 0 || hole.offset > free;
        let end = hole.offset.checked_add(hole.length);
        free = end.unwrap_or(u64::MAX);
        apart && hole.length > 0 && end.is_some_and(|end| end <= length)
    })
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
