//! Documents that are taken from a block-manager, by the real one.

use lucid_api::client::{BlockManagerClient, ClientOptions};
use lucid_block_manager::service;
use lucid_http::serve::Shutdown;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::manager::config;
use crate::service::{Service, problem};

fn status(service: &Service) -> Value {
    service.get("/api/v1/sync/status").json().unwrap()
}

#[test]
fn blocks_of_the_block_manager_are_documents_and_it_may_go_away() {
    let (data, chain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (runtime, shutdown) = (Runtime::new().unwrap(), Shutdown::new());
    let manager = runtime.block_on(service::start(config(chain.path()), &shutdown)).unwrap();
    let url = format!("http://{}", manager.address());
    let settings = [("BLOCK_MANAGER_URL", url.as_str()), ("DATA_SYNC_INTERVAL", "0.05")];
    let service = Service::start_with(data.path(), &settings);
    let client = BlockManagerClient::new(&url, ClientOptions::default()).unwrap();
    // A client said something else before.
    let told = json!({ "id": "t-1", "type": "data_storage", "session_id": "other" });
    assert_eq!(service.post("/api/v1/storage/transactions", told).status(), 201);
    for id in ["t-1", "t-2"] {
        let text = json!({ "id": id, "type": "data_storage", "session_id": "s" }).to_string();
        client.submit_transaction(&text).unwrap();
    }
    let page = service.wait(|| {
        let wanted = json!({ "filters": { "type": "data_storage", "session_id": "s" } });
        let page: Value = service.post("/api/v1/query/transactions", wanted).json().unwrap();
        (page["count"] == 2).then_some(page)
    });
    let meta = &page["meta"][0];
    assert_eq!(meta["source"], "synchronised");
    let proof = meta["proof"].as_str().unwrap();
    let proof: Value = reqwest::blocking::get(format!("{url}{proof}")).unwrap().json().unwrap();
    assert_eq!(proof["block_index"], meta["block_index"]);
    let block: Value = service.get("/api/v1/storage/blocks/0").json().unwrap();
    assert_eq!(block, serde_json::from_str::<Value>(&client.block(0).unwrap()).unwrap());
    let before: Value = service.get("/api/v1/storage/transactions/t-1/history").json().unwrap();
    let before = &before["items"][0];
    assert_eq!((&before["source"], &before["was_current"]), (&json!("submitted"), &json!(true)));
    assert!(before["text"].as_str().unwrap().contains("other"), "{before}");
    let none: Value = service.get("/api/v1/storage/blocks/0/history").json().unwrap();
    assert_eq!(none["items"], json!([]));
    let now = service.wait(|| Some(status(&service)).filter(|now| now["lag"] == 0));
    assert_eq!((&now["enabled"], &now["last_error"]), (&json!(true), &Value::Null), "{now}");
    assert!(now["last_success"].is_string() && now["peer"] == url.as_str(), "{now}");
    let health = |service: &Service| service.get("/health").json::<Value>().unwrap();
    assert_eq!(health(&service)["data_sync"], true);
    let asked = service.http.post(service.url("/api/v1/sync")).send().unwrap();
    assert_eq!(asked.status(), 202);
    // While it is away everything is served, and health says why nothing new comes.
    shutdown.ask();
    runtime.block_on(manager.finished()).unwrap();
    let said = service.wait(|| Some(health(&service)).filter(|said| said["data_sync"] == false));
    assert!(said["details"]["data_sync"].as_str().unwrap().contains("does not answer"), "{said}");
    assert_eq!(service.get("/api/v1/storage/transactions/t-1").status(), 200);
    assert!(status(&service)["last_error"].is_string());
}

#[test]
fn without_a_block_manager_nothing_is_taken_and_that_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let now = status(&service);
    assert_eq!((&now["enabled"], &now["peer"]), (&json!(false), &Value::Null));
    let (code, _, document) =
        problem(service.http.post(service.url("/api/v1/sync")).send().unwrap());
    assert_eq!(code, 503);
    assert!(document["detail"].as_str().unwrap().contains("BLOCK_MANAGER_URL"));
    let health: Value = service.get("/health").json().unwrap();
    assert_eq!((&health["status"], &health["data_sync"]), (&json!("healthy"), &json!(false)));
}
