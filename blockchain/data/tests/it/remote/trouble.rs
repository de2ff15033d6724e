//! A database or a bucket that is down, slow, full or asks for less, while callers send and read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::client::Append;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::gate::{Gate, Way};
use super::make;
use crate::real_servers::Remote;
use crate::sample::noise;
use crate::service::{Service, bytes};

/// Nobody waits longer for an answer: a call to a server has half of it, and what was begun is ended.
const ANSWER_MAX: Duration = Duration::from_secs(75);
/// What was away is used again after so long, at most.
const HEAL_MAX: Duration = Duration::from_secs(30);
/// A server that is away is noticed, and health says so, after so long at most.
const NOTICE_MAX: Duration = Duration::from_secs(45);
/// Callers at once. Each sends more than a stream keeps uncut, so that some of it goes to the bucket.
const CALLERS: usize = 24;

/// A service whose ways to its servers can be closed.
struct Gated {
    service: Service,
    database: Gate,
    bucket: Gate,
}

impl Gated {
    fn start(folder: &std::path::Path, remote: &Remote) -> Self {
        drop(make(folder, remote).unwrap());
        let url = remote.get("MONGO_URL").to_owned();
        let host = url.rsplit('@').next().unwrap().trim_start_matches("mongodb://");
        let database = Gate::before(host.split(['/', '?']).next().unwrap());
        let url = url.replace(host.split(['/', '?']).next().unwrap(), &database.address());
        let endpoint = remote.get("LUCID_S3_ENDPOINT").to_owned();
        let (scheme, host) = endpoint.split_once("://").unwrap();
        assert_eq!(scheme, "http", "the server of a test is reached without TLS");
        let bucket = Gate::before(host.trim_end_matches('/'));
        let endpoint = format!("http://{}", bucket.address());
        let remote = remote.with("MONGO_URL", url).with("LUCID_S3_ENDPOINT", endpoint);
        let mut settings = remote.variables();
        settings.extend([
            ("MONGODB_SERVER_SELECTION_TIMEOUT_MS", "2000"),
            ("MONGODB_CONNECT_TIMEOUT_MS", "2000"),
            ("MONGODB_SOCKET_TIMEOUT_MS", "4000"),
        ]);
        let service = Service::start_with(folder, &settings);
        Self { service, database, bucket }
    }

    /// Appends all of it or nothing, and tells what that came to.
    fn append(&self, session: &str, offset: u64, content: Vec<u8>) -> Answer {
        let digest = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(&content)));
        let url = self.service.url(&format!("/api/v1/sessions/{session}/append"));
        let request = self.service.http.post(url).timeout(ANSWER_MAX).body(content);
        let request = request.header("content-type", "application/octet-stream");
        let request = request.header("upload-offset", offset).header("content-digest", digest);
        let reply = request.send().unwrap();
        let header = |name: &str| {
            reply.headers().get(name).map(|value| value.to_str().unwrap().parse().unwrap())
        };
        Answer {
            status: reply.status().as_u16(),
            later: header("retry-after"),
            offset: header("upload-offset"),
            words: reply.text().unwrap(),
        }
    }

    fn health(&self) -> (u16, Value) {
        let reply = self.service.get("/api/v1/health");
        (reply.status().as_u16(), serde_json::from_str(&reply.text().unwrap()).unwrap())
    }

    /// Appends as soon as that is taken, which has to be soon and by itself; says from where on it is there.
    fn append_when_taken(&self, session: &str, mut offset: u64, content: &[u8], what: &str) -> u64 {
        let since = Instant::now();
        loop {
            let answer = self.append(session, offset, content.to_vec());
            match answer.status {
                200 => return offset,
                409 => offset = answer.offset.unwrap(),
                _ => {}
            }
            assert!(since.elapsed() < HEAL_MAX, "{what}: {answer:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait_until_healthy(&self, what: &str) {
        let since = Instant::now();
        while self.health().1["status"] != "healthy" {
            assert!(since.elapsed() < HEAL_MAX, "{what}: {:#}", self.health().1);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What an append came to.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// After how many seconds it may be tried again.
    later: Option<u64>,
    /// Where the stream is.
    offset: Option<u64>,
    #[expect(dead_code, reason = "it is shown where the rest is wrong")]
    words: String,
}

/// A server is in trouble while callers send, and then well again.
fn costs_a_clear_answer_and_nothing_that_was_acknowledged(
    what: &str,
    gate: impl Fn(&Gated) -> &Gate,
    way: Way,
) {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let gated = Gated::start(&home.path().join("store"), &remote);
    let (service, gate) = (&gated.service, gate(&gated));
    let (before, meanwhile, behind) = (noise(1, 700_000), noise(2, 5_000_000), noise(3, 100));
    service.begin("s");
    service.begin("other");
    service.client.append("s", &Append::default(), before.clone()).unwrap();

    gate.set(way);
    let (refused, since) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (gated, refused, content) = (&gated, &refused, meanwhile.clone());
            scope.spawn(move || {
                let (to, offset) = if caller == 0 { ("s", 700_000) } else { ("other", 0) };
                let answer = gated.append(to, offset, content);
                // A server without room is known to be one, and is not asked again and again.
                let is_full = matches!(way, Way::Answered(507, _)) && answer.status == 507;
                let is_clear = is_full || (answer.status == 503 && answer.later.is_some());
                assert!(is_clear, "{what}, caller {caller}: {answer:?}");
                refused.fetch_add(1, SeqCst);
            });
        }
    });
    assert_eq!(refused.load(SeqCst), CALLERS);
    assert!(since.elapsed() < ANSWER_MAX, "{what}: {:?}", since.elapsed());
    // It says so itself, and answers at once what it knows.
    let since = Instant::now();
    while gated.health().1["status"] == "healthy" {
        assert!(since.elapsed() < NOTICE_MAX, "{what}: {:#}", gated.health().1);
        std::thread::sleep(Duration::from_millis(100));
    }
    let since = Instant::now();
    gated.health();
    assert!(since.elapsed() < Duration::from_secs(1), "{what}: {:?}", since.elapsed());

    gate.set(Way::Open);
    let from = gated.append_when_taken("s", 700_000, &behind, what);
    // An answer that was no yes and no no may have been either: then what was sent is whole, or not there at all.
    let kept = if from == 700_000 { &[][..] } else { meanwhile.as_slice() };
    let right = [before.as_slice(), kept, behind.as_slice()].concat();
    let there = bytes(service.client.data("s", None));
    assert!(there == right, "{what}: {} bytes are there", there.len());
    gated.wait_until_healthy(what);
    assert!(service.app().opened.damage().is_empty());
    gated.service.stop();
}

fn database(gated: &Gated) -> &Gate {
    &gated.database
}

fn bucket(gated: &Gated) -> &Gate {
    &gated.bucket
}

#[test]
fn a_database_that_is_down() {
    costs_a_clear_answer_and_nothing_that_was_acknowledged("down", database, Way::Cut);
}

#[test]
fn a_database_that_stalls() {
    costs_a_clear_answer_and_nothing_that_was_acknowledged("stalled", database, Way::Stalled);
}

#[test]
fn a_bucket_that_is_down() {
    costs_a_clear_answer_and_nothing_that_was_acknowledged("down", bucket, Way::Cut);
}

#[test]
fn a_bucket_that_stalls() {
    costs_a_clear_answer_and_nothing_that_was_acknowledged("stalled", bucket, Way::Stalled);
}

#[test]
fn a_bucket_that_throttles() {
    let throttled = Way::Answered(503, "SlowDown");
    costs_a_clear_answer_and_nothing_that_was_acknowledged("throttled", bucket, throttled);
}

#[test]
fn a_bucket_that_is_full() {
    let full = Way::Answered(507, "StorageFull");
    costs_a_clear_answer_and_nothing_that_was_acknowledged("full", bucket, full);
}

#[test]
fn what_is_read_from_a_bucket_that_is_away_is_refused_for_now_and_not_called_damage() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let gated = Gated::start(&home.path().join("store"), &remote);
    let content = noise(1, 3_000_000);
    gated.service.begin("s");
    gated.service.client.append("s", &Append::default(), content.clone()).unwrap();
    gated.service.client.seal("s", &Default::default()).unwrap();
    for way in [Way::Cut, Way::Stalled, Way::Answered(503, "SlowDown")] {
        gated.bucket.set(way);
        let since = Instant::now();
        let url = gated.service.url("/api/v1/sessions/s/data");
        let reply = gated.service.http.get(url).timeout(ANSWER_MAX).send().unwrap();
        let (status, later) =
            (reply.status().as_u16(), reply.headers().contains_key("retry-after"));
        let words = reply.text().unwrap();
        assert_eq!((status, later), (503, true), "{way:?}: {words}");
        assert!(since.elapsed() < ANSWER_MAX, "{way:?}: {:?}", since.elapsed());
        gated.bucket.set(Way::Open);
        let since = Instant::now();
        loop {
            let reply = gated.service.get("/api/v1/sessions/s/data");
            if reply.status() == 200 {
                assert!(reply.bytes().unwrap() == content, "{way:?}");
                break;
            }
            assert!(since.elapsed() < HEAL_MAX, "{way:?}: {}", reply.text().unwrap());
        }
    }
    assert!(gated.service.app().opened.damage().is_empty());
}

#[test]
fn servers_that_come_and_go_lose_nothing_of_a_stream() {
    let Some(remote) = Remote::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let gated = Gated::start(&home.path().join("store"), &remote);
    let (content, is_done) = (noise(7, 1_500_000), AtomicBool::new(false));
    gated.service.begin("s");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let gates = [&gated.database, &gated.bucket];
            let turns = (0..1_000).take_while(|_| !is_done.load(SeqCst));
            for turn in turns {
                let gate = gates[turn % 2];
                std::thread::sleep(Duration::from_millis(150));
                gate.set(Way::Cut);
                std::thread::sleep(Duration::from_millis(100));
                gate.set(Way::Open);
            }
        });
        let (mut offset, since) = (0, Instant::now());
        while offset < content.len() {
            assert!(since.elapsed() < Duration::from_secs(240), "{offset} bytes were taken");
            let end = (offset + 50_000).min(content.len());
            let part = content[offset..end].to_vec();
            let answer = gated.append("s", offset as u64, part);
            match answer.status {
                200 => offset = end,
                // It had been taken, and the answer said that this is not sure.
                409 => offset = answer.offset.unwrap() as usize,
                503 => std::thread::sleep(Duration::from_millis(50)),
                _ => panic!("{answer:?}"),
            }
        }
        is_done.store(true, SeqCst);
    });
    gated.wait_until_healthy("servers that come and go");
    assert!(bytes(gated.service.client.data("s", None)) == content);
}
