//! Collecting garbage over HTTP, and how far long work is.

use lucid_api::v1::maintenance::{CollectGarbage, ProgressState};
use lucid_api::v1::removal::RemoveQuery;
use serde_json::{Value, json};

use crate::sample::noise;
use crate::service::{Service, problem};

#[test]
#[cfg_attr(feature = "no-locks", ignore = "it is about who asked lately, and nobody is remembered")]
fn garbage_is_collected_and_the_last_run_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    assert_eq!(service.client.gc_progress().unwrap().state, ProgressState::Idle);
    for (session, seed) in [("gone", 1), ("kept", 2)] {
        service.begin(session);
        // Not in a batch: that would be kept for a day.
        service.client.append(session, &Default::default(), noise(seed, 300_000)).unwrap();
        service.client.seal(session, &Default::default()).unwrap();
    }
    service.client.remove_session("gone", &RemoveQuery::default()).unwrap();
    // Asked for a moment ago: spared, until the service is another one.
    let spared = service.client.collect_garbage(&CollectGarbage::default()).unwrap();
    assert_eq!((spared.chunks_removed, spared.chunks_spared), (0, 1));
    service.stop();
    let service = Service::start(folder.path());
    let dry = CollectGarbage { dry_run: true, ..CollectGarbage::default() };
    let looked = service.client.collect_garbage(&dry).unwrap();
    assert_eq!((looked.chunks_dead, looked.chunks_live, looked.chunks_removed), (1, 1, 0));
    let done = service.client.collect_garbage(&CollectGarbage::default()).unwrap();
    assert_eq!((done.chunks_removed, done.stopped), (1, false));
    assert!(done.bytes_freed > 290_000, "{done:?}");
    let shown = service.client.gc_progress().unwrap();
    assert_eq!((shown.state, shown.result), (ProgressState::Done, Some(json!(done))));
    let listed: Value =
        serde_json::from_str(&service.get("/api/v1/maintenance").text().unwrap()).unwrap();
    assert_eq!(listed["items"][0]["kind"], "gc");
    assert!(service.client.verify_session("kept", None).unwrap().verified);
    let refused = service.post("/api/v1/maintenance/gc", json!({ "dry": true }));
    assert_eq!(problem(refused).0, 422);
}

#[test]
fn old_sessions_go_as_the_settings_or_the_caller_say() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(folder.path(), &[("DATA_CHAIN_KEEP_DAYS", "30")]);
    service.begin("today");
    service.client.seal("today", &Default::default()).unwrap();
    let done = service.client.collect_garbage(&CollectGarbage::default()).unwrap();
    assert_eq!(done.sessions_expired, 0);
    service.client.session("today").unwrap();
    let refused = service.post("/api/v1/maintenance/gc", json!({ "keep_days": 4_000_000_000_u32 }));
    assert_eq!(problem(refused).0, 422);
}
