//! The queue of the index, what becomes of it, and what could not be indexed.

use serde_json::{Value, json};

use super::storage::{block, transaction};
use crate::service::{Service, problem};

impl Service {
    fn entry(&self, kind: &str, id: &str) -> Option<Value> {
        let found = self.get(&format!("/api/v1/index/{kind}/{id}"));
        (found.status() == 200).then(|| found.json().unwrap())
    }

    fn indexed(&self) -> Value {
        let stats = |service: &Self| service.get("/api/v1/index/stats").json::<Value>().unwrap();
        self.wait(|| Some(stats(self)).filter(|stats| stats["queue_size"] == 0))
    }
}

#[test]
fn items_become_entries_with_the_documented_keys() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let items = json!([
        { "type": "block", "hash": "h-1", "index": 7, "transactions": [{ "id": "t-1", "type": "a" }] },
        { "type": "transaction", "data": { "id": "t-2", "type": "session_anchor", "session_id": "s" } },
        { "type": "session", "session_id": "s-1", "status": "active", "user_id": "ann" },
    ]);
    let queued = service.post("/api/v1/data/index", items);
    assert_eq!(queued.status(), 202);
    let queued: Value = queued.json().unwrap();
    assert_eq!((&queued["queued"], &queued["count"]), (&json!(true), &json!(3)));
    let stats = service.indexed();
    assert_eq!((&stats["total_indexed"], &stats["failed"]), (&json!(4), &json!(0)), "{stats}");
    assert_eq!(stats["indexes"], json!(["block", "transaction", "session"]));
    assert_eq!(stats["indexed"], json!({ "block": 1, "transaction": 2, "session": 1 }));
    for (kind, id, keys) in [
        (
            "block",
            "h-1",
            "id type index timestamp hash previous_hash merkle_root transaction_count indexed_at",
        ),
        ("transaction", "t-2", "id type tx_type timestamp block_index session_id indexed_at"),
        ("session", "s-1", "id type timestamp status user_id indexed_at"),
    ] {
        let entry = service.entry(kind, id).unwrap();
        let mut wanted: Vec<&str> = keys.split(' ').collect();
        wanted.sort_unstable();
        let found: Vec<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, wanted, "{entry}");
        assert_eq!((&entry["id"], &entry["type"]), (&json!(id), &json!(kind)));
    }
    assert_eq!(service.entry("transaction", "t-1").unwrap()["block_index"], 7);
    assert_eq!(service.entry("transaction", "t-2").unwrap()["tx_type"], "session_anchor");
    // What was indexed is in no answer: it is not stored.
    let page: Value = service.get("/api/v1/data/transactions").json().unwrap();
    assert_eq!(page["count"], 0);
    // Again it is the same.
    let again = json!({ "type": "session", "id": "s-1", "status": "done" });
    assert_eq!(service.post("/api/v1/data/index", again).status(), 202);
    let stats = service.indexed();
    assert_eq!(stats["total_indexed"], 4);
    assert_eq!(service.entry("session", "s-1").unwrap()["status"], "done");
}

#[test]
fn what_is_stored_or_kept_is_in_the_index_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let first = block(None, 1, &[transaction("t-1", "data_storage", "s-1")]);
    service.post_text("/api/v1/storage/blocks", &first.to_json_text());
    service.begin("own");
    let entry = service.entry("block", &first.hash.to_string()).unwrap();
    assert_eq!((&entry["index"], &entry["transaction_count"]), (&json!(0), &json!(1)));
    let entry = service.entry("transaction", "t-1").unwrap();
    let said = (&entry["tx_type"], &entry["block_index"], &entry["session_id"]);
    assert_eq!(said, (&json!("data_storage"), &json!(0), &json!("s-1")));
    assert_eq!(service.entry("session", "own").unwrap()["status"], "active");
    assert_eq!(service.entry("session", "none"), None);
    let (status, code, _) = problem(service.get("/api/v1/index/chunk/a"));
    assert_eq!((status, code.as_str()), (404, "not_found"));
    let root: Value = service.get("/api/v1/index").json().unwrap();
    assert_eq!(root["total_indexed"], 3, "{root}");
    assert!(root["endpoints"].as_array().unwrap().contains(&json!("/api/v1/data/index")));
    let health: Value = service.get("/health").json().unwrap();
    assert_eq!((&health["data_indexer"], &health["data_query"]), (&json!(true), &json!(true)));
}

#[test]
fn what_cannot_be_indexed_is_laid_aside_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let poison = json!({ "type": "block", "hash": "bad", "transactions": [{ "id": "t" }, {}] });
    let good = json!({ "type": "session", "id": "good" });
    assert_eq!(service.post("/api/v1/data/index", json!([poison, good])).status(), 202);
    let stats = service.indexed();
    let counts = (&stats["total_indexed"], &stats["failed"], &stats["dead_letter"]);
    assert_eq!(counts, (&json!(1), &json!(1), &json!(1)));
    assert!(service.entry("session", "good").is_some() && service.entry("block", "bad").is_none());
    let dead: Value = service.get("/api/v1/index/dead-letters").json().unwrap();
    let item = &dead["items"][0];
    assert_eq!(item["type"], "block", "{dead}");
    let id = item["item_id"].as_str().unwrap().to_owned();
    assert!(item["why"].as_str().unwrap().contains("transaction 1"), "{dead}");
    assert!(item["item"].as_str().unwrap().contains("bad"));
    let replay = "/api/v1/index/dead-letters/replay";
    assert_eq!(problem(service.post(replay, json!({ "item_ids": ["00".repeat(16)] }))).0, 422);
    let revived = service.post(replay, json!({ "item_ids": [id, id] }));
    assert_eq!(revived.status(), 202);
    assert_eq!(revived.json::<Value>().unwrap()["replayed"], 1);
    // It is none still.
    let failed_at = item["failed_at"].clone();
    let dead = service.wait(|| {
        let dead: Value = service.get("/api/v1/index/dead-letters").json().unwrap();
        let again = &dead["items"][0]["failed_at"];
        (again.is_string() && *again != failed_at).then_some(dead)
    });
    assert_eq!(dead["items"].as_array().unwrap().len(), 1);
    let all = service.http.post(service.url(replay)).send().unwrap();
    assert_eq!(all.status(), 202);
}

#[test]
fn what_is_no_item_is_refused_and_nothing_of_its_list_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (body, wanted) in [
        (
            json!([{ "type": "session", "id": "a" }, { "type": "chunk" }]),
            "Unknown item type: chunk",
        ),
        (json!([{ "type": "session", "id": "a" }, { "type": "session" }]), "item 1 has no id"),
        (json!({ "id": "a" }), "no type"),
        (json!({ "type": "session", "id": "a", "x": "é".repeat(300_000) }), "item 0 has over"),
        (json!("a"), "object"),
    ] {
        let (status, code, document) = problem(service.post("/api/v1/data/index", body));
        assert_eq!((status, code.as_str()), (422, "invalid"));
        assert!(document["detail"].as_str().unwrap().contains(wanted), "{document}");
    }
    let stats = service.indexed();
    assert_eq!(stats["total_indexed"], 0);
    assert_eq!(service.entry("session", "a"), None);
}
