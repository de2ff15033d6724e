//! Manifests, page by page.

use lucid_api::problem::ErrorCode;
use lucid_api::v1::manifest::ManifestQuery;

use crate::sample::noise;
use crate::service::{Service, problem};

#[test]
fn an_unsealed_session_has_no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let refused = service.client.manifest("s", &ManifestQuery::default()).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Unsealed));
}

#[test]
fn a_manifest_comes_with_its_text_and_a_page_of_chunks_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let chunks: Vec<Vec<u8>> = (0..3).map(|number| noise(number, 1_000)).collect();
    service.add("s", 0, &chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    let mut listed = Vec::new();
    for start in [0, 2] {
        let page = service.client.manifest("s", &ManifestQuery { start, limit: Some(2) }).unwrap();
        assert_eq!(page.manifest_hash, sealed.manifest_hash);
        listed.extend(page.chunks.iter().map(|chunk| (chunk.index, chunk.length)));
    }
    assert_eq!(listed, [(0, 1_000), (1, 1_000), (2, 1_000)]);
    for (path, status) in
        [("/api/v1/sessions/none/manifest", 404), ("/api/v1/sessions/s/manifest?start=x", 422)]
    {
        assert_eq!(problem(service.get(path)).0, status, "{path}");
    }
}
