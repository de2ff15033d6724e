//! Replies that lie in memory: each is counted, and taken within a time that its caller cannot extend; and the
//! reason of a refusal, which reaches a caller that is still sending.

use std::time::Duration;

use lucid_http::budget::{Budget, FREE_BYTES};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::problems::assert_problem;
use crate::server::{Answer, GRACE, RATE, Server};

const MIB: usize = 1 << 20;
/// More than sockets buffer.
const LARGE: usize = 24 * MIB;
const LONG: Duration = Duration::from_secs(20);

/// Asks for so many bytes and reads nothing but that they come.
async fn ask_and_wait(server: &Server, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET /whole/{bytes} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 15]).await.unwrap();
    stream
}

#[tokio::test]
async fn every_reply_counts_until_it_is_sent() {
    let replies = Budget::new(LARGE).patient_for(Duration::from_millis(50));
    let server = Server::start_on(&[], |porch| porch.replies(replies), |patient| patient).await;
    // The second goes on beyond what there is, as the first of those that wait.
    let (mut one, two) = (ask_and_wait(&server, LARGE).await, ask_and_wait(&server, LARGE).await);
    assert_problem(&server.get(&format!("/whole/{}", 4 * FREE_BYTES)).await, 429, "busy");
    assert_eq!(server.get(&format!("/whole/{FREE_BYTES}")).await.body.len(), FREE_BYTES);
    assert_eq!(server.get("/metrics").await.status, 200);
    // Refusals are replies, too: this one names what was sent.
    let named = format!("\"{}\"", "x".repeat(600));
    let echoed = server.ask("POST /refusing HTTP/1.1\nContent-Type: a/b", named.as_bytes()).await;
    assert_problem(&echoed, 422, "invalid");
    let named = "x".repeat(2 * FREE_BYTES);
    let echoed = server.ask("POST /refusing HTTP/1.1\nContent-Type: a/b", named.as_bytes()).await;
    assert_problem(&echoed, 429, "busy");
    // What was done is not called undone.
    let done = server.ask(&format!("POST /whole/{MIB} HTTP/1.1"), b"").await;
    assert_problem(&done, 503, "unavailable");
    drop(two);
    timeout(LONG, one.read_exact(&mut vec![0; LARGE])).await.unwrap().unwrap();
    let again = async {
        while server.get(&format!("/whole/{LARGE}")).await.status != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, again).await.expect("what is sent, or whose caller has left, is given back");
}

#[tokio::test]
async fn trickling_does_not_hold_a_reply_beyond_its_time() {
    let replies = Budget::new(LARGE).patient_for(Duration::from_millis(50));
    let server = Server::start_with(&[], |porch| porch.replies(replies)).await;
    let began = Instant::now();
    let mut readers = vec![];
    for _ in 0..2 {
        readers.push(ask_and_wait(&server, LARGE).await);
    }
    let due = GRACE + Duration::from_secs_f64(LARGE as f64 / RATE as f64);
    let trickle = async |reader: &mut TcpStream| {
        let mut piece = vec![0; 64 << 10];
        let mut taken = 0;
        // As much at a time as moves the window.
        while let Ok(read @ 1..) = reader.read(&mut piece).await {
            taken += read;
            sleep(Duration::from_millis(20)).await;
        }
        taken
    };
    let [one, two] = &mut readers[..] else { unreachable!() };
    let served = async {
        while server.get(&format!("/whole/{MIB}")).await.status != 200 {
            sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    let all = async { tokio::join!(trickle(one), trickle(two), served) };
    let (one, two, served) = timeout(LONG, all).await.unwrap();
    assert!(one < LARGE && two < LARGE, "{one} and {two} bytes were taken");
    assert!(served > due && served < due + Duration::from_secs(4), "{served:?}, due {due:?}");
}

#[tokio::test]
async fn whoever_keeps_the_pace_gets_all_of_it() {
    let server = Server::start(&[]).await;
    let mut reader = ask_and_wait(&server, LARGE).await;
    let due = GRACE + Duration::from_secs_f64(LARGE as f64 / RATE as f64);
    let began = Instant::now();
    let (mut piece, mut taken) = (vec![0; MIB], 15);
    // A third faster than it must be, and slower than it could be.
    while taken < LARGE {
        let read = reader.read(&mut piece).await.unwrap();
        assert!(read > 0, "it broke off after {taken} bytes");
        taken += read;
        sleep(due.mul_f64(0.75 * read as f64 / LARGE as f64)).await;
    }
    assert!(began.elapsed() > due / 2);
}

#[tokio::test]
async fn streams_may_last_on_a_connection_whose_replies_have_their_time() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let one = format!("GET /whole/{MIB} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let both =
        format!("{one}GET /lasting HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    timeout(LONG, stream.read_to_end(&mut all)).await.unwrap().unwrap();
    assert!(all.ends_with(b"0\r\n\r\n"), "the stream ended well");
}

/// A refused request of 8 MiB: a name, its first lines, and what answers it.
const REFUSED: [(&str, &str, u16, &str); 11] = [
    ("media type", "POST /json HTTP/1.1\nContent-Type: text/plain", 415, "unsupported"),
    ("no media type", "POST /text HTTP/1.1", 415, "unsupported"),
    (
        "encoding",
        "POST /text HTTP/1.1\nContent-Type: application/json\nContent-Encoding: gzip",
        415,
        "unsupported",
    ),
    (
        "range",
        "POST /upload HTTP/1.1\nContent-Type: a/b\nContent-Range: bytes 0-1/2",
        400,
        "malformed",
    ),
    ("length", "POST /json HTTP/1.1\nContent-Type: application/json", 413, "too_large"),
    ("route", "POST /nowhere HTTP/1.1\nContent-Type: a/b", 404, "not_found"),
    ("method", "PUT /json HTTP/1.1\nContent-Type: a/b", 405, "method"),
    ("path", "POST /numbered/x HTTP/1.1\nContent-Type: a/b", 422, "invalid"),
    ("host", "POST /upload HTTP/1.1\nContent-Type: a/b\nHost: evil.example", 403, "forbidden"),
    ("handler", "POST /refusing-early HTTP/1.1\nContent-Type: a/b", 409, "exists"),
    ("panic", "POST /panic HTTP/1.1\nContent-Type: a/b", 500, "internal"),
];

#[tokio::test]
async fn whoever_is_refused_while_sending_reads_the_reason() {
    let server = Server::start(&[]).await;
    let body = vec![b' '; 8 * MIB];
    for (name, head, status, code) in REFUSED {
        println!("{name}");
        let answer = server.ask(head, &body).await;
        assert_problem(&answer, status, code);
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
    }
    let full = Server::start_with(&[], |porch| porch.concurrent_requests(0)).await;
    assert_problem(&full.ask("POST /upload HTTP/1.1\nContent-Type: a/b", &body).await, 429, "busy");
}

#[tokio::test]
async fn a_short_body_that_is_refused_costs_no_connection() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let short = "POST /json HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\n{   }";
    let ends = "GET /query?number=7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{short}{short}{ends}").as_bytes()).await.unwrap();
    let mut all = String::new();
    timeout(LONG, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    assert_eq!(all.matches("HTTP/1.1 415").count(), 2, "{all}");
    assert!(all.ends_with("\r\n\r\n7"), "{all}");
}

#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_not_when_it_is_refused() {
    let server = Server::start(&[]).await;
    for (name, head, status, code) in REFUSED {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let lines = head.replace('\n', "\r\n");
        let host = if head.contains("Host") { "" } else { "Host: localhost\r\n" };
        let head =
            format!("{lines}\r\n{host}Content-Length: {MIB}\r\nExpect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        timeout(LONG, stream.read_to_end(&mut reply)).await.expect(name).unwrap();
        let answer = Answer::parse(&reply);
        assert_problem(&answer, status, code);
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
    }
}

#[tokio::test]
async fn whoever_sends_on_for_ever_is_let_go() {
    let server = Server::start(&[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /json HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\n\
                Content-Length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; MIB];
    let mut sent = 0;
    let send = async {
        while stream.write_all(&piece).await.is_ok() {
            sent += MIB;
        }
    };
    timeout(LONG, send).await.expect("the connection is ended");
    assert!(sent < 200 * MIB, "{sent} bytes were taken");
}
