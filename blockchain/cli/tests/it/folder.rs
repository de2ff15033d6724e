//! Folders: read, restored, written as tar, and what happens when they are hostile or in motion.

mod restore;
mod safety;
mod tarball;
mod walk;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use lucid::folder::{
    Entry, EntryKind, FileTime, Owner,
    target::Target,
    walk::{EntryContent, Options, Skipped, Step, WalkedEntry, walk_with_contents},
};

/// A tree as it was read: entries with their bytes, and what was left out.
struct Tree {
    found: Vec<(Entry, Vec<u8>)>,
    skipped: Vec<Skipped>,
}

impl Tree {
    fn paths(&self) -> Vec<String> {
        let paths = self.found.iter().map(|(entry, _)| &entry.path);
        paths.map(|path| lucid::text::name(path)).collect()
    }

    fn entry(&self, path: &[u8]) -> &Entry {
        let mut found = self.found.iter();
        &found.find(|(entry, _)| entry.path == path).unwrap().0
    }
}

/// Reads files of up to 1000 bytes ahead, and the others in pieces.
fn read(path: &Path) -> Tree {
    let steps = walk_with_contents(path, &Options::default(), 1000).unwrap();
    collect(steps)
}

fn collect(steps: impl Iterator<Item = Step>) -> Tree {
    let mut tree = Tree { found: Vec::new(), skipped: Vec::new() };
    for step in steps {
        match step {
            Step::Entry(found) => tree.found.push(finish_reading(*found)),
            Step::Skipped(skipped) => tree.skipped.push(skipped),
        }
    }
    tree
}

fn finish_reading(found: WalkedEntry) -> (Entry, Vec<u8>) {
    let mut entry = found.entry;
    let bytes = match found.content {
        EntryContent::None => Vec::new(),
        EntryContent::Read(bytes) => bytes,
        EntryContent::Open(file) => {
            let mut bytes = vec![0; usize::try_from(file.length()).unwrap()];
            let length = file.read_at(0, &mut bytes).unwrap();
            bytes.truncate(length);
            entry.changed = file.changed(length as u64);
            entry.length = length as u64;
            bytes
        }
    };
    (entry, bytes)
}

/// Gives a tree to a target, large files in pieces and backwards.
fn put(target: &Target, tree: &Tree) {
    for (entry, bytes) in &tree.found {
        match entry.kind {
            EntryKind::Folder => target.folder(entry).unwrap(),
            EntryKind::Symlink => target.symlink(entry).unwrap(),
            EntryKind::HardLink => target.hard_link(entry).unwrap(),
            EntryKind::File if bytes.len() < 1000 => target.small_file(entry, bytes).unwrap(),
            EntryKind::File => {
                let slot = target.open_file(entry).unwrap();
                let pieces = bytes.chunks(777).enumerate();
                for (number, piece) in pieces.collect::<Vec<_>>().into_iter().rev() {
                    assert!(!slot.is_complete());
                    slot.write_at(number as u64 * 777, piece).unwrap();
                }
                assert!(slot.is_complete());
            }
        }
    }
}

fn entry(kind: EntryKind, path: &[u8]) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: if kind == EntryKind::Folder { 0o755 } else { 0o644 },
        modified: FileTime { seconds: 1_000_000_000, nanos: 123_456_789 },
        owner: Owner { uid: 0, gid: 0 },
        ..Entry::bare()
    }
}

fn link(kind: EntryKind, path: &[u8], target: &[u8]) -> Entry {
    Entry { target: target.to_vec(), ..entry(kind, path) }
}

fn file(path: &[u8], bytes: &[u8]) -> Entry {
    Entry { length: bytes.len() as u64, ..entry(EntryKind::File, path) }
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A folder with everything that a file system can hold.
pub(crate) fn make_varied(top: &Path) {
    fs::create_dir_all(top.join("empty")).unwrap();
    fs::create_dir_all(top.join("folder/below")).unwrap();
    fs::write(top.join("folder/small"), "small").unwrap();
    fs::write(top.join("folder/below/large"), vec![42; 10_000]).unwrap();
    fs::write(top.join("nothing"), "").unwrap();
    fs::write(top.join(" a name  with spaces "), "1").unwrap();
    fs::write(top.join("two\nlines"), "2").unwrap();
    fs::write(top.join(os(b"not \xff\xfe utf-8")), "3").unwrap();
    fs::write(top.join("x".repeat(255)), "4").unwrap();
    fs::write(top.join("a-b"), "5").unwrap();
    std::os::unix::fs::symlink("folder/small", top.join("link")).unwrap();
    std::os::unix::fs::symlink(os(b"../out\xffside"), top.join("folder/dangling")).unwrap();
    fs::hard_link(top.join("folder/small"), top.join("folder/small too")).unwrap();
    fs::hard_link(top.join("folder/small"), top.join("zz")).unwrap();
    fs::hard_link(top.join("link"), top.join("link too")).unwrap();
    for (path, mode) in
        [("folder/small", 0o751), ("nothing", 0o400), ("empty", 0o1777), ("folder/below", 0o710)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(top.join(path), mode).unwrap();
    }
    let attributed = fs::File::open(top.join("folder/small")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    // Not every file system has these; the round trip compares what there is.
    let _ = rustix::fs::fsetxattr(&attributed, "user.colour", b"blue\0green", flags);
    let _ = rustix::fs::setxattr(top.join("empty"), "user.long", &[7; 2000], flags);
    set_time(&top.join("folder/below/large"), -5, 999_999_999);
    set_time(&top.join("nothing"), 1, 1);
    set_time(&top.join("empty"), 4_000_000_000, 0);
}

pub(crate) fn set_time(path: &Path, seconds: i64, nanos: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

/// What must not change about a folder outside, in full.
fn snapshot(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(path) = waiting.pop() {
        let seen = fs::symlink_metadata(&path).unwrap();
        let content = if seen.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        lines.push(format!(
            "{path:?} {:o} {} {} {} {}.{} {}.{} {content:?}",
            seen.mode(),
            seen.uid(),
            seen.gid(),
            seen.nlink(),
            seen.mtime(),
            seen.mtime_nsec(),
            seen.ctime(),
            seen.ctime_nsec(),
        ));
        if seen.is_dir() {
            let names = fs::read_dir(&path).unwrap();
            waiting.extend(names.map(|name| name.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

/// Makes a chain of folders by handles, as no single path could, with a file in each.
fn make_deep(top: &Path, name: &str, depth: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let mut folder = open(top, OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        let flags = OFlags::CREATE | OFlags::WRONLY;
        openat(&folder, "~", flags, Mode::from_raw_mode(0o600)).unwrap();
        mkdirat(&folder, name, Mode::RWXU).unwrap();
        folder = openat(&folder, name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}
