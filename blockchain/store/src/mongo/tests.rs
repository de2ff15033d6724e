//! What the suites of the contracts do not ask: what happens when answers are lost for good, when the database is put
//! back, and when the server is none that keeps what it acknowledges.

mod copies;

use std::sync::Arc;
use std::time::Duration;

use lucid_core::digest::ChunkId;
use mongodb::bson::{Bson, Document};

use crate::clock::Clock;
use crate::codec::{Compression, Packer};
use crate::contract::blobs::Blobs as _;
use crate::contract::fact_log::{Appended, FactLog as _, Position, Replayed, Reread, Unsettled};
use crate::contract::index::{Changes, Index as _, Project};
use crate::contract::lock::{CreateError, Created, Lock as _};
use crate::crypt::Cipher;
use crate::frame::{PAYLOAD_BYTES_MAX, Record, RecordKind};
use crate::memory::blobs::MemoryBlobs;
use crate::memory::index::MemoryIndex;
use crate::mongo::commit::COMMIT_BYTES_MAX;
use crate::mongo::decide::bytes;
use crate::mongo::scripted::{Ending, Kind, Scripted};
use crate::mongo::servers::{LONG, SHORT, open};
use crate::mongo::{Mongo, MongoLog, Opening};
use crate::remote::Driver;
use crate::vault::committer::Submission;
use crate::vault::{Elsewhere, Vault};
use crate::{CommitError, StoreError};

fn fact(text: &str) -> Record {
    Record::plain(RecordKind::Fact, [1; 32], text.as_bytes().to_vec()).unwrap()
}

pub(super) fn commit(log: &MongoLog, at: &Position, text: &str) -> Result<Appended, CommitError> {
    log.commit(at, &mut [fact(text)], None)
}

pub(super) fn commits(log: &MongoLog, at: &mut Position, text: &str) {
    let Ok(Appended::Here(behind)) = commit(log, at, text) else { panic!("{text} is there") };
    *at = behind;
}

/// The facts behind a place, or why they cannot be had.
pub(super) fn facts(log: &MongoLog, behind: Option<&Position>) -> Result<Vec<String>, StoreError> {
    let mut facts = Vec::new();
    log.replay(behind, &mut |found, _| {
        if let Replayed::Fact { record, .. } = found {
            facts.push(String::from_utf8(record.payload).unwrap());
        }
        Ok(true)
    })?;
    Ok(facts)
}

#[test]
fn however_an_insert_ends_its_nonce_says_whose_the_number_is() {
    for ending in [
        Ending::Cut,
        Ending::ReplyLost,
        Ending::Repeated,
        Ending::WriteConcern,
        Ending::Stalled,
        Ending::StalledDone,
        Ending::Refused(91),
        Ending::Refused(13),
    ] {
        let server = Scripted::start();
        let log = open(&server, SHORT).log();
        server.script(|script| script.next.push_back(ending));
        let mut at = log.start();
        commits(&log, &mut at, "one");
        commits(&log, &mut at, "two");
        assert_eq!(facts(&log, None).unwrap(), ["one", "two"], "{ending:?}");
    }
}

#[test]
fn what_is_refused_each_time_surely_did_not_happen_and_what_is_cut_each_time_may_have() {
    let server = Scripted::start();
    let log = open(&server, LONG).log();
    let mut at = log.start();
    server.script(|script| script.next.extend([Ending::Refused(13); 3]));
    let refused = commit(&log, &at, "refused").unwrap_err();
    assert!(
        !refused.maybe_applied() && refused.to_string().contains("it was refused"),
        "{refused}"
    );
    server.script(|script| script.next.extend([Ending::Refused(13), Ending::Cut, Ending::Cut]));
    assert!(matches!(commit(&log, &at, "cut"), Err(CommitError::Maybe(_))));
    commits(&log, &mut at, "there");
    assert_eq!(facts(&log, None).unwrap(), ["there"]);
}

#[test]
fn a_commit_that_nobody_could_find_is_found_by_the_next() {
    let server = Scripted::start();
    let log = open(&server, LONG).log();
    let mut at = log.start();
    commits(&log, &mut at, "one");
    // It is written where the writer then reads nothing of it.
    server.script(|script| {
        script.next.push_back(Ending::ReplyLost);
        script.stale = Some((1, true));
    });
    assert!(matches!(commit(&log, &at, "two"), Err(CommitError::Maybe(_))));
    server.script(|script| script.stale = None);
    assert_eq!(commit(&log, &at, "never").unwrap(), Appended::Overtaken);
    assert_eq!(facts(&log, Some(&at)).unwrap(), ["two"]);
    assert_eq!(facts(&log, None).unwrap(), ["one", "two"]);
}

#[test]
fn a_stale_primary_is_believed_no_end() {
    let server = Scripted::start();
    let log = open(&server, LONG).log();
    let mut at = log.start();
    for text in ["one", "two", "three", "four"] {
        commits(&log, &mut at, text);
    }
    // Its reads are old, and what is decided it still learns.
    server.script(|script| script.stale = Some((1, false)));
    assert_eq!(facts(&log, None).unwrap(), ["one", "two", "three", "four"]);
    commits(&log, &mut at, "five");
    // Cut off, it cannot say where the log ends, nor that a place is gone.
    server.script(|script| script.stale = Some((1, true)));
    assert!(matches!(facts(&log, None), Err(StoreError::Io { .. })));
    let failed = commit(&log, &at, "six").unwrap_err();
    assert!(matches!(failed, CommitError::Failed(_)), "{failed}");
}

#[test]
fn a_database_that_was_put_back_is_not_gone_on_from() {
    let server = Scripted::start();
    let log = open(&server, LONG).log();
    let mut at = log.start();
    let mut places = vec![at.clone()];
    for text in ["one", "two", "three"] {
        commits(&log, &mut at, text);
        places.push(at.clone());
    }
    let backup = server.meddle("log", |log| log[..2].to_vec());
    server.meddle("log", |log| log.clone_from(&backup));
    let refused = |what: &str| {
        let Err(StoreError::Folder(why)) = facts(&log, Some(&at)) else { panic!("not noticed") };
        assert!(why.contains("to commit 3@1-") && why.contains(what), "{why}");
        assert!(why.contains("; restore what is newer, or go on without it by `lucid "), "{why}");
        let Err(CommitError::Broken(why)) = commit(&log, &at, "four") else { panic!("{what}") };
        assert!(why.contains(what), "{why}");
    };
    refused("is not there");
    assert_eq!(server.meddle("log", |log| log.len()), 2);
    // The same where another copy has gone on from the older data.
    commits(&log, &mut places[2].clone(), "another three");
    refused("is a different one there");
    assert_eq!(facts(&log, Some(&places[1])).unwrap(), ["two", "another three"]);
    // An empty one is no beginning for an index that is further on.
    server.meddle("log", Vec::clear);
    refused("is not there");
    assert_eq!(facts(&log, Some(&places[0])).unwrap(), [""; 0]);
}

#[test]
fn places_of_another_store_and_of_no_log_are_refused() {
    let (server, other) = (Scripted::start(), Scripted::start());
    let (driver, clock) = (Driver::start().unwrap(), Clock::system());
    let url = other.url("db");
    let opening = Opening { url: &url, store: Some([8; 16]), patience: LONG, clock: &clock };
    let theirs = Mongo::open(&driver, &opening).unwrap().log();
    let log = open(&server, LONG).log();
    assert_ne!(log.start(), theirs.start());
    let Err(StoreError::Folder(why)) = facts(&log, Some(&theirs.start())) else { panic!("taken") };
    assert!(why.ends_with("is of another store"), "{why}");
    assert!(matches!(commit(&log, &theirs.start(), "one"), Err(CommitError::Broken(_))));
    let nowhere = Position::new(vec![1, 2, 3]);
    assert!(matches!(facts(&log, Some(&nowhere)), Err(StoreError::Index(_))));
    assert!(matches!(commit(&log, &nowhere, "one"), Err(CommitError::Failed(_))));
    assert!(log.is_start(&nowhere).is_err() && log.is_start(&log.start()).unwrap());
}

#[test]
fn a_commit_that_is_not_as_it_was_written_ends_the_reading_by_its_number() {
    let server = Scripted::start();
    let log = open(&server, LONG).log();
    let mut at = log.start();
    for text in ["one", "two", "three"] {
        commits(&log, &mut at, text);
    }
    let sound = server.meddle("log", |log| log.clone());
    let fields: Vec<String> = sound[1].keys().cloned().collect();
    let damages = fields.iter().filter(|name| *name != "_id").map(|name| {
        let name = name.clone();
        Box::new(move |log: &mut Vec<Document>| drop(log[1].insert(&name, Bson::Null)))
            as Box<dyn Fn(&mut Vec<Document>)>
    });
    let gone = Box::new(|log: &mut Vec<Document>| drop(log.remove(1))) as Box<_>;
    for damage in damages.chain([gone]) {
        server.meddle("log", |log| {
            log.clone_from(&sound);
            damage(log);
        });
        let Err(StoreError::Damaged(found)) = facts(&log, None) else { panic!("not found") };
        assert_eq!(found.file, "commit 2 of the log");
        // Who looks for damage is told, and goes on.
        let (mut records, mut damaged) = (0, Vec::new());
        let end = log.reread((0, 0), &mut |found| {
            match found {
                Reread::Record { .. } => records += 1,
                Reread::Damaged(damage) => damaged.push(damage.file),
            }
            Ok(true)
        });
        assert_eq!((end.unwrap(), records), (None, 2));
        assert_eq!(damaged, ["commit 2 of the log"]);
    }
    // A commit in another's place is sound, and not the one.
    server.meddle("log", |log| {
        log.clone_from(&sound);
        log[1].insert("_id", 4_i64);
        log[2].insert("_id", 2_i64);
    });
    assert!(matches!(facts(&log, None), Err(StoreError::Damaged(_))));
    server.meddle("log", |log| {
        log.clone_from(&sound);
        log[1].insert("v", 2);
    });
    let Err(StoreError::Folder(why)) = facts(&log, None) else { panic!("it is not understood") };
    assert!(why.starts_with("commit 2 of the log was written by a newer version"), "{why}");
}

#[test]
fn a_commit_that_is_too_large_writes_nothing_and_the_largest_one_is_written() {
    let server = Scripted::start();
    let (log, blobs) = (open(&server, LONG).log(), MemoryBlobs::new());
    assert!(PAYLOAD_BYTES_MAX as usize > COMMIT_BYTES_MAX);
    let of = |bytes: usize| {
        let header = fact("").record_bytes();
        let length = bytes - usize::try_from(header).unwrap();
        Record::plain(RecordKind::Fact, [1; 32], vec![b'a'; length]).unwrap()
    };
    let mut chunks = [Record::plain(RecordKind::Chunk, [2; 32], vec![3; 10]).unwrap()];
    let written = blobs.write(&mut chunks).unwrap();
    let unsettled = Unsettled { blobs: &blobs, written: &written };
    let before = server.inserts();
    let refused = log.commit(&log.start(), &mut [of(COMMIT_BYTES_MAX)], Some(unsettled));
    let Err(CommitError::Failed(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("over the limit of 8454144"), "{why}");
    assert_eq!(server.inserts(), before);
    let there = log.commit(&log.start(), &mut [of(COMMIT_BYTES_MAX)], None).unwrap();
    let Appended::Here(at) = there else { panic!("{there:?}") };
    assert_eq!(facts(&log, None).unwrap().concat().len() + 128, COMMIT_BYTES_MAX);
    assert_eq!(log.bytes().unwrap(), COMMIT_BYTES_MAX as u64);
    assert!(matches!(commit(&log, &at, "more").unwrap(), Appended::Here(_)));
}

#[test]
fn a_value_is_created_once_whatever_is_heard_of_it() {
    let server = Scripted::start();
    let lock = open(&server, LONG).lock();
    server.script(|script| script.next.extend([Ending::Refused(13); 3]));
    assert!(matches!(lock.create("name", b"first"), Err(CreateError::Not(_))));
    server.script(|script| script.next.extend([Ending::Cut; 3]));
    assert!(matches!(lock.create("name", b"first"), Err(CreateError::Maybe(_))));
    assert_eq!(lock.read("name").unwrap(), None);
    server.script(|script| script.next.push_back(Ending::ReplyLost));
    assert_eq!(lock.create("name", b"first").unwrap(), Created::Here);
    let there = Created::There(b"first".to_vec().into());
    assert_eq!(lock.create("name", b"first").unwrap(), there);
    // A value that is there and is not what was written is neither absent nor written over.
    server.meddle("locks", |all| {
        let value = all.iter_mut().find(|value| value.get_str("_id").unwrap() == "name").unwrap();
        value.insert("value", bytes(*b"fir5t"));
    });
    assert!(matches!(lock.read("name"), Err(StoreError::Damaged(_))));
    assert!(matches!(lock.create("name", b"second"), Err(CreateError::Not(_))));
}

/// Why a database is not opened.
fn refusal(url: &str, patience: Duration) -> String {
    let (driver, clock) = (Driver::start().unwrap(), Clock::system());
    let opening = Opening { url, store: Some([7; 16]), patience, clock: &clock };
    Mongo::open(&driver, &opening).unwrap_err().to_string()
}

#[test]
fn a_server_that_could_lose_what_it_acknowledged_is_refused_in_a_sentence() {
    for (kind, what) in [
        (Kind::Standalone, "is on a server of its own"),
        (Kind::Router, "is behind the router of a sharded cluster"),
    ] {
        let server = Scripted::start();
        server.script(|script| script.kind = kind);
        let why = refusal(&server.url("db"), LONG);
        assert!(why.contains(what) && why.starts_with("the database db at 127.0.0.1:"), "{why}");
    }
    let server = Scripted::start();
    server.script(|script| script.kind = Kind::FerretDb);
    commits(&open(&server, LONG).log(), &mut open(&server, LONG).log().start(), "one");
    for (level, what) in [
        ("majority", "does not read what a majority has"),
        ("linearizable", "does not read what is decided"),
        ("write", "does not write to a majority's journals"),
    ] {
        let server = Scripted::start();
        server.script(|script| script.refuses = Some(level));
        let why = refusal(&server.url("db"), LONG);
        assert!(why.contains(what), "{why}");
    }
}

#[test]
fn a_server_that_is_not_the_right_one_is_refused_in_a_sentence() {
    let server = Scripted::start();
    let why = refusal(&server.url("db").replace("://", "://user:secret@"), LONG);
    assert!(why.contains("refuses this user or password") && !why.contains("secret"), "{why}");
    for ahead in [-70, 70] {
        server.script(|script| script.ahead = ahead);
        let why = refusal(&server.url("db"), LONG);
        assert!(
            why.contains("the clock of the database db") && why.contains("seconds apart"),
            "{why}"
        );
    }
    server.script(|script| script.ahead = 30);
    let store = open(&server, LONG).store();
    assert_eq!(store, [7; 16]);
    let (driver, clock) = (Driver::start().unwrap(), Clock::system());
    let url = server.url("db");
    let opening = Opening { url: &url, store: Some([8; 16]), patience: LONG, clock: &clock };
    let why = Mongo::open(&driver, &opening).unwrap_err().to_string();
    assert!(why.contains(&format!("the store {}, and this is", hex::encode(store))), "{why}");
    // Who does not know which store it is, is told.
    let unknown = Mongo::open(&driver, &Opening { store: None, ..opening }).unwrap();
    assert_eq!(unknown.store(), store);

    let gone = server.url("db");
    drop(server);
    let why = refusal(&gone, SHORT);
    assert!(why.starts_with("reaching the database db at 127.0.0.1:"), "{why}");
    let why = refusal("mongodb+srv://cluster.example/db", SHORT);
    assert!(why.contains("mongodb+srv:// is not supported"), "{why}");
    let why = refusal("postgres://here", SHORT);
    assert!(why.starts_with("the URL of MongoDB is not good"), "{why}");
}

#[test]
fn a_new_database_becomes_one_store_for_all_who_open_it() {
    let server = Arc::new(Scripted::start());
    let opened: Vec<[u8; 16]> = std::thread::scope(|scope| {
        let open = || {
            let (driver, clock) = (Driver::start().unwrap(), Clock::system());
            let url = server.url("db");
            let opening = Opening { url: &url, store: None, patience: LONG, clock: &clock };
            Mongo::open(&driver, &opening).unwrap().store()
        };
        let all: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(opened.iter().all(|store| *store == opened[0]), "{opened:?}");
    let names = server.meddle("locks", |all| {
        all.iter().map(|value| value.get_str("_id").unwrap().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(names.len(), 2, "{names:?}");
}

/// Makes a row of every fact.
struct Rows;

impl Project for Rows {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        changes.put([&[0x40], fact].concat(), fact.to_vec());
        Ok(())
    }
}

fn store(server: &Scripted, blobs: &Arc<MemoryBlobs>) -> (Vault, Arc<MemoryIndex>) {
    let (log, index) = (open(server, LONG).log(), Arc::new(MemoryIndex::new()));
    let vault = Vault::open_elsewhere(Elsewhere {
        start: log.start(),
        log: Arc::new(log),
        blobs: blobs.clone(),
        cipher: Arc::new(Cipher::new(None)),
        index: index.clone(),
        project: Arc::new(Rows),
    });
    (vault.unwrap(), index)
}

#[test]
fn stores_that_share_a_log_come_to_the_same_rows_however_inserts_end() {
    let (server, blobs) = (Scripted::start(), Arc::new(MemoryBlobs::new()));
    let stores = [store(&server, &blobs), store(&server, &blobs)];
    server.script(|script| script.often = Some(Ending::ReplyLost));
    let fact = |vault: &Vault, text: String| {
        let plain = [&[0x10], text.as_bytes()].concat();
        vault.fact(&mut Packer::new(), plain).unwrap()
    };
    std::thread::scope(|scope| {
        for (number, (vault, _)) in stores.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..10 {
                    // Every other chunk is one that the other store has, too.
                    let bytes = format!("chunk {n} of {}", number * (n % 2)).into_bytes();
                    let (id, how) = (ChunkId::from(blake3::hash(&bytes)), Compression::default());
                    let chunk =
                        Cipher::new(None).chunk_record(&mut Packer::new(), how, false, &id, &bytes);
                    let facts = vec![fact(vault, format!("{n} of {number}"))];
                    let chunks = vec![chunk.unwrap()];
                    vault.commit(Submission { chunks, facts, ..Submission::default() }).unwrap();
                }
            });
        }
    });
    for (vault, _) in &stores {
        vault.commit(Submission { follow: true, ..Submission::default() }).unwrap();
    }
    let (_, anew) = store(&server, &blobs);
    let rows = |index: &MemoryIndex| index.scan(&[0], &[0xff], usize::MAX, false).unwrap();
    let all = rows(&anew);
    assert_eq!(all.iter().filter(|(key, _)| key[0] == 0x40).count(), 20);
    assert_eq!(all.iter().filter(|(key, _)| key[0] == 0x01).count(), 15);
    for (_, index) in &stores {
        assert_eq!(rows(index), all);
    }
}
