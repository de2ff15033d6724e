//! Reading a session back on the service's side.

use lucid_api::v1::maintenance::ProgressState;
use lucid_core::digest::SessionRoot;

use crate::sample::noise;
use crate::service::Service;

#[test]
fn a_session_is_held_against_the_root_the_caller_believes_in() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let content = noise(1, 400_000);
    service.add("s", 0, &content.chunks(100_000).collect::<Vec<_>>());
    let live = service.client.verify_session("s", None).unwrap();
    assert!(live.verified);
    assert!(live.details.reason.unwrap().contains("not sealed"));
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    let verified = service.client.verify_session("s", Some(sealed.merkle_root)).unwrap();
    assert!(verified.verified, "{verified:?}");
    assert_eq!((verified.details.chunk_count, verified.details.chunks_verified), (4, 4));
    assert_eq!(verified.details.merkle_root, Some(sealed.merkle_root));
    let other = service.client.verify_session("s", Some(SessionRoot::ZERO)).unwrap();
    assert!(!other.verified);
    assert!(other.details.reason.unwrap().contains("root"));
}

#[test]
fn how_far_a_verification_is_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.begin("t");
    service.add("s", 0, &noise(1, 400_000).chunks(100_000).collect::<Vec<_>>());
    assert_eq!(service.client.verify_progress("s").unwrap().state, ProgressState::Idle);
    service.client.verify_session("s", None).unwrap();
    let shown = service.client.verify_progress("s").unwrap();
    assert_eq!((shown.state, shown.done, shown.total), (ProgressState::Done, 400_000, 400_000));
    assert_eq!((shown.kind.as_str(), shown.subject.as_deref()), ("verify", Some("s")));
    assert_eq!(service.client.verify_progress("t").unwrap().state, ProgressState::Idle);
    let listed = service.get("/api/v1/maintenance").text().unwrap();
    assert!(listed.contains(r#""kind":"verify","subject":"s""#), "{listed}");
}

#[test]
fn nothing_stored_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let verified = service.client.verify_session("none", None).unwrap();
    assert!(!verified.verified);
    assert!(verified.details.reason.unwrap().contains("no session none"));
}
