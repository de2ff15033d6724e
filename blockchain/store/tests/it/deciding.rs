//! What a submission rests on is so when it commits: rows as they were seen, and facts that can be made rows.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use lucid_store::codec::{Compression, Packer};
use lucid_store::contract::index::{Changes, Index, Project};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::faulty::IndexFaults;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::committer::{Committed, Submission};
use lucid_store::vault::{Known, Vault};
use lucid_store::{CommitError, StoreError};

use crate::bench::{Entry, Rows, SMALL, Store, chunk, fact, facts_of, id_of, reads};

/// Makes no rows of one fact, as if a row that it needs could not be read.
struct Unreadable(Vec<u8>);

impl Project for Unreadable {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        Rows.project(fact, changes)?;
        match fact == self.0 {
            true => Err(StoreError::Index("the row is none".into())),
            false => Ok(()),
        }
    }
}

fn open(disk: &SimulatedDisk, index: &Arc<MemoryIndex>, bad: Vec<u8>) -> Vault {
    let store = Store::new(true);
    files::open(UnopenedStore {
        disk: Arc::new(disk.clone()),
        store: store.id,
        cipher: store.cipher.clone(),
        index: index.clone() as Arc<dyn Index>,
        project: Arc::new(Unreadable(bad)),
        accept_loss: false,
        limits: SMALL,
    })
    .unwrap()
}

/// The key of the row that [`Rows`] makes of a fact.
fn key(number: u32) -> Vec<u8> {
    [&[0x40], number.to_be_bytes().as_slice()].concat()
}

type Outcome = Result<Committed, CommitError>;

/// Submits everything while the thread that writes is held up, so that it is decided in one batch.
fn at_once(vault: &Vault, submissions: Vec<Submission>) -> Vec<Outcome> {
    let (release, held) = channel::<()>();
    let (tell, begun) = channel();
    let busy = Entry::new(900, 1, vec![]).submission(vault);
    vault.submit(
        busy,
        Box::new(move |_| {
            tell.send(()).unwrap();
            // It ends with an error once the test lets go.
            let _released = held.recv();
        }),
    );
    begun.recv().unwrap();
    let told: Vec<Receiver<Outcome>> = submissions
        .into_iter()
        .map(|submission| {
            let (tell, told) = channel();
            vault.submit(submission, Box::new(move |outcome| tell.send(outcome).unwrap()));
            told
        })
        .collect();
    drop(release);
    told.into_iter().map(|told| told.recv().unwrap()).collect()
}

#[test]
fn of_those_who_rest_on_one_row_only_the_first_to_change_it_is_committed() {
    let (disk, index) = (Store::new(true).disk(), Arc::new(MemoryIndex::new()));
    let vault = open(&disk, &index, vec![]);
    let resting = |number: u32, on: u32, bytes: Vec<u8>| {
        let look = vault.look();
        look.get(&key(on)).unwrap();
        let entry = Entry::new(number, 1, vec![bytes]);
        Submission { rests_on: look.seen(), ..entry.submission(&vault) }
    };
    // Two that make the same row, one that rests on it and changes another, and one that rests on neither.
    let (first, second) = (chunk(1, 300), chunk(2, 300));
    let outcomes = at_once(
        &vault,
        vec![
            resting(5, 5, first.clone()),
            resting(5, 5, second.clone()),
            resting(6, 5, chunk(3, 300)),
            resting(7, 7, chunk(4, 300)),
        ],
    );
    let overtaken = |outcome: &Outcome| matches!(outcome, Err(CommitError::Overtaken(rows)) if *rows == [key(5)]);
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok(), "{outcomes:?}");
    assert!(overtaken(&outcomes[1]) && overtaken(&outcomes[2]), "{outcomes:?}");
    assert!(!CommitError::Overtaken(vec![]).maybe_applied());
    assert_eq!(index.get(&key(5)).unwrap(), Some(fact(5, &[first])));
    assert_eq!(index.get(&key(6)).unwrap(), None);
    // The chunks of an overtaken submission are kept for the caller, which looks again and finds the row there now.
    assert_eq!(reads(&vault, &second), Ok(true));
    let again = resting(6, 5, second);
    assert_eq!(vault.commit(again).unwrap(), Committed::default());
    drop(vault);
    let rebuilt = Arc::new(MemoryIndex::new());
    drop(open(&disk, &rebuilt, vec![]));
    assert_eq!(facts_of(rebuilt.as_ref()), facts_of(index.as_ref()), "the log says the same");
}

#[test]
fn a_fact_that_no_rows_can_be_made_of_is_refused_alone_and_before_it_is_written() {
    let (disk, index) = (Store::new(true).disk(), Arc::new(MemoryIndex::new()));
    let vault = open(&disk, &index, fact(2, &[]));
    let entry = |number: u32, facts: u32| Entry::new(number, facts, vec![]).submission(&vault);
    // The bad one is the second of three facts.
    let outcomes = at_once(&vault, vec![entry(10, 1), entry(1, 3), entry(11, 1)]);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], Err(CommitError::Failed(why)) if why.contains("the row is none"))
    );
    assert_eq!(vault.loss(), None);
    let there =
        |index: &MemoryIndex| [1, 2, 3, 10, 11].map(|n| index.get(&key(n)).unwrap().is_some());
    assert_eq!(there(&index), [false, false, false, true, true]);
    assert!(Entry::new(12, 1, vec![]).commit(&vault).is_ok(), "writing goes on");
    drop(vault);
    let rebuilt = Arc::new(MemoryIndex::new());
    drop(open(&disk, &rebuilt, vec![]));
    assert_eq!(there(&rebuilt), [false, false, false, true, true], "nor is it in the log");
}

/// Every call of the index fails once, the one behind it too, or all from there on, while a store is opened,
/// written to and read: what is said of a commit is so, now and after a start, and rows that were not written are
/// not taken for written.
#[test]
fn an_index_that_fails_says_what_happened_and_is_never_behind_in_silence() {
    let store = Store::new(false);
    let (mut refused, mut broke, mut unopened) = (0, 0, 0);
    for times in [1, 2, usize::MAX] {
        for good in 0.. {
            let what = format!("{times} calls fail behind {good}");
            let (disk, rows) = (store.disk(), Arc::new(MemoryIndex::new()));
            let faults = Arc::new(IndexFaults::default());
            faults.fail(good, times);
            let index = faults.over(rows.clone());
            let mut there = Vec::new();
            let mut maybe = Vec::new();
            match store.open_with(&disk, Arc::new(index), SMALL, false) {
                Err(_) => unopened += 1,
                Ok(vault) => {
                    for number in 0..5 {
                        let entry = Entry::new(number, 1, vec![chunk(number, 700)]);
                        match entry.commit(&vault) {
                            Ok(_) => there.push(entry),
                            Err(error) if error.maybe_applied() => maybe.push(entry),
                            Err(_) => refused += 1,
                        }
                        for entry in &there {
                            // It may fail to be read, but is not absent.
                            assert_ne!(reads(&vault, &entry.chunks[0]), Ok(false), "{what}");
                        }
                    }
                    broke += usize::from(!maybe.is_empty());
                }
            }
            let disk = disk.after_kill(disk.calls());
            let mut found = Vec::new();
            for index in [rows, Arc::new(MemoryIndex::new())] {
                let vault = store.open(&disk, &index).unwrap();
                assert_eq!(vault.read_only(), None, "{what}");
                let facts = facts_of(index.as_ref());
                for entry in &there {
                    assert!(facts.contains(&entry.facts[0]), "{what}");
                    assert_eq!(reads(&vault, &entry.chunks[0]), Ok(true), "{what}");
                }
                let known = |fact: &Vec<u8>| {
                    there.iter().chain(&maybe).any(|entry| entry.facts[0] == *fact)
                };
                assert!(facts.iter().all(known), "what surely did not happen did: {what}");
                found.push(facts);
            }
            assert_eq!(found[0], found[1], "{what}");
            if good > faults.calls() {
                break;
            }
        }
    }
    assert!(refused > 10 && broke > 10 && unopened > 5, "{refused} {broke} {unopened}");
}

#[test]
fn a_chunk_that_is_sent_twice_in_one_submission_is_stored_once() {
    let vault = open(&SimulatedDisk::new(), &Arc::new(MemoryIndex::new()), Vec::new());
    let entry = Entry::new(1, 1, vec![chunk(1, 400)]);
    let mut twice = entry.submission(&vault);
    twice.chunks.extend(entry.submission(&vault).chunks);
    assert_eq!(vault.commit(twice).unwrap().chunks_new, 1);
}

#[test]
fn a_copy_in_clear_will_not_do_where_it_has_to_be_encrypted() {
    let vault = open(&SimulatedDisk::new(), &Arc::new(MemoryIndex::new()), Vec::new());
    let bytes = chunk(1, 400);
    let id = id_of(&bytes);
    let mut packer = Packer::new();
    let clear = vault.chunk(&mut packer, Compression::default(), false, &id, &bytes).unwrap();
    vault.commit(Submission { chunks: vec![clear], ..Submission::default() }).unwrap();
    assert_eq!(vault.known(&id, false).unwrap(), Known::There);
    assert_eq!(vault.known(&id, true).unwrap(), Known::No);
    Entry::new(1, 1, vec![bytes]).commit(&vault).unwrap();
    assert_eq!(vault.known(&id, true).unwrap(), Known::There);
}

#[test]
fn a_store_that_was_closed_takes_nothing() {
    let vault = open(&SimulatedDisk::new(), &Arc::new(MemoryIndex::new()), Vec::new());
    let entry = Entry::new(1, 1, vec![chunk(1, 400)]);
    let submission = entry.submission(&vault);
    vault.close().unwrap();
    let (tell, told) = channel();
    vault.submit(submission, Box::new(move |outcome| tell.send(outcome).unwrap()));
    let outcome = told.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert!(
        matches!(&outcome, Err(CommitError::Failed(why)) if why.contains("closing")),
        "{outcome:?}"
    );
}
