//! Looking after the chain when it is asked for, and unasked.

use std::time::Duration;

use crate::service::Server;
use crate::upkeep::chain;

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_runs_by_itself_once_at_a_time_and_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    drop(chain(folder.path()));
    let settings = [("CHAIN_MAINTENANCE_INTERVAL", "0.05"), ("BLOCK_INTERVAL_SECONDS", "0.02")];
    let server = Server::start_with(folder.path(), &settings).await;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if server.get("/api/v1/chain/info").await.1["last_report"].is_object() {
            break;
        }
    }
    let info = server.get("/api/v1/chain/info").await.1;
    assert_eq!(info["last_report"]["integrity"]["faults"], 0, "{info}");
    let metrics = server.get("/metrics").await.1;
    let metrics = metrics.as_str().unwrap();
    for name in
        ["lucid_chain_height 19", "lucid_chain_transactions 60", "lucid_chain_damaged_places 0"]
    {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    for wrong in ["{", r#"{"full":1}"#, r#"{"all":true}"#] {
        let status = server.raw("POST", "/api/v1/chain/maintenance", Some(wrong)).await.0;
        assert!((400..=422).contains(&status) && status != 409, "{wrong}: {status}");
    }
    server.stop().await;
}
