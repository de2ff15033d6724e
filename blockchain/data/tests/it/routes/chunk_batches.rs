//! Chunks in bulk and single ones.

use lucid_api::framing;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::{BATCH_MAX, ChunkIds, GET_MAX, MISSING_MAX};
use lucid_api::v1::maintenance::CollectGarbage;
use serde_json::json;

use crate::sample::{id, noise};
use crate::service::{Service, bytes, problem};

#[test]
fn chunks_come_back_as_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let chunks: Vec<Vec<u8>> = (0..40u64).map(|n| noise(n, 30_000 + n as usize)).collect();
    let ids = ChunkIds::from(chunks.iter().map(|chunk| id(chunk)).collect::<Vec<_>>());
    assert_eq!(service.client.missing_chunks(&ids).unwrap(), ids.chunks);
    let sent = chunks.iter().chain([&chunks[0]]).map(Vec::as_slice);
    let stored = service.client.put_chunks(sent).unwrap();
    assert_eq!(stored.len(), 41);
    assert!(stored[..40].iter().all(|chunk| !chunk.deduplicated && chunk.stored_bytes > 30_000));
    assert!(stored[40].deduplicated && stored[40].stored_bytes == 0, "twice in one batch");
    let again = service.client.put_chunks([chunks[7].as_slice()]).unwrap();
    assert!(again[0].deduplicated && again[0].stored_bytes == 0);
    assert!(service.client.missing_chunks(&ids).unwrap().is_empty());

    let mut backwards = ids.clone();
    backwards.chunks.reverse();
    let read: Vec<Vec<u8>> =
        service.client.get_chunks(&backwards).unwrap().map(Result::unwrap).collect();
    assert!(read.iter().eq(chunks.iter().rev()));
    assert_eq!(bytes(service.client.chunk(ids.chunks[3], None)), chunks[3]);
    let part = service.client.chunk(ids.chunks[3], Some(10..20)).unwrap();
    assert!(part.partial);
    assert_eq!(part.etag, Some(ids.chunks[3].to_string()));
    assert_eq!(bytes(Ok(part)), chunks[3][10..20]);
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let good = noise(1, 1_000);
    let mut cut = framing::encode([good.as_slice(), b"more"]).unwrap();
    cut.pop();
    let empty = framing::encode([good.as_slice(), b""]).unwrap();
    let long = [framing::encode([good.as_slice()]).unwrap(), vec![0xff; 4]].concat();
    for (body, position) in [(cut, 1), (empty, 1), (long, 1)] {
        let refused = service.client.put_framed(body).unwrap_err();
        let refused = refused.refused().unwrap();
        assert_eq!(refused.code, Some(ErrorCode::Invalid), "{}", refused.detail);
        assert_eq!(refused.details["position"], json!(position));
    }
    let asked = ChunkIds::from(vec![id(&good)]);
    assert_eq!(service.client.missing_chunks(&asked).unwrap(), asked.chunks);
    assert!(service.client.put_framed(Vec::new()).unwrap().is_empty());

    let url = service.url("/api/v1/chunks/batch");
    let (status, code, _) = problem(service.http.post(url).body("x").send().unwrap());
    assert_eq!((status, code.as_str()), (415, "unsupported"));
}

#[test]
fn a_batch_has_a_largest_size() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let chunk = vec![7; 16 << 20];
    let body = framing::encode([chunk.as_slice(); 4]).unwrap();
    assert!(body.len() > 64 << 20);
    let refused = service.client.put_framed(body).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::TooLarge), "{refused}");
    let body = framing::encode([chunk.as_slice(); 3]).unwrap();
    assert_eq!(service.client.put_framed(body).unwrap().len(), 3);
}

#[test]
fn a_batch_has_a_largest_number_of_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let chunks: Vec<[u8; 3]> =
        (0..=BATCH_MAX as u32).map(|n| *n.to_le_bytes().first_chunk().unwrap()).collect();
    let all: Vec<&[u8]> = chunks.iter().map(<[u8; 3]>::as_slice).collect();
    let body = framing::encode(all.iter().copied()).unwrap();
    let refused = service.client.put_framed(body).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::TooLarge), "{refused}");
    let detail = &refused.refused().unwrap().detail;
    assert_eq!(detail, "a batch has at most 10000 chunks; send several");
    // The client does not even send it.
    let unsent = service.client.put_chunks(all.iter().copied()).unwrap_err();
    assert!(unsent.refused().is_none() && !unsent.maybe_applied(), "{unsent}");
    let asked = ChunkIds::from(vec![id(all[0])]);
    assert_eq!(service.client.missing_chunks(&asked).unwrap(), asked.chunks);
    // One fewer is taken, and everything that reads them afterwards works.
    assert_eq!(service.client.put_chunks(all[1..].iter().copied()).unwrap().len(), BATCH_MAX);
    let done = service.client.collect_garbage(&CollectGarbage::default()).unwrap();
    assert_eq!(done.chunks_removed, 0);
    assert_eq!(bytes(service.client.chunk(id(all[BATCH_MAX]), None)), all[BATCH_MAX]);
}

#[test]
fn when_the_thread_that_writes_ends_health_says_so_and_reading_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let chunk = noise(1, 1_000);
    service.client.put_chunks([chunk.as_slice()]).unwrap();
    service.break_writing();
    let reply = service.get("/health");
    assert_eq!(reply.status().as_u16(), 503);
    let health: serde_json::Value = serde_json::from_str(&reply.text().unwrap()).unwrap();
    assert_eq!((&health["status"], &health["data_storage"]), (&"unhealthy".into(), &false.into()));
    let why = "the thread that writes ended: a fault in the code";
    assert_eq!(health["details"]["data_storage"], why);
    let refused = service.client.put_chunks([noise(2, 1_000).as_slice()]).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Unavailable), "{refused}");
    assert!(refused.to_string().contains(why), "{refused}");
    assert_eq!(bytes(service.client.chunk(id(&chunk), None)), chunk);
}

#[test]
fn unknown_chunks_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let known = noise(1, 100);
    service.client.put_chunks([known.as_slice()]).unwrap();
    let asked = ChunkIds::from(vec![id(b"x"), id(&known), id(b"y")]);
    let refused = service.client.get_chunks(&asked).unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!(refused.code, Some(ErrorCode::NotFound));
    assert_eq!(refused.details["unknown"], json!([id(b"x").to_string(), id(b"y").to_string()]));
    assert!(service.client.chunk(id(b"x"), None).unwrap_err().is_not_found());
    let (status, ..) = problem(service.get("/api/v1/chunks/abc/raw?session_id=no%20id"));
    assert_eq!(status, 422);
    let (status, ..) = problem(service.post("/api/v1/chunks/missing", json!({ "chunks": ["zz"] })));
    assert_eq!(status, 422);
    let many = ChunkIds::from(vec![id(b"x"); GET_MAX + 1]);
    assert_eq!(service.client.get_chunks(&many).unwrap_err().code(), Some(ErrorCode::Invalid));
    let many = ChunkIds::from(vec![id(b"x"); MISSING_MAX + 1]);
    assert_eq!(service.client.missing_chunks(&many).unwrap_err().code(), Some(ErrorCode::Invalid));
}
