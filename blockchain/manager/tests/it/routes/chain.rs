//! What is said of the chain as a whole.

use lucid_block_manager::fact;
use lucid_core::block::Block;
use lucid_core::transaction::Transaction;
use lucid_store::clock::Clock;
use serde_json::{Value, json};

use crate::routes::blocks::another;
use crate::service::Server;
use crate::upkeep::{BLOCKS, FIRST_RECORD, chain, flip};

#[tokio::test(flavor = "multi_thread")]
async fn every_time_that_is_said_has_its_zone_though_the_block_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), "3600").await;
    let root = "a".repeat(64);
    let text = format!(
        r#"{{"id":"x","type":"session_anchor","session_id":"s","merkle_root":"{root}","timestamp":"2026-01-01T00:00:00Z"}}"#
    );
    let transactions = vec![Transaction::parse(text.as_bytes()).unwrap()];
    let mut block = Block::build(None, transactions, Clock::system().now(), &another());
    (block.producer, block.signature) = (None, None);
    block.timestamp = block.timestamp.trim_end_matches('Z').to_owned();
    block.hash = block.computed_hash();
    let (spelled, zoned) = (block.timestamp.clone(), format!("{}Z", block.timestamp));
    let (status, taken) = server.raw("POST", "/api/v1/blocks", Some(&block.to_json_text())).await;
    assert_eq!(status, 201, "{taken}");
    let after = Clock::system().now();

    let (_, stored) = server.get("/api/v1/blocks/0").await;
    assert_eq!(stored["timestamp"], json!(spelled), "a block is what it is");
    let (_, state) = server.get("/api/v1/transactions/x").await;
    assert_eq!(state["confirmed_at"], json!(zoned), "{state}");
    let (status, again) = server.raw("POST", "/api/v1/transactions", Some(&text)).await;
    assert_eq!((status, &again["confirmation_time"]), (200, &json!(zoned)), "{again}");
    let (_, anchored) = server.get("/api/v1/anchoring/session/s").await;
    assert_eq!(anchored["confirmed_at"], json!(zoned), "{anchored}");
    for path in ["/api/v1/chain/status", "/api/v1/blockchain/status", "/api/v1/blockchain/info"] {
        let (_, status) = server.get(path).await;
        assert_eq!(status["last_block_time"], json!(zoned), "{path}: {status}");
    }
    // When it was said, and not when the newest block was made.
    let (_, info) = server.get("/api/v1/chain/info").await;
    let updated = info["last_updated"].as_str().unwrap();
    assert!(updated.ends_with('Z'), "{updated}");
    let updated = lucid_core::time::Timestamp::parse(updated).unwrap();
    assert!(after <= updated && updated <= Clock::system().now(), "{updated}");

    // What a verdict says of a time is what the block spells, and how far before the clock that is.
    block.timestamp =
        Clock::system().now().plus_seconds(-3_600).to_string().trim_end_matches('Z').to_owned();
    block.hash = block.computed_hash();
    let path = "/api/v1/blocks/validate?mode=historical";
    let (_, verdict) = server.raw("POST", path, Some(&block.to_json_text())).await;
    let results = verdict["results"].as_array().unwrap();
    let found = results.iter().find(|result| result["rule"] == "timestamp").unwrap();
    let details = &found["details"];
    assert_eq!(details["block_time"], json!(block.timestamp), "{verdict}");
    let difference = details["time_diff_seconds"].as_f64().unwrap();
    assert!((-3_700.0..=-3_600.0).contains(&difference), "{verdict}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_newest_block_is_damaged_says_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let tip = manager.chain.tip().unwrap().unwrap();
    let genesis = fact::genesis(manager.vault.index()).unwrap().unwrap();
    drop(manager);
    let server = Server::start(folder.path()).await;
    let newest = std::fs::read_dir(folder.path().join("blocks")).unwrap();
    let newest = newest.map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| path.extension().is_some_and(|kind| kind == "blocks")).max();
    let newest = newest.unwrap();
    let length = std::fs::metadata(&newest).unwrap().len() as usize;
    flip(&newest, length - 60);
    let (status, info) = server.get("/api/v1/chain/info").await;
    assert_eq!(status, 200, "{info}");
    assert_eq!(info["height"], tip.height);
    assert_eq!(info["latest_block_hash"], tip.hash.to_string());
    assert_eq!(info["genesis_hash"], genesis.to_string());
    let numbers = &info["statistics"];
    assert_eq!(
        (&numbers["total_blocks"], &numbers["total_transactions"], &numbers["role"]),
        (&json!(BLOCKS), &Value::Null, &json!("authority"))
    );
    let named = newest.file_name().unwrap().to_str().unwrap();
    assert!(numbers["damage"].as_str().unwrap().contains(named), "{info}");
    for path in ["/api/v1/status", "/api/v1/chain/status", "/api/v1/chain/height"] {
        let (status, said) = server.get(path).await;
        assert_eq!(status, 200, "{path}: {said}");
    }
    assert_eq!(server.get("/api/v1/chain/height").await.1["height"], tip.height);
    let (status, said) = server.get(&format!("/api/v1/blocks/{}", tip.height)).await;
    let codes = (status, said["code"].as_str(), said["error"]["code"].as_str());
    assert_eq!(codes, (409, Some("damaged"), Some("BM_004")), "{said}");
    let (status, stats) = server.get("/api/v1/blocks/stats").await;
    assert_eq!((status, &stats["latest_height"]), (200, &json!(tip.height)), "{stats}");
    for unknown in ["total_transactions", "average_block_time", "average_block_size"] {
        assert_eq!(stats.get(unknown), Some(&Value::Null), "{unknown}: {stats}");
    }
    assert!(stats["storage_size"].as_u64().unwrap() > 0, "{stats}");
    let said = stats["damage"].as_str().unwrap();
    assert!(said.contains("the newest block") && said.contains(named), "{said}");
    // The first block tells nothing but when it began.
    flip(&newest, length - 60);
    let (_, whole) = server.get("/api/v1/blocks/stats").await;
    assert_eq!((whole["total_transactions"].as_u64(), whole.get("damage")), (Some(60), None));
    flip(&folder.path().join("blocks/00000001.blocks"), FIRST_RECORD);
    let (_, stats) = server.get("/api/v1/blocks/stats").await;
    let said = stats["damage"].as_str().unwrap();
    assert!(said.contains("the first block") && said.contains("00000001.blocks"), "{said}");
    assert_eq!(stats["average_block_time"], Value::Null);
    for known in ["total_transactions", "average_block_size"] {
        assert_eq!(stats[known], whole[known], "{known}");
    }
    server.stop().await;
}
