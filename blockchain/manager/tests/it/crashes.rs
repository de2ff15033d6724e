//! Power cuts between any two steps neither lose nor repeat a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_block_manager::facts;
use lucid_block_manager::ops::get_transaction::{Status, get_transaction};
use lucid_block_manager::ops::seal_block::seal_block;
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_block_manager::state::{Kind, Opened, Parts, over};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::crypt::Sealer;
use lucid_store::disk::simulated::SimulatedDisk;
use lucid_store::index::memory::MemoryIndex;

fn now() -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000)
}

fn opened(disk: &SimulatedDisk) -> Opened {
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        blocks: Arc::new(disk.clone()),
        store: [7; 16],
        sealer: Arc::new(Sealer::new(None)),
        index: Arc::new(MemoryIndex::new()),
        key: SigningKey::from_seed([3; 32]),
        accept_loss: false,
        block_file_bytes: 2_000,
        kind: Kind::default(),
    };
    over(parts, now()).unwrap()
}

fn submit(manager: &Opened, n: usize) {
    let text = format!(r#"{{"id":"t-{n}","type":"session_anchor","session_id":"s"}}"#);
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    submit_transaction(vault, chain, &manager.admissions, now(), text.as_bytes()).unwrap();
}

fn seal(manager: &Opened) {
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    seal_block(vault, chain, &manager.sealing, &manager.key, now()).unwrap();
}

/// Every id in the chain, in order; panics if one is there twice.
fn chained(manager: &Opened) -> Vec<String> {
    let count = manager.chain.tip().unwrap().map_or(0, |tip| tip.height + 1);
    let ids: Vec<String> = (0..count)
        .flat_map(|height| manager.chain.body(height).unwrap().unwrap().here().unwrap())
        .map(|transaction| transaction.id().to_owned())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    ids
}

#[test]
fn no_power_cut_loses_or_repeats_a_transaction() {
    let disk = SimulatedDisk::new();
    let manager = opened(&disk);
    // What was acknowledged after how many calls.
    let mut acknowledged = vec![(0, 0)];
    for n in 0..7 {
        submit(&manager, n);
        acknowledged.push((disk.calls(), n + 1));
        if n % 3 == 1 {
            seal(&manager);
        }
    }
    drop(manager);
    for calls in 0..=disk.calls() {
        let accepted = acknowledged.iter().rev().find(|(at, _)| *at <= calls).unwrap().1;
        for seed in 0..3 {
            let found = disk.after_power_cut(calls, seed);
            let manager = opened(&found);
            assert!(manager.damage().is_empty(), "{calls} {seed}: {:?}", manager.damage());
            let waiting = facts::pool(manager.vault.index()).unwrap().transactions;
            let before = chained(&manager).len();
            seal(&manager);
            let ids = chained(&manager);
            assert_eq!(ids.len() as u64, before as u64 + waiting, "{calls} {seed}");
            assert!(ids.len() >= accepted, "{calls} {seed}: {accepted} accepted, {ids:?}");
            // The order is that of the pool.
            let expected: Vec<String> = (0..ids.len()).map(|n| format!("t-{n}")).collect();
            assert_eq!(ids, expected, "{calls} {seed}");
            let status = |id: &str| {
                let chain = manager.chain.as_ref();
                get_transaction(&manager.vault, chain, id).unwrap().unwrap().status
            };
            assert!(ids.iter().all(|id| matches!(status(id), Status::Confirmed { .. })));
            assert_eq!(facts::pool(manager.vault.index()).unwrap().transactions, 0);
        }
    }
}

#[test]
fn what_fails_at_sealing_holds_up_nobody_and_stays_failed() {
    let disk = SimulatedDisk::new();
    let manager = opened(&disk);
    submit(&manager, 0);
    // A transaction that admission would refuse, written down by an older version.
    let text = r#"{"id": "bad", "public_key": "x", "type": "t"}"#.to_owned();
    let posted = lucid_core::digest::TransactionHash::new([1; 32]);
    facts::commit(&manager.vault, &[facts::Fact::Pooled { posted, at: now(), text }]).unwrap();
    submit(&manager, 1);
    seal(&manager);
    drop(manager);
    let manager = opened(&disk);
    assert_eq!(chained(&manager), ["t-0", "t-1"]);
    let found = get_transaction(&manager.vault, manager.chain.as_ref(), "bad").unwrap().unwrap();
    assert!(matches!(found.status, Status::Failed { .. }), "{found:?}");
    assert!(found.transaction.is_some());
}
