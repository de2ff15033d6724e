//! Connections that are encrypted: whom clients believe, certificates that change, and callers that say nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_api::client::{ClientOptions, DataChainClient, Retry, Trust};
use lucid_api::tls::Pin;
use lucid_http::config::{CommonConfig, load};
use lucid_http::healthcheck::{Check, check};
use lucid_http::serve::Drained;
use lucid_http::tls::{Tls, TlsConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::certificates::Authority;
use crate::server::{NOW, SERVICE, Server, settings};

fn config((certificate, key): (std::path::PathBuf, std::path::PathBuf)) -> TlsConfig {
    TlsConfig { certificate, key }
}

async fn start(config: &TlsConfig) -> (Server, Tls) {
    let tls = Tls::open(config, Arc::new(|| NOW)).unwrap();
    let (own, shown) = (tls.clone(), tls.clone());
    let change = move |porch: lucid_http::porch::Porch| porch.tls(Some(shown));
    let server = Server::start_on(&[], change, move |listening| listening.encrypt(Some(own))).await;
    (server, tls)
}

/// Asks as a client that believes by `trust`; the error says why it does not.
async fn ask(scheme: &str, server: &Server, trust: Trust) -> Result<(), String> {
    let url = server.url().replace("http", scheme);
    let retry = Retry { count: 0, delay: Duration::ZERO };
    let options = ClientOptions { retry, trust, ..ClientOptions::default() };
    let ask = move || {
        let client = DataChainClient::new(&url, options).map_err(|error| error.to_string())?;
        client.health().map(drop).map_err(|error| with_causes(&error))
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// What a library says of it stands in the causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn by_authority(path: &Path) -> Trust {
    Trust { authorities: Some(path.to_owned()), pin: None }
}

fn by_pin(pin: Pin) -> Trust {
    Trust { authorities: None, pin: Some(pin.into()) }
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_or_by_its_key_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let config = config(authority.certify(folder.path(), 2_100));
    let (server, tls) = start(&config).await;
    let pin = tls.pin().unwrap();
    assert_eq!(tls.fault(), None);
    ask("https", &server, by_authority(&authority.file(folder.path()))).await.unwrap();
    ask("https", &server, by_pin(pin)).await.unwrap();
    for (trust, why) in [
        (Trust::default(), "certificate"),
        (by_pin("00".repeat(32).parse().unwrap()), "not the pinned one"),
        (by_authority(&folder.path().join("none")), "authorities in"),
        (by_authority(&config.key), "no certificate in it"),
    ] {
        let refused = ask("https", &server, trust.clone()).await.unwrap_err();
        assert!(refused.contains(why), "{trust:?}: {refused}");
    }
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::new().file(other.path());
    assert!(ask("https", &server, by_authority(&stranger)).await.is_err());
    // Who does not encrypt is not answered, and costs nobody anything.
    assert!(ask("http", &server, Trust::default()).await.is_err());
    let address = server.address;
    let asked = move || check(address, Some(&config), Check::Http);
    tokio::task::spawn_blocking(asked).await.unwrap().unwrap();
    assert_eq!(server.stop().await, Drained::Whole);
}

#[tokio::test]
async fn a_certificate_is_read_again_and_one_that_cannot_be_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let config = config(authority.certify(folder.path(), 2_100));
    let (server, tls) = start(&config).await;
    let first = tls.pin().unwrap();
    ask("https", &server, by_pin(first)).await.unwrap();
    authority.certify(folder.path(), 2_100);
    let second = config.pin().unwrap();
    assert_ne!(first, second);
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask("https", &server, by_pin(second)).await.is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(&config.certificate, "nothing").unwrap();
    while tls.fault().is_none() {
        tls.look_again().await;
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fault = tls.fault().unwrap();
    assert!(fault.contains("stay as they were: LUCID_TLS_CERT_FILE"), "{fault}");
    ask("https", &server, by_pin(second)).await.unwrap();
    authority.certify(folder.path(), 2_024);
    while !tls.fault().is_some_and(|fault| fault.contains("expired")) {
        tls.look_again().await;
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let third = config.pin().unwrap();
    ask("https", &server, by_pin(third)).await.unwrap();
    let trusted = by_authority(&authority.file(folder.path()));
    assert!(ask("https", &server, trusted).await.unwrap_err().contains("xpired"));
    server.stop().await;
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_bound() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new();
    let (certificate, key) = authority.certify(one.path(), 2_100);
    let (_, stranger) = authority.certify(other.path(), 2_100);
    let refused = |pairs: &[(&str, &Path)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, path)| (*name, path.to_str().unwrap())).collect();
        let loaded = load(&SERVICE, &settings(&pairs), None, CommonConfig::read);
        loaded.map(drop).map_err(|error| error.to_string())
    };
    let (cert, own) = ("LUCID_TLS_CERT_FILE", "LUCID_TLS_KEY_FILE");
    assert_eq!(refused(&[(cert, &certificate), (own, &key)]), Ok(()));
    for (pairs, why) in [
        (vec![(cert, certificate.as_path()), (own, &stranger)], "does not fit the certificate"),
        (vec![(cert, &key), (own, &key)], "has no certificate"),
        (vec![(cert, &certificate), (own, &certificate)], "LUCID_TLS_KEY_FILE"),
        (vec![(cert, Path::new("/nowhere")), (own, &key)], "LUCID_TLS_CERT_FILE (/nowhere)"),
        (vec![(cert, &certificate)], "set both, or neither"),
        (vec![(own, &key)], "set both, or neither"),
    ] {
        let said = refused(&pairs).unwrap_err();
        assert!(said.contains(why), "{pairs:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn callers_that_agree_on_nothing_hold_up_neither_others_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Authority::new().certify(folder.path(), 2_100));
    let (server, tls) = start(&config).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
        }
        silent.push(stream);
    }
    ask("https", &server, by_pin(tls.pin().unwrap())).await.unwrap();
    let started = Instant::now();
    assert_eq!(server.stop().await, Drained::Whole);
    assert!(started.elapsed() < Duration::from_secs(1));
}
