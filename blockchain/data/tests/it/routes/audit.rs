//! The read log: who asked for what, and how it ended.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use lucid_api::v1::audit::{AuditEnd, AuditEntry, AuditKind};
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::sessions::SealSession;
use lucid_core::check::{CheckVerdict, Trust, check};
use lucid_core::sign::PublicKey;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_store::clock::Clock;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::sample::noise;
use crate::service::{Service, bytes, problem};
use crate::sight::{As, caller, guarded};

const ENTRIES: &str = "/api/v1/audit/entries";

fn read_entries(text: &str) -> Vec<AuditEntry> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn entries(of: &As<'_>, query: &str) -> Vec<AuditEntry> {
    let (status, text) = of.get(&format!("{ENTRIES}{query}"));
    assert_eq!(status, 200, "{text}");
    match text {
        Value::String(text) => read_entries(&text),
        // A single line is a JSON value.
        one => vec![serde_json::from_value(one).unwrap()],
    }
}

fn noting(folder: &std::path::Path) -> Service {
    Service::start_with(folder, &[("LUCID_READ_LOG", "on")])
}

fn noted(service: &Service, query: &str) -> Vec<AuditEntry> {
    let reply = service.get(&format!("{ENTRIES}{query}"));
    assert_eq!(reply.status(), 200);
    read_entries(&reply.text().unwrap())
}

fn filled(service: &Service, session: &str, content: &[u8]) {
    service.begin(session);
    service.add(session, 0, &content.chunks(100_000).collect::<Vec<_>>());
    service.client.seal(session, &SealSession::default()).unwrap();
}

#[test]
fn every_read_every_change_and_every_refusal_is_an_entry() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("ann", "write", ""), ("bob", "read", "prefix:bob-"), ("eve", "audit", "")];
    let service = guarded(folder.path(), &more);
    let (ann, bob, eve) =
        (caller(&service, "ann"), caller(&service, "bob"), caller(&service, "eve"));
    assert_eq!(ann.post("/api/v1/sessions", &json!({ "session_id": "ann-1" })).0, 201);
    for index in 0..5 {
        let path = format!("/api/v1/sessions/ann-1/chunks/{index}");
        assert_eq!(ann.put(&path, &noise(index, 1_000)).0, 201);
    }
    assert_eq!(ann.post("/api/v1/sessions/ann-1/seal", &json!({})).0, 200);
    assert_eq!(ann.get("/api/v1/sessions/ann-1/data").0, 200);
    let first = blake3::hash(&noise(0, 1_000)).to_string();
    assert_eq!(ann.get(&format!("/api/v1/chunks/{first}/raw")).0, 200);
    assert_eq!(ann.post("/api/v1/chunks/get", &json!({ "chunks": [first] })).0, 200);
    // Looking is no reading.
    assert_eq!(ann.get("/api/v1/sessions/ann-1").0, 200);
    assert_eq!(bob.get("/api/v1/sessions/ann-1/data").0, 404);
    assert_eq!(bob.get("/api/v1/sessions/ann-1").0, 404);
    assert_eq!(eve.get("/api/v1/sessions/ann-1/data").0, 403);
    assert_eq!(service.get("/api/v1/sessions?token=secret").status(), 401);

    let all = entries(&eve, "");
    let told: Vec<_> = all
        .iter()
        .map(|entry| {
            let who = entry.caller.as_deref().unwrap_or("-");
            format!(
                "{} {who} {} {} {:?}",
                entry.kind.as_str(),
                entry.method,
                entry.target,
                (entry.status, entry.ended.as_str(), entry.bytes)
            )
        })
        .collect();
    let raw = format!("/api/v1/chunks/{first}/raw");
    let wanted = [
        "change ann POST /api/v1/sessions (Some(201), \"whole\", Some(22))".to_owned(),
        "change ann PUT /api/v1/sessions/ann-1/chunks/0 (Some(201), \"whole\", Some(1000))".into(),
        "change ann POST /api/v1/sessions/ann-1/seal (Some(200), \"whole\", Some(2))".into(),
        "read ann GET /api/v1/sessions/ann-1/data (Some(200), \"whole\", Some(5000))".into(),
        format!("read ann GET {raw} (Some(200), \"whole\", Some(1000))"),
        "read ann POST /api/v1/chunks/get (Some(200), \"whole\", Some(1004))".into(),
        "read bob GET /api/v1/sessions/ann-1/data (Some(404), \"refused\", None)".into(),
        "refusal bob GET /api/v1/sessions/ann-1 (Some(404), \"refused\", None)".into(),
        "refusal eve GET /api/v1/sessions/ann-1/data (Some(403), \"refused\", None)".into(),
        // What stands in an address may be a token.
        "refusal - GET /api/v1/sessions (Some(401), \"refused\", None)".into(),
        "read eve GET /api/v1/audit/entries (None, \"begun\", None)".into(),
    ];
    assert_eq!(told, wanted);
    assert!(all.iter().all(|entry| entry.from == "127.0.0.1"), "{all:?}");
    // By who, by session and by time; chunks that are read by themselves are the session's, too.
    let own = entries(&eve, "?caller=eve");
    assert!(own.iter().any(|entry| entry.target == ENTRIES && entry.ended == AuditEnd::Whole));
    let targets = |query: &str| -> Vec<String> {
        entries(&eve, query).into_iter().map(|entry| entry.target).collect()
    };
    assert_eq!(targets("?caller=bob").len(), 2);
    let about = targets("?session=ann-1");
    assert_eq!(about.len(), 9, "{about:?}");
    assert!(about.contains(&raw) && about.contains(&"/api/v1/chunks/get".to_owned()), "{about:?}");
    assert_eq!(targets("?refused=true&caller=eve").len(), 1);
    assert!(targets("?to=2020-01-01T00:00:00Z").is_empty());
    let from = &all[4].at;
    let later = entries(&eve, &format!("?caller=ann&from={}", from.replace('+', "%2B")));
    assert_eq!(later.len(), 2, "{later:?}");
    for (query, name) in [("?who=x", "who"), ("?from=yesterday", "from"), ("?session=a/b", "a/b")] {
        let (status, document) = eve.get(&format!("{ENTRIES}{query}"));
        assert_eq!(status, 422, "{document}");
        assert!(document["detail"].to_string().contains(name), "{document}");
    }
}

#[test]
fn what_many_send_is_put_together_and_told_when_the_service_ends() {
    let folder = tempfile::tempdir().unwrap();
    let service = noting(folder.path());
    for index in 0..50_u64 {
        let url = service.url(&format!("/api/v1/sessions/s/chunks/{index}"));
        let put = service.http.put(url).header("content-type", "application/octet-stream");
        assert_eq!(put.body(noise(index, 100)).send().unwrap().status(), 201);
    }
    service.wait(|| (noted(&service, "?session=s").len() == 1).then_some(()));
    service.stop();
    let service = noting(folder.path());
    let sums = noted(&service, "?session=s");
    assert_eq!(sums.len(), 2);
    assert_eq!((sums[1].times, sums[1].bytes), (Some(49), Some(4_900)));
    assert_eq!(sums[1].target, "/api/v1/sessions/{session_id}/chunks/{index}");
    assert!(sums[1].until.is_some());
}

#[test]
fn a_download_that_breaks_off_is_noted_with_what_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let service = noting(folder.path());
    let content = noise(7, 30_000_000);
    filled(&service, "s", &content);
    let at = service.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET /api/v1/sessions/s/data HTTP/1.1\r\nhost: {at}\r\n\r\n").unwrap();
    let mut some = [0; 65_536];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let cut = service.wait(|| {
        let found = noted(&service, "?session=s");
        found.into_iter().find(|entry| entry.ended == AuditEnd::Cut)
    });
    assert!(cut.bytes.is_some_and(|bytes| bytes < 30_000_000), "{cut:?}");
    let begun = noted(&service, "?session=s").into_iter().find(|e| e.ended == AuditEnd::Begun);
    let begun = begun.unwrap();
    assert_eq!((&begun.request_id, begun.bytes), (&cut.request_id, None));
    // A part, and all of it.
    let part = service.http.get(service.url("/api/v1/sessions/s/data"));
    let part = part.header("range", "bytes=10-19").send().unwrap();
    assert_eq!(part.bytes().unwrap(), content[10..20]);
    assert_eq!(bytes(service.client.data("s", None)), content);
    let found = noted(&service, "?session=s");
    let part = found.iter().find(|entry| entry.status == Some(206)).unwrap();
    assert_eq!((part.range.as_deref(), part.bytes), (Some("10-19/30000000"), Some(10)));
    let whole = found.iter().rfind(|entry| entry.kind == AuditKind::Read).unwrap();
    assert_eq!((whole.ended, whole.bytes), (AuditEnd::Whole, Some(30_000_000)));
}

#[test]
fn its_sessions_are_nobody_elses_to_begin_fill_or_remove() {
    let folder = tempfile::tempdir().unwrap();
    let service = guarded(
        folder.path(),
        &[("ann", "read", ""), ("eve", "audit", ""), ("nell", "read,audit", "prefix:lucid.")],
    );
    let (admin, ann, eve) =
        (caller(&service, "admin"), caller(&service, "ann"), caller(&service, "eve"));
    assert_eq!(ann.get("/api/v1/sessions/none/data").0, 404);
    let (status, page) = eve.get("/api/v1/audit");
    assert_eq!(status, 200);
    let log = page["items"][0]["session_id"].as_str().unwrap().to_owned();
    assert!(log.starts_with("lucid.audit.2"), "{log}");
    assert_eq!(page["items"][0]["status"], "active");
    for (method, path, body) in [
        ("POST", "/api/v1/sessions".to_owned(), Some(json!({ "session_id": "lucid.mine" }))),
        ("POST", format!("/api/v1/sessions/{log}/seal"), Some(json!({}))),
        (
            "POST",
            format!("/api/v1/sessions/{log}/references"),
            Some(
                json!({ "start_index": 0, "chunks": [{ "chunk_id": "0".repeat(64), "length": 1 }] }),
            ),
        ),
        ("DELETE", format!("/api/v1/sessions/{log}"), None),
    ] {
        let body = body.map(|body| body.to_string().into_bytes());
        let kind = if body.is_some() { "application/json" } else { "" };
        let (status, document) = admin.ask(method, &path, kind, body.unwrap_or_default());
        assert_eq!(status, 403, "{method} {path}: {document}");
        assert!(document["detail"].to_string().contains("lucid."), "{document}");
    }
    assert_eq!(admin.put("/api/v1/sessions/lucid.mine/chunks/0", b"x").0, 403);
    let append = format!("/api/v1/sessions/{log}/append");
    let (status, _) = admin.ask("POST", &append, "application/octet-stream", b"x".to_vec());
    assert!([403, 409, 422].contains(&status), "{status}");
    // Who may read everything else may not read it.
    for path in ["/data", "/chunks", "/files"] {
        let (status, document) = ann.get(&format!("/api/v1/sessions/{log}{path}"));
        assert_eq!(status, 403, "{path} {document}");
        assert!(document["detail"].to_string().contains("audit"), "{document}");
    }
    assert_eq!(ann.get(&format!("/api/v1/sessions/{log}/proof?range=0-9")).0, 403);
    let (writer, narrowed) = (caller(&service, "write"), caller(&service, "nell"));
    let chunk = "0".repeat(64);
    for who in [&ann, &writer, &narrowed] {
        for path in [
            format!("/api/v1/sessions/{log}/data"),
            format!("/api/v1/chunks?session_id={log}"),
            format!("/api/v1/chunks/{chunk}?session_id={log}"),
            format!("/api/v1/chunks/{chunk}/raw?session_id={log}"),
            format!("/api/v1/chunks/{chunk}/metadata?session_id={log}"),
        ] {
            let (status, document) = who.get(&path);
            assert_eq!(status, 403, "{path} {document}");
        }
        let wanted = json!({ "session_id": log, "chunks": [chunk] });
        assert_eq!(who.post("/api/v1/chunks/get", &wanted).0, 403);
    }
    let references = json!({ "start_index": 0, "chunks": [{ "chunk_id": chunk, "length": 1 }] });
    for of in [log.as_str(), "lucid.audit.2020-01-01.deadbeef"] {
        let path = format!("/api/v1/sessions/{of}/references");
        assert_eq!(writer.post(&path, &references).0, 403, "{of}");
    }
    assert_eq!(ann.get("/api/v1/audit").0, 403);
    assert_eq!(ann.get(&format!("/api/v1/audit/sessions/{log}")).0, 403);
    let (status, text) = eve.get(&format!("/api/v1/audit/sessions/{log}"));
    assert_eq!(status, 200);
    assert!(text.as_str().unwrap().ends_with("}\n"), "{text}");
    let (status, document) = eve.get("/api/v1/audit/sessions/other");
    assert_eq!((status, document["detail"].to_string().contains("read log")), (422, true));
    // A token that is narrowed is for its sessions, and the log is of all.
    assert_eq!(caller(&service, "audit-narrowed").get("/api/v1/audit").0, 403);
}

#[test]
fn each_day_has_a_session_that_is_sealed_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let evening = Timestamp::parse("2026-11-29T23:59:30Z").unwrap();
    let clock = Clock::by_hand(evening);
    let settings = [("LUCID_READ_LOG", "on")];
    let service = Service::start_by_with(&clock, folder.path(), &settings);
    filled(&service, "s", b"content");
    assert_eq!(service.get("/api/v1/sessions/s/data").status(), 200);
    let days = || -> Vec<(String, String)> {
        let page: Value =
            serde_json::from_str(&service.get("/api/v1/audit").text().unwrap()).unwrap();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| (text(item, "session_id")[..22].to_owned(), text(item, "status")))
            .collect()
    };
    let is = |found: &[(String, String)], wanted: &[(&str, &str)]| {
        found.iter().map(|(id, status)| (&**id, &**status)).eq(wanted.iter().copied())
    };
    let first = "lucid.audit.2026-11-29";
    assert!(is(&days(), &[(first, "active")]), "{:?}", days());
    let first_id = full_id(&service, 0);
    clock.turn(evening.plus_seconds(60));
    // By itself, even if nothing is asked.
    service.wait(|| {
        let (vault, id) = (&service.app().opened.vault, first_id.parse().unwrap());
        get_session(vault, &id).unwrap().sealed.map(drop)
    });
    let second = "lucid.audit.2026-11-30";
    service.wait(|| is(&days(), &[(first, "sealed"), (second, "active")]).then_some(()));
    // The clock goes back, to a day that is sealed.
    clock.turn(evening);
    let found = service.wait(|| {
        let found = days();
        (found.len() == 3 && found.iter().filter(|(_, status)| status == "sealed").count() == 2)
            .then_some(found)
    });
    // The two of the first day began at the same moment.
    let mut found = found;
    found.sort();
    assert!(is(&found, &[(first, "active"), (first, "sealed"), (second, "sealed")]), "{found:?}");
    let verified = service.client.verify_session(&full_id(&service, 0), None).unwrap();
    assert!(verified.verified, "{verified:?}");
    service.stop();
    // One that a service left open is sealed by the next, on another day.
    clock.turn(evening.plus_seconds(3 * 86_400));
    let service = Service::start_by_with(&clock, folder.path(), &settings);
    service.wait(|| {
        let page: Value =
            serde_json::from_str(&service.get("/api/v1/audit").text().unwrap()).unwrap();
        let items = page["items"].as_array().unwrap();
        let sealed = items.iter().filter(|item| item["status"] == "sealed").count();
        (sealed == 3 && items.len() == 4).then_some(())
    });
}

fn full_id(service: &Service, place: usize) -> String {
    let page: Value = serde_json::from_str(&service.get("/api/v1/audit").text().unwrap()).unwrap();
    page["items"][place]["session_id"].as_str().unwrap().to_owned()
}

#[test]
fn an_entry_is_proved_like_any_recording() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let clock = Clock::by_hand(Timestamp::parse("2026-11-29T23:59:30Z").unwrap());
    let settings = [("LUCID_READ_LOG", "on"), ("BLOCK_MANAGER_URL", &engine.url())];
    let service = Service::start_by_with(&clock, folder.path(), &settings);
    filled(&service, "s", b"content");
    assert_eq!(service.get("/api/v1/sessions/s/data").status(), 200);
    let log = full_id(&service, 0);
    clock.pass(Duration::from_secs(60));
    let anchor = service.wait_anchored(&log).anchor.unwrap();
    let kept = service.get(&format!("/api/v1/audit/sessions/{log}")).text().unwrap();
    let at = kept.find("{\"at\"").unwrap()..kept.find('\n').unwrap();
    let entry = &kept[at.clone()];
    let range = ProofQuery::Range { first: at.start as u64, last: at.end as u64 - 1 };
    let bundle = service.client.proof(&log, &range).unwrap();
    let keys = [anchor.trust.block.unwrap(), anchor.trust.recorder.unwrap()];
    let trust = keys.map(|key| Trust::Key(key.parse::<PublicKey>().unwrap()));
    let report = check(&bundle, Some(&mut entry.as_bytes()), &trust).unwrap();
    assert_eq!(report.verdict, CheckVerdict::Proved, "{report:?}");
}

#[test]
fn without_credentials_nothing_is_noted_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    filled(&service, "s", b"content");
    assert_eq!(service.get("/api/v1/sessions/s/data").status(), 200);
    assert!(noted(&service, "").is_empty());
    service.stop();
    let folder = tempfile::tempdir().unwrap();
    let tokens = crate::access::list(folder.path());
    let settings = [("LUCID_TOKENS_FILE", tokens.to_str().unwrap()), ("LUCID_READ_LOG", "off")];
    let service = Service::start_with(&folder.path().join("data"), &settings);
    assert_eq!(problem(service.get("/api/v1/sessions")).0, 401);
    assert!(entries(&caller(&service, "admin"), "").is_empty());
}
