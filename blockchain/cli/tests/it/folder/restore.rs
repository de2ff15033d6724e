//! Restoring folders.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::Arc,
    thread,
};

use lucid::folder::{
    Entry, EntryKind, FileTime, Owner,
    target::{Options, Target, TargetError},
};

use lucid_core::catalogue::{AclEntry, AclTag, Hole, acl_of_attribute};
use rustix::{fs::IFlags, io::Errno};

use super::{entry, file, link, make_deep, make_varied, put, read};
use crate::trouble::SmallDisk;

fn comparable(path: &std::path::Path) -> Vec<(Entry, Vec<u8>)> {
    read(path).found
}

#[test]
fn what_is_restored_is_what_was_read() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_varied(from.path());
    for sync in [false, true] {
        let to = to.path().join(format!("made {sync}"));
        let target = Target::create(&to, Options { sync, ..Options::default() }).unwrap();
        put(&target, &read(from.path()));
        let report = target.finish();
        assert!(report.refused.is_empty(), "{:?}", report.refused);
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        let done = report.restored;
        assert_eq!((done.folders, done.files, done.links), (4, 8, 5));
        assert_eq!(done.bytes, 10_010);
        assert_eq!(comparable(&to), comparable(from.path()));
    }
}

#[test]
fn paths_longer_than_the_system_allows_are_restored() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make_deep(from.path(), &"deep".repeat(25), 150);
    let target = Target::create(to.path(), Options::default()).unwrap();
    put(&target, &read(from.path()));
    let report = target.finish();
    assert!(report.refused.is_empty() && report.warnings.is_empty(), "{report:?}");
    assert_eq!(comparable(to.path()), comparable(from.path()));
}

#[test]
fn a_large_file_is_written_by_many_threads() {
    let to = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let slot = Arc::new(target.open_file(&file(b"a/large", &bytes)).unwrap());
    thread::scope(|scope| {
        for piece in 0..8_usize {
            let (slot, bytes) = (Arc::clone(&slot), &bytes);
            scope.spawn(move || {
                let start = piece * 50_000;
                slot.write_at(start as u64, &bytes[start..start + 50_000]).unwrap();
            });
        }
    });
    assert!(slot.is_complete());
    drop(slot);
    assert_eq!(target.finish().restored.files, 1);
    let path = to.path().join("a/large");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let seen = fs::metadata(&path).unwrap();
    assert_eq!((seen.mtime(), seen.mtime_nsec()), (1_000_000_000, 123_456_789));
    assert_eq!(seen.mode() & 0o7777, 0o644);
}

#[test]
fn a_file_that_does_not_get_all_its_bytes_is_removed_and_named() {
    let to = tempfile::tempdir().unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let slot = target.open_file(&file(b"a/part", &[0; 100])).unwrap();
    slot.write_at(0, &[1; 60]).unwrap();
    drop(slot);
    let report = target.finish();
    assert_eq!(report.restored.files, 0);
    let refused: Vec<_> = report.refused.first.iter().map(ToString::to_string).collect();
    assert_eq!(refused, ["\"a/part\" should have 100 bytes, not 60"]);
    assert!(!to.path().join("a/part").exists());
}

#[test]
fn bytes_beyond_the_announced_length_are_not_written() {
    let to = tempfile::tempdir().unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let wrong = target.small_file(&file(b"a", b"four"), b"fives");
    assert!(matches!(wrong, Err(TargetError::Length { .. })));
    assert!(!to.path().join("a").exists());
    let slot = target.open_file(&file(b"b", b"four")).unwrap();
    for (offset, bytes) in [(0, &b"fives"[..]), (4, b"x"), (u64::MAX, b"x"), (2, b"xyz")] {
        assert!(matches!(slot.write_at(offset, bytes), Err(TargetError::Length { .. })));
    }
    slot.write_at(0, b"fo").unwrap();
    slot.write_at(0, b"FO").unwrap();
    assert!(slot.is_complete());
    // Bytes that come twice are noticed once they are too many.
    assert!(matches!(slot.write_at(2, b"ur"), Err(TargetError::Length { .. })));
}

#[test]
fn files_that_are_there_are_kept_unless_overwriting_is_allowed() {
    let to = tempfile::tempdir().unwrap();
    fs::write(to.path().join("a"), "old").unwrap();
    std::os::unix::fs::symlink("a", to.path().join("b")).unwrap();
    fs::create_dir(to.path().join("c")).unwrap();
    let strict = Target::create(to.path(), Options::default()).unwrap();
    let refused = strict.small_file(&file(b"a", b"new"), b"new").unwrap_err();
    assert_eq!(refused.to_string(), "\"a\" exists already");
    assert!(refused.remedy().is_some());
    strict.symlink(&link(EntryKind::Symlink, b"b", b"else")).unwrap();
    let report = strict.finish();
    assert_eq!(report.refused.total(), 1);
    assert_eq!(fs::read(to.path().join("a")).unwrap(), b"old");
    assert_eq!(fs::read_link(to.path().join("b")).unwrap().as_os_str(), "a");

    let lenient =
        Target::create(to.path(), Options { overwrite: true, ..Options::default() }).unwrap();
    lenient.small_file(&file(b"a", b"new"), b"new").unwrap();
    lenient.symlink(&link(EntryKind::Symlink, b"b", b"else")).unwrap();
    let folder = lenient.small_file(&file(b"c", b"new"), b"new");
    assert!(matches!(folder, Err(TargetError::FolderInTheWay { .. })));
    let report = lenient.finish();
    assert!(report.refused.is_empty());
    assert_eq!(fs::read(to.path().join("a")).unwrap(), b"new");
    assert_eq!(fs::read_link(to.path().join("b")).unwrap().as_os_str(), "else");
}

#[test]
fn a_file_that_is_there_stays_until_the_new_one_is_whole() {
    let to = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(to.path().join(name), "old").unwrap();
    }
    fs::write(to.path().join("folder"), "old").unwrap();
    let target =
        Target::create(to.path(), Options { overwrite: true, ..Options::default() }).unwrap();
    let (part, whole) = (file(b"a", &[1; 100]), file(b"b", &[1; 100]));
    let (part, whole) = (target.open_file(&part).unwrap(), target.open_file(&whole).unwrap());
    for slot in [&part, &whole] {
        slot.write_at(0, &[1; 60]).unwrap();
    }
    assert_eq!(fs::read(to.path().join("b")).unwrap(), b"old");
    whole.write_at(60, &[1; 40]).unwrap();
    drop((part, whole));
    target.folder(&entry(EntryKind::Folder, b"folder")).unwrap();
    assert_eq!(target.finish().refused.total(), 1);
    assert_eq!(fs::read(to.path().join("a")).unwrap(), b"old");
    assert_eq!(fs::read(to.path().join("b")).unwrap(), [1; 100]);
    assert!(to.path().join("folder").is_dir());
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 3, "nothing else is left");
}

#[test]
fn hard_links_and_links_replace_what_is_there_in_one_step() {
    let to = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(to.path().join(name), "old").unwrap();
    }
    fs::hard_link(to.path().join("a"), to.path().join("d")).unwrap();
    let target =
        Target::create(to.path(), Options { overwrite: true, ..Options::default() }).unwrap();
    target.small_file(&file(b"a", b"new"), b"new").unwrap();
    target.hard_link(&link(EntryKind::HardLink, b"b", b"a")).unwrap();
    target.symlink(&link(EntryKind::Symlink, b"c", b"a")).unwrap();
    target.hard_link(&link(EntryKind::HardLink, b"d", b"a")).unwrap();
    assert!(target.finish().refused.is_empty());
    for name in ["a", "b", "d"] {
        let path = to.path().join(name);
        assert_eq!(
            (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().nlink()),
            (b"new".to_vec(), 3)
        );
    }
    assert_eq!(fs::read_link(to.path().join("c")).unwrap().as_os_str(), "a");
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn one_file_is_restored_with_the_folders_that_lead_to_it() {
    let to = tempfile::tempdir().unwrap();
    let target =
        Target::create(&to.path().join("x/y"), Options { sync: true, ..Options::default() })
            .unwrap();
    target.small_file(&file(b"a/b/c", b"words"), b"words").unwrap();
    let report = target.finish();
    assert!(report.refused.is_empty() && report.warnings.is_empty(), "{report:?}");
    assert_eq!(fs::read(to.path().join("x/y/a/b/c")).unwrap(), b"words");
}

#[test]
fn a_target_with_content_keeps_its_own_mode() {
    let to = tempfile::tempdir().unwrap();
    fs::write(to.path().join("mine"), "").unwrap();
    fs::set_permissions(to.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    target.folder(&entry(EntryKind::Folder, b"")).unwrap();
    let report = target.finish();
    assert!(report.warnings.is_empty());
    assert_eq!(fs::metadata(to.path()).unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn a_target_that_is_a_file_is_refused_in_a_sentence() {
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join("file");
    fs::write(&path, "").unwrap();
    let error = Target::create(&path, Options::default()).err().unwrap();
    assert!(matches!(error, TargetError::Unusable { .. }));
    assert!(lucid::output::complaint(&error, None).contains("cannot be used as the target: "));
}

#[test]
fn odd_facts_are_survived() {
    let to = tempfile::tempdir().unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let odd = Entry {
        mode: !0o6000,
        modified: FileTime { seconds: i64::MIN, nanos: u32::MAX },
        owner: Owner { uid: u32::MAX, gid: u32::MAX },
        attributes: vec![
            (b"no\0name".to_vec(), vec![]),
            (vec![], vec![]),
            (b"user.x".to_vec(), vec![0; 1 << 20]),
        ],
        ..file(b"odd", b"x")
    };
    target.small_file(&odd, b"x").unwrap();
    let long = target.small_file(&file(&[b'x'; 256], b""), b"");
    assert!(matches!(long, Err(TargetError::Io { .. })));
    target.symlink(&link(EntryKind::Symlink, b"empty", b"")).unwrap();
    target.symlink(&link(EntryKind::Symlink, b"zero", b"a\0b")).unwrap();
    let report = target.finish();
    assert_eq!(report.warnings.total(), 1);
    assert_eq!(report.warnings.first[0].what.matches("could not be restored").count(), 3);
    assert_eq!(report.refused.total(), 2);
    assert_eq!(fs::read(to.path().join("odd")).unwrap(), b"x");
}

fn attribute(path: &std::path::Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1000];
    let length = rustix::fs::getxattr(path, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

/// What `user::rw-,user:1001:rw-,group::r--,mask::rw-,other::---` says.
fn acl() -> Vec<AclEntry> {
    let entry = |tag, permissions, id| AclEntry { tag, permissions, id, name: Vec::new() };
    vec![
        entry(AclTag::UserObj, 6, 0),
        entry(AclTag::User, 6, 1001),
        entry(AclTag::GroupObj, 4, 0),
        entry(AclTag::Mask, 6, 0),
        entry(AclTag::Other, 0, 0),
    ]
}

#[test]
fn acls_come_back_and_where_there_are_none_the_group_gets_no_more_for_it() {
    let to = tempfile::tempdir().unwrap();
    let mode = 0o660;
    let with = |entry: Entry| Entry { mode, access_acl: acl(), ..entry };
    let restore = |to: &std::path::Path| {
        let target = Target::create(to, Options::default()).unwrap();
        let folder = Entry { default_acl: acl(), ..entry(EntryKind::Folder, b"folder") };
        target.folder(&folder).unwrap();
        target.small_file(&with(file(b"folder/a", b"x")), b"x").unwrap();
        let slot = target.open_file(&with(file(b"b", b"xyz"))).unwrap();
        slot.write_at(0, b"xyz").unwrap();
        drop(slot);
        target.finish()
    };
    let report = restore(to.path());
    assert!(report.refused.is_empty() && report.warnings.is_empty(), "{report:?}");
    for name in ["folder/a", "b"] {
        let path = to.path().join(name);
        let kept = attribute(&path, "system.posix_acl_access").unwrap();
        assert_eq!(acl_of_attribute(&kept), Some(acl()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
    }
    let kept = attribute(&to.path().join("folder"), "system.posix_acl_default").unwrap();
    assert_eq!(acl_of_attribute(&kept), Some(acl()));

    let Some(disk) = SmallDisk::of("ramfs", &to.path().join("disk"), 1 << 20) else { return };
    let report = restore(&disk.0.join("out"));
    assert!(report.refused.is_empty(), "{report:?}");
    let warned: Vec<_> = report.warnings.first.iter().map(|warning| &warning.what).collect();
    assert_eq!(warned.len(), 3, "{warned:?}");
    assert!(warned.iter().all(|what| what.contains("access control list could not be restored")));
    for name in ["folder/a", "b"] {
        let path = disk.0.join("out").join(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "the group may only read");
    }
}

#[test]
fn what_cannot_be_kept_of_a_path_is_one_warning() {
    let to = tempfile::tempdir().unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let attributes = vec![
        (b"user.large".to_vec(), vec![0; 1 << 20]),
        (b"user.larger".to_vec(), vec![0; 1 << 21]),
        (b"user.small".to_vec(), b"kept".to_vec()),
    ];
    target.small_file(&Entry { attributes, ..file(b"a", b"x") }, b"x").unwrap();
    let report = target.finish();
    assert_eq!(report.warnings.total(), 1);
    let what = &report.warnings.first[0].what;
    assert!(what.contains("user.large ") && what.contains("user.larger "), "{what}");
    assert!(!what.contains("user.small"), "{what}");
    assert_eq!(attribute(&to.path().join("a"), "user.small").unwrap(), b"kept");
}

#[test]
fn flags_come_back_with_all_names_of_a_file() {
    let to = tempfile::tempdir().unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let (nodump, sealed) = (0x40, 0x40 | 0x10);
    // What says how a file lies on its disk is no wish.
    let flags = Some(nodump | 0x8_0000);
    target.folder(&Entry { flags, ..entry(EntryKind::Folder, b"folder") }).unwrap();
    target.small_file(&Entry { flags, ..file(b"folder/a", b"x") }, b"x").unwrap();
    target.small_file(&Entry { flags: Some(sealed), ..file(b"b", b"x") }, b"x").unwrap();
    target.hard_link(&link(EntryKind::HardLink, b"c", b"b")).unwrap();
    let report = target.finish();
    assert!(report.refused.is_empty(), "{report:?}");
    let open = |name: &str| fs::File::open(to.path().join(name)).unwrap();
    let now = |name: &str| rustix::fs::ioctl_getflags(open(name)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let (seen, fine) = (now("c"), report.warnings.is_empty());
    // Or else the folder could not be removed.
    let plain = IFlags::from_bits_retain(nodump);
    let _ = rustix::fs::ioctl_setflags(open("b"), (seen & !IFlags::IMMUTABLE) | plain);
    for name in ["folder", "folder/a", "b"] {
        assert!(now(name).contains(IFlags::NODUMP), "{name}");
    }
    assert_eq!(seen.contains(IFlags::IMMUTABLE), is_root);
    assert_eq!(fine, is_root, "{report:?}");
    assert_eq!(fs::metadata(to.path().join("c")).unwrap().nlink(), 2);
}

#[test]
fn holes_take_no_room_and_what_is_in_them_is_written_all_the_same() {
    let to = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 1 << 20];
    bytes[500_000..510_000].fill(7);
    let holes =
        vec![Hole { offset: 0, length: 491_520 }, Hole { offset: 524_288, length: 524_288 }];
    let sparse = |path| Entry { holes: holes.clone(), ..file(path, &bytes) };
    let target = Target::create(to.path(), Options::default()).unwrap();
    target.small_file(&sparse(b"small"), &bytes).unwrap();
    let slot = target.open_file(&sparse(b"large")).unwrap();
    for (number, piece) in bytes.chunks(70_001).enumerate().collect::<Vec<_>>().into_iter().rev() {
        slot.write_at(number as u64 * 70_001, piece).unwrap();
    }
    drop(slot);
    assert!(target.finish().refused.is_empty());
    for name in ["small", "large"] {
        let path = to.path().join(name);
        assert!(fs::read(&path).unwrap() == bytes, "{name}");
        let room = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(room <= 128 << 10, "{name} takes {room} bytes");
    }
}

#[test]
fn root_gives_files_to_the_names_they_belonged_to_where_there_are_such_names() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root gives files away");
        return;
    }
    let owned = |path, user: &str, group: &str| Entry {
        owner: Owner { uid: 4711, gid: 4712 },
        owner_name: user.as_bytes().to_vec(),
        group_name: group.as_bytes().to_vec(),
        ..file(path, b"")
    };
    let to = tempfile::tempdir().unwrap();
    for numeric_owner in [false, true] {
        let to = to.path().join(format!("numeric {numeric_owner}"));
        let options = Options { numeric_owner, ..Options::default() };
        let target = Target::create(&to, options).unwrap();
        target.small_file(&owned(b"known", "root", "root"), b"").unwrap();
        target.small_file(&owned(b"unknown", "nobody-of-this-name", ""), b"").unwrap();
        let report = target.finish();
        assert!(report.refused.is_empty() && report.warnings.is_empty(), "{report:?}");
        let owner = |name: &str| {
            let seen = fs::metadata(to.join(name)).unwrap();
            (seen.uid(), seen.gid())
        };
        assert_eq!(owner("known"), if numeric_owner { (4711, 4712) } else { (0, 0) });
        assert_eq!(owner("unknown"), (4711, 4712));
    }
}

#[test]
fn programs_run_as_their_owner_only_if_that_owner_is_restored() {
    let to = tempfile::tempdir().unwrap();
    let target = Target::create(to.path(), Options::default()).unwrap();
    let owner = Owner { uid: 4711, gid: 4712 };
    let program = Entry { mode: 0o6755, owner, ..file(b"program", b"x") };
    target.small_file(&program, b"x").unwrap();
    target.symlink(&Entry { owner, ..link(EntryKind::Symlink, b"link", b"x") }).unwrap();
    let report = target.finish();
    let seen = fs::metadata(to.path().join("program")).unwrap();
    if rustix::process::geteuid().is_root() && seen.uid() == owner.uid {
        assert_eq!((seen.mode() & 0o7777, seen.gid()), (0o6755, owner.gid));
        let seen = fs::symlink_metadata(to.path().join("link")).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (owner.uid, owner.gid));
        assert!(report.warnings.is_empty());
    } else {
        assert_eq!(seen.mode() & 0o7777, 0o755);
        assert!(!report.warnings.is_empty());
    }
}
