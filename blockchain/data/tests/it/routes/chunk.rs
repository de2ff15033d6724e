//! Single chunks: what is put comes back, by any of its names; and what is wrong is refused and leaves
//! the store as it was.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::{
    BuildTree, ChunkQuery, ChunksQuery, PutChunk, SessionChunksQuery, TreeQuery, VerifyProof,
};
use lucid_api::v1::verification::HistoryQuery;
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::sample::{id, noise};
use crate::service::{Service, problem};

pub fn body(response: Response) -> Value {
    assert!(response.status().is_success(), "{}", response.text().unwrap());
    serde_json::from_str(&response.text().unwrap()).unwrap()
}

fn put(service: &Service, session: &str, index: u64, bytes: &[u8]) -> Response {
    let url = service.url(&format!("/api/v1/sessions/{session}/chunks/{index}"));
    let request = service.http.put(url).header("content-type", "application/octet-stream");
    request.body(bytes.to_vec()).send().unwrap()
}

fn post(service: &Service, fields: Value, bytes: &[u8]) -> Response {
    let mut wanted = fields;
    wanted["data"] = STANDARD.encode(bytes).into();
    service.post("/api/v1/chunks", wanted)
}

fn delete(service: &Service, path: &str) -> Response {
    service.http.delete(service.url(path)).send().unwrap()
}

fn raw(service: &Service, path: &str) -> Vec<u8> {
    let response = service.get(path);
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.bytes().unwrap().to_vec()
}

/// What a refusal must leave alone.
fn counts(service: &Service) -> Value {
    let status = body(service.get("/api/v1/status"));
    let names = ["total_sessions", "chunk_references", "unique_chunks", "uploaded_chunks"];
    names.iter().map(|name| (name.to_string(), status[name].clone())).collect()
}

#[test]
fn a_chunk_on_its_own_is_kept_until_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let bytes = noise(1, 5_000);
    let hash = id(&bytes).to_string();
    let metadata = json!({ "from": "camera", "n": 1.5 });
    let made = post(&service, json!({ "metadata": metadata }), &bytes);
    assert_eq!(made.status(), 201);
    let made = body(made);
    assert_eq!(made["chunk_id"], hash);
    assert_eq!(made["hash_value"], hash);
    assert_eq!((&made["size_bytes"], &made["deduplicated"]), (&json!(5_000), &json!(false)));
    assert_eq!((&made["session_id"], &made["index"]), (&Value::Null, &Value::Null));
    let again = post(&service, json!({}), &bytes);
    assert_eq!(again.status(), 200);
    let again = body(again);
    assert_eq!((&again["deduplicated"], &again["created_at"]), (&json!(true), &made["created_at"]));

    service.stop();
    let service = Service::start(folder.path());
    let path = format!("/api/v1/chunks/{hash}");
    let shown = body(service.get(&path));
    assert_eq!(STANDARD.decode(shown["data"].as_str().unwrap()).unwrap(), bytes);
    assert_eq!(shown["metadata"]["metadata"], metadata);
    assert_eq!(shown["metadata"]["verification"]["verified"], true);
    assert_eq!(raw(&service, &format!("{path}/raw")), bytes);
    let accepted =
        service.http.get(service.url(&path)).header("accept", "application/octet-stream");
    let accepted = accepted.header("range", "bytes=10-19").send().unwrap();
    assert_eq!(accepted.status(), 206);
    assert_eq!(accepted.headers()["etag"], format!("\"{hash}\""));
    assert_eq!(accepted.bytes().unwrap(), bytes[10..20]);
    let info = body(service.get(&format!("{path}/metadata")));
    assert_eq!((&info["encrypted"], &info["created_at"]), (&json!(true), &made["created_at"]));
    assert_eq!(body(service.get("/api/v1/chunks"))[0]["chunk_id"], hash);

    assert_eq!(delete(&service, &path).status(), 204);
    assert_eq!(problem(service.get(&path)).0, 404);
    assert_eq!(problem(delete(&service, &path)).0, 404);
    assert_eq!(body(service.get("/api/v1/chunks")), json!([]));
    assert_eq!(body(service.get("/api/v1/deduplication/stats"))["total_unique_chunks"], 0);
}

#[test]
fn a_batch_is_kept_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let bytes = noise(1, 500);
    service.client.put_chunks([bytes.as_slice()]).unwrap();
    let path = format!("/api/v1/chunks/{}", id(&bytes));
    let info = body(service.get(&format!("{path}/metadata")));
    let until = info["kept_until"].as_str().unwrap();
    assert!(until > info["created_at"].as_str().unwrap());
    // A client that uploads it on its own wants it for longer.
    assert_eq!(post(&service, json!({}), &bytes).status(), 201);
    let info = body(service.get(&format!("{path}/metadata")));
    assert_eq!(info["kept_until"], Value::Null);
    assert_eq!(counts(&service)["uploaded_chunks"], 1);
}

#[test]
fn chunks_of_a_session_may_come_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let chunks: Vec<Vec<u8>> = (0..5).map(|n| noise(n, 2_000 + n as usize)).collect();
    for index in [3, 1, 4] {
        let taken = body(put(&service, "s", index, &chunks[index as usize]));
        assert_eq!((&taken["index"], &taken["session_id"]), (&json!(index), &json!("s")));
    }
    let shown = service.client.session("s").unwrap();
    assert_eq!((shown.chunk_count, shown.total_bytes), (0, 0), "the tree covers what is in front");
    let (status, code, document) = problem(service.post("/api/v1/sessions/s/seal", json!({})));
    assert_eq!((status, code.as_str()), (409, "missing"));
    assert_eq!(document["error"]["details"]["gaps"], json!([[0, 0], [2, 2]]));
    // What waits can be read, and is there after a restart.
    service.stop();
    let service = Service::start(folder.path());
    assert_eq!(raw(&service, &format!("/api/v1/chunks/{}/raw", id(&chunks[4]))), chunks[4]);
    let listed = body(service.get("/api/v1/sessions/s/chunks"));
    let waits: Vec<_> = listed["items"].as_array().unwrap().iter().map(|c| &c["index"]).collect();
    assert_eq!(waits, [1, 3, 4]);
    assert_eq!(listed["items"][0]["waits"], true);
    let (status, ..) = problem(service.post(
        "/api/v1/sessions/s/references",
        json!({ "start_index": 0, "chunks": [{ "chunk_id": id(&chunks[1]).to_string(), "length": 2_001 }] }),
    ));
    assert_eq!(status, 409, "references would end up in front of what waits");

    assert_eq!(put(&service, "s", 0, &chunks[0]).status(), 201);
    assert_eq!(service.client.session("s").unwrap().chunk_count, 2);
    assert_eq!(put(&service, "s", 2, &chunks[2]).status(), 201);
    assert_eq!(service.client.session("s").unwrap().chunk_count, 5);
    assert_eq!(put(&service, "s", 2, &chunks[2]).status(), 200, "the same again");
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    assert_eq!((sealed.chunk_count, sealed.total_size), (5, 10_010));
    assert_eq!(raw(&service, "/api/v1/sessions/s/data"), chunks.concat());
    assert!(service.client.verify_session("s", Some(sealed.merkle_root)).unwrap().verified);

    // The same chunks by references give the same tree, but for the session's key and secret.
    let page = body(service.get("/api/v1/sessions/s/chunks?limit=2"));
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let next = page["next_cursor"].as_str().unwrap();
    let page = body(service.get(&format!("/api/v1/sessions/s/chunks?limit=3&cursor={next}")));
    assert_eq!(page["items"][0]["index"], 2);
    assert_eq!(page["next_cursor"], Value::Null);
    let listed = body(service.get("/api/v1/chunks?session_id=s&limit=2&offset=3"));
    assert_eq!(listed[0]["hash_value"], id(&chunks[3]).to_string());
    assert_eq!(body(service.get("/api/v1/chunks?offset=4"))[0]["index"], 4);
}

#[test]
fn a_caller_may_name_its_chunks_within_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let (one, two) = (noise(1, 900), noise(2, 800));
    let named = |session: &str, index: u64, name: &str| json!({ "session_id": session, "index": index, "chunk_id": name });
    let made = body(post(&service, named("s", 0, "s_chunk_000000"), &one));
    assert_eq!(made["chunk_id"], "s_chunk_000000");
    assert_eq!(made["hash_value"], id(&one).to_string());
    assert_eq!(post(&service, named("s", 0, "s_chunk_000000"), &one).status(), 200);
    let (status, _, document) = problem(post(&service, named("s", 1, "s_chunk_000000"), &two));
    assert_eq!(status, 409, "{document}");
    assert_eq!(service.client.session("s").unwrap().chunk_count, 1);

    assert_eq!(raw(&service, "/api/v1/chunks/s_chunk_000000/raw"), one);
    post(&service, named("other", 0, "s_chunk_000000"), &two);
    assert_eq!(
        problem(service.get("/api/v1/chunks/s_chunk_000000/raw")).0,
        409,
        "which session's?"
    );
    assert_eq!(raw(&service, "/api/v1/chunks/s_chunk_000000/raw?session_id=other"), two);
    let by_hash = format!("/api/v1/chunks/{}/metadata", id(&two));
    assert_eq!(body(service.get(&by_hash))["session_id"], "other");

    for (fields, why) in [
        (json!({ "chunk_id": "x" }), "name the session_id"),
        (json!({ "index": 3 }), "name the session_id"),
        (named("s", 5, &"ab".repeat(32)), "64 hex digits"),
        (named("s", 5, "no spaces"), "is no chunk_id"),
        (named("s", 5, &"x".repeat(129)), "is no chunk_id"),
        (named("no id", 5, "x"), "session id"),
    ] {
        let (status, _, document) = problem(post(&service, fields, &two));
        assert_eq!(status, 422, "{document}");
        assert!(document["detail"].as_str().unwrap().contains(why), "{document}");
    }
    assert_eq!(service.client.session("s").unwrap().chunk_count, 1);
}

#[test]
fn long_uploads_are_cut_or_refused_as_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [
        ("DATA_CHAIN_CUTTING", "fixed"),
        ("DATA_CHAIN_CHUNK_SIZE_BYTES", "10000"),
        ("DATA_CHAIN_SPLIT_THRESHOLD_BYTES", "25000"),
        ("DATA_CHAIN_MAX_CHUNK_SIZE_BYTES", "60000"),
    ];
    let service = Service::start_with(folder.path(), &limits);
    let bytes = noise(1, 35_000);
    let fields = json!({ "session_id": "s", "chunk_id": "long", "metadata": { "k": 1 } });
    let taken = body(post(&service, fields, &bytes));
    let parts: Vec<_> = taken["chunks"].as_array().unwrap().iter().map(|c| &c["index"]).collect();
    assert_eq!(parts, [0, 1, 2, 3]);
    assert_eq!(taken["hash_value"], id(&bytes).to_string());
    assert_eq!(raw(&service, "/api/v1/chunks/long/raw"), bytes, "by its name it is whole");
    assert_eq!(
        body(service.get("/api/v1/chunks/long"))["metadata"]["parts"][3],
        taken["chunks"][3]["chunk_id"]
    );
    assert_eq!(put(&service, "s", 1, &noise(2, 10)).status(), 409);
    assert_eq!(service.client.session("s").unwrap().chunk_count, 4);
    assert_eq!(body(put(&service, "s", 4, &noise(2, 25_000))).get("chunks"), None);
    assert_eq!(post(&service, json!({}), &noise(3, 30_000)).status(), 201);
    let before = counts(&service);
    assert_eq!(problem(put(&service, "s", 5, &noise(4, 60_001))).0, 413);
    assert_eq!(problem(post(&service, json!({}), &noise(4, 60_001))).0, 413);
    assert!(service.client.put_chunks([noise(4, 60_001).as_slice()]).is_err());
    assert_eq!(counts(&service), before);
    service.stop();
    let never = [limits.as_slice(), &[("DATA_CHAIN_AUTO_SPLIT", "false")]].concat();
    let service = Service::start_with(folder.path(), &never);
    assert_eq!(problem(put(&service, "s", 5, &bytes)).0, 413);
    assert_eq!(put(&service, "s", 5, &noise(2, 25_000)).status(), 201);
}

#[test]
fn the_largest_chunk_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let bytes = noise(1, 16 << 20);
    assert_eq!(post(&service, json!({ "session_id": "s" }), &bytes).status(), 201);
    assert_eq!(raw(&service, &format!("/api/v1/chunks/{}/raw", id(&bytes))), bytes);
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(problem(post(&service, json!({}), &longer)).0, 413);
    assert_eq!(problem(put(&service, "s", 1, &longer)).0, 413);
}

#[test]
fn a_form_is_a_chunk_too() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let send = |parts: &[(&str, &str, &[u8])]| {
        let mut form = Vec::new();
        for (name, file, content) in parts {
            let file =
                if file.is_empty() { String::new() } else { format!("; filename=\"{file}\"") };
            let head =
                format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            form.extend_from_slice(head.as_bytes());
            form.extend_from_slice(content);
            form.extend_from_slice(b"\r\n");
        }
        form.extend_from_slice(b"--B--\r\n");
        let request = service.http.post(service.url("/api/v1/sessions/s/chunks"));
        request.header("content-type", "multipart/form-data; boundary=B").body(form).send().unwrap()
    };
    let bytes = noise(1, 3_000);
    let metadata = br#"{"kind": "frame"}"#;
    let sent = [
        ("metadata", "", metadata.as_slice()),
        ("chunk_id", "", b"frame-0"),
        ("file", "f", &bytes),
    ];
    let taken = body(send(&sent));
    assert_eq!((&taken["chunk_id"], &taken["index"]), (&json!("frame-0"), &json!(0)));
    assert_eq!(taken["metadata"]["kind"], "frame");
    assert_eq!(body(send(&[("file", "g", b"more")]))["index"], 1, "the next");
    assert_eq!(body(send(&[("index", "", b"5"), ("data", "", b"later")]))["index"], 5);
    for wrong in [
        vec![("file", "a", b"x".as_slice()), ("file", "b", b"y")],
        vec![("index", "", b"0")],
        vec![("index", "", b"x"), ("file", "a", b"x")],
        vec![("file", "a", b"")],
        vec![("colour", "", b"red"), ("file", "a", b"x")],
        vec![("metadata", "", b"[1]"), ("file", "a", b"x")],
    ] {
        assert_eq!(problem(send(&wrong)).0, 422, "{wrong:?}");
    }
    let url = service.url("/api/v1/sessions/s/chunks");
    let broken = service.http.post(&url).header("content-type", "multipart/form-data; boundary=B");
    assert_eq!(problem(broken.body("--B\r\nx").send().unwrap()).0, 400);
    let plain = service.http.post(&url).header("content-type", "text/plain").body("x");
    assert_eq!(problem(plain.send().unwrap()).0, 415);
    let bytes = service.http.post(format!("{url}?index=2&chunk_id=raw"));
    let bytes = bytes.header("content-type", "application/octet-stream").body("raw bytes");
    assert_eq!(body(bytes.send().unwrap())["chunk_id"], "raw");
    // Another session may call one so, too; then it has to be said which is meant.
    service.begin("t");
    let url = service.url("/api/v1/sessions/t/chunks?index=0&chunk_id=raw");
    let bytes = service.http.post(url).header("content-type", "application/octet-stream");
    assert_eq!(body(bytes.body("others").send().unwrap())["chunk_id"], "raw");
    let (status, code, document) = problem(service.get("/api/v1/chunks/raw"));
    assert_eq!((status, code.as_str()), (409, "unclear"), "{document}");
    let meant = service.get("/api/v1/chunks/raw/raw?session_id=t");
    assert_eq!(meant.text().unwrap(), "others");
}

#[test]
fn what_a_sealed_session_has_is_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let bytes = noise(1, 900);
    post(&service, json!({}), &bytes);
    put(&service, "kept", 0, &bytes);
    let path = format!("/api/v1/chunks/{}", id(&bytes));
    let (status, _, document) = problem(delete(&service, &path));
    assert_eq!(status, 409);
    assert!(document["detail"].as_str().unwrap().contains("session kept refers"), "{document}");
    service.client.seal("kept", &Default::default()).unwrap();
    let (status, _, document) = problem(delete(&service, &path));
    assert_eq!(status, 409);
    assert!(document["detail"].as_str().unwrap().contains("session kept is sealed"), "{document}");
    assert_eq!(problem(put(&service, "kept", 1, b"more")).0, 409, "sealed");
    assert_eq!(put(&service, "kept", 0, &bytes).status(), 200, "nothing changes");
    assert_eq!(raw(&service, &format!("{path}/raw")), bytes);
    // Without the session only the upload keeps it.
    let removed = delete(&service, "/api/v1/sessions/kept");
    assert!(removed.status().is_success());
    assert_eq!(delete(&service, &path).status(), 204);
    assert_eq!(problem(service.get(&path)).0, 404);
    assert_eq!(problem(put(&service, "kept", 0, &bytes)).0, 410, "its id is used up");
    assert_eq!(body(service.get("/api/v1/deduplication/stats"))["total_unique_chunks"], 0);
}

#[test]
fn wrong_requests_leave_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    put(&service, "s", 0, b"first");
    service.begin("stream");
    service.client.append("stream", &Default::default(), b"live".to_vec()).unwrap();
    let before = counts(&service);
    let json_to = |body: &str| {
        let request = service.http.post(service.url("/api/v1/chunks"));
        request.header("content-type", "application/json").body(body.to_owned()).send().unwrap()
    };
    assert_eq!(problem(json_to("{\"data\": ")).0, 400);
    assert_eq!(problem(json_to("{\"data\": \"****\"}")).0, 422, "not base64");
    assert_eq!(problem(json_to("{\"data\": \"\"}")).0, 422, "nothing");
    assert_eq!(problem(json_to("{\"dada\": \"aGk=\"}")).0, 422, "an unknown field");
    assert_eq!(problem(json_to("{\"data\": \"aGk=\", \"index\": -1}")).0, 422);
    assert_eq!(problem(json_to("{\"data\": \"aGk=\", \"metadata\": 1}")).0, 422);
    let long =
        format!("{{\"data\": \"aGk=\", \"metadata\": {{\"k\": \"{}\"}}}}", "x".repeat(17_000));
    assert_eq!(problem(json_to(&long)).0, 422);
    assert_eq!(problem(json_to(&" ".repeat((32 << 20) + 1))).0, 413);
    assert_eq!(problem(put(&service, "s", 0, b"other")).0, 409, "taken");
    assert_eq!(problem(put(&service, "s", 200_000, b"far")).0, 422);
    assert_eq!(problem(put(&service, "unknown", 200_000, b"far")).0, 422, "and none begins");
    assert_eq!(problem(put(&service, "stream", 0, b"x")).0, 409, "a stream");
    assert_eq!(problem(put(&service, "s", 1, b"")).0, 422);
    let hashed = |hash: String| {
        let url = service.url("/api/v1/sessions/s/chunks/1");
        let request = service.http.put(url).header("content-type", "application/octet-stream");
        request.header("x-content-hash", hash).body("hello").send().unwrap()
    };
    assert_eq!(problem(hashed("00".repeat(32))).0, 422, "another hash");
    assert_eq!(problem(hashed("md5:00".into())).0, 422);
    for path in [
        "/api/v1/sessions/s/chunks?limit=0",
        "/api/v1/sessions/s/chunks?cursor=x",
        "/api/v1/chunks?limit=1001",
        "/api/v1/chunks?colour=red",
    ] {
        assert_eq!(problem(service.get(path)).0, 422, "{path}");
    }
    for path in
        ["/api/v1/chunks/unknown", "/api/v1/chunks/unknown/metadata", "/api/v1/sessions/x/chunks"]
    {
        assert_eq!(problem(service.get(path)).0, 404, "{path}");
    }
    let (_, _, document) = problem(service.get("/api/v1/chunks/unknown"));
    assert_eq!(document["error"]["code"], "LUCID_ERR_1004");
    assert_eq!(problem(service.get("/api/v1/chunks?session_id=x")).0, 404);
    assert_eq!(counts(&service), before);
    let sha = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(hashed(sha.into()).status(), 201);
    assert_eq!(hashed(id(b"hello").to_string()).status(), 200);
}

fn connect(service: &Service, head: &str, kind: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.base.strip_prefix("http://").unwrap()).unwrap();
    let head = format!("{head} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_body_that_stops_half_way_is_no_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let before = counts(&service);
    let bodies = [
        ("PUT /api/v1/sessions/s/chunks/0", "application/octet-stream", "only this"),
        ("POST /api/v1/chunks", "application/json", "{\"data\": \"aGk="),
        ("POST /api/v1/sessions/s/chunks", "multipart/form-data; boundary=B", "--B\r\n"),
    ];
    for (head, kind, half) in bodies {
        let mut stream = connect(&service, head, kind);
        write!(stream, "content-length: 1000\r\n\r\n{half}").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    }
    assert_eq!(counts(&service), before);
    assert_eq!(service.client.session("s").unwrap().chunk_count, 0);
}

/// More than a service may have in work at once would be refused; so many it bears.
const SLOW: usize = 1_000;

#[test]
fn whoever_is_refused_in_the_middle_of_a_body_reads_the_reason() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let rest = vec![b'x'; 8 << 20];
    for (line, kind, begins, status) in [
        (
            "POST /api/v1/sessions/s/chunks",
            "multipart/form-data; boundary=B",
            "--B\r\nContent-Disposition: form-data; name=\"unknown\"\r\n\r\n1\r\n--B\r\n",
            422,
        ),
        ("POST /api/v1/sessions/s/chunks", "multipart/form-data", "", 422),
        ("POST /api/v1/sessions/none/append", "application/octet-stream", "", 422),
        ("PUT /api/v1/sessions/s/chunks/x", "application/octet-stream", "", 422),
        ("POST /api/v1/merkle/build", "text/plain", "", 415),
    ] {
        let mut stream = connect(&service, line, kind);
        let length = begins.len() + rest.len();
        write!(stream, "Content-Length: {length}\r\n\r\n{begins}").unwrap();
        stream.write_all(&rest).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {kind}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{line} {kind}: {answer}");
        let document = answer.split_once("\r\n\r\n").unwrap().1;
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["status"], status);
    }
}

#[test]
fn a_thousand_slow_callers_keep_nobody_out_and_each_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.begin("stream");
    let before = counts(&service);
    let live = "application/octet-stream\r\nupload-offset: 0";
    // Each announces a body, most of them a large one, sends a little of it and falls silent.
    let slow: Vec<(&str, TcpStream)> = (0..SLOW)
        .map(|index| {
            let (head, kind, begin) = match index % 6 {
                0 => ("PUT /api/v1/sessions/s/chunks/1", "application/octet-stream", "x"),
                1 => ("POST /api/v1/chunks", "application/json", "{\"data\": \"aGk="),
                2 => {
                    ("POST /api/v1/sessions/s/chunks", "multipart/form-data; boundary=B", "--B\r\n")
                }
                3 => ("POST /api/v1/chunks/batch", "application/x-lucid-chunks", "\x05"),
                4 => ("POST /api/v1/sessions/stream/append", live, ""),
                _ => ("PUT /api/v1/sessions/s/chunks/2", "application/octet-stream", ""),
            };
            let mut stream = connect(&service, head, kind);
            let length = if index % 2 == 0 { 16 << 20 } else { 1_000 };
            write!(stream, "content-length: {length}\r\n\r\n{begin}").unwrap();
            (head, stream)
        })
        .collect();
    let started = std::time::Instant::now();
    assert_eq!(put(&service, "s", 0, b"quick").status(), 201);
    assert_eq!(post(&service, json!({}), &noise(1, 1 << 20)).status(), 201);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    for (head, mut stream) in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap_or_else(|error| panic!("{head}: {error}: {said}"));
        let status = &said[..12];
        assert!(["HTTP/1.1 400", "HTTP/1.1 409"].contains(&status), "{head}: {said}");
        assert!(said.contains("application/problem+json"), "{head}: {said}");
    }
    assert_eq!(service.client.session("s").unwrap().chunk_count, 1);
    let after = counts(&service);
    assert_ne!(after, before, "the quick ones were taken");
    assert_eq!(service.client.session("stream").unwrap().offset, 0);
}

#[test]
fn of_many_writers_at_one_index_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let writer = |n: u64| {
            let service = &service;
            scope.spawn(move || {
                let own = put(service, "s", n + 1, &noise(n, 3_000)).status().as_u16();
                assert_eq!(own, 201, "its own index");
                put(service, "s", 0, &noise(100 + n, 2_000)).status().as_u16()
            })
        };
        let writers: Vec<_> = (0..20).map(writer).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(service.client.session("s").unwrap().chunk_count, 21);
    service.client.seal("s", &Default::default()).unwrap();
    assert!(service.client.verify_session("s", None).unwrap().verified);
}

#[test]
fn the_typed_client_says_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let client = &service.client;
    let (one, two) = (noise(1, 700), noise(2, 800));
    let wanted = PutChunk {
        data: STANDARD.encode(&one),
        session_id: Some("s".into()),
        chunk_id: Some("first".into()),
        ..PutChunk::default()
    };
    assert_eq!(client.put_chunk(&wanted).unwrap().index, Some(0));
    let hash = id(&two).to_string();
    assert_eq!(client.put_session_chunk("s", 1, two.clone(), Some(&hash)).unwrap().index, Some(1));
    let wrong = client.put_session_chunk("s", 2, one.clone(), Some(&hash)).unwrap_err();
    assert_eq!(wrong.code(), Some(ErrorCode::Invalid));
    let everywhere = ChunkQuery::default();
    assert_eq!(client.chunk_info("first", &everywhere).unwrap().hash_value, Some(id(&one)));
    assert_eq!(client.chunks(&ChunksQuery::default()).unwrap().len(), 2);
    let listed = client.session_chunks("s", &SessionChunksQuery::default()).unwrap();
    assert_eq!(listed.items[1].hash_value, Some(id(&two)));
    let refused = client.delete_chunk("first", &everywhere).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Sealed));
    let alone = PutChunk { data: STANDARD.encode(b"alone"), ..PutChunk::default() };
    let alone = client.put_chunk(&alone).unwrap();
    client.delete_chunk(&alone.chunk_id, &everywhere).unwrap();
    assert!(client.chunk_info(&alone.chunk_id, &everywhere).unwrap_err().is_not_found());
    assert!(client.verify_chunk("first", &everywhere).unwrap().verified);
    assert_eq!(client.verify_history(&HistoryQuery::default()).unwrap()[0].id, "first");
    assert_eq!(client.deduplication_stats().unwrap().total_unique_chunks, 2);

    let wanted = BuildTree {
        chunk_ids: vec!["first".into(), hash],
        session_id: Some("s".into()),
        ..BuildTree::default()
    };
    let tree = client.build_tree(&wanted).unwrap();
    let sealed = client.seal("s", &Default::default()).unwrap();
    assert_eq!(tree.root_hash, sealed.merkle_root);
    let with_leaves = TreeQuery { include_leaves: true };
    let leaves = client.tree(tree.root_hash, with_leaves).unwrap().leaves.unwrap();
    let proof = client.tree_proof(tree.root_hash, 1).unwrap();
    assert_eq!(proof.leaf_hash, leaves[1]);
    let given = VerifyProof {
        root_hash: tree.root_hash.to_string(),
        leaf_hash: proof.leaf_hash,
        proof_path: proof.proof_hashes,
        leaf_index: 1,
        proof_directions: None,
        leaf_count: Some(2),
    };
    assert!(client.verify_proof(&given).unwrap().verified);
}

#[test]
fn own_copies_are_found_by_every_name() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DATA_CHAIN_DEDUPLICATION_ENABLED", "false")];
    let service = Service::start_with(folder.path(), &settings);
    let bytes = noise(1, 900);
    for session in ["a", "b"] {
        assert_eq!(body(put(&service, session, 0, &bytes))["deduplicated"], false);
    }
    let path = format!("/api/v1/chunks/{}", id(&bytes));
    assert_eq!(raw(&service, &format!("{path}/raw")), bytes);
    assert_eq!(raw(&service, &format!("{path}/raw?session_id=b")), bytes);
    service.begin("c");
    service.client.append("c", &Default::default(), noise(2, 900)).unwrap();
    service.client.seal("c", &Default::default()).unwrap();
    let path = format!("/api/v1/chunks/{}/raw", id(&noise(2, 900)));
    assert_eq!(problem(service.get(&path)).0, 404, "nobody but the session knows it");
    assert_eq!(raw(&service, &format!("{path}?session_id=c")), noise(2, 900));
    let asked = json!({ "chunks": [id(&noise(2, 900)).to_string()], "session_id": "c" });
    assert_eq!(service.post("/api/v1/chunks/get", asked).bytes().unwrap()[4..], noise(2, 900));
    let stats = body(service.get("/api/v1/deduplication/stats"));
    assert_eq!((&stats["enabled"], &stats["total_unique_chunks"]), (&json!(false), &json!(3)));
}

#[test]
fn what_deduplication_saves_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let stats = || body(service.get("/api/v1/deduplication/stats"));
    assert_eq!(stats()["deduplication_ratio"], 1.0);
    for index in 0..3 {
        put(&service, "a", index, &noise(1, 1_000));
    }
    put(&service, "b", 0, &noise(2, 1_000));
    post(&service, json!({}), &noise(2, 1_000));
    let wanted = json!({
        "enabled": true, "total_unique_chunks": 2, "total_references": 5,
        "total_size_bytes": 2_000, "deduplication_ratio": 2.5, "space_saved_bytes": 3_000,
    });
    assert_eq!(stats(), wanted);
}

#[test]
fn verifications_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let bytes = noise(1, 900);
    put(&service, "s", 0, &bytes);
    let hash = id(&bytes).to_string();
    let verified = body(service.post(&format!("/api/v1/verify/chunk/{hash}"), json!({})));
    assert_eq!(verified["verified"], true);
    assert_eq!(verified["details"]["checks"]["hash"], true);
    assert_eq!(problem(service.post("/api/v1/verify/chunk/unknown", json!({}))).0, 404);
    let other = "00".repeat(32);
    let path = format!("/api/v1/verify/session/s?expected_merkle_root={other}");
    assert_eq!(body(service.post(&path, json!({})))["verified"], false);
    service.stop();
    // A flipped byte is found, named, and remembered.
    let segment = folder.path().join("chunks/00000001.seg");
    let mut stored = std::fs::read(&segment).unwrap();
    let last = stored.len() - 5;
    stored[last] ^= 1;
    std::fs::write(&segment, stored).unwrap();
    let service = Service::start(folder.path());
    let verified = body(service.post(&format!("/api/v1/verify/chunk/{hash}"), json!({})));
    assert_eq!(verified["verified"], false);
    assert!(verified["details"]["reason"].as_str().unwrap().contains("00000001.seg"));
    let (status, ..) = problem(service.get(&format!("/api/v1/chunks/{hash}")));
    assert_eq!(status, 409, "damage is named, wrong bytes are not returned");
    let history = body(service.get("/api/v1/verify/history"));
    let found: Vec<_> = history.as_array().unwrap().iter().map(|it| &it["verified"]).collect();
    assert_eq!(found, [false, false, true]);
    let history = body(service.get(&format!("/api/v1/verify/history?chunk_id={hash}&limit=1")));
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(history[0]["kind"], "chunk");
    assert_eq!(problem(service.get("/api/v1/verify/history?limit=0")).0, 422);
    // The same content again heals it.
    assert_eq!(put(&service, "s", 0, &bytes).status(), 200);
    assert_eq!(raw(&service, &format!("/api/v1/chunks/{hash}/raw")), bytes);
}
