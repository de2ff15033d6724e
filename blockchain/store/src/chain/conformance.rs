//! What every back-end must do: one suite, run for each of them.

use std::sync::Arc;

use lucid_core::block::{Block, Parent};
use lucid_core::record::BlockRecord;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{Transaction, id_digest};
use lucid_core::validate::{Context, Mode, ValidBlock, validate};
use proptest::prelude::*;

use super::*;
use crate::disk::simulated::SimulatedDisk;
use crate::index::memory::MemoryIndex;

pub(super) const STORE: [u8; 16] = [7; 16];

pub(super) fn parts(disk: &SimulatedDisk) -> ChainParts {
    ChainParts {
        disk: Arc::new(disk.clone()),
        store: STORE,
        index: Arc::new(MemoryIndex::new()),
        // Two or three blocks a file, so that every test crosses files.
        file_bytes_max: 1_500,
        accept_loss: false,
    }
}

/// The next block on top of another, with so many transactions named after `salt`.
pub(super) fn next(parent: Option<&Block>, count: usize, salt: u64) -> ValidBlock {
    let parent: Option<Parent> = parent.map(|block| block.as_parent().unwrap());
    let height = parent.map_or(0, |parent| parent.index + 1);
    let now = Timestamp::from_micros(1_800_000_000_000_000 + i64::try_from(height).unwrap());
    let transactions = (0..count)
        .map(|n| {
            let kind = if n % 2 == 0 { "session_anchor" } else { "data_storage" };
            let text = format!(r#"{{"id":"t-{height}-{salt}-{n}","type":"{kind}"}}"#);
            Transaction::parse(text.as_bytes()).unwrap()
        })
        .collect();
    let block = Block::build(parent.as_ref(), transactions, now, &SigningKey::from_seed([3; 32]));
    let context = Context {
        parent,
        genesis: None,
        now,
        mode: Mode::Candidate,
        chained: &|_| false,
        producer: None,
    };
    validate(block.into(), &context).block.unwrap()
}

pub(super) fn chain_of(counts: &[usize]) -> Vec<ValidBlock> {
    let mut blocks: Vec<ValidBlock> = Vec::new();
    for count in counts {
        let block = next(blocks.last().map(|block| &**block), *count, 0);
        blocks.push(block);
    }
    blocks
}

/// Asserts that the chain holds exactly these blocks, by every way of asking.
pub(super) fn assert_holds(chain: &dyn ChainStore, blocks: &[ValidBlock]) {
    let tip = blocks.last().map(|block| Tip { height: block.index, hash: block.hash });
    assert_eq!(chain.tip().unwrap(), tip);
    let mut before = 0;
    for block in blocks {
        assert_eq!(chain.block(block.index).unwrap().as_ref(), Some(&**block));
        let stored = chain.record(block.index).unwrap().unwrap();
        assert_eq!(stored.record, BlockRecord::of(block));
        assert_eq!(stored.size_bytes, block.size_bytes() as u64);
        assert_eq!(stored.transactions_before, before);
        before += block.transactions.len() as u64;
        assert_eq!(chain.height_of(&block.hash).unwrap(), Some(block.index));
        for (position, transaction) in (0..).zip(&block.transactions) {
            let place = Place { height: block.index, position };
            assert_eq!(chain.find(&transaction.id_digest()).unwrap(), Some(place));
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
    test(&|| Box::new(ChainFiles::open(parts(&SimulatedDisk::new())).unwrap()));
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
            assert_eq!(chain.append(block).unwrap(), Appended::Stored);
            assert_holds(chain.as_ref(), &blocks[..=count]);
        }
        assert!(chain.read_only().is_none() && chain.damage().is_empty());
    });
}

#[test]
fn a_height_is_decided_once() {
    every_back_end(|make| {
        let (chain, blocks) = (make(), chain_of(&[1, 2, 3]));
        assert_eq!(chain.append(&blocks[1]).unwrap(), Appended::NotNext { next: 0 });
        chain.append(&blocks[0]).unwrap();
        chain.append(&blocks[1]).unwrap();
        assert_eq!(chain.append(&blocks[1]).unwrap(), Appended::Known);
        let rival = next(Some(&blocks[0]), 1, 99);
        let taken = Appended::HeightTaken { hash: blocks[1].hash };
        assert_eq!(chain.append(&rival).unwrap(), taken);
        let stray = next(Some(&rival), 1, 99);
        let wrong = Appended::WrongParent { tip: blocks[1].hash };
        assert_eq!(chain.append(&stray).unwrap(), wrong);
        assert_holds(chain.as_ref(), &blocks[..2]);
    });
}

#[test]
fn of_many_rivals_one_is_stored_and_all_learn_which() {
    every_back_end(|make| {
        let chain = make();
        let chain = chain.as_ref();
        let rivals: Vec<ValidBlock> = (0..8).map(|salt| next(None, 1, salt)).collect();
        let outcomes: Vec<Appended> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                rivals.iter().map(|rival| scope.spawn(|| chain.append(rival).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let tip = chain.tip().unwrap().unwrap().hash;
        let stored = outcomes.iter().filter(|outcome| **outcome == Appended::Stored).count();
        assert_eq!(stored, 1);
        let lost = Appended::HeightTaken { hash: tip };
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
fn a_full_disk_loses_nothing_and_the_block_is_stored_later() {
    let disk = SimulatedDisk::new();
    let chain = ChainFiles::open(parts(&disk)).unwrap();
    let blocks = chain_of(&[2, 2, 2, 2]);
    chain.append(&blocks[0]).unwrap();
    for space in (0..3_000).step_by(97) {
        disk.set_space(Some(space));
        match chain.append(&blocks[1]) {
            Ok(outcome) => {
                assert_eq!(outcome, Appended::Stored);
                break;
            }
            Err(error) => {
                assert!(matches!(error, CommitError::Full(_)), "{space}: {error}");
                assert_holds(&chain, &blocks[..1]);
            }
        }
    }
    disk.set_space(None);
    for block in &blocks[1..] {
        chain.append(block).unwrap();
    }
    assert_holds(&ChainFiles::open(parts(&disk)).unwrap(), &blocks);
    assert_eq!(audit::audit(&disk, STORE).unwrap(), []);
}

/// One step of the model test.
#[derive(Debug, Clone)]
enum Move {
    Append(usize),
    Rival(usize),
    Again(usize),
    Ahead,
    Reopen { keep_index: bool },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        4 => (0_usize..6).prop_map(Move::Append),
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
                assert_eq!(chain.append(&block).unwrap(), Appended::Stored);
                model.push(block);
            }
            Move::Rival(at) => {
                let Some(taken) = model.get(at) else { continue };
                let parent = at.checked_sub(1).map(|below| &*model[below]);
                let expected = Appended::HeightTaken { hash: taken.hash };
                assert_eq!(chain.append(&next(parent, 1, 5)).unwrap(), expected);
            }
            Move::Again(at) => {
                let Some(block) = model.get(at) else { continue };
                assert_eq!(chain.append(block).unwrap(), Appended::Known);
            }
            Move::Ahead => {
                let up = next(model.last().map(|block| &**block), 0, 1);
                let ahead = next(Some(&up), 0, 1);
                let expected = Appended::NotNext { next: model.len() as u64 };
                assert_eq!(chain.append(&ahead).unwrap(), expected);
            }
            Move::Reopen { keep_index } => chain = reopen(chain, keep_index),
        }
        assert_holds(chain.as_ref(), &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_back_end_follows_the_model(steps in moves()) {
        follow_model(Box::new(ChainMemory::new()), steps.clone(), &|chain, _| chain);
        let disk = SimulatedDisk::new();
        let kept = parts(&disk);
        follow_model(Box::new(ChainFiles::open(kept.clone()).unwrap()), steps, &|chain, keep| {
            drop(chain);
            // An index that is made anew must not be mixed with the one kept until now.
            if !keep {
                rows::clear(kept.index.as_ref()).unwrap();
            }
            Box::new(ChainFiles::open(kept.clone()).unwrap())
        });
    }
}

#[test]
fn the_bytes_of_a_chain_never_change() {
    use crate::disk::{Disk as _, read_all};

    let disk = SimulatedDisk::new();
    let chain = ChainFiles::open(parts(&disk)).unwrap();
    for block in chain_of(&[0, 2]) {
        chain.append(&block).unwrap();
    }
    let digest = |path: &str| {
        let bytes = read_all(&disk, path).unwrap().unwrap();
        format!("{} {}", bytes.len(), blake3::hash(&bytes).to_hex().get(..16).unwrap())
    };
    assert_eq!(disk.list(FOLDER).unwrap(), ["00000001.blocks", "00000001.bodies"]);
    assert_eq!(digest("blocks/00000001.blocks"), "1457 65aeba84e0bd4fc7");
    assert_eq!(digest("blocks/00000001.bodies"), "548 99f453a822cb77ea");
    assert_eq!(digest(TIP), "104 133b6849c7b9d9b6");
}
