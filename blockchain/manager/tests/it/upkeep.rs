//! Looking after a chain: what is found, what is pruned, and what answers for what is gone.

use std::path::Path;

use lucid_block_manager::fact;
use lucid_block_manager::opened::{Opened, Options, open};
use lucid_block_manager::ops::check_integrity::Invalid;
use lucid_block_manager::ops::maintain_chain::{CyclePlan, Upkeep, maintain_chain};
use lucid_block_manager::ops::produce_block::produce_block;
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_block_manager::ops::take_blocks::Pins;
use lucid_block_manager::ops::validate_chain::{validate_chain, validate_scan};
use lucid_block_manager::ops::validate_texts::ValidationRequest;
use lucid_core::time::Timestamp;
use lucid_store::contract::chain::Body;
use lucid_store::files::chain::scan::ChainScan;

pub const BLOCKS: u64 = 20;

fn now() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

fn small(folder: &Path) -> Opened {
    let options = Options { block_file_bytes: 1_500, ..Options::default() };
    open(folder, &options, now()).unwrap()
}

pub fn text(n: u64, kind: &str) -> String {
    format!(r#"{{"id":"{kind}-{n}","type":"{kind}","session_id":"s","n":{n}}}"#)
}

/// A chain over many small files: each block has an anchor and two other transactions.
pub fn chain(folder: &Path) -> Opened {
    chain_at(folder, now())
}

/// The same, made at another time.
pub fn chain_at(folder: &Path, now: Timestamp) -> Opened {
    let options = Options { block_file_bytes: 1_500, ..Options::default() };
    let manager = open(folder, &options, now).unwrap();
    for n in 0..BLOCKS {
        for kind in ["session_anchor", "data_storage", "audit"] {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let posted = text(n, kind);
            submit_transaction(vault, chain, &manager.admissions, now, posted.as_bytes()).unwrap();
        }
        let (vault, chain) = (&manager.vault, manager.chain.as_ref());
        produce_block(vault, chain, &manager.producing, &manager.key, now).unwrap();
    }
    manager
}

fn maintain(manager: &Opened, wanted: CyclePlan<'_>) -> Upkeep {
    maintain_chain(&manager.vault, manager.chain.as_ref(), now(), &wanted, &mut |_| true).unwrap()
}

const ALL: CyclePlan<'static> = CyclePlan { full: true, cursor: None, keep: 0, suspects: &[] };

/// Changes one byte of a file on the disk.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.get_mut(at).unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_chain_is_looked_through_bit_by_bit_and_on_and_on() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let upkeep = maintain(&manager, ALL);
    assert_eq!((upkeep.integrity.checked, upkeep.integrity.faults), (BLOCKS, 0));
    assert_eq!((upkeep.height, upkeep.cursor), (BLOCKS - 1, BLOCKS));
    // A cycle that is ended early is gone on with.
    let mut cursor = None;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let wanted = CyclePlan { full: false, cursor, keep: 0, suspects: &[] };
        let mut goes_on =
            |found: &lucid_block_manager::ops::check_integrity::Integrity| found.checked < 8;
        let (vault, chain) = (&manager.vault, manager.chain.as_ref());
        let upkeep = maintain_chain(vault, chain, now(), &wanted, &mut goes_on).unwrap();
        seen.push((upkeep.integrity.from, upkeep.integrity.next));
        cursor = Some(upkeep.cursor);
    }
    assert_eq!(seen, [(0, 8), (8, 16), (16, 20), (0, 8), (8, 16)]);
    fact::commit(&manager.vault, &[fact::Fact::LookedThrough { next: 13 }]).unwrap();
    drop(manager);
    let manager = small(folder.path());
    let upkeep =
        maintain(&manager, CyclePlan { full: false, cursor: None, keep: 0, suspects: &[] });
    assert_eq!((upkeep.integrity.from, upkeep.integrity.next), (13, 20));
}

#[test]
fn pruning_keeps_what_must_be_kept_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let keep = |keep| {
        maintain(&manager, CyclePlan { full: false, cursor: None, keep, suspects: &[] }).pruning
    };
    for all in [0, BLOCKS, BLOCKS + 5, u64::MAX] {
        assert_eq!(keep(all).blocks, 0, "{all}");
    }
    let first = keep(6);
    assert!(first.blocks > 4 && first.spared.is_empty(), "{first:?}");
    assert_eq!(keep(6).blocks, 0);
    let body = |height| manager.chain.body(height).unwrap().unwrap();
    assert!(matches!(body(0), Body::Here(_)));
    assert_eq!(body(1), Body::Pruned);
    assert!((BLOCKS - 6..BLOCKS).all(|height| matches!(body(height), Body::Here(_))));
    let upkeep = maintain(&manager, ALL);
    assert_eq!((upkeep.integrity.checked, upkeep.integrity.faults), (BLOCKS, 0));
    // The rule against repeated ids holds against what was pruned.
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    let submit = |posted: &str| {
        submit_transaction(vault, chain, &manager.admissions, now(), posted.as_bytes())
    };
    assert!(!submit(&text(1, "audit")).unwrap().is_new);
    assert!(submit(r#"{"id":"audit-1","type":"audit","n":99}"#).is_err());
    drop(manager);
    let reindexed =
        lucid_block_manager::opened::reindex(folder.path(), &Options::default(), now()).unwrap();
    assert!(reindexed.damage().is_empty(), "{:?}", reindexed.damage());
    assert_eq!(reindexed.chain.body(1).unwrap(), Some(Body::Pruned));
    assert_eq!(maintain(&reindexed, ALL).integrity.faults, 0);
}

#[test]
fn damage_is_named_and_spared_and_everything_else_goes() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    drop(manager);
    let bodies = folder.path().join("blocks/00000002.bodies");
    flip(&bodies, 400);
    let records = folder.path().join("blocks/00000006.blocks");
    flip(&records, 500);
    let manager = small(folder.path());
    let upkeep = maintain(&manager, ALL);
    assert!(upkeep.integrity.faults == 2 && upkeep.integrity.invalid.is_empty(), "{upkeep:?}");
    assert_eq!(upkeep.integrity.missing.len() as u64, upkeep.integrity.faults);
    let named: Vec<&str> = upkeep.integrity.damage.iter().map(|d| d.file.as_str()).collect();
    for file in ["blocks/00000002.bodies", "blocks/00000006.blocks"] {
        assert!(named.contains(&file), "{named:?}");
    }
    let pruning =
        maintain(&manager, CyclePlan { full: false, cursor: None, keep: 4, suspects: &[] }).pruning;
    assert_eq!(pruning.spared.len(), 2, "{:?} {pruning:?}", upkeep.integrity);
    assert!(pruning.files > 1, "{pruning:?}");
    assert!(bodies.exists() && !folder.path().join("blocks/00000004.bodies").exists());
    // What the damaged record spoke of can still be read.
    let lost =
        upkeep.integrity.missing.iter().rfind(|height| manager.chain.record(**height).is_err());
    assert!(matches!(manager.chain.body(*lost.unwrap()).unwrap(), Some(Body::Here(_))));
}

#[test]
fn records_are_judged_without_their_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let judged_for = |manager: &Opened, asked: &ValidationRequest| {
        let go_on = |_: &_| std::ops::ControlFlow::Continue(());
        validate_chain(manager.chain.as_ref(), now(), asked, true, go_on).unwrap()
    };
    let judged = |manager: &Opened| judged_for(manager, &ValidationRequest::default());
    let report = judged(&manager);
    assert_eq!((report.blocks, report.refused.len()), (BLOCKS, 0));
    // Pins hold for records too.
    let own = Pins { producer: manager.key.public().into(), ..Pins::default() };
    let report =
        judged_for(&manager, &ValidationRequest { pins: own, ..ValidationRequest::default() });
    assert_eq!(report.refused_count, 0);
    let another = lucid_core::sign::SigningKey::from_seed([9; 32]).public();
    let other = Pins { producer: another.into(), ..Pins::default() };
    let report =
        judged_for(&manager, &ValidationRequest { pins: other, ..ValidationRequest::default() });
    assert_eq!(report.refused_count, BLOCKS);
    let genesis = Some(lucid_core::digest::BlockHash::new([7; 32]));
    let pins = Pins { genesis, ..Pins::default() };
    let report = judged_for(&manager, &ValidationRequest { pins, ..ValidationRequest::default() });
    assert_eq!(report.refused_count, 1);
    drop(manager);
    flip(&folder.path().join("blocks/00000004.blocks"), 500);
    let report = judged(&small(folder.path()));
    // It, and that the one behind it cannot be held against it.
    assert_eq!((report.blocks, report.refused_count), (BLOCKS, 2), "{report:?}");
}

/// What all of a chain is found to be that is read from its files, if it is to be found so.
fn scanned(folder: &Path, asked: &ValidationRequest) -> Option<String> {
    let scan = ChainScan::begin(folder).ok()?;
    let report = validate_scan(scan, now(), asked, std::env::temp_dir(), |_| {});
    report.map(|report| format!("{report:?}"))
}

#[test]
fn a_chain_that_is_read_from_its_files_is_judged_as_when_it_is_opened_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let key = manager.key.public();
    let tip = manager.chain.tip().unwrap().unwrap();
    let opened = |manager: &Opened, asked: &ValidationRequest| {
        let go_on = |_: &_| std::ops::ControlFlow::Continue(());
        validate_chain(manager.chain.as_ref(), now(), asked, false, go_on).unwrap()
    };
    let pinned = |producer| Pins { producer, ..Pins::default() };
    let all = ValidationRequest::default();
    let another = lucid_core::sign::SigningKey::from_seed([9; 32]).public();
    let wrong = lucid_core::digest::BlockHash::new([7; 32]);
    for (asked, is_valid) in [
        (ValidationRequest::default(), true),
        (
            ValidationRequest {
                from: Some(0),
                to: Some(tip.height),
                ..ValidationRequest::default()
            },
            true,
        ),
        (ValidationRequest { expected_tip: Some(tip.hash), ..ValidationRequest::default() }, true),
        (ValidationRequest { pins: pinned(key.into()), ..ValidationRequest::default() }, true),
        (ValidationRequest { expected_tip: Some(wrong), ..ValidationRequest::default() }, false),
        (ValidationRequest { pins: pinned(another.into()), ..ValidationRequest::default() }, false),
        (
            ValidationRequest {
                pins: Pins { genesis: Some(wrong), ..Pins::default() },
                ..ValidationRequest::default()
            },
            false,
        ),
    ] {
        let report = opened(&manager, &asked);
        assert_eq!(report.is_valid(), is_valid);
        let wanted = is_valid.then(|| format!("{report:?}"));
        // Beside its owner, too.
        assert_eq!(scanned(folder.path(), &asked), wanted);
    }
    assert_eq!(
        ChainScan::begin(folder.path()).unwrap().owner().map(|name| name.contains("lucid")),
        Some(true)
    );
    // Of a part of a chain it is not known which ids come again.
    for part in [
        ValidationRequest { from: Some(1), ..ValidationRequest::default() },
        ValidationRequest { to: Some(3), ..ValidationRequest::default() },
    ] {
        assert_eq!(scanned(folder.path(), &part), None);
    }
    drop(manager);
    assert!(scanned(folder.path(), &all).is_some());
    let blocks = folder.path().join("blocks");
    let mut files: Vec<_> =
        std::fs::read_dir(&blocks).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 10, "{files:?}");
    files.push(folder.path().join("TIP"));
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        let put = |bytes: &[u8]| std::fs::write(file, bytes).unwrap();
        for at in [whole.len() / 3, whole.len() - 1] {
            flip(file, at);
            assert_eq!(scanned(folder.path(), &all), None, "{} at {at}", file.display());
            put(&whole);
        }
        for end in [0, whole.len() / 2] {
            put(whole.get(..end).unwrap());
            assert_eq!(scanned(folder.path(), &all), None, "{} up to {end}", file.display());
        }
        put(&[whole.as_slice(), b"x"].concat());
        assert_eq!(scanned(folder.path(), &all), None, "{} with more", file.display());
        std::fs::remove_file(file).unwrap();
        assert_eq!(scanned(folder.path(), &all), None, "without {}", file.display());
        put(&whole);
    }
    assert!(scanned(folder.path(), &all).is_some());
    // A file of another place, or of another store, does not belong here.
    let [second, third] = ["00000002.bodies", "00000003.bodies"].map(|name| blocks.join(name));
    let away = folder.path().join("away");
    for (from, to) in [(&second, &away), (&third, &second), (&away, &third)] {
        std::fs::rename(from, to).unwrap();
    }
    assert_eq!(scanned(folder.path(), &all), None);
    for (from, to) in [(&third, &away), (&second, &third), (&away, &second)] {
        std::fs::rename(from, to).unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    drop(chain(other.path()));
    let first = blocks.join("00000001.blocks");
    let whole = std::fs::read(&first).unwrap();
    std::fs::copy(other.path().join("blocks/00000001.blocks"), &first).unwrap();
    assert_eq!(scanned(folder.path(), &all), None);
    std::fs::write(&first, whole).unwrap();
    assert!(scanned(folder.path(), &all).is_some());
    // What was pruned is for the opened chain to tell from what is lost.
    let manager = small(folder.path());
    maintain(&manager, CyclePlan { full: true, cursor: None, keep: 6, suspects: &[] });
    assert!(opened(&manager, &all).is_valid());
    assert_eq!(scanned(folder.path(), &all), None);
}

#[test]
fn nothing_is_removed_until_a_block_that_broke_a_rule_was_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let suspects = [Invalid { index: 10, why: "it was altered".into() }];
    let wanted = CyclePlan { full: false, cursor: Some(3), keep: 5, suspects: &suspects };
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    // Others were looked at.
    let cycle = maintain_chain(vault, chain, now(), &wanted, &mut |_| false).unwrap();
    assert_eq!((cycle.integrity.checked, cycle.pruning.blocks), (1, 0));
    assert!(cycle.spared.unwrap().contains("block 10"));
    assert_eq!(cycle.suspects, suspects);
    let cycle = maintain(
        &manager,
        CyclePlan { full: true, cursor: None, keep: 5, suspects: &cycle.suspects },
    );
    assert!(cycle.suspects.is_empty() && cycle.pruning.blocks > 0, "{cycle:?}");
}

#[test]
fn a_restart_does_not_forget_which_block_broke_a_rule() {
    let folder = tempfile::tempdir().unwrap();
    let manager = chain(folder.path());
    let suspects = [Invalid { index: 10, why: "it was altered".into() }];
    let wanted = CyclePlan { full: false, cursor: Some(3), keep: 5, suspects: &suspects };
    let (vault, store) = (&manager.vault, manager.chain.as_ref());
    maintain_chain(vault, store, now(), &wanted, &mut |_| false).unwrap();
    drop(manager);
    // Nor does an index that is built anew.
    for reindexed in [false, true] {
        if reindexed {
            std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        }
        let manager = small(folder.path());
        let wanted = CyclePlan { full: false, cursor: None, keep: 5, suspects: &[] };
        let (vault, store) = (&manager.vault, manager.chain.as_ref());
        let cycle = maintain_chain(vault, store, now(), &wanted, &mut |_| false).unwrap();
        assert_eq!((cycle.integrity.checked, cycle.pruning.blocks), (1, 0));
        assert_eq!(cycle.suspects, suspects);
    }
    let manager = small(folder.path());
    let found = maintain(&manager, CyclePlan { full: true, cursor: None, keep: 5, suspects: &[] });
    assert!(found.suspects.is_empty() && found.pruning.blocks > 0, "{found:?}");
    drop(manager);
    assert_eq!(fact::suspects(small(folder.path()).vault.index()).unwrap(), []);
}

/// A byte of the first block's record.
pub const FIRST_RECORD: usize = 300;
