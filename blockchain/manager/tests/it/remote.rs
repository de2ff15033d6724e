//! A block-manager whose facts and blocks are in MongoDB: the same service over a real server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lucid_block_manager::config::Config;
use lucid_block_manager::opened::{self, Options};
use lucid_http::serve::Shutdown;
use lucid_store::backend::Given;
use lucid_store::clock::Clock;

use crate::real_servers::Remote;
use crate::service::{Server, config};

/// Makes the store as `lucid init` does.
fn make(folder: &Path, remote: &Remote) {
    let options = config(folder, &remote.variables()).options();
    let given = Given { makes_keys: true, ..options.given.clone() };
    let options = Options { given, ..options };
    opened::open(folder, &options, Clock::system().now()).unwrap().close().unwrap();
}

fn give_keys(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("keys")).unwrap();
    for name in ["root.key", "root.key.copy", "block.key", "block.key.copy"] {
        fs::copy(from.join("keys").join(name), to.join("keys").join(name)).unwrap();
    }
}

fn settings<'a>(remote: &'a Remote, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("BLOCK_INTERVAL_SECONDS", "0.05")], remote.variables().as_slice(), more].concat()
}

async fn refusal(folder: &Path, settings: &[(&str, &str)]) -> String {
    let config: Config = config(folder, settings);
    let started = lucid_block_manager::service::start(config, &Shutdown::new()).await;
    started.err().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_there_after_a_restart_and_for_an_empty_disk() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let (making, of) = (first.clone(), remote.clone());
    tokio::task::spawn_blocking(move || make(&making, &of)).await.unwrap();

    let server = Server::start_with(&first, &settings(&remote, &[])).await;
    for number in 0..3 {
        let text = format!(r#"{{"id": "tx-{number}", "type": "t", "value": {number}}}"#);
        server.chain(&text).await;
    }
    let (_, status) = server.get("/api/v1/status").await;
    assert_eq!(status["kept"]["log"], "mongodb", "{status}");
    assert_eq!(status["kept"]["blocks"], "mongodb", "{status}");
    let (_, before) = server.get("/api/v1/chain/status").await;
    server.stop().await;
    for name in ["log", "blocks", "TIP"] {
        assert!(!first.join(name).exists(), "{name}");
    }

    let server = Server::start_with(&first, &settings(&remote, &[])).await;
    let (_, after) = server.get("/api/v1/chain/status").await;
    assert_eq!(after["latest_block_hash"], before["latest_block_hash"]);
    server.chain(r#"{"id": "tx-3", "type": "t"}"#).await;
    server.stop().await;

    give_keys(&first, &second);
    let server = Server::start_with(&second, &settings(&remote, &[])).await;
    let (code, found) = server.get("/api/v1/transactions/tx-3").await;
    assert_eq!(code, 200, "{found}");
    let judged = loop {
        let all = Some(r#"{"full": true}"#);
        let (code, judged) = server.raw("POST", "/api/v1/chain/maintenance", all).await;
        // The service looks after its chain by itself, too.
        if code != 409 {
            break judged;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(judged["status"], "completed", "{judged}");
    assert_eq!(judged["integrity"]["faults"], 0, "{judged}");
    assert!(judged["integrity"]["checked"].as_u64().unwrap() >= 2, "{judged}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_together_is_refused() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    let why = refusal(&first, &remote.variables()).await;
    assert!(why.contains("run `lucid init` with the same variables"), "{why}");
    assert!(!first.exists());
    let (making, of) = (first.clone(), remote.clone());
    tokio::task::spawn_blocking(move || make(&making, &of)).await.unwrap();
    let why = refusal(&first, &[]).await;
    assert!(why.contains("is in MongoDB, and no variable says where"), "{why}");
    let elsewhere = home.path().join("blocks");
    let elsewhere = elsewhere.to_str().unwrap();
    let why = refusal(&first, &settings(&remote, &[("BLOCK_STORAGE_PATH", elsewhere)])).await;
    assert!(why.contains("unset BLOCK_STORAGE_PATH"), "{why}");
    let plain = home.path().join("plain");
    Server::start(&plain).await.stop().await;
    let why = refusal(&plain, &remote.variables()).await;
    assert!(why.contains("MONGO_URL is set, and the log of the store in"), "{why}");
}
