//! Collecting garbage over HTTP, and how far long work is.

use std::time::{Duration, Instant};

use lucid_api::headers::{PREFER, PREFERENCE_APPLIED};
use lucid_api::v1::maintenance::{CollectGarbage, Progress, ProgressState};
use lucid_api::v1::removal::RemoveQuery;
use lucid_data_chain::app::WAITING_MAX;
use reqwest::blocking::Response;
use reqwest::header::LOCATION;
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

/// Asks for long work as somebody who waits only so long.
fn ask(service: &Service, path: &str, prefer: &str) -> Response {
    ask_at(&service.url(path), prefer)
}

fn ask_at(url: &str, prefer: &str) -> Response {
    let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]);
    client.build().unwrap().post(url).header(PREFER, prefer).send().unwrap()
}

#[test]
fn a_caller_who_does_not_wait_is_told_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.add("s", 0, &[&noise(1, 200_000)]);
    service.client.seal("s", &Default::default()).unwrap();
    let verify = "/api/v1/verify/session/s";
    for path in ["/api/v1/maintenance/gc", "/api/v1/maintenance/optimise", verify] {
        let reply = ask(&service, path, "respond-async");
        assert_eq!(reply.status(), 202, "{path}");
        assert_eq!(reply.headers()[LOCATION], path);
        assert_eq!(reply.headers()[PREFERENCE_APPLIED], "respond-async");
        let begun: Progress = reply.json().unwrap();
        let ended: Progress = service.wait(|| {
            let shown: Progress = service.get(path).json().unwrap();
            (shown.state == ProgressState::Done).then_some(shown)
        });
        assert_eq!((begun.kind, begun.started_at), (ended.kind, ended.started_at), "{path}");
        // What a caller who waits is answered.
        let waited = ask(&service, path, "wait=60");
        assert_eq!(waited.status(), 200, "{path}");
        let (waited, result) = (waited.json::<Value>().unwrap(), ended.result.unwrap());
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&waited), names(&result), "{path}");
        if path == verify {
            assert_eq!(
                (&waited["verified"], &waited["details"]),
                (&json!(true), &result["details"])
            );
        }
    }
    let verified: Progress = service.get(verify).json().unwrap();
    assert_eq!(verified.result.unwrap()["verified"], true);

    let scrub = "/api/v1/scrub";
    let begun = ask(&service, scrub, "respond-async");
    assert_eq!(begun.status(), 202);
    assert_eq!(begun.headers()[LOCATION], scrub);
    let waited = ask(&service, scrub, "wait=60");
    assert_eq!(waited.status(), 200);
    let waited: Value = waited.json().unwrap();
    assert_eq!((&waited["complete"], &waited["damage"]), (&json!(true), &json!([])));
}

#[test]
fn a_shutdown_does_not_wait_for_who_waits_for_a_scrub() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    // The round is far from its end when the service is told to end.
    for number in 0..4 {
        service.add("s", number, &[&noise(number, 16_000_000)]);
    }
    let url = service.url("/api/v1/scrub");
    let waiting = std::thread::spawn(move || ask_at(&url, "wait=60").status());
    service.wait(|| (service.app().waiting.available_permits() < WAITING_MAX).then_some(()));
    let began = Instant::now();
    service.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let status = waiting.join().unwrap().as_u16();
    assert!([200, 202].contains(&status), "{status}");
}

#[test]
fn what_does_not_begin_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let (status, code, _) = problem(ask(&service, "/api/v1/maintenance/gc", "wait=soon"));
    assert_eq!((status, code.as_str()), (422, "invalid"));
    // A session that is not there is a verdict, which is there in time.
    let reply = ask(&service, "/api/v1/verify/session/none", "wait=60");
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json::<Value>().unwrap()["verified"], false);
    service.begin("s");
    service.client.seal("s", &Default::default()).unwrap();
    service.client.remove_session("s", &RemoveQuery::default()).unwrap();
    let gone = "/api/v1/verify/session/s";
    assert_eq!(problem(ask(&service, gone, "respond-async")).0, 410);
    assert_eq!(service.get(gone).json::<Progress>().unwrap().state, ProgressState::Idle);
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

#[test]
fn the_time_of_the_chain_is_not_told_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let path = "/api/v1/maintenance/retention";
    let (status, code, why) = problem(service.post(path, json!({ "confirm": true })));
    assert_eq!((status, code.as_str()), (409, "damaged"));
    assert!(why["detail"].as_str().unwrap().contains("set BLOCK_MANAGER_URL"), "{why}");
    assert_eq!(problem(service.post(path, json!({ "keep_days": 1 }))).0, 422);
}
