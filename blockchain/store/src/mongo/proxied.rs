//! What is lost, repeated, delayed or lied about between a copy and its database, and what is said of it then: the
//! nonce decides, what cannot be known is not said, and nothing that was acknowledged is lost.

use std::time::Duration;

use mongodb::bson::doc;

use crate::contract::blobs::Blobs as _;
use crate::contract::chain::conformance::{assert_holds, chain_of, next};
use crate::contract::chain::{AppendedBlock, ChainStore as _};
use crate::contract::fact_log::{Appended, FactLog as _, Position, Unsettled};
use crate::contract::lock::{CreateError, Created, Lock as _};
use crate::frame::{Record, RecordKind};
use crate::memory::blobs::MemoryBlobs;
use crate::mongo::MongoLog;
use crate::mongo::scripted::{Ending, parse};
use crate::mongo::servers::{LONG, Proxied};
use crate::mongo::tests::{commit, commits, facts};
use crate::proxy::{Fault, Request};
use crate::{CommitError, StoreError};

/// Everything that an insert can meet once and come to a good end.
const ONCE: [Fault; 12] = [
    Fault::Cut,
    Fault::CutInRequest,
    Fault::ReplyLost,
    Fault::CutInReply,
    Fault::Repeated,
    Fault::RepeatedLater,
    Fault::Stalled,
    Fault::StalledDone,
    Fault::Late,
    Fault::Duplicate,
    Fault::DuplicateOfNothing,
    Fault::ConcernErrorDropped,
];

/// A call is given up after twice as long.
const SOON: Duration = Duration::from_millis(750);

#[test]
fn whatever_an_insert_meets_its_commit_is_there_once() {
    for server in Proxied::all() {
        let database = server.open(SOON);
        let log = database.0.log();
        let (mut at, mut told) = (log.start(), Vec::new());
        for fault in ONCE {
            server.proxy.next("insert", "log", fault);
            let text = format!("{fault:?}");
            commits(&log, &mut at, &text);
            told.push(text);
            assert_eq!(server.proxy.rest(), 1, "{}, {fault:?}", server.name);
            assert_eq!(facts(&log, None).unwrap(), told, "{}", server.name);
        }
        server.proxy.settle();
        assert_eq!(facts(&log, None).unwrap(), told, "{}", server.name);
        if server.scripted.is_some() {
            // Whatever is repeated, and however late, is an insert of a number that is taken.
            for request in server.proxy.seen("insert", "log") {
                let reply = parse(&server.proxy.again(&request)[16..]);
                assert!(reply.get_array("writeErrors").is_ok_and(|all| all.len() == 1), "{reply}");
            }
        }
        assert_eq!(facts(&log, None).unwrap(), told, "{}", server.name);
        server.proxy.assert_right();
    }
}

#[test]
fn whatever_a_read_meets_it_is_read_or_cannot_be_read_and_absence_is_never_made_up() {
    for server in Proxied::all() {
        let database = server.open(LONG);
        let log = database.0.log();
        let mut at = log.start();
        commits(&log, &mut at, "one");
        let before = at.clone();
        commits(&log, &mut at, "two");
        for fault in [Fault::Cut, Fault::ReplyLost, Fault::CutInReply, Fault::Repeated] {
            for level in ["majority", "linearizable"] {
                server.proxy.next("find", level, fault);
                server.proxy.next("find", level, fault);
                assert_eq!(facts(&log, None).unwrap(), ["one", "two"], "{fault:?} {level}");
                // What is answered all the same is not asked again.
                let met = server.proxy.rest();
                assert!(met == 2 || fault == Fault::Repeated && met == 1, "{fault:?} {level}");
            }
        }
        // Where the end cannot be asked for, there is none, and neither is a place gone that cannot be read.
        for level in ["majority", "linearizable"] {
            (0..3).for_each(|_| server.proxy.next("find", level, Fault::CutInReply));
            let read = facts(&log, Some(&at));
            assert!(matches!(read, Err(StoreError::Io { .. })), "{}: {read:?}", server.name);
            server.proxy.rest();
        }
        (0..3).for_each(|_| server.proxy.next("find", "majority", Fault::Cut));
        let failed = commit(&log, &at, "three").unwrap_err();
        assert!(matches!(failed, CommitError::Failed(_)), "{}: {failed}", server.name);
        assert_eq!(facts(&log, Some(&before)).unwrap(), ["two"], "{}", server.name);
        server.proxy.assert_right();
    }
}

/// Lets every try of an insert meet this, and the reads behind each find nothing out.
fn lose(server: &Proxied, target: &'static str, first: Fault) {
    for fault in [first, Fault::Cut, Fault::Cut] {
        server.proxy.next("insert", target, fault);
        server.proxy.next("find", target, Fault::Cut);
        server.proxy.next("find", target, Fault::Cut);
    }
}

#[test]
fn a_commit_that_cannot_be_looked_for_is_maybe_and_the_next_one_finds_out() {
    for server in Proxied::all() {
        for (first, is_there) in
            [(Fault::ReplyLost, true), (Fault::Cut, false), (Fault::CutInRequest, false)]
        {
            let database = server.open(LONG);
            let log = database.0.log();
            let at = log.start();
            lose(&server, "log", first);
            let lost = commit(&log, &at, "lost").unwrap_err();
            assert!(matches!(lost, CommitError::Maybe(_)), "{}, {first:?}: {lost}", server.name);
            assert_eq!(server.proxy.rest(), 9);
            let next = commit(&log, &at, "next").unwrap();
            assert_eq!(next == Appended::Overtaken, is_there, "{}, {first:?}", server.name);
            let wanted = if is_there { ["lost"] } else { ["next"] };
            assert_eq!(facts(&log, None).unwrap(), wanted, "{}, {first:?}", server.name);
            if let Some(scripted) = &server.scripted {
                scripted.meddle("log", Vec::clear);
            }
        }
    }
}

/// Every try of a commit is held back until its writer has given it up.
fn held(server: &Proxied, log: &MongoLog, at: &Position, text: &str) {
    (0..3).for_each(|_| server.proxy.next("insert", "log", Fault::Held));
    let held = commit(log, at, text).unwrap_err();
    // It may still come, so that it did not happen is not known.
    assert!(matches!(held, CommitError::Maybe(_)), "{}: {held}", server.name);
    assert!(server.proxy.rest() >= 2);
}

#[test]
fn an_insert_that_comes_when_all_have_given_it_up_is_a_commit_or_changes_nothing() {
    for server in Proxied::all() {
        let database = server.open(SOON);
        let (log, other) = (database.0.log(), database.0.clone().with_patience(LONG).log());
        let mut at = log.start();
        commits(&other, &mut at, "first");
        // Another copy decides the number before it comes.
        held(&server, &log, &at, "too late");
        commits(&other, &mut at, "second");
        assert!(server.proxy.release() >= 2);
        assert_eq!(facts(&log, None).unwrap(), ["first", "second"], "{}", server.name);
        // It comes before anybody decides: it is a commit, which its writer and all others find.
        held(&server, &log, &at, "third");
        assert!(server.proxy.release() >= 2);
        assert_eq!(commit(&other, &at, "never").unwrap(), Appended::Overtaken, "{}", server.name);
        assert_eq!(commit(&log, &at, "never").unwrap(), Appended::Overtaken, "{}", server.name);
        assert_eq!(facts(&log, Some(&at)).unwrap(), ["third"], "{}", server.name);
        server.proxy.assert_right();
    }
}

#[test]
fn a_write_concern_error_that_is_dropped_is_noticed_when_what_it_spoke_of_is_gone() {
    let server = Proxied::scripted();
    let scripted = server.scripted.as_ref().unwrap();
    let log = server.open(LONG);
    let log = log.0.log();
    let mut at = log.start();
    commits(&log, &mut at, "one");
    scripted.script(|script| script.next.push_back(Ending::WriteConcern));
    server.proxy.next("insert", "log", Fault::ConcernErrorDropped);
    let before = at.clone();
    commits(&log, &mut at, "on one server only");
    // Its primary goes, and with it what no majority had.
    scripted.meddle("log", |log| drop(log.pop()));
    let Err(CommitError::Broken(why)) = commit(&log, &at, "three") else { panic!("gone on") };
    assert!(why.contains("commit 2@1-") && why.contains(", which is not there"), "{why}");
    assert!(matches!(facts(&log, Some(&at)), Err(StoreError::Folder(_))));
    // Who had not gone on from it goes on.
    let mut before = before;
    commits(&log, &mut before, "two");
    assert_eq!(facts(&log, None).unwrap(), ["one", "two"]);
}

#[test]
fn a_value_is_created_once_whatever_its_insert_meets() {
    for server in Proxied::all() {
        let database = server.open(SOON);
        let lock = database.0.lock();
        for fault in ONCE {
            let (name, value) = (format!("{fault:?}"), fault as u32);
            server.proxy.next("insert", "locks", fault);
            assert_eq!(lock.create(&name, &value.to_le_bytes()).unwrap(), Created::Here, "{name}");
            let there = Created::There(value.to_le_bytes().to_vec().into());
            assert_eq!(lock.create(&name, b"another").unwrap(), there, "{}, {name}", server.name);
        }
        server.proxy.settle();
        lose(&server, "locks", Fault::ReplyLost);
        let lost = lock.create("lost", b"first");
        assert!(matches!(lost, Err(CreateError::Maybe(_))), "{}: {lost:?}", server.name);
        server.proxy.rest();
        let there = Created::There(b"first".to_vec().into());
        assert_eq!(lock.create("lost", b"second").unwrap(), there, "{}", server.name);
        server.proxy.assert_right();
    }
}

#[test]
fn a_block_is_stored_once_whatever_its_inserts_meet() {
    for server in Proxied::all() {
        let database = server.open(SOON);
        let chain = database.0.chain().unwrap();
        let blocks = chain_of(&[1; 2 * ONCE.len()]);
        let faults = ["bodies", "blocks"].into_iter().flat_map(|it| ONCE.map(|fault| (it, fault)));
        for (block, (target, fault)) in blocks.iter().zip(faults) {
            server.proxy.next("insert", target, fault);
            let stored = chain.append(block).unwrap();
            assert_eq!(stored, AppendedBlock::Stored, "{}, {fault:?} {target}", server.name);
            assert_eq!(server.proxy.rest(), 1, "{}, {fault:?} {target}", server.name);
        }
        server.proxy.settle();
        assert_holds(&chain, &blocks);
        server.proxy.next("delete", "bodies", Fault::ReplyLost);
        server.proxy.next("delete", "bodies", Fault::RepeatedLater);
        assert_eq!(chain.prune(9).unwrap().blocks, 8, "{}", server.name);
        assert_holds(&chain, &blocks);
        server.proxy.assert_right();
    }
}

#[test]
fn a_block_that_comes_when_all_have_given_it_up_is_the_block_or_changes_nothing() {
    for server in Proxied::all() {
        let database = server.open(SOON);
        let chain = database.0.chain().unwrap();
        let blocks = chain_of(&[1, 1, 1]);
        chain.append(&blocks[0]).unwrap();
        let rival = next(Some(&*blocks[0]), 1, 99);
        // Its body is held: there surely is no such block.
        (0..3).for_each(|_| server.proxy.next("insert", "bodies", Fault::Held));
        assert!(matches!(chain.append(&rival), Err(CommitError::Failed(_))), "{}", server.name);
        server.proxy.rest();
        assert!(server.proxy.release() >= 2);
        assert_holds(&chain, &blocks[..1]);
        // The block itself is held, and another is faster.
        (0..3).for_each(|_| server.proxy.next("insert", "blocks", Fault::Held));
        assert!(matches!(chain.append(&rival), Err(CommitError::Maybe(_))), "{}", server.name);
        server.proxy.rest();
        assert_eq!(chain.append(&blocks[1]).unwrap(), AppendedBlock::Stored, "{}", server.name);
        assert!(server.proxy.release() >= 2);
        assert_holds(&chain, &blocks[..2]);
        // Held, and then there after all.
        (0..3).for_each(|_| server.proxy.next("insert", "blocks", Fault::Held));
        assert!(matches!(chain.append(&blocks[2]), Err(CommitError::Maybe(_))), "{}", server.name);
        server.proxy.rest();
        assert!(server.proxy.release() >= 2);
        assert_holds(&chain, &blocks);
        assert_eq!(chain.append(&blocks[2]).unwrap(), AppendedBlock::Known, "{}", server.name);
        server.proxy.assert_right();
    }
}

/// A text as BSON has it behind its name.
fn text_field(name: &str, value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len() + 1).unwrap().to_le_bytes();
    [&[2], name.as_bytes(), &[0], &length, value.as_bytes(), &[0]].concat()
}

fn has(request: &Request, field: &[u8]) -> bool {
    request.bytes.windows(field.len()).any(|part| part == field)
}

#[test]
fn the_bytes_of_every_insert_and_every_read_ask_for_a_majority() {
    for server in Proxied::all() {
        let database = server.open(LONG);
        let (log, lock) = (database.0.log(), database.0.lock());
        let (mut at, blobs) = (log.start(), MemoryBlobs::new());
        commits(&log, &mut at, "one");
        let mut chunks = [Record::plain(RecordKind::Chunk, [2; 32], vec![3; 10]).unwrap()];
        let written = blobs.write(&mut chunks).unwrap();
        let unsettled = Unsettled { blobs: &blobs, written: &written };
        log.commit(&at, &mut [], Some(unsettled)).unwrap();
        facts(&log, None).unwrap();
        let end = server.proxy.seen("find", "log").pop().unwrap();
        lock.create("name", b"value").unwrap();
        let chain = database.0.chain().unwrap();
        let blocks = chain_of(&[2, 3, 1]);
        chain.append_run(&blocks).unwrap();
        assert_holds(&chain, &blocks);
        chain.prune(2).unwrap();

        let journal = [&[8], b"j".as_slice(), &[0, 1]].concat();
        let mut writes = 0;
        for (name, target) in [
            ("insert", "log"),
            ("insert", "locks"),
            ("insert", "blocks"),
            ("insert", "bodies"),
            ("insert", "pruned"),
            ("delete", "bodies"),
        ] {
            let seen = server.proxy.seen(name, target);
            assert!(!seen.is_empty(), "{}: {name} {target}", server.name);
            for request in seen {
                let is_right =
                    has(&request, &text_field("w", "majority")) && has(&request, &journal);
                assert!(is_right, "{}: {name} {target}: {}", server.name, request.how);
                writes += 1;
            }
        }
        let (mut majority, mut decided) = (0, 0);
        for request in server.proxy.seen("find", "") {
            match request.how.as_str() {
                "majority" => majority += 1,
                "linearizable" => decided += 1,
                how => panic!("{}: {} is read as {how:?}", server.name, request.key),
            }
            assert!(has(&request, &text_field("level", &request.how)), "{}", request.key);
        }
        assert!(writes >= 10 && majority >= 10 && decided >= 5, "{writes} {majority} {decided}");
        // The log ends where nothing is behind its last commit, and only what is decided says so.
        assert_eq!(end.how, "linearizable", "{}", server.name);
        let asked = parse(&end.bytes[16..]);
        assert_eq!(asked.get_document("filter").unwrap(), &doc! { "_id": 3_i64 }, "{asked}");
        server.proxy.assert_right();
    }
}
