use std::sync::Arc;

use rustix::io::Errno;

use super::*;
use crate::contract::chain::conformance::{assert_holds, chain_of, next, parts};
use crate::files::chain::{ChainFiles, ChainParts};
use crate::files::disk::faulty::{Call, FaultyDisk};
use crate::files::disk::simulated::SimulatedDisk;
use crate::memory::chain::ChainMemory;

const COUNTS: [usize; 12] = [0, 3, 1, 0, 5, 2, 2, 8, 1, 0, 4, 30];

fn filled(blocks: &[ValidBlock]) -> ChainMemory {
    let chain = ChainMemory::new();
    assert_eq!(chain.append_run(blocks).unwrap().stored, blocks.len());
    chain
}

fn moved(from: &dyn ChainStore, to: &dyn ChainStore) -> Result<MovedChain, ChainMoveError> {
    ChainMove::new(from, to).run(&mut |_, done, total| {
        assert!(done <= total);
        true
    })
}

#[test]
fn a_chain_moves_to_every_back_end_and_back() {
    let blocks = chain_of(&COUNTS);
    let from = filled(&blocks);
    let there_and_back = |name: &str, to: &dyn ChainStore| {
        let mut tries = 0;
        let there = loop {
            tries += 1;
            match moved(&from, to) {
                Ok(there) => break there,
                Err(error) => assert!(tries < 40, "{name}: {error}"),
            }
        };
        assert_eq!(there.blocks, blocks.len() as u64);
        assert_holds(to, &blocks);
        let disk = SimulatedDisk::new();
        let home = ChainFiles::open(parts(&disk)).unwrap();
        let back = moved(to, &home).unwrap();
        assert_eq!((back.digest, back.tip), (there.digest, there.tip), "{name}");
        assert_holds(&home, &blocks);
        drop(home);
        assert_holds(&ChainFiles::open(parts(&disk)).unwrap(), &blocks);
        // What has arrived is only compared.
        let again = moved(&from, to).unwrap();
        assert_eq!((again.blocks_before, again.digest), (again.blocks, there.digest), "{name}");
    };
    there_and_back("memory", &ChainMemory::new());
    there_and_back("files", &ChainFiles::open(parts(&SimulatedDisk::new())).unwrap());
    #[cfg(feature = "mongodb")]
    crate::mongo::servers::every_database(&|name, database| {
        there_and_back(name, &database.chain().unwrap());
    });
    assert_holds(&from, &blocks);
}

#[test]
fn one_that_is_stopped_goes_on_and_follows_what_was_added() {
    let mut blocks = chain_of(&[1; 600]);
    let (from, to) = (filled(&blocks), ChainMemory::new());
    let mut steps = 0;
    let stopped = ChainMove::new(&from, &to).run(&mut |_, _, _| {
        steps += 1;
        steps < 3
    });
    assert!(matches!(stopped, Err(ChainMoveError::Store(StoreError::Stopped))));
    assert_eq!(to.tip().unwrap().map(|tip| tip.height), Some(511));
    let more = next(blocks.last().map(|block| &**block), 3, 1);
    from.append(&more).unwrap();
    blocks.push(more);
    assert_eq!(ChainMove::new(&from, &to).survey().unwrap(), (601, 512));
    let done = moved(&from, &to).unwrap();
    assert_eq!((done.blocks, done.blocks_before), (601, 512));
    assert_holds(&to, &blocks);
}

#[test]
fn an_empty_chain_is_moved_as_such() {
    let done = moved(&ChainMemory::new(), &ChainMemory::new()).unwrap();
    assert_eq!((done.blocks, done.tip), (0, None));
}

#[test]
fn another_chain_a_longer_one_and_a_pruned_one_are_refused_and_nothing_is_written() {
    let blocks = chain_of(&[0, 2, 2]);
    let from = filled(&blocks);
    let other = next(Some(&blocks[0]), 2, 9);
    let to = filled(&[blocks[0].clone(), other.clone()]);
    let refused = moved(&from, &to).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&other.hash.to_string()) && text.contains("block 1 is"), "{text}");
    assert_holds(&to, &[blocks[0].clone(), other]);
    let longer = filled(&chain_of(&[0, 2, 2, 1]));
    assert!(matches!(moved(&from, &longer), Err(ChainMoveError::OtherChain { height: 3, .. })));
    from.prune(2).unwrap();
    let to = ChainMemory::new();
    assert!(matches!(moved(&from, &to), Err(ChainMoveError::Pruned(2))));
    assert_eq!(to.tip().unwrap(), None);
}

/// Every kind of call of the disk that the chain goes to fails in turn.
#[test]
fn a_disk_that_fails_at_any_call_leaves_a_chain_that_goes_on() {
    let blocks = chain_of(&COUNTS);
    let from = filled(&blocks);
    let mut failed = 0;
    for call in [Call::Create, Call::Open, Call::Read, Call::Append, Call::Sync, Call::Name] {
        for errno in [Errno::IO, Errno::NOSPC] {
            for good in 0..12 {
                let disk = SimulatedDisk::new();
                let faulty = FaultyDisk::over(Arc::new(disk.clone()));
                let on = ChainParts { disk: Arc::new(faulty.clone()), ..parts(&disk) };
                let to = ChainFiles::open(on).unwrap();
                faulty.refuse(call, "", errno, good, 1);
                failed += usize::from(moved(&from, &to).is_err());
                drop(to);
                let to = ChainFiles::open(parts(&disk)).unwrap();
                let done = moved(&from, &to);
                assert!(done.is_ok(), "{call:?} {errno} after {good}: {done:?}");
                assert_holds(&to, &blocks);
            }
        }
    }
    assert!(failed > 20, "{failed}");
}

/// The machine that it moves to loses its power behind every call in turn.
#[test]
fn a_power_cut_behind_any_call_costs_nothing_but_time() {
    let blocks = chain_of(&COUNTS[..8]);
    let (from, disk) = (filled(&blocks), SimulatedDisk::new());
    moved(&from, &ChainFiles::open(parts(&disk)).unwrap()).unwrap();
    for calls in 0..=disk.calls() {
        for cut in [disk.after_power_cut(calls, calls as u64), disk.after_kill(calls)] {
            let to = ChainFiles::open(parts(&cut)).unwrap();
            let done = moved(&from, &to);
            assert!(done.is_ok(), "{calls}: {done:?}");
            assert_holds(&to, &blocks);
        }
    }
}

/// What the other side gives back is compared, not only counted.
#[test]
fn a_chain_that_reads_otherwise_than_it_was_is_not_taken_for_moved() {
    let blocks = chain_of(&COUNTS);
    let (from, disk) = (filled(&blocks), SimulatedDisk::new());
    let to = ChainFiles::open(parts(&disk)).unwrap();
    moved(&from, &to).unwrap();
    // Wherever the body is in the file: only its beginning says whose it is.
    let flipped = (200..).step_by(50).take_while(|at| disk.flip("blocks/00000002.bodies", *at));
    assert!(flipped.count() > 2);
    let refused = moved(&from, &to).unwrap_err();
    assert!(matches!(
        refused,
        ChainMoveError::Store(StoreError::Damaged(_)) | ChainMoveError::Differs(_)
    ));
}
