//! A service with one route of each sort, and a caller that sees every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::{get, post};
use lucid_api::problem::{Documented, ErrorCode};
use lucid_http::Service;
use lucid_http::config::{CommonConfig, Environment, load};
use lucid_http::credentials::Credentials;
use lucid_http::extract::{BytePath, Json, JsonText, Path, Query, Whole};
use lucid_http::health::HealthReport;
use lucid_http::limits::{self, Limits};
use lucid_http::porch::Porch;
use lucid_http::reply::{Content, Refusal, Reply, Selection};
use lucid_http::serve::{Drained, Listening, Shutdown};
use lucid_http::stream::{self, Upload};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use utoipa_axum::router::OpenApiRouter;

pub static SERVICE: Service = Service {
    name: "lucid-test",
    title: "Lucid Test",
    prefix: "TEST",
    port: 8099,
    version: "1.0.0",
    about: "Is tested.",
    endpoints: &["/api/v1/things"],
};

/// How long a caller may take nothing of a reply.
const STALL: Duration = Duration::from_secs(1);

/// How fast a reply must be taken that lies in memory, and how much longer it may take.
pub const RATE: u64 = 12 << 20;
pub const GRACE: Duration = Duration::from_millis(300);

/// What the clock of the credentials says: 2026-11-28.
pub const NOW: i64 = 1_795_824_000_000_000;

pub const CONTENT: &[u8] = b"0123456789";
/// The test's own limit, so that bodies beyond it stay small enough to be sent whole.
const SMALL: Limits = Limits {
    answer: limits::Answer::Within(Duration::from_millis(200)),
    body: limits::Body::Whole { bytes: 1024, within: Duration::from_millis(200), growth: 4 },
};

pub fn settings(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn common(pairs: &[(&str, &str)]) -> CommonConfig {
    load(&SERVICE, &settings(pairs), None, CommonConfig::read).unwrap().config
}

#[derive(Clone, Default)]
pub struct Attempts(Arc<AtomicU32>);

impl Attempts {
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Deserialize)]
struct Thing {
    number: u8,
}

async fn flaky(State(attempts): State<Attempts>) -> Reply<Json2> {
    match attempts.0.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err(Refusal::new(ErrorCode::Unavailable, "not yet")),
        _ => Ok(axum::Json(serde_json::json!({
            "height": 3, "hash": null, "timestamp": null, "empty": false
        }))),
    }
}

type Json2 = axum::Json<serde_json::Value>;

async fn gone(State(attempts): State<Attempts>) -> Reply<()> {
    attempts.0.fetch_add(1, Ordering::SeqCst);
    Err(Refusal::new(ErrorCode::Gone, "pruned").documented(Documented::NO_BLOCK).with("height", 7))
}

async fn file(BytePath(values): BytePath) -> Vec<u8> {
    values.join(&b'|')
}

async fn panicking() -> &'static str {
    panic!("as arranged")
}

async fn whole(Path(bytes): Path<usize>) -> Vec<u8> {
    vec![b'.'; bytes]
}

/// Refuses with what was sent in the reason.
async fn refusing(body: Whole) -> Reply<()> {
    Err(Refusal::new(ErrorCode::Invalid, String::from_utf8_lossy(&body.0)))
}

async fn refusing_early() -> Reply<()> {
    Err(Refusal::new(ErrorCode::Exists, "it is there"))
}

/// Sends a little now and then, for longer than any reply that lies in memory may take.
async fn lasting() -> Response {
    let (sender, body) = stream::download();
    tokio::task::spawn_blocking(move || {
        for _ in 0..20 {
            std::thread::sleep(GRACE / 4);
            sender.blocking_send(Bytes::from_static(CONTENT)).unwrap();
        }
        sender.finish();
    });
    Response::new(body)
}

async fn content(method: Method, headers: HeaderMap) -> Reply<Response> {
    let content = Content { length: CONTENT.len() as u64, etag: Some("e"), kind: "text/x-test" };
    let selection = content.select(&method, &headers)?;
    let body = match &selection {
        Selection::Part(part) => &CONTENT[part.start as usize..part.end as usize],
        Selection::Whole | Selection::NotModified => CONTENT,
    };
    Ok(content.reply(&selection, body))
}

async fn upload(mut upload: Upload) -> Reply<String> {
    let mut length = 0;
    while let Some(piece) = upload.next().await {
        length += piece?.len();
    }
    Ok(length.to_string())
}

async fn broken_off() -> Response {
    let (sender, body) = stream::download();
    tokio::task::spawn_blocking(move || {
        sender.blocking_send(Bytes::from_static(b"half")).unwrap();
        // What breaks off before the head is on its way is no reply at all.
        std::thread::sleep(Duration::from_millis(100));
    });
    Response::new(body)
}

async fn streamed() -> Response {
    let (sender, body) = stream::download();
    tokio::task::spawn_blocking(move || {
        for _ in 0..100 {
            sender.blocking_send(Bytes::from_static(CONTENT)).unwrap();
        }
        sender.finish();
    });
    Response::new(body)
}

/// Sends without end, and says when it cannot any more.
fn flood(ended: Arc<Notify>) -> Response {
    let (sender, body) = stream::download();
    tokio::task::spawn_blocking(move || {
        while sender.blocking_send(Bytes::from_static(&[0; 65_536])).is_ok() {}
        ended.notify_one();
    });
    Response::new(body)
}

fn routes(attempts: Attempts, flood_ended: Arc<Notify>) -> OpenApiRouter {
    let ordinary = OpenApiRouter::new()
        .route("/api/v1/things/{id}", get(|Path(id): Path<u64>| async move { id.to_string() }))
        .route("/api/v1/chain/height", get(flaky))
        .route("/api/v1/chain/info", get(gone))
        .route("/api/v1/sessions/{session_id}/data", get(content))
        .route("/api/v1/sessions/{session_id}/files/{*path}", get(file))
        .route("/panic", get(panicking).post(panicking))
        .route("/numbered/{id}", post(|Path(id): Path<u64>| async move { id.to_string() }))
        .route("/whole/{bytes}", get(whole).post(whole))
        .route("/refusing", post(refusing))
        .route("/refusing-early", post(refusing_early))
        .route("/query", get(|Query(thing): Query<Thing>| async move { thing.number.to_string() }))
        .route("/text", post(|JsonText(text): JsonText| async move { text }))
        .with_state(attempts);
    let small = OpenApiRouter::new()
        .route("/json", post(|Json(thing): Json<Thing>| async move { thing.number.to_string() }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }));
    let streams = OpenApiRouter::new()
        .route("/upload", post(upload))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/streamed", get(streamed))
        .route("/lasting", get(lasting))
        .route("/broken-off", get(broken_off))
        .route("/flood", get(|| async move { flood(flood_ended) }));
    Limits::ORDINARY
        .around(ordinary)
        .merge(SMALL.around(small))
        .merge(Limits::STREAM.around(streams))
        .route(
            "/in-work",
            get(|| async {
                IN_WORK.notify_one();
                tokio::time::sleep(Duration::from_millis(300)).await;
                "done"
            }),
        )
        .route(
            "/endless",
            get(|| async {
                IN_ENDLESS_WORK.notify_one();
                tokio::time::sleep(Duration::from_secs(60)).await;
            }),
        )
}

/// Heard once a request to `/in-work`, or to `/endless`, is in work.
pub static IN_WORK: Notify = Notify::const_new();
pub static IN_ENDLESS_WORK: Notify = Notify::const_new();

pub struct Server {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub attempts: Attempts,
    pub flood_ended: Arc<Notify>,
    serving: JoinHandle<Drained>,
}

impl Server {
    pub async fn start(pairs: &[(&str, &str)]) -> Self {
        Self::start_with(pairs, |porch| porch).await
    }

    pub async fn start_with(pairs: &[(&str, &str)], change: impl FnOnce(Porch) -> Porch) -> Self {
        let impatient = |listening: Listening| listening.stall_for(STALL).pace(RATE, GRACE);
        Self::start_on(pairs, change, impatient).await
    }

    pub async fn start_on(
        pairs: &[(&str, &str)],
        change: impl FnOnce(Porch) -> Porch,
        listen: impl FnOnce(Listening) -> Listening,
    ) -> Self {
        let (attempts, flood_ended) = (Attempts::default(), Arc::new(Notify::new()));
        let health =
            || HealthReport::new().needed("store", true).optional("sync", false).detail("down");
        let config = common(pairs);
        let credentials = Credentials::open(&config.access, Arc::new(|| NOW)).unwrap();
        let porch = Porch::new(&SERVICE, &config, &credentials, health);
        let porch = porch.alias("/api/v1/test", "/api/v1");
        let app = change(porch).around(routes(attempts.clone(), flood_ended.clone()));
        let listening = Listening::bind(&SERVICE, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let listening = listen(listening.drain_for(Duration::from_secs(2)));
        let (address, shutdown) = (listening.address(), Shutdown::new());
        let asked = shutdown.clone();
        let serving = tokio::spawn(async move { listening.serve(app, &asked).await });
        Self { address, shutdown, attempts, flood_ended, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn stop(self) -> Drained {
        self.shutdown.ask();
        self.serving.await.unwrap()
    }

    /// Sends one request and reads the whole reply.
    pub async fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let lines = head.trim_end().replace('\n', "\r\n");
        let host =
            if lines.to_lowercase().contains("\r\nhost:") { "" } else { "Host: localhost\r\n" };
        let head =
            format!("{lines}\r\n{host}Connection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        Answer::parse(&reply)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1"), b"").await
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(reply: &[u8]) -> Self {
        let end = reply.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = str::from_utf8(&reply[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: reply[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
