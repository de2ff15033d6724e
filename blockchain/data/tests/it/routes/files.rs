//! Archived folders: the catalogue, single files, tar.

use std::io::Read as _;

use lucid_api::problem::ErrorCode;
use lucid_api::v1::files::{FileKind, FilesQuery, name_bytes};
use lucid_api::v1::sessions::{Appendix, AppendixKind, CreateSession, Layout, SealSession};
use lucid_core::catalogue::{AclEntry, AclTag, Hole};
use serde_json::{Value, json};

use crate::sample::{folder, noise, pages};
use crate::service::{Service, bytes, named, problem};

#[test]
fn an_archived_folder_is_listed_read_and_packed() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let big = noise(1, 300_000);
    let files: Vec<(&[u8], &[u8])> = vec![
        (b"a", b"first"),
        (b"d/broken \xff name", b"second"),
        (b"d/deep/big", &big),
        (b"d/empty", b""),
        (b"e", b"last"),
    ];
    let tree = folder(&files);
    service.archive("s", &tree, 70_000);

    let mut query = FilesQuery { limit: Some(2), ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let page = service.client.files("s", &query).unwrap();
        assert!(page.items.len() <= 2);
        listed.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    let paths = |entries: &[lucid_api::v1::files::FileEntry]| -> Vec<Vec<u8>> {
        let exact = |entry: &lucid_api::v1::files::FileEntry| {
            name_bytes(&entry.path, entry.path_base64.as_deref()).unwrap()
        };
        entries.iter().map(exact).collect()
    };
    let wanted: Vec<Vec<u8>> = tree.entries.iter().map(|entry| entry.path.clone()).collect();
    assert_eq!(paths(&listed), wanted);
    assert_eq!(listed[1].modified_at, "2023-11-14T22:13:20.123456789Z");
    assert_eq!((listed[1].mode, listed[1].uid, listed[1].gid), (0o640, 1000, 100));
    let link = listed.last().unwrap();
    assert_eq!((link.kind, link.target.as_deref()), (FileKind::Symlink, Some("a")));
    let below = FilesQuery { path: b"d".to_vec(), ..Default::default() };
    let below = service.client.files("s", &below).unwrap().items;
    assert_eq!(paths(&below), [&b"d/broken \xff name"[..], b"d/deep/big", b"d/empty"]);

    let slashed = FilesQuery { path: b"d/".to_vec(), ..Default::default() };
    assert_eq!(service.client.files("s", &slashed).unwrap().items, below);
    assert_eq!((&below[0].flags, &below[0].user_name, below[0].hole_bytes), (&None, &None, 0));

    for (path, content) in &files {
        assert_eq!(bytes(service.client.file("s", path, None)), *content);
    }
    let part = service.client.file("s", b"d/deep/big", Some(69_990..70_010)).unwrap();
    assert!(part.partial && part.etag.is_some());
    assert_eq!(bytes(Ok(part)), big[69_990..70_010]);
    assert!(service.client.file("s", b"none", None).unwrap_err().is_not_found());
    let refused = service.client.file("s", b"zz-link", None).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Kind));
    assert_eq!(bytes(service.client.data("s", None)), tree.content, "without the catalogue");

    let tar = bytes(service.client.archive_tar("s"));
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut found = 0;
    for (packed, entry) in archive.entries().unwrap().zip(&tree.entries) {
        let mut packed = packed.unwrap();
        let mut content = Vec::new();
        packed.read_to_end(&mut content).unwrap();
        let (from, to) = (entry.offset as usize, (entry.offset + entry.length) as usize);
        assert_eq!(content, tree.content[from..to]);
        found += 1;
    }
    assert_eq!(found, tree.entries.len());
}

#[test]
fn everything_that_is_kept_of_a_file_is_listed() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let files: [(&[u8], &[u8]); 1] = [(b"a", &noise(1, 9_000))];
    let mut tree = folder(&files);
    let of =
        |tag, permissions, id, name: &[u8]| AclEntry { tag, permissions, id, name: name.to_vec() };
    let [access, default] = [6, 5].map(|permissions| {
        vec![
            of(AclTag::UserObj, 7, 0, b""),
            of(AclTag::User, permissions, 1001, b"bob"),
            of(AclTag::GroupObj, 4, 0, b""),
            of(AclTag::Group, 4, 2001, b"\xff"),
            of(AclTag::Mask, 6, 0, b""),
            of(AclTag::Other, 0, 0, b""),
        ]
    });
    let kept = &mut tree.entries[1];
    kept.attributes = vec![
        (b"user.\xffodd".to_vec(), b"\x00\x01".to_vec()),
        (b"user.mime".to_vec(), b"text/plain".to_vec()),
    ];
    kept.attributes.sort();
    (kept.owner_name, kept.group_name) = (b"ann".to_vec(), b"staff".to_vec());
    kept.flags = Some(0x40);
    kept.holes = vec![Hole { offset: 0, length: 4_096 }, Hole { offset: 5_000, length: 1_000 }];
    (kept.access_acl, kept.default_acl) = (access, Vec::new());
    tree.entries[0].default_acl = default;
    tree.pages = pages(&tree.entries);
    service.archive("s", &tree, 70_000);

    let listed = service.get("/api/v1/sessions/s/files").text().unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let [top, file, ..] = listed["items"].as_array().unwrap().as_slice() else {
        panic!("{listed}")
    };
    let names = |entry: &Value| (entry["user_name"].clone(), entry["group_name"].clone());
    assert_eq!(names(file), (json!("ann"), json!("staff")));
    assert_eq!(names(top), (Value::Null, Value::Null));
    let attributes = json!([
        { "name": "user.mime", "value_base64": "dGV4dC9wbGFpbg==" },
        { "name": "user.\u{fffd}odd", "name_base64": "dXNlci7/b2Rk", "value_base64": "AAE=" },
    ]);
    assert_eq!(file["attributes"], attributes);
    assert_eq!((&file["flags"], &file["hole_bytes"]), (&json!(0x40), &json!(5_096)));
    assert_eq!((&top["flags"], &top["attributes"]), (&Value::Null, &json!([])));
    let acl = |permissions: u8| {
        json!([
            { "tag": "user", "permissions": 7, "id": null, "name": null },
            { "tag": "user", "permissions": permissions, "id": 1001, "name": "bob" },
            { "tag": "group", "permissions": 4, "id": null, "name": null },
            { "tag": "group", "permissions": 4, "id": 2001, "name": "\u{fffd}", "name_base64": "/w==" },
            { "tag": "mask", "permissions": 6, "id": null, "name": null },
            { "tag": "other", "permissions": 0, "id": null, "name": null },
        ])
    };
    assert_eq!((&file["access_acl"], &file["default_acl"]), (&acl(6), &json!([])));
    assert_eq!((&top["access_acl"], &top["default_acl"]), (&json!([]), &acl(5)));
}

/// A tar that ended as a whole one would hide what is missing in it, and a reply that has begun cannot say so.
#[test]
fn a_tar_is_refused_or_breaks_off_at_the_first_file_that_cannot_be_read() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let big = noise(1, 700_000);
    let small = noise(2, 60_000);
    let tree = folder(&[(b"a", &small), (b"b", &big), (b"c", b"last")]);
    service.archive("s", &tree, 60_000);
    let whole = bytes(service.client.archive_tar("s"));
    service.stop();
    let segment = place.path().join("chunks/00000001.seg");
    let flip = |at: usize| {
        let mut stored = std::fs::read(&segment).unwrap();
        stored[at] ^= 1;
        std::fs::write(&segment, stored).unwrap();
    };
    // Chunks are stored in the order of the content, and noise is not compressed.
    let (first, further) = (30_000, 665_000);
    flip(further);
    let service = Service::start(place.path());
    // What was sent before may still be in a buffer when the connection ends.
    match service.client.archive_tar("s") {
        Ok(mut tar) => {
            let mut got = Vec::new();
            assert!(tar.read_to_end(&mut got).is_err(), "it ended after {} bytes", got.len());
            assert!(got.len() < 700_000 && whole.starts_with(&got), "{} bytes", got.len());
        }
        Err(error) => assert!(error.refused().is_none(), "{error}"),
    }
    service.stop();
    flip(first);
    let service = Service::start(place.path());
    let refused = service.client.archive_tar("s").unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!(refused.code, Some(ErrorCode::Damaged));
    assert_eq!(refused.details["file"], "chunks/00000001.seg");
    // All others are read.
    assert_eq!(bytes(service.client.file("s", b"c", None)), b"last");
}

#[test]
fn a_stream_has_no_files() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    service.client.seal("s", &Default::default()).unwrap();
    let refused = [
        service.client.files("s", &Default::default()).unwrap_err(),
        service.client.file("s", b"a", None).unwrap_err(),
        service.client.archive_tar("s").unwrap_err(),
    ];
    assert!(refused.iter().all(|refused| refused.code() == Some(ErrorCode::Kind)));
    assert!(service.client.archive_tar("none").unwrap_err().is_not_found());
}

/// What is sealed never changes, so a catalogue that nobody could read is refused before.
#[test]
fn a_folder_is_not_sealed_without_its_catalogue() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let tree = folder(&[(b"a", b"first")]);
    let wanted = CreateSession { layout: Layout::Tree, ..named("s") };
    service.client.create_session(&wanted).unwrap();
    service.add("s", 0, &[&tree.content]);
    let seal = |kind, offset, length| {
        let appendix = Some(Appendix { kind, offset, length });
        service.client.seal("s", &SealSession { appendix, ..Default::default() })
    };
    let (ends, pages) = (tree.content.len() as u64, tree.pages[0].len() as u64);
    assert!(service.client.seal("s", &Default::default()).is_err());
    assert!(seal(AppendixKind::Catalogue, 0, ends).is_err(), "the content is no catalogue");
    service.add("s", 1, &[&tree.pages[0]]);
    for (kind, offset, length) in [
        (AppendixKind::Timeline, ends, pages),
        (AppendixKind::Catalogue, ends - 1, pages + 1),
        (AppendixKind::Catalogue, ends, pages - 1),
        (AppendixKind::Catalogue, u64::MAX, u64::MAX),
    ] {
        let refused = seal(kind, offset, length).unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::Invalid), "{refused}");
    }
    seal(AppendixKind::Catalogue, ends, pages).unwrap();
    assert_eq!(bytes(service.client.file("s", b"a", None)), b"first");
}

#[test]
fn what_is_no_cursor_is_refused_by_every_list() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let files: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"d/b", b"2")];
    service.archive("s", &folder(&files), 70_000);
    for list in ["sessions", "tombstones", "sessions/s/files", "sessions/s/chunks"] {
        for cursor in ["", "!", "YQ", "AAAA", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"] {
            let reply = service.get(&format!("/api/v1/{list}?cursor={cursor}"));
            let (status, code, _) = problem(reply);
            assert_eq!((status, code.as_str()), (422, "invalid"), "{list} {cursor:?}");
        }
    }
    // A page may end with the folder itself, whose path is empty.
    let mut query = FilesQuery { limit: Some(1), ..Default::default() };
    let mut count = 0;
    while let Some(cursor) = service.client.files("s", &query).unwrap().next_cursor {
        assert!(!cursor.is_empty());
        (query.cursor, count) = (Some(cursor), count + 1);
    }
    assert!(count > 1);
    // Of another list it is none, either.
    query.path = b"zz".to_vec();
    assert_eq!(service.client.files("s", &query).unwrap_err().code(), Some(ErrorCode::Invalid));
}
