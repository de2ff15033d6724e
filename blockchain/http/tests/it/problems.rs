//! Every failure leaves as a problem document, and never says more than it should.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Answer, Server};

pub fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["code"], code);
    assert_eq!(problem["type"], format!("urn:lucid:problem:{code}"));
    assert_eq!(problem["request_id"], answer.header("x-request-id").unwrap());
    let envelope = &problem["error"];
    let documented = match code {
        "unauthorized" => "LUCID_ERR_2001",
        "forbidden" => "LUCID_ERR_2002",
        "malformed" | "invalid" => "LUCID_ERR_1001",
        other => envelope["code"].as_str().unwrap_or(other),
    };
    assert_eq!(envelope["code"], documented);
    assert_eq!(envelope["message"], problem["detail"]);
    assert_eq!(envelope["request_id"], problem["request_id"]);
    assert_eq!(envelope["service"], "lucid-test");
    assert_eq!(envelope["version"], "1.0.0");
    assert!(envelope["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn what_the_router_refuses() {
    let server = Server::start(&[]).await;
    assert_problem(&server.get("/nowhere").await, 404, "not_found");
    let wrong_method = server.ask("DELETE /json HTTP/1.1", b"").await;
    assert_problem(&wrong_method, 405, "method");
    assert_eq!(wrong_method.header("allow"), Some("POST"));
}

#[tokio::test]
async fn what_the_extractors_refuse() {
    let server = Server::start(&[]).await;
    let json = "POST /json HTTP/1.1\nContent-Type: application/json";
    assert_problem(&server.ask(json, b"{").await, 400, "malformed");
    assert_problem(&server.ask(json, b"{\"number\":300}").await, 422, "invalid");
    assert_problem(&server.ask(json, &[b' '; 2048]).await, 413, "too_large");
    assert_problem(&server.ask("POST /json HTTP/1.1", b"{\"number\":3}").await, 415, "unsupported");
    assert_eq!(server.ask(json, b"{\"number\":3}").await.text(), "3");

    let text = "POST /text HTTP/1.1\nContent-Type: application/json; charset=utf-8";
    assert_eq!(server.ask(text, b"{\"b\":1e2, \"b\":1}").await.text(), "{\"b\":1e2, \"b\":1}");
    assert_problem(&server.ask(text, b"\xff").await, 400, "malformed");
    assert_problem(&server.ask("POST /text HTTP/1.1", b"{}").await, 415, "unsupported");

    assert_problem(&server.get("/query?number=x").await, 422, "invalid");
    assert_problem(&server.get("/api/v1/things/x").await, 422, "invalid");
    assert_eq!(server.get("/query?number=7").await.text(), "7");
}

#[tokio::test]
async fn a_body_has_its_time_however_it_trickles() {
    let server = Server::start(&[]).await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let head = "POST /json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Connection: close\r\nContent-Length: 1000\r\n\r\n";
    writes.write_all(head.as_bytes()).await.unwrap();
    let trickle = async {
        while writes.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut reply = vec![0; 4096];
    let read = tokio::select! {
        () = trickle => 0,
        read = reads.read(&mut reply) => read.unwrap(),
        () = tokio::time::sleep(Duration::from_secs(5)) => 0,
    };
    let reply = String::from_utf8_lossy(&reply[..read]).into_owned();
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
}

#[tokio::test]
async fn what_a_handler_refuses_keeps_its_details() {
    let server = Server::start(&[]).await;
    let gone = server.get("/api/v1/chain/info").await;
    assert_problem(&gone, 410, "gone");
    assert_eq!(gone.json()["error"]["code"], "BM_001");
    assert_eq!(gone.json()["error"]["details"]["height"], 7);
    assert_eq!(gone.json()["detail"], "pruned");
}

#[tokio::test]
async fn a_panic_costs_its_request_and_tells_nothing() {
    let server = Server::start(&[]).await;
    let answer = server.get("/panic").await;
    assert_problem(&answer, 500, "internal");
    assert!(!answer.text().contains("as arranged"));
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let server = Server::start(&[]).await;
    assert_problem(&server.get("/slow").await, 503, "unavailable");
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_but_probes_are_let_in() {
    let server = Server::start_with(&[], |porch| porch.concurrent_requests(0)).await;
    let busy = server.get("/api/v1/things/1").await;
    assert_problem(&busy, 429, "busy");
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn request_ids_are_echoed_when_they_are_sound() {
    let server = Server::start(&[]).await;
    let with = |id: &str| format!("GET / HTTP/1.1\nX-Request-ID: {id}");
    let echoed = server.ask(&with("a-1:b_2.c"), b"").await;
    assert_eq!(echoed.header("x-request-id"), Some("a-1:b_2.c"));
    for wrong in ["a b", "a\"b", &"x".repeat(129), ""] {
        let answer = server.ask(&with(wrong), b"").await;
        let made = answer.header("x-request-id").unwrap();
        assert!(made != wrong && !made.is_empty(), "{wrong}");
    }
}
