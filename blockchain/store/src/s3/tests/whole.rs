//! A whole store over objects, beside a log in memory.

use super::*;
use crate::contract::index::{Changes, Project};
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::s3::unit::title;
use crate::vault::collect::Names;
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
    drop(collection);
    let made = blobs.numbers().unwrap();
    assert!(made.len() == 1 && made[0] & numbers::MADE != 0, "{made:?}");
    assert!((0..8).all(|number| is_there(&vault, number) == (number % 2 == 0)));
    vault.close().unwrap();
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
    vault.begin_collection().unwrap().run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
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
