//! Anchors: brought to the engine, late when it is down, refused when it lies.

use lucid_api::v1::anchors::AnchorStatus;
use lucid_api::v1::sessions::SessionStatus;
use serde_json::Value;

use crate::engine::Engine;
use crate::service::{Service, problem};

#[test]
fn a_sealed_session_is_anchored_by_itself() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    service.client.seal("s", &Default::default()).unwrap();
    let shown = service.wait_anchored("s");
    let anchor = shown.anchor.unwrap();
    let block = &engine.blocks()[0];
    assert_eq!(anchor.status, AnchorStatus::Confirmed);
    assert_eq!((anchor.block_index, anchor.block_hash), (Some(0), Some(block.hash)));
    assert_eq!(anchor.trust.block, Some(engine.key.public().to_string()));
    assert!(anchor.trust.recorder.is_some());
    assert_eq!(service.client.anchor_state("s").unwrap(), anchor);
    let status: Value =
        serde_json::from_str(&service.get("/api/v1/status").text().unwrap()).unwrap();
    assert_eq!(
        (&status["anchored_sessions"], &status["anchoring"]),
        (&1.into(), &"working".into())
    );
}

#[test]
fn an_anchor_says_when_its_block_was_made_with_the_zone_that_the_block_may_lack() {
    for is_naive in [false, true] {
        let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
        if is_naive {
            engine.spell_no_zone();
        }
        let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
        service.begin("s");
        service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
        service.client.seal("s", &Default::default()).unwrap();
        service.wait_anchored("s");
        assert_eq!(engine.blocks()[0].timestamp.ends_with('Z'), !is_naive);
        let made = Value::from("2027-01-15T08:00:00.000000Z");
        let read = |path: &str| -> Value {
            serde_json::from_str(&service.get(path).text().unwrap()).unwrap()
        };
        let session = read("/api/v1/sessions/s");
        assert_eq!(session["anchor"]["confirmed_at"], made, "{session}");
        let anchor = read("/api/v1/sessions/s/anchor");
        assert_eq!(anchor["confirmed_at"], made, "{anchor}");
        assert!(anchor["submitted_at"].as_str().unwrap().ends_with('Z'), "{anchor}");
    }
}

#[test]
fn asking_for_an_anchor_seals_first_and_may_be_repeated() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let service = Service::start_with(folder.path(), &[("BLOCKCHAIN_ENGINE_URL", &engine.url())]);
    service.begin("s");
    assert!(service.client.anchor_state("s").unwrap_err().is_not_found());
    let response = service.post("/api/v1/sessions/s/anchor", serde_json::json!({}));
    assert_eq!(response.status(), 202);
    assert_ne!(service.client.session("s").unwrap().status, SessionStatus::Active);
    service.wait_anchored("s");
    let again = service.client.anchor("s").unwrap();
    assert_eq!(again.status, AnchorStatus::Confirmed);
    assert_eq!(engine.blocks().len(), 1);
    let (status, ..) = problem(service.post("/api/v1/sessions/x/anchor", serde_json::json!({})));
    assert_eq!(status, 404);
}

#[test]
fn an_engine_that_is_down_delays_anchoring_and_nothing_else() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    engine.set_down(true);
    let url = engine.url();
    let settings = [("BLOCK_MANAGER_URL", url.as_str()), ("SERVICE_RETRY_DELAY_SECONDS", "0.05")];
    let service = Service::start_with(folder.path(), &settings);
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    service.client.seal("s", &Default::default()).unwrap();
    let health = service.wait(|| {
        let health: Value = serde_json::from_str(&service.get("/health").text().unwrap()).unwrap();
        (health["anchoring"] == false).then_some(health)
    });
    assert_eq!(health["status"], "degraded");
    let state = service.client.anchor_state("s").unwrap();
    assert_eq!(state.status, AnchorStatus::Pending);
    assert!(state.reason.unwrap().contains("does not answer"));
    let integration = || {
        let status = service.get("/api/v1/status").text().unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        status["integrations"]["block_manager"].clone()
    };
    // It is left alone after a while, and never for long.
    let open = service.wait(|| Some(integration()).filter(|at| at["circuit"] == "open"));
    assert_eq!(open["url"], url);
    assert!(open["asked_again_in_seconds"].as_u64().is_some(), "{open}");
    // The queue is durable.
    service.stop();
    let service = Service::start_with(folder.path(), &settings);
    service.begin("t");
    service.client.seal("t", &Default::default()).unwrap();
    let is_down = |anchoring: bool| {
        let health: Value = serde_json::from_str(&service.get("/health").text().unwrap()).unwrap();
        (health["anchoring"] == anchoring).then_some(())
    };
    service.wait(|| is_down(false));
    // It comes back, and everything heals by itself.
    engine.set_down(false);
    for session in ["s", "t"] {
        service.wait_anchored(session);
    }
    service.wait(|| is_down(true));
    let status = service.get("/api/v1/status").text().unwrap();
    assert!(status.contains(r#""circuit":"closed""#), "{status}");
}

#[test]
fn an_anchor_that_failed_when_its_block_was_made_is_said_to_have_failed() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    engine.fail("block 7 gives the session another root");
    let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    service.client.seal("s", &Default::default()).unwrap();
    let why = service.wait(|| {
        let state = service.client.anchor_state("s").unwrap();
        (state.status == AnchorStatus::Failed).then(|| state.reason.unwrap())
    });
    assert!(why.contains("block 7 gives the session another root"), "{why}");
}

#[test]
fn another_chain_behind_the_same_setting_gets_nothing_and_is_named() {
    let (folder, ours, other) = (tempfile::tempdir().unwrap(), Engine::start(), Engine::start());
    let start = |engine: &Engine| {
        Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())])
    };
    let seal = |service: &Service, session: &str| {
        service.begin(session);
        service.client.append(session, &Default::default(), b"bytes".to_vec()).unwrap();
        service.client.seal(session, &Default::default()).unwrap();
    };
    let service = start(&ours);
    seal(&service, "first");
    service.wait_anchored("first");
    service.stop();
    let service = start(&other);
    seal(&service, "second");
    let health = service.wait(|| {
        let health: Value = serde_json::from_str(&service.get("/health").text().unwrap()).unwrap();
        (health["anchoring"] == false).then_some(health)
    });
    assert_eq!(health["status"], "degraded");
    let state = service.client.anchor_state("second").unwrap();
    let (why, genesis) = (state.reason.unwrap(), ours.blocks()[0].hash.to_string());
    assert_eq!(state.status, AnchorStatus::Pending);
    assert!(why.contains("another chain") && why.contains(&genesis), "{why}");
    assert!(other.blocks().is_empty());
    service.stop();
    let service = start(&ours);
    service.wait_anchored("second");
    assert_eq!(ours.blocks().len(), 2);
}

#[test]
fn a_proof_that_does_not_hold_is_not_stored() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    engine.lie();
    let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    service.client.seal("s", &Default::default()).unwrap();
    service.wait_anchor_status("s", AnchorStatus::Failed);
    let state = service.client.anchor_state("s").unwrap();
    assert!(state.reason.unwrap().contains("hash"), "it says why");
    assert_eq!(service.client.session("s").unwrap().status, SessionStatus::Sealed);
}

#[test]
fn without_an_engine_anchoring_is_disabled_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let state = service.client.anchor("s").unwrap();
    assert_eq!(state.status, AnchorStatus::Pending);
    assert!(state.reason.unwrap().contains("BLOCK_MANAGER_URL"));
    let health: Value = serde_json::from_str(&service.get("/health").text().unwrap()).unwrap();
    assert_eq!((&health["status"], &health["anchoring"]), (&"healthy".into(), &false.into()));
    assert!(health["details"]["anchoring"].as_str().unwrap().contains("BLOCK_MANAGER_URL"));
}
