//! The lines that the operators of the founding documents search the log for, as the program writes them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Process, ended, tell};
use crate::routes::storage::{block, transaction};

#[test]
fn a_start_what_is_stored_and_indexed_and_the_end_are_lines_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    // The client brings what HTTP is made with.
    process.client().session("none").unwrap_err();
    let http = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let post = |path: &str, body: String| {
        let url = format!("http://{}/api/v1/{path}", process.address);
        let request = http.post(url).header("content-type", "application/json");
        request.body(body).send().unwrap().status().as_u16()
    };
    let stored = block(None, 1, &[transaction("t", "data_storage", "s")]);
    assert_eq!(post("storage/blocks", stored.to_json_text()), 201);
    let item = json!({ "type": "block", "hash": "h", "index": 7, "transactions": [] });
    assert_eq!(post("data/index", item.to_string()), 202);
    assert_eq!(post("data/index", json!({ "type": "chunk", "id": "c" }).to_string()), 422);
    process.log.line("Indexed block h");
    tell(&process.child, "-TERM");
    assert!(ended(&mut process.child, Duration::from_secs(60)).success());
    let lines = process.log.whole();
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at = |says: &str| {
        let found = events.iter().position(|event| event["message"] == says);
        found.unwrap_or_else(|| panic!("{says:?} is not among {lines:?}"))
    };
    let start = [
        "Starting Lucid Data Chain Service",
        "Data storage initialized successfully",
        "Data query initialized successfully",
        "Data indexer initialized successfully",
        "Data sync initialized successfully",
        "Lucid Data Chain Service started successfully",
        "Stored block 0",
    ];
    let end = [
        "Received signal 15, initiating graceful shutdown...",
        "Shutting down Lucid Data Chain Service",
        "Data sync cleaned up",
        "Data indexer cleaned up",
        "Data query cleaned up",
        "Data storage cleaned up",
        "Lucid Data Chain Service shutdown complete",
    ];
    assert!([start.map(at), end.map(at)].concat().is_sorted(), "{lines:?}");
    let unknown = &events[at("Unknown item type: chunk")];
    assert_eq!(unknown["level"], "WARN", "{unknown}");
}
