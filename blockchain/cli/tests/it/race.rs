//! The same content comes in, is removed and is collected, all at once and over and over, while the
//! server is killed and started again: all that is referred to stays.
//!
//! `LUCID_RACE_SECONDS` says for how long; a few seconds unless told.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lucid_api::client::{Append, ClientOptions, DataChainClient, Retry};
use lucid_api::v1::maintenance::{CollectGarbage, Optimise};
use lucid_api::v1::removal::RemoveQuery;
use lucid_api::v1::sessions::{CreateSession, SealSession};

use crate::home::{Home, noise, seed};
use crate::server::Server;

/// Pieces of content that sessions are made of: so many that each is sometimes in none, and comes back.
const PIECES: u64 = 40;
const WRITERS: u64 = 3;
/// Small chunks, so that every piece has several.
const SETTINGS: [(&str, &str); 1] = [("DATA_CHAIN_CHUNK_SIZE_BYTES", "65536")];

fn seconds() -> u64 {
    std::env::var("LUCID_RACE_SECONDS").map_or(6, |seconds| seconds.parse().unwrap())
}

/// What was acknowledged, by session.
type ContentsById = Mutex<BTreeMap<String, Vec<u8>>>;

struct Race {
    url: Mutex<String>,
    kept: ContentsById,
    ended: AtomicBool,
    stored: AtomicU64,
    removed: AtomicU64,
    dropped: AtomicU64,
    read: AtomicU64,
}

impl Race {
    /// Someone who speaks to whichever server runs now, and hears of every failure at once.
    fn client(&self) -> DataChainClient {
        let retry = Retry { count: 0, delay: Duration::ZERO };
        let options =
            ClientOptions { timeout: Duration::from_secs(20), retry, ..ClientOptions::default() };
        DataChainClient::new(&self.url.lock().unwrap().clone(), options).unwrap()
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn write(&self, writer: u64, seed: u64) {
        let mut turn = 0;
        while self.goes_on() {
            turn += 1;
            let id = format!("w-{writer}-{turn}");
            let client = self.client();
            let wanted = CreateSession { session_id: Some(id.clone()), ..CreateSession::default() };
            if client.create_session(&wanted).is_err() {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let mut content = Vec::new();
            for step in 0..3 {
                let chance = blake3::hash(format!("{seed} {id} {step}").as_bytes());
                let piece = noise(u64::from(chance.as_bytes()[0]) % PIECES, 180_000);
                let how = Append { offset: content.len() as u64, ..Append::default() };
                if client.append(&id, &how, piece.clone()).is_err() {
                    break;
                }
                content.extend_from_slice(&piece);
            }
            let sealed = turn % 2 == 0 && client.seal(&id, &SealSession::default()).is_ok();
            self.stored.fetch_add(1 + u64::from(sealed), Ordering::Relaxed);
            self.kept.lock().unwrap().insert(id, content);
        }
    }

    /// Removes all but the youngest few.
    fn remove(&self) {
        while self.goes_on() {
            let doomed = {
                let mut kept = self.kept.lock().unwrap();
                if kept.len() > 8 { kept.pop_first().map(|(id, _)| id) } else { None }
            };
            match doomed {
                // Whether it went or not, nobody asks for it any more.
                Some(id) => {
                    let gone = self.client().remove_session(&id, &RemoveQuery::default());
                    self.removed.fetch_add(u64::from(gone.is_ok()), Ordering::Relaxed);
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Reads what is kept, regardless of what is collected or rewritten meanwhile.
    fn read(&self, seed: u64) {
        let mut turn = 0_u64;
        while self.goes_on() {
            turn += 1;
            let chance = blake3::hash(format!("{seed} read {turn}").as_bytes()).as_bytes()[0];
            let picked = {
                let kept = self.kept.lock().unwrap();
                let number = usize::from(chance) % kept.len().max(1);
                kept.iter().nth(number).map(|(id, content)| (id.clone(), content.clone()))
            };
            let Some((id, content)) = picked else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let mut found = Vec::new();
            let read = self.client().data(&id, None).map(|mut data| data.read_to_end(&mut found));
            match read {
                Ok(Ok(_)) => {
                    assert!(found.starts_with(&content), "{id}: {} bytes", found.len());
                    self.read.fetch_add(1, Ordering::Relaxed);
                }
                // The server died on the way.
                Ok(Err(_)) => assert!(content.starts_with(&found) || found.starts_with(&content)),
                Err(error) => {
                    let is_kept = self.kept.lock().unwrap().contains_key(&id);
                    assert!(error.code().is_none() || !is_kept, "{id}: {error}");
                }
            }
        }
    }

    fn collect(&self) {
        let mut round = 0_u64;
        while self.goes_on() {
            round += 1;
            let wanted = CollectGarbage { confirm: true, ..CollectGarbage::default() };
            if let Ok(done) = self.client().collect_garbage(&wanted) {
                self.dropped.fetch_add(done.chunks_removed, Ordering::Relaxed);
            }
            if round.is_multiple_of(5) {
                // A refusal because of the collection is as good.
                let level = Some(1 + (round % 9) as u8);
                let _answer = self.client().optimise(&Optimise { level });
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Everything that was acknowledged, and not asked to go, is there.
    fn check(&self) {
        let client = self.client();
        for (id, content) in self.kept.lock().unwrap().iter() {
            let mut found = Vec::new();
            client.data(id, None).unwrap().read_to_end(&mut found).unwrap();
            assert!(found.starts_with(content), "{id}: {} bytes are there", found.len());
        }
    }
}

#[test]
fn nothing_that_is_referred_to_is_lost() {
    let seed = seed("race");
    let home = Home::new();
    let mut server = Server::start_with(&home, 0, &SETTINGS);
    let race = Race {
        url: Mutex::new(server.url.clone()),
        kept: Mutex::default(),
        ended: AtomicBool::new(false),
        stored: AtomicU64::new(0),
        removed: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        read: AtomicU64::new(0),
    };
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut kills = 0;
    thread::scope(|scope| {
        let race = &race;
        for writer in 0..WRITERS {
            scope.spawn(move || race.write(writer, seed));
        }
        scope.spawn(|| race.remove());
        scope.spawn(|| race.collect());
        scope.spawn(move || race.read(seed));
        while Instant::now() < until {
            let chance = blake3::hash(format!("{seed} {kills}").as_bytes());
            thread::sleep(Duration::from_millis(300 + 5 * u64::from(chance.as_bytes()[0])));
            server.kill();
            server = Server::start_with(&home, 0, &SETTINGS);
            race.url.lock().unwrap().clone_from(&server.url);
            kills += 1;
        }
        race.ended.store(true, Ordering::Relaxed);
    });
    race.check();
    // Regardless of how the race went: content that belongs to no session goes once no request for it is
    // remembered.
    let (client, id) = (race.client(), "unlike-any-other");
    let wanted = CreateSession { session_id: Some(id.into()), ..CreateSession::default() };
    client.create_session(&wanted).unwrap();
    client.append(id, &Append::default(), noise(PIECES + 1, 400_000)).unwrap();
    client.remove_session(id, &RemoveQuery::default()).unwrap();
    server.kill();
    server = Server::start_with(&home, 0, &SETTINGS);
    race.url.lock().unwrap().clone_from(&server.url);
    let wanted = CollectGarbage { confirm: true, ..CollectGarbage::default() };
    let done = race.client().collect_garbage(&wanted).unwrap();
    race.dropped.fetch_add(done.chunks_removed, Ordering::Relaxed);
    race.check();
    println!(
        "{} sessions stored or sealed, {} read, {} removed, {} chunks dropped, {kills} kills",
        race.stored.load(Ordering::Relaxed),
        race.read.load(Ordering::Relaxed),
        race.removed.load(Ordering::Relaxed),
        race.dropped.load(Ordering::Relaxed),
    );
    assert!(race.dropped.load(Ordering::Relaxed) > 0, "nothing was ever collected");
    assert!(race.read.load(Ordering::Relaxed) > 0, "nothing was ever read");
    drop(server);
    home.assert_sound();
    home.done(&[&"reindex"]);
    home.assert_sound();
    let server = Server::start(&home);
    race.url.lock().unwrap().clone_from(&server.url);
    race.check();
}
