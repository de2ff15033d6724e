//! Who is let in, and what a caller sees that is narrowed to some sessions.

use std::collections::BTreeSet;

use lucid_api::access::Narrowing;
use lucid_api::access::TokenEntry;
use lucid_data_chain::routes;
use serde_json::{Value, json};

use crate::access::{HS256, SECRET, jwt, list, token};
use crate::every_route::wrong_answers;
use crate::service::Service;

/// A service that knows the tokens of [`list`], and these besides: name, role, and what it is narrowed to.
pub fn guarded(folder: &std::path::Path, more: &[(&str, &str, &str)]) -> Service {
    let tokens = list(folder);
    let mut text = std::fs::read_to_string(&tokens).unwrap();
    for (name, role, narrowing) in more {
        let narrowing: Option<Narrowing> =
            Some(*narrowing).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
        let entry = TokenEntry {
            name: name.parse().unwrap(),
            roles: role.parse().unwrap(),
            hash: token(name).hash(),
            narrowing,
            expires: None,
        };
        text.push_str(&format!("{entry}\n"));
    }
    std::fs::write(&tokens, text).unwrap();
    let settings = [("LUCID_TOKENS_FILE", tokens.to_str().unwrap()), ("LUCID_JWT_SECRET", SECRET)];
    Service::start_with(&folder.join("data"), &settings)
}

/// A caller of a service.
pub struct As<'a>(pub &'a Service, String);

impl As<'_> {
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
        let As(service, bearer) = self;
        let request = service.http.request(method.parse().unwrap(), service.url(path));
        let request = request.bearer_auth(bearer);
        let request = match kind {
            "" => request,
            kind => request.header("content-type", kind).body(body),
        };
        let reply = request.send().unwrap();
        let status = reply.status().as_u16();
        let text = reply.bytes().unwrap();
        let value = serde_json::from_slice(&text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned()));
        (status, value)
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "", Vec::new())
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, "application/json", body.to_string().into_bytes())
    }

    pub fn put(&self, path: &str, bytes: &[u8]) -> (u16, Value) {
        self.ask("PUT", path, "application/octet-stream", bytes.to_vec())
    }

    /// Sends chunks in a batch.
    pub fn send(&self, chunks: &[&[u8]]) -> (u16, Value) {
        let mut body = Vec::new();
        for chunk in chunks {
            body.extend_from_slice(&lucid_api::framing::header(chunk.len()).unwrap());
            body.extend_from_slice(chunk);
        }
        self.ask("POST", "/api/v1/chunks/batch", lucid_api::framing::CONTENT_TYPE, body)
    }
}

pub fn caller<'a>(service: &'a Service, name: &str) -> As<'a> {
    As(service, token(name).expose().to_owned())
}

fn id(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

#[test]
fn every_route_lets_in_whom_the_table_says_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let service = guarded(folder.path(), &[]);
    for open in ["/", "/health", "/api/v1/health", "/openapi.json", "/docs/"] {
        assert_eq!(service.get(open).status().as_u16(), 200, "{open}");
    }
    for hidden in ["/metrics", "/api/v1/nothing", "/api/v1/query", "/api/v1/data-chain/status"] {
        assert_eq!(service.get(hidden).status().as_u16(), 401, "{hidden}");
        assert_ne!(caller(&service, "admin").get(hidden).0, 401, "{hidden}");
    }
    assert_eq!(caller(&service, "append-narrowed").get("/api/v1/nothing").0, 404);
    let wrong = wrong_answers(&service.http, &service.base, &routes::access());
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn what_is_no_credential_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let service = guarded(folder.path(), &[]);
    let status = |headers: &[(&str, &str)]| {
        let request = service.http.get(service.url("/api/v1/sessions"));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let reply = request.send().unwrap();
        let status = reply.status().as_u16();
        let text = reply.text().unwrap();
        let detail = serde_json::from_str(&text).map(|reply: Value| reply["detail"].to_string());
        (status, detail.unwrap_or(text))
    };
    let admin = format!("Bearer {}", token("admin").expose());
    for (headers, wanted, why) in [
        (vec![], 401, "Authorization: Bearer"),
        (vec![("authorization", "Basic YTpi")], 401, "not `Bearer`"),
        (vec![("authorization", "Bearer")], 401, "not `Bearer`"),
        (vec![("authorization", "Bearer \u{e9}")], 401, "not `Bearer`"),
        (
            vec![("authorization", admin.as_str()), ("authorization", admin.as_str())],
            400,
            "several",
        ),
        (vec![("authorization", "Bearer a.b.c")], 401, "JWT cannot be read"),
    ] {
        let (status, detail) = status(&headers);
        assert!(status == wanted && detail.contains(why), "{headers:?}: {status} {detail}");
    }
    let in_query = format!("/api/v1/sessions?token={}", token("admin").expose());
    assert_eq!(service.get(&in_query).status().as_u16(), 401);
    let long = "x".repeat(1 << 20);
    let reply =
        service.http.get(service.url("/api/v1/sessions")).header("authorization", long).send();
    assert!(reply.is_err() || reply.unwrap().status().as_u16() == 431);
    // Any scheme's case, and the service stands.
    let lower = admin.replace("Bearer", "bearer");
    assert_eq!(status(&[("authorization", lower.as_str())]).0, 200);
}

/// The sessions and chunks of one user, for a caller of another.
#[test]
fn what_is_anothers_can_be_neither_seen_nor_taken() {
    let folder = tempfile::tempdir().unwrap();
    let more = [
        ("ann", "write", "prefix:ann-,user:ann"),
        ("bob", "write", "prefix:bob-"),
        ("auditor", "audit", "prefix:ann-"),
    ];
    let service = guarded(folder.path(), &more);
    let (ann, bob) = (caller(&service, "ann"), caller(&service, "bob"));
    let (secret, common) = (b"what only ann has".as_slice(), b"what both have".as_slice());
    for (who, chunks) in [(&ann, vec![secret, common]), (&bob, vec![common])] {
        let name = if std::ptr::eq(who, &ann) { "ann-1" } else { "bob-1" };
        assert_eq!(who.post("/api/v1/sessions", &json!({ "session_id": name })).0, 201);
        assert_eq!(who.send(&chunks).0, 200);
        let references: Vec<Value> = chunks
            .iter()
            .map(|chunk| json!({ "chunk_id": id(chunk), "length": chunk.len() }))
            .collect();
        let path = format!("/api/v1/sessions/{name}/references");
        let added = who.post(&path, &json!({ "start_index": 0, "chunks": references }));
        assert_eq!(added.0, 200, "{added:?}");
        assert_eq!(who.post(&format!("/api/v1/sessions/{name}/seal"), &json!({})).0, 200);
    }
    let other = json!({ "session_id": "other", "user_id": "ann" });
    assert_eq!(ann.post("/api/v1/sessions", &other).0, 201, "within by its user");
    // What there is.
    let ids = |who: &As<'_>, path: &str, key: &str, id: &str| -> BTreeSet<String> {
        let (status, page) = who.get(path);
        assert_eq!(status, 200, "{path}: {page}");
        let items = page[key].as_array().unwrap().iter();
        items.map(|item| item[id].as_str().unwrap().to_owned()).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let sessions = "/api/v1/sessions";
    assert_eq!(ids(&ann, sessions, "items", "session_id"), set(&["ann-1", "other"]));
    assert_eq!(ids(&bob, sessions, "items", "session_id"), set(&["bob-1"]));
    let documents = "/api/v1/data/sessions";
    for _ in 0..2 {
        // The second time by what is at hand.
        assert_eq!(ids(&ann, documents, "items", "id"), set(&["ann-1", "other"]));
        assert_eq!(ids(&bob, documents, "items", "id"), set(&["bob-1"]));
    }
    let counted = bob.post("/api/v1/query/sessions", &json!({ "limit": 1, "total": true }));
    assert_eq!((counted.0, &counted.1["total"]), (200, &json!(1)));
    // Of a session that is not seen, what is told of one that there is not.
    for path in ["", "/data", "/manifest", "/anchor", "/chunks", "/files", "/proof", "/archive.tar"]
    {
        let strange = bob.get(&format!("{sessions}/ann-1{path}"));
        let absent = bob.get(&format!("{sessions}/bob-none{path}"));
        assert_eq!(strange.0, absent.0, "{path}: {strange:?} {absent:?}");
        let word =
            |(_, reply): &(u16, Value), name: &str| reply["detail"].to_string().replace(name, "");
        assert_eq!(word(&strange, "ann-1"), word(&absent, "bob-none"), "{path}");
    }
    // A cursor of one is none of the other.
    let page = ann.get("/api/v1/data/sessions?limit=1");
    let cursor = page.1["next_cursor"].as_str().unwrap();
    assert_eq!(bob.get(&format!("/api/v1/data/sessions?limit=1&cursor={cursor}")).0, 422);
    // A chunk is there for who sees a session that has it, or sent it.
    let chunk = |who: &As<'_>, bytes: &[u8]| who.get(&format!("/api/v1/chunks/{}", id(bytes))).0;
    assert_eq!((chunk(&ann, secret), chunk(&ann, common)), (200, 200));
    assert_eq!((chunk(&bob, secret), chunk(&bob, common)), (404, 200));
    let absent = id(b"nobody has it");
    let asked = json!({ "chunks": [id(secret), id(common), absent] });
    let missing = |who: &As<'_>| who.post("/api/v1/chunks/missing", &asked).1["missing"].clone();
    assert_eq!(missing(&ann), json!([absent]));
    assert_eq!(missing(&bob), json!([id(secret), absent]));
    assert_eq!(bob.post("/api/v1/chunks/get", &json!({ "chunks": [id(secret)] })).0, 404);
    assert_eq!(bob.post("/api/v1/merkle/build", &json!({ "chunk_ids": [id(secret)] })).0, 404);
    assert_eq!(bob.post(&format!("/api/v1/verify/chunk/{}", id(secret)), &json!({})).0, 404);
    let in_anns = format!("/api/v1/chunks/{}?session_id=ann-1", id(common));
    assert_eq!(bob.get(&in_anns).0, 404);
    // Nobody takes what is another's by knowing its hash.
    assert_eq!(bob.post(sessions, &json!({ "session_id": "bob-2" })).0, 201);
    let take =
        json!({ "start_index": 0, "chunks": [{ "chunk_id": id(secret), "length": secret.len() }] });
    let taken = bob.post("/api/v1/sessions/bob-2/references", &take);
    assert_eq!((taken.0, &taken.1["error"]["details"]["missing"]), (409, &json!([id(secret)])));
    // Who has the bytes may send them, and is not told that they were there.
    let sent = bob.send(&[secret]).1["chunks"][0].clone();
    assert_eq!(
        (&sent["deduplicated"], &sent["stored_bytes"]),
        (&json!(false), &json!(secret.len()))
    );
    assert_eq!(missing(&bob), json!([absent]));
    assert_eq!(bob.post("/api/v1/sessions/bob-2/references", &take).0, 200);
    assert_eq!(chunk(&bob, secret), 200);
    // Nor is anything begun, added or removed elsewhere.
    let begun = bob.post(sessions, &json!({ "session_id": "ann-2" }));
    assert_eq!(begun.0, 403, "{begun:?}");
    assert_eq!(bob.post(sessions, &json!({})).0, 403, "an id that is made is not within");
    assert_eq!(bob.put("/api/v1/sessions/ann-9/chunks/0", b"x").0, 404);
    assert_eq!(bob.put("/api/v1/sessions/bob-9/chunks/0", b"x").0, 201);
    let posted = json!({ "session_id": "ann-1", "data": "eA==" });
    assert_eq!(bob.post("/api/v1/chunks", &posted).0, 404);
    // Who sees it by its user is not told of another's session what it is.
    let admin = caller(&service, "admin");
    let theirs = json!({ "session_id": "x", "user_id": "carl", "metadata": { "hidden": "word" } });
    assert_eq!(admin.post(sessions, &theirs).0, 201);
    let clash = ann.post(sessions, &json!({ "session_id": "x", "user_id": "ann" }));
    assert_eq!(clash.0, 409);
    assert!(!clash.1.to_string().contains("word") && !clash.1.to_string().contains("carl"));
    // Evidence without content.
    let auditor = caller(&service, "auditor");
    assert_eq!(auditor.get(&format!("{sessions}/ann-1/proof")).0, 200);
    assert_eq!(auditor.post("/api/v1/verify/session/ann-1", &json!({})).0, 200);
    assert_eq!(auditor.get(&format!("{sessions}/ann-1/proof?chunk=0")).0, 200);
    for content in [
        "data",
        "proof?range=1-2",
        "proof?path=a",
        "proof?from=2020-01-01T00:00:00Z&to=2030-01-01T00:00:00Z",
    ] {
        let refused = auditor.get(&format!("{sessions}/ann-1/{content}"));
        assert_eq!(refused.0, 403, "{content}: {refused:?}");
    }
    assert_eq!(ann.get(&format!("{sessions}/ann-1/proof?range=1-2")).0, 200);
    assert_eq!(auditor.get(&format!("{sessions}/bob-1/proof")).0, 404);
    // By JWT the same.
    let claims = r#"{"sub":"bob","role":"read","sessions":["bob-*"],"exp":4102444800}"#;
    let by_jwt = As(&service, jwt(HS256, claims, SECRET));
    assert_eq!(ids(&by_jwt, sessions, "items", "session_id"), set(&["bob-1", "bob-2", "bob-9"]));
    let none = jwt(HS256, r#"{"sub":"bob","role":"read","sessions":[],"exp":4102444800}"#, SECRET);
    assert_eq!(As(&service, none).get(sessions).0, 401);
}

/// What somebody else said of the same bytes, by the same name, or did with them.
#[test]
fn what_others_said_of_the_same_bytes_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("ann", "write", "prefix:ann-"), ("bob", "write", "prefix:bob-")];
    let service = guarded(folder.path(), &more);
    let admin = caller(&service, "admin");
    let (ann, bob) = (caller(&service, "ann"), caller(&service, "bob"));
    let bytes = b"hi";
    let of = |word: &str| json!({ "data": "aGk=", "metadata": { "patient": word } });
    for (who, word) in [(&admin, "of admin"), (&ann, "of ann")] {
        assert_eq!(who.post("/api/v1/chunks", &of(word)).0, 201);
    }
    let noted = |who: &As<'_>| who.get(&format!("/api/v1/chunks/{}/metadata", id(bytes)));
    assert_eq!(noted(&bob).0, 404);
    let sent = bob.post("/api/v1/chunks", &json!({ "data": "aGk=" }));
    assert_eq!(sent.0, 201, "{sent:?}");
    let (status, told) = noted(&bob);
    assert!(status == 200 && !told.to_string().contains("of a"), "{told}");
    assert_eq!(told["created_at"], sent.1["created_at"], "{told} {sent:?}");
    assert_eq!(noted(&ann).1["metadata"]["patient"], "of ann");
    assert_eq!(noted(&admin).1["metadata"]["patient"], "of admin");
    assert_eq!(bob.post("/api/v1/chunks", &of("of bob")).0, 200);
    // A restart that builds the index anew says the same.
    service.stop();
    std::fs::remove_dir_all(folder.path().join("data/index")).unwrap();
    let service = guarded(folder.path(), &more);
    let (ann, bob) = (caller(&service, "ann"), caller(&service, "bob"));
    let noted = |who: &As<'_>| who.get(&format!("/api/v1/chunks/{}/metadata", id(bytes))).1;
    assert_eq!(noted(&bob), told);
    assert_eq!(noted(&ann)["metadata"]["patient"], "of ann");
    // A name that another uses, too, is no reason to refuse, and says nothing of theirs.
    for (who, session) in [(&ann, "ann-1"), (&bob, "bob-1")] {
        let named = json!({ "session_id": session, "chunk_id": "report.pdf", "data": "eA==" });
        assert_eq!(who.post("/api/v1/chunks", &named).0, 201);
    }
    assert_eq!(bob.post("/api/v1/verify/chunk/report.pdf", &json!({})).0, 200);
    let build = json!({ "chunk_ids": ["report.pdf"] });
    let first = ann.post("/api/v1/merkle/build", &build);
    let second = bob.post("/api/v1/merkle/build", &build);
    assert_eq!((first.0, second.0), (200, 200), "{first:?} {second:?}");
    assert_eq!(first.1["root_hash"], second.1["root_hash"]);
    assert_ne!(first.1["created_at"], second.1["created_at"], "when another built it is not told");
}

/// A page says that there is another one only where something follows that its caller sees.
#[test]
fn cursors_do_not_count_what_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("bob", "read", "prefix:bob-"), ("bob-rm", "admin", "prefix:bob-")];
    let service = guarded(folder.path(), &more);
    let (admin, bob) = (caller(&service, "admin"), caller(&service, "bob"));
    let begin = |session: &str, minute: u32| {
        let started_at = format!("2026-01-01T00:{minute:02}:00Z");
        let wanted = json!({ "session_id": session, "user_id": "ann", "started_at": started_at });
        assert_eq!(admin.post("/api/v1/sessions", &wanted).0, 201);
    };
    for (minute, session) in (0..).zip(["ann-1", "bob-1", "ann-2", "bob-2", "ann-3", "ann-4"]) {
        begin(session, minute);
    }
    let pages = |path: &str, items: &str, key: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = bob.get(&format!("{path}?limit=1{cursor}"));
            assert_eq!(page.0, 200, "{page:?}");
            found.push(page.1[items].as_array().unwrap().len());
            let Some(next) = page.1[key].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(pages("/api/v1/data/sessions", "items", "next_cursor"), [1, 1]);
    let asked = json!({ "limit": 1 });
    for _ in 0..2 {
        assert_eq!(bob.post("/api/v1/query/sessions", &asked).1["cached"], false);
    }
    assert_eq!(admin.post("/api/v1/query/sessions", &asked).1["cached"], false);
    for session in ["ann-1", "bob-1", "ann-2", "bob-2", "ann-3", "ann-4"] {
        assert_eq!(admin.ask("DELETE", &format!("/api/v1/sessions/{session}"), "", vec![]).0, 200);
    }
    // The last one is empty: nobody looked whether there is more.
    assert_eq!(pages("/api/v1/tombstones", "items", "next_cursor"), [1, 1, 0]);
}

/// A seized recorder tells nothing and destroys nothing.
#[test]
fn who_may_only_append_goes_on_with_what_it_began_and_reads_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("camera", "append", ""), ("second", "append", "")];
    let service = guarded(folder.path(), &more);
    let (camera, second) = (caller(&service, "camera"), caller(&service, "second"));
    let sessions = "/api/v1/sessions";
    assert_eq!(camera.post(sessions, &json!({ "session_id": "door" })).0, 201);
    let append = |who: &As<'_>, offset: u64, bytes: &[u8]| {
        let request = service.http.post(service.url("/api/v1/sessions/door/append"));
        let request = request.bearer_auth(&who.1).header("upload-offset", offset.to_string());
        let request = request.header("content-type", "application/octet-stream");
        request.body(bytes.to_vec()).send().unwrap().status().as_u16()
    };
    assert_eq!(append(&camera, 0, b"first"), 200);
    let end = |who: &As<'_>| {
        let request = service.http.head(service.url("/api/v1/sessions/door")).bearer_auth(&who.1);
        let reply = request.send().unwrap();
        let offset =
            reply.headers().get("upload-offset").map(|value| value.to_str().unwrap().to_owned());
        (reply.status().as_u16(), offset)
    };
    assert_eq!(end(&camera), (200, Some("5".to_owned())));
    for path in ["", "/data", "/manifest", "/chunks", "/proof", "/files", "/anchor"] {
        assert_eq!(camera.get(&format!("{sessions}/door{path}")).0, 403, "{path}");
    }
    for path in [
        sessions,
        "/api/v1/chunks",
        "/api/v1/find?path=*",
        "/api/v1/data/sessions",
        "/api/v1/status",
    ] {
        assert_eq!(camera.get(path).0, 403, "{path}");
    }
    assert_eq!(camera.ask("DELETE", "/api/v1/sessions/door", "", Vec::new()).0, 403);
    // What another began is not there for it.
    assert_eq!(end(&second).0, 404);
    assert_eq!(append(&second, 5, b"more"), 404);
    assert_eq!(second.post("/api/v1/sessions/door/seal", &json!({})).0, 404);
    assert_eq!(second.post(sessions, &json!({ "session_id": "door" })).0, 409);
    assert_eq!(
        second.post("/api/v1/chunks/missing", &json!({ "chunks": [id(b"first")] })).1["missing"],
        json!([id(b"first")])
    );
    // A restart forgets nothing of that.
    service.stop();
    let service = guarded(folder.path(), &more);
    let (camera, second) = (caller(&service, "camera"), caller(&service, "second"));
    assert_eq!(second.post("/api/v1/sessions/door/seal", &json!({})).0, 404);
    assert_eq!(camera.post(sessions, &json!({ "session_id": "door" })).0, 200);
    assert_eq!(camera.post("/api/v1/sessions/door/seal", &json!({})).0, 200);
}

#[test]
fn a_beginning_of_an_id_tells_a_caller_of_its_own_sessions_alone() {
    let folder = tempfile::tempdir().unwrap();
    let more = [("camera", "append", ""), ("reader", "read", "prefix:door-a"), ("all", "read", "")];
    let service = guarded(folder.path(), &more);
    for id in ["door-a1", "door-a2", "door-b1"] {
        let source = json!({ "host": "h", "tags": ["t"] });
        let begun = json!({ "session_id": id, "user_id": "ann", "source": source });
        assert_eq!(caller(&service, "camera").post("/api/v1/sessions", &begun).0, 201);
    }
    let ids = |who: &str, query: &str| -> BTreeSet<String> {
        let (status, page) = caller(&service, who).get(&format!("/api/v1/sessions?{query}"));
        assert_eq!(status, 200, "{who} {query}: {page}");
        let items = page["items"].as_array().unwrap().iter();
        let ids = items.map(|one| one["session_id"].as_str().unwrap().to_owned());
        // The read log is a session, too.
        ids.filter(|id| !id.starts_with("lucid.")).collect()
    };
    let set = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>();
    for query in ["prefix=door", "host=h", "tag=t", "user_id=ann", "status=active"] {
        assert_eq!(ids("all", query), set(&["door-a1", "door-a2", "door-b1"]), "{query}");
        assert_eq!(ids("reader", query), set(&["door-a1", "door-a2"]), "{query}");
    }
    assert_eq!(ids("reader", "prefix=door-b"), set(&[]));
}
