//! Power cuts at every point of a chain's life.

use super::conformance::{STORE, assert_holds, chain_of, next, parts};
use super::tip::{self, Lock};
use super::*;
use crate::disk::simulated::{SimulatedDisk, SyncPoint};

const SEEDS: u64 = 6;

/// What was acknowledged after how many calls.
struct Life {
    disk: SimulatedDisk,
    blocks: Vec<ValidBlock>,
    acknowledged: Vec<(usize, usize)>,
}

/// Appends blocks over several files, with a reopening in between.
fn live(forgotten: Option<SyncPoint>) -> Life {
    let disk = SimulatedDisk::new();
    if let Some(point) = forgotten {
        disk.forgetting(point);
    }
    let blocks = chain_of(&[1, 0, 3, 2, 4, 1, 2]);
    let mut acknowledged = vec![(0, 0)];
    let mut chain = ChainFiles::open(parts(&disk)).unwrap();
    for (count, block) in blocks.iter().enumerate() {
        if count == 3 {
            drop(chain);
            chain = ChainFiles::open(parts(&disk)).unwrap();
        }
        assert_eq!(chain.append(block).unwrap(), Appended::Stored);
        acknowledged.push((disk.calls(), count + 1));
    }
    Life { disk, blocks, acknowledged }
}

/// Cuts the power behind every call and says what is wrong with what is found.
fn check(life: &Life) -> Result<(), String> {
    for calls in 0..=life.disk.calls() {
        for seed in 0..SEEDS {
            let found = life.disk.after_power_cut(calls, seed);
            check_one(life, calls, &found)
                .map_err(|why| format!("after call {calls}, seed {seed}: {why}"))?;
        }
    }
    Ok(())
}

fn check_one(life: &Life, calls: usize, found: &SimulatedDisk) -> Result<(), String> {
    let at_least = life.acknowledged.iter().rev().find(|(at, _)| *at <= calls);
    let at_least = at_least.map_or(0, |(_, count)| *count);
    let locked = match tip::read(found).unwrap() {
        Lock::At(mark) => usize::try_from(mark.height).unwrap() + 1,
        Lock::Absent => 0,
        Lock::Damaged(damage) => return Err(damage.to_string()),
    };
    if locked < at_least {
        return Err(format!("{at_least} blocks were acknowledged and {locked} are locked"));
    }
    let chain = ChainFiles::open(parts(found)).map_err(|error| error.to_string())?;
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
    assert_eq!(again.append(&more).map_err(|error| error.to_string())?, Appended::Stored);
    let whole = audit::audit(&after, STORE).unwrap();
    whole.first().map_or(Ok(()), |damage| Err(damage.to_string()))
}

#[test]
fn every_power_cut_leaves_what_was_acknowledged_and_nothing_partial() {
    check(&live(None)).unwrap();
}

#[test]
fn no_sync_can_be_left_out() {
    let points = live(None).disk.sync_points();
    assert_eq!(points.len(), 5, "{points:?}");
    for point in points {
        let life = live(Some(point.clone()));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&life)));
        assert!(!matches!(outcome, Ok(Ok(()))), "nothing notices that {point:?} is missing");
    }
}

#[test]
fn a_torn_file_name_is_no_chain() {
    let life = live(None);
    let found = life.disk.after_power_cut(life.disk.calls(), 0);
    crate::disk::Disk::unlink(&found, "blocks/00000001.bodies").unwrap();
    let chain = ChainFiles::open(parts(&found)).unwrap();
    assert!(!chain.damage().is_empty());
}
