//! One line of a catalogue: a file, folder or link, and everything about it but its bytes.
//!
//! Made by the walk, used by the target and the tarball. Paths are raw bytes, because names on
//! this system are.

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with content of its own.
    File,
    /// A symbolic link; its text is the target.
    Symlink,
    /// A further name of a file met before; that file's path is the target.
    HardLink,
}

/// A moment as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileTime {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanos: u32,
}

/// Who owns an entry, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A file, folder or link of an archived folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the archived folder, parts separated by `/`; the folder itself is empty.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The permission bits, with set-id and sticky bits (07777).
    pub mode: u32,
    /// When its content last changed.
    pub modified: FileTime,
    /// Who owns it.
    pub owner: Owner,
    /// A symbolic link's text, or the first path of a hard link; else empty.
    pub target: Vec<u8>,
    /// Extended attributes, sorted by name.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its bytes begin in the session's content.
    pub offset: u64,
    /// How many bytes were read.
    pub length: u64,
    /// Whether it changed while it was read.
    pub changed: bool,
}
