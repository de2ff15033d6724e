//! Each waiting caller is answered: when the thread that writes panics, no thread is to be had, or a copy is on
//! its way.

use std::sync::mpsc::channel;
use std::sync::{Arc, mpsc};

use lucid_core::digest::ChunkName;
use lucid_store::codec::{Compression, Packer};
use lucid_store::contract::index::{Changes, Index, Project};
use lucid_store::crypt::Cipher;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::collect::Names;
use lucid_store::vault::committer::Submission;
use lucid_store::vault::{Known, Vault};
use lucid_store::{CommitError, StoreError, threads};

use crate::bench::{Entry, Rows, SMALL, Store, chunk, fact, facts_of, id_of, reads};

/// Panics at one fact, until told not to.
struct Panicking(Vec<u8>);

impl Project for Panicking {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        assert!(fact != self.0, "this fact is too much");
        Rows.project(fact, changes)
    }
}

fn open(store: &Store, disk: &SimulatedDisk, index: &Arc<MemoryIndex>, bad: Vec<u8>) -> Vault {
    let unopened = UnopenedStore {
        disk: Arc::new(disk.clone()),
        store: store.id,
        cipher: store.cipher.clone(),
        index: index.clone() as Arc<dyn Index>,
        project: Arc::new(Panicking(bad)),
        accept_loss: false,
        limits: SMALL,
    };
    files::open(unopened).unwrap()
}

/// Holds the thread that writes until the sender goes, once it has written something.
fn held_up(vault: &Vault, number: u32) -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, held) = channel::<()>();
    let (tell, begun) = channel();
    let done = Box::new(move |_| {
        tell.send(()).unwrap();
        // It ends with an error once the test lets go.
        let _released = held.recv();
    });
    vault.submit(Entry::new(number, 1, vec![]).submission(vault), done);
    begun.recv().unwrap();
    (release, begun)
}

#[test]
fn a_panic_while_rows_are_made_breaks_the_store_and_answers_everybody() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let kept = chunk(1, 300);
    let bad = Entry::new(5, 1, vec![chunk(5, 300)]);
    let vault = open(&store, &disk, &index, bad.facts[0].clone());
    Entry::new(1, 1, vec![kept.clone()]).commit(&vault).unwrap();

    // The bad one, one behind it in the queue, and one behind a queue that is full.
    let (release, _begun) = held_up(&vault, 2);
    let (tell, told) = channel();
    let submit = |what: &'static str, submission: Submission| {
        let tell = tell.clone();
        vault.submit(submission, Box::new(move |outcome| tell.send((what, outcome)).unwrap()));
    };
    submit("bad", bad.submission(&vault));
    let large: Vec<_> = (100..105).map(|number| chunk(number, 8 << 20)).collect();
    submit("behind", Entry::new(20, 1, large).submission(&vault));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| Entry::new(30, 1, vec![]).commit(&vault));
        drop(release);
        for _ in 0..2 {
            let (what, outcome) = told.recv().unwrap();
            let error = outcome.unwrap_err();
            assert!(matches!(error, CommitError::Broken(_)), "{what}: {error}");
            assert!(error.maybe_applied(), "{what}");
        }
        assert!(matches!(late.join().unwrap(), Err(CommitError::Broken(_))));
    });
    // Everybody is told why, and what is there is still read.
    let why = vault.read_only().expect("a broken store says so");
    assert_eq!(why, "the thread that writes ended: this fact is too much");
    assert_eq!(reads(&vault, &kept), Ok(true));
    let error = Entry::new(40, 1, vec![]).commit(&vault).unwrap_err();
    assert!(error.to_string().contains("this fact is too much"), "{error}");

    // A collection, which commits on its way, says no less.
    let mut nothing = Names::default();
    nothing.settle();
    let fault = vault
        .begin_collection()
        .unwrap()
        .run(&nothing, &|_, _| Ok(true), &mut |_, _| true)
        .unwrap_err();
    assert!(fault.maybe_applied(), "{fault}");
    vault.close().unwrap();
    drop(vault);

    // What had been made durable by then is there after a restart; what was too much had not been.
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!(reads(&vault, &kept), Ok(true));
    assert!(!facts_of(index.as_ref()).contains(&bad.facts[0]));
}

#[test]
fn a_caller_that_panics_when_it_is_told_leaves_nobody_waiting() {
    let store = Store::new(false);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let panics = Box::new(|_| panic!("the caller is gone"));
    vault.submit(Entry::new(1, 1, vec![]).submission(&vault), panics);
    let error = Entry::new(2, 1, vec![]).commit(&vault).unwrap_err();
    assert!(matches!(error, CommitError::Broken(_)), "{error}");
    assert!(vault.read_only().is_some());
}

#[test]
fn a_store_that_gets_no_thread_to_write_with_says_so() {
    let store = Store::new(false);
    threads::pretend_none_left(true);
    let fault = store.open(&store.disk(), &Arc::new(MemoryIndex::new())).map(drop).unwrap_err();
    threads::pretend_none_left(false);
    assert_eq!(fault.to_string(), "starting the thread that writes: no thread is to be had");
}

#[test]
fn both_files_are_synced_one_after_the_other_where_no_thread_is_to_be_had() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    // The pretence holds for the thread that is told: the one that writes.
    let (tell, told) = channel();
    let pretend = Box::new(move |_| {
        threads::pretend_none_left(true);
        tell.send(()).unwrap();
    });
    vault.submit(Submission::default(), pretend);
    told.recv().unwrap();
    let entry = Entry::new(1, 1, vec![chunk(1, 300)]);
    entry.commit(&vault).unwrap();
    let cut = disk.after_power_cut(disk.calls(), 0);
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(&cut, &index).unwrap();
    assert_eq!(facts_of(index.as_ref()), entry.facts);
    assert_eq!(reads(&vault, &entry.chunks[0]), Ok(true));
}

fn submission(vault: &Vault, cipher: &Cipher, encrypt: bool, bytes: &[u8]) -> Submission {
    let how = Compression::None;
    let id = id_of(bytes);
    let record = cipher.chunk_record(&mut Packer::new(), how, encrypt, &id, bytes).unwrap();
    let name: ChunkName = vault.cipher().chunk_name(&id);
    Submission { chunks: vec![record], requires: vec![name], ..Submission::default() }
}

#[test]
fn a_plain_copy_on_its_way_never_stands_in_for_an_encrypted_one() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let bytes = chunk(9, 300);
    let id = id_of(&bytes);
    let (release, _begun) = held_up(&vault, 1);
    let known = |encrypted| vault.known(&id, encrypted).unwrap();
    vault.submit(submission(&vault, &store.cipher, false, &bytes), Box::new(|_| {}));
    assert_eq!((known(false), known(true)), (Known::Pending, Known::No));
    // In one batch with the plain one, which is not taken for it.
    let mut encrypted = submission(&vault, &store.cipher, true, &bytes);
    encrypted
        .facts
        .push(vault.fact(&mut Packer::new(), fact(7, std::slice::from_ref(&bytes))).unwrap());
    let (tell, told) = channel();
    vault.submit(encrypted, Box::new(move |outcome| tell.send(outcome).unwrap()));
    assert_eq!((known(false), known(true)), (Known::Pending, Known::Pending));
    drop(release);
    assert_eq!(told.recv().unwrap().unwrap().chunks_new, 1);
    assert_eq!(known(true), Known::There);
    assert!(vault.placement(&id).unwrap().unwrap().encrypted);
    assert_eq!(reads(&vault, &bytes), Ok(true));
    drop(vault);
    // And after a reindex.
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(&disk, &index).unwrap();
    assert!(vault.placement(&id).unwrap().unwrap().encrypted);
}
