//! Power cuts at every point of a chain's life.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::contract::chain::conformance::{self, STORE, assert_holds, chain_of, next};
use crate::contract::chain::*;
use crate::files::chain::tip::{self, FoundTip};
use crate::files::chain::*;
use crate::files::disk::simulated::{SimulatedDisk, SyncPoint};
use crate::files::disk::view::{Settled, View};

const SEEDS: u64 = 6;

/// A block or two a file.
fn parts(disk: &SimulatedDisk) -> ChainParts {
    ChainParts { file_bytes_max: 500, ..conformance::parts(disk) }
}

/// What was acknowledged after how many calls.
struct Life {
    disk: SimulatedDisk,
    blocks: Vec<ValidBlock>,
    acknowledged: Vec<(usize, usize)>,
}

/// What is done one after the other, with the number of blocks after it.
#[derive(Clone, Copy)]
enum Deed {
    Append,
    StoredRun(usize),
    Prune(u64),
    Reopen,
}

/// Single blocks and runs over several files, and bodies that go.
const DEEDS: [Deed; 10] = [
    Deed::Append,
    Deed::Append,
    Deed::StoredRun(4),
    Deed::Reopen,
    Deed::Prune(4),
    Deed::Append,
    Deed::StoredRun(5),
    Deed::Prune(9),
    Deed::Reopen,
    Deed::Append,
];

fn live(forgotten: Option<SyncPoint>) -> Life {
    let disk = SimulatedDisk::new();
    if let Some(point) = forgotten {
        disk.forgetting(point);
    }
    let blocks = chain_of(&[1, 0, 3, 2, 4, 1, 2, 0, 3, 1, 2, 1, 1]);
    let mut acknowledged = vec![(0, 0)];
    let mut chain = ChainFiles::open(parts(&disk)).unwrap();
    let mut count = 0;
    for deed in DEEDS {
        let more = match deed {
            Deed::Append => 1,
            Deed::StoredRun(more) => more,
            Deed::Prune(keep_from) => {
                assert!(chain.prune(keep_from).unwrap().files > 0);
                0
            }
            Deed::Reopen => {
                drop(chain);
                chain = ChainFiles::open(parts(&disk)).unwrap();
                0
            }
        };
        let run = chain.append_run(&blocks[count..count + more]).unwrap();
        assert_eq!(run, StoredRun { stored: more, stopped: None });
        count += more;
        acknowledged.push((disk.calls(), count));
    }
    assert_eq!(count, blocks.len());
    Life { disk, blocks, acknowledged }
}

/// Cuts the power behind every call and says what is wrong with what is found.
fn check(life: &Life) -> Result<(), String> {
    check_from(life, 0)
}

fn check_from(life: &Life, first: usize) -> Result<(), String> {
    for calls in first..=life.disk.calls() {
        for seed in 0..SEEDS {
            let found = life.disk.after_power_cut(calls, seed);
            check_one(life, calls, &found)
                .map_err(|why| format!("after call {calls}, seed {seed}: {why}"))?;
        }
    }
    Ok(())
}

/// Opens what is left without writing, and leaves it as it was: says how far the chain is.
fn look(found: &SimulatedDisk) -> Result<Option<Tip>, String> {
    let before = found.calls();
    let settled = Settled::not_yet("it is only looked at".into());
    let view = Arc::new(View::of(Arc::new(found.clone()), settled.clone()));
    let parts = ChainParts { disk: view, ..parts(found) };
    let chain = ChainFiles::open(parts).map_err(|error| format!("looked at: {error}"))?;
    settled.settle();
    let tip = chain.tip().unwrap();
    if let Some(tip) = tip {
        chain.block(tip.height).unwrap().unwrap();
    }
    if let Some(damage) = chain.damage().first() {
        return Err(format!("looked at: {damage}"));
    }
    let refused = chain.append(&next(None, 1, 77)).unwrap_err();
    assert_eq!(refused.to_string(), "writing failed: it is only looked at");
    assert_eq!(chain.read_only().unwrap(), "it is only looked at");
    drop(chain);
    assert_eq!(found.calls(), before, "{:?}", found.story(before..found.calls()));
    Ok(tip)
}

fn check_one(life: &Life, calls: usize, found: &SimulatedDisk) -> Result<(), String> {
    let at_least = life.acknowledged.iter().rev().find(|(at, _)| *at <= calls);
    let at_least = at_least.map_or(0, |(_, count)| *count);
    let marked = match tip::read(found).unwrap() {
        FoundTip::At(mark) => usize::try_from(mark.height).unwrap() + 1,
        FoundTip::Absent => 0,
        FoundTip::Damaged(damage) => return Err(damage.to_string()),
    };
    if marked < at_least {
        return Err(format!("{at_least} blocks were acknowledged and {marked} are marked"));
    }
    let looked = look(found)?;
    let chain = ChainFiles::open(parts(found)).map_err(|error| error.to_string())?;
    if looked != chain.tip().unwrap() {
        return Err(format!("whoever only reads sees {looked:?}, and not {:?}", chain.tip()));
    }
    if let Some(damage) = chain.damage().first() {
        return Err(damage.to_string());
    }
    if let Some(why) = chain.read_only() {
        return Err(why);
    }
    let count = chain.tip().unwrap().map_or(0, |tip| usize::try_from(tip.height).unwrap() + 1);
    if count < at_least {
        return Err(format!("{at_least} blocks were acknowledged and {count} are there"));
    }
    assert_holds(&chain, &life.blocks[..count]);
    // It goes on, and survives the next cut: recovery must have made durable what it accepted.
    let after = found.after_power_cut(found.calls(), 1);
    let again = ChainFiles::open(parts(&after)).map_err(|error| error.to_string())?;
    let left = again.tip().unwrap().map_or(0, |tip| usize::try_from(tip.height).unwrap() + 1);
    if left != count {
        return Err(format!("recovery showed {count} blocks, and the next start {left}"));
    }
    let more = next(life.blocks[..count].last().map(|block| &**block), 1, 77);
    assert_eq!(again.append(&more).map_err(|error| error.to_string())?, AppendedBlock::Stored);
    let whole = audit::audit(&after, STORE).unwrap();
    whole.first().map_or(Ok(()), |damage| Err(damage.to_string()))
}

#[test]
fn every_power_cut_leaves_what_was_acknowledged_and_nothing_partial() {
    check(&live(None)).unwrap();
}

#[test]
fn no_sync_can_be_left_out() {
    let calls = live(None).disk.sync_calls();
    let points: BTreeSet<_> = calls.iter().map(|(_, point)| point.clone()).collect();
    assert_eq!(points.len(), 5, "{points:?}");
    for point in points {
        let life = live(Some(point.clone()));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&life)));
        assert!(!matches!(outcome, Ok(Ok(()))), "nothing notices that {point:?} is missing");
    }
}

#[test]
fn no_sync_of_a_file_that_a_run_leaves_behind_can_be_left_out() {
    let blocks = chain_of(&[1; 5]);
    let lived = |forgotten: Option<usize>| {
        let disk = SimulatedDisk::new();
        if let Some(call) = forgotten {
            disk.forgetting(SyncPoint::Call(call));
        }
        let chain = ChainFiles::open(parts(&disk)).unwrap();
        chain.append(&blocks[0]).unwrap();
        let before = disk.calls();
        chain.append_run(&blocks[1..]).unwrap();
        let acknowledged = vec![(0, 0), (before, 1), (disk.calls(), blocks.len())];
        (Life { disk, blocks: blocks.clone(), acknowledged }, before)
    };
    let (life, before) = lived(None);
    let end = life.disk.calls();
    check_from(&life, end).unwrap();
    let files = life.disk.sync_calls().into_iter().filter(|(at, point)| {
        *at >= before && matches!(point, SyncPoint::File(path) if path.starts_with(FOLDER))
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() > 4, "{files:?}");
    for (call, point) in files {
        let life = lived(Some(call)).0;
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check_from(&life, end)));
        assert!(
            !matches!(outcome, Ok(Ok(()))),
            "nothing notices that {call}, {point:?} is missing"
        );
    }
}

#[test]
fn what_a_crash_leaves_of_pruned_files_goes_with_the_next_pruning() {
    let life = live(None);
    for calls in 0..=life.disk.calls() {
        let found = life.disk.after_power_cut(calls, 2);
        let chain = ChainFiles::open(parts(&found)).unwrap();
        let below = chain.pruned_below();
        if below == 0 {
            continue;
        }
        chain.prune(below).unwrap();
        for height in 1..below {
            assert_eq!(chain.body(height).unwrap(), Some(Body::Pruned), "{calls} {height}");
        }
        assert_eq!(audit::audit(&found, STORE).unwrap(), []);
    }
}

#[test]
fn a_torn_file_name_is_no_chain() {
    let life = live(None);
    let found = life.disk.after_power_cut(life.disk.calls(), 0);
    found.unlink("blocks/00000001.bodies").unwrap();
    let chain = ChainFiles::open(parts(&found)).unwrap();
    assert!(!chain.damage().is_empty());
}
