//! Files that are looked for in all archived folders.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};

use lucid_api::v1::find::{FindLine, FindQuery};
use lucid_api::v1::sessions::{
    Appendix, AppendixKind, CreateSession, Layout, SealSession, SessionStatus,
};

use crate::sample::{Folder, folder};
use crate::service::{Service, named, problem};

/// Archives a folder in one chunk, as a session of which this is said.
fn archive(service: &Service, said: CreateSession, tree: &Folder) {
    let id = said.session_id.clone().unwrap();
    service.client.create_session(&CreateSession { layout: Layout::Tree, ..said }).unwrap();
    let next = service.add(&id, 0, &[&tree.content]);
    let pages: Vec<&[u8]> = tree.pages.iter().map(Vec::as_slice).collect();
    service.add(&id, next, &pages);
    let length = tree.pages.iter().map(|page| page.len() as u64).sum();
    let offset = tree.content.len() as u64;
    let appendix = Appendix { kind: AppendixKind::Catalogue, offset, length };
    let how = SealSession { appendix: Some(appendix), ..SealSession::default() };
    service.client.seal(&id, &how).unwrap();
}

fn began(day: u32) -> Option<String> {
    Some(format!("2026-01-{day:02}T12:00:00Z"))
}

/// What is found: session and path.
fn found(service: &Service, query: &FindQuery) -> Vec<(String, String)> {
    let lines = BufReader::new(service.client.find(query).unwrap()).lines();
    lines
        .map(|line| match serde_json::from_str(&line.unwrap()).unwrap() {
            FindLine::Found(found) => (found.session_id, found.entry.path),
            FindLine::Damaged(damaged) => panic!("{damaged:?}"),
        })
        .collect()
}

fn of(path: &str) -> FindQuery {
    FindQuery { path: path.to_owned(), ..FindQuery::default() }
}

#[test]
fn paths_are_found_in_every_archived_folder_the_newest_first() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let tree = folder(&[(b"a.conf", b"1"), (b"d/b.conf", b"22"), (b"d/deep/C.CONF", b"333")]);
    for (id, day, user, case) in
        [("one", 1, "ann", "7"), ("two", 2, "bob", "7"), ("three", 3, "ann", "8")]
    {
        let said = CreateSession {
            user_id: Some(user.into()),
            metadata: [("case".to_owned(), case.to_owned())].into(),
            started_at: began(day),
            ..named(id)
        };
        archive(&service, said, &tree);
    }
    // What has no catalogue, or none yet, is passed over.
    service.begin("raw");
    service
        .client
        .create_session(&CreateSession { layout: Layout::Tree, ..named("open") })
        .unwrap();

    let is = |query: &FindQuery, wanted: &[(&str, &str)]| {
        let owned = wanted.iter().map(|(id, path)| (id.to_string(), path.to_string()));
        assert_eq!(found(&service, query), owned.collect::<Vec<_>>(), "{query:?}");
    };
    let all = [
        ("three", "a.conf"),
        ("three", "d/b.conf"),
        ("two", "a.conf"),
        ("two", "d/b.conf"),
        ("one", "a.conf"),
        ("one", "d/b.conf"),
    ];
    is(&of("*.conf"), &all);
    is(&of("none"), &[]);
    let everything = found(&service, &of("*"));
    // Three files, two folders and a link of each; not the folder that was archived.
    assert_eq!(everything.len(), 3 * (tree.entries.len() - 1), "{everything:?}");
    assert!(everything.iter().all(|(_, path)| !path.is_empty()));
    is(&of("/*.conf"), &[("three", "a.conf"), ("two", "a.conf"), ("one", "a.conf")]);
    let ignoring = FindQuery { ignore_case: Some(true), ..of("d/**/c.conf") };
    is(
        &ignoring,
        &[("three", "d/deep/C.CONF"), ("two", "d/deep/C.CONF"), ("one", "d/deep/C.CONF")],
    );
    is(
        &FindQuery { user_id: Some("ann".into()), ..of("a.conf") },
        &[("three", "a.conf"), ("one", "a.conf")],
    );
    is(&FindQuery { from: began(2), to: began(3), ..of("a.conf") }, &[("two", "a.conf")]);
    let metadata = [("case".to_owned(), "7".to_owned())].into();
    is(&FindQuery { metadata, ..of("a.conf") }, &[("two", "a.conf"), ("one", "a.conf")]);
    is(&FindQuery { status: Some(SessionStatus::Active), ..of("a.conf") }, &[]);

    let mut line = String::new();
    BufReader::new(service.client.find(&of("zz-link")).unwrap()).read_line(&mut line).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    for key in
        ["session_id", "started_at", "path", "kind", "mode", "length", "modified_at", "target"]
    {
        assert!(keys.contains(key), "{line}");
    }
}

#[test]
fn what_is_no_search_is_refused_by_its_name() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    for (query, status, name) in [
        ("", 422, "path"),
        ("path=", 422, "pattern"),
        ("path=a%5B", 422, "pattern"),
        ("path=a&from=yesterday", 422, "from"),
        ("path=a&status=gone", 422, "status"),
        ("path=a&size=1", 422, "size"),
    ] {
        let (refused, _, document) = problem(service.get(&format!("/api/v1/find?{query}")));
        assert_eq!(refused, status, "{query}: {document}");
        assert!(document["detail"].as_str().unwrap().contains(name), "{query}: {document}");
    }
    let long = "x".repeat(2_000);
    let (refused, _, document) = problem(service.get(&format!("/api/v1/find?path={long}")));
    assert_eq!(refused, 422, "{document}");
}

/// The first line is there while the rest is still looked for; who leaves is not looked for any more.
#[test]
fn the_first_path_comes_before_the_last_session_is_looked_through_and_nothing_goes_on_for_nobody() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let names: Vec<String> =
        (0..60_000).map(|n| format!("d/a-name-of-some-length-{n:08}")).collect();
    let files: Vec<(&[u8], &[u8])> =
        names.iter().map(|name| (name.as_bytes(), &b"x"[..])).collect();
    let tree = folder(&files);
    for day in 1..5 {
        archive(
            &service,
            CreateSession { started_at: began(day), ..named(&format!("s-{day}")) },
            &tree,
        );
    }
    let mut lines = BufReader::new(service.client.find(&of("a-name*")).unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let first: FindLine = serde_json::from_str(&line).unwrap();
    assert!(matches!(first, FindLine::Found(found) if found.session_id == "s-4"));
    assert_eq!(lines.lines().map(Result::unwrap).count(), 4 * 60_000 - 1);

    // More searches than there are places for, left alone after their first line each.
    for _ in 0..3 * lucid_data_chain::app::SEARCHES_MAX {
        let mut lines = BufReader::new(service.client.find(&of("a-name*")).unwrap());
        lines.read_line(&mut line).unwrap();
    }
    assert_eq!(found(&service, &of("a-name-of-some-length-00059999")).len(), 4);
}
