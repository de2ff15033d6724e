//! What requests may hold, by the table in `docs/ARCHITECTURE.md`: each route is driven at its limits on the
//! program itself, while everybody else is to be answered, and blocks are made.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::strain::{Everybody, Process, Request, announce, dense, drive, routes, table, unread};

const ARCHITECTURE: &str = include_str!("../../../../docs/ARCHITECTURE.md");
const HEADING: &str = "#### What requests of the block-manager may hold";
const JSON: &str = "application/json";
/// Nobody waits longer while others strain the service. Generous: the build is slow, and so may the machine.
const SOON: Duration = Duration::from_secs(8);
/// Threads that are there without any request, and those of everybody else.
const OTHERS: u64 = 64;
const MIB: usize = 1 << 20;

struct Strained {
    process: Process,
    hash: String,
}

fn post(path: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new(format!("POST {path}")).body(JSON, body)
}

impl Strained {
    fn start(path: &std::path::Path) -> Self {
        lucid_store::files::descriptors::raise_limit();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-block-manager"));
        command
            .env_clear()
            .env("LUCID_DATA_DIR", path)
            .env("BLOCK_MANAGER_PORT", "0")
            .env("BLOCK_INTERVAL_SECONDS", "2");
        let process = Process::start(&mut command);
        // A block of 4 MiB: larger ones take the slow build too long.
        let filler = "x".repeat(MIB - 200);
        let large =
            (0..4).map(|n| json!({"id": format!("large-{n}"), "type": "t", "data": filler}));
        let propose = json!({ "transactions": large.collect::<Vec<_>>() });
        let (status, block) = process.ask(&post("/api/v1/blocks/propose", propose.to_string()));
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&block));
        let block: Value = serde_json::from_slice(&block).unwrap();
        let hash = block["hash"].as_str().unwrap().to_owned();
        Self { process, hash }
    }

    fn everybody(&self, name: &'static str) -> Everybody {
        Everybody::ask(&self.process, move |n| {
            let transaction = json!({"id": format!("{name}-{n}"), "type": "t"}).to_string();
            vec![
                Request::new("GET /health"),
                post("/api/v1/transactions", transaction),
                Request::new("GET /api/v1/chain/height"),
                Request::new("GET /api/v1/blocks/headers?limit=1"),
            ]
        })
    }

    /// A request of a route that is as large as it may be, and how many bytes it may announce.
    fn worst(&self, route: &str) -> (Request, usize) {
        let path = route
            .replace("{index}", "0")
            .replace("{height}", "0")
            .replace("{hash}", &self.hash)
            .replace("{tx_id}", "large-0")
            .replace("{session_id}", "s");
        let request = Request::new(path.clone());
        match route {
            "GET /api/v1/blocks" => (Request::new("GET /api/v1/blocks?limit=100"), 0),
            "GET /api/v1/blocks/headers" => {
                (Request::new("GET /api/v1/blocks/headers?start_height=0&limit=1000"), 0)
            }
            "GET /api/v1/blocks/heads" | "GET /api/v1/blocks/bodies" => {
                (Request::new(format!("{path}?from=0")), 0)
            }
            "GET /api/v1/transactions/pending" => (Request::new(format!("{path}?limit=100")), 0),
            "DELETE /api/v1/blocks/{index}" => {
                (Request::new(format!("{path}?confirm={}", self.hash)), 0)
            }
            _ if route.starts_with("GET") => (request, 0),
            "POST /api/v1/transactions" | "POST /api/v1/anchoring/session" => {
                (request.body(JSON, dense(4 * MIB - 64, "x")), 4 * MIB)
            }
            // Lists of small values, and letters that take three times their bytes.
            "POST /api/v1/blocks/validate" => {
                let list = dense(32 * MIB - 64, r#"transactions":[{"x"#);
                (request.body(JSON, [list.as_slice(), b"]}"].concat()), 32 * MIB)
            }
            "POST /api/v1/validation/block" => {
                let text = format!(r#"{{"transactions":["{}"]}}"#, "é".repeat(15 * MIB));
                (request.body(JSON, text), 32 * MIB)
            }
            "POST /api/v1/blocks" => (request.body(JSON, dense(8 * MIB, "x")), 32 * MIB),
            "POST /api/v1/blocks/propose" | "POST /api/v1/transactions/batch" => {
                (request.body(JSON, dense(8 * MIB, "transactions")), 32 * MIB)
            }
            "POST /api/v1/validation/chain" | "POST /api/v1/chain/maintenance" => {
                (request.body(JSON, "{}"), 64 << 10)
            }
            "POST /api/v1/chain/sync" => (request, 0),
            _ => (request.body(JSON, dense(4 * MIB - 64, "x")), 4 * MIB),
        }
    }

    fn strain(&self, route: &str) {
        let (worst, announced) = self.worst(route);
        drive(&self.process, &worst, announced, (24, 2));
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
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut wrong = Vec::new();
    for (row, name) in rows.iter().zip(names) {
        let began = Instant::now();
        let everybody = service.everybody(name);
        // What earlier rows needed may stay with the allocator.
        let base = process.resident();
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
        if threads > row.threads + OTHERS {
            wrong.push(format!("{row:?}: {threads} threads"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unlisted.is_empty(), "no row has {unlisted:?}");
}

#[test]
fn slow_bodies_hold_no_more_than_they_share_and_blocks_are_made_meanwhile() {
    let path = tempfile::tempdir().unwrap();
    let service = Strained::start(path.path());
    let process = &service.process;
    let everybody = service.everybody("slow");
    let base = process.resident();
    process.peak();
    // Each would send 16 MiB, and stops shortly before the end.
    let body = dense(16 * MIB, "x");
    let slow = post("/api/v1/blocks/validate", Vec::new());
    let slow = announce(process, &slow, 24, body.len());
    std::thread::scope(|scope| {
        for mut caller in slow {
            let body = &body[..body.len() - 10];
            scope.spawn(move || {
                use std::io::Write as _;
                caller.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
                let _refused = caller.write_all(body);
                std::thread::sleep(Duration::from_secs(2));
            });
        }
    });
    let held = process.peak().saturating_sub(base);
    assert!(held < 512 << 20, "{} MiB", held >> 20);
    assert_eq!(everybody.was_kept_waiting(SOON), None);
    let chained = Instant::now() + SOON;
    while process.ask(&Request::new("GET /api/v1/transactions/slow-0/proof")).0 != 200 {
        assert!(Instant::now() < chained, "no block was made");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_answer_of_a_mebibyte_counts_like_a_whole_block() {
    let path = tempfile::tempdir().unwrap();
    let service = Strained::start(path.path());
    let process = &service.process;
    let block = Request::new("GET /api/v1/blocks/0");
    // A busy service refuses also where too many blocks are being made, however much memory there is.
    let lacks_memory = |request: &Request| {
        let (status, body) = process.ask(request);
        status == 429 && String::from_utf8_lossy(&body).contains("take all the memory")
    };
    let (slow, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // A caller that read nothing at all would be cut off, and leave room for others.
        scope.spawn(|| read_slowly(&slow, &done));
        let answers = std::panic::catch_unwind(|| {
            // Blocks that are hardly read hold all the memory there is for replies, and more wait for it.
            let mut small = Vec::new();
            for path in ["blocks/0", "transactions/large-0", "transactions/large-0/proof"] {
                let large = Request::new(format!("GET /api/v1/{path}"));
                // One that waits may be given room at any moment, so it is filled until this one finds none.
                let full = Instant::now() + 5 * SOON;
                while !lacks_memory(&large) {
                    assert!(Instant::now() < full, "there is always memory for {path}");
                    slow.lock().unwrap().extend(unread(process, &block, 60));
                }
                // Small answers are given all the same.
                small.push(process.ask(&Request::new("GET /api/v1/blocks/headers?limit=1")).0);
            }
            small
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(answers.unwrap(), [200, 200, 200]);
    });
}

/// Reads a little from each every second: a block lasts for more than a minute.
fn read_slowly(callers: &Mutex<Vec<TcpStream>>, done: &AtomicBool) {
    let mut little = [0; 48 << 10];
    while !done.load(Ordering::Relaxed) {
        for caller in callers.lock().unwrap().iter_mut() {
            caller.set_nonblocking(true).unwrap();
            // Some are not answered yet, others were refused.
            let _read = caller.read(&mut little);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
