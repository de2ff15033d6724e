//! Blocks: listed, named, posted, and what answers for one that was pruned.

use std::time::Duration;

use lucid_api::v1::blocks::BlocksQuery;
use lucid_core::block::Block;
use lucid_core::block_merkle::{log_leaf, transaction_hash, verify_path};
use lucid_core::record::BlockEntry;
use lucid_core::sign::SigningKey;
use lucid_core::transaction::Transaction;
use lucid_core::tree::{Sha256Tree, verify_inclusion};
use lucid_store::clock::Clock;
use lucid_store::contract::chain::Body;
use serde_json::{Value, json};

use crate::service::{Server, anchor};
use crate::upkeep::{BLOCKS, chain};

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_listed_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for n in 0..3 {
        server.chain(&anchor(n)).await;
    }
    let page = |query: &'static str| {
        let path = format!("/api/v1/blocks{query}");
        let server = &server;
        async move {
            let (status, body) = server.get(&path).await;
            assert_eq!(status, 200, "{query}: {body}");
            let blocks = body["blocks"].as_array().unwrap().clone();
            let heights: Vec<u64> =
                blocks.iter().map(|block| block["height"].as_u64().unwrap()).collect();
            (heights, body["pagination"].clone())
        }
    };
    let all = json!({"page": 1, "limit": 20, "total": 3, "pages": 1});
    assert_eq!(page("").await, (vec![2, 1, 0], all));
    let second = json!({"page": 2, "limit": 2, "total": 3, "pages": 2});
    assert_eq!(page("?page=2&limit=2&sort=height_asc").await, (vec![2], second));
    assert_eq!(page("?skip=1&limit=1&sort=timestamp_desc").await.0, [1]);
    assert_eq!(page("?height_from=1&height_to=1").await.0, [1]);
    for wrong in ["?limit=0", "?limit=101", "?page=0", "?page=1&skip=1", "?sort=up", "?x=1"] {
        let (status, problem) = server.get(&format!("/api/v1/blocks{wrong}")).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid")), "{wrong}");
    }
    let query = BlocksQuery { limit: Some(1), ..BlocksQuery::default() };
    let blocks = server.call(move |client| client.blocks(&query)).await.unwrap();
    assert_eq!((blocks.blocks.len(), blocks.pagination.pages), (1, 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_of_blocks_are_refused_and_absent_ones_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), "1000").await;
    let nobody = "00".repeat(32);
    for (path, status, documented) in [
        ("/api/v1/blocks/7", 404, "BM_001"),
        (&*format!("/api/v1/blocks/{nobody}"), 404, "BM_001"),
        (&*format!("/api/v1/blocks/hash/{nobody}"), 404, "BM_001"),
        ("/api/v1/blocks/height/7", 404, "BM_001"),
        ("/api/v1/blocks/+7", 422, "BM_005"),
        ("/api/v1/blocks/xyz", 422, "BM_005"),
        ("/api/v1/blocks/99999999999999999999", 422, "BM_005"),
        ("/api/v1/blocks/hash/xyz", 422, "LUCID_ERR_1001"),
    ] {
        let (given, problem) = server.get(path).await;
        assert_eq!(given, status, "{path}");
        assert_eq!(problem["error"]["code"], documented, "{path}");
        assert_eq!(problem["detail"], problem["error"]["message"]);
        assert_eq!(problem["error"]["service"], "lucid-block-manager");
    }
    assert_eq!(server.raw("DELETE", "/api/v1/chain/info", None).await.0, 405);
    assert_eq!(server.get("/api/v1/nothing").await.0, 404);
    server.stop().await;
}

/// A block on top of another one, by a producer that does not sign.
pub fn block_on(parent: Option<&str>, ids: &[&str]) -> Block {
    let parent = parent.map(|text| {
        let candidate = lucid_core::block::Candidate::parse(text.as_bytes()).unwrap();
        candidate.as_parent().unwrap()
    });
    let of = |id: &&str| Transaction::parse(format!(r#"{{"id":"{id}"}}"#).as_bytes()).unwrap();
    let mut block = Block::build(
        parent.as_ref(),
        ids.iter().map(of).collect(),
        Clock::system().now(),
        &another(),
    );
    (block.producer, block.signature) = (None, None);
    block
}

/// The key of another authority.
pub(super) fn another() -> SigningKey {
    SigningKey::from_seed([5; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_taken_when_it_follows_the_newest_and_breaks_no_rule() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let post = async |text: &str| server.raw("POST", "/api/v1/blocks", Some(text)).await;
    let genesis = block_on(None, &["x"]).to_json_text();
    let (status, taken) = post(&genesis).await;
    assert_eq!((status, &taken["accepted"], &taken["index"]), (201, &json!(true), &json!(0)));
    assert_eq!(taken["validation"]["valid"], true);
    // As `/blocks/validate` takes it, too.
    for text in [genesis.clone(), format!(r#"{{"block_data":{genesis}}}"#)] {
        let (status, again) = post(&text).await;
        assert_eq!((status, &again["hash"]), (200, &taken["hash"]));
    }

    let next = block_on(Some(&genesis), &["y"]);
    let (status, refused) = post(&next.to_json_text().replace("\"y\"", "\"z\"")).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("BM_002")));
    assert_eq!(refused["error"]["details"]["validation"]["first_fault"], "merkle_root");
    let (status, refused) = post(&block_on(Some(&genesis), &["x"]).to_json_text()).await;
    assert_eq!(status, 422, "an id stands once in a chain: {refused}");
    assert_eq!(post("[").await.0, 400);
    // Too high, at a height that is taken, and on another block.
    let after = block_on(Some(&next.to_json_text()), &["w"]).to_json_text();
    assert_eq!(post(&after).await.0, 409);
    assert_eq!(post(&block_on(None, &["v"]).to_json_text()).await.0, 409);
    let astray = block_on(Some(&block_on(None, &["v"]).to_json_text()), &["w"]).to_json_text();
    let (status, refused) = post(&astray).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("offset")), "{refused}");

    // Those who follow this authority would stop before a block that another one signed.
    let transactions = vec![Transaction::parse(br#"{"id":"foreign"}"#).unwrap()];
    let parent = lucid_core::block::Candidate::parse(genesis.as_bytes()).unwrap().as_parent();
    let foreign =
        Block::build(Some(&parent.unwrap()), transactions, Clock::system().now(), &another());
    let (status, refused) = post(&foreign.to_json_text()).await;
    assert_eq!((status, &refused["error"]["code"]), (422, &json!("BM_002")), "{refused}");
    assert_eq!(refused["error"]["details"]["validation"]["first_fault"], "block_hash");

    assert_eq!(post(&next.to_json_text()).await.0, 201);
    // What waits is produced on top of it.
    server.chain(&anchor(1)).await;
    let (_, found) = server.get("/api/v1/transactions/a-1").await;
    assert_eq!(found["block_height"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_block_answers_with_its_header_and_its_transactions_are_still_proved() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let transaction = match manager.chain.body(2).unwrap() {
        Some(Body::Here(body)) => body.into_iter().nth(1).unwrap(),
        other => panic!("{other:?}"),
    };
    drop(manager);
    let settings = [("MAX_BLOCKS_TO_KEEP", "5"), ("BLOCK_INTERVAL_SECONDS", "0.02")];
    let server = Server::start_with(folder.path(), &settings).await;
    // The first cycle comes by itself, at once.
    let mut report = Value::Null;
    for _ in 0..500 {
        report = server.get("/api/v1/chain/info").await.1["last_report"].clone();
        if report.is_object() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(report["status"], "completed");
    assert_eq!(report["height"], BLOCKS - 1);
    assert_eq!(report["integrity"]["checked"], BLOCKS);
    assert_eq!(report["integrity"]["to"], BLOCKS - 1);
    assert!(report["removed"].as_u64().unwrap() > 5, "{report}");
    assert_eq!(report["integrity"]["missing"], json!([]));

    let info = server.get("/api/v1/chain/info").await.1;
    let below = info["pruned_below"].as_u64().unwrap();
    assert!((6..=BLOCKS - 5).contains(&below), "{info}");
    assert_eq!(info["max_blocks_to_keep"], 5);
    assert_eq!(info["last_report"], report);
    assert!(info["last_maintenance"].is_string() && info["state"] == "idle", "{info}");

    let (status, gone) = server.get("/api/v1/blocks/2").await;
    assert_eq!((status, &gone["code"]), (410, &json!("gone")), "{gone}");
    let header = &gone["error"]["details"]["header"];
    assert_eq!((&header["index"], &header["pruned"]), (&json!(2), &json!(true)));
    assert_eq!(server.get("/api/v1/blocks/0").await.0, 200);
    let hash = header["hash"].as_str().unwrap();
    assert_eq!(server.get(&format!("/api/v1/blocks/hash/{hash}")).await.0, 410);
    let bodies = "/api/v1/blocks/bodies?from=1";
    assert_eq!(server.get(bodies).await.0, 410);

    let page = server.get("/api/v1/blocks?limit=100&sort=height_asc").await.1;
    let pruned: Vec<bool> =
        page["blocks"].as_array().unwrap().iter().map(|b| b["pruned"] == true).collect();
    let expected: Vec<bool> = (0..BLOCKS).map(|height| (1..below).contains(&height)).collect();
    assert_eq!(pruned, expected);

    // Anchors are kept word for word.
    let anchor = server.get("/api/v1/transactions/session_anchor-2").await.1;
    assert_eq!(
        (&anchor["status"], &anchor["type"]),
        (&json!("confirmed"), &json!("session_anchor"))
    );
    assert_eq!(anchor["data"]["id"], "session_anchor-2");
    let other = server.get("/api/v1/transactions/data_storage-2").await.1;
    assert_eq!((&other["status"], &other["data"]), (&json!("confirmed"), &Value::Null));

    // The way to both roots is there without the transaction.
    let proof = server.get("/api/v1/blocks/2/proof/data_storage-2").await.1;
    let leaf = transaction_hash(transaction.text());
    assert_eq!(proof["leaf_hash"], leaf.to_string(), "{proof}");
    let path: Vec<_> = proof["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["hash"].as_str().unwrap().parse().unwrap())
        .collect();
    let root = verify_path(leaf, 1, 3, &path).unwrap();
    assert_eq!(proof["merkle_root"], root.to_string());
    let sides: Vec<&Value> =
        proof["path"].as_array().unwrap().iter().map(|s| &s["position"]).collect();
    assert_eq!(sides, ["left", "right"]);
    let entry = BlockEntry::parse(proof["entry"].as_str().unwrap()).unwrap();
    assert_eq!((entry.computed_hash().to_string(), entry.merkle_root), (hash.to_owned(), root));
    let siblings: Vec<[u8; 32]> = proof["log"]["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hash| {
            *hash.as_str().unwrap().parse::<lucid_core::digest::LogHash>().unwrap().as_bytes()
        })
        .collect();
    let leaf = *log_leaf(transaction.text()).as_bytes();
    assert!(verify_inclusion::<Sha256Tree>(&leaf, 1, 3, &siblings, entry.log_root.as_bytes()));
    // An anchor is proved with its text; another transaction's text is gone, and the reply says so.
    assert_eq!(server.get("/api/v1/transactions/session_anchor-2/proof").await.0, 200);
    let (status, gone) = server.get("/api/v1/transactions/data_storage-2/proof").await;
    assert_eq!(status, 410, "{gone}");
    assert!(gone["detail"].as_str().unwrap().contains("/api/v1/blocks/2/proof/"), "{gone}");
    let state = server.get("/api/v1/transactions/data_storage-2").await.1;
    assert_eq!((&state["status"], &state["block_height"]), (&json!("confirmed"), &json!(2)));
    assert_eq!(server.get("/api/v1/blocks/2/proof/nobody").await.0, 404);
    assert_eq!(server.get("/api/v1/blocks/99/proof/audit-1").await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_come_as_headers_and_in_numbers() {
    let folder = tempfile::tempdir().unwrap();
    drop(chain(folder.path()));
    let server = Server::start(folder.path()).await;
    let headers = server.get("/api/v1/blocks/headers").await.1;
    let heights = |reply: &Value| -> Vec<u64> {
        reply["headers"].as_array().unwrap().iter().map(|h| h["height"].as_u64().unwrap()).collect()
    };
    assert_eq!(heights(&headers), (0..BLOCKS).collect::<Vec<_>>());
    let some = server.get("/api/v1/blocks/headers?start_height=7&limit=3").await.1;
    assert_eq!(heights(&some), [7, 8, 9]);
    assert_eq!(heights(&server.get("/api/v1/blocks/headers?start_height=99").await.1), [0; 0]);
    assert_eq!(server.get("/api/v1/blocks/headers?limit=0").await.0, 422);
    assert_eq!(server.get("/api/v1/blocks/headers?limit=1001").await.0, 422);
    let stats = server.get("/api/v1/blocks/stats").await.1;
    assert_eq!(stats["total_blocks"], BLOCKS);
    assert_eq!(stats["latest_height"], BLOCKS - 1);
    assert_eq!(stats["total_transactions"], 3 * BLOCKS);
    let listed = server.get("/api/v1/blocks?limit=100").await.1;
    let sizes: u64 = listed["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["size_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(stats["average_block_size"], sizes as f64 / BLOCKS as f64);
    assert!(stats["storage_size"].as_u64().unwrap() > sizes && stats["pruned_below"] == 0);
    server.stop().await;
}
