//! A follower as a service: what it answers, what it hands on, and what peers over HTTP can do to it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lucid_api::client::{BlockManagerClient, ClientOptions, Retry};
use lucid_api::v1::sync::SyncState;
use lucid_block_manager::config::Config;
use lucid_block_manager::service::{Running, start};
use lucid_core::block::Block;
use lucid_core::record::{BlockRecord, Head};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_http::serve::Shutdown;
use serde_json::{Value, json};

struct Server {
    running: Option<Running>,
    shutdown: Shutdown,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut environment = BTreeMap::from([
            ("BLOCK_MANAGER_PORT".to_owned(), "0".to_owned()),
            ("LUCID_DATA_DIR".to_owned(), folder.display().to_string()),
            ("BLOCK_INTERVAL_SECONDS".to_owned(), "0.02".to_owned()),
            ("SYNC_INTERVAL_SECONDS".to_owned(), "0.05".to_owned()),
        ]);
        for (name, value) in settings {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        let config = Config::load(&environment, None).unwrap().config;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let shutdown = Shutdown::new();
        let running = runtime.block_on(start(config, &shutdown)).unwrap();
        Self { running: Some(running), shutdown, runtime }
    }

    fn url(&self) -> String {
        format!("http://{}", self.running.as_ref().unwrap().address())
    }

    fn client(&self) -> BlockManagerClient {
        let retry = Retry { count: 0, delay: Duration::ZERO };
        BlockManagerClient::new(&self.url(), ClientOptions { retry, ..ClientOptions::default() })
            .unwrap()
    }

    fn raw(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let url = format!("{}{path}", self.url());
        let mut request = reqwest::blocking::Client::new().request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let reply = request.send().unwrap();
        let status = reply.status().as_u16();
        let text = reply.text().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn stop(mut self) -> Duration {
        let asked = Instant::now();
        self.shutdown.ask();
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.finished()).unwrap();
        asked.elapsed()
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not come true");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn submit(client: &BlockManagerClient, id: &str) {
    let text = format!(r#"{{"id":"{id}","type":"data_storage"}}"#);
    client.submit_transaction(&text).unwrap();
}

#[test]
fn followers_chain_hand_transactions_on_and_serve_what_is_committed() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let authority = Server::start(folders[0].path(), &[]);
    let producer = authority.client().chain_info().unwrap().producer.unwrap();
    let pin = ("LUCID_CHAIN_PRODUCER_KEY", producer.as_str());
    let url = authority.url();
    let first = Server::start(folders[1].path(), &[("LUCID_CHAIN_FOLLOW_URL", &url), pin]);
    let url = first.url();
    let second = Server::start(folders[2].path(), &[("LUCID_CHAIN_FOLLOW_URL", &url), pin]);

    // What is submitted to the last in the row is made into a block by the authority, and comes back.
    for n in 0..20 {
        submit(&second.client(), &format!("t-{n}"));
    }
    let (status, body) =
        second.raw("POST", "/api/v1/transactions", Some(r#"{"id":"t-3","type":"other"}"#));
    assert_eq!((status, body["code"].as_str()), (409, Some("exists")), "{body}");
    let (status, _) = second.raw("POST", "/api/v1/transactions", Some("nonsense"));
    assert_eq!(status, 400);
    let batch = r#"{"transactions":[{"id":"b-1","type":"x","n":1e400000},{"id":"b-2","type":"x","n":1.50}]}"#;
    let (status, body) = second.raw("POST", "/api/v1/transactions/batch", Some(batch));
    assert_eq!(
        (status, body["submitted_count"].as_u64(), body["failed_count"].as_u64()),
        (202, Some(1), Some(1)),
        "{body}"
    );
    let root = "ab".repeat(32);
    let anchor = json!({"session_id": "s-1", "merkle_root": root}).to_string();
    let (status, body) = second.raw("POST", "/api/v1/anchoring/session", Some(&anchor));
    assert_eq!(status, 202, "{body}");
    // What waits with the authority is known to those who follow it.
    assert_eq!(second.raw("GET", "/api/v1/anchoring/session/s-1", None).0, 200);
    assert_eq!(second.raw("GET", "/api/v1/transactions/b-2", None).0, 200);
    assert_eq!(second.raw("GET", "/api/v1/transactions/nobody", None).0, 404);
    let (status, body) = second.raw("GET", "/api/v1/transactions/pending?limit=7", None);
    assert_eq!((status, &body["pagination"]["limit"]), (200, &json!(7)), "{body}");
    // It makes no blocks, and keeps nothing for one.
    let wish = r#"{"transactions":[{"id":"wish","type":"x"}]}"#;
    assert_eq!(second.raw("POST", "/api/v1/blocks/propose", Some(wish)).0, 409);
    assert_eq!(second.raw("GET", "/api/v1/transactions/wish", None).0, 404);
    assert_eq!(second.raw("GET", "/api/v1/anchoring/session/nobody", None).0, 404);
    until("all of them are everywhere", || {
        let found = |server: &Server| {
            (0..20).all(|n| server.client().transaction_proof(&format!("t-{n}")).is_ok())
        };
        found(&second) && found(&first)
    });
    until("the heights agree", || {
        let height = |server: &Server| server.client().chain_height().unwrap().hash;
        height(&authority) == height(&first) && height(&first) == height(&second)
    });
    assert_eq!(authority.client().latest_block().unwrap(), second.client().latest_block().unwrap());
    let info = second.client().chain_info().unwrap();
    assert_eq!(info.statistics["role"], json!("follower"));
    assert_eq!(info.tentative_height, None);

    // What is final cannot be removed, anywhere.
    let height = second.client().chain_height().unwrap().height;
    for server in [&authority, &second] {
        let (status, body) = server.raw("DELETE", &format!("/api/v1/blocks/{height}"), None);
        assert_eq!((status, body["code"].as_str()), (409, Some("final")), "{body}");
        assert_eq!(server.raw("DELETE", "/api/v1/blocks/0", None).0, 403);
        assert_eq!(server.raw("DELETE", "/api/v1/blocks/99999", None).0, 404);
        assert_eq!(server.raw("DELETE", "/api/v1/blocks/x", None).0, 422);
    }
    let (status, body) = authority.raw("POST", "/api/v1/chain/sync", None);
    assert_eq!((status, body["code"].as_str()), (409, Some("role")), "{body}");
    // The worker may be at it: then 409.
    until("a round that was asked for", || {
        second.client().sync().is_ok_and(|report| report.success && report.synchronized)
    });

    // Without its peer a follower serves on, and says what it cannot do.
    authority.stop();
    until("it is noticed", || {
        let (status, body) = first.raw("POST", "/api/v1/chain/sync", None);
        (status == 502).then(|| assert_eq!(body["error"]["code"], "SYNC_002", "{body}")).is_some()
    });
    let (status, body) =
        second.raw("POST", "/api/v1/transactions", Some(r#"{"id":"late","type":"x"}"#));
    assert_eq!((status, body["code"].as_str()), (503, Some("unavailable")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("follows"), "{body}");
    assert!(first.client().latest_block().is_ok());
    assert_eq!(first.raw("GET", "/health", None).0, 200);
    first.stop();
    second.stop();

    // What it was it stays.
    let again = Server::start(folders[0].path(), &[]);
    assert_eq!(again.client().chain_info().unwrap().statistics["role"], json!("authority"));
    again.stop();
}

#[test]
fn followers_that_follow_each_other_end_the_round_trip() {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    // A port that is free now is the second one's later.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let url = format!("http://127.0.0.1:{port}");
    let first = Server::start(folders[0].path(), &[("LUCID_CHAIN_FOLLOW_URL", &url)]);
    let url = first.url();
    let second = Server::start(
        folders[1].path(),
        &[("LUCID_CHAIN_FOLLOW_URL", &url), ("BLOCK_MANAGER_PORT", &port)],
    );
    let (status, body) =
        second.raw("POST", "/api/v1/transactions", Some(r#"{"id":"a","type":"x"}"#));
    assert_eq!(status, 503, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("ring"), "{body}");
    first.stop();
    second.stop();
}

#[test]
fn a_peer_with_another_chain_is_named_by_its_code() {
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (first, second) =
        (Server::start(folders[0].path(), &[]), Server::start(folders[1].path(), &[]));
    for (authority, id) in [(&first, "a"), (&second, "b")] {
        submit(&authority.client(), id);
        until("a block", || !authority.client().chain_height().unwrap().empty);
    }
    let key = |server: &Server| server.client().chain_info().unwrap().producer.unwrap();
    let both = format!("{},{}", key(&first), key(&second));
    let follow = |url: &str| {
        let settings = [("LUCID_CHAIN_FOLLOW_URL", url), ("LUCID_CHAIN_PRODUCER_KEY", &both)];
        Server::start(folders[2].path(), &settings)
    };
    let follower = follow(&first.url());
    until("its block is here", || !follower.client().chain_height().unwrap().empty);
    follower.stop();
    let follower = follow(&second.url());
    until("it is told", || {
        let (status, body) = follower.raw("POST", "/api/v1/chain/sync", None);
        assert!(status == 409 || status == 502, "{body}");
        status == 502 && {
            let codes = (body["code"].as_str(), body["error"]["code"].as_str());
            assert_eq!(codes, (Some("upstream"), Some("SYNC_004")), "{body}");
            true
        }
    });
    for server in [follower, first, second] {
        server.stop();
    }
}

/// A peer whose every answer is written by hand.
struct Mean {
    url: String,
    asked: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Mean {
    fn start(
        answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, over, answer) = (asked.clone(), ended.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (counted, over, answer) = (counted.clone(), over.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = stream;
                    while let Some(path) = request(&mut stream) {
                        counted.fetch_add(1, Ordering::Relaxed);
                        if over.load(Ordering::Relaxed) || answer(&path, &mut stream).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, asked, ended }
    }
}

impl Drop for Mean {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// The path of the next request.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).ok()?;
    head.split(' ').nth(1).map(str::to_owned)
}

fn reply(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
}

const HEIGHT: &[u8] = br#"{"height":9,"hash":null,"timestamp":null,"empty":false}"#;

/// What the peer does, what is reported, and in which state.
#[test]
fn mean_peers_cost_bounded_time_and_bring_nothing_in() {
    type Answer = Box<dyn Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync>;
    let heads_then = |then: fn(&mut TcpStream) -> std::io::Result<()>| -> Answer {
        Box::new(move |path, stream| match path {
            _ if path.ends_with("/heads?from=0&limit=1") => {
                reply(stream, "200 OK", "application/octet-stream", b"")
            }
            _ if path.contains("/chain/height") => {
                reply(stream, "200 OK", "application/json", HEIGHT)
            }
            _ => then(stream),
        })
    };
    let always = |then: fn(&mut TcpStream) -> std::io::Result<()>| -> Answer {
        Box::new(move |_, stream| then(stream))
    };
    let cases: Vec<(&str, Answer, &str, SyncState)> = vec![
        (
            "hangs",
            always(|_| {
                std::thread::sleep(Duration::from_secs(20));
                Ok(())
            }),
            "timed out",
            SyncState::Unreachable,
        ),
        (
            "drips",
            always(|stream| {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
                loop {
                    stream.write_all(b"x")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }),
            "timed out",
            SyncState::Unreachable,
        ),
        (
            "drips a refusal",
            always(|stream| {
                write!(stream, "HTTP/1.1 500 No\r\ncontent-length: 1000000\r\n\r\n")?;
                loop {
                    stream.write_all(b"x")?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }),
            "500",
            SyncState::Unreachable,
        ),
        (
            "fails",
            always(|stream| reply(stream, "500 No", "text/plain", b"no")),
            "500",
            SyncState::Unreachable,
        ),
        (
            "redirects",
            always(|stream| {
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                )
            }),
            "302",
            SyncState::Unreachable,
        ),
        (
            "talks nonsense",
            always(|stream| reply(stream, "200 OK", "application/json", b"[{]")),
            "cannot be read",
            SyncState::Unreachable,
        ),
        (
            "says no HTTP",
            always(|stream| {
                stream
                    .write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                    .and(Err(std::io::ErrorKind::Other.into()))
            }),
            "error",
            SyncState::Unreachable,
        ),
        (
            "hangs up",
            always(|_| Err(std::io::ErrorKind::Other.into())),
            "error",
            SyncState::Unreachable,
        ),
        (
            "gives endless bytes",
            heads_then(|stream| {
                write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                let piece = vec![b'x'; 0x10000];
                loop {
                    stream.write_all(b"10000\r\n")?;
                    stream.write_all(&piece)?;
                    stream.write_all(b"\r\n")?;
                }
            }),
            "has over",
            SyncState::Unreachable,
        ),
        (
            "claims an enormous frame",
            heads_then(|stream| {
                reply(
                    stream,
                    "200 OK",
                    "application/octet-stream",
                    &[0xff, 0xff, 0xff, 0x7f, 1, 2, 3],
                )
            }),
            "bytes",
            SyncState::Unreachable,
        ),
        (
            "gives heads that are none",
            heads_then(|stream| {
                reply(stream, "200 OK", "application/octet-stream", &framed(b"nonsense"))
            }),
            "head of block 0",
            SyncState::Unreachable,
        ),
        (
            "has nothing of what it claims",
            heads_then(|stream| reply(stream, "200 OK", "application/octet-stream", b"")),
            "gives none",
            SyncState::Unreachable,
        ),
        (
            "ends inside a head",
            heads_then(|stream| {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")?;
                Err(std::io::ErrorKind::Other.into())
            }),
            "end of file before message length reached",
            SyncState::Unreachable,
        ),
    ];
    for (name, answer, wanted, state) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mean = Mean::start(answer);
        let settings = [("LUCID_CHAIN_FOLLOW_URL", mean.url.as_str()), ("SYNC_TIMEOUT", "0.3")];
        let follower = Server::start(folder.path(), &settings);
        let begun = Instant::now();
        until(name, || {
            let (_, status) = follower.raw("GET", "/api/v1/chain/status", None);
            let sync = &status["sync"];
            sync["last_error"].as_str().is_some_and(|said| {
                assert!(said.contains(wanted), "{name}: {said}");
                assert_eq!(sync["state"], json!(state), "{name}");
                true
            })
        });
        assert!(begun.elapsed() < Duration::from_secs(30), "{name}");
        until("a round of its own", || {
            let (code, body) = follower.raw("POST", "/api/v1/chain/sync", None);
            let documented = body["error"]["code"].as_str().unwrap_or_default();
            let is_of_the_peer = ["SYNC_001", "SYNC_002", "SYNC_003"].contains(&documented);
            assert!(code == 409 || (code == 502 && is_of_the_peer), "{name}: {body}");
            if name == "gives heads that are none" && code == 502 {
                assert_eq!(documented, "SYNC_003", "{body}");
            }
            code != 409
        });
        let height = follower.client().chain_height().unwrap();
        assert!(height.empty && height.tentative_height.is_none(), "{name}");
        // A peer that hangs does not hold up the end.
        assert!(follower.stop() < Duration::from_secs(8), "{name}");
        assert!(mean.asked.load(Ordering::Relaxed) > 0);
    }
}

/// The documented engine: its status and its blocks stand in one of several places, and a block has a height,
/// no nonce, and fields of its own. A chain of other hashes stops with its name.
#[test]
fn an_engine_is_followed_wherever_it_has_its_status_and_its_blocks() {
    let key = SigningKey::from_seed([1; 32]);
    let mut blocks: Vec<Block> = Vec::new();
    for n in 0..60 {
        let transaction = Transaction::parse(format!(r#"{{"id": "t-{n}"}}"#).as_bytes()).unwrap();
        let parent = blocks.last().map(|block| block.as_parent().unwrap());
        let now = Timestamp::from_micros(n);
        blocks.push(Block::build(parent.as_ref(), vec![transaction], now, &key));
    }
    let told = |block: &Block, ours: bool| {
        let hash = if ours { block.hash.to_string() } else { "ab".repeat(32) };
        let root = if ours { block.merkle_root.to_string() } else { "cd".repeat(32) };
        let texts: Vec<&str> = block.transactions.iter().map(Transaction::text).collect();
        format!(
            r#"{{"height": {}, "block_id": "{hash}", "hash": "{hash}", "previous_hash": "{}",
            "merkle_root": "{root}", "timestamp": "{}", "transactions": [{}], "size_bytes": 9,
            "difficulty": 1.0, "version": 1}}"#,
            block.index,
            block.previous_hash,
            block.timestamp,
            texts.join(","),
        )
    };
    for (status, body, place, ours) in [
        (
            "/api/v1/blockchain/status",
            r#"{"chain_height": 59, "latest_block_hash": "x"}"#,
            "/api/v1/blocks/",
            true,
        ),
        ("/api/v1/chain/status", r#"{"current_height": 59}"#, "/api/v1/blocks/height/", true),
        (
            "/api/v1/chain/info",
            r#"{"height": 59, "network": "lucid"}"#,
            "/api/v1/blocks/height/",
            true,
        ),
        ("/api/v1/chain/info", r#"{"data": {"height": 59}}"#, "/api/v1/blocks/", false),
    ] {
        let texts: Vec<String> = blocks.iter().map(|block| told(block, ours)).collect();
        let engine = Mean::start(move |path, stream| {
            let height = path.strip_prefix(place).and_then(|height| height.parse::<usize>().ok());
            match height.and_then(|height| texts.get(height)) {
                _ if path == status => reply(stream, "200 OK", "application/json", body.as_bytes()),
                Some(text) => reply(stream, "200 OK", "application/json", text.as_bytes()),
                None => reply(stream, "404 Not Found", "application/json", b"{}"),
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let follower =
            Server::start(folder.path(), &[("LUCID_CHAIN_FOLLOW_URL", engine.url.as_str())]);
        let sync = || follower.client().chain_status().unwrap().sync;
        if ours {
            until(status, || sync().state == SyncState::Synchronized);
            let sync = sync();
            assert_eq!(
                (sync.local_height, sync.tentative_height, sync.lag),
                (Some(53), Some(59), 6)
            );
            // The newest one may be removed, and comes again.
            let path = format!("/api/v1/blocks/59?confirm={}", blocks[58].hash);
            let (code, body) = follower.raw("DELETE", &path, None);
            assert_eq!((code, &body["code"]), (409, &json!("exists")), "{body}");
            let removed = follower.client().remove_block(59, blocks[59].hash).unwrap();
            assert!(removed.removed && removed.index == 59 && removed.hash == blocks[59].hash);
            until("it comes again", || {
                follower.client().chain_info().unwrap().tentative_height == Some(59)
            });
            let block: Value = serde_json::from_str(&follower.client().block(20).unwrap()).unwrap();
            assert_eq!((&block["hash"], &block["nonce"]), (&json!(blocks[20].hash), &json!(0)));
        } else {
            until(status, || sync().state == SyncState::UnsupportedHashRule);
            assert!(sync().last_error.unwrap().starts_with("unsupported_hash_rule"));
            let (code, health) = follower.raw("GET", "/health", None);
            assert_eq!(
                (code, &health["chain_sync"], &health["status"]),
                (200, &json!(false), &json!("degraded"))
            );
            // The round that was heard of may be just about to end.
            until("a round of its own", || {
                let (code, body) = follower.raw("POST", "/api/v1/chain/sync", None);
                assert!(code == 409 || code == 502, "{code}");
                if code == 502 {
                    let codes = (body["code"].as_str(), body["error"]["code"].as_str());
                    assert_eq!(codes, (Some("upstream"), Some("SYNC_001")), "{body}");
                }
                code != 409
            });
            assert!(follower.client().chain_height().unwrap().empty);
        }
        follower.stop();
    }
}

/// Heads that hang together are worth nothing without what they stand for.
#[test]
fn a_peer_with_good_heads_and_endless_bodies_brings_nothing_in() {
    let key = SigningKey::from_seed([1; 32]);
    let mut heads = Vec::new();
    let mut parent = None;
    for n in 0..10 {
        let transaction = Transaction::parse(format!(r#"{{"id": "t-{n}"}}"#).as_bytes()).unwrap();
        let block =
            Block::build(parent.as_ref(), vec![transaction], Timestamp::from_micros(n), &key);
        parent = Some(block.as_parent().unwrap());
        heads.push(Head::of(&BlockRecord::of(&block)).encode());
    }
    type Bodies = fn(&mut TcpStream) -> std::io::Result<()>;
    let cases: [(&str, Bodies); 3] = [
        ("has over", |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 99000000000\r\n\r\n")?;
            let piece = vec![0; 1 << 20];
            loop {
                stream.write_all(&piece)?;
            }
        }),
        ("410", |stream| reply(stream, "410 Gone", "text/plain", b"pruned")),
        ("no transactions of block 0", |stream| {
            reply(stream, "200 OK", "application/octet-stream", b"")
        }),
    ];
    for (wanted, bodies) in cases {
        let heads = heads.clone();
        let mean = Mean::start(move |path, stream| match path {
            _ if path.contains("/heads?from=0&limit=1") => {
                let count = if path.ends_with("limit=1") { 1 } else { heads.len() };
                let body: Vec<u8> =
                    heads.iter().take(count).flat_map(|head| framed(head)).collect();
                reply(stream, "200 OK", "application/octet-stream", &body)
            }
            _ if path.contains("/chain/height") => {
                reply(stream, "200 OK", "application/json", HEIGHT)
            }
            _ => bodies(stream),
        });
        let folder = tempfile::tempdir().unwrap();
        let settings = [("LUCID_CHAIN_FOLLOW_URL", mean.url.as_str()), ("SYNC_TIMEOUT", "5")];
        let follower = Server::start(folder.path(), &settings);
        let said = || follower.client().chain_status().unwrap().sync.last_error;
        until(wanted, || said().is_some());
        let wanted = if wanted == "410" { "pruned" } else { wanted };
        assert!(said().unwrap().contains(wanted), "{wanted}: {:?}", said());
        assert!(follower.client().chain_height().unwrap().empty);
        follower.stop();
    }
}

#[test]
fn who_does_not_wait_for_a_round_hears_that_it_has_begun_or_that_others_are_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Arc::new(AtomicBool::new(false));
    let may_answer = answers.clone();
    let slow = Mean::start(move |_, stream| {
        while !may_answer.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        reply(stream, "404 No", "text/plain", b"no")
    });
    let settings =
        [("LUCID_CHAIN_FOLLOW_URL", slow.url.as_str()), ("SYNC_INTERVAL_SECONDS", "3600")];
    let follower = Server::start(folder.path(), &settings);
    let sync = |prefer: &str| {
        let url = format!("{}/api/v1/chain/sync", follower.url());
        let reply = reqwest::blocking::Client::new().post(url).header("prefer", prefer).send();
        let reply = reply.unwrap();
        (reply.status().as_u16(), reply.headers().get("location").cloned())
    };
    // Its own first round waits for the peer.
    until("it asks", || slow.asked.load(Ordering::SeqCst) > 0);
    assert_eq!(sync("respond-async").0, 409);
    answers.store(true, Ordering::SeqCst);
    until("a round of its own", || {
        let (status, location) = sync("respond-async");
        assert!(status == 409 || location.unwrap() == "/api/v1/chain/status", "{status}");
        status == 202
    });
    follower.stop();
}

#[test]
fn a_peer_that_refuses_is_not_pressed() {
    let folder = tempfile::tempdir().unwrap();
    let mean = Mean::start(|_, stream| reply(stream, "404 No", "text/plain", b"no"));
    let settings =
        [("LUCID_CHAIN_FOLLOW_URL", mean.url.as_str()), ("SYNC_INTERVAL_SECONDS", "3600")];
    let follower = Server::start(folder.path(), &settings);
    until("it is refused", || mean.asked.load(Ordering::Relaxed) >= 5);
    std::thread::sleep(Duration::from_millis(500));
    // The head of its chain, and each place where an engine says how far it is: once.
    assert_eq!(mean.asked.load(Ordering::Relaxed), 5);
    follower.stop();

    // 429 and 5xx are asked for again, with growing pauses.
    let folder = tempfile::tempdir().unwrap();
    let mean = Mean::start(|_, stream| reply(stream, "429 Later", "text/plain", b"later"));
    let settings =
        [("LUCID_CHAIN_FOLLOW_URL", mean.url.as_str()), ("SYNC_INTERVAL_SECONDS", "3600")];
    let follower = Server::start(folder.path(), &settings);
    until("it is asked again", || mean.asked.load(Ordering::Relaxed) >= 6);
    follower.stop();
}
