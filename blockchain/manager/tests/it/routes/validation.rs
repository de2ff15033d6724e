//! Verdicts: on a block that is sent, and on the blocks that are stored.

use std::time::Duration;

use lucid_api::v1::blocks::{ValidateQuery, ValidationMode};
use lucid_api::v1::validation::ValidateChain;
use lucid_core::block_merkle::transaction_hash;
use serde_json::json;

use crate::service::{Server, anchor, ask_preferring};

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_judged_good_bad_and_altered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for n in 0..2 {
        server.chain(&anchor(n)).await;
    }
    let text = server.call(|client| client.block(1)).await.unwrap();
    let judge = |text: String, mode| {
        server.call(move |client| client.validate_block(&text, &ValidateQuery { mode }))
    };
    let good = judge(text.clone(), None).await.unwrap();
    assert!(good.valid && good.errors.is_empty());
    assert_eq!(good.mode, ValidationMode::Historical);
    assert_eq!(good.results.len(), 6);
    assert!(good.coverage.iter().any(|what| what == "the producer's signature"));
    let new = judge(text.clone(), Some(ValidationMode::Candidate)).await.unwrap();
    assert!(new.valid && new.mode == ValidationMode::Candidate);

    let altered = judge(text.replace("s-1", "s-9"), None).await.unwrap();
    assert_eq!(altered.first_fault.as_deref(), Some("block_hash"));
    let failed: Vec<_> =
        altered.results.iter().filter(|r| !r.passed).map(|r| r.rule.as_str()).collect();
    assert_eq!(failed, ["block_hash", "merkle_root"]);
    let renumbered = text.replace("\"index\":1,\"height\":1", "\"index\":9,\"height\":9");
    let orphan = judge(renumbered, None).await.unwrap();
    assert!(orphan.errors.iter().any(|error| error.contains("previous block not found")));

    // By both routes, and wrapped.
    let wrapped = format!(r#"{{"block_data":{text}}}"#);
    let (status, body) = server.raw("POST", "/api/v1/validation/block", Some(&wrapped)).await;
    assert_eq!((status, &body["valid"]), (200, &json!(true)));
    assert_eq!(body["validation_results"]["structure_valid"], true);
    assert_eq!(body["not_yet"], false);
    let (status, body) = server.raw("POST", "/api/v1/blocks/validate", Some("{}")).await;
    assert_eq!((status, &body["valid"]), (200, &json!(false)));
    assert_eq!(server.raw("POST", "/api/v1/blocks/validate", Some("{")).await.0, 400);

    let (_, rules) = server.get("/api/v1/validation/rules").await;
    let names: Vec<_> =
        rules["rules"].as_array().unwrap().iter().map(|rule| rule["name"].clone()).collect();
    let wanted = [
        "block_structure",
        "block_hash",
        "previous_hash",
        "merkle_root",
        "timestamp",
        "transactions",
    ];
    assert_eq!(names, wanted);
    assert_eq!(rules["timestamp_tolerance_seconds"], 3_600);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_judged_and_a_transaction_is_proved_in_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let (status, empty) = server.raw("POST", "/api/v1/validation/chain", None).await;
    assert_eq!((status, &empty["valid"], &empty["blocks_checked"]), (200, &json!(true), &json!(0)));
    assert!(empty["not_checked"][0].as_str().unwrap().contains("no blocks"));
    for n in 0..3 {
        server.chain(&anchor(n)).await;
    }
    let (status, all) = server.raw("POST", "/api/v1/validation/chain", None).await;
    assert_eq!(status, 200);
    for (key, value) in [
        ("valid", json!(true)),
        ("blocks_checked", json!(3)),
        ("start", json!(0)),
        ("end", json!(2)),
        ("missing", json!([])),
        ("invalid", json!([])),
        ("signed_blocks", json!(3)),
    ] {
        assert_eq!(all[key], value, "{key}");
    }
    assert!(all["validated_at"].as_str().unwrap().ends_with('Z'));
    assert!(!all["not_checked"].as_array().unwrap().is_empty());
    let chain = "/api/v1/validation/chain";
    let (status, begun) = ask_preferring(&server.url(), "POST", chain, None, "respond-async").await;
    assert_eq!((status, &begun["kind"]), (202, &json!("validate")));
    let look = async {
        loop {
            let (_, shown) = server.get(chain).await;
            if shown["state"] != "running" {
                break shown;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), look).await.unwrap();
    assert_eq!((&ended["state"], &ended["started_at"]), (&json!("done"), &begun["started_at"]));
    assert_eq!((&ended["result"]["blocks_checked"], &ended["done"]), (&json!(3), &json!(3)));
    let (status, waited) = ask_preferring(&server.url(), "POST", chain, None, "wait=60").await;
    assert_eq!((status, &waited["valid"]), (200, &json!(true)));
    let part = server
        .call(|client| {
            let wanted = ValidateChain { start: Some(1), end: Some(9), records: true };
            client.validate_chain(&wanted)
        })
        .await
        .unwrap();
    assert!(part.valid);
    assert_eq!((part.blocks_checked, part.records_only, part.end), (2, 2, Some(2)));
    for (body, wanted) in [
        ("{", 400),
        (r#"{"start":2,"end":1}"#, 422),
        (r#"{"first":1}"#, 422),
        (r#"{"end":-1}"#, 422),
    ] {
        assert_eq!(
            server.raw("POST", "/api/v1/validation/chain", Some(body)).await.0,
            wanted,
            "{body}"
        );
    }

    let (status, proof) = server.get("/api/v1/blocks/1/proof/a-1").await;
    assert_eq!(status, 200, "{proof}");
    assert_eq!((&proof["tx_id"], &proof["leaf_index"]), (&json!("a-1"), &json!(0)));
    let count = proof["leaf_count"].as_u64().unwrap();
    let mut node = proof["leaf_hash"].as_str().unwrap().to_owned();
    for sibling in proof["path"].as_array().unwrap() {
        let other = sibling["hash"].as_str().unwrap();
        let pair = match sibling["position"].as_str().unwrap() {
            "left" => format!("{other}{node}"),
            _ => format!("{node}{other}"),
        };
        node = transaction_hash(&pair).to_string();
    }
    assert_eq!((count, &proof["merkle_root"]), (1, &json!(node)));
    assert_eq!(server.get("/api/v1/blocks/2/proof/a-1").await.0, 404);
    assert_eq!(server.get("/api/v1/blocks/x/proof/a-1").await.0, 422);
    server.stop().await;
}
