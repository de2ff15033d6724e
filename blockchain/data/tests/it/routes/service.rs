//! What the service says about itself, and how it starts and ends.

use lucid_http::serve::Drained;
use serde_json::{Value, json};

use crate::service::{Service, problem};

fn read(service: &Service, path: &str) -> Value {
    let response = service.get(path);
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_str(&response.text().unwrap()).unwrap()
}

#[test]
fn it_says_what_it_is_and_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let root = read(&service, "/");
    assert_eq!(
        (&root["message"], &root["docs"]),
        (&json!("Lucid Data Chain Service"), &json!("/docs"))
    );
    for path in root["endpoints"].as_array().unwrap() {
        assert_eq!(service.get(path.as_str().unwrap()).status(), 200, "{path}");
    }
    let health = read(&service, "/health");
    assert_eq!(health["service"], "lucid-data-chain");
    assert_eq!(health["data_storage"], true);
    assert_eq!(read(&service, "/api/v1/health"), health);
    assert!(service.get("/metrics").text().unwrap().contains("lucid_http_requests_total"));
    assert_eq!(service.get("/docs").status(), 200);
}

#[test]
fn the_api_describes_every_route() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let document = read(&service, "/openapi.json");
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            routes.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    routes.sort();
    let wanted = [
        "DELETE /api/v1/chunks/{chunk_id}",
        "DELETE /api/v1/sessions/{session_id}",
        "DELETE /api/v1/sessions/{session_id}/hold",
        "GET /",
        "GET /api/v1/audit",
        "GET /api/v1/audit/entries",
        "GET /api/v1/audit/sessions/{session_id}",
        "GET /api/v1/chunks",
        "GET /api/v1/chunks/{chunk_id}",
        "GET /api/v1/chunks/{chunk_id}/metadata",
        "GET /api/v1/chunks/{chunk_id}/raw",
        "GET /api/v1/data/blocks",
        "GET /api/v1/data/sessions",
        "GET /api/v1/data/transactions",
        "GET /api/v1/deduplication/stats",
        "GET /api/v1/find",
        "GET /api/v1/health",
        "GET /api/v1/index",
        "GET /api/v1/index/dead-letters",
        "GET /api/v1/index/stats",
        "GET /api/v1/index/{kind}/{id}",
        "GET /api/v1/maintenance",
        "GET /api/v1/maintenance/gc",
        "GET /api/v1/maintenance/optimise",
        "GET /api/v1/merkle/{root_hash}",
        "GET /api/v1/merkle/{root_hash}/proof/{leaf_index}",
        "GET /api/v1/query/stats",
        "GET /api/v1/scrub",
        "GET /api/v1/sessions",
        "GET /api/v1/sessions/{session_id}",
        "GET /api/v1/sessions/{session_id}/anchor",
        "GET /api/v1/sessions/{session_id}/archive.tar",
        "GET /api/v1/sessions/{session_id}/chunks",
        "GET /api/v1/sessions/{session_id}/data",
        "GET /api/v1/sessions/{session_id}/export",
        "GET /api/v1/sessions/{session_id}/files",
        "GET /api/v1/sessions/{session_id}/files/{path}",
        "GET /api/v1/sessions/{session_id}/follow",
        "GET /api/v1/sessions/{session_id}/manifest",
        "GET /api/v1/sessions/{session_id}/proof",
        "GET /api/v1/sessions/{session_id}/proof/{index}",
        "GET /api/v1/status",
        "GET /api/v1/storage/blocks/{id}",
        "GET /api/v1/storage/blocks/{id}/history",
        "GET /api/v1/storage/sessions/{id}",
        "GET /api/v1/storage/sessions/{id}/history",
        "GET /api/v1/storage/stats",
        "GET /api/v1/storage/transactions/{id}",
        "GET /api/v1/storage/transactions/{id}/history",
        "GET /api/v1/sync/status",
        "GET /api/v1/tombstones",
        "GET /api/v1/usage",
        "GET /api/v1/verify/history",
        "GET /api/v1/verify/session/{session_id}",
        "GET /health",
        "HEAD /api/v1/sessions/{session_id}",
        "POST /api/v1/chunks",
        "POST /api/v1/chunks/batch",
        "POST /api/v1/chunks/get",
        "POST /api/v1/chunks/missing",
        "POST /api/v1/data/index",
        "POST /api/v1/index/dead-letters/replay",
        "POST /api/v1/maintenance/gc",
        "POST /api/v1/maintenance/optimise",
        "POST /api/v1/maintenance/retention",
        "POST /api/v1/merkle/build",
        "POST /api/v1/merkle/verify",
        "POST /api/v1/query/blocks",
        "POST /api/v1/query/sessions",
        "POST /api/v1/query/transactions",
        "POST /api/v1/scrub",
        "POST /api/v1/sessions",
        "POST /api/v1/sessions/{session_id}/anchor",
        "POST /api/v1/sessions/{session_id}/append",
        "POST /api/v1/sessions/{session_id}/chunks",
        "POST /api/v1/sessions/{session_id}/import",
        "POST /api/v1/sessions/{session_id}/references",
        "POST /api/v1/sessions/{session_id}/seal",
        "POST /api/v1/storage/blocks",
        "POST /api/v1/storage/sessions",
        "POST /api/v1/storage/transactions",
        "POST /api/v1/sync",
        "POST /api/v1/verify/chunk/{chunk_id}",
        "POST /api/v1/verify/session/{session_id}",
        "PUT /api/v1/sessions/{session_id}/chunks/{index}",
        "PUT /api/v1/sessions/{session_id}/hold",
        "PUT /api/v1/sessions/{session_id}/retention",
    ];
    assert_eq!(routes, wanted);
}

#[test]
fn the_gateways_prefix_leads_to_the_same_routes() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let made = service.post("/api/v1/data-chain/sessions/", json!({ "session_id": "s" }));
    assert_eq!(made.status(), 201);
    assert_eq!(read(&service, "/api/v1/data-chain/sessions/s")["session_id"], "s");
    let (status, code, _) = problem(service.get("/api/v1/nothing"));
    assert_eq!((status, code.as_str()), (404, "not_found"));
    let delete = service.http.delete(service.url("/api/v1/status")).send().unwrap();
    assert_eq!(problem(delete).0, 405);
}

#[test]
fn one_process_owns_a_folder_and_the_other_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let error = Service::try_start(folder.path(), &[]).err().unwrap().to_string();
    assert!(error.contains("in use by lucid-data-chain on http://127.0.0.1:"), "{error}");
    assert_eq!(service.stop(), Drained::Whole);
    Service::start(folder.path()).stop();
}

#[test]
fn a_store_that_lost_its_name_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.stop();
    for name in ["STORE", "STORE.copy"] {
        let path = folder.path().join(name);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let error = Service::try_start(folder.path(), &[]).err().unwrap().to_string();
    assert!(error.contains("STORE"), "{error}");
}
