//! A log in memory that is put back to older data, and the copies that share it.

use std::time::Instant;

use super::*;
use crate::CommitError;
use crate::codec::Packer;
use crate::contract::index::{Project, Tally};
use crate::crypt::Cipher;
use crate::frame::{Record, RecordKind};
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::vault::committer::Submission;
use crate::vault::facts::VaultFact;

/// Makes a row of every fact, and counts them.
struct Rows;

/// The row with how many there were.
const COUNT: [u8; 1] = [0x41];
/// A fact that begins so is not understood.
const UNKNOWN: u8 = b'?';

fn counted(rows: &Changes<'_>) -> Result<u64, StoreError> {
    let row = rows.get(&COUNT)?;
    Ok(row.map_or(0, |row| u64::from_le_bytes(row.try_into().unwrap())))
}

impl Project for Rows {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let count = counted(changes)? + 1;
        changes.put(COUNT.to_vec(), count.to_le_bytes().to_vec());
        changes.put([&[0x40], fact].concat(), fact.to_vec());
        Ok(())
    }

    fn fault(&self, fact: &[u8]) -> Option<String> {
        (fact.get(1) == Some(&UNKNOWN)).then(|| "it asks".into())
    }

    fn tally(&self, rows: &Changes<'_>) -> Result<Option<Tally>, StoreError> {
        Ok(Some(Tally { sessions: counted(rows)?, chunks: 2, references: 3 }))
    }
}

#[derive(Default)]
struct Shared {
    log: Arc<MemoryLog>,
    blobs: MemoryBlobs,
}

impl Shared {
    fn of(&self, index: &Arc<MemoryIndex>) -> Elsewhere {
        Elsewhere {
            log: self.log.clone(),
            blobs: Arc::new(self.blobs.clone()),
            start: MemoryLog::start(),
            cipher: Arc::new(Cipher::new(None)),
            index: index.clone(),
            project: Arc::new(Rows),
        }
    }

    /// Opens a copy with an index.
    fn open(&self, index: &Arc<MemoryIndex>) -> Result<Vault, StoreError> {
        Vault::open_elsewhere(self.of(index))
    }
}

fn keep(vault: &Vault, text: &str) -> Result<(), CommitError> {
    let fact = vault.fact(&mut Packer::new(), [&[0x10], text.as_bytes()].concat()).unwrap();
    vault.commit(Submission { facts: vec![fact], ..Submission::default() }).map(|_| ())
}

fn facts(index: &MemoryIndex) -> Vec<String> {
    let rows = index.scan(&[0x40], &[0x41], usize::MAX, false).unwrap();
    rows.into_iter().map(|(_, fact)| String::from_utf8(fact[1..].to_vec()).unwrap()).collect()
}

fn indexes<const N: usize>() -> [Arc<MemoryIndex>; N] {
    std::array::from_fn(|_| Arc::default())
}

/// Why a store was not opened: a sentence that names both places and ends with what to do.
fn refusal(opened: Result<Vault, StoreError>, ours: &str, theirs: &str) {
    let Err(StoreError::Folder(why)) = opened.map(|_| ()) else { panic!("it was opened") };
    assert!(why.contains(ours) && why.contains(theirs), "{why}");
    assert!(why.contains("; restore what is newer"), "{why}");
}

#[test]
fn a_copy_stops_where_the_log_was_put_back_behind_what_it_has_followed() {
    let (shared, [index]) = (Shared::default(), indexes());
    let vault = shared.open(&index).unwrap();
    for text in ["one", "two", "three"] {
        keep(&vault, text).unwrap();
    }
    shared.log.put_back(2);
    let Err(CommitError::Broken(why)) = keep(&vault, "four") else { panic!("it was written") };
    assert!(why.contains("commit 3@1-00000000, which is not there"), "{why}");
    assert!(vault.loss().is_some_and(|loss| loss == why));
    drop(vault);
    refusal(shared.open(&index), "commit 3@1-00000000", "ends at commit 2@1-00000000");
    assert_eq!(shared.log.commits(), 2);
}

#[test]
fn a_copy_without_an_index_is_told_by_what_is_noted_beside_the_chunks() {
    let (shared, [index, anew]) = (Shared::default(), indexes());
    let vault = shared.open(&index).unwrap();
    keep(&vault, "one").unwrap();
    // It was noted before it was acknowledged.
    let marked = shared.blobs.marked().unwrap().unwrap();
    assert_eq!(marked.to_string(), "1@1-00000000");
    drop(vault);
    shared.log.put_back(0);
    refusal(shared.open(&anew), "commit 1@1-00000000 was acknowledged", "the log is empty");
    // Another copy's commit in its place is another one.
    shared.blobs.refuse_marks(true);
    let stranger = Shared { log: shared.log.clone(), blobs: MemoryBlobs::new() };
    let [index] = indexes();
    keep(&stranger.open(&index).unwrap(), "another").unwrap();
    let [anew] = indexes();
    refusal(shared.open(&anew), "commit 1@1-00000000", "ends at commit 1@1-00000000 without it");
}

#[test]
fn what_is_lost_is_accepted_by_a_new_incarnation_that_every_copy_comes_to() {
    let (shared, [ahead, behind, anew]) = (Shared::default(), indexes());
    let (vault, late) = (shared.open(&ahead).unwrap(), shared.open(&behind).unwrap());
    keep(&vault, "one").unwrap();
    late.catch_up().unwrap();
    keep(&vault, "two").unwrap();
    vault.close().unwrap();
    drop(vault);
    shared
        .blobs
        .mark(&shared.log.place(&Position::of(ahead.as_ref()).unwrap().unwrap()).unwrap().unwrap())
        .unwrap();
    shared.log.put_back(1);
    let accepting = |index: &Arc<MemoryIndex>| {
        Vault::open_elsewhere_accepting_loss(shared.of(index), &|_, _| true)
    };
    let Err(StoreError::Folder(why)) = accepting(&ahead).map(|_| ()) else {
        panic!("it was taken")
    };
    assert!(why.ends_with("run `lucid reindex --accept-loss`"), "{why}");
    let vault = accepting(&anew).unwrap();
    keep(&vault, "another two").unwrap();
    assert_eq!(facts(&anew), ["another two", "one"]);
    let told = vault.stands_at().unwrap().unwrap().told();
    assert_eq!((told.n, told.incarnation, late.stands_at().unwrap().unwrap().n), (3, 2, 1));

    // One that was not as far goes on; one that was further makes its index anew; a new one is told of no loss.
    keep(&late, "three").unwrap();
    assert_eq!(facts(&behind), ["another two", "one", "three"]);
    let Err(StoreError::Anew(why)) = shared.open(&ahead).map(|_| ()) else { panic!("it goes on") };
    assert!(why.contains("commit 2@1-00000000, which is a different one there"), "{why}");
    let [fresh] = indexes();
    drop(shared.open(&fresh).unwrap());
    vault.catch_up().unwrap();
    assert_eq!(fresh.rows(), behind.rows());
    assert_eq!(fresh.rows(), anew.rows());
    // Put back to before that, the log lacks the incarnation itself.
    shared.log.put_back(1);
    let [fresh] = indexes();
    refusal(shared.open(&fresh), "@2-", "ends at commit 1@1-00000000");
}

#[test]
fn a_copy_that_was_passed_by_a_new_incarnation_while_it_ran_is_broken_and_opens_anew() {
    let (shared, [ahead, anew]) = (Shared::default(), indexes());
    let vault = shared.open(&ahead).unwrap();
    keep(&vault, "one").unwrap();
    shared.log.put_back(0);
    drop(Vault::open_elsewhere_accepting_loss(shared.of(&anew), &|_, _| true).unwrap());
    assert!(matches!(keep(&vault, "two"), Err(CommitError::Broken(_))));
    drop(vault);
    assert!(matches!(shared.open(&ahead).map(|_| ()), Err(StoreError::Anew(_))));
}

#[test]
fn how_far_the_log_has_come_is_noted_once_a_second_and_holds_nothing_up() {
    let (shared, [index]) = (Shared::default(), indexes());
    let vault = shared.open(&index).unwrap();
    shared.blobs.refuse_marks(true);
    keep(&vault, "without").unwrap();
    assert_eq!(shared.blobs.marked().unwrap(), None);
    drop(vault);
    shared.blobs.refuse_marks(false);
    let (vault, begun) = (shared.open(&index).unwrap(), Instant::now());
    for number in 0..50 {
        keep(&vault, &number.to_string()).unwrap();
    }
    let (marks, seconds) = (shared.blobs.marks(), begun.elapsed().as_secs());
    assert!(marks >= 1 && marks <= seconds + 1, "{marks} in {seconds} seconds");
}

fn record(plain: &[u8]) -> Record {
    Cipher::new(None).fact_record(&mut Packer::new(), plain).unwrap()
}

#[test]
fn a_commit_that_does_not_open_or_is_not_understood_stops_a_copy_that_follows() {
    let cases = [
        (record(&[0x10, UNKNOWN]), "a fact is not understood: it asks"),
        (record(&[0x01]), "a fact of the store is not understood"),
        (record(&[0x03, 7, 0, 0, 0, 0, 0, 0, 0]), "a fact of the store names no unit"),
        (Record::plain(RecordKind::Fact, [5; 32], b"\x10x".to_vec()).unwrap(), "other bytes"),
    ];
    for (fact, what) in cases {
        let (shared, [index, fresh]) = (Shared::default(), indexes());
        let vault = shared.open(&index).unwrap();
        keep(&vault, "one").unwrap();
        shared.log.be_faster(vec![fact]);
        let Err(CommitError::Broken(why)) = keep(&vault, "two") else { panic!("{what}") };
        assert!(why.contains(what), "{why}");
        assert_eq!(facts(&index), ["one"]);
        let Err(StoreError::Damaged(damage)) = shared.open(&fresh).map(|_| ()) else {
            panic!("{what}")
        };
        assert!(damage.why.contains(what), "{damage}");
        // The commit's place is named, and nothing behind it was taken in.
        assert_eq!((damage.file.as_str(), damage.offset), ("memory", 1));
        assert_eq!(shared.log.commits(), 2);
    }
}

#[test]
fn a_copy_that_comes_to_another_sum_than_the_writer_stops() {
    let (shared, [index, fresh]) = (Shared::default(), indexes());
    let vault = shared.open(&index).unwrap();
    keep(&vault, "one").unwrap();
    keep(&vault, "two").unwrap();
    drop(shared.open(&fresh).unwrap());
    assert_eq!(fresh.rows(), index.rows());
    // A writer that has a row more, or one less.
    let tally = Tally { sessions: 4, chunks: 2, references: 3 };
    let theirs = VaultFact::Tallied(tally).encode();
    shared.log.be_faster(vec![record(b"\x10three"), record(&theirs)]);
    let Err(CommitError::Broken(why)) = keep(&vault, "four") else { panic!("it went on") };
    assert!(why.contains("has come to 3 sessions, 2 chunks and 3 references, and the writer"));
    assert!(why.contains("to 4 sessions") && why.ends_with("`lucid reindex`"), "{why}");
    assert!(matches!(shared.open(&fresh).map(|_| ()), Err(StoreError::Index(_))));
}
