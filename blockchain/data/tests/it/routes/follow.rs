//! Live sessions that are followed.

use std::io::Read;
use std::time::Duration;

use lucid_api::client::{Append, Download};
use lucid_api::v1::audit::{AuditEnd, AuditEntry};
use lucid_api::v1::removal::RemoveQuery;
use lucid_api::v1::sessions::SealSession;
use lucid_data_chain::app::FOLLOWERS_MAX;
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::access::token;
use crate::sample::{folder, noise};
use crate::service::{Service, problem};
use crate::sight::{caller, guarded};

fn append(service: &Service, session: &str, offset: usize, bytes: &[u8]) {
    let how = Append { offset: offset as u64, ..Append::default() };
    service.client.append(session, &how, bytes.to_vec()).unwrap();
}

/// So many of the bytes that come next; it waits for them.
fn next(coming: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    coming.read_exact(&mut bytes).unwrap();
    bytes
}

/// What comes until the reply ends well, or else why it broke off.
fn rest(mut coming: impl Read) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    coming.read_to_end(&mut bytes).map(|_| bytes)
}

fn follow(service: &Service, session: &str, from: u64) -> Download {
    service.client.follow(session, from).unwrap()
}

#[test]
fn what_comes_is_given_as_it_comes_until_the_session_is_sealed() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    append(&service, "s", 0, b"there already, ");
    let (mut all, mut new) = (follow(&service, "s", 0), follow(&service, "s", 15));
    assert_eq!(next(&mut all, 15), b"there already, ");
    let mut offset = 15;
    // Small pieces that stay uncut, and large ones of which a part is cut at once.
    for (round, length) in [3, 1, 900_000, 2, 5_000_000, 70_000, 1].into_iter().enumerate() {
        let piece = noise(round as u64, length);
        append(&service, "s", offset, &piece);
        offset += length;
        for coming in [&mut all, &mut new] {
            assert!(next(coming, length) == piece, "round {round}");
        }
    }
    // From the middle of what is not cut yet, and of what is.
    let whole = crate::service::bytes(service.client.data("s", None));
    for from in [offset as u64 - 1, offset as u64 - 70_000, 2_000_000, 15] {
        let mut coming = follow(&service, "s", from);
        assert!(next(&mut coming, offset - from as usize) == whole[from as usize..], "{from}");
    }
    service.client.seal("s", &SealSession::default()).unwrap();
    for coming in [all, new, follow(&service, "s", offset as u64)] {
        assert_eq!(rest(coming).unwrap(), b"");
    }
    assert!(rest(follow(&service, "s", 0)).unwrap() == whole, "a sealed one ends at once");
}

#[test]
fn what_cannot_be_followed_is_refused_in_a_sentence() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    service.archive("tree", &folder(&[(b"a", b"1")]), 100);
    for (path, status, code, sentence) in [
        ("none/follow", 404, "not_found", "there is no session none"),
        ("tree/follow", 409, "kind", "a recording is what is followed"),
        ("s/follow?from=1", 422, "invalid", "session s has 0 bytes, and byte 1 is asked for"),
        ("s/follow?from=-1", 422, "invalid", "from"),
        ("s/follow?to=1", 422, "invalid", "to"),
    ] {
        let reply = service.get(&format!("/api/v1/sessions/{path}"));
        let is = reply.status();
        let told: Value = serde_json::from_str(&reply.text().unwrap()).unwrap();
        assert_eq!((is.as_u16(), &told["code"]), (status, &json!(code)), "{path}: {told}");
        assert!(told["detail"].as_str().unwrap().contains(sentence), "{path}: {told}");
    }
}

#[test]
fn a_reply_about_a_session_that_is_gone_or_of_a_service_that_ends_breaks_off() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    for session in ["gone", "open"] {
        service.begin(session);
        append(&service, session, 0, b"bytes");
    }
    let (mut gone, mut open) = (follow(&service, "gone", 0), follow(&service, "open", 0));
    for coming in [&mut gone, &mut open] {
        assert_eq!(next(coming, 5), b"bytes");
    }
    service.client.remove_session("gone", &RemoveQuery::default()).unwrap();
    rest(gone).unwrap_err();
    assert_eq!(problem(service.get("/api/v1/sessions/gone/follow")).0, 410);
    // A follower is no work that the end waits for.
    service.stop();
    rest(open).unwrap_err();
}

#[test]
fn so_many_follow_and_no_more_and_one_that_leaves_makes_room() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    let path = "/api/v1/sessions/s/follow";
    let mut following: Vec<Response> = (0..FOLLOWERS_MAX).map(|_| service.get(path)).collect();
    let (status, code, detail) = problem(service.get(path));
    assert_eq!((status, code.as_str()), (429, "busy"), "{detail}");
    drop(following.pop());
    let again = service.wait(|| Some(service.get(path)).filter(|reply| reply.status() == 200));
    following.push(again);
    append(&service, "s", 0, b"for all");
    for coming in &mut following {
        assert_eq!(next(coming, 7), b"for all");
    }
    let figures = service.get("/metrics").text().unwrap();
    let taken = r#"lucid_http_places_taken{service="lucid-data-chain",work="followers"} 128"#;
    assert!(figures.contains(taken), "{figures}");
}

#[test]
fn a_follower_sees_what_its_token_does_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("ann", "write", ""), ("bob", "read", "prefix:bob-"), ("eve", "read", "")];
    let service = guarded(folder.path(), &more);
    let ann = caller(&service, "ann");
    for session in ["bob-1", "ann-1"] {
        assert_eq!(ann.post("/api/v1/sessions", &json!({ "session_id": session })).0, 201);
    }
    let follow = |name: &str, session: &str| {
        let path = format!("/api/v1/sessions/{session}/follow");
        let request = service.http.get(service.url(&path)).bearer_auth(token(name).expose());
        request.timeout(Duration::from_secs(60)).send().unwrap()
    };
    assert_eq!(follow("bob", "ann-1").status(), 404);
    assert_eq!(follow("append", "ann-1").status(), 403);
    let (mut bob, mut eve) = (follow("bob", "bob-1"), follow("eve", "bob-1"));
    let append = |offset: &str, bytes: &str| {
        let url = service.url("/api/v1/sessions/bob-1/append");
        let request = service.http.post(url).bearer_auth(token("ann").expose());
        let request = request.header("upload-offset", offset.to_owned());
        let request = request.header("content-type", "application/octet-stream");
        assert_eq!(request.body(bytes.to_owned()).send().unwrap().status(), 200);
    };
    append("0", "for both");
    for coming in [&mut bob, &mut eve] {
        assert_eq!(next(coming, 8), b"for both");
    }
    // Taken away while nothing comes: it ends all the same.
    let list = folder.path().join("list-of-tokens");
    let text = std::fs::read_to_string(&list).unwrap();
    let without: String = text.lines().filter(|line| !line.starts_with("eve ")).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    );
    std::fs::write(&list, without).unwrap();
    rest(eve).unwrap_err();
    append("8", " and on");
    assert_eq!(next(&mut bob, 7), b" and on");
    assert_eq!(ann.post("/api/v1/sessions/bob-1/seal", &json!({})).0, 200);
    assert_eq!(rest(bob).unwrap(), b"");

    // Who followed, and how it ended.
    let ended = || {
        let (_, text) = caller(&service, "admin").get("/api/v1/audit/entries?session=bob-1");
        let lines = text.as_str().unwrap().lines().filter(|line| !line.is_empty());
        let all = lines.map(|line| serde_json::from_str::<AuditEntry>(line).unwrap());
        let followed = all.filter(|entry| entry.target.ends_with("/follow"));
        let told = followed.map(|entry| (entry.caller.unwrap(), entry.ended, entry.bytes));
        Some(told.collect::<Vec<_>>()).filter(|told| told.len() >= 4)
    };
    let mut told = service.wait(ended);
    told.sort_by_key(|(name, ended, _)| (name.clone(), *ended != AuditEnd::Begun));
    let (bob, eve) = ("bob".to_owned(), "eve".to_owned());
    assert_eq!(
        told,
        [
            (bob.clone(), AuditEnd::Begun, None),
            (bob, AuditEnd::Whole, Some(15)),
            (eve.clone(), AuditEnd::Begun, None),
            (eve, AuditEnd::Cut, Some(8)),
        ]
    );
}
