//! How the program ends under load and beside callers that hang, and what is there afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lucid_api::client::{Append, DataChainClient};

use crate::program::{Process, ended, tell};
use crate::sample::noise;
use crate::service::{bytes, named};

/// Callers that record at the same time.
const WRITERS: u64 = 12;
/// What is acknowledged before the end is asked for, at least: enough to be in the middle of it.
const ACKNOWLEDGED: usize = 100;
/// What is documented is 15 s, and the program holds itself to that; a slow machine may notice it late.
const SOON: Duration = Duration::from_secs(60);

/// Callers that record until they are refused, each a session of its own.
struct Load {
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<(String, Vec<u8>)>>,
}

impl Load {
    fn put_on(process: &Process, round: &str) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers = (0..WRITERS).map(|writer| {
            let (client, count) = (process.client(), acknowledged.clone());
            let session = format!("{round}-{writer}");
            std::thread::spawn(move || record(&client, session, writer, &count))
        });
        let load = Self { writers: writers.collect(), acknowledged };
        while load.acknowledged.load(Ordering::Relaxed) < ACKNOWLEDGED {
            assert!(!load.writers.iter().all(JoinHandle::is_finished), "nobody can record");
            std::thread::sleep(Duration::from_millis(2));
        }
        load
    }

    /// What each was told is kept, once all have been refused.
    fn acknowledged(self) -> Vec<(String, Vec<u8>)> {
        self.writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    }
}

/// Appends until that fails, as it does when the service ends; gives what was acknowledged.
fn record(
    client: &DataChainClient,
    session: String,
    seed: u64,
    count: &AtomicUsize,
) -> (String, Vec<u8>) {
    let mut kept = Vec::new();
    if client.create_session(&named(&session)).is_err() {
        return (session, kept);
    }
    for n in 0.. {
        let piece = noise(seed * 1_000_000 + n, 5_000);
        let how = Append { offset: kept.len() as u64, ..Append::default() };
        if client.append(&session, &how, piece.clone()).is_err() {
            break;
        }
        kept.extend_from_slice(&piece);
        count.fetch_add(1, Ordering::Relaxed);
    }
    (session, kept)
}

/// Everything that was acknowledged is there. One more piece may be: its caller was not told so any more.
fn assert_kept(folder: &Path, acknowledged: &[(String, Vec<u8>)]) {
    let process = Process::start(folder);
    for (session, kept) in acknowledged.iter().filter(|(_, kept)| !kept.is_empty()) {
        let there = bytes(process.client().data(session, None));
        assert!(there.starts_with(kept), "{session}: {} of {}", there.len(), kept.len());
        assert!(there.len() <= kept.len() + 5_000, "{session}");
    }
}

#[test]
fn under_load_each_signal_ends_it_in_order_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (signal, number) in [("-TERM", 15), ("-INT", 2)] {
        let mut process = Process::start(folder.path());
        let load = Load::put_on(&process, &format!("s{number}"));
        tell(&process.child, signal);
        assert!(ended(&mut process.child, SOON).success(), "{signal}");
        assert!(folder.path().join("CLOSED").exists(), "the store was closed in order");
        let said = process.log.whole().join("\n");
        assert!(said.contains(&format!("Received signal {number}, initiating")), "{said}");
        assert!(said.contains("shutdown complete"), "{said}");
        all.extend(load.acknowledged());
    }
    assert_kept(folder.path(), &all);
}

/// A request whose body never comes to its end: draining would wait for it.
fn hanging_request(process: &Process) -> TcpStream {
    let client = process.client();
    client.create_session(&named("hanging")).unwrap();
    let mut stream = TcpStream::connect(&process.address).unwrap();
    let head = format!(
        "POST /api/v1/sessions/hanging/append HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\
         content-type: application/octet-stream\r\nupload-offset: 0\r\nexpect: 100-continue\r\n\r\n",
        process.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The service says so when it begins to read the body.
    let mut begun = [0; 25];
    stream.read_exact(&mut begun).unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 100"), "{begun:?}");
    stream
}

#[test]
fn a_second_signal_ends_it_at_once_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let pairs = [
        ("-TERM", "-TERM", 143),
        ("-INT", "-INT", 130),
        ("-TERM", "-INT", 130),
        ("-INT", "-TERM", 143),
    ];
    for (round, (first, second, code)) in pairs.into_iter().enumerate() {
        let mut process = Process::start(folder.path());
        let hanging = hanging_request(&process);
        let load = Load::put_on(&process, &format!("s{round}"));
        tell(&process.child, first);
        process.log.line("initiating graceful shutdown");
        tell(&process.child, second);
        assert_eq!(ended(&mut process.child, SOON).code(), Some(code), "{first} {second}");
        let said = process.log.whole().join("\n");
        let last = format!("Received signal {} as well, ending at once", code - 128);
        assert!(said.contains(&last) && said.contains("what was acknowledged is kept"), "{said}");
        assert!(!said.contains("shutdown complete"), "it did not wait for the request: {said}");
        drop(hanging);
        all.extend(load.acknowledged());
    }
    assert_kept(folder.path(), &all);
}
