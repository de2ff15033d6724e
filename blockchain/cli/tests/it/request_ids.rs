//! One id in the logs of two programs, of which the one asks the other.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde_json::Value;

use crate::home::{Home, noise};
use crate::server::Server;

/// Waits for the first event that is wanted.
fn wait_for(log: &Receiver<String>, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut heard = Vec::new();
    loop {
        let line = log.recv_timeout(Duration::from_secs(60));
        let line = line.unwrap_or_else(|error| panic!("{error}, after {heard:?}"));
        let event: Value = serde_json::from_str(&line).unwrap();
        if wanted(&event) {
            return event;
        }
        heard.push(line);
    }
}

#[test]
fn an_anchor_that_is_delivered_has_the_same_request_id_in_both_logs() {
    let (chain, data, home) = (Home::new(), Home::new(), Home::new());
    let chain = Server::start(&chain);
    // Its own block-manager is not asked: it has another one.
    let data = Server::start_with(&data, 0, &[("BLOCK_MANAGER_URL", &chain.chain)]);
    let file = home.file("a", noise(1, 10_000));
    data.run(&home, &[&"archive", &file, &"--session", &"s"]);

    let taken = wait_for(&chain.log, |event| {
        event["http.method"] == "POST" && event["http.route"] == "/api/v1/transactions"
    });
    assert_eq!(taken["message"], "request answered", "{taken}");
    let id = taken["span"]["request.id"].as_str().unwrap();
    let asked = wait_for(&data.log, |event| event["span"]["request.id"] == id);
    assert_eq!(asked["message"], "another service was asked", "{asked}");
    assert_eq!(asked["span"]["worker"], "anchors", "{asked}");
    assert!(asked["calls"].as_u64().unwrap() > 0, "{asked}");

    // When it is in a block, that is said under the id by which it was asked for.
    let anchored = wait_for(&data.log, |event| event["message"] == "a session is anchored");
    assert_eq!(anchored["session.id"], "s", "{anchored}");
    let id = anchored["span"]["request.id"].as_str().unwrap();
    wait_for(&chain.log, |event| event["span"]["request.id"] == id);
}
