//! Copies that share a database: snapshots and hollow commits, and older data that is accepted.

use super::*;
use crate::memory::fact_log::MemoryLog;
use crate::vault::snapshot::{Snapped, Snapshotting};

fn keep(vault: &Vault, text: &str) -> Result<(), CommitError> {
    let plain = [&[0x10], text.as_bytes()].concat();
    let facts = vec![vault.fact(&mut Packer::new(), plain).unwrap()];
    vault.commit(Submission { facts, ..Submission::default() }).map(|_| ())
}

/// All facts matter.
fn snapshot(vault: &Vault) -> Snapped {
    let made = vault.snapshot(Snapshotting {
        matters: &|_, _| Ok(true),
        scratch: Arc::new(MemoryIndex::new()),
        least: 1,
        step: &mut |_, _| true,
    });
    made.unwrap()
}

fn rows(index: &MemoryIndex) -> Vec<Vec<u8>> {
    let rows = index.scan(&[0x40], &[0x41], usize::MAX, false).unwrap();
    rows.into_iter().map(|(_, fact)| fact[1..].to_vec()).collect()
}

#[test]
fn hollow_commits_keep_what_stays_and_copies_start_from_the_snapshot() {
    let (server, blobs) = (Scripted::start(), Arc::new(MemoryBlobs::new()));
    server.script(|script| script.often = Some(Ending::ReplyLost));
    let ((vault, index), (late, _)) = (store(&server, &blobs), store(&server, &blobs));
    for round in 0..3 {
        for number in 0..20 {
            keep(&vault, &format!("{number} of {round}")).unwrap();
        }
        assert_eq!(snapshot(&vault).number, round + 1);
    }
    let second = vault.log().snapshots().unwrap().kept().unwrap()[1].clone();
    let (hollow, whole) = server.meddle("log", |log| {
        let number = |commit: &Document| commit.get_i64("_id").unwrap() as u64;
        let hollow = log.iter().filter(|commit| number(commit) <= second.place.n);
        let fields: Vec<Vec<String>> =
            hollow.map(|commit| commit.keys().cloned().collect()).collect();
        let whole = log.iter().filter(|commit| commit.contains_key("facts")).count() as u64;
        (fields, whole)
    });
    assert_eq!(hollow.len() as u64, second.place.n);
    for mut fields in hollow.clone() {
        fields.sort();
        assert_eq!(fields, ["_id", "digest", "log_bytes", "nonce", "v"]);
    }
    assert_eq!(hollow.len() as u64 + whole, server.meddle("log", |log| log.len()) as u64);
    assert_eq!(server.meddle("snapshots", |kept| kept.len()), 2);
    let (_, fresh) = store(&server, &blobs);
    assert!(rows(&fresh) == rows(&index) && rows(&fresh).len() == 60);
    // Who slept neither writes nor follows.
    let Err(CommitError::Broken(why)) = keep(&late, "late") else { panic!("it was written") };
    assert!(why.contains("is in a snapshot only"), "{why}");
    // Where no snapshot leads past it, what is hollow is lost.
    server.meddle("snapshots", Vec::clear);
    let Err(StoreError::Damaged(damage)) = facts(&open(&server, LONG).log(), None) else {
        panic!("it was read")
    };
    assert!(damage.why.contains("in a snapshot only, and there is none"), "{damage}");
}

#[test]
fn older_data_is_accepted_by_a_new_incarnation_that_copies_with_newer_data_learn_of() {
    let (server, blobs) = (Scripted::start(), Arc::new(MemoryBlobs::new()));
    let (vault, _) = store(&server, &blobs);
    keep(&vault, "one").unwrap();
    let backup = server.meddle("log", |log| log.clone());
    keep(&vault, "two").unwrap();
    server.meddle("log", |log| log.clone_from(&backup));
    let Err(CommitError::Broken(why)) = keep(&vault, "three") else { panic!("it was written") };
    assert!(why.contains("to commit 2@1-") && why.contains("ends at commit 1@1-"), "{why}");
    let (log, index) = (open(&server, LONG).log(), Arc::new(MemoryIndex::new()));
    let elsewhere = Elsewhere {
        start: log.start(),
        log: Arc::new(log),
        blobs: blobs.clone(),
        cipher: Arc::new(Cipher::new(None)),
        index: index.clone(),
        project: Arc::new(Rows),
    };
    let accepted = Vault::open_elsewhere_accepting_loss(elsewhere, &|_, _| true);
    keep(&accepted.unwrap(), "another two").unwrap();
    let (_, fresh) = store(&server, &blobs);
    assert_eq!(rows(&fresh), [&b"another two"[..], b"one"]);
    assert_eq!(rows(&index), rows(&fresh));
    // A place in memory is none of a database.
    let log = open(&server, LONG).log();
    assert!(facts(&log, Some(&MemoryLog::start())).is_err());
    let end = log.place(&Position::of(index.as_ref()).unwrap().unwrap()).unwrap().unwrap();
    assert_eq!((end.n, end.incarnation.number), (3, 2));
}
