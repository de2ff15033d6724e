//! Where sessions come from: host, paths and tags, and the size of a terminal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::v1::sessions::{CreateSession, SessionSource, SessionsQuery, Terminal};
use lucid_core::manifest::{Manifest, Source};
use serde_json::{Value, json};

use crate::service::{Service, named, problem};

fn source(host: &str, paths: &[&str], tags: &[&str]) -> SessionSource {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
    SessionSource { host: host.into(), paths: texts(paths), tags: texts(tags) }
}

#[test]
fn a_session_says_where_it_comes_from_until_its_manifest_does() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let terminal = Some(Terminal { columns: 80, rows: 24 });
    let wanted = CreateSession {
        source: Some(source("web-1", &["/var/log", r"/odd\\name\xff"], &["b", "a", "b"])),
        terminal,
        ..named("s")
    };
    let kept = Some(source("web-1", &["/var/log", r"/odd\\name\xff"], &["a", "b"]));
    let begun = service.client.create_session(&wanted).unwrap();
    assert_eq!((&begun.source, begun.terminal), (&kept, terminal));
    service.client.seal("s", &Default::default()).unwrap();
    let sealed = service.client.session("s").unwrap();
    assert_eq!((&sealed.source, sealed.terminal), (&kept, terminal));
    let page = service.client.manifest("s", &Default::default()).unwrap();
    assert_eq!((&page.source, page.terminal), (&kept, terminal));
    let manifest = Manifest::parse(&STANDARD.decode(page.text_base64).unwrap()).unwrap();
    let proved = Source {
        host: "web-1".into(),
        paths: vec![b"/var/log".to_vec(), b"/odd\\name\xff".to_vec()],
        tags: vec!["a".into(), "b".into()],
    };
    assert_eq!(manifest.source, Some(proved));
    assert_eq!(manifest.terminal.map(|of| (of.columns, of.rows)), Some((80, 24)));
    // The same after a restart, and `null` where nobody said.
    service.begin("t");
    drop(service);
    let service = Service::start(folder.path());
    assert_eq!(service.client.session("s").unwrap().source, kept);
    let plain: Value = service.get("/api/v1/sessions/t").json().unwrap();
    assert_eq!((&plain["source"], &plain["terminal"]), (&Value::Null, &Value::Null));
}

#[test]
fn another_host_goes_on_with_a_session_and_other_tags_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let said = |source| CreateSession { source: Some(source), ..named("s") };
    service.client.create_session(&said(source("one", &["/a"], &["x"]))).unwrap();
    let again = service.client.create_session(&said(source("two", &["/b"], &["x"]))).unwrap();
    assert_eq!(again.source, Some(source("one", &["/a"], &["x"])), "it is as it began");
    let refused = service.post(
        "/api/v1/sessions",
        json!({ "session_id": "s", "source": { "host": "one", "tags": ["y"] } }),
    );
    let (status, code, document) = problem(refused);
    assert_eq!((status, code.as_str()), (409, "exists"));
    let detail = document["detail"].as_str().unwrap();
    assert!(detail.contains(r#"its tags are ["x"], not ["y"]"#), "{detail}");
}

#[test]
fn what_no_manifest_can_say_is_refused_by_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    for (body, field) in [
        (json!({ "source": { "host": "h".repeat(256) } }), "source.host"),
        (json!({ "source": { "paths": [""] } }), "source.paths"),
        (json!({ "source": { "paths": ["/a\\b"] } }), "source.paths"),
        (json!({ "source": { "paths": ["/a\u{0}b"] } }), "source.paths"),
        (json!({ "source": { "paths": vec!["/a"; 257] } }), "source.paths"),
        (json!({ "source": { "paths": ["a".repeat(40_000)] } }), "source.paths"),
        (json!({ "source": { "tags": [""] } }), "source.tags"),
        (json!({ "source": { "tags": ["t".repeat(257)] } }), "source.tags"),
        (json!({ "source": { "tags": many } }), "source.tags"),
        (json!({ "source": { "port": 1 } }), "port"),
        (json!({ "terminal": { "columns": 0, "rows": 24 } }), "terminal.columns"),
        (json!({ "terminal": { "columns": 80, "rows": 0 } }), "terminal.rows"),
        (json!({ "terminal": { "columns": 80 } }), "rows"),
    ] {
        let (status, code, document) = problem(service.post("/api/v1/sessions", body.clone()));
        assert_eq!((status, code.as_str()), (422, "invalid"), "{body}");
        let detail = document["detail"].as_str().unwrap();
        assert!(detail.contains(field), "{body}: {detail}");
    }
    assert_eq!(service.client.status().unwrap().counts["total_sessions"], 0);
}

#[test]
fn documents_are_found_by_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (id, of) in [
        ("a", source("web-1", &["/srv", "/etc"], &["nightly"])),
        ("b", source("web-2", &["/srv"], &["nightly", "os"])),
        ("c", source("", &[], &[])),
    ] {
        let wanted = CreateSession { source: Some(of), ..named(id) };
        service.client.create_session(&wanted).unwrap();
    }
    let elsewhere = json!({
        "id": "d", "timestamp": "2020-01-01T00:00:00Z", "source": { "host": "web-1", "tags": ["os"] },
    });
    assert_eq!(service.post("/api/v1/storage/sessions", elsewhere).status(), 201);
    // What is not as a manifest has it is kept, and not found by it.
    let odd = json!({ "id": "e", "source": { "host": 5 } });
    assert_eq!(service.post("/api/v1/storage/sessions", odd).status(), 201);
    let ids = |found: &Value| -> Vec<String> {
        let found = found.as_array().unwrap().iter();
        let mut ids: Vec<String> =
            found.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    for (filters, query, wanted) in [
        (json!({ "host": "web-1" }), "host=web-1", "a d"),
        (json!({ "tag": "nightly" }), "tag=nightly", "a b"),
        (json!({ "tag": ["nightly", "os"] }), "tag=nightly&tag=os", "b"),
        (json!({ "path": ["/srv", "/etc"] }), "path=/srv&path=/etc", "a"),
        (json!({ "path": "/srv", "host": "web-2" }), "path=/srv&host=web-2", "b"),
        (json!({ "tag": "os", "status": "active" }), "tag=os&status=active", "b"),
        (json!({ "path": "/sr" }), "path=/sr", ""),
    ] {
        let by_body = service.query("sessions", json!({ "filters": filters, "total": true }));
        let wanted: Vec<&str> = wanted.split_whitespace().collect();
        assert_eq!(ids(&by_body["results"]), wanted, "{filters}");
        assert_eq!(by_body["total"], wanted.len(), "{filters}");
        let url = format!("/api/v1/data/sessions?{query}");
        let by_address: Value = service.get(&url).json().unwrap();
        assert_eq!(ids(&by_address["items"]), wanted, "{query}");
    }
    let shown = service.query("sessions", json!({ "filters": { "host": "web-2" } }));
    assert_eq!(shown["results"][0]["source"]["tags"], json!(["nightly", "os"]));
    for wrong in ["host=a&host=b", "path=%5C", "tag=a&status=sealed&status=sealed"] {
        assert_eq!(
            problem(service.get(&format!("/api/v1/data/sessions?{wrong}"))).0,
            422,
            "{wrong}"
        );
    }
}

#[test]
fn sessions_are_listed_by_where_they_come_from_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for n in 0..40 {
        let host = format!("web-{}", n % 4);
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        let wanted = CreateSession {
            source: Some(source(&host, &["/srv"], &[tag])),
            user_id: Some(format!("user-{}", n % 5)),
            metadata: [("n".to_owned(), (n % 3).to_string())].into(),
            started_at: Some(format!("2026-01-01T00:00:{n:02}Z")),
            ..named(&format!("session-{n:02}"))
        };
        service.client.create_session(&wanted).unwrap();
    }
    // What others say of sessions stands in the same orders, and is no session of this store.
    let elsewhere = json!({ "id": "elsewhere", "source": { "host": "web-1", "tags": ["odd"] } });
    assert_eq!(service.post("/api/v1/storage/sessions", elsewhere).status(), 201);
    let is_wanted = |n: u32, wanted: &SessionsQuery| {
        let is = |said: &Option<String>, is: String| said.as_ref().is_none_or(|said| *said == is);
        is(&wanted.host, format!("web-{}", n % 4))
            && is(&wanted.user_id, format!("user-{}", n % 5))
            && wanted.tag.iter().all(|tag| (tag == "even") == n.is_multiple_of(2))
            && wanted.path.iter().all(|path| path == "/srv")
            && wanted.metadata.iter().all(|(_, value)| *value == (n % 3).to_string())
            && wanted
                .prefix
                .as_ref()
                .is_none_or(|begin| format!("session-{n:02}").starts_with(begin))
    };
    let some = |text: &str| Some(text.to_owned());
    let set = |text: &str| [text.to_owned()].into();
    let plain = || SessionsQuery { limit: Some(3), ..SessionsQuery::default() };
    for wanted in [
        plain(),
        SessionsQuery { host: some("web-1"), ..plain() },
        SessionsQuery { tag: set("odd"), ..plain() },
        SessionsQuery { path: set("/srv"), tag: set("even"), ..plain() },
        SessionsQuery { path: set("/"), ..plain() },
        SessionsQuery { user_id: some("user-3"), host: some("web-3"), ..plain() },
        SessionsQuery { metadata: [("n".to_owned(), "2".to_owned())].into(), ..plain() },
        SessionsQuery { prefix: some("sess"), ..plain() },
        SessionsQuery { prefix: some("session-1"), ..plain() },
        SessionsQuery { prefix: some("session-17"), host: some("web-1"), ..plain() },
        SessionsQuery { prefix: some("session-170"), ..plain() },
    ] {
        let expected: Vec<String> = (0..40)
            .rev()
            .filter(|n| is_wanted(*n, &wanted))
            .map(|n| format!("session-{n:02}"))
            .collect();
        let (mut query, mut found) = (wanted.clone(), Vec::new());
        loop {
            let page = service.client.list_sessions(&query).unwrap();
            assert!(page.items.len() <= 3);
            found.extend(page.items.into_iter().map(|session| session.session_id));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(found, expected, "{wanted:?}");
    }
    let span = SessionsQuery {
        tag: set("odd"),
        from: some("2026-01-01T00:00:05Z"),
        to: some("2026-01-01T00:00:09Z"),
        ..SessionsQuery::default()
    };
    let found = service.client.list_sessions(&span).unwrap().items;
    let found: Vec<&str> = found.iter().map(|session| session.session_id.as_str()).collect();
    assert_eq!(found, ["session-07", "session-05"]);
    for wrong in ["prefix=abc", "path=%5C", "host=a&host=b", "colour=red", "limit=x"] {
        assert_eq!(problem(service.get(&format!("/api/v1/sessions?{wrong}"))).0, 422, "{wrong}");
    }
}
