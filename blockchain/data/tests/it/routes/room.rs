//! A store that takes nothing in: callers are told before they have sent anything, and what gives room back is done.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lucid_api::problem::ErrorCode;
use lucid_api::v1::removal::RemoveQuery;

use crate::service::{Service, named, problem};

#[test]
fn what_brings_bytes_in_is_refused_before_its_body_is_read_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    service.stop();

    let all = u64::MAX.to_string();
    let service = Service::start_with(folder.path(), &[("LUCID_RESERVE_BYTES", all.as_str())]);
    let id = "0".repeat(64);
    let routes = [
        ("POST", "/api/v1/sessions".to_owned()),
        ("POST", "/api/v1/sessions/s/references".to_owned()),
        ("POST", "/api/v1/sessions/s/append".to_owned()),
        ("POST", "/api/v1/chunks".to_owned()),
        ("PUT", format!("/api/v1/sessions/s/chunks/{id}")),
        ("POST", "/api/v1/sessions/s/chunks".to_owned()),
        ("POST", "/api/v1/chunks/batch".to_owned()),
        ("POST", "/api/v1/merkle/build".to_owned()),
        ("POST", "/api/v1/sessions/t/import".to_owned()),
        ("POST", "/api/v1/storage/blocks".to_owned()),
        ("POST", "/api/v1/storage/transactions".to_owned()),
        ("POST", "/api/v1/storage/sessions".to_owned()),
        ("POST", "/api/v1/data/index".to_owned()),
    ];
    let host = service.base.strip_prefix("http://").unwrap();
    for (method, path) in routes {
        // The body is announced, and never sent.
        let mut asked = TcpStream::connect(host).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: 1000\r\nConnection: close\r\n\r\n"
        );
        asked.write_all(head.as_bytes()).unwrap();
        let mut told = String::new();
        // The connection stays open for a while, for the body.
        while !told.ends_with('}') {
            let mut piece = [0; 4_096];
            let count = asked.read(&mut piece).unwrap();
            assert!(count > 0, "{method} {path}: {told}");
            told.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        }
        assert!(told.starts_with("HTTP/1.1 507 "), "{method} {path}: {told}");
        assert!(
            told.contains("\"ST_004\"") && told.contains("stay free"),
            "{method} {path}: {told}"
        );
    }
    let refused = service.client.create_session(&named("t")).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Full));

    assert_eq!(service.client.upload_offset("s").unwrap(), 5);
    service.client.seal("s", &Default::default()).unwrap();
    service.client.remove_session("s", &RemoveQuery::default()).unwrap();
    assert_eq!(problem(service.get("/api/v1/sessions/s")).0, 410);
    service.stop();
    // What everything may be filled of is not refused.
    let service = Service::start_with(folder.path(), &[("LUCID_RESERVE_BYTES", "0")]);
    service.begin("t");
}
