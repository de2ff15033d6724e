//! An engine that keeps no chain of ours: its word is kept, told, and believed for nothing.

use std::path::Path;

use lucid_api::v1::anchors::{AnchorState, AnchorStatus};
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::bundle::Bundle;
use lucid_core::check::{CheckVerdict, StepOutcome, Trust, check};
use lucid_core::elsewhere::{NOT_PROVED, session_uuid};
use lucid_core::sign::PublicKey;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::foreign::{ForeignEngine, Manner};
use crate::service::{Service, problem};

/// A service that may anchor elsewhere, and asks again soon.
fn start(folder: &Path, url: &str) -> Service {
    start_by(folder, "BLOCKCHAIN_ENGINE_URL", url)
}

fn start_by(folder: &Path, variable: &str, url: &str) -> Service {
    let patience = [("SERVICE_RETRY_DELAY_SECONDS", "0.05"), ("SERVICE_RETRY_COUNT", "0")];
    let settings: Vec<_> = [(variable, url)].into_iter().chain(patience).collect();
    Service::start_with(folder, &settings)
}

fn seal(service: &Service, session: &str) {
    service.begin(session);
    service.client.append(session, &Default::default(), session.as_bytes().to_vec()).unwrap();
    service.client.seal(session, &Default::default()).unwrap();
}

fn wait_elsewhere(service: &Service, session: &str) -> AnchorState {
    service.wait_anchor_status(session, AnchorStatus::Elsewhere);
    service.client.anchor_state(session).unwrap()
}

fn json_of(service: &Service, path: &str) -> Value {
    serde_json::from_str(&service.get(path).text().unwrap()).unwrap()
}

/// Waits until the anchor's reason has this in it.
fn wait_reason(service: &Service, session: &str, says: &str) -> AnchorState {
    service.wait(|| {
        let state = service.client.anchor_state(session).unwrap();
        state.reason.as_ref().is_some_and(|reason| reason.contains(says)).then_some(state)
    })
}

fn trusted(state: &AnchorState) -> Vec<Trust> {
    let keys = [&state.trust.recorder, &state.trust.block];
    keys.into_iter().flatten().map(|key| Trust::Key(key.parse::<PublicKey>().unwrap())).collect()
}

#[test]
fn a_root_is_handed_over_and_the_engines_word_is_kept_and_told() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), ForeignEngine::start(Manner::Takes));
    let service = start(folder.path(), &engine.url());
    seal(&service, "s");
    service.wait_anchor_status("s", AnchorStatus::Processing);
    let sealed = service.client.session("s").unwrap();
    let uuid = session_uuid(&"s".parse().unwrap());
    let posted = engine.roots().remove(&uuid).unwrap();
    assert_eq!(posted["merkle_root"], sealed.merkle_root.unwrap().to_string());
    assert_eq!(
        (&posted["chunk_count"], &posted["timestamp"]),
        (&1.into(), &json!(sealed.ended_at))
    );
    let anchor = sealed.anchor.unwrap();
    assert_eq!(posted["metadata"]["anchor"]["id"], anchor.transaction_id);
    assert_eq!(posted["metadata"]["anchor"]["session_id"], "s");
    assert!(posted["metadata"]["anchor"]["signature"].is_string(), "{posted}");

    engine.behave(Manner::Confirms);
    let state = wait_elsewhere(&service, "s");
    let words = state.elsewhere.clone().unwrap();
    assert_eq!(
        (words.engine.as_str(), words.session_id.as_str()),
        (engine.url().as_str(), uuid.as_str())
    );
    assert_eq!((words.status.as_str(), words.block_height), ("confirmed", Some(7)));
    assert_eq!(words.transaction_id.as_deref(), Some("0xfeed"));
    assert_eq!(words.confirmed_at.as_deref(), Some("2026-03-01T13:00:01.5+00:00"));
    assert_eq!(words.not_proved, NOT_PROVED);
    // None of it passes for a block.
    assert_eq!((state.block_index, state.block_hash, &state.confirmed_at), (None, None, &None));
    let reason = state.reason.clone().unwrap();
    assert!(reason.starts_with("anchored elsewhere") && reason.contains(NOT_PROVED), "{reason}");
    assert_eq!(service.client.session("s").unwrap().status, SessionStatus::Sealed);
    assert_eq!(engine.asked("POST"), 1);

    // Who waits for an anchor is not kept any longer.
    let began = std::time::Instant::now();
    let waited: Session = service.client.wait_session("s", SessionStatus::Anchored, 50).unwrap();
    assert_eq!(waited.anchor.unwrap().status, AnchorStatus::Elsewhere);
    assert!(began.elapsed().as_secs() < 40);
    let status = json_of(&service, "/api/v1/status");
    let counts = ["sealed_sessions", "anchored_sessions", "anchored_elsewhere_sessions"];
    assert_eq!(counts.map(|name| status[name].as_u64()), [Some(1), Some(0), Some(1)], "{status}");
    assert_eq!(status["integrations"]["block_manager"]["kind"], "engine");
    assert_eq!(status["unanchored_age_seconds"], 0);
    let health = json_of(&service, "/health");
    assert_eq!(
        (&health["status"], &health["anchoring"]),
        (&json!("healthy"), &json!(true)),
        "{health}"
    );
    service.wait(|| {
        let why = json_of(&service, "/health")["details"]["data_sync"].clone();
        why.as_str().is_some_and(|why| why.contains("keeps no chain of ours")).then_some(())
    });

    // It is in the log: neither the engine nor the index is needed for it.
    drop(engine);
    let before = state;
    service.stop();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let service = Service::start(folder.path());
    assert_eq!(service.client.anchor_state("s").unwrap(), before);
    assert_eq!(json_of(&service, "/api/v1/status")["anchored_elsewhere_sessions"], 1);
    let verified = service.post("/api/v1/verify/session/s", json!({})).text().unwrap();
    assert!(verified.contains(NOT_PROVED), "{verified}");
    let bundle = service.client.proof("s", &Default::default()).unwrap();
    let decoded = Bundle::decode(&bundle).unwrap();
    assert!(decoded.anchored.is_none() && decoded.elsewhere.is_some());
    let report = check(&bundle, Some(&mut b"s".as_slice()), &trusted(&before)).unwrap();
    assert_eq!(report.verdict, CheckVerdict::OriginOrRecorderNotProved);
    let last = report.steps.last().unwrap();
    assert_eq!((last.name, last.outcome), ("elsewhere", StepOutcome::NotProved), "{report:?}");
    assert!(
        report
            .steps
            .iter()
            .any(|step| step.name == "recorder" && step.outcome == StepOutcome::Proved)
    );
}

#[test]
fn whatever_an_engine_does_delays_its_word_and_nothing_else() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), ForeignEngine::start(Manner::IsDown));
    let service = start(folder.path(), &engine.url());
    seal(&service, "s");
    let state = wait_reason(&service, "s", "cannot be used");
    assert_eq!(state.status, AnchorStatus::Pending, "{state:?}");
    let health = json_of(&service, "/health");
    assert_eq!((&health["status"], &health["anchoring"]), (&json!("degraded"), &json!(false)));
    engine.behave(Manner::Babbles);
    wait_reason(&service, "s", "neither a block-manager nor an engine");
    engine.behave(Manner::IsNone);
    wait_reason(&service, "s", "neither a block-manager nor an engine");
    engine.behave(Manner::Refuses);
    let state = wait_reason(&service, "s", "does not anchor the session");
    assert_eq!(state.status, AnchorStatus::Failed, "{state:?}");
    assert!(engine.roots().is_empty());

    // One whose answer does not come back is not handed over again.
    engine.behave(Manner::BreaksOff);
    service.wait(|| (!engine.roots().is_empty()).then_some(()));
    let posts = engine.asked("POST");
    engine.behave(Manner::Takes);
    service.wait_anchor_status("s", AnchorStatus::Processing);
    assert_eq!(engine.asked("POST"), posts);
    engine.behave(Manner::HasAnother);
    assert_eq!(wait_reason(&service, "s", "another root").status, AnchorStatus::Failed);
    // One that fails is handed over once more, and then looked at.
    engine.behave(Manner::Fails);
    let state = wait_reason(&service, "s", "the anchoring failed");
    assert_eq!((state.status, state.elsewhere), (AnchorStatus::Failed, None));
    assert_eq!(engine.asked("POST"), posts + 1);

    // What is kept back holds up nobody.
    engine.behave(Manner::Keeps);
    seal(&service, "t");
    assert_eq!(service.client.session("t").unwrap().status, SessionStatus::Sealed);
    engine.behave(Manner::Confirms);
    for session in ["s", "t"] {
        wait_elsewhere(&service, session);
    }
    assert_eq!(engine.asked("POST"), posts + 2);
    service.wait(|| (json_of(&service, "/health")["anchoring"] == true).then_some(()));
}

#[test]
fn a_block_manager_that_is_named_later_brings_into_a_block_what_is_elsewhere() {
    let (folder, other) = (tempfile::tempdir().unwrap(), ForeignEngine::start(Manner::Confirms));
    let service = start(folder.path(), &other.url());
    seal(&service, "s");
    let words = wait_elsewhere(&service, "s").elsewhere;
    service.stop();
    let engine = Engine::start();
    let service = start_by(folder.path(), "BLOCK_MANAGER_URL", &engine.url());
    let anchor = service.wait_anchored("s").anchor.unwrap();
    assert_eq!((anchor.status, &anchor.elsewhere), (AnchorStatus::Confirmed, &words));
    assert_eq!((anchor.block_index, &anchor.reason), (Some(0), &None));
    let status = json_of(&service, "/api/v1/status");
    assert_eq!(
        (&status["anchored_sessions"], &status["anchored_elsewhere_sessions"]),
        (&1.into(), &0.into())
    );
    let bundle = service.client.proof("s", &Default::default()).unwrap();
    let report = check(&bundle, Some(&mut b"s".as_slice()), &trusted(&anchor)).unwrap();
    assert_eq!(report.verdict, CheckVerdict::Proved, "{report:?}");
    assert!(report.not_proved.iter().any(|what| what.contains(&other.url())), "{report:?}");
    service.stop();

    // Back with the other engine: what is in a block is not brought to it, and it is asked for nothing else.
    let asked = other.asked("POST");
    let service = start(folder.path(), &other.url());
    seal(&service, "t");
    wait_elsewhere(&service, "t");
    assert_eq!(service.client.session("s").unwrap().status, SessionStatus::Anchored);
    assert_eq!(other.asked("POST"), asked + 1);
}

#[test]
fn only_the_variable_for_engines_may_name_one() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), ForeignEngine::start(Manner::Confirms));
    let service = start_by(folder.path(), "BLOCK_MANAGER_URL", &engine.url());
    seal(&service, "s");
    let state = wait_reason(&service, "s", "does not answer");
    assert_eq!((state.status, state.elsewhere), (AnchorStatus::Pending, None));
    assert!(engine.roots().is_empty());
}

#[test]
fn a_session_that_is_elsewhere_has_no_age_and_leaves_nothing_when_it_goes() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), ForeignEngine::start(Manner::Confirms));
    let url = format!("http://ann:secret@{}", engine.address);
    let service = start(folder.path(), &url);
    seal(&service, "s");
    let words = wait_elsewhere(&service, "s").elsewhere.unwrap();
    assert_eq!(words.engine, format!("http://***@{}", engine.address));
    let wanted = json!({ "keep_days": 1, "confirm": true });
    let collected = service.post("/api/v1/maintenance/gc", wanted);
    assert_eq!(collected.status(), 200);
    let collected: Value = serde_json::from_str(&collected.text().unwrap()).unwrap();
    assert_eq!(collected["sessions_expired"], 0, "{collected}");
    // That its time has come would be the chain's to say, and this engine keeps none.
    let until = service.http.put(service.url("/api/v1/sessions/s/retention"));
    let until = until.header("content-type", "application/json");
    let until = until.body(json!({ "retain_until": "2001-01-01T00:00:00Z" }).to_string()).send();
    assert_eq!(until.unwrap().status(), 200);
    let removal = service.http.delete(service.url("/api/v1/sessions/s")).send().unwrap();
    let (status, code, why) = problem(removal);
    assert_eq!((status, code.as_str()), (423, "locked"), "{why}");
    assert_eq!(engine.asked("POST /api/v1/transactions"), 0);

    seal(&service, "t");
    wait_elsewhere(&service, "t");
    let removed = service.http.delete(service.url("/api/v1/sessions/t")).send().unwrap();
    assert_eq!(removed.status(), 200, "{removed:?}");
    let status = json_of(&service, "/api/v1/status");
    assert_eq!(status["anchored_elsewhere_sessions"], 1);
    // Its tombstone waits for a chain, and nobody here waits for that.
    assert_eq!(status["unanchored_age_seconds"], 0);
    assert_eq!(engine.asked("POST"), 2);
}
