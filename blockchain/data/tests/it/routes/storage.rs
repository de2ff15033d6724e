//! Storing documents and finding them again.

use lucid_api::v1::removal::RemoveQuery;
use lucid_core::block::Block;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use serde_json::{Value, json};

use crate::service::{Service, problem};

/// A block with these transactions behind another one, as a block-manager writes it.
pub fn block(parent: Option<&Block>, seconds: u32, transactions: &[Value]) -> Block {
    let parent = parent.map(|block| block.as_parent().unwrap());
    let now = Timestamp::parse(&format!("2026-01-01T00:00:{seconds:02}Z")).unwrap();
    let transactions = transactions
        .iter()
        .map(|transaction| Transaction::parse(transaction.to_string().as_bytes()).unwrap())
        .collect();
    Block::build(parent.as_ref(), transactions, now, &SigningKey::from_seed([5; 32]))
}

pub fn transaction(id: &str, tx_type: &str, session: &str) -> Value {
    json!({ "id": id, "type": tx_type, "session_id": session, "timestamp": "2026-01-01T00:00:00Z" })
}

impl Service {
    /// Posts a text as it is.
    pub fn post_text(&self, path: &str, text: &str) -> reqwest::blocking::Response {
        let request = self.http.post(self.url(path)).header("content-type", "application/json");
        request.body(text.to_owned()).send().unwrap()
    }
}

#[test]
fn a_block_comes_back_as_it_was_posted_by_hash_and_by_index_and_its_transactions_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let first = block(None, 1, &[transaction("t-1", "data_storage", "s-1")]);
    // As somebody else would write it.
    let posted = first.to_json_text().replace("\":", "\":\n ");
    let stored = service.post_text("/api/v1/storage/blocks", &posted);
    assert_eq!(stored.status(), 201);
    let stored: Value = stored.json().unwrap();
    assert_eq!(stored["stored"], true);
    assert_eq!((&stored["index"], &stored["hash"]), (&json!(0), &json!(first.hash.to_string())));
    for name in [first.hash.to_string(), "0".into()] {
        let found = service.get(&format!("/api/v1/storage/blocks/{name}"));
        assert_eq!(found.headers()["content-type"], "application/json");
        assert_eq!(found.text().unwrap(), posted);
    }
    let found = service.get("/api/v1/storage/transactions/t-1").text().unwrap();
    assert_eq!(found, first.transactions[0].text());
    let again = service.post_text("/api/v1/storage/blocks", &first.to_json_text());
    assert_eq!(again.status(), 200);
    let stats: Value = service.get("/api/v1/storage/stats").json().unwrap();
    assert_eq!((&stats["total_blocks"], &stats["total_transactions"]), (&json!(1), &json!(1)));
    assert!(stats["storage_size"].as_u64().unwrap() > 0);
    for path in ["blocks/1", "blocks/00", "transactions/none", "sessions/none"] {
        let (status, code, _) = problem(service.get(&format!("/api/v1/storage/{path}")));
        assert_eq!((status, code.as_str()), (404, "not_found"), "{path}");
    }
}

#[test]
fn a_block_that_is_not_what_it_says_is_refused_with_its_validation() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let sound = block(None, 1, &[transaction("t-1", "data_storage", "s-1")]).to_json_text();
    for (altered, rule) in [
        (sound.replace("s-1", "s-2"), "merkle_root"),
        (sound.replace("00:01", "00:02"), "block_hash"),
        (sound.replace("\"index\":0", "\"index\":\"x\""), "block_structure"),
    ] {
        let refused = service.post_text("/api/v1/storage/blocks", &altered);
        let (status, code, document) = problem(refused);
        assert_eq!((status, code.as_str()), (422, "invalid"), "{document}");
        assert!(document["detail"].as_str().unwrap().contains(rule), "{document}");
        let results = &document["error"]["details"]["validation"]["results"];
        assert_eq!(results.as_array().unwrap().len(), 6, "{document}");
    }
    assert_eq!(service.get("/api/v1/storage/blocks/0").status(), 404);
}

#[test]
fn what_contradicts_what_is_stored_is_refused_with_both() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let first = block(None, 1, &[]).to_json_text();
    let other = block(None, 2, &[]).to_json_text();
    assert_eq!(service.post_text("/api/v1/storage/blocks", &first).status(), 201);
    let (status, code, document) = problem(service.post_text("/api/v1/storage/blocks", &other));
    assert_eq!((status, code.as_str()), (409, "exists"));
    let details = &document["error"]["details"];
    assert_eq!((&details["stored"], &details["submitted"]), (&json!(first), &json!(other)));
    let paid = json!({ "id": "t", "type": "a", "data": { "n": 1 } });
    let path = "/api/v1/storage/transactions";
    assert_eq!(service.post(path, paid.clone()).status(), 201);
    assert_eq!(service.post(path, paid).status(), 200);
    let changed = json!({ "id": "t", "type": "a", "data": { "n": 2 } });
    assert_eq!(problem(service.post(path, changed)).0, 409);
    // Within a block, the one that was posted by itself stays.
    let within = json!({ "id": "t", "type": "b" });
    let last = block(Some(&block(None, 1, &[])), 3, &[within]);
    assert_eq!(service.post_text("/api/v1/storage/blocks", &last.to_json_text()).status(), 201);
    let found: Value = service.get("/api/v1/storage/transactions/t").json().unwrap();
    assert_eq!(found["type"], "a");
}

#[test]
fn what_is_said_of_a_session_may_change_and_its_history_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let path = "/api/v1/storage/sessions";
    let begun = r#"{"session_id":"x","status":"active","user_id":"ann","timestamp":"2026-01-01T00:00:00Z"}"#;
    let ended =
        r#"{"id": "x", "status": "Done (ok)", "user_id": "ann", "metadata": {"host": "h"}}"#;
    assert_eq!(service.post_text(path, begun).status(), 201);
    assert_eq!(service.post_text(path, &begun.replace(',', ", ")).status(), 200);
    let updated = service.post_text(path, ended);
    assert_eq!(updated.status(), 200);
    assert_eq!(updated.json::<Value>().unwrap()["updated"], true);
    assert_eq!(service.get("/api/v1/storage/sessions/x").text().unwrap(), ended);
    let history: Value = service.get("/api/v1/storage/sessions/x/history").json().unwrap();
    let items = history["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{history}");
    assert_eq!((&items[0]["text"], &items[0]["was_current"]), (&json!(begun), &json!(true)));
    // It keeps its place in time, and is found by what it says now.
    let by = |filters: Value| -> Value {
        service.post("/api/v1/query/sessions", json!({ "filters": filters })).json().unwrap()
    };
    assert_eq!(by(json!({ "status": "active" }))["count"], 0);
    assert_eq!(by(json!({ "status": "Done (ok)" }))["count"], 1);
    assert_eq!(by(json!({ "metadata": { "host": "h" } }))["count"], 1);
    let range = json!(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
    assert_eq!(by(json!({ "timestamp_range": range }))["count"], 1);
}

#[test]
fn a_session_that_is_kept_here_says_itself_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("own");
    let path = "/api/v1/storage/sessions";
    let (status, code, _) = problem(service.post(path, json!({ "id": "own", "status": "lost" })));
    assert_eq!((status, code.as_str()), (409, "sealed"));
    let found: Value = service.get("/api/v1/storage/sessions/own").json().unwrap();
    assert_eq!((&found["id"], &found["status"]), (&json!("own"), &json!("active")));
    service.client.remove_session("own", &RemoveQuery::default()).unwrap();
    assert_eq!(problem(service.post(path, json!({ "id": "own" }))).0, 410);
}

#[test]
fn what_is_no_document_is_refused_and_a_failing_store_is_not_absence() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (kind, text) in [
        ("sessions", r#"{"id": "a", "id": "b"}"#),
        ("sessions", r#"{"id": "a", "n": NaN}"#),
        ("transactions", r#"{"id": "a", "id": "b"}"#),
        ("transactions", r#"{"type": "a"}"#),
        ("transactions", r#"{"id": "a", "timestamp": "later"}"#),
        ("blocks", "{}"),
        ("blocks", "[]"),
        ("blocks", r#"{"index": 0, "index": 1}"#),
    ] {
        let (status, code, document) =
            problem(service.post_text(&format!("/api/v1/storage/{kind}"), text));
        assert_eq!((status, code.as_str()), (422, "invalid"), "{kind} {text}: {document}");
    }
    for text in ["{", r#"{"id": "a" "b"}"#] {
        let broken = problem(service.post_text("/api/v1/storage/sessions", text));
        assert_eq!((broken.0, broken.1.as_str()), (400, "malformed"), "{text}");
    }
    service.break_writing();
    let (status, _, document) =
        problem(service.post("/api/v1/storage/sessions", json!({ "id": "a" })));
    assert_eq!((status, &document["error"]["code"]), (503, &"ST_002".into()), "{document}");
}

#[test]
fn documents_outlive_a_restart_and_the_index() {
    let folder = tempfile::tempdir().unwrap();
    // With a text that takes several facts.
    let large = json!({ "id": "large", "type": "t", "data": "x".repeat(900_000) });
    let more = json!({ "id": "more", "type": "t", "data": "y".repeat(900_000) });
    let first = block(None, 1, &[large.clone(), more]);
    let text = first.to_json_text();
    {
        let service = Service::start(folder.path());
        assert_eq!(service.post_text("/api/v1/storage/blocks", &text).status(), 201);
        assert_eq!(service.post("/api/v1/storage/sessions", json!({ "id": "a" })).status(), 201);
        service.stop();
    }
    for remove in [false, true] {
        if remove {
            std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        }
        let service = Service::start(folder.path());
        assert_eq!(service.get("/api/v1/storage/blocks/0").text().unwrap(), text);
        let found: Value = service.get("/api/v1/storage/transactions/large").json().unwrap();
        assert_eq!(found, large);
        let stats: Value = service.get("/api/v1/storage/stats").json().unwrap();
        let counts = ["total_blocks", "total_transactions", "total_sessions"];
        assert_eq!(counts.map(|name| stats[name].as_u64().unwrap()), [1, 2, 1]);
        service.stop();
    }
}

#[test]
fn what_a_block_says_besides_changes_nothing_of_it_and_a_deep_transaction_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    // As deep as a transaction may be, in a block that is small.
    let mut deep = json!(1);
    for _ in 0..62 {
        deep = json!([deep]);
    }
    let first = block(None, 1, &[json!({ "id": "deep", "type": "t", "data": deep })]);
    let text = first.to_json_text();
    // What only a chain says of a block.
    let posted = text.replacen('{', "{\"pruned\":true,", 1);
    assert_eq!(service.post_text("/api/v1/storage/blocks", &posted).status(), 201);
    assert_eq!(service.get("/api/v1/storage/blocks/0").text().unwrap(), posted);
    assert_eq!(service.get("/api/v1/storage/transactions/deep").status(), 200);
    assert_eq!(service.post_text("/api/v1/storage/blocks", &text).status(), 200);
}

#[test]
fn a_session_that_is_kept_hides_what_was_said_of_it_before_and_leaves_it_when_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let said = json!({ "id": "x", "user_id": "ann", "timestamp": "2026-01-01T00:00:00Z" });
    assert_eq!(service.post("/api/v1/storage/sessions", said.clone()).status(), 201);
    let begun =
        json!({ "session_id": "x", "user_id": "ann", "started_at": "2026-01-01T00:00:00Z" });
    assert_eq!(service.post("/api/v1/sessions", begun).status(), 201);
    let of_ann = |service: &Service| {
        let page: Value = service
            .post("/api/v1/query/sessions", json!({ "filters": { "user_id": "ann" } }))
            .json()
            .unwrap();
        let sources = page["meta"].as_array().unwrap().iter().map(|meta| meta["source"].clone());
        sources.collect::<Vec<_>>()
    };
    assert_eq!(of_ann(&service), ["kept"]);
    service.client.remove_session("x", &RemoveQuery::default()).unwrap();
    assert_eq!(of_ann(&service), ["submitted"]);
}
