//! Files that change, fail or are none while they are examined.

use std::{io::Write, sync::Arc};

use super::*;
use crate::folder::select::Bounds;

fn place(folder: &std::path::Path, name: &str) -> Task {
    Task::File(NameInFolder {
        folder: Arc::new(File::open(folder).unwrap()),
        name: name.as_bytes().into(),
        path: name.as_bytes().to_vec(),
        bounds: Bounds::default(),
    })
}

fn found(examined: Examined) -> WalkedEntry {
    match examined.step {
        Step::Entry(found) => *found,
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
    assert!(matches!(found.content, EntryContent::Read(bytes) if bytes == b"one two"));
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
    assert!(matches!(found.content, EntryContent::Read(bytes) if bytes == b"words"));
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
        assert!(matches!(skipped.why, WhySkipped::Changed), "{skipped:?}");
    }
}

#[test]
fn a_small_file_that_fails_on_the_way_is_kept_up_to_there() {
    for size in [4, 8, 100] {
        let mut parts = [&b"some"[..], b" of "].into_iter();
        let (bytes, fault) = read_small(size, 1000, |bytes| {
            let part = parts.next().ok_or(Errno::IO)?;
            bytes.extend_from_slice(part);
            Ok(part.len())
        });
        // A file that ends where it said is whole, even if reading on would have failed.
        let wanted = match size {
            4 => (&b"some"[..], None),
            8 => (&b"some of "[..], None),
            _ => (&b"some of "[..], Some(Errno::IO)),
        };
        assert_eq!((bytes.as_slice(), fault), wanted);
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
    assert!(matches!(skipped.why, WhySkipped::Unreadable(_)), "{skipped:?}");
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
