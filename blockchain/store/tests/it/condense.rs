//! Condensing the log: facts that do not matter go, all others stay, and so does everything that the
//! commits answered for, even if the process or the machine dies meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_store::codec::Packer;
use lucid_store::contract::fact_log::Condensed;
use lucid_store::files::Limits;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::{SimulatedDisk, SyncPoint};
use lucid_store::files::log::COMMIT_RECORD_BYTES;
use lucid_store::frame::{HEADER_BYTES, Header};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;
use lucid_store::vault::scrub::Cursor;
use lucid_store::{Damage, StoreError};

use crate::bench::{Entry, SMALL, Store, chunk, facts_of, files, index_of, reads};

/// Facts of these numbers matter for ever.
fn stays(number: u32) -> bool {
    number.is_multiple_of(5)
}

fn number_of(fact: &[u8]) -> u32 {
    u32::from_be_bytes(*fact[1..].first_chunk().unwrap())
}

fn matters(fact: &[u8]) -> Result<bool, StoreError> {
    Ok(stays(number_of(fact)))
}

fn condense(vault: &Vault) -> Condensed {
    vault.begin_collection().unwrap().condense(&matters, &mut |_, _| true).unwrap()
}

fn fill(vault: &Vault, from: u32, count: u32) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    for number in from..from + count {
        let chunk = chunk(number, 200);
        Entry::new(number * 3, 3, vec![chunk.clone()]).commit(vault).unwrap();
        chunks.push(chunk);
    }
    chunks
}

struct Tape {
    store: Store,
    disk: SimulatedDisk,
    started: (usize, BTreeMap<Vec<u8>, Vec<u8>>),
    chunks: Vec<Vec<u8>>,
    /// Facts below this number were committed before.
    facts: u32,
}

/// Condenses, goes on, and condenses again.
fn record() -> Tape {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 20);
    let started = (disk.calls(), index.rows());
    let done = condense(&vault);
    assert!(done.logs_rewritten > 3 && done.facts_removed > 20, "{done:?}");
    fill(&vault, 100, 8);
    drop(vault);
    let vault = store.open(&disk, &index).unwrap();
    assert!(condense(&vault).logs_rewritten > 0);
    drop(vault);
    Tape { store, disk, started, chunks, facts: 60 }
}

fn check(tape: &Tape, disk: &SimulatedDisk, index: &Arc<MemoryIndex>) -> Result<(), String> {
    let vault = tape.store.open(disk, index).map_err(|error| error.to_string())?;
    if let Some(damage) = vault.damage().first() {
        return Err(format!("false damage: {damage}"));
    }
    if let Some(why) = vault.read_only() {
        return Err(why);
    }
    let there: Vec<u32> = facts_of(index.as_ref()).iter().map(|fact| number_of(fact)).collect();
    if let Some(gone) = (0..tape.facts).find(|n| stays(*n) && !there.contains(n)) {
        return Err(format!("fact {gone} is gone"));
    }
    for bytes in &tape.chunks {
        if !reads(&vault, bytes)? {
            return Err("a chunk is gone".into());
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = audit(&disk, Some(&tape.store.cipher), tape.store.id, None, &|_, _| {});
    let found = found.map_err(|error| error.to_string())?;
    let torn = found.torn.iter().find(|torn| torn.file != "CLOSED.new");
    match found.damage.first().or(torn) {
        Some(damage) => Err(format!("the audit says: {damage}")),
        None => Ok(()),
    }
}

fn revive(tape: &Tape, disk: &SimulatedDisk, calls: usize, seed: u64) -> Result<(), String> {
    let dead = match seed {
        0 => disk.after_kill(calls),
        seed => disk.after_power_cut(calls, seed),
    };
    let fresh = Arc::new(MemoryIndex::new());
    check(tape, &dead, &fresh)?;
    condense(&tape.store.open(&dead, &fresh).map_err(|error| error.to_string())?);
    check(tape, &dead, &fresh)?;
    check(tape, &dead, &Arc::new(MemoryIndex::new()))
}

#[test]
fn what_does_not_matter_goes_and_the_rest_is_as_it_was() {
    let tape = record();
    let fresh = Arc::new(MemoryIndex::new());
    check(&tape, &tape.disk, &fresh).unwrap();
    let there: Vec<u32> = facts_of(fresh.as_ref()).iter().map(|fact| number_of(fact)).collect();
    // Only the newest log may hold some that do not matter.
    assert!(there.iter().filter(|number| !stays(**number)).count() < 12, "{there:?}");
    let log = files(&tape.disk).into_iter().filter(|(path, _)| path.starts_with("log/"));
    let bytes: usize = log.map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 16_000, "{bytes}");
}

#[test]
fn an_index_from_before_is_caught_up_with_or_refused_but_never_believed() {
    let tape = record();
    for calls in tape.started.0..=tape.disk.calls() {
        let dead = tape.disk.after_kill(calls);
        let old = index_of(&tape.started.1);
        match tape.store.open_with(&dead, old.clone(), SMALL, false) {
            Ok(vault) => {
                drop(vault);
                check(&tape, &dead, &old).unwrap();
            }
            Err(error) => assert!(error.to_string().contains("lucid reindex"), "{error}"),
        }
    }
}

#[test]
fn every_death_of_condensing_is_survived() {
    let tape = record();
    for calls in tape.started.0..=tape.disk.calls() {
        for seed in 0..4 {
            if let Err(why) = revive(&tape, &tape.disk, calls, seed) {
                let story = tape.disk.story(calls.saturating_sub(12)..calls).join("\n");
                panic!("{story}\nbehind call {calls}, {seed}: {why}");
            }
        }
    }
}

#[test]
fn condensing_without_syncing_what_it_wrote_loses_something() {
    let tape = record();
    let forgetful = tape.disk.fork();
    forgetful.forgetting(SyncPoint::File("log/NNNNNNNN.log.new".into()));
    let lost = (tape.started.0..=tape.disk.calls())
        .any(|calls| (1..5).any(|seed| revive(&tape, &forgetful, calls, seed).is_err()));
    assert!(lost);
}

#[test]
fn what_is_committed_while_the_newest_file_is_looked_at_stays() {
    let store = Store::new(false);
    let (disk, index) = (SimulatedDisk::new(), Arc::new(MemoryIndex::new()));
    let vault = store.open_with(&disk, index, Limits::default(), false).unwrap();
    let large = [crate::bench::fact(1, &[]), chunk(1, 2 << 20)].concat();
    let facts = vec![vault.fact(&mut Packer::new(), large).unwrap()];
    vault.commit(Submission { facts, ..Submission::default() }).unwrap();
    let late = std::cell::Cell::new(false);
    let matters = |fact: &[u8]| {
        if !late.replace(true) {
            Entry::new(5, 1, Vec::new()).commit(&vault).unwrap();
        }
        matters(fact)
    };
    let done = vault.begin_collection().unwrap().condense(&matters, &mut |_, _| true).unwrap();
    assert_eq!(done.logs_rewritten, 1);
    drop(vault);
    let fresh = Arc::new(MemoryIndex::new());
    store.open_with(&disk, fresh.clone(), Limits::default(), false).unwrap();
    let there: Vec<u32> = facts_of(fresh.as_ref()).iter().map(|fact| number_of(fact)).collect();
    assert_eq!(there, [5]);
}

#[test]
fn every_flipped_byte_of_a_condensed_log_is_named() {
    let tape = record();
    let path = "log/00000001.log";
    let length = files(&tape.disk)[path].len();
    for at in (0..length).step_by(7) {
        let damaged = tape.disk.fork();
        assert!(damaged.flip(path, at));
        let disk: Arc<dyn Disk> = Arc::new(damaged.clone());
        let found =
            audit(&disk, Some(&tape.store.cipher), tape.store.id, None, &|_, _| {}).unwrap();
        assert!(found.damage.iter().any(|damage| damage.file == path), "byte {at}: {found:?}");
        let fresh = Arc::new(MemoryIndex::new());
        let vault = tape.store.open(&damaged, &fresh).unwrap();
        assert!(vault.read_only().is_none(), "byte {at}");
        for bytes in &tape.chunks {
            assert_eq!(reads(&vault, bytes), Ok(true), "byte {at}");
        }
    }
}

/// Reads the whole store once, and names what was found.
fn scrubbed(vault: &Vault) -> Vec<String> {
    let (mut at, mut found) = (Some(Cursor::default()), Vec::new());
    while let Some(cursor) = at {
        let stretch = vault.scrub(cursor, 1_000, &|_| true).unwrap();
        found.extend(stretch.findings.into_iter().map(|finding| finding.damage.file));
        at = stretch.next;
    }
    found
}

#[test]
fn a_foreign_log_file_and_the_number_it_took_stop_nothing_that_reads_the_log() {
    let (store, other) = (Store::new(true), Store::new(false));
    let theirs = other.disk();
    drop(fill(&other.open(&theirs, &Arc::new(MemoryIndex::new())).unwrap(), 0, 1));
    let disk = store.disk();
    let vault = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    fill(&vault, 0, 20);
    drop(vault);
    let newest = lucid_store::files::log::numbers(&disk).unwrap().into_iter().max().unwrap();
    // Between the newest one and it, a number was never used.
    let foreign = lucid_store::files::log::path(newest + 2);
    let bytes = &files(&theirs)["log/00000001.log"];
    disk.create(&foreign).unwrap().append(&[bytes]).unwrap();
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(&disk, &index).unwrap();
    fill(&vault, 100, 20);
    let numbers = lucid_store::files::log::numbers(&disk).unwrap();
    assert!(!numbers.contains(&(newest + 1)) && numbers.contains(&(newest + 3)), "{numbers:?}");
    let look = |named: &[String]| {
        let mut seen = 0;
        let mut count = |_: &[u8]| {
            seen += 1;
            Ok(())
        };
        vault.facts(&mut count, &mut |_, _| true).unwrap();
        assert_eq!(seen, 120);
        assert_eq!(scrubbed(&vault), named);
        let on: Arc<dyn Disk> = Arc::new(disk.clone());
        let audited = audit(&on, Some(&store.cipher), store.id, None, &|_, _| {}).unwrap();
        let files: Vec<_> = audited.damage.iter().map(|damage| damage.file.clone()).collect();
        assert_eq!(files, named, "{:?}", audited.damage);
    };
    look(std::slice::from_ref(&foreign));
    disk.unlink(&foreign).unwrap();
    look(&[]);
    assert!(condense(&vault).facts_removed > 20);
    // One that was there once is still missed.
    disk.unlink(&lucid_store::files::log::path(2)).unwrap();
    assert_eq!(scrubbed(&vault), [lucid_store::files::log::path(2)]);
    assert!(vault.facts(&mut |_| Ok(()), &mut |_, _| true).is_err());
}

#[test]
fn an_index_may_have_stopped_at_a_summary_and_a_summary_of_other_facts_is_named() {
    let store = Store::new(false);
    let (disk, log) = (store.disk(), "log/00000001.log");
    let open = |index: &Arc<MemoryIndex>, accept_loss| {
        store.open_with(&disk, index.clone(), Limits::default(), accept_loss).unwrap()
    };
    let vault = open(&Arc::new(MemoryIndex::new()), false);
    fill(&vault, 0, 20);
    vault.commit(Submission { end_log: true, ..Submission::default() }).unwrap();
    Entry::new(100, 1, vec![]).commit(&vault).unwrap();
    assert_eq!(condense(&vault).logs_rewritten, 1);
    drop(vault);
    // What is behind the condensed file is lost, and that is accepted: the log ends in a summary.
    disk.unlink("log/00000002.log").unwrap();
    let index = Arc::new(MemoryIndex::new());
    drop(open(&index, true));
    for _ in 0..2 {
        let vault = open(&index, false);
        assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    }
    // One of the facts before it is another record now, in which every checksum is right.
    let mut bytes = files(&disk)[log].clone();
    let length = bytes.len() as u64;
    let first = Header::decode(bytes.first_chunk().unwrap()).unwrap().record_bytes() as usize;
    let mut fact = Header::decode(bytes[first..].first_chunk().unwrap()).unwrap();
    fact.sequence += 1;
    bytes[first..first + HEADER_BYTES].copy_from_slice(&fact.encode());
    disk.unlink(log).unwrap();
    disk.create(log).unwrap().append(&[&bytes]).unwrap();
    let vault = open(&Arc::new(MemoryIndex::new()), false);
    let why = "the summary's facts are not the ones before it";
    assert_eq!(vault.damage(), [Damage::new(log, length - COMMIT_RECORD_BYTES, why)]);
    assert_eq!(vault.read_only(), None);
}
