//! What requests may hold, by the table in `docs/ARCHITECTURE.md`: each route is driven at its limits on the
//! program itself, while everybody else is to be answered.

use std::io::Read as _;
use std::process::Command;
use std::time::{Duration, Instant};

use lucid_api::client::{ClientOptions, DataChainClient};
use lucid_api::v1::chunks::ChunkIds;
use serde_json::json;

use crate::routes::storage::block;
use crate::sample::{folder, id, noise};
use crate::service::{archive, named};
use crate::strain::{Everybody, Process, Request, announce, dense, drive, routes, table, unread};

const ARCHITECTURE: &str = include_str!("../../../../docs/ARCHITECTURE.md");
const HEADING: &str = "#### What requests of the data-chain may hold";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const FRAMES: &str = "application/x-lucid-chunks";
/// Nobody waits longer while others strain the service. Generous: the build is slow, and so may the machine.
const SOON: Duration = Duration::from_secs(8);
const MIB: usize = 1 << 20;

struct Strained {
    process: Process,
    /// A chunk of 16 MiB, and one that is small.
    large: String,
    small: String,
    root: String,
}

impl Strained {
    fn start(path: &std::path::Path) -> Self {
        lucid_store::files::descriptors::raise_limit();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-data-chain"));
        command.env_clear().env("LUCID_DATA_DIR", path).env("DATA_CHAIN_PORT", "0");
        let process = Process::start(&mut command);
        let base = format!("http://{}", process.address);
        let client = DataChainClient::new(&base, ClientOptions::default()).unwrap();
        for session in ["live", "big"] {
            client.create_session(&named(session)).unwrap();
        }
        client.append("big", &Default::default(), noise(1, 24 * MIB)).unwrap();
        client.seal("big", &Default::default()).unwrap();
        let content = noise(2, 12 * MIB);
        archive(&client, "tree", &folder(&[(b"a", &content), (b"b", b"small")]), MIB);
        let large = noise(3, 16 * MIB);
        client.put_chunks([large.as_slice(), b"small"]).unwrap();
        let build = json!({ "chunk_ids": [id(&large).to_string(), id(b"small").to_string()] });
        let build = Request::new("POST /api/v1/merkle/build").body(JSON, build.to_string());
        let (status, tree) = process.ask(&build);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&tree));
        let tree: serde_json::Value = serde_json::from_slice(&tree).unwrap();
        let root = tree["root_hash"].as_str().unwrap().to_owned();
        let (large, small) = (id(&large).to_string(), id(b"small").to_string());
        // A block of 15 MiB, whose transactions fill pages.
        let filler = "x".repeat(MIB - 200);
        let transaction = |n| json!({ "id": format!("large-{n}"), "type": "t", "data": filler });
        let block = block(None, 1, &(0..15).map(transaction).collect::<Vec<_>>()).to_json_text();
        let said = json!({ "id": "said", "data": filler }).to_string();
        for (kind, text) in [("blocks", &block), ("sessions", &said)] {
            let store =
                Request::new(format!("POST /api/v1/storage/{kind}")).body(JSON, text.clone());
            let (status, why) = process.ask(&store);
            assert_eq!(status, 201, "{}", String::from_utf8_lossy(&why));
        }
        Self { process, large, small, root }
    }

    /// What everybody else wants: whether it is there, a few bytes in, a few bytes out.
    fn everybody(&self) -> Everybody {
        let small = self.small.clone();
        Everybody::ask(&self.process, move |n| {
            let append = Request::new("PUT /api/v1/sessions/everybody/chunks/0");
            vec![
                Request::new("GET /health"),
                append.body(BYTES, "a frame"),
                Request::new("POST /api/v1/sessions")
                    .body(JSON, format!(r#"{{"session_id":"e-{n}"}}"#)),
                Request::new(format!("GET /api/v1/chunks/{small}/raw")),
                Request::new("GET /api/v1/sessions/big/data").header("Range: bytes=5-9"),
            ]
        })
    }

    /// A request of a route that is as large as it may be, and how many bytes it may announce.
    fn worst(&self, route: &str) -> (Request, usize) {
        let path = route
            .replace(
                "{session_id}",
                if route.contains("files") || route.contains("tar") { "tree" } else { "big" },
            )
            .replace("{chunk_id}", &self.large)
            .replace("{root_hash}", &self.root)
            .replace("{leaf_index}", "1")
            .replace("blocks/{id}", "blocks/0")
            .replace("transactions/{id}", "transactions/large-1")
            .replace("sessions/{id}", "sessions/said")
            .replace("{path}", "a")
            .replace("{index}", "1");
        let live = |what: &str| Request::new(format!("POST /api/v1/sessions/live/{what}"));
        match route {
            "GET /api/v1/find" => (Request::new("GET /api/v1/find?path=*"), 4 * MIB),
            "POST /api/v1/sessions/{session_id}/append" => (
                live("append").header("Upload-Offset: 0").body(BYTES, noise(5, 16 * MIB)),
                64 * MIB,
            ),
            "POST /api/v1/chunks/batch" => {
                let chunk = noise(6, 4 * MIB - 4);
                let one = [&(chunk.len() as u32).to_le_bytes(), chunk.as_slice()].concat();
                (Request::new(route).body(FRAMES, one.repeat(16)), 64 * MIB)
            }
            "PUT /api/v1/sessions/{session_id}/chunks/{index}" => {
                let put = Request::new("PUT /api/v1/sessions/frames/chunks/0");
                (put.body(BYTES, noise(7, 16 * MIB)), 16 * MIB)
            }
            "POST /api/v1/sessions/{session_id}/chunks" => (
                Request::new("POST /api/v1/sessions/forms/chunks").body(BYTES, noise(8, 16 * MIB)),
                16 * MIB,
            ),
            "POST /api/v1/chunks" => {
                let body = dense(32 * MIB - 32, r#"data":"","metadata":{"x"#);
                (Request::new(route).body(JSON, [body.as_slice(), b"}"].concat()), 32 * MIB)
            }
            "POST /api/v1/chunks/get" => {
                let asked = ChunkIds::from(vec![self.large.parse().unwrap(); 500]);
                (Request::new(route).body(JSON, serde_json::to_vec(&asked).unwrap()), 4 * MIB)
            }
            "POST /api/v1/merkle/build" => {
                let names = dense(20 * MIB, "chunk_ids");
                let names = String::from_utf8(names).unwrap().replace(",0", ",\"\"");
                (Request::new(route).body(JSON, names.replace("[0", "[\"\"")), 32 * MIB)
            }
            "POST /api/v1/sessions" => {
                let names: Vec<String> = (0..400_000).map(|n| format!("\"{n:x}\":\"\"")).collect();
                let body = format!("{{\"metadata\":{{{}}}}}", names.join(","));
                (Request::new(route).body(JSON, body), 4 * MIB)
            }
            "GET /api/v1/chunks" => (Request::new("GET /api/v1/chunks?offset=1000000000"), 0),
            "POST /api/v1/storage/blocks" => {
                (Request::new(route).body(JSON, dense(32 * MIB - 64, "transactions")), 32 * MIB)
            }
            _ if route.starts_with("GET /api/v1/data/") => {
                (Request::new(format!("{route}?limit=1000&total=true")), 0)
            }
            "GET /api/v1/merkle/{root_hash}" => {
                (Request::new(format!("{path}?include_leaves=true")), 0)
            }
            "POST /api/v1/sessions/{session_id}/references"
            | "POST /api/v1/sessions/{session_id}/import" => {
                (Request::new(path).body(JSON, dense(8 * MIB, "x")), 32 * MIB)
            }
            _ if route.starts_with("GET")
                || route.starts_with("HEAD")
                || route.starts_with("DELETE") =>
            {
                // What is removed is gone for the next request.
                let path =
                    if route.starts_with("DELETE") { path.replace("big", "none") } else { path };
                (Request::new(path), 0)
            }
            // What takes no body is not asked for long work with one.
            _ => (Request::new(path).body(JSON, dense(4 * MIB - 64, "x")), 4 * MIB),
        }
    }

    fn strain(&self, route: &str) {
        let (worst, announced) = self.worst(route);
        drive(&self.process, &worst, announced, (40, 3));
    }
}

#[test]
fn no_route_holds_more_than_the_table_says_and_nobody_else_waits() {
    let path = tempfile::tempdir().unwrap();
    let service = Strained::start(path.path());
    let (rows, process) = (table(ARCHITECTURE, HEADING), &service.process);
    let openapi =
        serde_json::from_slice(&process.ask(&Request::new("GET /openapi.json")).1).unwrap();
    let mut unlisted = routes(&openapi);
    let mut wrong = Vec::new();
    for row in &rows {
        let began = Instant::now();
        let everybody = service.everybody();
        // What earlier rows needed may stay with the allocator.
        let base = process.resident();
        // Threads that may block rest for ten seconds before they end.
        let resting = process.status("Threads");
        process.peak();
        for route in &row.routes {
            match unlisted.iter().position(|known| known == route) {
                Some(at) => drop(unlisted.remove(at)),
                None => wrong.push(format!("{route} is no route, or is there twice")),
            }
            service.strain(route);
        }
        let threads = process.status("Threads");
        wrong.extend(everybody.was_kept_waiting(SOON));
        let held = process.peak().saturating_sub(base);
        println!("{:?}: {} MiB, {threads} threads, {:?}", row.routes, held >> 20, began.elapsed());
        if held > row.together {
            wrong.push(format!("{row:?}: {} MiB", held >> 20));
        }
        if threads > resting.max(row.threads + OTHERS) {
            wrong.push(format!("{row:?}: {threads} threads"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unlisted.is_empty(), "no row has {unlisted:?}");
}

/// Threads that are there without any request, and those of everybody else.
const OTHERS: u64 = 64;

#[test]
fn callers_that_announce_much_and_send_nothing_keep_nobody_waiting() {
    let path = tempfile::tempdir().unwrap();
    let service = Strained::start(path.path());
    let batch = Request::new("POST /api/v1/chunks/batch").body(FRAMES, Vec::new());
    let _stalling = announce(&service.process, &batch, 8, 64 * MIB);
    let began = Instant::now();
    let put = Request::new("PUT /api/v1/sessions/s/chunks/0").body(BYTES, noise(1, 4 * MIB));
    assert_eq!(service.process.ask(&put).0, 201);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn readers_that_do_not_read_take_no_threads_and_are_served_when_they_do() {
    let path = tempfile::tempdir().unwrap();
    let service = Strained::start(path.path());
    let process = &service.process;
    let everybody = service.everybody();
    let whole = Request::new("GET /api/v1/sessions/big/data");
    let bulk = service.worst("POST /api/v1/chunks/get").0;
    let (mut first, mut content) = (unread(process, &whole, 1).remove(0), Vec::new());
    let (mut others, mut little) = (Vec::new(), [0; 16 << 10]);
    // Each is looked up on a thread, so they come a few at a time: what is counted is who keeps one.
    for turn in 0..32 {
        let few = if turn < 30 { unread(process, &whole, 20) } else { unread(process, &bulk, 20) };
        let soon = Instant::now() + SOON;
        while Instant::now() < soon && !few.iter().all(has_begun) {
            std::thread::sleep(Duration::from_millis(20));
        }
        others.extend(few);
        // A reader that takes nothing at all for long is cut off.
        first.set_nonblocking(true).unwrap();
        let taken = first.read(&mut little).unwrap_or(0);
        content.extend(&little[..taken]);
    }
    let threads = process.status("Threads");
    assert!(threads < 150, "{threads} threads for {} readers", others.len());
    assert_eq!(everybody.was_kept_waiting(SOON), None);
    // One that was left off goes on where it was.
    first.set_nonblocking(false).unwrap();
    first.read_to_end(&mut content).unwrap();
    assert!(content.ends_with(&noise(1, 24 * MIB)[..]), "{} bytes", content.len());
}

/// Whether a reply is on its way.
fn has_begun(stream: &std::net::TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let begun = stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
    stream.set_nonblocking(false).unwrap();
    begun
}
