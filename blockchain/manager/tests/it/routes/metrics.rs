//! What `/metrics` says of the chain.

use std::time::{Duration, Instant};

use crate::service::{Server, anchor};

/// The figure with this name and these labels, if it is there.
fn figure(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_and_what_is_done_with_it_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let scrape = async || {
        let (status, page) = server.get("/metrics").await;
        assert_eq!(status, 200);
        page.as_str().unwrap().to_owned()
    };
    let before = scrape().await;
    assert_eq!(figure(&before, "lucid_chain_blocks"), Some(0.0));
    assert_eq!(figure(&before, "lucid_chain_height"), None, "there is no block");
    assert_eq!(figure(&before, "lucid_pool_bytes"), Some(0.0));
    server.chain(&anchor(1)).await;
    let after = scrape().await;
    for (name, value) in [
        ("lucid_chain_blocks", 1.0),
        ("lucid_chain_height", 0.0),
        ("lucid_chain_transactions", 1.0),
        ("lucid_chain_forks", 0.0),
        ("lucid_chain_tentative_blocks", 0.0),
        ("lucid_chain_damaged_places", 0.0),
    ] {
        assert_eq!(figure(&after, name), Some(value), "{name}: {after}");
    }
    let age = figure(&after, "lucid_chain_tip_age_seconds").unwrap();
    assert!((0.0..3_600.0).contains(&age), "{age}");
    // A block answers before what it took is counted. Others of this process count, too.
    let counted = [
        "lucid_chain_stage_seconds_count{stage=\"submit\"}",
        "lucid_chain_stage_seconds_count{stage=\"produce\"}",
        "lucid_store_calls_total{part=\"blocks\",call=\"append\"}",
        "lucid_store_call_seconds_count{part=\"blocks\",call=\"append\"}",
        "lucid_blocks_stored_total",
        "lucid_transactions_chained_total",
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = scrape().await;
        let grew = |name: &&&str| figure(&now, name).unwrap() > figure(&before, name).unwrap();
        let Some(still) = counted.iter().find(|name| !grew(name)) else { break };
        assert!(Instant::now() < deadline, "{still} did not grow: {now}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.stop().await;
}
