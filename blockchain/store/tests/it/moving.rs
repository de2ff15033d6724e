//! Moving a store to another back-end and back: everything arrives as it was, whatever fails on the way, and what is
//! moved is never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::blobs::MemoryBlobs;
use lucid_store::memory::fact_log::{Ending, MemoryLog};
use lucid_store::memory::faulty::IndexFaults;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::collect::Names;
use lucid_store::vault::committer::Submission;
use lucid_store::vault::moving::{Move, MoveError, Moved, Stage};
use lucid_store::vault::{Elsewhere, Vault, chunk_rows};
use rustix::io::Errno;

use crate::bench::{Entry, Rows, SMALL, Store, chunk, facts_of, files, id_of, index_of, reads};

/// A store kept elsewhere, in memory.
#[derive(Clone)]
struct Remote {
    store: Store,
    log: Arc<MemoryLog>,
    blobs: MemoryBlobs,
}

impl Remote {
    fn new(store: &Store) -> Self {
        let (log, blobs) = (Arc::new(MemoryLog::new()), MemoryBlobs::new());
        Self { store: store.clone(), log, blobs }
    }

    fn open_over(&self, index: Arc<dyn Index>) -> Result<Vault, StoreError> {
        Vault::open_elsewhere(Elsewhere {
            log: self.log.clone(),
            blobs: Arc::new(self.blobs.clone()),
            start: MemoryLog::start(),
            cipher: self.store.cipher.clone(),
            index,
            project: Arc::new(Rows),
        })
    }

    /// With an index that knows nothing yet.
    fn open(&self) -> Vault {
        self.open_over(Arc::new(MemoryIndex::new())).unwrap()
    }
}

/// A store in files with all that a store in use has: segments that were rewritten, chunks that were dropped, and
/// facts that do not matter any more.
struct Source {
    store: Store,
    disk: SimulatedDisk,
    index: Arc<MemoryIndex>,
    kept: Vec<Vec<u8>>,
    gone: Vec<Vec<u8>>,
}

impl Source {
    fn new(encrypted: bool) -> Self {
        let store = Store::new(encrypted);
        let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
        let vault = store.open(&disk, &index).unwrap();
        let mut chunks = Vec::new();
        for number in 0..24 {
            let bytes = chunk(number, 200 + (number as usize * 37) % 500);
            Entry::new(number * 10, 2, vec![bytes.clone()]).commit(&vault).unwrap();
            chunks.push(bytes);
        }
        vault.close().unwrap();
        drop(vault);
        let vault = store.open(&disk, &index).unwrap();
        let (kept, gone): (Vec<_>, Vec<_>) =
            chunks.into_iter().enumerate().partition(|(number, _)| number % 3 == 0);
        let bare = |chunks: Vec<(usize, Vec<u8>)>| -> Vec<_> {
            chunks.into_iter().map(|(_, bytes)| bytes).collect()
        };
        let (mut kept, gone) = (bare(kept), bare(gone));
        let mut live = Names::default();
        kept.iter().for_each(|bytes| live.add(&vault.cipher().chunk_name(&id_of(bytes))));
        live.settle();
        let collection = vault.begin_collection().unwrap();
        let done = collection.run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
        assert!(done.units_replaced > 0, "{done:?}");
        drop(collection);
        for number in 100..104 {
            let bytes = chunk(number, 400);
            Entry::new(number * 10, 1, vec![bytes.clone()]).commit(&vault).unwrap();
            kept.push(bytes);
        }
        vault.close().unwrap();
        Self { store, disk, index, kept, gone }
    }

    fn open(&self) -> Vault {
        self.store.open(&self.disk, &self.index).unwrap()
    }

    fn facts(&self) -> Vec<Vec<u8>> {
        facts_of(self.index.as_ref())
    }

    /// Whether the store has what this one has, and nothing of what is gone.
    fn is_in(&self, vault: &Vault, what: &str) {
        assert_eq!(facts_of(vault.index()), self.facts(), "{what}");
        for bytes in &self.kept {
            assert_eq!(reads(vault, bytes), Ok(true), "{what}");
        }
        for bytes in &self.gone {
            assert_eq!(reads(vault, bytes), Ok(false), "{what}");
        }
        assert_eq!(vault.damage(), [], "{what}");
    }
}

fn moved(from: &Vault, to: &Vault) -> Result<Moved, MoveError> {
    Move::new(from, to).run(&mut |_, done, total| {
        assert!(done <= total);
        true
    })
}

/// Log and segments, without what a start and an end in order change.
fn content(disk: &SimulatedDisk) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(disk);
    files.retain(|path, _| path.starts_with("log/") || path.starts_with("chunks/"));
    files
}

#[test]
fn everything_moves_there_and_back_and_is_the_same() {
    for encrypted in [false, true] {
        let source = Source::new(encrypted);
        let before = content(&source.disk);
        let (from, remote) = (source.open(), Remote::new(&source.store));
        let to = remote.open();
        let there = moved(&from, &to).unwrap();
        assert_eq!(there.chunks, source.kept.len() as u64);
        assert_eq!(there.facts, source.facts().len() as u64);
        assert_eq!((there.chunks_before, there.facts_before, there.sent_again), (0, 0, 0));
        assert_eq!((there.spare, there.left.len()), (0, 0));
        drop((from, to));
        assert_eq!(content(&source.disk), before, "what is moved is not changed");
        // With an index that follows what was moved, as any copy does.
        let again = remote.open().whole().unwrap();
        source.is_in(&again, "there");

        let (disk, index) = (source.store.disk(), Arc::new(MemoryIndex::new()));
        let back = source.store.open(&disk, &index).unwrap();
        let home = moved(&again, &back).unwrap();
        assert_eq!(
            (home.digest, home.chunks, home.facts),
            (there.digest, there.chunks, there.facts)
        );
        drop(back);
        let audited = source.store.audit(Arc::new(disk.clone())).unwrap();
        assert_eq!((audited.damage, audited.torn), (vec![], vec![]));
        for index in [index, Arc::new(MemoryIndex::new())] {
            let back = source.store.open(&disk.fork(), &index).unwrap().whole().unwrap();
            source.is_in(&back, "back");
            // It is a store like any other: what was moved can be added to, and collected.
            let more = chunk(999, 300);
            Entry::new(9_990, 1, vec![more.clone()]).commit(&back).unwrap();
            assert_eq!(reads(&back, &more), Ok(true));
        }
    }
}

/// The records themselves, not only what is in them.
#[test]
fn records_are_the_same_but_for_their_sequence() {
    let source = Source::new(true);
    let (from, remote) = (source.open(), Remote::new(&source.store));
    let to = remote.open();
    moved(&from, &to).unwrap();
    let (disk, index) = (source.store.disk(), Arc::new(MemoryIndex::new()));
    let back = source.store.open(&disk, &index).unwrap();
    moved(&to, &back).unwrap();
    drop((from, back));
    // A payload is encrypted under a nonce of its own, so equal payloads are moved ones.
    let payloads = |disk: &SimulatedDisk| files(disk).into_values().flatten().collect::<Vec<u8>>();
    let (here, there) = (payloads(&source.disk), payloads(&disk));
    for bytes in &source.kept {
        let name = source.store.cipher.chunk_name(&id_of(bytes));
        let placement = chunk_rows::placement(source.index.as_ref(), &name).unwrap().unwrap();
        let path = format!("chunks/{:08}.seg", placement.unit);
        let file = files(&source.disk).remove(&path);
        let Some(file) = file else { continue };
        let begin = placement.offset as usize + 128;
        let payload = &file[begin..begin + placement.stored_length as usize];
        assert!(there.windows(payload.len()).any(|window| window == payload));
        assert!(here.windows(payload.len()).any(|window| window == payload));
    }
}

#[test]
fn what_is_counted_beforehand_is_what_moves() {
    let source = Source::new(false);
    let (from, remote) = (source.open(), Remote::new(&source.store));
    let to = remote.open();
    let before = Move::new(&from, &to).survey().unwrap();
    assert!(to.is_unused().unwrap(), "counting writes nothing");
    let done = moved(&from, &to).unwrap();
    assert_eq!((before.chunks, before.chunk_bytes), (done.chunks, done.chunk_bytes));
    assert_eq!((before.chunks_there, before.bytes_there), (0, 0));
    assert!(before.log_bytes > 0);
    let after = Move::new(&from, &to).survey().unwrap();
    assert_eq!((after.chunks_there, after.bytes_there), (done.chunks, done.chunk_bytes));
}

#[test]
fn one_that_is_stopped_at_any_step_goes_on_and_nobody_uses_it_meanwhile() {
    let source = Source::new(false);
    let mut stopped = 0;
    for good in 0.. {
        let (from, remote) = (source.open(), Remote::new(&source.store));
        let to = remote.open();
        let (mut steps, mut comparing) = (0, false);
        let outcome = Move::new(&from, &to).run(&mut |stage, _, _| {
            steps += 1;
            comparing = stage == Stage::Comparing;
            steps <= good
        });
        drop(to);
        if let Ok(done) = outcome {
            assert!(comparing && done.chunks == source.kept.len() as u64);
            break;
        }
        stopped += 1;
        assert!(matches!(outcome, Err(MoveError::Store(StoreError::Stopped))), "{outcome:?}");
        let refused = remote.open().whole().err().unwrap().to_string();
        assert!(refused.contains("run `lucid migrate` again"), "{refused}");
        let to = remote.open();
        let done = moved(&from, &to).unwrap();
        assert_eq!(done.chunks, source.kept.len() as u64);
        assert!(good == 0 || done.chunks_before > 0);
        source.is_in(&remote.open().whole().unwrap(), &format!("stopped after {good}"));
    }
    assert!(stopped > 4, "{stopped}");
}

/// Every commit there fails in turn, in each way.
#[test]
fn a_log_that_fails_at_any_commit_loses_and_doubles_nothing() {
    let source = Source::new(false);
    for ending in [Ending::Refused, Ending::Unheard, Ending::Lost] {
        let mut failed = 0;
        for step in 0..40 {
            let (from, remote) = (source.open(), Remote::new(&source.store));
            let to = remote.open();
            let mut steps = 0;
            let outcome = Move::new(&from, &to).run(&mut |_, _, _| {
                if steps == step {
                    remote.log.end_next(ending);
                }
                steps += 1;
                true
            });
            drop(to);
            failed += usize::from(outcome.is_err());
            // One that was asked for and not met would fail the next.
            while moved(&from, &remote.open()).is_err() {}
            let whole = remote.open().whole().unwrap();
            source.is_in(&whole, &format!("{ending:?} at step {step}"));
            assert_eq!(
                Move::new(&whole, &remote.open()).survey().unwrap().chunks,
                source.kept.len() as u64
            );
        }
        assert!(failed > 3, "{ending:?} {failed}");
    }
}

/// Every call of the index there fails in turn.
#[test]
fn an_index_that_fails_at_any_call_leaves_a_move_that_goes_on() {
    let source = Source::new(false);
    let mut failed = 0;
    for good in (0..).step_by(7) {
        let (from, remote) = (source.open(), Remote::new(&source.store));
        let faults = Arc::new(IndexFaults::default());
        let index = Arc::new(faults.over(Arc::new(MemoryIndex::new())));
        let Ok(to) = remote.open_over(index) else { continue };
        faults.fail(good, 1);
        let outcome = moved(&from, &to);
        drop(to);
        let done = moved(&from, &remote.open()).unwrap();
        assert_eq!(done.chunks, source.kept.len() as u64);
        source.is_in(&remote.open().whole().unwrap(), &format!("call {good}"));
        if outcome.is_ok() {
            break;
        }
        failed += 1;
    }
    assert!(failed > 10, "{failed}");
}

/// The machine that it moves to loses its power behind every call in turn.
#[test]
fn a_power_cut_behind_any_call_costs_nothing_but_time() {
    let source = Source::new(false);
    let (disk, from) = (source.store.disk(), source.open());
    let begun = disk.calls();
    let to = source.store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    let digest = moved(&from, &to).unwrap().digest;
    drop(to);
    for calls in begun..=disk.calls() {
        for cut in [disk.after_power_cut(calls, calls as u64), disk.after_kill(calls)] {
            let index = Arc::new(MemoryIndex::new());
            let to = source.store.open(&cut, &index).unwrap();
            let done = moved(&from, &to).unwrap();
            assert_eq!(done.digest, digest, "{calls}");
            drop(to);
            let audited = source.store.audit(Arc::new(cut.clone())).unwrap();
            assert_eq!(audited.damage, [], "{calls}");
            let fresh = Arc::new(MemoryIndex::new());
            let whole = source.store.open(&cut, &fresh).unwrap().whole().unwrap();
            source.is_in(&whole, &format!("call {calls}"));
        }
    }
}

/// Every kind of call of the disk that it moves to is refused in turn.
#[test]
fn a_disk_that_fails_at_any_call_leaves_a_move_that_goes_on() {
    let source = Source::new(false);
    let before = content(&source.disk);
    let mut failed = 0;
    let calls = [Call::Create, Call::Open, Call::List, Call::Read, Call::Append, Call::Sync];
    for call in calls {
        for errno in [Errno::IO, Errno::NOSPC] {
            for good in (0..60).step_by(3) {
                let (from, disk) = (source.open(), source.store.disk());
                let faulty = FaultyDisk::over(Arc::new(disk.clone()));
                let open = |disk: Arc<dyn Disk>| {
                    source.store.open_on(disk, Arc::new(MemoryIndex::new()), SMALL, false)
                };
                let to = open(Arc::new(faulty.clone())).unwrap();
                faulty.refuse(call, "", errno, good, 1);
                let outcome = moved(&from, &to);
                drop(to);
                faulty.repair();
                failed += usize::from(outcome.is_err());
                let to = open(Arc::new(disk.clone())).unwrap();
                moved(&from, &to).unwrap_or_else(|why| panic!("{call:?} {errno} {good}: {why}"));
                drop(to);
                let whole = open(Arc::new(disk.clone())).unwrap().whole().unwrap();
                source.is_in(&whole, &format!("{call:?} {errno} after {good}"));
            }
        }
    }
    assert!(failed > 20, "{failed}");
    assert_eq!(content(&source.disk), before);
}

#[test]
fn what_holds_something_else_is_not_written_to() {
    let source = Source::new(false);
    let (from, remote) = (source.open(), Remote::new(&source.store));
    let other = remote.open();
    Entry::new(5, 1, vec![]).commit(&other).unwrap();
    let commits = remote.log.commits();
    assert!(matches!(moved(&from, &other), Err(MoveError::NotEmpty)));
    drop(other);

    // Nor one that was moved to and is in use since.
    let used = Remote::new(&source.store);
    moved(&from, &used.open()).unwrap();
    let again = moved(&from, &used.open()).unwrap();
    assert_eq!(again.chunks_before, again.chunks);
    assert_eq!(again.facts_before, again.facts);
    Entry::new(5, 1, vec![]).commit(&used.open()).unwrap();
    assert!(matches!(moved(&from, &used.open()), Err(MoveError::NotEmpty)));
    assert_eq!(remote.log.commits(), commits);
}

/// Between two tries the store is used.
#[test]
fn what_was_stored_meanwhile_follows_and_what_was_dropped_is_spare() {
    let mut source = Source::new(false);
    let (vault, remote) = (source.open(), Remote::new(&source.store));
    let mut steps = 0;
    let stopped = Move::new(&vault, &remote.open()).run(&mut |stage, _, _| {
        steps += 1;
        stage == Stage::Copying
    });
    assert!(stopped.is_err() && steps > 3);
    let more = chunk(500, 350);
    Entry::new(5_000, 3, vec![more.clone()]).commit(&vault).unwrap();
    drop(vault);
    source.kept.push(more);
    let vault = source.open();
    let mut live = Names::default();
    let dropped = source.kept.remove(0);
    source.kept.iter().for_each(|bytes| live.add(&vault.cipher().chunk_name(&id_of(bytes))));
    live.settle();
    let collection = vault.begin_collection().unwrap();
    assert_eq!(
        collection.run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap().chunks_removed,
        1
    );
    drop(collection);
    let done = moved(&vault, &remote.open()).unwrap();
    assert_eq!((done.spare, done.chunks), (1, source.kept.len() as u64));
    assert_eq!(done.facts, done.facts_before + 3);
    let whole = remote.open().whole().unwrap();
    assert_eq!(reads(&whole, &dropped), Ok(true));
    source.is_in(&whole, "meanwhile");

    // Facts that came and do not matter any more cannot be taken back: that is said, and nothing is added.
    let stopped = Remote::new(&source.store);
    let outcome =
        Move::new(&vault, &stopped.open()).run(&mut |stage, _, _| stage == Stage::Copying);
    assert!(outcome.is_err());
    let condense = |vault: &Vault| {
        let collection = vault.begin_collection().unwrap();
        collection.condense(&|fact| Ok(fact[4] % 20 == 0), &mut |_, _| true).unwrap()
    };
    assert!(condense(&vault).facts_removed > 0);
    let refused = moved(&vault, &stopped.open()).unwrap_err();
    assert!(matches!(refused, MoveError::Condensed(_)), "{refused}");
    assert!(stopped.open().whole().is_err());
}

#[test]
fn damage_is_named_and_left_behind_only_where_that_is_asked_for() {
    let source = Source::new(true);
    let broken = &source.kept[source.kept.len() - 2];
    let name = source.store.cipher.chunk_name(&id_of(broken));
    let placement = chunk_rows::placement(source.index.as_ref(), &name).unwrap().unwrap();
    let path = format!("chunks/{:08}.seg", placement.unit);
    assert!(source.disk.flip(&path, placement.offset as usize + 140));
    let (from, remote) = (source.open(), Remote::new(&source.store));
    let refused = moved(&from, &remote.open()).unwrap_err();
    let MoveError::Damaged(places) = &refused else { panic!("{refused}") };
    assert_eq!(places.len(), 1);
    assert_eq!((places[0].file.as_str(), places[0].offset), (path.as_str(), placement.offset));
    let text = refused.to_string();
    assert!(text.starts_with("1 place is damaged") && text.contains("--accept-loss"), "{text}");
    assert_eq!(
        facts_of(remote.open().index()),
        [[0_u8; 0]; 0],
        "no fact moves before that is said"
    );

    let to = remote.open();
    let done = Move::new(&from, &to).accepting_loss(true).run(&mut |_, _, _| true).unwrap();
    assert_eq!((done.left, done.chunks), (places.clone(), source.kept.len() as u64 - 1));
    let whole = remote.open().whole().unwrap();
    assert_eq!(reads(&whole, broken), Ok(false));
    assert_eq!(facts_of(whole.index()), source.facts());
    // The same content sent again heals it.
    Entry::new(1, 0, vec![broken.clone()]).commit(&whole).unwrap();
    assert_eq!(reads(&whole, broken), Ok(true));
}

/// A move finds the place of a unit that is away, too, though nothing can be listed there.
#[test]
fn a_unit_that_is_away_is_named_chunk_by_chunk() {
    let source = Source::new(false);
    let unit = source.kept.iter().map(|bytes| {
        let name = source.store.cipher.chunk_name(&id_of(bytes));
        chunk_rows::placement(source.index.as_ref(), &name).unwrap().unwrap().unit
    });
    // Not one that was made of others, whose file is called otherwise.
    let unit = unit.filter(|unit| unit >> 31 == 0).max().unwrap();
    source.disk.unlink(&format!("chunks/{unit:08}.seg")).unwrap();
    let (from, remote) = (source.open(), Remote::new(&source.store));
    let refused = moved(&from, &remote.open()).unwrap_err();
    let MoveError::Damaged(places) = refused else { panic!("{refused}") };
    assert!(!places.is_empty());
}

/// What reads wrongly where it went is sent again; what was found damaged before and is sound moves as sound.
#[test]
fn a_copy_that_reads_wrongly_there_is_sent_again() {
    let source = Source::new(false);
    let (from, disk) = (source.open(), source.store.disk());
    let to = source.store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    let mut flipped = false;
    let done = Move::new(&from, &to).run(&mut |stage, _, _| {
        if stage == Stage::Comparing || flipped {
            return true;
        }
        let name = to.cipher().chunk_name(&id_of(&source.kept[0]));
        if let Some(at) = chunk_rows::placement(to.index(), &name).unwrap() {
            flipped = disk.flip(&format!("chunks/{:08}.seg", at.unit), at.offset as usize + 130);
        }
        true
    });
    assert!(flipped);
    assert_eq!(done.unwrap().sent_again, 1);
    assert_eq!(reads(&to, &source.kept[0]), Ok(true));
}

/// Another process that writes where it goes would come between the facts.
#[test]
fn a_writer_beside_a_move_ends_it() {
    let source = Source::new(false);
    let (from, remote) = (source.open(), Remote::new(&source.store));
    let to = remote.open();
    let fact = to.fact(&mut Packer::new(), crate::bench::fact(77, &[])).unwrap().record;
    let mut steps = 0;
    let outcome = Move::new(&from, &to).run(&mut |_, _, _| {
        steps += 1;
        if steps == 1 {
            remote.log.be_faster(vec![fact.clone()]);
        }
        true
    });
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(remote.open().whole().is_err());
}

#[test]
fn a_store_without_anything_moves_too() {
    let store = Store::new(true);
    let (disk, remote) = (store.disk(), Remote::new(&store));
    let from = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    let done = moved(&from, &remote.open()).unwrap();
    assert_eq!((done.chunks, done.facts), (0, 0));
    let whole = remote.open().whole().unwrap();
    let bytes = chunk(1, 100);
    Entry::new(1, 1, vec![bytes.clone()]).commit(&whole).unwrap();
    assert_eq!(reads(&whole, &bytes), Ok(true));
    let submission = Submission::default();
    whole.commit(submission).unwrap();
    assert_eq!(facts_of(index_of(&BTreeMap::new()).as_ref()), [[0_u8; 0]; 0]);
}
