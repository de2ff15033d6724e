//! The service's clock, turned while it runs.

use lucid_core::time::Timestamp;
use lucid_store::clock::Clock;
use serde_json::Value;

use crate::service::{Server, anchor};

/// The service's health, once the producing of blocks says this.
async fn health_says(server: &Server, wanted: &str) -> Value {
    for _ in 0..500 {
        let (_, health) = server.get("/health").await;
        if health.to_string().contains(wanted) {
            return health;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("health never said {wanted:?}: {}", server.get("/health").await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_in_2099_produces_nothing_says_so_and_goes_on_when_it_is_set_right() {
    let folder = tempfile::tempdir().unwrap();
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let clock = Clock::by_hand(at("2026-01-27T10:00:00Z"));
    let server = Server::start_by(&clock, folder.path()).await;
    server.chain(&anchor(1)).await;
    clock.turn(at("2099-01-01T00:00:00Z"));
    let text = anchor(2);
    server.call(move |client| client.submit_transaction(&text)).await.unwrap();
    health_says(&server, "lucid doctor --accept-clock").await;
    let (_, info) = server.get("/api/v1/chain/info").await;
    assert_eq!((&info["height"], &info["block_count"]), (&0.into(), &1.into()), "{info}");
    // Back, and over an hour before the newest block: that is said, too.
    clock.turn(at("2026-01-27T08:00:00Z"));
    health_says(&server, "lucid chain begin-anew").await;
    clock.turn(at("1969-07-20T20:17:00Z"));
    health_says(&server, "the clock, 1969").await;
    clock.turn(at("2026-01-27T10:00:10Z"));
    server.chain(&anchor(2)).await;
    let (_, block) = server.get("/api/v1/blocks/1").await;
    assert!(block["timestamp"].as_str().unwrap().starts_with("2026-01-27T10:00:10"), "{block}");
    server.stop().await;
}
