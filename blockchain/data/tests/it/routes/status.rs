//! What the service has, in numbers.

use lucid_api::v1::service::HealthState;
use serde_json::{Value, json};

use crate::sample::noise;
use crate::service::Service;

#[test]
fn an_empty_store_is_healthy_and_has_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let status = service.client.status().unwrap();
    assert_eq!(status.status, HealthState::Healthy, "that nothing anchors is no fault");
    assert_eq!(status.counts["total_sessions"], 0);
    assert_eq!(status.counts["unanchored_age_seconds"], 0);
    assert_eq!(status.counts["damage"], json!([]));
    assert_eq!(status.counts["encrypted"], true);
}

#[test]
fn what_was_sent_twice_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let content = noise(1, 10_000);
    for session in ["one", "two"] {
        service.begin(session);
        service.add(session, 0, &[&content]);
    }
    let stats: Value = service.get("/api/v1/deduplication/stats").json().unwrap();
    assert_eq!((&stats["total_unique_chunks"], &stats["total_references"]), (&json!(1), &json!(2)));
    assert_eq!(stats["space_saved_bytes"], 10_000);
}
