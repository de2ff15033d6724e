//! Going down in good order.

use std::time::{Duration, Instant};

use lucid_http::healthcheck::{Check, check};
use lucid_http::limits::HEAD;
use lucid_http::serve::{Drained, Listening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{IN_ENDLESS_WORK, IN_WORK, Server};

/// axum's own graceful shutdown waits for ever here.
#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let server = Server::start(&[]).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut reply = [0; 15];
    idle.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 OK");

    let started = Instant::now();
    assert_eq!(server.stop().await, Drained::Whole);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(silent.read(&mut reply).await.unwrap_or(0), 0);
}

/// Callers that hold a connection and ask nothing, far more than there are places, keep nobody out; and who has
/// asked something has it answered.
#[tokio::test]
async fn connections_that_rest_keep_nobody_out() {
    const PLACES: usize = 16;
    let few = |listening: Listening| listening.at_most(PLACES);
    let server = Server::start_on(&[], |porch| porch, few).await;
    let connect = || async { TcpStream::connect(server.address).await.unwrap() };
    let mut working = connect().await;
    let head = "POST /upload HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
        Content-Type: application/octet-stream\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    working.write_all(head.as_bytes()).await.unwrap();
    let mut goes_on = [0; 25];
    working.read_exact(&mut goes_on).await.unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut resting = Vec::new();
    for number in 0..PLACES * 40 {
        let mut caller = connect().await;
        if number % 2 == 0 {
            // The beginning of a request, and no more.
            caller.write_all(b"GET /health HTT").await.unwrap();
        }
        resting.push(caller);
    }
    let asked = Instant::now();
    for _ in 0..PLACES * 2 {
        let mut caller = connect().await;
        caller.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut reply = [0; 15];
        tokio::time::timeout(HEAD / 3, caller.read_exact(&mut reply)).await.unwrap().unwrap();
        assert_eq!(&reply, b"HTTP/1.1 200 OK");
        resting.push(caller);
    }
    assert!(asked.elapsed() < HEAD / 3, "not only once the others are let go");
    working.write_all(b"body").await.unwrap();
    let mut reply = String::new();
    working.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("\r\n4"), "{reply}");
    assert_eq!(server.stop().await, Drained::Whole);
}

#[tokio::test]
async fn a_request_in_work_is_answered_before_the_end() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /in-work HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    IN_WORK.notified().await;
    assert_eq!(server.stop().await, Drained::Whole);
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.ends_with("done"), "{reply}");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_at_the_deadline() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    IN_ENDLESS_WORK.notified().await;
    let started = Instant::now();
    assert_eq!(server.stop().await, Drained::Cut(1));
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn the_health_check_tells_there_from_not_there() {
    let server = Server::start(&[]).await;
    let address = server.address;
    for how in [Check::Socket, Check::Http] {
        tokio::task::spawn_blocking(move || check(address, None, how)).await.unwrap().unwrap();
    }
    server.stop().await;
    let gone =
        tokio::task::spawn_blocking(move || check(address, None, Check::Socket)).await.unwrap();
    assert!(gone.is_err());
}

#[tokio::test]
async fn a_caller_who_does_not_read_is_let_go() {
    let server = Server::start(&[]).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    deaf.write_all(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(20), server.flood_ended.notified()).await;
    gone.expect("whoever reads for the caller is told that it is gone");
    server.stop().await;
}
