//! A session's bytes: whole, in part, and when some of them are damaged.

use std::os::unix::fs::FileExt as _;

use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::ChunkIds;

use crate::sample::{id, noise};
use crate::service::{Service, bytes, problem};

#[test]
fn ranges_and_tags_are_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let content = noise(1, 250_000);
    service.add("s", 0, &content.chunks(100_000).collect::<Vec<_>>());
    assert_eq!(service.client.data("s", None).unwrap().etag, None, "it may still grow");
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    let root = sealed.merkle_root.to_string();
    let whole = service.client.data("s", None).unwrap();
    assert_eq!((whole.length, whole.etag.as_deref()), (Some(250_000), Some(root.as_str())));
    assert_eq!(bytes(Ok(whole)), content);
    for range in
        [0..1, 99_999..100_001, 100_000..200_000, 0..250_000, 249_999..250_000, 50..240_000]
    {
        let part = service.client.data("s", Some(range.clone())).unwrap();
        assert!(part.partial);
        assert_eq!(bytes(Ok(part)), content[range.start as usize..range.end as usize]);
    }
    let url = service.url("/api/v1/sessions/s/data");
    let beyond = service.http.get(&url).header("range", "bytes=250000-").send().unwrap();
    assert_eq!(beyond.headers()["content-range"], "bytes */250000");
    assert_eq!(problem(beyond).0, 416);
    let known = service.http.get(&url).header("if-none-match", format!("\"{root}\"")).send();
    assert_eq!(known.unwrap().status(), 304);
    let head = service.http.head(&url).send().unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"250000".parse().unwrap())
    );
    let empty = service.begin("empty");
    assert_eq!(bytes(service.client.data(&empty.session_id, None)), b"");
}

/// One flipped bit costs the chunk it is in, is named with file and offset, and is healed by the same
/// content sent again.
#[test]
fn damage_is_named_and_everything_else_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let chunks: Vec<Vec<u8>> = (0..3).map(|n| noise(n, 100_000)).collect();
    let refer: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    service.add("s", 0, &refer);
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    service.stop();

    let segment = folder.path().join("chunks/00000001.seg");
    let file = std::fs::File::options().read(true).write(true).open(segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 150_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 150_000).unwrap();

    let service = Service::start(folder.path());
    let refused = service.client.data("s", Some(100_000..100_001)).unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!(refused.code, Some(ErrorCode::Damaged));
    assert_eq!(refused.details["file"], "chunks/00000001.seg");
    let offset = refused.details["offset"].as_u64().unwrap();
    assert!((100_000..150_000).contains(&offset), "{offset}");
    assert!(refused.detail.contains("chunks/00000001.seg"), "{}", refused.detail);
    // Its neighbours are read, and a download that meets it breaks off.
    assert_eq!(bytes(service.client.data("s", Some(0..100_000))), chunks[0]);
    assert_eq!(bytes(service.client.data("s", Some(200_000..300_000))), chunks[2]);
    // What was sent before may still be in a buffer when the connection ends.
    if let Ok(mut download) = service.client.data("s", None) {
        let mut got = Vec::new();
        let broken = std::io::Read::read_to_end(&mut download, &mut got);
        assert!(broken.is_err() && got.len() <= 100_000);
    }
    let refused = service.client.chunk(id(&chunks[1]), None).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Damaged));

    let verified = service.client.verify_session("s", None).unwrap();
    assert!(!verified.verified);
    assert_eq!((verified.details.chunks_verified, verified.details.chunks_failed), (2, 1));
    assert_eq!(verified.details.chunk_results[0].index, 1);
    let health: serde_json::Value =
        serde_json::from_str(&service.get("/health").text().unwrap()).unwrap();
    assert_eq!((&health["status"], &health["data_integrity"]), (&"degraded".into(), &false.into()));
    let status: serde_json::Value =
        serde_json::from_str(&service.get("/api/v1/status").text().unwrap()).unwrap();
    assert_eq!(status["damage"][0]["file"], "chunks/00000001.seg");

    // Missing again, so an upload heals it.
    let asked = ChunkIds::from(chunks.iter().map(|chunk| id(chunk)).collect::<Vec<_>>());
    let missing = service.wait(|| {
        Some(service.client.missing_chunks(&asked).unwrap()).filter(|missing| !missing.is_empty())
    });
    assert_eq!(missing, [id(&chunks[1])]);
    service.client.put_chunks([chunks[1].as_slice()]).unwrap();
    assert_eq!(bytes(service.client.data("s", None)), chunks.concat());
    let verified = service.client.verify_session("s", Some(sealed.merkle_root)).unwrap();
    assert!(verified.verified, "{:?}", verified.details);
}
