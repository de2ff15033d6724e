//! The typed client against a real server: what it repeats, what it does not, and what it makes
//! of refusals.

use std::io::Read as _;
use std::time::Duration;

use lucid_api::client::{
    BlockManagerClient, Breaking, Circuit, ClientError, ClientOptions, DataChainClient, GivenUp,
    Heard, Pace, Retry, Revival, Trust,
};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::service::HealthState;

use crate::server::Server;

const OPTIONS: ClientOptions = ClientOptions {
    timeout: Duration::from_secs(5),
    retry: Retry { count: 3, delay: Duration::from_millis(1) },
    token: None,
    trust: Trust { authorities: None, pin: None },
    breaking: None,
    pace: Pace::FREE,
    given_up: GivenUp::NEVER,
    heard: Heard::NOTHING,
    revival: Revival::NONE,
};

/// The client blocks, so it is called as its users call it: on a thread of its own.
async fn call<T: Send + 'static>(
    server: &Server,
    ask: impl FnOnce(BlockManagerClient, DataChainClient) -> T + Send + 'static,
) -> T {
    let url = server.url();
    let ask = move || {
        let blocks = BlockManagerClient::new(&url, OPTIONS).unwrap();
        ask(blocks, DataChainClient::new(&url, OPTIONS).unwrap())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test]
async fn a_passing_failure_is_tried_again() {
    let server = Server::start(&[]).await;
    let height = call(&server, |blocks, _| blocks.chain_height()).await.unwrap();
    assert_eq!((height.height, server.attempts.count()), (3, 3));
}

#[tokio::test]
async fn a_refusal_is_final_and_complete() {
    let server = Server::start(&[]).await;
    let error = call(&server, |blocks, _| blocks.chain_info()).await.unwrap_err();
    assert_eq!(server.attempts.count(), 1);
    assert!(!error.maybe_applied());
    let refused = error.refused().unwrap();
    assert_eq!((refused.status, refused.code), (410, Some(ErrorCode::Gone)));
    assert_eq!(refused.detail, "pruned");
    assert_eq!(refused.details["height"], 7);
    assert!(!refused.request_id.is_empty());
}

#[tokio::test]
async fn nobody_there_is_surely_not_applied() {
    let server = Server::start(&[]).await;
    let url = server.url();
    server.stop().await;
    let retry = Retry { count: 1, ..OPTIONS.retry };
    let ask = move || {
        BlockManagerClient::new(&url, ClientOptions { retry, ..OPTIONS })?.submit_transaction("{}")
    };
    let error = tokio::task::spawn_blocking(ask).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Transport { maybe_applied: false, .. }), "{error}");
}

#[tokio::test]
async fn downloads_stream_whole_and_in_part() {
    let server = Server::start(&[]).await;
    let (part, partial, etag) = call(&server, |_, data| {
        let mut download = data.data("s", Some(2..5)).unwrap();
        let mut part = String::new();
        download.read_to_string(&mut part).unwrap();
        (part, download.partial, download.etag)
    })
    .await;
    assert_eq!((part.as_str(), partial, etag.as_deref()), ("234", true, Some("e")));
    let empty = call(&server, |_, data| data.data("s", Some(2..2)).map(|_| ())).await;
    assert!(matches!(empty, Err(ClientError::Unsendable { .. })));
}

#[tokio::test]
async fn file_paths_are_bytes_all_the_way() {
    let server = Server::start(&[]).await;
    let body = call(&server, |_, data| {
        let mut body = Vec::new();
        data.file("s:1", b"dir/a b\xff%2F?#", None).unwrap().read_to_end(&mut body).unwrap();
        body
    })
    .await;
    assert_eq!(body, b"s:1|dir/a b\xff%2F?#");
}

#[tokio::test]
async fn bad_health_is_an_answer() {
    let server = Server::start(&[]).await;
    let health = call(&server, |_, data| data.health()).await.unwrap();
    assert_eq!(health.status, HealthState::Degraded);
}

#[tokio::test]
async fn no_value_becomes_another_path() {
    let server = Server::start(&[]).await;
    let error = call(&server, |_, data| data.session("..")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unsendable { .. }), "{error}");
    for wrong in ["ftp://h", "h:1", "http://h/path"] {
        assert!(DataChainClient::new(wrong, OPTIONS).is_err(), "{wrong}");
    }
}

/// With two TLS providers, or none, the first use of TLS panics.
#[tokio::test]
async fn a_tls_client_can_be_made() {
    let server = Server::start(&[]).await;
    let url = server.url().replace("http:", "https:");
    let options = ClientOptions { retry: Retry { count: 0, ..OPTIONS.retry }, ..OPTIONS };
    let ask = move || DataChainClient::new(&url, options)?.health();
    let error = tokio::task::spawn_blocking(ask).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Untrusted { .. }), "{error}");
}

/// Answers one request after the other with these, each a status line and headers; says how many came.
fn scripted(replies: &'static [&'static str]) -> (String, std::thread::JoinHandle<usize>) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        for reply in replies {
            let mut stream = listener.accept().unwrap().0;
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let _head: Vec<_> =
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let rest = "content-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(format!("HTTP/1.1 {reply}\r\n{rest}").as_bytes()).unwrap();
        }
        // Nobody comes any more.
        listener.set_nonblocking(true).unwrap();
        replies.len() + usize::from(listener.accept().is_ok())
    });
    (url, serving)
}

#[test]
fn a_time_to_come_back_is_heeded_and_no_other_refusal_is_asked_again() {
    let begun = std::time::Instant::now();
    let (url, serving) =
        scripted(&["503 Busy\r\nretry-after: 1", "429 Slower\r\nretry-after: 1", "200 OK"]);
    let asked = BlockManagerClient::new(&url, OPTIONS).unwrap().json_at("/x").unwrap();
    assert_eq!((asked, serving.join().unwrap()), (serde_json::json!({}), 3));
    assert!(begun.elapsed() >= Duration::from_secs(2));

    let days = "503 Busy\r\nretry-after: 86400";
    for reply in [&["429 Slower"][..], &["404 Not Found"], &["409 Conflict"], &["507 Full"]] {
        let reply: &'static [&'static str] = Box::leak(reply.to_vec().into_boxed_slice());
        let (url, serving) = scripted(reply);
        assert!(BlockManagerClient::new(&url, OPTIONS).unwrap().json_at("/x").is_err());
        assert_eq!(serving.join().unwrap(), 1, "{reply:?}");
    }
    let (url, serving) = scripted(Box::leak(vec![days].into_boxed_slice()));
    let error = BlockManagerClient::new(&url, OPTIONS).unwrap().json_at("/x").unwrap_err();
    assert_eq!(error.refused().unwrap().retry_after, Some(Duration::from_secs(86_400)));
    assert_eq!(serving.join().unwrap(), 1, "nobody waits for a day");
}

#[test]
fn what_fails_again_and_again_is_left_alone_and_tried_later() {
    let hour = Duration::from_secs(3_600);
    let breaking = Breaking { pause: hour, pause_max: hour, ..Breaking::default() };
    let retry = Retry { count: 0, ..OPTIONS.retry };
    let (url, serving) = scripted(&["500 X", "502 X", "503 X", "500 X", "500 X"]);
    let options = ClientOptions { retry, breaking: Some(breaking), ..OPTIONS };
    let client = BlockManagerClient::new(&url, options.clone()).unwrap();
    for _ in 0..5 {
        assert!(client.json_at("/x").unwrap_err().refused().is_some());
    }
    assert!(matches!(client.circuit(), Circuit::Open(_)));
    // Its clones know, and what changes something was surely not done.
    let error = client.clone().submit_transaction("{}").unwrap_err();
    assert!(!error.maybe_applied() && error.to_string().contains("500"), "{error}");
    assert_eq!(serving.join().unwrap(), 5);

    // It fails, is left alone for a moment, and answers.
    let breaking = Breaking { pause: Duration::from_millis(1), failures: 2, ..breaking };
    let (url, serving) = scripted(&["500 X", "500 X", "404 X", "404 X"]);
    let client =
        BlockManagerClient::new(&url, ClientOptions { breaking: Some(breaking), ..options });
    let client = client.unwrap();
    for wanted in [500, 500, 404, 404] {
        let status = loop {
            match client.json_at("/x").unwrap_err().refused() {
                Some(refused) => break refused.status,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(status, wanted);
    }
    assert_eq!((client.circuit(), serving.join().unwrap()), (Circuit::Closed, 4));
}

#[test]
fn nobody_waits_for_the_next_attempt_once_the_answer_is_given_up() {
    let (url, serving) = scripted(&["503 X"]);
    let hour = Duration::from_secs(3_600);
    let options = ClientOptions {
        retry: Retry { count: 3, delay: hour },
        given_up: GivenUp::when(|| true),
        ..OPTIONS
    };
    assert!(BlockManagerClient::new(&url, options).unwrap().json_at("/x").is_err());
    assert_eq!(serving.join().unwrap(), 1);
}

/// Answers one request with `head`, and then as `rest` has it.
fn streaming(
    length: usize,
    rest: impl FnOnce(&mut std::net::TcpStream) + Send + 'static,
) -> (String, std::thread::JoinHandle<()>) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<_> =
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].starts_with("GET "), "{head:?}");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        rest(&mut stream);
    });
    (url, serving)
}

#[test]
fn a_download_that_drips_is_not_cut_however_long_it_takes() {
    use std::io::Write as _;
    let timeout = Duration::from_secs(2);
    let options = ClientOptions { timeout, ..OPTIONS };
    let (url, serving) = streaming(40, |stream| {
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(75));
            stream.write_all(b"x").unwrap();
        }
    });
    let begun = std::time::Instant::now();
    let mut all = Vec::new();
    let client = DataChainClient::new(&url, options).unwrap();
    client.data("s", None).unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all, [b'x'; 40]);
    assert!(begun.elapsed() > timeout, "it took longer than a piece may");
    serving.join().unwrap();
}

#[test]
fn a_download_that_stalls_breaks_off_when_nothing_comes_for_the_timeout() {
    use std::io::Write as _;
    let timeout = Duration::from_millis(300);
    let (over, hold) = std::sync::mpsc::channel::<()>();
    let (url, serving) = streaming(40, move |stream| {
        stream.write_all(b"half of what was said").unwrap();
        // It stays open, and says nothing.
        assert!(hold.recv().is_err());
    });
    let client = DataChainClient::new(&url, ClientOptions { timeout, ..OPTIONS }).unwrap();
    let (begun, mut all) = (std::time::Instant::now(), Vec::new());
    let error = client.data("s", None).unwrap().read_to_end(&mut all).unwrap_err();
    assert!(format!("{error:?}").contains("TimedOut"), "{error:?}");
    assert_eq!(all, b"half of what was said");
    assert!(begun.elapsed() >= timeout);
    drop(over);
    serving.join().unwrap();
}
