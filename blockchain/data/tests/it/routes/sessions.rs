//! Sessions: begin, list, refer, seal, and what is kept over a restart.

use std::time::{Duration, Instant};

use lucid_api::problem::ErrorCode;
use lucid_api::v1::manifest::ManifestQuery;
use lucid_api::v1::sessions::{
    AddReferences, CreateSession, Cutting, CuttingMode, Reference, SealSession, SessionStatus,
    SessionsQuery,
};
use lucid_data_chain::app::WAITING_MAX;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::sample::{id, noise};
use crate::service::{Service, bytes, named, problem};

#[test]
fn the_same_request_again_finds_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let wanted = json!({ "session_id": "s-1", "user_id": "ann", "metadata": { "host": "h1" } });
    let first = service.post("/api/v1/sessions", wanted.clone());
    assert_eq!(first.status(), 201);
    let again = service.post("/api/v1/sessions", wanted);
    assert_eq!(again.status(), 200);
    let other = service.post("/api/v1/sessions", json!({ "session_id": "s-1", "user_id": "bob" }));
    let (status, code, _) = problem(other);
    assert_eq!((status, code.as_str()), (409, "exists"));
    // A session without an id is given one.
    let made = service.client.create_session(&CreateSession::default()).unwrap();
    assert_eq!(made.session_id.len(), 15, "{}", made.session_id);
}

#[test]
fn wrong_requests_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (body, wanted) in [
        (json!({ "session_id": "a b" }), "session id"),
        (json!({ "started_at": "yesterday" }), "started_at"),
        (json!({ "cutting": { "mode": "content", "avg_bytes": 5 } }), "5"),
        (json!({ "metadata": { "k": "v".repeat(5000) } }), "metadata"),
        (json!({ "user_id": "u".repeat(300) }), "user id"),
        (json!({ "colour": "red" }), "colour"),
    ] {
        let (status, code, document) = problem(service.post("/api/v1/sessions", body.clone()));
        assert_eq!((status, code.as_str()), (422, "invalid"), "{body}");
        let detail = document["detail"].as_str().unwrap();
        assert!(detail.contains(wanted), "{detail}");
    }
    let (status, code, _) = problem(service.get("/api/v1/sessions/none"));
    assert_eq!((status, code.as_str()), (404, "not_found"));
    assert!(service.client.upload_offset("none").unwrap_err().refused().unwrap().status == 404);
    let (status, ..) = problem(service.get("/api/v1/sessions?limit=0"));
    assert_eq!(status, 422);
    let (status, ..) = problem(service.get("/api/v1/sessions?cursor=%21"));
    assert_eq!(status, 422);
}

#[test]
fn what_may_be_left_out_may_be_left_out_whole() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.begin("t");
    for (path, wanted) in [
        ("/api/v1/sessions/s/seal", 200),
        ("/api/v1/sessions/t/anchor", 202),
        ("/api/v1/maintenance/gc", 200),
        ("/api/v1/maintenance/optimise", 200),
    ] {
        let sent = service.http.post(service.url(path)).send().unwrap();
        assert_eq!(sent.status(), wanted, "{path}: {}", sent.text().unwrap());
        let (status, ..) = problem(service.post(path, json!([])));
        assert_eq!(status, 422, "{path}");
    }
}

#[test]
fn what_could_mean_two_things_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let named = r#"{"session_id":"t","metadata":{"a":"1","a":"2"}}"#;
    let chunk = r#"{"data":"YQ==","session_id":"t","metadata":{"a":1,"a":2}}"#;
    for (path, body) in [
        ("/api/v1/sessions", "[]"),
        ("/api/v1/sessions", "[3]"),
        ("/api/v1/sessions", named),
        ("/api/v1/sessions", r#"{"session_id":"t","session_id":"u"}"#),
        ("/api/v1/sessions/s/references", "[0, []]"),
        ("/api/v1/chunks", r#"["YQ=="]"#),
        ("/api/v1/chunks", chunk),
        ("/api/v1/chunks/missing", "[[]]"),
    ] {
        let request =
            service.http.post(service.url(path)).header("content-type", "application/json");
        let (status, code, document) = problem(request.body(body).send().unwrap());
        assert_eq!((status, code.as_str()), (422, "invalid"), "{path} {body}: {document}");
    }
    let request = service.http.post(service.url("/api/v1/sessions/s/append"));
    let request = request.header("content-type", "application/octet-stream");
    let request = request.header("upload-offset", 0).header("upload-offset", 9);
    let (status, ..) = problem(request.body("abc").send().unwrap());
    assert_eq!(status, 400);
    assert_eq!(service.client.upload_offset("s").unwrap(), 0);
    let status: Value =
        serde_json::from_str(&service.get("/api/v1/status").text().unwrap()).unwrap();
    assert_eq!((&status["total_sessions"], &status["unique_chunks"]), (&1.into(), &0.into()));
}

#[test]
fn head_says_what_get_says() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let url = service.url("/api/v1/sessions/s");
    let (got, head) = (service.get("/api/v1/sessions/s"), service.http.head(&url).send().unwrap());
    for name in ["content-length", "content-type", "upload-offset"] {
        assert_eq!(head.headers().get(name), got.headers().get(name), "{name}");
    }
    let length = got.headers()["content-length"].to_str().unwrap().to_owned();
    assert_eq!(length, got.text().unwrap().len().to_string());
}

#[test]
fn names_that_an_address_cannot_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for id in [".", ".."] {
        let (status, ..) = problem(service.post("/api/v1/sessions", json!({ "session_id": id })));
        assert_eq!(status, 422, "{id}");
    }
    service.begin("s");
    for name in ["batch", "get", "missing", ".", ".."] {
        let chunk = json!({ "session_id": "s", "chunk_id": name, "data": "aGVsbG8=" });
        let (status, _, document) = problem(service.post("/api/v1/chunks", chunk));
        assert_eq!(status, 422, "{name}");
        assert!(document["detail"].as_str().unwrap().contains("address"), "{document}");
    }
    assert_eq!(service.client.session("s").unwrap().chunk_count, 0);
}

#[test]
fn lists_are_filtered_and_paged() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for number in 0..7 {
        let wanted = CreateSession {
            user_id: Some(if number % 2 == 0 { "even" } else { "odd" }.to_owned()),
            started_at: Some(format!("2026-01-0{}T00:00:00Z", number + 1)),
            ..named(&format!("s-{number}"))
        };
        service.client.create_session(&wanted).unwrap();
    }
    service.client.seal("s-3", &SealSession::default()).unwrap();
    let ids = |query: &SessionsQuery| -> Vec<String> {
        let mut query = query.clone();
        let mut ids = Vec::new();
        loop {
            let page = service.client.list_sessions(&query).unwrap();
            ids.extend(page.items.into_iter().map(|session| session.session_id));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return ids,
            }
        }
    };
    let all = ids(&SessionsQuery { limit: Some(2), ..Default::default() });
    assert_eq!(all, ["s-6", "s-5", "s-4", "s-3", "s-2", "s-1", "s-0"]);
    let odd = SessionsQuery { user_id: Some("odd".into()), limit: Some(1), ..Default::default() };
    assert_eq!(ids(&odd), ["s-5", "s-3", "s-1"]);
    let sealed = SessionsQuery { status: Some(SessionStatus::Sealed), ..Default::default() };
    assert_eq!(ids(&sealed), ["s-3"]);
    let span = SessionsQuery {
        from: Some("2026-01-02T00:00:00Z".into()),
        to: Some("2026-01-05T00:00:00Z".into()),
        ..Default::default()
    };
    // The first moment is in it, the last is not.
    assert_eq!(ids(&span), ["s-3", "s-2", "s-1"]);
    let unterminated = SessionsQuery { status: Some(SessionStatus::Unterminated), ..span };
    assert!(ids(&unterminated).is_empty());
}

#[test]
fn references_go_in_order_and_name_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let (one, two) = (noise(1, 5_000), noise(2, 6_000));
    service.client.put_chunks([one.as_slice()]).unwrap();
    let reference = |bytes: &[u8]| Reference { chunk_id: id(bytes), length: bytes.len() as u32 };
    let add = |start_index, chunks| {
        service.client.add_references("s", &AddReferences { start_index, chunks })
    };
    let refused = add(0, vec![reference(&one), reference(&two)]).unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!(refused.code, Some(ErrorCode::Missing));
    assert_eq!(refused.details["missing"], json!([id(&two).to_string()]));
    // Nothing of it happened.
    assert_eq!(service.client.session("s").unwrap().chunk_count, 0);

    let added = add(0, vec![reference(&one)]).unwrap();
    assert_eq!((added.next_index, added.offset), (1, 5_000));
    assert_eq!(
        add(0, vec![reference(&one)]).unwrap(),
        added,
        "a repeated request is answered alike"
    );
    service.client.put_chunks([two.as_slice()]).unwrap();
    for (start, code) in [(0, ErrorCode::Exists), (2, ErrorCode::Offset)] {
        let refused = add(start, vec![reference(&two)]).unwrap_err();
        assert_eq!(refused.code(), Some(code), "start {start}");
    }
    let lie = Reference { chunk_id: id(&two), length: 5 };
    assert_eq!(add(1, vec![lie]).unwrap_err().code(), Some(ErrorCode::Invalid));
    assert_eq!(add(1, vec![]).unwrap_err().code(), Some(ErrorCode::Invalid));
    assert_eq!(add(1, vec![reference(&two)]).unwrap().offset, 11_000);
    assert_eq!(bytes(service.client.data("s", None)), [one, two].concat());
}

#[test]
fn a_sealed_session_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let content = noise(3, 300_000);
    service.add("s", 0, &content.chunks(100_000).collect::<Vec<_>>());
    let wrong = SealSession { expected_chunk_count: Some(2), ..Default::default() };
    assert_eq!(service.client.seal("s", &wrong).unwrap_err().code(), Some(ErrorCode::Offset));
    let how = SealSession {
        expected_chunk_count: Some(3),
        owner_address: Some("owner".into()),
        metadata: [("place".to_owned(), "attic".to_owned())].into(),
        ..Default::default()
    };
    let sealed = service.client.seal("s", &how).unwrap();
    assert_eq!((sealed.chunk_count, sealed.total_size), (3, 300_000));
    assert_eq!(service.client.seal("s", &SealSession::default()).unwrap(), sealed);
    assert_eq!(service.client.seal("s", &wrong).unwrap_err().code(), Some(ErrorCode::Offset));

    let shown = service.client.session("s").unwrap();
    assert_eq!(shown.status, SessionStatus::Sealed);
    assert_eq!(shown.metadata["place"], "attic");
    assert_eq!(shown.metadata["owner_address"], "owner");
    let page = service.client.manifest("s", &ManifestQuery { start: 1, limit: Some(1) }).unwrap();
    assert_eq!((page.start, page.chunks.len(), page.next_start), (1, 1, Some(2)));
    assert_eq!(page.chunks[0].chunk_id, id(&content[100_000..200_000]));
    assert_eq!(page.manifest_hash, sealed.manifest_hash);
    assert_eq!(page.end_marker.as_deref(), Some("eof"));
    let last = service.client.manifest("s", &ManifestQuery { start: 2, limit: None }).unwrap();
    assert_eq!((last.chunks.len(), last.next_start), (1, None));

    let append = service.client.append("s", &Default::default(), vec![1]);
    assert_eq!(append.unwrap_err().code(), Some(ErrorCode::Sealed));
    assert_eq!(service.begin("s").status, SessionStatus::Sealed, "it is still found");
}

/// A client that was killed comes back with other content, and what it left behind is in nobody's way.
#[test]
fn what_is_filled_in_one_go_is_begun_anew_until_it_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let begin = |started_at: &str| {
        let started_at = Some(started_at.to_owned());
        let wanted = CreateSession { one_shot: true, started_at, ..named("s") };
        service.client.create_session(&wanted)
    };
    let seal = |started_at: &str| {
        let started_at = Some(started_at.to_owned());
        service.client.seal("s", &SealSession { started_at, ..Default::default() })
    };
    let (first, second) = ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z");
    begin(first).unwrap();
    service.add("s", 0, &[&noise(1, 1_000), &noise(2, 1_000)]);
    assert_eq!(begin(second).unwrap().chunk_count, 0);
    let other = noise(3, 1_500);
    service.add("s", 0, &[&other]);
    // The client that was there first seals nothing of what the second one brought.
    assert_eq!(seal(first).unwrap_err().code(), Some(ErrorCode::Exists));
    let sealed = seal(second).unwrap();
    assert_eq!(sealed.total_size, 1_500);
    assert_eq!(seal(second).unwrap(), sealed);
    assert_eq!(seal(first).unwrap_err().code(), Some(ErrorCode::Exists));
    assert_eq!(begin(first).unwrap().status, SessionStatus::Sealed, "it stays what it is");
    assert_eq!(bytes(service.client.data("s", None)), other);
}

#[test]
fn a_restart_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let wanted = CreateSession {
        cutting: Some(Cutting { mode: CuttingMode::Fixed, avg_bytes: 65_536 }),
        ..named("s")
    };
    service.client.create_session(&wanted).unwrap();
    let content = noise(4, 200_000);
    service.client.append("s", &Default::default(), content.clone()).unwrap();
    service.begin("empty");
    let before = service.client.session("s").unwrap();
    let status = service.get("/api/v1/status").text().unwrap();
    service.stop();

    let service = Service::start(folder.path());
    assert_eq!(service.client.session("s").unwrap(), before);
    assert_eq!(service.client.upload_offset("s").unwrap(), 200_000);
    assert_eq!(bytes(service.client.data("s", None)), content);
    let after = service.get("/api/v1/status").text().unwrap();
    let counts = |text: &str| -> Vec<Value> {
        let status: Value = serde_json::from_str(text).unwrap();
        ["total_sessions", "chunk_references", "session_bytes"]
            .map(|name| status[name].clone())
            .to_vec()
    };
    assert_eq!(counts(&after), [json!(2), json!(3), json!(200_000)]);
    assert_eq!(counts(&after), counts(&status));
}

#[test]
fn what_nobody_can_wait_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    for (query, named) in [
        ("wait=30s", "together"),
        ("status=anchored", "together"),
        ("wait=61s&status=anchored", "61s"),
        ("wait=soon&status=anchored", "soon"),
        ("wait=-1&status=anchored", "-1"),
        ("wait=1s&status=done", "done"),
        ("until=anchored", "until"),
    ] {
        let (status, code, document) = problem(service.get(&format!("/api/v1/sessions/s?{query}")));
        assert_eq!((status, code.as_str()), (422, "invalid"), "{query}");
        assert!(document["detail"].as_str().unwrap().contains(named), "{document}");
    }
    let (status, ..) = problem(service.get("/api/v1/sessions/none?wait=5s&status=sealed"));
    assert_eq!(status, 404, "nobody waits for what is not there");
}

#[test]
fn whoever_waits_is_answered_as_soon_as_it_is_so_far_or_after_the_wait() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    let began = Instant::now();
    let session = service.client.wait_session("s", SessionStatus::Sealed, 1).unwrap();
    assert_eq!(session.status, SessionStatus::Active, "the wait ended first");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        service.client.wait_session("s", SessionStatus::Active, 60).unwrap().status,
        SessionStatus::Active
    );
    // Far below the wait, so it is the news that wakes them.
    let began = Instant::now();
    std::thread::scope(|scope| {
        let waiting = [SessionStatus::Sealed, SessionStatus::Anchored].map(|wanted| {
            let client = &service.client;
            scope.spawn(move || client.wait_session("s", wanted, 60).unwrap().status)
        });
        service
            .wait(|| (service.app().waiting.available_permits() + 2 == WAITING_MAX).then_some(()));
        service.client.seal("s", &Default::default()).unwrap();
        let [sealed, anchored] = waiting.map(|waiting| waiting.join().unwrap());
        assert!(matches!(sealed, SessionStatus::Sealed | SessionStatus::Anchored));
        assert_eq!(anchored, SessionStatus::Anchored);
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_shutdown_does_not_wait_for_those_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let client = service.client.clone();
    let waiting = std::thread::spawn(move || client.wait_session("s", SessionStatus::Sealed, 60));
    service.wait(|| (service.app().waiting.available_permits() < WAITING_MAX).then_some(()));
    let began = Instant::now();
    service.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(waiting.join().unwrap().unwrap().status, SessionStatus::Active);
}
