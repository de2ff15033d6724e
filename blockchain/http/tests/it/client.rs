//! The typed client against a real server: what it repeats, what it does not, and what it makes
//! of refusals.

use std::io::Read as _;
use std::time::Duration;

use lucid_api::client::{
    BlockManagerClient, ClientError, ClientOptions, DataChainClient, Retry, Trust,
};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::service::HealthState;

use crate::server::Server;

const OPTIONS: ClientOptions = ClientOptions {
    timeout: Duration::from_secs(5),
    retry: Retry { count: 3, delay: Duration::from_millis(1) },
    token: None,
    trust: Trust { authorities: None, pin: None },
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
