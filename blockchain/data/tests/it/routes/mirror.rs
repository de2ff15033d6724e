//! A session that moves to another store over HTTP.

use lucid_api::problem::ErrorCode;

use crate::sample::noise;
use crate::service::{Service, bytes, problem};

#[test]
fn what_is_exported_is_the_same_session_elsewhere_once_its_chunks_are_there() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (Service::start(one.path()), Service::start(other.path()));
    let content = noise(1, 5_000);
    from.begin("s");
    from.add("s", 0, &[&content]);
    let sealed = from.client.seal("s", &Default::default()).unwrap();
    let exported = from.client.export_session("s").unwrap();
    assert_eq!(exported.chunk_count, 1);

    // It begins, and is sealed only when everything that it refers to is there.
    let begun = to.client.import_session("s", &exported).unwrap();
    assert_eq!((begun.chunk_count, begun.merkle_root), (0, None));
    to.add("s", 0, &[&content]);
    let there = to.client.import_session("s", &exported).unwrap();
    assert_eq!(there.merkle_root, Some(sealed.merkle_root));
    assert_eq!(bytes(to.client.data("s", None)), content);
    assert_eq!(to.client.import_session("s", &exported).unwrap().merkle_root, there.merkle_root);

    let refused = from.client.export_session("none").unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::NotFound));
    let rubbish = serde_json::json!({ "started": "not base64", "chunk_count": 1 });
    assert_eq!(problem(to.post("/api/v1/sessions/t/import", rubbish)).0, 422);
}
