//! What every index promises, tried on each of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_core::time::Timestamp;
use lucid_store::clock::Clock;
use lucid_store::contract::blobs::Placement;
use lucid_store::contract::index::{Change, Changes, Index, Row};
use lucid_store::files::index::EmbeddedIndex;
use lucid_store::files::segment_rows;
use lucid_store::files::watermark::Watermark;
use lucid_store::measured::MeasuredIndex;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::chunk_rows;
use proptest::prelude::*;

/// Runs a promise on a fresh index of each kind.
fn on_each(promise: impl Fn(&dyn Index)) {
    promise(&MemoryIndex::new());
    promise(&MeasuredIndex::over(Arc::new(MemoryIndex::new())));
    let home = tempfile::tempdir().unwrap();
    promise(&EmbeddedIndex::open(home.path()).unwrap());
}

fn put(key: &[u8], value: &[u8]) -> Change {
    (key.to_vec(), Some(value.to_vec()))
}

fn everything(index: &dyn Index) -> Vec<Row> {
    index.scan(&[], &[0xff; 9], usize::MAX, false).unwrap()
}

#[test]
fn absence_is_not_emptiness() {
    on_each(|index| {
        assert_eq!(index.get(b"k").unwrap(), None);
        index.write(vec![put(b"k", b"")]).unwrap();
        assert_eq!(index.get(b"k").unwrap(), Some(vec![]));
        index.write(vec![(b"k".to_vec(), None)]).unwrap();
        assert_eq!(index.get(b"k").unwrap(), None);
        index.write(vec![(b"k".to_vec(), None)]).unwrap();
        index.flush().unwrap();
    });
}

#[test]
fn a_scan_takes_its_start_leaves_its_end_and_stops_at_its_limit() {
    on_each(|index| {
        let keys: [&[u8]; 5] = [b"a", b"ab", b"b", b"b\x00", b"c"];
        index.write(keys.iter().map(|key| put(key, key)).collect()).unwrap();
        let scan = |from: &[u8], to: &[u8], limit, backwards| -> Vec<Vec<u8>> {
            let rows = index.scan(from, to, limit, backwards).unwrap();
            rows.into_iter()
                .map(|(key, value)| {
                    assert_eq!(key, value);
                    key
                })
                .collect()
        };
        assert_eq!(scan(b"ab", b"c", 9, false), [&b"ab"[..], b"b", b"b\x00"]);
        assert_eq!(scan(b"ab", b"c", 9, true), [&b"b\x00"[..], b"b", b"ab"]);
        assert_eq!(scan(b"ab", b"c", 2, false), [&b"ab"[..], b"b"]);
        assert_eq!(scan(b"ab", b"c", 1, true), [b"b\x00"]);
        let nothing: [Vec<u8>; 0] = [];
        assert_eq!(scan(b"c", b"a", 9, false), nothing);
        assert_eq!(scan(b"b", b"b", 9, true), nothing);
        assert_eq!(scan(b"a", b"d", 0, false), nothing);
    });
}

#[test]
fn the_later_change_of_a_key_in_one_write_wins() {
    on_each(|index| {
        index.write(vec![put(b"k", b"1"), put(b"k", b"2")]).unwrap();
        assert_eq!(index.get(b"k").unwrap(), Some(b"2".to_vec()));
    });
}

#[test]
fn changes_read_their_own_writes_and_nobody_else_does() {
    on_each(|index| {
        index.write(vec![put(b"k", b"old"), put(b"gone", b"x")]).unwrap();
        let mut changes = Changes::new(index);
        assert!(changes.is_empty());
        changes.put(b"k".to_vec(), b"new".to_vec());
        changes.remove(b"gone".to_vec());
        assert_eq!(changes.len(), 2);
        assert_eq!(changes.get(b"k").unwrap(), Some(b"new".to_vec()));
        assert_eq!(changes.get(b"gone").unwrap(), None);
        assert_eq!(index.get(b"k").unwrap(), Some(b"old".to_vec()));
        changes.write().unwrap();
        assert_eq!(everything(index), [(b"k".to_vec(), b"new".to_vec())]);
    });
}

#[test]
fn a_fresh_copy_ends_a_quarantine_and_an_old_quarantine_spares_it() {
    on_each(|index| {
        let name = ChunkName::new([7; 32]);
        let place = |offset| Placement {
            unit: 1,
            offset,
            stored_length: 5,
            plain_length: 9,
            encrypted: true,
        };
        let change = |make: &dyn Fn(&mut Changes<'_>)| {
            let mut changes = Changes::new(index);
            make(&mut changes);
            changes.write().unwrap();
        };
        change(&|changes| chunk_rows::place(changes, &name, &place(100)));
        assert_eq!(chunk_rows::placement(index, &name).unwrap(), Some(place(100)));
        change(&|changes| chunk_rows::quarantine(changes, &name, (1, 100)).unwrap());
        assert!(chunk_rows::is_quarantined(index, &name).unwrap());
        change(&|changes| chunk_rows::place(changes, &name, &place(900)));
        assert!(!chunk_rows::is_quarantined(index, &name).unwrap());
        change(&|changes| chunk_rows::quarantine(changes, &name, (1, 100)).unwrap());
        assert!(!chunk_rows::is_quarantined(index, &name).unwrap());
        assert_eq!(chunk_rows::placement(index, &name).unwrap(), Some(place(900)));
    });
}

#[test]
fn the_watermark_starts_before_everything() {
    on_each(|index| {
        assert_eq!(segment_rows::watermark(index).unwrap(), Watermark::START);
        let mark = Watermark { log: 2, offset: 9, commit: 4, ..Watermark::START };
        let mut changes = Changes::new(index);
        segment_rows::set_watermark(&mut changes, &mark);
        changes.write().unwrap();
        assert_eq!(segment_rows::watermark(index).unwrap(), mark);
        // A row that is no watermark is a broken index, not an empty one.
        index.write(vec![put(&[3], b"short")]).unwrap();
        assert!(segment_rows::watermark(index).is_err());
    });
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let home = tempfile::tempdir().unwrap();
    let rows: Vec<Row> = (0..2_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![1; 50])).collect();
    {
        let index = EmbeddedIndex::open(home.path()).unwrap();
        index.write(rows.iter().map(|(k, v)| put(k, v)).collect()).unwrap();
        index.flush().unwrap();
    }
    assert_eq!(everything(&EmbeddedIndex::open(home.path()).unwrap()), rows);
}

/// Files of any name and no sense are what a making that was killed may leave behind.
#[test]
fn an_index_whose_making_was_cut_short_is_made_again() {
    for name in ["version", "0.jnl", "lock", "keyspaces"] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(name), b"").unwrap();
        let index = EmbeddedIndex::open(home.path()).unwrap();
        index.write(vec![put(b"k", b"v")]).unwrap();
        drop(index);
        assert_eq!(everything(&EmbeddedIndex::open(home.path()).unwrap()).len(), 1);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Change>),
    Get(Vec<u8>),
    Scan(Vec<u8>, Vec<u8>, usize, bool),
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few different keys, so that steps meet.
    prop::collection::vec(0..3u8, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let change = (key(), prop::option::of(prop::collection::vec(any::<u8>(), 0..20)));
    prop_oneof![
        4 => prop::collection::vec(change, 0..8).prop_map(Step::Write),
        2 => key().prop_map(Step::Get),
        3 => (key(), key(), 0..10usize, any::<bool>())
            .prop_map(|(from, to, limit, backwards)| Step::Scan(from, to, limit, backwards)),
        1 => Just(Step::Reopen),
    ]
}

/// Runs the steps on an index and on a map, and compares every answer.
fn agrees(mut index: Box<dyn Index>, steps: &[Step], home: Option<&Path>) {
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Write(changes) => {
                for (key, value) in changes {
                    match value {
                        Some(value) => model.insert(key.clone(), value.clone()),
                        None => model.remove(key),
                    };
                }
                index.write(changes.clone()).unwrap();
            }
            Step::Get(key) => assert_eq!(index.get(key).unwrap(), model.get(key).cloned()),
            Step::Scan(from, to, limit, backwards) => {
                let mut rows: Vec<Row> = model
                    .iter()
                    .filter(|(key, _)| *key >= from && *key < to)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if *backwards {
                    rows.reverse();
                }
                rows.truncate(*limit);
                assert_eq!(index.scan(from, to, *limit, *backwards).unwrap(), rows);
            }
            Step::Reopen => {
                if let Some(home) = home {
                    drop(index);
                    index = Box::new(EmbeddedIndex::open(home).unwrap());
                }
            }
        }
    }
    assert_eq!(everything(index.as_ref()), model.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_index_in_memory_is_a_sorted_map(steps in prop::collection::vec(step(), 0..30)) {
        agrees(Box::new(MemoryIndex::new()), &steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_index_is_a_sorted_map(steps in prop::collection::vec(step(), 0..25)) {
        let home = tempfile::tempdir().unwrap();
        agrees(Box::new(EmbeddedIndex::open(home.path()).unwrap()), &steps, Some(home.path()));
    }
}

/// How much memory an index may take in the test below.
const BOUND: u64 = 64 << 20;

/// Run as a process of its own by the test below.
#[test]
#[ignore = "it measures the memory of its process, so it needs one of its own"]
fn an_index_in_memory_is_filled_until_it_is_refused() {
    let peak = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    let index = MemoryIndex::bounded(BOUND, Path::new("nowhere"));
    let before = peak();
    // In no order, as names of chunks come, and as small as rows are: then they weigh the most.
    let row = |n: u64| (blake3::hash(&n.to_le_bytes()).as_bytes().to_vec(), Some(vec![7; 21]));
    let refused = (0..).find_map(|n| index.write(vec![row(n)]).err()).unwrap().to_string();
    assert!(refused.contains("nowhere has no room for it"), "{refused}");
    let taken = peak() - before;
    let rows = index.rows().len() as u64;
    assert!(rows > BOUND / 250, "{rows} rows are too few");
    assert!(taken <= BOUND, "{rows} rows took {taken} bytes");
    assert!(taken > BOUND / 3, "{rows} rows took only {taken} bytes");
}

#[test]
fn an_index_in_memory_keeps_to_its_bound() {
    let name = "index::an_index_in_memory_is_filled_until_it_is_refused";
    let ran = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_clock_before_1970_is_an_error_and_no_panic() {
    let home = tempfile::tempdir().unwrap();
    let before = Timestamp::parse("1969-12-31T12:00:00Z").unwrap();
    let clock = Clock::by_hand(before);
    let refused = EmbeddedIndex::open_by(home.path(), clock.clone()).unwrap_err();
    assert!(refused.to_string().contains("before 1970"), "{refused}");
    clock.turn(Timestamp::parse("2026-01-27T10:00:00Z").unwrap());
    let index = EmbeddedIndex::open_by(home.path(), clock.clone()).unwrap();
    index.write(vec![(b"a".to_vec(), Some(b"1".to_vec()))]).unwrap();
    clock.turn(before);
    let refused = index.write(vec![(b"b".to_vec(), Some(b"2".to_vec()))]).unwrap_err();
    assert!(refused.to_string().contains("set the clock"), "{refused}");
    // What is there can be read, and nothing of what was refused is there.
    assert_eq!(index.get(b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(index.get(b"b").unwrap(), None);
}
