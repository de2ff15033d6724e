//! Entries have one encoding, paths one order, and nothing else is accepted.

use proptest::prelude::*;

use super::*;

fn file(path: &[u8]) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: Kind::File,
        mode: 0o644,
        modified: FileTime { seconds: 1_700_000_000, nanos: 5 },
        owner: Owner { uid: 1000, gid: 100 },
        target: Vec::new(),
        attributes: vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), Vec::new())],
        offset: 4096,
        length: 77,
        changed: false,
    }
}

fn folder(path: &[u8]) -> Entry {
    Entry { kind: Kind::Folder, offset: 0, length: 0, ..file(path) }
}

fn symlink(path: &[u8], target: &[u8]) -> Entry {
    Entry { kind: Kind::Symlink, target: target.to_vec(), ..folder(path) }
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
    assert!(check_path(&vec![b'a'; PATH_BYTES_MAX + 1]).is_err());
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
    let link = Entry { kind: Kind::HardLink, target: b"a/b".to_vec(), ..file(b"a/c") };
    let old = FileTime { seconds: -1, nanos: 999_999_999 };
    let all = [
        file(b"a/b"),
        folder(b""),
        symlink(b"s", b"../anywhere"),
        link,
        Entry { changed: true, modified: old, length: 0, ..file(b"x") },
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
            Entry { kind: Kind::HardLink, target: b"a".to_vec(), ..file(b"a") },
        ),
        (
            "a hard link out of the archive",
            Entry { kind: Kind::HardLink, target: b"../0".to_vec(), ..file(b"a") },
        ),
        ("bytes without an end", Entry { offset: u64::MAX, ..file(b"a") }),
        ("equal attributes", Entry { attributes: attributes(&[b"u", b"u"]), ..file(b"a") }),
        ("falling attributes", Entry { attributes: attributes(&[b"v", b"u"]), ..file(b"a") }),
        ("a nameless attribute", Entry { attributes: attributes(&[b""]), ..file(b"a") }),
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
    let found = format!(
        "key {}\nvalue {}\n",
        hex::encode(entry.key()),
        hex::encode(entry.encode().unwrap())
    );
    assert!(vectors.ends_with(&found), "{found}");
}

proptest! {
    #[test]
    fn the_order_is_the_order_of_components(a in "[a./]{0,8}", b in "[a./]{0,8}") {
        prop_assume!(check_path(a.as_bytes()).is_ok() && check_path(b.as_bytes()).is_ok());
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
            prop_assert_eq!(entry.key(), key);
            prop_assert_eq!(entry.encode().unwrap(), value);
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
