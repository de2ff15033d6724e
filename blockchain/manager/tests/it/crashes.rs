//! Power cuts between any two steps neither lose nor repeat a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_block_manager::fact;
use lucid_block_manager::opened::{OpenError, Opened, UnopenedManager, over};
use lucid_block_manager::ops::get_transaction::{TransactionStage, get_transaction};
use lucid_block_manager::ops::maintain_chain::{CyclePlan, maintain_chain};
use lucid_block_manager::ops::produce_block::{Production, produce_block};
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{IdDigest, id_digest};
use lucid_store::contract::chain::Stretch;
use lucid_store::files::disk::Disk as _;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::SimulatedDisk;

use crate::over_disk::unopened;

fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

fn opened(disk: &SimulatedDisk) -> Opened {
    over(parts(disk), now()).unwrap()
}

fn parts(disk: &SimulatedDisk) -> UnopenedManager {
    UnopenedManager { block_file_bytes: 300, ..unopened(disk) }
}

fn submit(manager: &Opened, n: usize) {
    let text = format!(r#"{{"id":"t-{n}","type":"session_anchor","session_id":"s"}}"#);
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    submit_transaction(vault, chain, &manager.admissions, now(), text.as_bytes()).unwrap();
}

fn produce(manager: &Opened) -> Production {
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    produce_block(vault, chain, &manager.producing, &manager.key, now()).unwrap()
}

/// Every id digest in the chain, in order, pruned or not; panics if one is there twice.
fn chained(manager: &Opened) -> Vec<IdDigest> {
    let all = Stretch { from: 0, blocks: usize::MAX, bytes: usize::MAX };
    let records = manager.chain.records(all).unwrap();
    let ids: Vec<IdDigest> = records
        .iter()
        .flat_map(|stored| stored.record.transactions.iter().map(|digests| digests.id))
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    ids
}

fn digests(count: usize) -> Vec<IdDigest> {
    (0..count).map(|n| id_digest(&format!("t-{n}"))).collect()
}

fn status(manager: &Opened, id: &str) -> Option<TransactionStage> {
    let found = get_transaction(&manager.vault, manager.chain.as_ref(), id).unwrap();
    found.map(|found| found.status)
}

fn maintain(manager: &Opened) -> u64 {
    let wanted = CyclePlan { full: true, cursor: None, keep: 1, suspects: &[] };
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    let upkeep = maintain_chain(vault, chain, now(), &wanted, &mut |_| true).unwrap();
    assert_eq!(upkeep.integrity.faults, 0, "{upkeep:?}");
    upkeep.pruning.blocks
}

/// A transaction that admission would refuse, written down by an older version.
fn pool_a_bad_one(manager: &Opened) {
    let text = r#"{"id": "bad", "public_key": "x", "type": "t"}"#.to_owned();
    let posted = lucid_core::digest::TransactionHash::new([1; 32]);
    fact::commit(&manager.vault, &[fact::Fact::Pooled { posted, at: now(), text }]).unwrap();
}

#[test]
fn no_power_cut_loses_or_repeats_a_transaction() {
    let disk = SimulatedDisk::new();
    let mut manager = opened(&disk);
    // What was acknowledged after how many calls.
    let mut acknowledged = vec![(0, 0)];
    let (mut bad, mut pruned) = (usize::MAX, 0);
    for n in 0..12 {
        submit(&manager, n);
        acknowledged.push((disk.calls(), n + 1));
        match n {
            3 => {
                pool_a_bad_one(&manager);
                bad = disk.calls();
            }
            7 => {
                drop(manager);
                manager = opened(&disk);
            }
            _ if n % 2 == 1 => drop(produce(&manager)),
            _ if n > 7 => pruned += maintain(&manager),
            _ => {}
        }
    }
    assert!(pruned > 0);
    drop(manager);
    for calls in 0..=disk.calls() {
        let accepted = acknowledged.iter().rev().find(|(at, _)| *at <= calls).unwrap().1;
        for seed in 0..3 {
            let found = disk.after_power_cut(calls, seed);
            let manager = opened(&found);
            assert!(manager.damage().is_empty(), "{calls} {seed}: {:?}", manager.damage());
            let before = chained(&manager).len();
            produce(&manager);
            let ids = chained(&manager);
            assert!(ids.len() >= accepted.max(before), "{calls} {seed}: {accepted} accepted");
            // The order is that of the pool, and the one that is no good was passed over.
            assert_eq!(ids, digests(ids.len()), "{calls} {seed}");
            for n in 0..ids.len() {
                let status = status(&manager, &format!("t-{n}"));
                assert!(
                    matches!(status, Some(TransactionStage::Confirmed { .. })),
                    "{calls} {seed} {n}"
                );
            }
            let refused = status(&manager, "bad");
            assert!(refused.is_none() || matches!(refused, Some(TransactionStage::Failed { .. })));
            assert!(refused.is_some() || calls < bad, "{calls} {seed}");
            assert_eq!(fact::pool(manager.vault.index()).unwrap().transactions, 0);
            maintain(&manager);
            assert_eq!(chained(&manager), ids);
        }
    }
}

#[test]
fn a_damaged_block_holds_up_only_what_depends_on_it() {
    let disk = SimulatedDisk::new();
    let manager = opened(&disk);
    for n in 0..4 {
        submit(&manager, n);
        produce(&manager);
    }
    // As a crash between append and marking leaves it: chained, and still in the pool.
    drop(manager);
    let fresh = opened(&disk);
    let text = r#"{"id":"t-1","type":"other"}"#.to_owned();
    drop(fresh);
    let record = (0..).map(|n| format!("blocks/{n:08}.blocks")).skip(1).take(9);
    let second = record.filter(|path| disk.open(path).unwrap().is_some()).nth(1).unwrap();
    assert!(disk.flip(&second, 500));
    let manager = opened(&disk);
    let posted = lucid_core::digest::TransactionHash::new([1; 32]);
    fact::commit(&manager.vault, &[fact::Fact::Pooled { posted, at: now(), text }]).unwrap();
    submit(&manager, 4);
    let produced = produce(&manager);
    assert!(matches!(status(&manager, "t-4"), Some(TransactionStage::Confirmed { .. })));
    // A caller that produces until nothing is left comes to an end.
    assert_eq!(produced.left, 0);
    assert_eq!(produce(&manager).block, None);
    drop(manager);
    assert!(opened(&disk).read_only().is_none());
}

#[test]
fn what_fails_at_producing_holds_up_nobody_and_stays_failed() {
    let disk = SimulatedDisk::new();
    let manager = opened(&disk);
    submit(&manager, 0);
    pool_a_bad_one(&manager);
    submit(&manager, 1);
    produce(&manager);
    drop(manager);
    let manager = opened(&disk);
    assert_eq!(chained(&manager), digests(2));
    let found = get_transaction(&manager.vault, manager.chain.as_ref(), "bad").unwrap().unwrap();
    assert!(matches!(found.status, TransactionStage::Failed { .. }), "{found:?}");
    assert!(found.transaction.is_some());
}

#[test]
fn a_refused_loss_says_that_blocks_are_left_where_only_a_later_file_cannot_be_read() {
    let disk = SimulatedDisk::new();
    let manager = opened(&disk);
    for n in 0..6 {
        submit(&manager, n);
        produce(&manager);
    }
    drop(manager);
    disk.unlink("TIP").unwrap();
    let names = disk.list("blocks").unwrap();
    let newest = names.iter().rfind(|name| name.ends_with(".blocks")).unwrap();
    assert_ne!(newest, "00000001.blocks");
    let told = |unreadable: &str| {
        let bad = FaultyDisk::over(Arc::new(disk.clone()));
        bad.refuse(Call::Open, unreadable, rustix::io::Errno::IO, 0, usize::MAX);
        let parts = UnopenedManager { blocks: Arc::new(bad), accept_loss: true, ..parts(&disk) };
        match over(parts, now()) {
            Err(error @ OpenError::LossRefused(_)) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was accepted"),
        }
    };
    let why = told(newest);
    assert!(why.contains("move it out of blocks/ to go on from block"), "{why}");
    assert!(!why.contains("nothing") || why.contains("so nothing says"), "{why}");
    assert!(why.starts_with("the chain does not go on from what is left of it"), "{why}");
    let why = told("blocks/");
    assert!(why.contains("no block can be read") && why.contains("put blocks/ back"), "{why}");
    assert_eq!(disk.list("blocks").unwrap(), names);
}
