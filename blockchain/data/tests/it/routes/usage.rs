//! What sessions take in the store, and what their removal frees.

use lucid_api::v1::sessions::{CreateSession, SessionSource};
use lucid_api::v1::usage::{UsageBy, UsageLine, UsageQuery};
use serde_json::json;

use crate::sample::{id, noise};
use crate::service::{Service, named, problem};
use crate::sight::{As, caller, guarded};

fn read(text: &str) -> Vec<UsageLine> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn usage(service: &Service, query: &UsageQuery) -> Vec<UsageLine> {
    let answer = service.client.usage(query).unwrap();
    read(&std::io::read_to_string(answer).unwrap())
}

fn by(by: UsageBy, sessions: &[&str]) -> UsageQuery {
    let session_id = sessions.iter().map(|id| id.to_string()).collect();
    UsageQuery { by: Some(by), session_id }
}

#[test]
fn a_chunk_counts_once_for_each_group_and_is_freed_by_the_last_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let [own, shared, kept] = [1, 2, 3].map(|seed| noise(seed, 10_000));
    for (id, user, host, chunks) in [
        // A chunk that comes twice in a session is kept once.
        ("a", "ann", "h", vec![&own, &shared, &own]),
        ("b", "bob", "h", vec![&shared]),
        ("c", "ann", "", vec![&shared, &kept]),
    ] {
        let source = Some(SessionSource { host: host.into(), ..SessionSource::default() });
        let user_id = Some(user.to_owned());
        let wanted = CreateSession { user_id, source, ..named(id) };
        service.client.create_session(&wanted).unwrap();
        let chunks: Vec<&[u8]> = chunks.into_iter().map(Vec::as_slice).collect();
        service.add(id, 0, &chunks);
    }
    // One is kept until a client deletes it, regardless of who else refers to it.
    let body = json!({ "data": base64(&kept) });
    assert_eq!(service.post("/api/v1/chunks", body).status(), 201);

    let all = usage(&service, &UsageQuery::default());
    let of = |name: &str| all.iter().find(|line| line.name.as_deref() == Some(name)).unwrap();
    let numbers = |line: &UsageLine| (line.content_bytes, line.chunks, line.chunk_bytes);
    assert_eq!(numbers(of("a")), (30_000, 2, 20_000));
    assert_eq!(numbers(of("b")), (10_000, 1, 10_000));
    assert_eq!(numbers(of("c")), (20_000, 2, 20_000));
    let freed = |line: &UsageLine| line.freed_chunks.unwrap();
    assert_eq!(["a", "b", "c"].map(|name| freed(of(name))), [1, 0, 0]);
    let total = all.last().unwrap();
    assert_eq!((total.name.as_ref(), total.sessions), (None, 3));
    assert_eq!((numbers(total), freed(total)), ((60_000, 3, 30_000), 2));
    // Noise takes what it is, and the header of its record.
    let header = (total.stored_bytes - 30_000) / 3;
    assert_eq!(total.stored_bytes, 30_000 + 3 * header);
    assert_eq!(total.freed_bytes, Some(20_000 + 2 * header));

    // Groups, and a part of the sessions: what is outside keeps what it has.
    let users = usage(&service, &by(UsageBy::User, &[]));
    let told = |lines: &[UsageLine]| -> Vec<(String, u64, u64, u64)> {
        let told = |line: &UsageLine| {
            let name = line.name.clone().unwrap_or_else(|| "*".to_owned());
            (name, line.sessions, line.chunks, freed(line))
        };
        lines.iter().map(told).collect()
    };
    let rows = |rows: &[(&str, u64, u64, u64)]| -> Vec<(String, u64, u64, u64)> {
        rows.iter().map(|(name, a, b, c)| (name.to_string(), *a, *b, *c)).collect()
    };
    assert_eq!(told(&users), rows(&[("ann", 2, 3, 1), ("bob", 1, 1, 0), ("*", 3, 3, 2)]));
    let hosts = usage(&service, &by(UsageBy::Host, &[]));
    assert_eq!(told(&hosts), rows(&[("", 1, 2, 0), ("h", 2, 2, 1), ("*", 3, 3, 2)]));
    let two = usage(&service, &by(UsageBy::Session, &["b", "a", "b"]));
    assert_eq!(told(&two), rows(&[("b", 1, 1, 0), ("a", 1, 2, 1), ("*", 2, 2, 1)]));
    let three = usage(&service, &by(UsageBy::User, &["c", "b", "a"]));
    assert_eq!(three, users, "both ways of looking say the same");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn what_is_no_such_question_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (query, status, name) in [
        ("by=tag", 422, "tag"),
        ("of=all", 422, "of"),
        ("session_id=none", 404, "none"),
        ("session_id=a%20b", 422, "a b"),
    ] {
        let (refused, _, document) = problem(service.get(&format!("/api/v1/usage?{query}")));
        assert_eq!(refused, status, "{query}: {document}");
        assert!(document.to_string().contains(name), "{query}: {document}");
    }
}

/// Who sees some sessions is told what these take, and nothing that depends on others.
#[test]
fn a_narrowed_caller_learns_nothing_of_what_others_have() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("ann", "write", "prefix:ann-"), ("bob", "write", "prefix:bob-")];
    let service = guarded(folder.path(), &more);
    let (ann, bob, admin) =
        (caller(&service, "ann"), caller(&service, "bob"), caller(&service, "admin"));
    let (own, common) = (noise(1, 5_000), noise(2, 5_000));
    let keep = |who: &As<'_>, session: &str, chunks: &[&[u8]]| {
        assert_eq!(who.post("/api/v1/sessions", &json!({ "session_id": session })).0, 201);
        assert_eq!(who.send(chunks).0, 200);
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| json!({ "chunk_id": id(chunk), "length": chunk.len() }))
            .collect();
        let path = format!("/api/v1/sessions/{session}/references");
        let added = who.post(&path, &json!({ "start_index": 0, "chunks": chunks }));
        assert_eq!(added.0, 200, "{added:?}");
    };
    let asked = |who: &As<'_>| {
        let (status, answer) = who.get("/api/v1/usage");
        assert_eq!(status, 200, "{answer}");
        read(answer.as_str().unwrap())
    };
    keep(&ann, "ann-1", &[&own, &common]);
    let before = asked(&ann);
    let names: Vec<_> = before.iter().map(|line| line.name.as_deref()).collect();
    assert_eq!(names, [Some("ann-1"), None]);
    assert!(before.iter().all(|line| line.freed_bytes.is_none() && line.freed_chunks.is_none()));
    assert_eq!(before[0].chunk_bytes, 10_000);
    keep(&bob, "bob-1", &[&common]);
    assert_eq!(asked(&ann), before, "that another has a chunk, too, is not told");
    assert_eq!(ann.get("/api/v1/usage?session_id=bob-1").0, 404);
    let all = asked(&admin);
    assert!(all.iter().any(|line| line.name.as_deref() == Some("bob-1")), "{all:?}");
    let of_ann = all.iter().find(|line| line.name.as_deref() == Some("ann-1")).unwrap();
    assert_eq!(of_ann.freed_chunks, Some(1));
}
