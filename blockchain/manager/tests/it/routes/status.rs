//! What the service says of itself.

use std::time::Duration;

use lucid_api::v1::service::HealthState;
use lucid_block_manager::fact;
use serde_json::{Value, json};

use crate::service::{Server, anchor};
use crate::upkeep::{chain, flip};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_says_what_it_is_and_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let (status, root) = server.get("/").await;
    assert_eq!(status, 200);
    assert_eq!(
        root,
        json!({
            "message": "Lucid Block Manager Service",
            "version": "1.0.0",
            "docs": "/docs",
            "endpoints": ["/api/v1/blocks", "/api/v1/chain", "/api/v1/validation"],
        })
    );
    for path in ["/health", "/api/v1/health"] {
        let (status, health) = server.get(path).await;
        assert_eq!((status, &health["status"]), (200, &json!("healthy")), "{health}");
        assert_eq!(health["service"], "lucid-block-manager");
        for part in ["block_validator", "chain_manager", "block_storage", "chain_sync"] {
            assert_eq!(health[part], true, "{part}");
        }
    }
    let status = server.call(|client| client.status()).await.unwrap();
    assert_eq!(status.status, HealthState::Healthy);
    assert_eq!(status.counts["total_blocks"], 0);
    assert!(status.process.open_files.unwrap() > 0, "{:?}", status.process);
    assert_eq!(status.process.disks[0].folder, "data");
    for root in ["/api/v1/blocks", "/api/v1/chain", "/api/v1/validation", "/docs", "/metrics"] {
        assert_eq!(server.get(root).await.0, 200, "{root}");
    }
    let (_, chain) = server.get("/api/v1/chain").await;
    assert!(chain["endpoints"].as_array().unwrap().contains(&json!("/api/v1/chain/info")));
    let (_, openapi) = server.get("/openapi.json").await;
    assert_eq!(openapi["info"]["title"], "Lucid Block Manager Service");
    assert!(openapi["paths"]["/api/v1/transactions/{tx_id}/proof"]["get"].is_object());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_a_block_that_broke_a_rule_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let noted = fact::Fact::Suspects(vec![(10, "it was altered".into())]);
    // The first round, which begins at once, looks at what comes behind it.
    let looked = fact::Fact::LookedThrough { next: 11 };
    fact::commit(&manager.vault, &[noted, looked]).unwrap();
    drop(manager);
    let server = Server::start(folder.path()).await;
    let (_, health) = server.get("/health").await;
    assert_eq!(health["integrity"], false, "{health}");
    assert!(health["details"].to_string().contains("block 10 breaks a rule"), "{health}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_which_part_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.chain(&anchor(1)).await;
    let (status, health) = server.get("/health").await;
    assert_eq!(status, 200, "{health}");
    for part in ["block_validator", "chain_manager", "block_storage", "chain_sync"] {
        assert_eq!(health[part], true, "{health}");
    }
    // The newest block becomes unreadable while the service runs.
    let records = folder.path().join("blocks/00000001.blocks");
    let length = std::fs::metadata(&records).unwrap().len() as usize;
    flip(&records, length - 60);
    let mut health = (0, Value::Null);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        health = server.get("/health").await;
        if health.0 == 503 {
            break;
        }
    }
    assert_eq!(health.0, 503, "{}", health.1);
    assert_eq!(
        (&health.1["block_storage"], &health.1["block_validator"]),
        (&json!(false), &json!(false))
    );
    assert!(health.1["details"]["block_storage"].as_str().unwrap().contains("00000001.blocks"));
    server.stop().await;
}
