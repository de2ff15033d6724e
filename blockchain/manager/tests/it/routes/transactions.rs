//! Transactions, one and many: taken in, found again, and proved in their blocks.

use lucid_api::problem::ErrorCode;
use lucid_block_manager::fact;
use lucid_core::block_merkle::{transaction_hash, verify_path};
use lucid_core::record::BlockEntry;
use lucid_store::files::disk::faulty::Call;
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::over_disk::OverDisk;
use crate::service::{LATER, Server, anchor, ask, code, post, transaction};

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_submitted_put_into_a_block_found_and_proved() {
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
    let server = Server::start_producing(folder.path(), "1000").await;
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
async fn a_batch_takes_what_is_sound_and_names_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), LATER).await;
    let path = "/api/v1/transactions/batch";
    let mut other = transaction("a");
    other["data"] = json!({"n": 2});
    let batch = json!({ "transactions": [
        transaction("a"), { "id": "b" }, transaction("a"), other, transaction("c"), 7,
    ]});
    let (status, accepted) = post(&server, path, batch.clone()).await;
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(accepted["transaction_ids"], json!(["a", "a", "c"]));
    assert_eq!((&accepted["submitted_count"], &accepted["failed_count"]), (&3.into(), &3.into()));
    let errors = accepted["errors"].as_array().unwrap();
    let named: Vec<_> = errors.iter().map(|error| (&error["index"], &error["code"])).collect();
    let (invalid, conflict) = (json!("invalid"), json!("exists"));
    assert_eq!(named, [(&1.into(), &invalid), (&3.into(), &conflict), (&5.into(), &invalid)]);
    assert!(errors[0]["detail"].as_str().unwrap().contains("type"), "{accepted}");

    let (_, pending) = server.get("/api/v1/transactions/pending?limit=1&page=2").await;
    assert_eq!(pending["transactions"][0]["tx_id"], "c");
    assert_eq!(pending["pagination"], json!({ "page": 2, "limit": 1, "total": 2, "pages": 2 }));
    assert_eq!(
        server.get("/api/v1/transactions/pending?page=3").await.1["transactions"],
        json!([])
    );
    // Posting the same batch again gives the same answer, also after its transactions are in a block.
    let (_, again) = post(&server, path, batch.clone()).await;
    assert_eq!(again, accepted);
    let (status, block) = post(&server, "/api/v1/blocks/propose", json!({})).await;
    assert_eq!((status, &block["transaction_count"]), (201, &2.into()), "{block}");
    assert_eq!(post(&server, path, batch).await.1, accepted);
    assert_eq!(server.get("/api/v1/transactions/pending").await.1["pagination"]["total"], 0);

    for wrong in
        [json!({ "transactions": [] }), json!({ "transactions": vec![transaction("x"); 101] })]
    {
        assert_eq!(post(&server, path, wrong).await.0, 422);
    }
    for query in ["page=0", "limit=0", "limit=101", "offset=1"] {
        let path = format!("/api/v1/transactions/pending?{query}");
        assert_eq!(server.get(&path).await.0, 422, "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_mean_something_else_in_an_address_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), LATER).await;
    for id in ["pending", "batch", ".", ".."] {
        let (status, refused) = post(&server, "/api/v1/transactions", transaction(id)).await;
        assert_eq!(status, 422, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("address"), "{refused}");
    }
    assert_eq!(post(&server, "/api/v1/transactions", transaction("pending2")).await.0, 202);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_the_texts_that_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), LATER).await;
    let text = r#"{"transactions": [{"type": "t", "id": "n", "timestamp": "2026-01-01T00:00:00Z", "n": 1e16, "big": 123456789012345678901234567890}]}"#;
    let (status, _) = server.raw("POST", "/api/v1/transactions/batch", Some(text)).await;
    assert_eq!(status, 202);
    let doubled = r#"{"transactions": [{"type": "t", "id": "m", "id": "o"}]}"#;
    let (_, refused) = server.raw("POST", "/api/v1/transactions/batch", Some(doubled)).await;
    assert_eq!(refused["failed_count"], 1, "{refused}");
    let found = server.call(|client| client.transaction("n").unwrap()).await.data.unwrap();
    let found = found.get();
    assert!(found.contains(r#""n": 1e+16"#), "{found}");
    assert!(found.contains(r#""big": 123456789012345678901234567890"#), "{found}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_takes_several_commits_each_transaction_says_what_became_of_it() {
    let server = OverDisk::start().await;
    let large = (0..20).map(|n| {
        let mut large = transaction(&format!("large-{n}"));
        large["data"] = json!({ "filler": "x".repeat(900 << 10) });
        large
    });
    let batch = json!({ "transactions": large.collect::<Vec<_>>() }).to_string();
    let send = || ask(&server.base, "POST", "/api/v1/transactions/batch", Some(&batch));
    server.disk.refuse(Call::Append, "log/", Errno::NOSPC, 1, usize::MAX);
    let (status, some) = send().await;
    assert_eq!(status, 202, "{some}");
    let done = some["submitted_count"].as_u64().unwrap();
    assert!(0 < done && done < 20 && some["failed_count"] == 20 - done, "{some}");
    for (error, index) in some["errors"].as_array().unwrap().iter().zip(done..) {
        assert_eq!((&error["index"], &error["code"]), (&index.into(), &"full".into()), "{error}");
    }
    let pool = fact::pool(server.app.opened().unwrap().vault.index()).unwrap();
    assert_eq!(pool.transactions, done);
    server.disk.repair();
    let (status, all) = send().await;
    assert_eq!((status, &all["submitted_count"]), (202, &20.into()), "{all}");
    assert_eq!(send().await, (202, all), "they are found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_without_room_takes_what_lucid_itself_puts_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let all = u64::MAX.to_string();
    let settings = [("LUCID_RESERVE_BYTES", all.as_str()), ("BLOCK_INTERVAL_SECONDS", "0.02")];
    let server = Server::start_with(folder.path(), &settings).await;
    let other = json!({"type": "data_storage", "data": {"n": 1}});
    for (path, body) in [
        ("/api/v1/transactions", other.clone()),
        ("/api/v1/transactions/batch", json!([other])),
        ("/api/v1/blocks", json!({})),
    ] {
        let (status, document) = post(&server, path, body).await;
        assert_eq!(status, 507, "{path}: {document}");
        assert_eq!(document["error"]["code"], "ST_004", "{path}: {document}");
    }
    let id = server.chain(&anchor(1)).await;
    let state = server.call(move |client| client.transaction(&id)).await.unwrap();
    assert_eq!(state.block_height, Some(0));
    server.stop().await;
}
