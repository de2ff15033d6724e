//! How the program starts and ends where something holds it up: its folder, a peer, the clock.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lucid_api::client::BlockManagerClient;
use lucid_api::v1::transactions::TransactionStatus;
use serde_json::Value;

use crate::program::{Program, command, start_as};

/// What is documented as "within seconds", on a machine that may be slow.
const SOON: Duration = Duration::from_secs(10);

/// Sends a signal.
pub fn tell(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

fn terminate(child: &Child) {
    tell(child, "-TERM");
}

/// Waits until a program has ended; one that does not is killed.
pub fn ended(child: &mut Child, within: Duration) -> (ExitStatus, Duration) {
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, asked.elapsed());
        }
        if asked.elapsed() > within {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on for over {within:?} after it was told to end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn chain(client: &BlockManagerClient, id: &str) {
    let text = format!(r#"{{"id":"{id}","type":"data_storage"}}"#);
    client.submit_transaction(&text).unwrap();
    let begun = Instant::now();
    while client.transaction(id).unwrap().status != TransactionStatus::Confirmed {
        assert!(begun.elapsed() < Duration::from_secs(30), "{id} is never chained");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn blocks(client: &BlockManagerClient) -> Vec<String> {
    let height = client.chain_height().unwrap().height;
    (0..=height).map(|index| client.block(index).unwrap()).collect()
}

#[test]
fn an_opening_that_is_told_to_end_ends_soon_and_leaves_everything_to_the_next_start() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut program = start_as(&mut command(folder.path()));
    for n in 0..5 {
        chain(&program.client, &format!("t-{n}"));
    }
    let before = blocks(&program.client);
    terminate(&program.child);
    assert!(ended(&mut program.child, SOON).0.success());

    // A key that nobody writes: the opening waits for it, and would for ever.
    let key = elsewhere.path().join("root.key");
    let owner = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, owner).unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut waiting = command(folder.path());
        waiting.env("LUCID_MASTER_KEY_FILE", &key).stdout(Stdio::null());
        let mut child = waiting.spawn().unwrap();
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let writer = loop {
            assert!(child.try_wait().unwrap().is_none(), "it does not wait for the key");
            match OpenOptions::new().write(true).custom_flags(nonblocking).open(&key) {
                Ok(writer) => break writer,
                // Nobody reads it yet.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        tell(&child, signal);
        assert!(ended(&mut child, SOON).0.success(), "{signal}");
        drop(writer);
    }

    // Without an index it reads everything; whenever that is broken off, nothing is lost.
    for (n, after) in [0, 10, 25, 50, 100, 200].into_iter().enumerate() {
        if let Err(error) = fs::remove_dir_all(folder.path().join("index")) {
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        let mut command = command(folder.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // Signals are listened to before anything is said of the start.
        let mut line = String::new();
        while !line.contains("Starting Lucid Block Manager") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ended");
        }
        std::thread::sleep(Duration::from_millis(after));
        tell(&child, ["-TERM", "-INT"][n % 2]);
        let reading = std::thread::spawn(move || out.read_to_string(&mut line));
        let (status, _) = ended(&mut child, SOON);
        assert!(status.success(), "told after {after} ms: {status}");
        reading.join().unwrap().unwrap();
    }
    let mut program = start_as(&mut command(folder.path()));
    assert_eq!(blocks(&program.client), before);
    chain(&program.client, "after");
    terminate(&program.child);
    assert!(ended(&mut program.child, SOON).0.success());
}

#[test]
fn beside_a_peer_that_hangs_it_ends_within_the_time_that_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let mut follower = command(folder.path());
    let Program { mut child, client, .. } = start_as(follower.env("LUCID_CHAIN_FOLLOW_URL", &url));
    // Asked, and silent: the call goes on for as long as a call may. So does a request that is handed on.
    let (_asked, _) = hanging.accept().unwrap();
    let handed_on = std::thread::spawn(move || {
        client.submit_transaction(r#"{"id":"t","type":"data_storage"}"#)
    });
    let (_handed, _) = hanging.accept().unwrap();
    terminate(&child);
    let (status, took) = ended(&mut child, Duration::from_secs(20));
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(folder.path().join("CLOSED").exists(), "the store was closed in order");
    assert!(handed_on.join().unwrap().is_err(), "nobody took it");
}

/// The newest file of the log: what was written last.
fn newest_log(folder: &Path) -> fs::File {
    let files = fs::read_dir(folder.join("log")).unwrap();
    let newest = files.map(|file| file.unwrap().path()).max().unwrap();
    OpenOptions::new().append(true).open(newest).unwrap()
}

#[test]
fn a_clock_over_an_hour_before_the_last_block_holds_the_start_up_which_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = start_as(&mut command(folder.path()));
    chain(&program.client, "t");
    let before = blocks(&program.client);
    terminate(&program.child);
    assert!(ended(&mut program.child, SOON).0.success());
    let log = newest_log(folder.path());
    let written = log.metadata().unwrap().modified().unwrap();
    log.set_modified(written + Duration::from_secs(2 * 3_600)).unwrap();

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let mut held = command(folder.path());
    held.env("BLOCK_MANAGER_PORT", port.to_string()).stdout(Stdio::piped());
    let mut child = held.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let why = "minutes before the last commit";
    let told = |line: &String| line.contains(why) || line.contains("started successfully");
    let line = lines.by_ref().map(Result::unwrap).find(told).unwrap();
    if !line.contains(why) {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("the clock is believed: {line}");
    }
    let http = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    for path in ["/health", "/api/v1/health"] {
        let reply = http.get(format!("http://127.0.0.1:{port}{path}")).send().unwrap();
        assert_eq!(reply.status(), 503);
        let health: Value = serde_json::from_str(&reply.text().unwrap()).unwrap();
        assert_eq!(
            (&health["status"], &health["block_storage"]),
            (&"starting".into(), &false.into())
        );
        let said = health["details"]["block_storage"].as_str().unwrap();
        assert!(said.contains("the clock is 1") && said.contains(why), "{said}");
    }
    for path in ["/api/v1/chain/height", "/api/v1/blocks/0", "/api/v1/transactions/t"] {
        let reply = http.get(format!("http://127.0.0.1:{port}{path}")).send().unwrap();
        assert_eq!(reply.status(), 503, "{path}");
    }
    terminate(&child);
    let rest = std::thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<_>>());
    assert!(ended(&mut child, SOON).0.success());
    let rest = rest.join().unwrap();
    assert!(!rest.iter().any(|line| line.contains(why)), "it is said once: {rest:?}");

    // With the clock right, everything is there.
    log.set_modified(written).unwrap();
    let mut program = start_as(&mut command(folder.path()));
    assert_eq!(blocks(&program.client), before);
    program.child.kill().unwrap();
    program.child.wait().unwrap();
}
