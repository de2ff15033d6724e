//! Both services, asked in this process: everything they serve, at their real limits, by callers who stall,
//! leave, or send more than they may.
//!
//! An input is a few requests in a row: routes, methods, queries, headers and bodies, sound ones and others.
//! Where `paused` is built in, time stands still but for what is waited for, so a caller who never goes on costs
//! nothing. No answer is a 500, which is also what a panic becomes; every refusal is a problem document with a remedy's
//! code.

use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::Frame;
use lucid_block_manager::ops::produce_block::produce_block;
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_block_manager::{opened, routes as chain_routes};
use lucid_core::time::Timestamp;
use lucid_data_chain::Opened;
use lucid_data_chain::app::{App, jobs, router};
use lucid_data_chain::workers::anchoring::Anchoring;
use lucid_http::config::Environment;
use lucid_http::credentials::Credentials;
use lucid_http::health::HealthReport;
use lucid_http::porch::Porch;
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use lucid_store::files::folder;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::bounds::within;
use crate::draw::{Draw, alter};
use crate::formats::SCRATCH;
use crate::worlds::{OURS, T0};

/// After so many inputs the services begin anew: what earlier ones left behind bears on later ones.
const INPUTS: usize = 2_000;
/// Bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 20;

/// The two services, open.
struct Services {
    runtime: Runtime,
    data: Router,
    chain: Router,
    inputs: usize,
    block: String,
    _folder: tempfile::TempDir,
}

static SERVICES: LazyLock<Mutex<Option<Services>>> = LazyLock::new(Mutex::default);

/// Some requests to one of the services, or to both.
pub fn http(bytes: &[u8]) {
    let Ok(mut held) = SERVICES.lock() else { return };
    let is_worn = held.as_ref().is_none_or(|services| services.inputs >= INPUTS);
    if is_worn {
        // What is open is closed before its folder goes.
        *held = None;
        let begun = begin();
        let Ok(begun) = begun else { panic!("the services do not start: {:?}", begun.err()) };
        *held = Some(begun);
    }
    let Some(services) = held.as_mut() else { return };
    services.inputs += 1;
    let mut draw = Draw::new(bytes);
    // Bodies may be filled, and are no larger than this together.
    within("HTTP", bytes.len(), (64, 640 << 20), || {
        for _ in 0..6 {
            if draw.is_empty() {
                break;
            }
            ask(services, &mut draw);
        }
    });
}

fn begin() -> Result<Services, Box<dyn std::error::Error>> {
    LazyLock::force(&OURS);
    let folder = tempfile::Builder::new().prefix("http").tempdir_in(SCRATCH.path())?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all();
    #[cfg(feature = "paused")]
    runtime.start_paused(true);
    let runtime = runtime.build()?;
    let environment = Environment::from([
        ("LUCID_DATA_DIR".into(), folder.path().join("data").to_string_lossy().into_owned()),
        ("DATA_CHAIN_COMPRESSION_ALGORITHM".into(), "lz4".into()),
    ]);
    let config = lucid_data_chain::config::load(&environment, None)?.config;
    let options = folder::Options {
        service: lucid_data_chain::opened::FOLDER_OWNER,
        signing_key: lucid_data_chain::opened::SIGNING_KEY,
        expected: None,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a fuzzer".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    };
    let (data, chain, block) = runtime.block_on(async {
        let opened = Opened::open(&config.common.data_dir, &options)?;
        let jobs = jobs(&Shutdown::new(), &Clock::system());
        let app = App::new(opened, &config, Anchoring::new(None), jobs);
        let data = router(Arc::new(app), &config, &Credentials::nobody_asks(), None);
        let now = Timestamp::from_micros(T0);
        let open = opened::Options { create: true, ..opened::Options::default() };
        let opened = opened::open(&folder.path().join("chain"), &open, now)?;
        let mut block = String::new();
        for number in 0..3 {
            let now = now.plus_seconds(number);
            let posted = format!(r#"{{"id": "t{number}", "type": "data_storage"}}"#);
            submit_transaction(
                &opened.vault,
                opened.chain.as_ref(),
                &opened.admissions,
                now,
                posted.as_bytes(),
            )?;
            produce_block(
                &opened.vault,
                opened.chain.as_ref(),
                &opened.producing,
                &opened.key,
                now,
            )?;
            if let Some(tip) = opened.chain.tip()? {
                block = tip.hash.to_string();
            }
        }
        let shutdown = Shutdown::new();
        let app = lucid_block_manager::app::App::new(
            &shutdown,
            Clock::system(),
            Duration::from_secs(10),
            0,
        );
        app.set_opened(opened);
        let config = lucid_block_manager::config::Config::load(&environment, None)?.config.common;
        let porch = Porch::new(
            lucid_block_manager::config::SERVICE,
            &config,
            &Credentials::nobody_asks(),
            HealthReport::new,
        );
        let chain = porch.around(chain_routes::routes(app));
        Ok::<_, Box<dyn std::error::Error>>((data, chain, block))
    })?;
    Ok(Services { runtime, data, chain, inputs: 0, block, _folder: folder })
}

/// What can be asked of the data-chain.
const DATA: [&str; 46] = [
    "POST /api/v1/sessions",
    "POST /api/v1/sessions",
    "GET /api/v1/sessions",
    "GET /api/v1/sessions/{session}",
    "HEAD /api/v1/sessions/{session}",
    "DELETE /api/v1/sessions/{session}",
    "POST /api/v1/sessions/{session}/append",
    "POST /api/v1/sessions/{session}/append",
    "POST /api/v1/sessions/{session}/append",
    "POST /api/v1/sessions/{session}/references",
    "POST /api/v1/sessions/{session}/seal",
    "POST /api/v1/sessions/{session}/seal",
    "POST /api/v1/sessions/{session}/anchor",
    "GET /api/v1/sessions/{session}/anchor",
    "GET /api/v1/sessions/{session}/export",
    "POST /api/v1/sessions/{session}/import",
    "POST /api/v1/sessions/{session}/import",
    "PUT /api/v1/sessions/{session}/hold",
    "DELETE /api/v1/sessions/{session}/hold",
    "GET /api/v1/sessions/{session}/manifest",
    "GET /api/v1/sessions/{session}/data",
    "GET /api/v1/sessions/{session}/files",
    "GET /api/v1/sessions/{session}/files/{path}",
    "GET /api/v1/sessions/{session}/archive.tar",
    "GET /api/v1/sessions/{session}/proof",
    "GET /api/v1/sessions/{session}/proof/{number}",
    "GET /api/v1/tombstones",
    "GET /api/v1/maintenance",
    "GET /api/v1/scrub",
    "GET /api/v1/verify/session/{session}",
    "POST /api/v1/verify/session/{session}",
    "POST /api/v1/verify/chunk/{chunk}",
    "GET /api/v1/verify/history",
    "POST /api/v1/merkle/build",
    "GET /api/v1/merkle/{chunk}",
    "GET /api/v1/merkle/{chunk}/proof/{number}",
    "POST /api/v1/merkle/verify",
    "POST /api/v1/chunks",
    "GET /api/v1/chunks",
    "GET /api/v1/chunks/{chunk}",
    "DELETE /api/v1/chunks/{chunk}",
    "POST /api/v1/sessions/{session}/chunks",
    "PUT /api/v1/sessions/{session}/chunks/{number}",
    "POST /api/v1/chunks/missing",
    "POST /api/v1/chunks/batch",
    "POST /api/v1/chunks/get",
];

/// What can be asked of the block-manager.
const CHAIN: [&str; 34] = [
    "GET /api/v1/status",
    "GET /api/v1/blocks",
    "POST /api/v1/blocks",
    "GET /api/v1/blocks/headers",
    "GET /api/v1/blocks/stats",
    "GET /api/v1/blocks/latest",
    "GET /api/v1/blocks/height/{number}",
    "GET /api/v1/blocks/hash/{block}",
    "GET /api/v1/blocks/{number}",
    "DELETE /api/v1/blocks/{number}",
    "GET /api/v1/blocks/{number}/proof/{transaction}",
    "GET /api/v1/blocks/heads",
    "GET /api/v1/blocks/bodies",
    "GET /api/v1/validation/rules",
    "POST /api/v1/validation/block",
    "GET /api/v1/validation/chain",
    "POST /api/v1/validation/chain",
    "POST /api/v1/blocks/validate",
    "POST /api/v1/blocks/propose",
    "POST /api/v1/transactions",
    "POST /api/v1/transactions/batch",
    "GET /api/v1/transactions/pending",
    "GET /api/v1/transactions/{transaction}",
    "GET /api/v1/transactions/{transaction}/proof",
    "POST /api/v1/anchoring/session",
    "GET /api/v1/anchoring/session/{session}",
    "POST /api/v1/anchoring/verify",
    "POST /api/v1/chain/sync",
    "POST /api/v1/chain/maintenance",
    "GET /api/v1/chain/status",
    "GET /api/v1/chain/info",
    "GET /api/v1/chain/height",
    "GET /api/v1/blockchain/status",
    "GET /health",
];

/// Names of a query, and values that some of them take.
const QUERY: [&str; 30] = [
    "limit",
    "offset",
    "cursor",
    "order",
    "from",
    "to",
    "status",
    "user",
    "path",
    "span",
    "start",
    "end",
    "prefix",
    "wait",
    "bytes",
    "chunks",
    "session_id",
    "index",
    "mode",
    "hash",
    "height",
    "recursive",
    "full",
    "dry_run",
    "force",
    "reason",
    "alias",
    "include_data",
    "verify",
    "below",
];
const VALUES: [&str; 16] = [
    "0",
    "1",
    "-1",
    "10001",
    "18446744073709551615",
    "true",
    "false",
    "asc",
    "2026-01-01T00:00:00Z",
    "s0",
    "sealed",
    "historical",
    "%00",
    "%ff%fe",
    "a%2Fb",
    "",
];
const HEADERS: [&str; 18] = [
    "range",
    "upload-offset",
    "content-digest",
    "lucid-time",
    "x-content-hash",
    "content-type",
    "accept",
    "expect",
    "if-none-match",
    "content-length",
    "content-encoding",
    "origin",
    "host",
    "x-request-id",
    "lucid-hops",
    "if-range",
    "lucid-clock-back",
    "prefer",
];

/// Bodies that are right somewhere.
const BODIES: [&str; 22] = [
    r#"{"session_id":"s0","user_id":"u","layout":"raw"}"#,
    r#"{"session_id":"s1","layout":"tree","public":true,"metadata":{"a":"b"}}"#,
    r#"{"session_id":"s2","chunk_profile":"fixed:4096"}"#,
    r#"{}"#,
    r#"{"reason":"because"}"#,
    r#"{"chunks":[]}"#,
    r#"{"chunk_ids":["{chunk}"]}"#,
    r#"{"chunks":["{chunk}"]}"#,
    r#"{"start_index":0,"start_offset":0,"chunks":[{"chunk_id":"{chunk}","length":5}]}"#,
    r#"{"content_bytes":5,"end":"eof"}"#,
    r#"{"data":"aGVsbG8=","metadata":{"a":1}}"#,
    r#"{"leaves":["{chunk}","{chunk}"]}"#,
    r#"{"root_hash":"{chunk}","leaf":"{chunk}","index":0,"proof":[],"leaf_count":1}"#,
    r#"{"id":"t9","type":"data_storage","n":1e300}"#,
    r#"{"transactions":[{"id":"t8","type":"data_storage"},{"id":"t8"}]}"#,
    r#"{"session_id":"s0","merkle_root":"{chunk}","chunk_count":1}"#,
    r#"{"index":3,"timestamp":"2026-01-01T00:00:00Z","previous_hash":"{block}","merkle_root":"{chunk}","nonce":0,"hash":"{block}","transactions":[]}"#,
    r#"{"blocks":[{"index":0}]}"#,
    r#"{"start_height":0,"end_height":18446744073709551615}"#,
    r#"{"full":true}"#,
    r#"{"manifest":"","leaves":[],"secret":null}"#,
    r#"[1,[2,[3]]]"#,
];

/// Content whose chunk is asked for again.
const CONTENT: [&[u8]; 3] = [b"hello", b"", b"0123456789"];

fn ask(services: &Services, draw: &mut Draw<'_>) {
    let is_data = draw.byte() < 160;
    let all: &[&str] = if is_data { &DATA } else { &CHAIN };
    let line = draw.of(all).copied().unwrap_or("GET /");
    let Some((method, path)) = line.split_once(' ') else { return };
    let methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"];
    let method =
        if draw.once_in(24) { draw.of(&methods).copied().unwrap_or(method) } else { method };
    let mut target = fill(services, draw, path);
    for at in 0..draw.below(4) {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(draw.of(&QUERY).copied().unwrap_or_default());
        target.push('=');
        match draw.below(3) {
            0 => target.push_str(&draw.number().to_string()),
            1 => target.push_str(draw.of(&VALUES).copied().unwrap_or_default()),
            _ => target.push_str(&fill(services, draw, "{chunk}")),
        }
    }
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method.as_bytes()), target.parse::<Uri>())
    else {
        return;
    };
    let (kind, content) = content(services, draw, path);
    let mut request = Request::builder().method(method).uri(uri).header("host", "localhost");
    request = request.header("content-type", kind);
    if path.ends_with("/append") {
        let offset = if draw.once_in(4) { draw.number() } else { 5 * u64::from(draw.byte() % 3) };
        request = request.header("upload-offset", offset);
    }
    if draw.once_in(5) {
        let whole: Vec<u8> = content.iter().flat_map(|piece| piece.to_vec()).collect();
        let digest = Sha256::digest(&whole);
        use base64::Engine as _;
        let digest = base64::engine::general_purpose::STANDARD.encode(digest);
        request = request.header("content-digest", format!("sha-256=:{digest}:"));
    }
    for _ in 0..draw.below(4) {
        let (Some(name), value) = (draw.of(&HEADERS).copied(), value(draw)) else { continue };
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
        else {
            continue;
        };
        request = request.header(name, value);
    }
    let ends = match draw.below(12) {
        0 => Ends::Stalls,
        1 => Ends::Breaks,
        _ => Ends::Whole,
    };
    let Ok(request) = request.body(Body::new(Pieces { pieces: content, ends })) else { return };
    // Where time does not stand still, nobody waits for those who never go on.
    let leaves = draw.once_in(12) || (!cfg!(feature = "paused") && matches!(ends, Ends::Stalls));
    let router = if is_data { &services.data } else { &services.chain };
    let told = format!("{line} {request:?}");
    services.runtime.block_on(async {
        let asked = router.clone().oneshot(request);
        let reply = match leaves {
            // A caller who does not wait.
            true => match tokio::time::timeout(Duration::from_millis(1), asked).await {
                Ok(reply) => reply,
                Err(_) => return,
            },
            false => asked.await,
        };
        let Ok(reply) = reply;
        let status = reply.status().as_u16();
        let is_problem = status >= 400 && status != 404 || status >= 500;
        let headers = reply.headers().clone();
        let body = axum::body::to_bytes(reply.into_body(), ANSWER_BYTES).await;
        let said = body.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
        assert!(status != 500, "{told}: {said}");
        let is_json = headers
            .get("content-type")
            .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
        if is_problem && is_json && !said.is_empty() {
            let document = serde_json::from_str::<serde_json::Value>(&said);
            assert!(document.is_ok(), "{told}: {status} {said}");
        }
    });
}

/// Puts names into a path, a query or a body.
fn fill(services: &Services, draw: &mut Draw<'_>, template: &str) -> String {
    let names = ["session", "chunk", "path", "number", "block", "transaction"];
    let mut text = template.to_owned();
    while let Some((name, at)) =
        names.iter().find_map(|name| Some((*name, text.find(&format!("{{{name}}}"))?)))
    {
        let value = match (draw.once_in(10), name) {
            (true, _) => {
                let odd = [
                    "%2e%2e",
                    "..",
                    "%",
                    "%zz",
                    "%00",
                    "a%2fb",
                    "é",
                    "~",
                    "x'",
                    "%f0%9f%98%80",
                    "-0",
                ];
                odd.get(draw.below(odd.len())).copied().unwrap_or_default().to_owned()
            }
            (_, "session") => format!("s{}", draw.below(4)),
            (_, "chunk") => {
                let content = draw.of(&CONTENT).copied().unwrap_or_default();
                blake3::hash(content).to_hex().to_string()
            }
            (_, "path") => ["a", "a/b", "..", "a//b", "%2e%2e/x"][..]
                .get(draw.below(5))
                .copied()
                .unwrap_or_default()
                .to_owned(),
            (_, "number") => match draw.flag() {
                true => draw.below(5).to_string(),
                false => draw.number().to_string(),
            },
            (_, "block") => services.block.clone(),
            _ => format!("t{}", draw.below(5)),
        };
        // What was put in is not filled itself.
        let value = value.replace(['{', '}'], "");
        text.replace_range(at..at + name.len() + 2, &value);
    }
    text
}

/// A header's value.
fn value(draw: &mut Draw<'_>) -> Vec<u8> {
    let known = [
        "bytes=0-4",
        "bytes=-1",
        "bytes=5-",
        "bytes=4-2",
        "bytes=0-0,2-3",
        "bytes=18446744073709551615-",
        "bytes=0-18446744073709551615",
        "sha-256=:AAAA:",
        "sha-512=:x:,sha-256=::",
        "2026-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
        "0",
        "18446744073709551616",
        "100-continue",
        "application/json",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "application/octet-stream",
        "text/plain; charset=\"",
        "gzip",
        "*",
        "\"x\"",
        "http://evil.example",
        "evil.example:80",
        "1e3",
        "-1",
    ];
    match draw.below(3) {
        0 => draw.bytes(40),
        1 => draw.number().to_string().into_bytes(),
        _ => draw.of(&known).copied().unwrap_or_default().as_bytes().to_vec(),
    }
}

/// A body, in pieces, and what it says that it is.
fn content(services: &Services, draw: &mut Draw<'_>, path: &str) -> (&'static str, Vec<Bytes>) {
    let raw = path.ends_with("/append") || draw.once_in(6);
    let (kind, mut bytes) = match draw.below(8) {
        0 => ("multipart/form-data; boundary=b", multipart(draw)),
        1 => ("application/octet-stream", frames(draw)),
        2 => ("application/octet-stream", draw.bytes(200)),
        _ if raw => {
            ("application/octet-stream", draw.of(&CONTENT).copied().unwrap_or_default().to_vec())
        }
        _ => {
            let template = draw.of(&BODIES).copied().unwrap_or("{}");
            ("application/json", fill(services, draw, template).into_bytes())
        }
    };
    if draw.once_in(4) && !bytes.is_empty() {
        alter(draw, &mut bytes);
    }
    let mut pieces = Vec::new();
    let at = draw.below(bytes.len() + 1);
    let rest = bytes.split_off(at);
    pieces.push(Bytes::from(bytes));
    if draw.once_in(200) {
        // As much as a route takes, and more.
        let filler = Bytes::from(vec![b' '; 1 << 20]);
        let count = [4, 5, 32, 33, 64, 65].get(draw.below(6)).copied().unwrap_or(4);
        pieces.extend(std::iter::repeat_n(filler, count));
    }
    pieces.push(Bytes::from(rest));
    (kind, pieces)
}

fn multipart(draw: &mut Draw<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..draw.below(5) {
        let names =
            ["file", "chunk", "data", "metadata", "hash", "alias", "index", "session_id", ""];
        let name = draw.of(&names).copied().unwrap_or_default();
        body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
        if draw.flag() {
            body.extend(b"; filename=\"x\"");
        }
        body.extend(b"\r\n");
        if draw.flag() {
            body.extend(b"Content-Type: application/json\r\n");
        }
        body.extend(b"\r\n");
        match draw.below(3) {
            0 => body.extend(draw.bytes(60)),
            1 => body.extend(b"{\"a\":1}"),
            _ => body.extend(b"hello"),
        }
        body.extend(b"\r\n");
    }
    if !draw.once_in(6) {
        body.extend(b"--b--\r\n");
    }
    body
}

/// Chunks as they come in a batch: id, length, bytes.
fn frames(draw: &mut Draw<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..draw.below(4) {
        let content = draw.filled(300);
        let length =
            if draw.once_in(8) { draw.short() } else { u32::try_from(content.len()).unwrap_or(0) };
        let id = blake3::hash(&content);
        if draw.flag() {
            body.extend(id.as_bytes());
        }
        body.extend(length.to_le_bytes());
        body.extend(content);
    }
    body
}

/// How a body ends.
#[derive(Clone, Copy)]
enum Ends {
    Whole,
    /// Nothing more comes, ever.
    Stalls,
    /// The connection breaks.
    Breaks,
}

/// A body that comes in pieces.
struct Pieces {
    pieces: Vec<Bytes>,
    ends: Ends,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if !self.pieces.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.pieces.remove(0)))));
        }
        match self.ends {
            Ends::Whole => Poll::Ready(None),
            Ends::Stalls => Poll::Pending,
            Ends::Breaks => {
                self.ends = Ends::Whole;
                Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
            }
        }
    }
}
