//! Live streams: where they go on, what is durable, what is cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::client::Append;
use lucid_api::problem::ErrorCode;
use lucid_core::cut::ChunkProfile;
use sha2::{Digest as _, Sha256};

use crate::sample::{cut, id, noise};
use crate::service::{Service, bytes, problem};

fn at(offset: u64) -> Append {
    Append { offset, ..Append::default() }
}

#[test]
fn a_stream_goes_on_where_it_is_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let first = service.client.append("s", &at(0), b"hello ".to_vec()).unwrap();
    assert_eq!((first.offset, first.root_offset, first.chunk_count), (6, 0, 0));
    let refused = service.client.append("s", &at(0), b"again".to_vec()).unwrap_err();
    let refused = refused.refused().unwrap();
    assert_eq!((refused.status, refused.code), (409, Some(ErrorCode::Offset)));
    assert_eq!(refused.upload_offset, Some(6));
    assert_eq!(service.client.upload_offset("s").unwrap(), 6);
    service.client.append("s", &at(6), b"world".to_vec()).unwrap();
    // Bytes that are not cut yet can be read, too.
    assert_eq!(bytes(service.client.data("s", None)), b"hello world");
    assert_eq!(bytes(service.client.data("s", Some(4..8))), b"o wo");
    assert_eq!(service.client.append("s", &at(11), Vec::new()).unwrap().offset, 11);
}

#[test]
fn a_long_stream_is_cut_as_an_archive_would_cut_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let content = noise(5, 21_000_000);
    let (one, two) = content.split_at(13_000_001);
    let half = service.client.append_stream("s", &at(0), std::io::Cursor::new(one.to_vec()));
    let half = half.unwrap();
    assert_eq!(half.offset, one.len() as u64);
    assert!(half.root_offset > 0 && half.root_offset <= half.offset);
    let done = service.client.append("s", &at(half.offset), two.to_vec()).unwrap();
    assert_eq!(done.offset, content.len() as u64);
    service.client.seal("s", &Default::default()).unwrap();
    let manifest = service.client.manifest("s", &Default::default()).unwrap();
    let ids: Vec<_> = manifest.chunks.iter().map(|chunk| chunk.chunk_id).collect();
    let wanted: Vec<_> = cut(ChunkProfile::default(), &content).into_iter().map(id).collect();
    assert_eq!(ids, wanted);
    assert_eq!(bytes(service.client.data("s", None)), content);
}

#[test]
fn a_digest_is_checked_before_anything_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let digest =
        |bytes: &[u8]| Some(format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes))));
    let right = Append { digest: digest(b"bytes"), ..at(0) };
    let wrong = Append { digest: digest(b"others"), ..at(0) };
    let odd = Append { digest: Some("md5=:AA==:".into()), ..at(0) };
    for refused in [&wrong, &odd] {
        let refused = service.client.append("s", refused, b"bytes".to_vec()).unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::Invalid));
        assert_eq!(service.client.upload_offset("s").unwrap(), 0);
    }
    assert_eq!(service.client.append("s", &right, b"bytes".to_vec()).unwrap().offset, 5);
}

#[test]
fn what_is_not_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let url = service.url("/api/v1/sessions/s/append");
    let post = || service.http.post(&url).header("content-type", "application/octet-stream");
    let (status, _, document) = problem(post().body("x").send().unwrap());
    assert_eq!(status, 422);
    assert!(document["detail"].as_str().unwrap().contains("Upload-Offset"));
    // What would be stored as the recording, and is something else.
    for (name, value, wanted) in [
        ("content-type", "multipart/form-data; boundary=x", 415),
        ("content-type", "text/plain", 415),
        ("content-encoding", "gzip", 415),
        ("content-range", "bytes 0-0/2", 400),
        ("upload-offset", "1", 400),
    ] {
        let given = match name {
            "content-type" => service.http.post(&url).header(name, value),
            _ => post().header(name, value),
        };
        let sent = given.header("upload-offset", "0").body("x").send().unwrap();
        assert_eq!(problem(sent).0, wanted, "{name}: {value}");
        assert_eq!(service.client.upload_offset("s").unwrap(), 0);
    }
    let timed = Append { time: Some("soon".into()), ..at(0) };
    let refused = service.client.append("s", &timed, b"x".to_vec()).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Invalid));
    assert!(service.client.append("none", &at(0), b"x".to_vec()).unwrap_err().is_not_found());
}

#[test]
fn what_came_before_a_body_broke_off_stays() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let mut stream = std::net::TcpStream::connect(&service.base[7..]).unwrap();
    stream
        .write_all(
            b"POST /api/v1/sessions/s/append HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: 0\r\n\
              Content-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nonly so much",
        )
        .unwrap();
    stream.flush().unwrap();
    service.wait(|| (service.client.upload_offset("s").unwrap() == 12).then_some(()));
    drop(stream);
    assert_eq!(service.client.append("s", &at(12), b"!".to_vec()).unwrap().offset, 13);
}
