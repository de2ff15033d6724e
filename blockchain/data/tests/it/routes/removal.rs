//! Removing, holding, and the way of a tombstone into a block.

use lucid_api::problem::ErrorCode;
use lucid_api::v1::list::PageQuery;
use lucid_api::v1::removal::{HoldSession, RemoveQuery, RetainSession, Tombstone};
use lucid_api::v1::sessions::{CreateSession, SealSession};
use serde_json::Value;

use crate::engine::Engine;
use crate::service::{Service, problem};

fn because(reason: &str) -> RemoveQuery {
    RemoveQuery { reason: Some(reason.to_owned()) }
}

#[test]
fn a_removed_session_answers_gone_with_its_tombstone() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    let removed = service.client.remove_session("s", &because("a mistake")).unwrap();
    assert_eq!(removed.reason, "a mistake");
    assert_eq!(service.client.remove_session("s", &because("again")).unwrap(), removed);

    let (status, code, document) = problem(service.get("/api/v1/sessions/s"));
    assert_eq!((status, code.as_str()), (410, "gone"));
    let told: Tombstone =
        serde_json::from_value(document["error"]["details"]["tombstone"].clone()).unwrap();
    assert_eq!(told, removed);
    let head = service.http.head(service.url("/api/v1/sessions/s")).send().unwrap();
    assert_eq!(head.status(), 410);
    for path in ["data", "manifest", "anchor", "proof", "files"] {
        let (status, ..) = problem(service.get(&format!("/api/v1/sessions/s/{path}")));
        assert_eq!(status, 410, "{path}");
    }
    let taken = service.client.create_session(&crate::service::named("s")).unwrap_err();
    assert_eq!(taken.code(), Some(ErrorCode::Gone));
    assert_eq!(service.client.tombstones(&PageQuery::default()).unwrap().items, [removed]);
    let unknown = service.client.remove_session("none", &RemoveQuery::default()).unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::NotFound));
    let long = service.client.remove_session("none", &because(&"x".repeat(2_000))).unwrap_err();
    assert_eq!(long.code(), Some(ErrorCode::Invalid));
}

#[test]
fn a_held_session_is_locked_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let held = |reason: &str| HoldSession { reason: reason.to_owned() };
    let unknown = service.client.hold_session("s", &held("x")).unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::NotFound));
    assert_eq!(service.begin("s").hold, None);
    let shown = service.client.hold_session("s", &held("a court")).unwrap();
    assert_eq!(shown.hold.as_ref().unwrap().reason, "a court");
    let refused = service.client.remove_session("s", &RemoveQuery::default()).unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!((refused.status, refused.code), (423, Some(ErrorCode::Locked)));
    assert_eq!(refused.details["reason"], "a court");
    service.stop();

    let service = Service::start(folder.path());
    assert_eq!(service.client.session("s").unwrap(), shown, "a restart keeps it held");
    assert_eq!(service.client.release_session("s").unwrap().hold, None);
    assert_eq!(service.client.release_session("s").unwrap().hold, None);
    service.client.remove_session("s", &RemoveQuery::default()).unwrap();
}

#[test]
fn a_tombstone_is_brought_into_a_block_as_anchors_are() {
    let (folder, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    engine.set_down(true);
    let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    service.client.seal("s", &Default::default()).unwrap();
    let removed = service.client.remove_session("s", &RemoveQuery::default()).unwrap();
    assert_eq!(removed.block_index, None);
    let status: Value =
        serde_json::from_str(&service.get("/api/v1/status").text().unwrap()).unwrap();
    assert_eq!((&status["total_sessions"], &status["sealed_sessions"]), (&0.into(), &0.into()));
    service.stop();

    // The queue is durable, and the anchor of what is gone is not in it any more.
    engine.set_down(false);
    let service = Service::start_with(folder.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    let chained = service.wait(|| {
        let page = service.client.tombstones(&PageQuery::default()).unwrap();
        page.items.into_iter().find(|tombstone| tombstone.block_index.is_some())
    });
    assert_eq!(chained.transaction, removed.transaction);
    assert_eq!(engine.blocks().len(), 1);
    assert_eq!(chained.block_hash, Some(engine.blocks()[0].hash));
}

#[test]
fn a_session_that_is_kept_until_a_time_is_locked_and_says_until_when() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let until = |time: &str| RetainSession { retain_until: time.to_owned() };
    let retain = |time: &str| service.client.retain_session("s", &until(time));
    assert_eq!(retain("2090-01-01T00:00:00Z").unwrap_err().code(), Some(ErrorCode::NotFound));
    let wanted = CreateSession {
        retain_until: Some("2089-01-01T00:00:00Z".to_owned()),
        ..crate::service::named("s")
    };
    let created = service.client.create_session(&wanted).unwrap();
    assert_eq!(created.retain_until.as_deref(), Some("2089-01-01T00:00:00.000000Z"));
    // Said again, and earlier, it stays.
    for time in ["2089-01-01T00:00:00Z", "2080-01-01T00:00:00Z"] {
        let again = CreateSession { retain_until: Some(time.to_owned()), ..wanted.clone() };
        assert_eq!(
            service.client.create_session(&again).unwrap().retain_until,
            created.retain_until
        );
    }
    let shorter = retain("2088-12-31T23:59:59Z").unwrap_err();
    assert_eq!(shorter.code(), Some(ErrorCode::Invalid));
    assert!(shorter.to_string().contains("never shortened"), "{shorter}");
    assert_eq!(retain("next year").unwrap_err().code(), Some(ErrorCode::Invalid));
    let sealed = SealSession {
        retain_until: Some("2090-01-01T00:00:00Z".to_owned()),
        ..SealSession::default()
    };
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    service.client.seal("s", &sealed).unwrap();
    let refused = service.client.remove_session("s", &RemoveQuery::default()).unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!((refused.status, refused.code), (423, Some(ErrorCode::Locked)));
    assert_eq!(refused.details["retain_until"], "2090-01-01T00:00:00.000000Z");
    let extended = retain("2091-01-01T00:00:00Z").unwrap();
    assert_eq!(extended.retain_until.as_deref(), Some("2091-01-01T00:00:00.000000Z"));
}
