//! What callers may not do, and what they say that nobody listens to.

use std::time::Duration;

use lucid_http::serve::Drained;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::problems::assert_problem;
use crate::server::{Answer, Server};

/// Everything that comes back for these bytes.
async fn raw(server: &Server, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn a_name_that_a_stranger_points_here_is_refused_everywhere() {
    let server = Server::start(&[("LUCID_ALLOWED_HOSTS", "lucid.example, other")]).await;
    for path in ["/", "/health", "/metrics", "/docs/", "/openapi.json", "/api/v1/things/1", "/nope"]
    {
        let evil = server.ask(&format!("GET {path} HTTP/1.1\nHost: evil.example"), b"").await;
        assert_problem(&evil, 403, "forbidden");
        assert!(evil.text().contains("LUCID_ALLOWED_HOSTS"), "{}", evil.text());
        let own = server.ask(&format!("GET {path} HTTP/1.1\nHost: other:8087"), b"").await;
        assert_ne!(own.status, 403, "{path}");
    }
    // What the request line names comes before the header.
    let line = "GET http://evil.example/health HTTP/1.1\nHost: localhost";
    assert_problem(&server.ask(line, b"").await, 403, "forbidden");
    let bound = Server::start(&[("LUCID_AUTH", "off"), ("TEST_HOST", "own-name")]).await;
    assert_eq!(bound.ask("GET /health HTTP/1.1\nHost: own-name:1", b"").await.status, 200);
    let any = Server::start(&[("LUCID_ALLOWED_HOSTS", "*")]).await;
    assert_eq!(any.ask("GET /health HTTP/1.1\nHost: evil.example", b"").await.status, 200);
}

#[tokio::test]
async fn pages_of_strangers_change_nothing() {
    let server = Server::start(&[("CORS_ORIGINS", "https://friend.example")]).await;
    let post = "POST /json HTTP/1.1\nContent-Type: application/json";
    for stranger in [
        "Origin: http://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Origin: http://localhost:1\nSec-Fetch-Site: same-site",
    ] {
        let refused = server.ask(&format!("{post}\n{stranger}"), b"{\"number\":3}").await;
        assert_problem(&refused, 403, "forbidden");
        // Not even of what does not exist.
        let refused = server.ask(&format!("DELETE /nope HTTP/1.1\n{stranger}"), b"").await;
        assert_problem(&refused, 403, "forbidden");
    }
    let own = format!("{post}\nOrigin: {}\nHost: {}", server.url(), server.address);
    assert_eq!(server.ask(&own, b"{\"number\":3}").await.text(), "3");
    let friend = format!("{post}\nOrigin: https://friend.example\nSec-Fetch-Site: cross-site");
    let friend = server.ask(&friend, b"{\"number\":3}").await;
    assert_eq!(friend.text(), "3");
    assert_eq!(friend.header("access-control-allow-origin"), Some("https://friend.example"));
}

#[tokio::test]
async fn replies_are_neither_kept_nor_run_nor_lent() {
    let server = Server::start(&[]).await;
    for path in ["/json", "/health", "/api/v1/sessions/s/data", "/nope", "/docs/"] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        assert_eq!(policy.contains("sandbox"), path != "/docs/", "{path}: {policy}");
        assert_eq!(answer.header("content-encoding"), None, "{path}");
    }
    let open = Server::start(&[("CORS_ORIGINS", "https://friend.example")]).await;
    let answer = open.get("/health").await;
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
}

#[tokio::test]
async fn what_nobody_listens_to_is_refused() {
    let server = Server::start(&[]).await;
    let upload = "POST /upload HTTP/1.1";
    let bytes = "Content-Type: application/octet-stream";
    assert_eq!(server.ask(&format!("{upload}\n{bytes}"), b"abc").await.text(), "3");
    assert_problem(&server.ask(upload, b"abc").await, 415, "unsupported");
    for (header, status, code) in [
        ("Content-Encoding: gzip", 415, "unsupported"),
        ("Content-Range: bytes 0-2/9", 400, "malformed"),
        ("Upload-Offset: 0\nUpload-Offset: 3", 400, "malformed"),
        ("Content-Type: text/plain", 400, "malformed"),
        ("If-Match: \"x\"", 412, "precondition"),
    ] {
        let refused = server.ask(&format!("{upload}\n{bytes}\n{header}"), b"abc").await;
        assert_problem(&refused, status, code);
    }
    let zipped = server.ask(&format!("{upload}\n{bytes}\nContent-Encoding: gzip"), b"abc").await;
    assert_eq!(zipped.header("accept-encoding"), Some("identity"));
    let json = "POST /json HTTP/1.1\nContent-Type: application/json";
    for body in ["[3]", "{\"number\":3,\"number\":3}", "{\"number\":3,\"x\":1,\"x\":2}"] {
        assert_problem(&server.ask(json, body.as_bytes()).await, 422, "invalid");
    }
    let part = "Range: bytes=0-1";
    let content = "/api/v1/sessions/s/data HTTP/1.1";
    let head = server.ask(&format!("HEAD {content}\n{part}"), b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let got = server.ask(&format!("GET {content}\n{part}\nIf-Range: W/\"e\""), b"").await;
    assert_eq!((got.status, got.body.len()), (200, 10));
    let other = server.ask(&format!("GET {content}\nIf-Match: \"other\""), b"").await;
    assert_problem(&other, 412, "precondition");
}

#[tokio::test]
async fn what_the_parser_refuses_is_a_problem_document_too() {
    let server = Server::start(&[]).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    for (request, status) in [
        ("GET / HTTP/1.1 x\r\n\r\n", 400),
        ("G\0T / HTTP/1.1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (long.as_str(), 414),
        (many.as_str(), 431),
    ] {
        let answer = Answer::parse(&raw(&server, request.as_bytes()).await);
        let code = if status == 400 {
            "malformed"
        } else {
            answer.json()["code"].as_str().unwrap().to_owned().leak()
        };
        assert_problem(&answer, status, code);
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    }
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        ("GET /health HTTP/1.0\r\n\r\n", 200),
        (
            "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            400,
        ),
    ] {
        assert_eq!(
            Answer::parse(&raw(&server, request.as_bytes()).await).status,
            status,
            "{request}"
        );
    }
    // After a request that was answered, too, and content that looks like a refusal stays as it is.
    let both = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
                Content-Length: 37\r\n\r\nHTTP/1.1 400 Bad Request\r\nabc: de\r\n\r\nbroken\r\n\r\n";
    let reply = String::from_utf8(raw(&server, both.as_bytes()).await).unwrap();
    let (first, second) =
        reply.split_once("\r\n\r\nHTTP/1.1 400 Bad Request\r\nabc: de\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    assert_problem(&Answer::parse(second.as_bytes()), 400, "malformed");
}

#[tokio::test]
async fn a_caller_that_waits_to_be_asked_and_is_refused_sends_nothing() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /json HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                Content-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut reply));
    ended.await.unwrap().unwrap();
    assert_problem(&Answer::parse(&reply), 415, "unsupported");
    assert_eq!(server.stop().await, Drained::Whole);
}
