//! The index is derived: gone, old, foreign or broken, `lucid reindex` brings everything back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use lucid_store::contract::index::Index as _;
use lucid_store::files::index::EmbeddedIndex;
use lucid_store::registry::data_chain::key::IN_ORDER;
use serde_json::Value;

use super::home::{Home, Snapshot, copy, noise, prose};

/// The two folders that have an index.
const SERVICES: [&str; 2] = ["data-chain", "block-manager"];

fn index(home: &Home, service: &str) -> PathBuf {
    home.data().join(service).join("index")
}

/// Leaves nothing of an index that can be opened.
pub fn break_index(home: &Home, service: &str) {
    let mut waiting = vec![index(home, service)];
    while let Some(folder) = waiting.pop() {
        for found in fs::read_dir(folder).unwrap() {
            let found = found.unwrap();
            if found.file_type().unwrap().is_dir() {
                waiting.push(found.path());
            } else {
                fs::write(found.path(), "not an index").unwrap();
            }
        }
    }
}

/// A store of several sessions, one of them still open.
fn filled() -> Home {
    let home = Home::new();
    home.file("tree/a", prose(1, 400_000));
    home.file("tree/b", noise(2, 3_000_000));
    home.archive("first", &home.at("tree"));
    for service in SERVICES {
        copy(&index(&home, service), &home.at(&format!("old/{service}")));
    }
    home.file("tree/c", noise(3, 1_000_000));
    home.archive("second", &home.at("tree"));
    let stream = home.file("stream", noise(4, 6_000_000));
    home.done(&[&"append", &stream, &"--session", &"open", &"--keep-open"]);
    home
}

/// Everything that can be known through the index.
fn known(home: &Home) -> (BTreeMap<String, Value>, Snapshot) {
    let out = tempfile::tempdir().unwrap();
    let into = out.path().join("out");
    home.done(&[&"restore", &"second", &"-o", &into]);
    (home.sessions(), Snapshot::of(&into))
}

fn assert_back(home: &Home, before: &(BTreeMap<String, Value>, Snapshot)) {
    let after = known(home);
    assert_eq!(before.0, after.0);
    before.1.assert_same(&after.1);
    home.assert_sound();
    // Chunks are known again, and so are the anchors.
    let again = home.archive("again", &home.at("tree"));
    assert!(again["bytes_new"].as_u64().unwrap() < 10_000, "{again:#}");
    assert_eq!(again["block_index"], 2);
    let stream = home.done(&[&"append", &home.at("stream"), &"--session", &"open"]);
    assert!(stream.text().contains("6,000,000 bytes"), "{}", stream.text());
    assert!(home.done(&[&"cat", &"open"]).out == noise(4, 6_000_000));
    home.assert_sound();
}

fn with_indexes_changed(change: impl Fn(&Home, &str, &Path)) {
    let home = filled();
    let before = known(&home);
    for service in SERVICES {
        change(&home, service, &index(&home, service));
    }
    home.done(&[&"reindex"]);
    assert_back(&home, &before);
}

#[test]
fn a_deleted_index_is_built_anew() {
    with_indexes_changed(|_, _, index| fs::remove_dir_all(index).unwrap());
}

#[test]
fn an_index_that_was_deleted_is_missed_by_nobody_even_without_reindexing() {
    let home = filled();
    let before = known(&home);
    for service in SERVICES {
        fs::remove_dir_all(index(&home, service)).unwrap();
    }
    assert_back(&home, &before);
}

#[test]
fn an_older_copy_of_the_index_is_brought_up_to_date() {
    with_indexes_changed(|home, service, index| {
        fs::remove_dir_all(index).unwrap();
        copy(&home.at(&format!("old/{service}")), index);
    });
}

#[test]
fn an_older_copy_is_also_caught_up_with_when_nobody_reindexes() {
    let home = filled();
    let before = known(&home);
    for service in SERVICES {
        fs::remove_dir_all(index(&home, service)).unwrap();
        copy(&home.at(&format!("old/{service}")), &index(&home, service));
    }
    assert_back(&home, &before);
}

#[test]
fn the_index_of_another_store_is_replaced() {
    let other = Home::new();
    other.file("tree/other", noise(9, 100_000));
    for session in ["x", "y", "z"] {
        other.archive(session, &other.at("tree"));
    }
    with_indexes_changed(|_, service, place| {
        fs::remove_dir_all(place).unwrap();
        copy(&index(&other, service), place);
    });
}

#[test]
fn an_index_that_cannot_be_opened_says_what_to_do_and_is_replaced() {
    let home = filled();
    let before = known(&home);
    break_index(&home, "data-chain");
    let why = home.refused(74, &[&"ls"]);
    assert!(why.contains("lucid reindex"), "{why}");
    break_index(&home, "block-manager");
    home.done(&[&"reindex"]);
    assert_back(&home, &before);
}

/// Puts the values of the first rows of two sessions in each other's place, in the index of a store that
/// nobody has open.
fn swap_rows(home: &Home, prefix: u8) {
    let index = EmbeddedIndex::open(&index(home, "data-chain")).unwrap();
    let rows = index.scan(&[prefix], &[prefix + 1], usize::MAX, false).unwrap();
    let (a, of_a) = rows.first().unwrap().clone();
    let (b, of_b) = rows.iter().find(|(key, _)| key[1..17] != a[1..17]).unwrap().clone();
    index.write(vec![(a, Some(of_b)), (b, Some(of_a))]).unwrap();
    index.flush().unwrap();
}

#[test]
fn rows_in_each_others_place_are_refused_until_the_index_is_made_anew() {
    let home = Home::new();
    for (session, seed) in [("one", 1), ("other", 2)] {
        let stream = home.file(session, noise(seed, 8_000_000));
        home.done(&[&"append", &stream, &"--session", &session, &"--keep-open"]);
    }
    // Of sessions, of references, and of what is not cut yet.
    for prefix in [0x50, 0x51, 0x52] {
        swap_rows(&home, prefix);
        for session in ["one", "other"] {
            let ran = home.run(&[&"cat", &session]);
            assert_ne!(ran.code, 0, "{prefix:#x}");
            assert!(ran.complaint().contains("lucid reindex"), "{prefix:#x}: {}", ran.err);
        }
        // What a check of everything finds besides is told all the same.
        let segment = home.data().join("data-chain/chunks/00000001.seg");
        let sound = fs::read(&segment).unwrap();
        let mut damaged = sound.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&segment, damaged).unwrap();
        let ran = home.run(&[&"verify", &"--all"]);
        assert_eq!(ran.code, 1, "{prefix:#x}: {}", ran.err);
        let said = format!("{}{}", ran.err, ran.text());
        assert!(said.contains("chunks/00000001.seg at byte"), "{prefix:#x}: {said}");
        // What is not cut yet is read only when the session is gone on with.
        assert!(prefix == 0x52 || said.contains("lucid reindex"), "{prefix:#x}: {said}");
        fs::write(&segment, sound).unwrap();
        home.done(&[&"reindex"]);
        for (session, seed) in [("one", 1), ("other", 2)] {
            assert!(home.done(&[&"cat", &session]).out == noise(seed, 8_000_000));
        }
    }
    home.assert_sound();
}

#[test]
fn an_index_built_from_a_damaged_log_is_not_called_whole() {
    let home = filled();
    let log = home.data().join("data-chain/log/00000001.log");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let ran = home.run(&[&"reindex", &"--accept-loss"]);
    assert!(ran.err.contains("data-chain/log/00000001.log at byte"), "{}", ran.err);
    assert!(ran.text().contains("rebuilt"), "{}{}", ran.err, ran.text());
    assert_eq!(ran.code, 1);
}

#[test]
fn a_chain_that_cannot_be_opened_is_a_fault_of_the_session_that_is_in_it() {
    let home = Home::new();
    home.archive("s", &home.file("a", "a"));
    break_index(&home, "block-manager");
    let ran = home.run(&[&"verify", &"s"]);
    assert_eq!(ran.code, 1, "{}{}", ran.err, ran.text());
    assert!(ran.err.contains("the chain cannot be opened"), "{}", ran.err);
    fs::remove_dir_all(home.data().join("block-manager")).unwrap();
    let ran = home.run(&[&"verify", &"s"]);
    assert_eq!(ran.code, 1, "{}{}", ran.err, ran.text());
    assert!(ran.err.contains("block-manager"), "{}", ran.err);
}

#[test]
fn the_orders_of_documents_are_made_anew_without_the_log() {
    let home = filled();
    let asked =
        |what: &str| home.done(&[&"--json", &"query", &"sessions", &what, &"--oldest-first"]).out;
    let before = asked("status=anchored");
    assert_eq!(before.iter().filter(|byte| **byte == b'\n').count(), 2);
    let sound = home.json(&[&"reindex", &"--records"]);
    assert_eq!((&sound["sessions"], &sound["places_added"]), (&3.into(), &0.into()));
    assert_eq!(sound["places_removed"], 0);
    {
        let index = EmbeddedIndex::open(&index(&home, "data-chain")).unwrap();
        let places = index.scan(&[IN_ORDER], &[IN_ORDER + 1], 1_000, false).unwrap();
        assert!(!places.is_empty());
        index.write(places.into_iter().map(|(key, _)| (key, None)).collect()).unwrap();
        index.flush().unwrap();
    }
    assert_eq!(asked("status=anchored"), b"");
    let mended = home.json(&[&"reindex", &"--records"]);
    assert!(mended["places_added"].as_u64().unwrap() >= 3, "{mended}");
    assert_eq!(asked("status=anchored"), before);
    home.refused(64, &[&"reindex", &"--records", &"--accept-loss"]);
    home.assert_sound();
}
