//! How the program ends under load and beside a peer that hangs, and what is there afterwards.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_api::client::BlockManagerClient;
use lucid_api::v1::transactions::TransactionStatus;

use crate::program::{Program, command, start_as};
use crate::starting::{ended, tell};

/// Callers that submit at the same time.
const WRITERS: u64 = 12;
/// What is acknowledged before the end is asked for, at least: enough to be in the middle of it.
const ACKNOWLEDGED: usize = 100;
/// What is documented is 15 s, and the program holds itself to that; a slow machine may notice it late.
const SOON: Duration = Duration::from_secs(60);
const ASKED: &str = "initiating graceful shutdown";

/// Callers that submit until they are refused.
struct Load(Vec<JoinHandle<Vec<String>>>);

impl Load {
    fn put_on(client: &BlockManagerClient, round: &str) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers = (0..WRITERS).map(|writer| {
            let (client, count) = (client.clone(), acknowledged.clone());
            let name = format!("{round}-{writer}");
            std::thread::spawn(move || submit(&client, &name, &count))
        });
        let writers: Vec<_> = writers.collect();
        while acknowledged.load(Ordering::Relaxed) < ACKNOWLEDGED {
            assert!(!writers.iter().all(JoinHandle::is_finished), "nobody can submit");
            std::thread::sleep(Duration::from_millis(2));
        }
        Self(writers)
    }

    /// Whose transactions were accepted, once all callers have been refused.
    fn acknowledged(self) -> Vec<String> {
        self.0.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    }
}

/// Submits until that fails, as it does when the service ends; gives what was acknowledged.
fn submit(client: &BlockManagerClient, name: &str, count: &AtomicUsize) -> Vec<String> {
    let mut accepted = Vec::new();
    for n in 0.. {
        let id = format!("{name}-{n}");
        let text = format!(r#"{{"id":"{id}","type":"data_storage"}}"#);
        if client.submit_transaction(&text).is_err() {
            break;
        }
        accepted.push(id);
        count.fetch_add(1, Ordering::Relaxed);
    }
    accepted
}

fn assert_kept(folder: &Path, acknowledged: &[String]) {
    let mut program = start_as(&mut command(folder));
    let begun = Instant::now();
    for id in acknowledged {
        while program.client.transaction(id).unwrap().status != TransactionStatus::Confirmed {
            assert!(begun.elapsed() < Duration::from_secs(120), "{id} is never chained");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    program.child.kill().unwrap();
    program.child.wait().unwrap();
}

#[test]
fn under_load_each_signal_ends_it_in_order_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (signal, number) in [("-TERM", 15), ("-INT", 2)] {
        let Program { mut child, client, log, .. } = start_as(&mut command(folder.path()));
        let load = Load::put_on(&client, &format!("s{number}"));
        tell(&child, signal);
        assert!(ended(&mut child, SOON).0.success(), "{signal}");
        assert!(folder.path().join("CLOSED").exists(), "the store was closed in order");
        let said: Vec<String> = log.iter().collect();
        let has = |what: &str| said.iter().any(|line| line.contains(what));
        assert!(has(&format!("Received signal {number}, {ASKED}")), "{said:?}");
        assert!(has("shutdown complete"), "{said:?}");
        all.extend(load.acknowledged());
    }
    assert_kept(folder.path(), &all);
}

/// A request whose body never comes to its end: draining would wait for it.
fn hanging_request(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/v1/transactions HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1000\r\n\
         content-type: application/json\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The service says so when it begins to read the body.
    let mut begun = [0; 25];
    stream.read_exact(&mut begun).unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 100"), "{begun:?}");
    stream
}

#[test]
fn a_second_signal_ends_it_at_once_beside_a_request_that_hangs_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (round, (first, second, code)) in
        [("-TERM", "-TERM", 143), ("-INT", "-INT", 130), ("-TERM", "-INT", 130)]
            .into_iter()
            .enumerate()
    {
        let Program { mut child, client, address, log } = start_as(&mut command(folder.path()));
        let hanging = hanging_request(&address);
        let load = Load::put_on(&client, &format!("r{round}"));
        tell(&child, first);
        assert!(log.iter().any(|line| line.contains(ASKED)));
        tell(&child, second);
        assert_eq!(ended(&mut child, SOON).0.code(), Some(code), "{first} {second}");
        let said: Vec<String> = log.iter().collect();
        let has = |what: &str| said.iter().any(|line| line.contains(what));
        let last = format!("Received signal {} as well, ending at once", code - 128);
        assert!(has(&last) && has("what was acknowledged is kept"), "{said:?}");
        assert!(!has("shutdown complete"), "it did not wait for the request: {said:?}");
        drop(hanging);
        all.extend(load.acknowledged());
    }
    assert_kept(folder.path(), &all);
}

#[test]
fn a_second_signal_ends_a_follower_at_once_beside_a_peer_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let mut follower = command(folder.path());
    let Program { mut child, client, log, .. } =
        start_as(follower.env("LUCID_CHAIN_FOLLOW_URL", &url));
    // Asked, and silent; so it is about a request that is handed on.
    let (_asked, _) = hanging.accept().unwrap();
    let handed_on = std::thread::spawn(move || {
        client.submit_transaction(r#"{"id":"t","type":"data_storage"}"#)
    });
    let (_handed, _) = hanging.accept().unwrap();
    tell(&child, "-INT");
    assert!(log.iter().any(|line| line.contains(ASKED)));
    tell(&child, "-TERM");
    assert_eq!(ended(&mut child, SOON).0.code(), Some(143));
    assert!(handed_on.join().unwrap().is_err(), "nobody took it");
}
