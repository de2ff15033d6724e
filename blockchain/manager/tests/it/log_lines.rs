//! The lines that the operators of the founding documents search the log for, as the program writes them.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use lucid_store::clock::Clock;

use crate::program::{Program, command, start_as};
use crate::routes::blocks::block_on;
use crate::starting::{ended, tell};
use crate::upkeep::{chain, chain_at, flip};

/// Waits until a line says this.
fn wait_for(log: &Receiver<String>, says: &str) -> String {
    let mut heard = Vec::new();
    loop {
        match log.recv_timeout(Duration::from_secs(60)) {
            Ok(line) if line.contains(says) => return line,
            Ok(line) => heard.push(line),
            Err(error) => panic!("{error}: {says:?} is not among {heard:?}"),
        }
    }
}

#[test]
fn a_start_the_blocks_that_are_stored_and_the_end_are_lines_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let Program { mut child, client, address, log } = start_as(&mut command(folder.path()));
    for line in [
        "Starting Lucid Block Manager Service",
        "Chain state loaded: height=0",
        "Block storage initialized successfully",
        "Block validator initialized successfully",
        "Chain manager initialized successfully",
        "Chain sync initialized successfully",
        "Lucid Block Manager Service started successfully",
    ] {
        wait_for(&log, line);
    }
    let http = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let post = http.post(format!("http://{address}/api/v1/blocks"));
    let block = block_on(None, &["posted"]).to_json_text();
    let posted = post.header("content-type", "application/json").body(block).send().unwrap();
    assert_eq!(posted.status(), 201);
    let line = wait_for(&log, "Stored block 0");
    assert!(line.contains("request"), "the line has the request that brought it: {line}");
    client.submit_transaction(r#"{"id":"produced","type":"data_storage"}"#).unwrap();
    wait_for(&log, "Stored block 1");
    tell(&child, "-TERM");
    for line in [
        "Received signal 15, initiating graceful shutdown...",
        "Shutting down Lucid Block Manager Service",
        "Chain sync cleaned up",
        "Chain manager cleaned up",
        "Block validator cleaned up",
        "Block storage cleaned up",
        "Lucid Block Manager Service shutdown complete",
    ] {
        wait_for(&log, line);
    }
    assert!(ended(&mut child, Duration::from_secs(60)).0.success());
}

#[test]
fn what_the_upkeep_finds_and_removes_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(chain(folder.path()));
    let mut keeping = command(folder.path());
    let mut program = start_as(keeping.env("MAX_BLOCKS_TO_KEEP", "6"));
    let line = wait_for(&program.log, "Cleaned up ");
    assert!(line.contains(" old blocks"), "{line}");
    program.child.kill().unwrap();
    program.child.wait().unwrap();

    // Blocks of tomorrow break a rule today, and one whose bytes are damaged is missing.
    let folder = tempfile::tempdir().unwrap();
    drop(chain_at(folder.path(), Clock::system().now().plus_seconds(86_400)));
    flip(&folder.path().join("blocks/00000002.bodies"), 400);
    let mut program = start_as(&mut command(folder.path()));
    let mut found = Vec::new();
    while found.len() < 2 {
        let line = wait_for(&program.log, " block at index ");
        for says in ["Missing block at index ", "Invalid block at index "] {
            if line.contains(says) && !found.contains(&says) {
                found.push(says);
            }
        }
    }
    program.child.kill().unwrap();
    program.child.wait().unwrap();
}

#[test]
fn what_is_asked_of_another_block_manager_has_one_id_in_both_logs() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut authority = start_as(&mut command(folders[0].path()));
    let url = format!("http://{}", authority.address);
    let mut following = command(folders[1].path());
    let mut follower = start_as(following.env("LUCID_CHAIN_FOLLOW_URL", url));
    // What a follower does by itself has an id, too.
    let line = wait_for(&follower.log, "another service was asked");
    let id = line.split_once("request.id=").unwrap().1.split(' ').next().unwrap();
    wait_for(&authority.log, id);

    let http = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let ask = |path: &str, id: &str, body: &'static str| {
        let post = http.post(format!("http://{}/api/v1/{path}", follower.address));
        let post = post.header("content-type", "application/json").header("x-request-id", id);
        let reply = post.header("prefer", "wait=60").body(body).send().unwrap();
        assert!(reply.status().is_success(), "{path}: {reply:?}");
    };
    // A request that is handed on.
    ask("transactions", "handed-on-1", r#"{"id":"t","type":"data_storage"}"#);
    for log in [&follower.log, &authority.log] {
        wait_for(log, "handed-on-1");
    }
    wait_for(&authority.log, "Stored block 0");
    // A request for which threads ask, and a task that its caller need not wait for.
    ask("chain/sync", "fetched-for-1", "{}");
    wait_for(&follower.log, "fetched-for-1");
    loop {
        let line = wait_for(&authority.log, "fetched-for-1");
        if line.contains("/api/v1/blocks/bodies") {
            break;
        }
    }
    for program in [&mut authority, &mut follower] {
        program.child.kill().unwrap();
        program.child.wait().unwrap();
    }
}
