//! The whole service over HTTP, on a free port.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lucid_api::client::{BlockManagerClient, ClientError, ClientOptions, Retry};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::transactions::TransactionStatus;
use lucid_block_manager::config::Config;
use lucid_block_manager::service::{Running, StartError, start};
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use serde_json::{Value, json};

pub struct Server {
    running: Running,
    shutdown: Shutdown,
}

pub fn config(folder: &Path, settings: &[(&str, &str)]) -> Config {
    let mut environment = BTreeMap::from([
        ("BLOCK_MANAGER_PORT".to_owned(), "0".to_owned()),
        ("LUCID_DATA_DIR".to_owned(), folder.display().to_string()),
    ]);
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment.extend(settings);
    Config::load(&environment, None).unwrap().config
}

impl Server {
    pub async fn start(folder: &Path) -> Self {
        Self::start_producing(folder, "0.02").await
    }

    pub async fn start_producing(folder: &Path, interval: &str) -> Self {
        Self::start_with(folder, &[("BLOCK_INTERVAL_SECONDS", interval)]).await
    }

    pub async fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let shutdown = Shutdown::new();
        let running = start(config(folder, settings), &shutdown).await.unwrap();
        Self { running, shutdown }
    }

    /// One that takes the time from this clock.
    pub async fn start_by(clock: &Clock, folder: &Path) -> Self {
        let shutdown = Shutdown::new();
        let config = config(folder, &[("BLOCK_INTERVAL_SECONDS", "0.02")]);
        let config = Config { clock: clock.clone(), ..config };
        let running = start(config, &shutdown).await.unwrap();
        Self { running, shutdown }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.running.address())
    }

    pub async fn stop(self) {
        self.shutdown.ask();
        self.running.finished().await.unwrap();
    }

    /// The client blocks, so it is called as its users call it: on a thread of its own.
    pub async fn call<T: Send + 'static>(
        &self,
        ask: impl FnOnce(BlockManagerClient) -> T + Send + 'static,
    ) -> T {
        let url = self.url();
        let retry = Retry { count: 0, delay: Duration::ZERO };
        let options = ClientOptions { retry, ..ClientOptions::default() };
        let ask = move || ask(BlockManagerClient::new(&url, options).unwrap());
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    /// What a program without our client sees: status and JSON.
    pub async fn raw(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        ask(&self.url(), method, path, body).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.raw("GET", path, None).await
    }

    /// Submits and waits for the block.
    pub async fn chain(&self, text: &str) -> String {
        let text = text.to_owned();
        let accepted = self.call(move |client| client.submit_transaction(&text)).await.unwrap();
        let id = accepted.tx_id;
        for _ in 0..1_000 {
            let named = id.clone();
            let state = self.call(move |client| client.transaction(&named)).await.unwrap();
            if state.status == TransactionStatus::Confirmed {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} was never chained");
    }
}

/// Asks a service at an address: status and JSON.
pub async fn ask(base: &str, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
    ask_preferring(base, method, path, body, "").await
}

/// Asks like [`ask`], and says how long it waits.
pub async fn ask_preferring(
    base: &str,
    method: &str,
    path: &str,
    body: Option<&str>,
    prefer: &'static str,
) -> (u16, Value) {
    let (base, url) = (base.to_owned(), format!("{base}{path}"));
    let (method, body) = (method.parse().unwrap(), body.map(str::to_owned));
    tokio::task::spawn_blocking(move || {
        // Chooses the provider of TLS, which every client needs.
        BlockManagerClient::new(&base, ClientOptions::default()).unwrap();
        let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]);
        let mut request = client.build().unwrap().request(method, url);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        if !prefer.is_empty() {
            request = request.header("prefer", prefer);
        }
        let reply = request.send().unwrap();
        let status = reply.status().as_u16();
        let text = reply.text().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    })
    .await
    .unwrap()
}

pub fn anchor(n: u32) -> String {
    format!(r#"{{"id":"a-{n}","type":"session_anchor","session_id":"s-{n}"}}"#)
}

pub const LATER: &str = "3600";

pub async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    server.raw("POST", path, Some(&body.to_string())).await
}

pub fn transaction(id: &str) -> Value {
    json!({ "id": id, "type": "data_storage", "timestamp": "2026-01-01T00:00:00Z", "data": {"n": 1} })
}

pub fn code(error: &ClientError) -> Option<ErrorCode> {
    error.refused().and_then(|refused| refused.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_chain_and_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.chain(&anchor(1)).await;
    let before = server.call(|client| client.block(0)).await.unwrap();
    server.stop().await;
    let slow = Server::start_producing(folder.path(), "1000").await;
    slow.call(|client| client.submit_transaction(&anchor(2))).await.unwrap();
    slow.stop().await;
    let server = Server::start(folder.path()).await;
    assert_eq!(server.call(|client| client.block(0)).await.unwrap(), before);
    server.chain(&anchor(2)).await;
    let info = server.call(|client| client.chain_info()).await.unwrap();
    assert_eq!((info.height, info.statistics["total_transactions"].clone()), (1, json!(2)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_stops_the_start_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let shutdown = Shutdown::new();
    let refused = start(config(folder.path(), &[]), &shutdown).await.err().unwrap();
    assert!(matches!(&refused, StartError::Open(_)), "{refused}");
    assert!(refused.to_string().contains("in use by lucid-block-manager"), "{refused}");
    assert!(!shutdown.is_asked());
    server.stop().await;
}

#[test]
fn wrong_settings_are_named() {
    for (name, value, wanted) in [
        ("BLOCK_MANAGER_PORT", "x", "ERROR: Invalid BLOCK_MANAGER_PORT value: x"),
        ("BLOCK_INTERVAL_SECONDS", "0", "BLOCK_INTERVAL_SECONDS"),
        ("LUCID_CHAIN_FOLLOW_URL", "blockchain-engine:8084", "LUCID_CHAIN_FOLLOW_URL"),
        ("LUCID_CHAIN_GENESIS", "abc", "LUCID_CHAIN_GENESIS"),
        ("LUCID_CHAIN_PRODUCER_KEY", "abc", "LUCID_CHAIN_PRODUCER_KEY"),
        ("SYNC_BATCH_SIZE", "0", "SYNC_BATCH_SIZE"),
        ("BLOCK_MANAGER_HOST", "0.0.0.0", "LUCID_AUTH=off"),
        (
            "DATA_CHAIN_STORAGE_BACKEND",
            "mongodb",
            "ERROR: MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set",
        ),
        ("MONGODB_URI", "postgres://h", "mongodb://USER:PASSWORD@HOST/DATABASE is wanted"),
    ] {
        let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = Config::load(&environment, None).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
