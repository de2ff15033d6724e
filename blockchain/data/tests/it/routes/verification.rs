//! Reading a session back on the service's side.

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
fn nothing_stored_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let verified = service.client.verify_session("none", None).unwrap();
    assert!(!verified.verified);
    assert!(verified.details.reason.unwrap().contains("no session none"));
}
