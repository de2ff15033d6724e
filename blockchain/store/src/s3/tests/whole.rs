//! A whole store over objects, beside a log in memory.

use lucid_core::time::Timestamp;

use super::*;
use crate::contract::index::{Changes, Project};
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::s3::unit::title;
use crate::vault::collect::{Cleared, Names};
use crate::vault::committer::Submission;
use crate::vault::scrub::Cursor;
use crate::vault::{Elsewhere, Vault};

/// Makes nothing of facts.
struct Nothing;

impl Project for Nothing {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, _fact: &[u8], _changes: &mut Changes<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Opens the store with an index that knows nothing yet.
fn open(log: &Arc<MemoryLog>, objects: &Arc<dyn ObjectStore>) -> (Vault, S3Blobs) {
    open_over(log, in_objects(objects.clone()))
}

fn open_over(log: &Arc<MemoryLog>, blobs: S3Blobs) -> (Vault, S3Blobs) {
    let vault = Vault::open_elsewhere(Elsewhere {
        log: log.clone(),
        blobs: Arc::new(blobs.clone()),
        start: MemoryLog::start(),
        cipher: Arc::new(Cipher::new(None)),
        index: Arc::new(MemoryIndex::new()),
        project: Arc::new(Nothing),
    });
    (vault.unwrap(), blobs)
}

fn is_there(vault: &Vault, number: u8) -> bool {
    let bytes = [number; 40];
    let id = ChunkId::from(blake3::hash(&bytes));
    let read = vault.read_chunk(&mut Packer::new(), &id).unwrap();
    assert!(read.as_ref().is_none_or(|read| *read == bytes));
    read.is_some()
}

fn day(number: i64) -> Timestamp {
    Timestamp::from_micros(number * 24 * 60 * 60 * 1_000_000)
}

#[test]
fn an_object_that_nothing_names_is_removed_two_lines_later() {
    let (log, objects) = (Arc::new(MemoryLog::new()), where_calls_fail());
    let (vault, blobs) = open(&log, &objects);
    vault.commit(Submission { chunks: vec![chunk(1).1], ..Submission::default() }).unwrap();
    // It is put, and its process ends before the commit.
    let orphan = write(&blobs, &[2]);
    blobs.settle(&orphan).unwrap();
    drop(vault);
    let mut left = Vec::new();
    for number in 1..5 {
        let (vault, blobs) = open(&log, &objects);
        vault.begin_collection().unwrap().clear(day(number)).unwrap();
        left.push(blobs.numbers().unwrap().contains(&orphan.extent.unit));
        assert!(is_there(&vault, 1), "{number}");
        vault.commit(Submission { chunks: vec![chunk(3).1], ..Submission::default() }).unwrap();
        assert!(is_there(&vault, 3), "{number}");
    }
    assert_eq!(left, [true, true, false, false]);
}

#[test]
fn a_store_over_objects_is_collected_and_its_index_made_anew() {
    let (log, objects) = (Arc::new(MemoryLog::new()), where_calls_fail());
    let (vault, _) = open(&log, &objects);
    for pair in 0..4 {
        let chunks = vec![chunk(2 * pair).1, chunk(2 * pair + 1).1];
        vault.commit(Submission { chunks, ..Submission::default() }).unwrap();
    }
    vault.close().unwrap();
    drop(vault);

    // What was just brought in is asked for, and stays; so another process collects.
    let (vault, blobs) = open(&log, &objects);
    assert!((0..8).all(|number| is_there(&vault, number)));
    let old = blobs.numbers().unwrap();
    assert_eq!(old.len(), 4);
    let mut live = Names::default();
    (0..8).step_by(2).for_each(|number| live.add(&chunk(number).0));
    live.settle();
    drop(vault);
    let (vault, blobs) = open(&log, &objects);
    let collection = vault.begin_collection().unwrap();
    let done = collection.run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
    assert_eq!((done.chunks_removed, done.units_replaced, done.units_damaged), (4, 4, 0));
    // The old ones go one collection later, by their names.
    assert_eq!(collection.clear(day(1)).unwrap(), Cleared { units_removed: 0, units_going: 4 });
    drop(collection);
    let there = blobs.numbers().unwrap();
    assert!(there.len() == 5 && old.iter().all(|unit| there.contains(unit)), "{there:?}");
    assert!((0..8).all(|number| is_there(&vault, number) == (number % 2 == 0)));
    vault.close().unwrap();
    drop(vault);
    let (vault, blobs) = open(&log, &objects);
    let collection = vault.begin_collection().unwrap();
    assert_eq!(collection.clear(day(2)).unwrap(), Cleared { units_removed: 4, units_going: 0 });
    drop(collection);
    let made = blobs.numbers().unwrap();
    assert!(made.len() == 1 && made[0] & numbers::MADE != 0, "{made:?}");
    drop(vault);

    // Commits name units that are gone, and the fact of the one that stands for them is followed.
    let (vault, blobs) = open(&log, &objects);
    assert_eq!(blobs.numbers().unwrap(), made);
    assert!((0..8).all(|number| is_there(&vault, number) == (number % 2 == 0)));
    assert_eq!(vault.damage(), []);
}

/// Everything that a whole round of reading names, by where it is.
fn scrubbed(vault: &Vault) -> Vec<String> {
    let (mut at, mut named) = (Some(Cursor::default()), Vec::new());
    while let Some(from) = at {
        let round = vault.scrub(from, 1_000, &|_| true).unwrap();
        named.extend(round.findings.into_iter().map(|finding| finding.damage.file));
        at = round.next;
    }
    named
}

#[test]
fn a_made_unit_that_no_list_has_is_lost_once_it_was_missed_twice_hours_apart() {
    let (log, objects) = (Arc::new(MemoryLog::new()), nothing());
    let (vault, _) = open(&log, &objects);
    let chunks = vec![chunk(0).1, chunk(1).1];
    vault.commit(Submission { chunks, ..Submission::default() }).unwrap();
    vault.close().unwrap();
    let (vault, blobs) = open(&log, &objects);
    let mut live = Names::default();
    live.add(&chunk(0).0);
    live.settle();
    let collection = vault.begin_collection().unwrap();
    collection.run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
    // What it stands for goes by its name, one collection later.
    for number in [1, 2] {
        collection.clear(day(number)).unwrap();
    }
    drop(collection);
    let [made] = blobs.numbers().unwrap()[..] else { panic!("one is made of what is left") };
    assert_eq!(scrubbed(&vault), [""; 0]);
    drop(vault);

    let (path, bytes) = only_object(&objects);
    let remove = || {
        let (objects, path) = (objects.clone(), path.clone());
        let delete = async move { objects.delete(&path).await };
        Driver::start().unwrap().wait(PATIENT.call, delete).unwrap().unwrap();
    };
    let reopened = |missed_for| {
        let bucket = bucket(&objects, PATIENT);
        open_over(&log, S3Blobs::missing_twice_in(bucket, STORE, missed_for).unwrap()).0
    };
    remove();
    let (soon, later) = (reopened(Duration::ZERO), reopened(Duration::from_secs(3_600)));
    assert_eq!(scrubbed(&soon), [""; 0], "it is missed for the first time");
    assert_eq!(scrubbed(&soon), [title(made)]);
    for _ in 0..3 {
        assert_eq!(scrubbed(&later), [""; 0], "twice in a short time is once");
    }
    // It is there again, and read by the very round that looks for it.
    put_rashly(&objects, &path, bytes);
    for vault in [&soon, &later] {
        let round = vault.scrub(Cursor { chunks: true, ..Cursor::default() }, 1_000, &|_| true);
        let round = round.unwrap();
        assert_eq!((round.records, round.findings.len()), (1, 0));
    }
    assert!(is_there(&open(&log, &objects).0, 0));
}
