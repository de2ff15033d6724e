//! Entries have one encoding, paths one order, and nothing else is accepted.

use proptest::prelude::*;

use super::*;

fn file(path: &[u8]) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: EntryKind::File,
        mode: 0o644,
        modified: FileTime { seconds: 1_700_000_000, nanos: 5 },
        owner: Owner { uid: 1000, gid: 100 },
        target: Vec::new(),
        attributes: vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), Vec::new())],
        offset: 4096,
        length: 77,
        changed: false,
        owner_name: b"ann".to_vec(),
        group_name: b"users".to_vec(),
        flags: Some(0x40),
        holes: vec![Hole { offset: 0, length: 10 }, Hole { offset: 20, length: 57 }],
        access_acl: acl(),
        default_acl: Vec::new(),
    }
}

/// What `user::rw-,user:bob:r--,group::r--,mask::r--,other::---` says, bob being 1001.
fn acl() -> Vec<AclEntry> {
    let entry = |tag, permissions, id, name: &str| AclEntry {
        tag,
        permissions,
        id,
        name: name.as_bytes().to_vec(),
    };
    vec![
        entry(AclTag::UserObj, 6, 0, ""),
        entry(AclTag::User, 4, 1001, "bob"),
        entry(AclTag::GroupObj, 4, 0, ""),
        entry(AclTag::Mask, 4, 0, ""),
        entry(AclTag::Other, 0, 0, ""),
    ]
}

/// The same with nothing that version 1 did not have.
fn of_version_1(entry: Entry) -> Entry {
    Entry {
        owner_name: Vec::new(),
        group_name: Vec::new(),
        flags: None,
        holes: Vec::new(),
        access_acl: Vec::new(),
        ..entry
    }
}

fn folder(path: &[u8]) -> Entry {
    let (default_acl, holes) = (acl(), Vec::new());
    Entry { kind: EntryKind::Folder, offset: 0, length: 0, default_acl, holes, ..file(path) }
}

fn symlink(path: &[u8], target: &[u8]) -> Entry {
    let (access_acl, default_acl) = (Vec::new(), Vec::new());
    let target = target.to_vec();
    Entry { kind: EntryKind::Symlink, target, access_acl, default_acl, ..folder(path) }
}

#[test]
fn plain_relative_paths_are_accepted_and_others_are_not() {
    for right in ["", "a", "a/b", ".hidden", "...", "a b/\n", "ü/\u{fffd}"] {
        assert_eq!(check_path(right.as_bytes()), Ok(()), "{right}");
    }
    assert_eq!(check_path(&[0xff, 0xfe]), Ok(()));
    for wrong in ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b"] {
        assert!(check_path(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    assert_eq!(check_path(&vec![b'a'; PATH_BYTES_MAX]), Ok(()));
    // A message names the path, but no more of it than one can read.
    let fault = check_path(&vec![b'a'; PATH_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(fault, PathFault { path: "a".repeat(160), rule: "it is too long" });
    let fault = check_path(b"a//b").unwrap_err();
    assert_eq!(fault, PathFault { path: "a//b".to_owned(), rule: "a component is empty" });
}

#[test]
fn every_kind_has_the_name_that_people_are_told() {
    let kinds = [EntryKind::Folder, EntryKind::File, EntryKind::Symlink, EntryKind::HardLink];
    let names = kinds.map(|kind| kind.to_string());
    assert_eq!(names, ["folder", "file", "symlink", "hard link"]);
}

#[test]
fn a_folder_stands_directly_before_what_is_in_it() {
    let sorted = ["", "a", "a/b", "a/b/c", "a/c", "a b", "a.b", "b"];
    for pair in sorted.windows(2) {
        let (a, b) = (pair[0].as_bytes(), pair[1].as_bytes());
        assert_eq!(path_order(a, b), Ordering::Less, "{pair:?}");
        assert!(path_key(a) < path_key(b));
    }
}

#[test]
fn what_is_in_a_folder_is_what_its_prefix_finds() {
    let inside = |folder: &str, path: &str| {
        path_key(path.as_bytes()).starts_with(&folder_prefix(folder.as_bytes()))
    };
    assert!(inside("a", "a/b"));
    assert!(!inside("a", "a"));
    assert!(!inside("a", "ab"));
    assert!(inside("", "a"));
}

#[test]
fn entries_read_back() {
    let link = Entry { kind: EntryKind::HardLink, target: b"a/b".to_vec(), ..file(b"a/c") };
    let old = FileTime { seconds: -1, nanos: 999_999_999 };
    let mut named = acl();
    let group =
        AclEntry { tag: AclTag::Group, name: vec![b'g'; OWNER_NAME_BYTES_MAX], ..acl()[1].clone() };
    named.insert(3, group);
    let all = [
        file(b"a/b"),
        folder(b""),
        Entry { access_acl: named, ..file(b"named") },
        symlink(b"s", b"../anywhere"),
        link,
        Entry { changed: true, modified: old, length: 0, holes: Vec::new(), ..file(b"x") },
        of_version_1(file(b"plain")),
    ];
    for entry in all {
        let value = entry.encode().unwrap();
        assert_eq!(Entry::decode(&entry.key(), &value).unwrap(), entry);
        for cut in 0..value.len() {
            assert!(Entry::decode(&entry.key(), &value[..cut]).is_err());
        }
        let longer = [value.as_slice(), &[0]].concat();
        assert!(Entry::decode(&entry.key(), &longer).is_err());
    }
}

#[test]
fn fields_that_do_not_belong_together_are_refused() {
    let attributes =
        |names: &[&[u8]]| names.iter().map(|name| (name.to_vec(), Vec::new())).collect::<Vec<_>>();
    let holes = |all: &[(u64, u64)]| {
        all.iter().map(|&(offset, length)| Hole { offset, length }).collect::<Vec<_>>()
    };
    let without = |tag| acl().into_iter().filter(|entry| entry.tag != tag).collect::<Vec<_>>();
    let with = |change: fn(&mut AclEntry)| {
        let mut acl = acl();
        change(&mut acl[0]);
        acl
    };
    let named = |name: &[u8]| {
        let mut acl = acl();
        acl[1].name = name.to_vec();
        acl
    };
    let mut twice = acl();
    twice.insert(1, acl()[1].clone());
    let reversed = acl().into_iter().rev().collect();
    for (why, entry) in [
        ("a path upwards", file(b"../a")),
        ("a kind in the mode", Entry { mode: 0o100_644, ..file(b"a") }),
        (
            "a second of nanoseconds",
            Entry { modified: FileTime { seconds: 0, nanos: 1_000_000_000 }, ..file(b"a") },
        ),
        ("a file with a target", Entry { target: b"x".to_vec(), ..file(b"a") }),
        ("a folder with bytes", Entry { length: 1, ..folder(b"a") }),
        ("a symlink without a text", symlink(b"a", b"")),
        ("a symlink with a NUL", symlink(b"a", b"x\0")),
        ("a symlink with bytes", Entry { offset: 1, ..symlink(b"a", b"x") }),
        (
            "a hard link to itself",
            Entry { kind: EntryKind::HardLink, target: b"a".to_vec(), ..file(b"a") },
        ),
        (
            "a hard link out of the archive",
            Entry { kind: EntryKind::HardLink, target: b"../0".to_vec(), ..file(b"a") },
        ),
        ("bytes without an end", Entry { offset: u64::MAX, ..file(b"a") }),
        ("equal attributes", Entry { attributes: attributes(&[b"u", b"u"]), ..file(b"a") }),
        ("falling attributes", Entry { attributes: attributes(&[b"v", b"u"]), ..file(b"a") }),
        ("a nameless attribute", Entry { attributes: attributes(&[b""]), ..file(b"a") }),
        (
            "an ACL in an attribute",
            Entry { attributes: attributes(&[ACL_ATTRIBUTES[0]]), ..file(b"a") },
        ),
        ("a name with a NUL", Entry { owner_name: b"a\0".to_vec(), ..file(b"a") }),
        ("a long name", Entry { group_name: vec![b'g'; OWNER_NAME_BYTES_MAX + 1], ..file(b"a") }),
        ("a folder with holes", Entry { holes: holes(&[(0, 0)]), ..folder(b"a") }),
        ("an empty hole", Entry { holes: holes(&[(0, 0)]), ..file(b"a") }),
        ("holes that touch", Entry { holes: holes(&[(0, 1), (1, 1)]), ..file(b"a") }),
        ("falling holes", Entry { holes: holes(&[(5, 1), (1, 1)]), ..file(b"a") }),
        ("a hole beyond the end", Entry { holes: holes(&[(70, 8)]), ..file(b"a") }),
        ("a hole without an end", Entry { holes: holes(&[(1, u64::MAX)]), ..file(b"a") }),
        ("a file with a default ACL", Entry { default_acl: acl(), ..file(b"a") }),
        ("a symlink with an ACL", Entry { access_acl: acl(), ..symlink(b"a", b"x") }),
        ("an ACL without a mask", Entry { access_acl: without(AclTag::Mask), ..file(b"a") }),
        ("an ACL without its owner", Entry { access_acl: without(AclTag::UserObj), ..file(b"a") }),
        ("an ACL without the others", Entry { access_acl: without(AclTag::Other), ..file(b"a") }),
        ("an ACL out of order", Entry { access_acl: reversed, ..file(b"a") }),
        ("an ACL's bits", Entry { access_acl: with(|entry| entry.permissions = 8), ..file(b"a") }),
        ("an ACL that names bob twice", Entry { access_acl: twice, ..file(b"a") }),
        ("a NUL in an ACL's name", Entry { access_acl: named(b"bo\0b"), ..file(b"a") }),
        (
            "a long name in an ACL",
            Entry { access_acl: named(&[b'b'; OWNER_NAME_BYTES_MAX + 1]), ..file(b"a") },
        ),
        ("a named owner", Entry { access_acl: with(|entry| entry.id = 1), ..file(b"a") }),
    ] {
        assert!(entry.encode().is_err(), "{why}");
    }
}

#[test]
fn keys_with_slashes_are_refused() {
    let value = file(b"a").encode().unwrap();
    assert!(Entry::decode(b"a/b", &value).is_err());
    assert!(Entry::decode(b"a\0", &value).is_err());
    assert!(Entry::decode(b"a\0..", &value).is_err());
}

// Frozen: an entry is part of a page, and a page is part of the root.
#[test]
fn entries_are_frozen() {
    let vectors = include_str!("../../tests/vectors/catalogue.txt");
    let entry = file(b"a/b");
    let key = hex::encode(entry.key());
    let value = hex::encode(entry.encode().unwrap());
    let found = format!("version 2\nkey {key}\nvalue {value}\n");
    assert!(vectors.ends_with(&found), "{found}");
}

#[test]
fn entries_of_version_1_are_read_for_ever() {
    let vectors = include_str!("../../tests/vectors/catalogue.txt");
    let version_1 = vectors.split("version 2").next().unwrap();
    let line = |name: &str| {
        let line = version_1.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        hex::decode(line).unwrap()
    };
    let (key, value) = (line("key "), line("value "));
    assert_eq!(Entry::decode(&key, &value).unwrap(), of_version_1(file(b"a/b")));
    for cut in 0..value.len() {
        assert!(Entry::decode(&key, &value[..cut]).is_err());
    }
}

/// Paths of few different characters, so that two have often a beginning in common.
fn plain_path() -> impl Strategy<Value = String> {
    proptest::collection::vec("\\.{0,2}a[a.]?|\\.{3}", 0..4)
        .prop_map(|components| components.join("/"))
}

proptest! {
    #[test]
    fn the_order_is_the_order_of_components(a in plain_path(), b in plain_path()) {
        prop_assert!(check_path(a.as_bytes()).is_ok() && check_path(b.as_bytes()).is_ok());
        let components = |path: &str| -> Vec<Vec<u8>> {
            path.split('/').filter(|c| !c.is_empty()).map(|c| c.as_bytes().to_vec()).collect()
        };
        let expected = components(&a).cmp(&components(&b));
        prop_assert_eq!(path_order(a.as_bytes(), b.as_bytes()), expected);
        prop_assert_eq!(path_key(a.as_bytes()).cmp(&path_key(b.as_bytes())), expected);
        prop_assert_eq!(path_of_key(&path_key(a.as_bytes())).unwrap(), a.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_are_read_only_if_they_would_be_written(
        key in proptest::collection::vec(any::<u8>(), 0..8),
        value in proptest::collection::vec(any::<u8>(), 0..90),
    ) {
        if let Ok(entry) = Entry::decode(&key, &value) {
            prop_assert_eq!(entry.key(), key.clone());
            // What was read as version 1 is written as version 2, and reads the same.
            let written = entry.encode().unwrap();
            if value.first() == Some(&0x82) {
                prop_assert_eq!(&written, &value);
            }
            prop_assert_eq!(Entry::decode(&key, &written).unwrap(), entry);
        }
    }

    #[test]
    fn one_altered_byte_is_refused_or_means_something_else(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let entry = file(b"a/b");
        let mut value = entry.encode().unwrap();
        let at = at.index(value.len());
        value[at] ^= 1 << bit;
        if let Ok(other) = Entry::decode(&entry.key(), &value) {
            prop_assert_ne!(&other, &entry);
            prop_assert_eq!(other.encode().unwrap(), value);
        }
    }
}

#[test]
fn whoever_knows_no_acls_gives_the_group_no_more_than_it_had() {
    // The mask lets named users write; the group itself may only read.
    let with = |group, mask| {
        let mut acl = acl();
        (acl[2].permissions, acl[3].permissions) = (group, mask);
        Entry { mode: 0o600 | u32::from(mask) << 3, access_acl: acl, ..file(b"a") }
    };
    assert_eq!(with(4, 6).plain_mode(), 0o640);
    assert_eq!(with(6, 4).plain_mode(), 0o640);
    assert_eq!(with(0, 7).plain_mode(), 0o600);
    assert_eq!(of_version_1(file(b"a")).plain_mode(), 0o644);
    // Version 1 has it as an attribute, which may be of no use.
    let [name, _] = ACL_ATTRIBUTES;
    let sound = with(4, 6);
    let old = |value| {
        let attributes = vec![(name.to_vec(), value)];
        Entry { attributes, mode: 0o660, ..of_version_1(file(b"a")) }.with_acls()
    };
    let read = old(attribute_of_acl(&sound.access_acl));
    let nameless = |entry: &AclEntry| AclEntry { name: Vec::new(), ..entry.clone() };
    assert_eq!(read.access_acl, sound.access_acl.iter().map(nameless).collect::<Vec<_>>());
    assert!(read.attributes.is_empty());
    assert_eq!(read.plain_mode(), 0o640);
    assert_eq!(old(b"rubbish".to_vec()).plain_mode(), 0o600);
}
