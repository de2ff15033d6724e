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
    assert!(status.process.resident_bytes.unwrap() > 0, "{:?}", status.process);
    let [disk] = &*status.process.disks else { panic!("{:?}", status.process) };
    assert_eq!(disk.folder, "data");
    assert!(disk.total_bytes >= disk.free_bytes && disk.total_bytes > 0);
    let metrics = service.get("/metrics").text().unwrap();
    for name in [
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "lucid_disk_free_bytes{service=\"lucid-data-chain\",folder=\"data\"} ",
        "lucid_host_load{minutes=\"15\"} ",
    ] {
        assert!(metrics.contains(&format!("\n{name}")), "{name}: {metrics}");
    }
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
