//! Reading folders.

use std::{collections::BTreeSet, fs, os::unix::net::UnixListener, path::Path};

use lucid::folder::{
    EntryKind,
    walk::{
        EntryContent, Identity, Options, Step, WalkError, WhySkipped, walk, walk_with_contents,
    },
};
use lucid_core::catalogue::{AclEntry, AclTag, attribute_of_acl, path_order};
use proptest::prelude::*;
use rustix::fs::XattrFlags;

use super::{collect, make_deep, make_varied, os, read};

#[test]
fn a_folder_with_everything_is_read_in_order() {
    let top = tempfile::tempdir().unwrap();
    make_varied(top.path());
    let tree = read(top.path());
    let x = "x".repeat(255);
    assert_eq!(
        tree.paths(),
        [
            "",
            " a name  with spaces ",
            "a-b",
            "empty",
            "folder",
            "folder/below",
            "folder/below/large",
            "folder/dangling",
            "folder/small",
            "folder/small too",
            "link",
            "link too",
            "not \\xff\\xfe utf-8",
            "nothing",
            "two\\nlines",
            &x,
            "zz",
        ]
    );
    assert!(tree.skipped.is_empty());
    let large = tree.entry(b"folder/below/large");
    assert_eq!((large.kind, large.length), (EntryKind::File, 10_000));
    assert_eq!((large.modified.seconds, large.modified.nanos), (-5, 999_999_999));
    assert_eq!(tree.entry(b"folder/small").mode, 0o751);
    assert_eq!(tree.entry(b"folder/dangling").target, b"../out\xffside");
    for (second, first) in
        [("folder/small too", "folder/small"), ("zz", "folder/small"), ("link too", "link")]
    {
        let entry = tree.entry(second.as_bytes());
        assert_eq!(entry.kind, EntryKind::HardLink, "{second}");
        assert_eq!(entry.target, first.as_bytes());
        assert_eq!(entry.length, 0);
    }
    assert!(tree.found.iter().all(|(entry, _)| !entry.changed));
}

#[test]
fn acls_are_read_with_their_names_and_are_no_attributes() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("file"), "words").unwrap();
    let of = |tag, permissions, id, name: &str| AclEntry {
        tag,
        permissions,
        id,
        name: name.as_bytes().to_vec(),
    };
    let acl = [
        of(AclTag::UserObj, 6, 0, ""),
        of(AclTag::User, 4, 0, "root"),
        of(AclTag::User, 5, 4_000_000_007, ""),
        of(AclTag::GroupObj, 4, 0, ""),
        of(AclTag::Group, 6, 0, "root"),
        of(AclTag::Mask, 4, 0, ""),
        of(AclTag::Other, 0, 0, ""),
    ];
    let set = |path: &Path, name: &str| {
        rustix::fs::setxattr(path, name, &attribute_of_acl(&acl), XattrFlags::empty())
    };
    let file = top.path().join("file");
    if let Err(why) = set(&file, "system.posix_acl_access") {
        eprintln!("SKIPPED: {} keeps no ACLs: {why}", top.path().display());
        return;
    }
    set(top.path(), "system.posix_acl_default").unwrap();
    rustix::fs::setxattr(&file, "user.colour", b"blue", XattrFlags::empty()).unwrap();
    let tree = read(top.path());
    let (file, folder) = (tree.entry(b"file"), tree.entry(b""));
    assert_eq!((&file.access_acl[..], &file.default_acl[..]), (&acl[..], &[][..]));
    assert_eq!((&folder.access_acl[..], &folder.default_acl[..]), (&[][..], &acl[..]));
    assert_eq!(file.attributes, [(b"user.colour".to_vec(), b"blue".to_vec())]);
    assert_eq!(folder.attributes, []);
}

#[test]
fn owners_and_groups_are_read_with_their_names() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("file"), "words").unwrap();
    let asked = |what: &str| {
        let asked = std::process::Command::new("id").arg(what).output().unwrap();
        String::from_utf8(asked.stdout).unwrap().trim_end().to_owned()
    };
    for entry in [b"".as_slice(), b"file"] {
        let tree = read(top.path());
        let entry = tree.entry(entry);
        assert_eq!(String::from_utf8_lossy(&entry.owner_name), asked("-un"));
        assert_eq!(String::from_utf8_lossy(&entry.group_name), asked("-gn"));
    }
}

#[test]
fn flags_that_somebody_sets_are_read_and_those_of_the_file_system_are_not() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let top = tempfile::tempdir().unwrap();
    let file = fs::File::create(top.path().join("file")).unwrap();
    fs::write(top.path().join("plain"), "").unwrap();
    let set = ioctl_getflags(&file).and_then(|now| ioctl_setflags(&file, now | IFlags::NODUMP));
    if let Err(why) = set {
        eprintln!("SKIPPED: {} keeps no flags: {why}", top.path().display());
        return;
    }
    let tree = read(top.path());
    let (file, plain) = (tree.entry(b"file").flags.unwrap(), tree.entry(b"plain").flags.unwrap());
    assert_eq!(file, plain | IFlags::NODUMP.bits());
    // Whether a file is kept in extents is the file system's own affair.
    assert_eq!(file & 0x8_0000, 0);
    assert!(tree.entry(b"").flags.is_some());
}

#[test]
fn one_thread_and_many_find_the_same() {
    let top = tempfile::tempdir().unwrap();
    make_varied(top.path());
    let plain = collect(walk(top.path(), &Options::default()).unwrap());
    assert_eq!(plain.found, read(top.path()).found);
}

#[test]
fn a_single_file_is_a_tree_of_one_entry() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join(os(b"caf\xe9"));
    fs::write(&path, "words").unwrap();
    std::os::unix::fs::symlink(&path, top.path().join("named")).unwrap();
    for (given, name) in [(path, &b"caf\xe9"[..]), (top.path().join("named"), b"named")] {
        let tree = read(&given);
        assert_eq!(tree.found.len(), 1);
        let (entry, bytes) = &tree.found[0];
        assert_eq!((entry.kind, entry.path.as_slice()), (EntryKind::File, name));
        assert_eq!(bytes, b"words");
    }
}

#[test]
fn the_top_may_be_a_link_but_links_inside_are_not_followed() {
    let top = tempfile::tempdir().unwrap();
    fs::create_dir(top.path().join("real")).unwrap();
    fs::write(top.path().join("secret"), "").unwrap();
    std::os::unix::fs::symlink("..", top.path().join("real/up")).unwrap();
    std::os::unix::fs::symlink("real", top.path().join("link")).unwrap();
    assert_eq!(read(&top.path().join("link")).paths(), ["", "up"]);
}

#[test]
fn a_path_that_leads_nowhere_or_to_a_pipe_is_an_error() {
    let top = tempfile::tempdir().unwrap();
    let begin = |path: &Path| walk(path, &Options::default()).err().unwrap();
    assert!(matches!(begin(&top.path().join("none")), WalkError::Open { .. }));
    let pipe = top.path().join("pipe");
    make_pipe(&pipe);
    assert!(matches!(begin(&pipe), WalkError::Unfit { .. }));
    assert!(matches!(begin(Path::new("/dev/null")), WalkError::Unfit { .. }));
    let socket = top.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(matches!(begin(&socket), WalkError::Unfit { .. }));
}

#[test]
fn paths_longer_than_the_system_allows_are_read() {
    let top = tempfile::tempdir().unwrap();
    let name = "deep".repeat(25);
    make_deep(top.path(), &name, 80);
    let tree = read(top.path());
    // The top, and a file and a folder on every level.
    assert_eq!(tree.found.len(), 161);
    assert!(tree.skipped.is_empty());
    let longest = tree.found.iter().map(|(entry, _)| entry.path.len()).max();
    assert_eq!(longest, Some(80 * 101 - 1));
    assert!(tree.found.is_sorted_by(|left, right| path_order(&left.0.path, &right.0.path).is_lt()));
}

#[test]
fn sockets_and_pipes_are_skipped_and_named() {
    let top = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(top.path().join("socket")).unwrap();
    make_pipe(&top.path().join("pipe"));
    fs::write(top.path().join("file"), "").unwrap();
    let tree = read(top.path());
    assert_eq!(tree.paths(), ["", "file"]);
    let skipped: Vec<_> = tree
        .skipped
        .iter()
        .map(|skipped| (skipped.path.as_slice(), skipped.why.to_string()))
        .collect();
    assert_eq!(
        skipped,
        [(&b"pipe"[..], "it is a named pipe".to_owned()), (b"socket", "it is a socket".to_owned())]
    );
}

#[test]
fn our_own_data_folder_is_left_out() {
    let top = tempfile::tempdir().unwrap();
    fs::create_dir_all(top.path().join("below/lucid-data/chunks")).unwrap();
    let exclude = vec![Identity::of(&top.path().join("below/lucid-data")).unwrap()];
    let options = Options { exclude, ..Options::default() };
    let tree = collect(walk_with_contents(top.path(), &options, 1000).unwrap());
    assert_eq!(tree.paths(), ["", "below"]);
    assert_eq!(tree.skipped.len(), 1);
    assert_eq!(tree.skipped[0].path, b"below/lucid-data");
    assert!(matches!(tree.skipped[0].why, WhySkipped::OwnFolder));
}

#[test]
fn what_vanishes_or_changes_its_kind_meanwhile_is_skipped() {
    let top = tempfile::tempdir().unwrap();
    for folder in ["a", "b", "c"] {
        fs::create_dir(top.path().join(folder)).unwrap();
        fs::write(top.path().join(folder).join("file"), "").unwrap();
    }
    fs::write(top.path().join("d"), "").unwrap();
    fs::write(top.path().join("e"), "").unwrap();
    let mut steps = walk(top.path(), &Options::default()).unwrap();
    // The top is listed now.
    steps.next().unwrap();
    fs::remove_dir_all(top.path().join("a")).unwrap();
    fs::remove_dir_all(top.path().join("b")).unwrap();
    std::os::unix::fs::symlink("/etc", top.path().join("b")).unwrap();
    fs::remove_file(top.path().join("d")).unwrap();
    fs::remove_file(top.path().join("e")).unwrap();
    make_pipe(&top.path().join("e"));
    let tree = collect(steps);
    assert_eq!(tree.paths(), ["c", "c/file"]);
    let skipped: Vec<_> = tree.skipped.iter().map(|skipped| skipped.path.as_slice()).collect();
    assert_eq!(skipped, [b"a", b"b", b"d", b"e"]);
    assert!(tree.skipped.iter().all(|skipped| matches!(skipped.why, WhySkipped::Changed)));
}

#[test]
fn a_folder_moved_away_while_we_are_in_it_does_not_mislead_us() {
    let (top, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_deep(top.path(), "n", 60);
    fs::write(elsewhere.path().join("~"), "not ours").unwrap();
    let mut steps = walk(top.path(), &Options::default()).unwrap();
    // Down to the end: the folders come before the files, as "n" sorts before "~".
    let mut found: Vec<_> = steps.by_ref().take(61).collect();
    let moved = ["n"; 5].join("/");
    fs::rename(top.path().join(&moved), elsewhere.path().join("n")).unwrap();
    found.extend(steps);
    let tree = collect(found.into_iter());
    assert_eq!(tree.found.len(), 121);
    assert!(tree.skipped.is_empty());
    assert!(tree.found.iter().all(|(_, bytes)| bytes.is_empty()));
}

#[test]
fn a_folder_that_cannot_be_returned_to_is_named() {
    let (top, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_deep(top.path(), "n", 60);
    let mut steps = walk(top.path(), &Options::default()).unwrap();
    let mut found: Vec<_> = steps.by_ref().take(61).collect();
    // The folder on level 5 moves, then the one on level 4 is replaced by another.
    fs::rename(top.path().join("n/n/n/n/n"), elsewhere.path().join("5")).unwrap();
    fs::rename(top.path().join("n/n/n/n"), elsewhere.path().join("4")).unwrap();
    fs::create_dir(top.path().join("n/n/n/n")).unwrap();
    found.extend(steps);
    let tree = collect(found.into_iter());
    assert_eq!(tree.skipped.len(), 1);
    assert_eq!(tree.skipped[0].path, b"n/n/n/n");
    assert!(matches!(tree.skipped[0].why, WhySkipped::Changed));
    assert_eq!(tree.found.len(), 120);
}

#[test]
fn a_large_file_that_grows_or_shrinks_while_it_is_read_is_marked() {
    for (before, after, changed) in [(5000, 6000, true), (5000, 4000, true), (5000, 5000, false)] {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("file");
        fs::write(&path, vec![1; before]).unwrap();
        let mut steps = walk_with_contents(&path, &Options::default(), 1000).unwrap();
        let Some(Step::Entry(found)) = steps.next() else {
            panic!("the file is not found");
        };
        let EntryContent::Open(file) = found.content else {
            panic!("the file is not handed over open");
        };
        if before != after {
            fs::File::options().write(true).open(&path).unwrap().set_len(after as u64).unwrap();
        }
        let mut buffer = vec![0; before];
        let length = file.read_at(0, &mut buffer).unwrap();
        assert_eq!(length, before.min(after));
        assert_eq!(file.changed(length as u64), changed);
    }
}

#[test]
fn reading_ahead_stays_in_order_and_ends_even_with_hardly_any_room() {
    let top = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        let folder = top.path().join(format!("{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}")), number.to_string().repeat(100)).unwrap();
    }
    let options = Options { bytes_ahead: 1, readers: 5, ..Options::default() };
    let tree = collect(walk_with_contents(top.path(), &options, 1000).unwrap());
    let expected = collect(walk(top.path(), &Options::default()).unwrap());
    assert_eq!(tree.found.len(), 1008);
    assert_eq!(tree.found, expected.found);
}

#[test]
fn a_walk_can_be_given_up_at_any_moment() {
    let top = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        fs::write(top.path().join(format!("{number}")), "some words").unwrap();
    }
    for taken in [0, 1, 17, 500] {
        let options = Options { bytes_ahead: 50, ..Options::default() };
        let mut steps = walk_with_contents(top.path(), &options, 1000).unwrap();
        assert_eq!(steps.by_ref().take(taken).count(), taken);
    }
}

fn make_pipe(path: &Path) {
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_is_always_that_of_paths_compared_part_by_part(
        paths in prop::collection::vec(prop::collection::vec("[-./~a0\u{e9}]{1,3}", 1..4), 1..30),
    ) {
        let top = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::from([Vec::new()]);
        for parts in paths {
            let parts: Vec<_> = parts.into_iter().map(|part| part.replace(['/', '.'], "+")).collect();
            if fs::create_dir_all(top.path().join(parts.join("/"))).is_ok() {
                for end in 1..=parts.len() {
                    expected.insert(parts[..end].join("/").into_bytes());
                }
            }
        }
        let mut expected: Vec<_> = expected.into_iter().collect();
        expected.sort_by(|left, right| path_order(left, right));
        let found: Vec<_> = read(top.path()).found.into_iter().map(|(entry, _)| entry.path).collect();
        prop_assert_eq!(found, expected);
    }
}
