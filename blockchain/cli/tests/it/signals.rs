//! `lucid up` told to end while both services work: what was acknowledged by either is there afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lucid_api::client::{Append, BlockManagerClient, ClientOptions, DataChainClient, Retry};
use lucid_api::v1::sessions::CreateSession;

use crate::home::{Home, noise};
use crate::server::{Server, tell, told};

/// Callers of each service at the same time.
const WRITERS: u64 = 6;
/// What is acknowledged before the end is asked for, at least: enough to be in the middle of it.
const ACKNOWLEDGED: usize = 60;
const PIECE: usize = 5_000;
const ASKED: &str = "initiating graceful shutdown";

/// What was acknowledged: sessions with what they have, and transactions.
#[derive(Default)]
struct Acknowledged {
    sessions: Vec<(String, Vec<u8>)>,
    transactions: Vec<String>,
}

/// Callers that write until they are refused.
struct Load {
    recording: Vec<JoinHandle<(String, Vec<u8>)>>,
    submitting: Vec<JoinHandle<Vec<String>>>,
}

fn options() -> ClientOptions {
    let retry = Retry { count: 0, delay: Duration::ZERO };
    ClientOptions { retry, ..ClientOptions::default() }
}

fn data(server: &Server) -> DataChainClient {
    DataChainClient::new(&server.url, options()).unwrap()
}

fn chain(server: &Server) -> BlockManagerClient {
    BlockManagerClient::new(&server.chain, options()).unwrap()
}

fn named(session: &str) -> CreateSession {
    CreateSession { session_id: Some(session.to_owned()), ..CreateSession::default() }
}

impl Load {
    fn put_on(server: &Server, round: usize) -> Self {
        let [pieces, transactions] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let recording = (0..WRITERS).map(|writer| {
            let (client, count) = (data(server), pieces.clone());
            std::thread::spawn(move || record(&client, format!("s{round}-{writer}"), &count))
        });
        let recording = recording.collect();
        let submitting = (0..WRITERS).map(|writer| {
            let (client, count) = (chain(server), transactions.clone());
            std::thread::spawn(move || submit(&client, &format!("t{round}-{writer}"), &count))
        });
        let load = Self { recording, submitting: submitting.collect() };
        while pieces.load(Ordering::Relaxed).min(transactions.load(Ordering::Relaxed))
            < ACKNOWLEDGED
        {
            assert!(!load.recording.iter().all(JoinHandle::is_finished), "nobody can record");
            assert!(!load.submitting.iter().all(JoinHandle::is_finished), "nobody can submit");
            std::thread::sleep(Duration::from_millis(2));
        }
        load
    }

    fn add_to(self, all: &mut Acknowledged) {
        all.sessions.extend(self.recording.into_iter().map(|writer| writer.join().unwrap()));
        let submitted = self.submitting.into_iter().flat_map(|writer| writer.join().unwrap());
        all.transactions.extend(submitted);
    }
}

fn record(client: &DataChainClient, session: String, count: &AtomicUsize) -> (String, Vec<u8>) {
    let mut kept = Vec::new();
    if client.create_session(&named(&session)).is_err() {
        return (session, kept);
    }
    for n in 0.. {
        let piece = noise(n, PIECE);
        let how = Append { offset: kept.len() as u64, ..Append::default() };
        if client.append(&session, &how, piece.clone()).is_err() {
            break;
        }
        kept.extend_from_slice(&piece);
        count.fetch_add(1, Ordering::Relaxed);
    }
    (session, kept)
}

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

fn assert_kept(home: &Home, all: &Acknowledged) {
    let server = Server::start(home);
    for (session, kept) in all.sessions.iter().filter(|(_, kept)| !kept.is_empty()) {
        let mut there = Vec::new();
        data(&server).data(session, None).unwrap().read_to_end(&mut there).unwrap();
        // One more piece may be there: its caller was not told so any more.
        assert!(there.starts_with(kept), "{session}: {} of {}", there.len(), kept.len());
        assert!(there.len() <= kept.len() + PIECE, "{session}");
    }
    for id in &all.transactions {
        assert_eq!(chain(&server).transaction(id).unwrap().tx_id, *id);
    }
}

#[test]
fn under_load_each_signal_ends_both_services_in_order_and_nothing_acknowledged_is_lost() {
    let home = Home::new();
    let mut all = Acknowledged::default();
    for (round, signal) in ["-TERM", "-INT"].into_iter().enumerate() {
        let mut server = Server::start(&home);
        let load = Load::put_on(&server, round);
        assert!(told(&mut server.child, signal).success(), "{signal}");
        let said: Vec<String> = server.log.iter().collect();
        let has = |what: &str| said.iter().any(|line| line.contains(what));
        assert!(has(ASKED), "{said:?}");
        assert!(has("Block Manager Service shutdown complete"), "{said:?}");
        assert!(has("Data Chain Service shutdown complete"), "{said:?}");
        load.add_to(&mut all);
    }
    assert_kept(&home, &all);
}

#[test]
fn a_second_signal_ends_both_services_at_once_and_nothing_acknowledged_is_lost() {
    let home = Home::new();
    let mut all = Acknowledged::default();
    let pairs = [("-INT", "-INT", 130), ("-TERM", "-TERM", 143), ("-INT", "-TERM", 143)];
    for (round, (first, second, code)) in pairs.into_iter().enumerate() {
        let mut server = Server::start(&home);
        let hanging = hanging_request(&server);
        let load = Load::put_on(&server, round);
        tell(&server.child, first);
        assert!(server.log.iter().any(|line| line.contains(ASKED)));
        assert_eq!(told(&mut server.child, second).code(), Some(code), "{first} {second}");
        let said: Vec<String> = server.log.iter().collect();
        let has = |what: &str| said.iter().any(|line| line.contains(what));
        let last = format!("Received signal {} as well, ending at once", code - 128);
        assert!(has(&last) && has("what was acknowledged is kept"), "{said:?}");
        assert!(!has("Data Chain Service shutdown complete"), "it did not wait: {said:?}");
        drop(hanging);
        load.add_to(&mut all);
    }
    assert_kept(&home, &all);
}

/// A request whose body never comes to its end: draining would wait for it.
fn hanging_request(server: &Server) -> TcpStream {
    data(server).create_session(&named("hanging")).unwrap();
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/v1/sessions/hanging/append HTTP/1.1\r\nhost: {address}\r\nupload-offset: 0\r\n\
         content-length: 1000000\r\ncontent-type: application/octet-stream\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The service says so when it begins to read the body.
    let mut begun = [0; 25];
    stream.read_exact(&mut begun).unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 100"), "{begun:?}");
    stream
}
