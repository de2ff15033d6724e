//! The whole service over HTTP, on a free port.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lucid_api::client::{BlockManagerClient, ClientError, ClientOptions, Retry};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::{BlocksQuery, ValidateQuery, ValidationMode};
use lucid_api::v1::service::HealthState;
use lucid_api::v1::transactions::TransactionStatus;
use lucid_api::v1::validation::ValidateChain;
use lucid_block_manager::config::Config;
use lucid_block_manager::service::{Running, StartError, start};
use lucid_core::block::Block;
use lucid_core::block_merkle::{transaction_hash, verify_path};
use lucid_core::record::BlockEntry;
use lucid_core::sign::SigningKey;
use lucid_core::transaction::Transaction;
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use serde_json::{Value, json};

pub struct Server {
    running: Running,
    shutdown: Shutdown,
}

fn config(folder: &Path, settings: &[(&str, &str)]) -> Config {
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
        Self::start_sealing(folder, "0.02").await
    }

    pub async fn start_sealing(folder: &Path, interval: &str) -> Self {
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
async fn ask_preferring(
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

fn code(error: &ClientError) -> Option<ErrorCode> {
    error.refused().and_then(|refused| refused.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_submitted_sealed_found_and_proved() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let (status, height) = server.get("/api/v1/chain/height").await;
    assert_eq!(status, 200);
    assert_eq!(height, json!({"height": 0, "hash": null, "timestamp": null, "empty": true}));
    assert_eq!(server.get("/api/v1/blocks/latest").await.0, 404);
    let id = server.chain(&anchor(1)).await;
    server.chain(r#"{"type":"data_storage","data":{"n":1e16}}"#).await;

    let state = server.call(move |client| client.transaction(&id)).await.unwrap();
    assert_eq!((state.block_height, state.transaction_index), (Some(0), Some(0)));
    let hash = state.block_hash.unwrap();
    let mut ways = Vec::new();
    for path in [
        "/api/v1/blocks/0".to_owned(),
        format!("/api/v1/blocks/{hash}"),
        "/api/v1/blocks/height/0".to_owned(),
        format!("/api/v1/blocks/hash/{hash}"),
        "/api/v1/blocks/0/".to_owned(),
    ] {
        let (status, block) = server.get(&path).await;
        assert_eq!(status, 200, "{path}");
        ways.push(block);
    }
    assert!(ways.iter().all(|block| *block == ways[0]));
    let block = &ways[0];
    assert_eq!(block["block_id"], block["hash"]);
    assert_eq!(block["height"], block["index"]);
    assert_eq!(block["transaction_count"], 1);
    assert_eq!(block["transactions"][0]["id"], "a-1");
    assert_eq!(server.get("/api/v1/blocks/latest").await.1["index"], 1);

    let proof = server.call(|client| client.transaction_proof("a-1")).await.unwrap();
    let leaf = transaction_hash(&proof.transaction);
    let root = verify_path(leaf, proof.position as usize, proof.count as usize, &proof.path);
    assert_eq!(root, Some(proof.merkle_root));
    let entry = BlockEntry::parse(&proof.entry).unwrap();
    assert_eq!((entry.merkle_root, entry.hash), (proof.merkle_root, hash));
    let producer = proof.producer.unwrap();
    let signature = proof.signature.unwrap();
    assert!(entry.verify(&producer, &signature));

    let info = server.call(|client| client.chain_info()).await.unwrap();
    assert_eq!((info.height, info.block_count), (1, 2));
    assert_eq!(info.genesis_hash, Some(hash));
    assert_eq!(info.producer, Some(producer.to_string()));
    assert_eq!(info.statistics["total_transactions"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_its_text_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let posted =
        r#"{"type":"x","id":"big","n":1000000000000000000000000000000,"f":1e16,"s":"é\u0000"}"#;
    server.chain(posted).await;
    let proof = server.call(|client| client.transaction_proof("big")).await.unwrap();
    let wanted =
        r#"{"f": 1e+16, "id": "big", "n": 1000000000000000000000000000000, "s": "\u00e9\u0000", "#;
    assert!(proof.transaction.starts_with(wanted), "{}", proof.transaction);
    let state = server.call(|client| client.transaction("big")).await.unwrap();
    assert_eq!(state.data.unwrap().get(), proof.transaction);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transaction_is_found_again_and_another_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), "1000").await;
    let path = "/api/v1/transactions";
    let (status, first) = server.raw("POST", path, Some(&anchor(1))).await;
    assert_eq!((status, &first["status"]), (202, &json!("pending")));
    assert_eq!(first["block_height"], Value::Null);
    let (status, again) = server.raw("POST", path, Some(&anchor(1))).await;
    assert_eq!((status, again), (200, first));
    let (status, problem) =
        server.raw("POST", path, Some(r#"{"id":"a-1","type":"session_anchor"}"#)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("exists")));
    assert_eq!(problem["error"]["details"]["tx_id"], "a-1");
    for (body, status, documented) in [
        ("{", 400, "VAL_004"),
        ("[]", 422, "VAL_004"),
        (r#"{"id":"x","id":"x","type":"t"}"#, 400, "VAL_004"),
        (r#"{"id":"","type":"t"}"#, 422, "VAL_004"),
        (r#"{"id":"x","type":"t","timestamp":"soon"}"#, 422, "VAL_005"),
        (r#"{"id":"x","type":"t","timestamp":"2026-01-01","public_key":"x"}"#, 422, "VAL_002"),
    ] {
        let (given, problem) = server.raw("POST", path, Some(body)).await;
        assert_eq!(given, status, "{body}: {problem}");
        assert_eq!(problem["error"]["code"], documented, "{body}");
        assert!(problem["request_id"].is_string());
    }
    let (status, _) = server.get("/api/v1/transactions/a-1/proof").await;
    assert_eq!(status, 404);
    let error = server.call(|client| client.transaction("nobody")).await.unwrap_err();
    assert_eq!(code(&error), Some(ErrorCode::NotFound));
    server.stop().await;
}

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
    let server = Server::start_sealing(folder.path(), "1000").await;
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
    let ended = loop {
        let (_, shown) = server.get(chain).await;
        if shown["state"] != "running" {
            break shown;
        }
    };
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

/// A block on top of another one, by a producer that does not sign.
fn block_on(parent: Option<&str>, ids: &[&str]) -> Block {
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
fn another() -> SigningKey {
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
    // What waits is sealed on top of it.
    server.chain(&anchor(1)).await;
    let (_, found) = server.get("/api/v1/transactions/a-1").await;
    assert_eq!(found["block_height"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_time_that_is_said_has_its_zone_though_the_block_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), "3600").await;
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
async fn a_restart_keeps_the_chain_and_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.chain(&anchor(1)).await;
    let before = server.call(|client| client.block(0)).await.unwrap();
    server.stop().await;
    let slow = Server::start_sealing(folder.path(), "1000").await;
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
        ("BLOCKCHAIN_ENGINE_URL", "blockchain-engine:8084", "BLOCKCHAIN_ENGINE_URL"),
        ("LUCID_CHAIN_GENESIS", "abc", "LUCID_CHAIN_GENESIS"),
        ("LUCID_CHAIN_PRODUCER_KEY", "abc", "LUCID_CHAIN_PRODUCER_KEY"),
        ("SYNC_BATCH_SIZE", "0", "SYNC_BATCH_SIZE"),
        ("BLOCK_MANAGER_HOST", "0.0.0.0", "LUCID_AUTH=off"),
    ] {
        let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = Config::load(&environment, None).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
