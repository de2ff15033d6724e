//! Writing tar streams, read back by the system's `tar` and by a library.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use lucid::folder::{Entry, EntryKind, FileTime, Owner};
use lucid_core::catalogue::{AclEntry, AclTag, acl_of_attribute};
use lucid_data_chain::tarball::{TarError, Tarball};

use super::{Tree, entry, file, link, make_deep, make_varied, read};

fn tarball(tree: &Tree) -> Vec<u8> {
    let mut tarball = Tarball::new(Vec::new());
    for (entry, bytes) in &tree.found {
        tarball.entry(entry).unwrap();
        for piece in bytes.chunks(777) {
            tarball.content(piece).unwrap();
        }
    }
    tarball.finish().unwrap()
}

#[test]
fn the_systems_tar_unpacks_what_was_read() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_varied(from.path());
    let tree = read(from.path());
    let started = Command::new("tar")
        .args([
            "--extract",
            "--preserve-permissions",
            "--xattrs",
            "--xattrs-include=*",
            "--directory",
        ])
        .arg(to.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tar) = started else {
        eprintln!("skipped: there is no tar on this system");
        return;
    };
    tar.stdin.take().unwrap().write_all(&tarball(&tree)).unwrap();
    let ended = tar.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(read(to.path()).found, tree.found);
}

#[test]
fn the_library_reads_what_was_written() {
    let from = tempfile::tempdir().unwrap();
    make_varied(from.path());
    make_deep(from.path(), &"deep".repeat(25), 60);
    let tree = read(from.path());
    let bytes = tarball(&tree);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut count = 0;
    for (read, (entry, content)) in archive.entries().unwrap().zip(&tree.found) {
        let mut read = read.unwrap();
        let path = match (entry.kind, entry.path.as_slice()) {
            (EntryKind::Folder, b"") => b"./".to_vec(),
            (EntryKind::Folder, path) => [path, b"/"].concat(),
            (_, path) => path.to_vec(),
        };
        assert_eq!(read.path_bytes(), path);
        let target = read.link_name_bytes().unwrap_or_default().into_owned();
        assert_eq!(target, entry.target);
        assert_eq!(read.header().mode().unwrap(), entry.mode);
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes, content);
        count += 1;
    }
    assert_eq!(count, tree.found.len());
}

#[test]
fn numbers_that_do_not_fit_the_old_header_are_kept() {
    let big = Entry {
        modified: FileTime { seconds: -1, nanos: 500_000_000 },
        owner: Owner { uid: 4_000_000_000, gid: 2_097_151 },
        attributes: vec![(b"user.a=b%".to_vec(), b"1\t2\0".to_vec())],
        length: 1 << 40,
        ..entry(EntryKind::File, b"big")
    };
    let mut bytes = Vec::new();
    Tarball::new(&mut bytes).entry(&big).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut read = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(read.size(), 1 << 40);
    let records: Vec<_> = read
        .pax_extensions()
        .unwrap()
        .unwrap()
        .map(|record| record.unwrap())
        .map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_vec()))
        .collect();
    let expected = [
        ("mtime", &b"-0.500000000"[..]),
        ("uid", b"4000000000"),
        ("size", b"1099511627776"),
        ("SCHILY.xattr.user.a%3Db%25", b"1\t2\0"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_vec()));
    assert_eq!(records, expected);
}

/// What `user::rw-,user:daemon:rw-,user:4711:r--,group::r--,mask::rw-,other::---` says.
fn acl() -> Vec<AclEntry> {
    let entry = |tag, permissions, id, name: &str| AclEntry {
        tag,
        permissions,
        id,
        name: name.as_bytes().to_vec(),
    };
    vec![
        entry(AclTag::UserObj, 6, 0, ""),
        entry(AclTag::User, 6, 1, "daemon"),
        entry(AclTag::User, 4, 4711, "none,such"),
        entry(AclTag::GroupObj, 4, 0, ""),
        entry(AclTag::Mask, 6, 0, ""),
        entry(AclTag::Other, 0, 0, ""),
    ]
}

#[test]
fn acls_and_the_names_of_owners_are_in_a_tar() {
    let long = "n".repeat(40);
    let owned = Entry {
        mode: 0o660,
        owner_name: b"ann".to_vec(),
        group_name: long.as_bytes().to_vec(),
        access_acl: acl(),
        ..file(b"a", b"")
    };
    let folder = Entry { default_acl: acl(), ..entry(EntryKind::Folder, b"d") };
    let mut tarball = Tarball::new(Vec::new());
    tarball.entry(&owned).unwrap();
    tarball.entry(&folder).unwrap();
    let bytes = tarball.finish().unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut entries = archive.entries().unwrap();
    let mut next = || {
        let mut read = entries.next().unwrap().unwrap();
        let records = read.pax_extensions().unwrap().into_iter().flatten();
        let records: Vec<_> = records
            .map(|record| record.unwrap())
            .map(|record| (record.key().unwrap().to_owned(), record.value().unwrap().to_owned()))
            .filter(|(key, _)| key != "mtime")
            .collect();
        (records, read.header().clone())
    };
    let text = "user::rw-,user:daemon:rw-:1,user:4711:r--,group::r--,mask::rw-,other::---";
    let record = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let (records, header) = next();
    assert_eq!(records, [record("gname", &long), record("SCHILY.acl.access", text)]);
    assert_eq!(header.username_bytes().unwrap(), b"ann");
    assert_eq!(header.mode().unwrap(), 0o640, "the group gets no more where ACLs are not known");
    assert_eq!(next().0, [record("SCHILY.acl.default", text)]);
}

#[test]
fn the_systems_tar_gives_acls_back() {
    let to = tempfile::tempdir().unwrap();
    let mut tarball = Tarball::new(Vec::new());
    let file = Entry { mode: 0o660, access_acl: acl(), ..file(b"a", b"") };
    let folder = Entry { default_acl: acl(), ..entry(EntryKind::Folder, b"d") };
    tarball.entry(&file).unwrap();
    tarball.entry(&folder).unwrap();
    let bytes = tarball.finish().unwrap();
    let unpack = |to: &std::path::Path, how: &[&str]| {
        let mut tar = Command::new("tar")
            .args(["--extract", "--preserve-permissions", "--directory"])
            .arg(to)
            .args(how)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&bytes).unwrap();
        let ended = tar.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    if Command::new("tar").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no tar on this system");
        return;
    }
    let (with, without) = (to.path().join("with"), to.path().join("without"));
    for folder in [&with, &without] {
        std::fs::create_dir(folder).unwrap();
    }
    unpack(&with, &["--acls"]);
    unpack(&without, &[]);
    let mode = |path: &std::path::Path| {
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777
    };
    assert_eq!((mode(&with.join("a")), mode(&without.join("a"))), (0o660, 0o640));
    let wanted: Vec<_> =
        acl().into_iter().map(|entry| AclEntry { name: Vec::new(), ..entry }).collect();
    for (path, name) in [("a", "system.posix_acl_access"), ("d", "system.posix_acl_default")] {
        let mut value = vec![0; 1000];
        let length = rustix::fs::getxattr(with.join(path), name, &mut value[..]).unwrap();
        assert_eq!(acl_of_attribute(&value[..length]).unwrap(), wanted, "{name}");
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    let mut tarball = Tarball::new(Vec::new());
    for name in ["..", "/etc/passwd", "a/../../b", "a//b"] {
        let name = name.as_bytes();
        for entry in
            [file(name, b""), entry(EntryKind::Folder, name), link(EntryKind::HardLink, b"x", name)]
        {
            assert!(matches!(tarball.entry(&entry), Err(TarError::Unsafe { .. })));
        }
    }
    assert!(tarball.finish().unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn a_file_gets_exactly_the_bytes_it_announced() {
    let mut tarball = Tarball::new(Vec::new());
    tarball.entry(&file(b"a", b"four")).unwrap();
    assert!(matches!(tarball.content(b"fives"), Err(TarError::Length { more: true })));
    tarball.content(b"fou").unwrap();
    let next = tarball.entry(&file(b"b", b""));
    assert!(matches!(next, Err(TarError::Length { more: false })));
    assert!(matches!(tarball.finish(), Err(TarError::Length { more: false })));
}

#[test]
fn a_stream_that_breaks_is_an_error() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut tarball = Tarball::new(Broken);
    assert!(matches!(tarball.entry(&file(b"a", b"")), Err(TarError::Io(_))));
}
