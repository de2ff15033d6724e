//! What every back-end must do: one suite, run for each of them.
//!
//! In one file because it is one suite, whose tests share a model of a chain.

use std::sync::Arc;
use std::time::Duration;

use lucid_core::block::{Block, Parent};
use lucid_core::record::{BlockRecord, encode_body};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{Transaction, id_digest};
use lucid_core::validate::{Context, Mode, ValidBlock, validate};
use proptest::prelude::*;
use rustix::io::Errno;

use crate::contract::chain::*;
use crate::files::chain::{rows, *};
use crate::files::disk::Disk;
use crate::files::disk::faulty::{Call, FaultyDisk};
use crate::files::disk::simulated::SimulatedDisk;
use crate::measured::MeasuredChain;
use crate::memory::chain::ChainMemory;
use crate::memory::faulty::IndexFaults;
use crate::memory::index::MemoryIndex;

pub(crate) const STORE: [u8; 16] = [7; 16];

pub(crate) fn parts(disk: &SimulatedDisk) -> ChainParts {
    parts_on(Arc::new(disk.clone()))
}

/// A disk on which every call takes its time and no read gives all that was asked for.
fn slow_disk() -> Arc<dyn Disk> {
    let disk = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
    disk.shorten_reads(401);
    disk.delay(Duration::from_micros(1));
    Arc::new(disk)
}

fn parts_on(disk: Arc<dyn Disk>) -> ChainParts {
    ChainParts {
        disk,
        store: STORE,
        index: Arc::new(MemoryIndex::new()),
        // Two or three blocks a file, so that every test crosses files.
        file_bytes_max: 1_500,
        accept_loss: false,
    }
}

/// The next block on top of another, with so many transactions named after `salt`.
pub(crate) fn next(parent: Option<&Block>, count: usize, salt: u64) -> ValidBlock {
    let height = parent.map_or(0, |parent| parent.index + 1);
    let texts = (0..count).map(|n| {
        let kind = if n % 2 == 0 { "session_anchor" } else { "data_storage" };
        format!(r#"{{"id":"t-{height}-{salt}-{n}","type":"{kind}"}}"#)
    });
    next_of(parent, texts)
}

/// The next block on top of another, with these transactions.
pub(crate) fn next_of(parent: Option<&Block>, texts: impl Iterator<Item = String>) -> ValidBlock {
    let parent: Option<Parent> = parent.map(|block| block.as_parent().unwrap());
    let height = parent.map_or(0, |parent| parent.index + 1);
    let now = Timestamp::from_micros(1_800_000_000_000_000 + i64::try_from(height).unwrap());
    let transactions =
        texts.map(|text| Transaction::parse(text.as_bytes()).unwrap()).collect::<Vec<_>>();
    let block = Block::build(parent.as_ref(), transactions, now, &SigningKey::from_seed([3; 32]));
    let context = Context {
        parent,
        genesis: None,
        now,
        mode: Mode::Candidate,
        chained: &|_| false,
        producer: Default::default(),
    };
    validate(block.into(), &context).block.unwrap()
}

pub(crate) fn chain_of(counts: &[usize]) -> Vec<ValidBlock> {
    let mut blocks: Vec<ValidBlock> = Vec::new();
    for count in counts {
        let block = next(blocks.last().map(|block| &**block), *count, 0);
        blocks.push(block);
    }
    blocks
}

/// Everything from a height on.
pub(crate) fn all_from(from: u64) -> Stretch {
    Stretch { from, blocks: usize::MAX, bytes: usize::MAX }
}

/// Asserts that the chain holds exactly these blocks, by every way of asking. Bodies that may have been
/// pruned are right or gone.
pub(crate) fn assert_holds(chain: &dyn ChainStore, blocks: &[ValidBlock]) {
    let tip = blocks.last().map(|block| Tip { height: block.index, hash: block.hash });
    assert_eq!(chain.tip().unwrap(), tip);
    let (mut transactions_before, mut bytes_before) = (0, 0);
    let mut records = Vec::new();
    for block in blocks {
        let may_be_gone = 0 < block.index && block.index < chain.pruned_below();
        match chain.block(block.index).unwrap().unwrap() {
            KeptBlock::Whole(found) => assert_eq!(found, **block),
            KeptBlock::Pruned(_) => assert!(may_be_gone, "{}", block.index),
        }
        let stored = chain.record(block.index).unwrap().unwrap();
        let size_bytes = block.size_bytes() as u64;
        let record = BlockRecord::of(block);
        assert_eq!(stored, StoredRecord { record, size_bytes, transactions_before, bytes_before });
        records.push(stored);
        transactions_before += block.transactions.len() as u64;
        bytes_before += size_bytes;
        assert_eq!(chain.height_of(&block.hash).unwrap(), Some(block.index));
        for (position, transaction) in (0..).zip(&block.transactions) {
            let place = TransactionPlace { height: block.index, position };
            assert_eq!(chain.find(&transaction.id_digest()).unwrap(), Some(place));
        }
    }
    let below = usize::try_from(chain.pruned_below()).unwrap();
    for from in [0, below.saturating_sub(1), blocks.len() / 2, blocks.len()] {
        let stretch = all_from(from as u64);
        assert_eq!(chain.records(stretch).unwrap(), records[from..]);
        let bytes: Vec<_> = records[from..].iter().map(|stored| stored.record.encode()).collect();
        assert_eq!(chain.record_bytes(stretch).unwrap(), bytes);
        let bodies = chain.body_bytes(stretch).unwrap();
        assert_eq!(bodies.len(), blocks.len() - from);
        for (block, body) in blocks[from..].iter().zip(bodies) {
            let body = body.here().unwrap_or_else(|| {
                assert!(0 < block.index && block.index < chain.pruned_below());
                encode_body(&block.transactions)
            });
            assert_eq!(body, encode_body(&block.transactions));
        }
    }
    let next = blocks.len() as u64;
    assert!(chain.record(next).unwrap().is_none());
    assert!(chain.body(next).unwrap().is_none());
    assert_eq!(chain.height_of(&BlockHash::new([9; 32])).unwrap(), None);
    assert!(!chain.contains(&id_digest("nobody")).unwrap());
}

fn every_back_end(test: impl Fn(&dyn Fn() -> Box<dyn ChainStore>)) {
    test(&|| Box::new(ChainMemory::new()));
    test(&|| Box::new(MeasuredChain::over(Box::new(ChainMemory::new()))));
    test(&|| Box::new(ChainFiles::open(parts(&SimulatedDisk::new())).unwrap()));
    test(&|| Box::new(ChainFiles::open(parts_on(slow_disk())).unwrap()));
    #[cfg(feature = "mongodb")]
    crate::mongo::servers::every_database(&|_, database| {
        test(&|| Box::new(database.chain().unwrap()));
    });
}

#[test]
fn an_empty_chain_has_nothing() {
    every_back_end(|make| assert_holds(make().as_ref(), &[]));
}

#[test]
fn what_was_appended_is_found_by_every_way_of_asking() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[0, 3, 1, 0, 5, 2, 2, 8, 1]));
        for (count, block) in blocks.iter().enumerate() {
            assert_eq!(chain.append(block).unwrap(), AppendedBlock::Stored);
            assert_holds(chain.as_ref(), &blocks[..=count]);
        }
        assert!(chain.read_only().is_none() && chain.damage().is_empty());
    });
}

#[test]
fn the_anchors_of_a_session_are_found_before_and_after_pruning() {
    every_back_end(|open| {
        let chain = open();
        let mut blocks: Vec<ValidBlock> = Vec::new();
        for height in 0..20 {
            let kinds = ["session_anchor", "data_storage", "session_tombstone", "session_anchor"];
            let texts = (0..).zip(kinds).map(|(n, kind)| {
                let session = (height + n) % 5;
                format!(r#"{{"id":"{height}-{n}","type":"{kind}","session_id":"s-{session}"}}"#)
            });
            blocks.push(next_of(blocks.last().map(|block| &**block), texts));
        }
        chain.append_run(&blocks).unwrap();
        let places = |session: u64| -> Vec<TransactionPlace> {
            let anchors = (0..20).flat_map(|height| [(height, 0), (height, 3)]);
            anchors
                .filter(|(height, n)| (height + u64::from(*n)) % 5 == session)
                .map(|(height, position)| TransactionPlace { height, position })
                .collect()
        };
        let assert_found = |chain: &dyn ChainStore| {
            for session in 0..5 {
                let (name, all) = (format!("s-{session}"), places(session));
                assert_eq!(chain.anchors_of(&name, None).unwrap(), all, "{session}");
                assert_eq!(chain.anchors_of(&name, Some(all[2])).unwrap(), all[3..]);
                assert!(chain.anchors_of(&name, all.last().copied()).unwrap().is_empty());
            }
            assert!(chain.anchors_of("s-", None).unwrap().is_empty());
        };
        assert_found(chain.as_ref());
        chain.prune(10).unwrap();
        assert_found(chain.as_ref());
    });
}

#[test]
fn a_height_is_decided_once() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[1, 2, 3]));
        assert_eq!(chain.append(&blocks[1]).unwrap(), AppendedBlock::NotNext { next: 0 });
        chain.append(&blocks[0]).unwrap();
        chain.append(&blocks[1]).unwrap();
        assert_eq!(chain.append(&blocks[1]).unwrap(), AppendedBlock::Known);
        let rival = next(Some(&blocks[0]), 1, 99);
        let taken = AppendedBlock::HeightTaken { hash: blocks[1].hash };
        assert_eq!(chain.append(&rival).unwrap(), taken);
        let stray = next(Some(&rival), 1, 99);
        let wrong = AppendedBlock::WrongParent { tip: blocks[1].hash };
        assert_eq!(chain.append(&stray).unwrap(), wrong);
        assert_holds(chain.as_ref(), &blocks[..2]);
    });
}

#[test]
fn a_run_is_stored_whole_and_what_is_known_of_it_is_passed_over() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[0, 3, 1, 0, 5, 2, 2, 8, 1]));
        assert_eq!(chain.append_run(&[]).unwrap(), StoredRun { stored: 0, stopped: None });
        assert_eq!(chain.append_run(&blocks[..3]).unwrap(), StoredRun { stored: 3, stopped: None });
        assert_holds(chain.as_ref(), &blocks[..3]);
        assert_eq!(chain.append_run(&blocks).unwrap(), StoredRun { stored: 6, stopped: None });
        assert_eq!(chain.append_run(&blocks).unwrap(), StoredRun { stored: 0, stopped: None });
        assert_holds(chain.as_ref(), &blocks);
    });
}

#[test]
fn a_block_that_comes_twice_in_a_run_is_stored_once_and_ends_nothing() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[1, 2, 3]));
        let [first, second, third] = &blocks[..] else { panic!("three blocks") };
        let twice = [first.clone(), first.clone()];
        assert_eq!(chain.append_run(&twice).unwrap(), StoredRun { stored: 1, stopped: None });
        let mixed = [second, second, first, third, second].map(Clone::clone);
        assert_eq!(chain.append_run(&mixed).unwrap(), StoredRun { stored: 2, stopped: None });
        assert_holds(chain.as_ref(), &blocks);
    });
}

#[test]
fn a_run_ends_before_a_block_that_does_not_follow() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[1, 2, 3, 1]));
        let stopped = |run: &[ValidBlock]| chain.append_run(run).unwrap();
        let ahead = Some(AppendedBlock::NotNext { next: 0 });
        assert_eq!(stopped(&blocks[1..]), StoredRun { stored: 0, stopped: ahead });
        let gap = [blocks[0].clone(), blocks[1].clone(), blocks[3].clone()];
        let missing = Some(AppendedBlock::NotNext { next: 2 });
        assert_eq!(stopped(&gap), StoredRun { stored: 2, stopped: missing });
        let rival = next(Some(&blocks[0]), 1, 99);
        let stray = [blocks[2].clone(), next(Some(&rival), 1, 99)];
        let taken = Some(AppendedBlock::HeightTaken { hash: blocks[2].hash });
        assert_eq!(stopped(&stray), StoredRun { stored: 1, stopped: taken });
        assert_holds(chain.as_ref(), &blocks[..3]);
    });
}

#[test]
fn a_stretch_ends_with_the_blocks_or_the_bytes_that_were_asked_for() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[2; 12]));
        chain.append_run(&blocks).unwrap();
        let count = |blocks, bytes| {
            let stretch = Stretch { from: 3, blocks, bytes };
            let records = chain.records(stretch).unwrap().len();
            assert_eq!(chain.record_bytes(stretch).unwrap().len(), records);
            records
        };
        assert_eq!(count(0, 1_000_000), 0);
        assert_eq!(count(4, 1_000_000), 4);
        assert_eq!(count(100, 1_000_000), 9);
        assert_eq!(count(100, 0), 1);
        let some = count(100, 1_500);
        assert!((2..5).contains(&some), "{some}");
    });
}

#[test]
fn pruned_bodies_are_gone_and_everything_else_is_there() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[1; 30]));
        chain.append_run(&blocks).unwrap();
        assert_eq!(chain.pruned_below(), 0);
        assert_eq!(chain.prune(0).unwrap(), Pruning::default());
        for keep_from in [12, 5, 25] {
            let pruning = chain.prune(keep_from).unwrap();
            assert!(chain.pruned_below() <= 25 && pruning.spared.is_empty(), "{pruning:?}");
            assert_eq!(keep_from == 5, pruning.blocks == 0, "{keep_from}: {pruning:?}");
            assert_holds(chain.as_ref(), &blocks);
        }
        let gone = |height| chain.body(height).unwrap() == Some(Body::Pruned);
        assert!(!gone(0) && gone(1) && gone(20) && (25..30).all(|height| !gone(height)));
        let more = next(blocks.last().map(|block| &**block), 2, 0);
        assert_eq!(chain.append(&more).unwrap(), AppendedBlock::Stored);
        let again = next(Some(&more), 1, 0);
        assert_eq!(chain.append(&again).unwrap(), AppendedBlock::Stored);
        assert_holds(chain.as_ref(), &[blocks, vec![more, again]].concat());
    });
}

#[test]
fn a_pruned_chain_is_the_same_with_its_index_and_without() {
    let disk = SimulatedDisk::new();
    let kept = parts(&disk);
    let blocks = chain_of(&[2; 20]);
    let chain = ChainFiles::open(kept.clone()).unwrap();
    chain.append_run(&blocks).unwrap();
    let pruning = chain.prune(15).unwrap();
    assert!(pruning.files > 1 && pruning.blocks > 10, "{pruning:?}");
    let below = chain.pruned_below();
    drop(chain);
    for parts in [kept, parts(&disk)] {
        let chain = ChainFiles::open(parts).unwrap();
        assert!(chain.damage().is_empty(), "{:?}", chain.damage());
        assert_eq!(chain.pruned_below(), below);
        assert_eq!(chain.body(3).unwrap(), Some(Body::Pruned));
        assert_holds(&chain, &blocks);
    }
    assert_eq!(audit::audit(&disk, STORE).unwrap(), []);
}

#[test]
fn of_many_rivals_one_is_stored_and_all_learn_which() {
    every_back_end(|make| {
        let chain = make();
        let chain = chain.as_ref();
        let rivals: Vec<ValidBlock> = (0..8).map(|salt| next(None, 1, salt)).collect();
        let outcomes: Vec<AppendedBlock> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                rivals.iter().map(|rival| scope.spawn(|| chain.append(rival).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let tip = chain.tip().unwrap().unwrap().hash;
        let stored = outcomes.iter().filter(|outcome| **outcome == AppendedBlock::Stored).count();
        assert_eq!(stored, 1);
        let lost = AppendedBlock::HeightTaken { hash: tip };
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), 7);
    });
}

#[test]
fn a_reopened_chain_is_the_same_with_its_index_and_without() {
    let disk = SimulatedDisk::new();
    let mut kept = parts(&disk);
    let blocks = chain_of(&[2, 0, 4, 1, 3, 3, 3]);
    for (count, block) in blocks.iter().enumerate() {
        let chain = ChainFiles::open(kept.clone()).unwrap();
        chain.append(block).unwrap();
        if count % 3 == 2 {
            kept = parts(&disk);
        }
        assert_holds(&ChainFiles::open(kept.clone()).unwrap(), &blocks[..=count]);
        let rebuilt = parts(&disk);
        assert_holds(&ChainFiles::open(rebuilt.clone()).unwrap(), &blocks[..=count]);
    }
    assert_eq!(audit::audit(&disk, STORE).unwrap(), []);
}

#[test]
fn an_index_of_another_chain_is_refused() {
    let (disk, other) = (SimulatedDisk::new(), SimulatedDisk::new());
    let kept = parts(&disk);
    ChainFiles::open(kept.clone()).unwrap().append(&next(None, 1, 1)).unwrap();
    ChainFiles::open(parts(&other)).unwrap().append(&next(None, 1, 2)).unwrap();
    let mixed = ChainParts { disk: Arc::new(other), ..kept };
    let refused = ChainFiles::open(mixed).err().unwrap().to_string();
    assert!(refused.contains("lucid reindex"), "{refused}");
}

#[test]
fn a_full_disk_loses_nothing_and_the_blocks_are_stored_later() {
    let disk = SimulatedDisk::new();
    let chain = ChainFiles::open(parts(&disk)).unwrap();
    let blocks = chain_of(&[2, 2, 2, 2, 2, 2]);
    chain.append(&blocks[0]).unwrap();
    for space in (0..9_000).step_by(97) {
        disk.set_space(Some(space));
        match chain.append_run(&blocks[1..]) {
            Ok(run) => {
                assert_eq!(run, StoredRun { stored: 5, stopped: None });
                break;
            }
            Err(error) => {
                assert!(matches!(error, CommitError::Full(_)), "{space}: {error}");
                assert_holds(&chain, &blocks[..1]);
            }
        }
    }
    disk.set_space(None);
    assert_holds(&chain, &blocks);
    assert_holds(&ChainFiles::open(parts(&disk)).unwrap(), &blocks);
    assert_eq!(audit::audit(&disk, STORE).unwrap(), []);
}

#[test]
fn a_sync_that_fails_takes_the_run_back_and_a_later_one_goes_on() {
    for good in 0..12 {
        for bad in 1..3 {
            let disk = SimulatedDisk::new();
            let chain = ChainFiles::open(parts(&disk)).unwrap();
            let blocks = chain_of(&[2; 7]);
            chain.append_run(&blocks[..2]).unwrap();
            disk.fail_syncs(good, bad);
            let outcome = chain.append_run(&blocks[2..]);
            disk.fail_syncs(usize::MAX, 0);
            let certain = outcome.as_ref().is_err_and(|error| !error.maybe_applied());
            if certain {
                assert_holds(&chain, &blocks[..2]);
                chain.append_run(&blocks).unwrap();
            }
            let after = disk.after_power_cut(disk.calls(), 3);
            let found = ChainFiles::open(parts(&after)).unwrap();
            let count = found.tip().unwrap().unwrap().height as usize + 1;
            assert_holds(&found, &blocks[..count]);
            assert!(count == 7 || outcome.is_err() && !certain, "{good} {bad} {count}");
        }
    }
}

/// How blocks were stored while something failed.
#[derive(Debug, PartialEq, Eq)]
enum Failing {
    /// Nothing of it was met.
    Unmet,
    /// One of them surely was not stored.
    Surely,
    /// One of them may have been.
    Perhaps,
}

/// Stores these blocks while something fails from the third on, until that is said: what is said is so, now and
/// at the next start, and what is there is whole.
fn store_while_it_fails(
    blocks: &[ValidBlock],
    disk: &SimulatedDisk,
    parts: ChainParts,
    fail: impl FnOnce(),
    repair: impl FnOnce(),
) -> Failing {
    let chain = ChainFiles::open(parts).unwrap();
    chain.append_run(&blocks[..2]).unwrap();
    fail();
    let (mut count, mut ended) = (2, Failing::Unmet);
    for block in &blocks[2..] {
        match chain.append(block) {
            Ok(stored) => assert_eq!(stored, AppendedBlock::Stored),
            Err(error) => {
                let maybe = error.maybe_applied();
                ended = if maybe { Failing::Perhaps } else { Failing::Surely };
                break;
            }
        }
        count += 1;
    }
    repair();
    if ended != Failing::Perhaps {
        assert_holds(&chain, &blocks[..count]);
    }
    let after = disk.after_kill(disk.calls());
    let found = ChainFiles::open(self::parts(&after)).unwrap();
    let height = found.tip().unwrap().unwrap().height as usize;
    let most = count + usize::from(ended == Failing::Perhaps);
    assert!((count..=most).contains(&(height + 1)), "{count} of {height}");
    found.append_run(&blocks[height + 1..]).unwrap();
    assert_holds(&found, blocks);
    assert_eq!(audit::audit(&after, STORE).unwrap(), []);
    ended
}

/// Every call of the disk fails, once or from there on.
#[test]
fn files_that_fail_say_what_happened() {
    use Call::{Append, Create, Name, Open, Read, Sync, Truncate};
    let (blocks, mut ends) = (chain_of(&[2; 5]), Vec::new());
    for call in [Create, Open, Read, Append, Truncate, Sync, Name] {
        for (good, times) in (0..7).flat_map(|good| [(good, 1), (good, usize::MAX)]) {
            for errno in [Errno::IO, Errno::NOSPC] {
                let simulated = SimulatedDisk::new();
                let disk = FaultyDisk::over(Arc::new(simulated.clone()));
                let parts = parts_on(Arc::new(disk.clone()));
                let fail = || disk.refuse(call, "", errno, good, times);
                ends.push(store_while_it_fails(&blocks, &simulated, parts, fail, || disk.repair()));
            }
        }
    }
    for ended in [Failing::Unmet, Failing::Surely, Failing::Perhaps] {
        assert!(ends.iter().filter(|one| **one == ended).count() > 10, "{ended:?}");
    }
}

/// Every call of the index fails, once or from there on.
#[test]
fn a_chain_whose_index_fails_says_what_happened() {
    let (blocks, mut ends) = (chain_of(&[2; 5]), Vec::new());
    for (good, times) in (0..4).flat_map(|good| [(good, 1), (good, usize::MAX)]) {
        let (disk, faults) = (SimulatedDisk::new(), Arc::new(IndexFaults::default()));
        let parts = ChainParts { index: Arc::new(faults.over(Arc::default())), ..parts(&disk) };
        let (fail, repair) = (|| faults.fail(good, times), || faults.repair());
        ends.push(store_while_it_fails(&blocks, &disk, parts, fail, repair));
    }
    // The block is durable before it has rows. Behind the three blocks there is nothing left to fail.
    let perhaps = ends.iter().take_while(|ended| **ended == Failing::Perhaps).count();
    assert_eq!((perhaps, ends.len()), (6, 8), "{ends:?}");
}

/// One step of the model test.
#[derive(Debug, Clone)]
enum Move {
    Append(usize),
    StoredRun(usize),
    Prune(u64),
    Rival(usize),
    Again(usize),
    Ahead,
    Reopen { keep_index: bool },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        4 => (0_usize..6).prop_map(Move::Append),
        2 => (0_usize..9).prop_map(Move::StoredRun),
        1 => (0_u64..20).prop_map(Move::Prune),
        1 => (0_usize..9).prop_map(Move::Rival),
        1 => (0_usize..9).prop_map(Move::Again),
        1 => Just(Move::Ahead),
        2 => any::<bool>().prop_map(|keep_index| Move::Reopen { keep_index }),
    ];
    prop::collection::vec(step, 1..24)
}

fn follow_model(
    mut chain: Box<dyn ChainStore>,
    steps: Vec<Move>,
    reopen: &dyn Fn(Box<dyn ChainStore>, bool) -> Box<dyn ChainStore>,
) {
    let mut model: Vec<ValidBlock> = Vec::new();
    for step in steps {
        match step {
            Move::Append(count) => {
                let block = next(model.last().map(|block| &**block), count, 0);
                assert_eq!(chain.append(&block).unwrap(), AppendedBlock::Stored);
                model.push(block);
            }
            Move::StoredRun(count) => {
                for salt in 0..count {
                    let block = next(model.last().map(|block| &**block), salt % 4, 0);
                    model.push(block);
                }
                // What is known at its front is passed over.
                let known = model.len().saturating_sub(count + 2);
                let run = chain.append_run(&model[known..]).unwrap();
                assert_eq!(run, StoredRun { stored: count, stopped: None });
            }
            Move::Prune(keep_from) => {
                chain.prune(keep_from).unwrap();
                assert!(chain.pruned_below() <= keep_from.max(chain.pruned_below()));
            }
            Move::Rival(at) => {
                let Some(taken) = model.get(at) else { continue };
                let parent = at.checked_sub(1).map(|below| &*model[below]);
                let expected = AppendedBlock::HeightTaken { hash: taken.hash };
                assert_eq!(chain.append(&next(parent, 1, 5)).unwrap(), expected);
            }
            Move::Again(at) => {
                let Some(block) = model.get(at) else { continue };
                assert_eq!(chain.append(block).unwrap(), AppendedBlock::Known);
            }
            Move::Ahead => {
                let up = next(model.last().map(|block| &**block), 0, 1);
                let ahead = next(Some(&up), 0, 1);
                let expected = AppendedBlock::NotNext { next: model.len() as u64 };
                assert_eq!(chain.append(&ahead).unwrap(), expected);
            }
            Move::Reopen { keep_index } => chain = reopen(chain, keep_index),
        }
        assert_holds(chain.as_ref(), &model);
    }
}

/// Follows the model over a disk, opening the chain again with its index and without.
fn files_follow_model(disk: Arc<dyn Disk>, steps: Vec<Move>) {
    let kept = parts_on(disk);
    let chain = Box::new(ChainFiles::open(kept.clone()).unwrap());
    follow_model(chain, steps, &|chain, keep| {
        drop(chain);
        // An index that is made anew must not be mixed with the one kept until now.
        if !keep {
            rows::clear(kept.index.as_ref()).unwrap();
        }
        Box::new(ChainFiles::open(kept.clone()).unwrap())
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_back_end_follows_the_model(steps in moves()) {
        follow_model(Box::new(ChainMemory::new()), steps.clone(), &|chain, _| chain);
        files_follow_model(Arc::new(SimulatedDisk::new()), steps);
    }
}

#[cfg(feature = "mongodb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_database_follows_the_model(steps in moves()) {
        crate::mongo::servers::every_database(&|_, database| {
            let open = || Box::new(database.chain().unwrap());
            follow_model(open(), steps.clone(), &|_, _| open());
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slow_disk_that_reads_short_changes_nothing(mut steps in moves()) {
        steps.truncate(6);
        files_follow_model(slow_disk(), steps);
    }
}

#[test]
fn the_bytes_of_a_chain_never_change() {
    use crate::files::disk::read_all;

    let disk = SimulatedDisk::new();
    let chain = ChainFiles::open(parts(&disk)).unwrap();
    for block in chain_of(&[0, 2]) {
        chain.append(&block).unwrap();
    }
    let digest = |path: &str| {
        let bytes = read_all(&disk, path).unwrap().unwrap();
        format!("{} {}", bytes.len(), blake3::hash(&bytes).to_hex().get(..16).unwrap())
    };
    let names = ["00000001.blocks", "00000001.bodies", "00000002.bodies"];
    assert_eq!(disk.list(FOLDER).unwrap(), names);
    assert_eq!(digest("blocks/00000001.blocks"), "1473 fae0b4fb2bd8f3b6");
    assert_eq!(digest("blocks/00000002.bodies"), "415 61290a8e41389ca6");
    assert_eq!(digest("blocks/00000001.bodies"), "323 84591ac288313060");
    assert_eq!(digest(TIP), "116 719677bd3926f07f");
}
