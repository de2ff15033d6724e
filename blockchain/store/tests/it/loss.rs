//! A log that lost its end though segments tell that there was more, and files that look whole and are not:
//! nothing is written or removed by their word, once or twice, and what is put back is there.

use std::collections::BTreeMap;

use lucid_store::committer::Limits;
use lucid_store::disk::Disk as _;
use lucid_store::disk::simulated::SimulatedDisk;
use lucid_store::segment::{self, REWRITTEN};

use crate::bench::{Entry, SMALL, Store, files, id_of, index_of, reads, without};
use crate::segments::{
    FIRST, OLDER, collect, fill, filled, fresh, names_missing, of_segment, put_back, scrubbed,
};

/// A store whose newest log files are gone, `CLOSED` being older than they: what they named was rewritten, but
/// for what came `after` that.
struct Lost {
    store: Store,
    disk: SimulatedDisk,
    /// What the rewritten segments have, and what came after.
    chunks: Vec<Vec<u8>>,
    after: Vec<Vec<u8>>,
    /// All the files, as they were.
    whole: BTreeMap<String, Vec<u8>>,
}

fn lost(limits: Limits, after: u32) -> Lost {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open_with(&disk, index.clone(), limits, false).unwrap();
    fill(&vault, 0, 4);
    drop(vault);
    let (mark, logs) = (files(&disk)["CLOSED"].clone(), disk.list("log").unwrap());
    let vault = store.open_with(&disk, index.clone(), limits, false).unwrap();
    vault.collect().unwrap().condense(&|_| Ok(true), &mut |_, _| true).unwrap();
    let chunks = fill(&vault, 100, 12);
    vault.collect().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    let after = fill(&vault, 200, after);
    drop(vault);
    let whole = files(&disk);
    for name in disk.list("log").unwrap().iter().filter(|name| !logs.contains(name)) {
        disk.unlink(&format!("log/{name}")).unwrap();
    }
    disk.unlink("CLOSED").unwrap();
    put_back(&disk, "CLOSED", &mark);
    Lost { store, disk, chunks, after, whole }
}

#[test]
fn no_start_writes_or_removes_anything_while_the_log_lacks_its_end() {
    for after in [0, 1] {
        let Lost { store, disk, chunks, after, whole } = lost(SMALL, after);
        let segments = disk.list("chunks").unwrap();
        for index in [fresh(), fresh()] {
            for start in 0..3 {
                let vault = store.open(&disk, &index).unwrap();
                let why = vault.read_only().unwrap();
                assert!(why.contains("commits are missing"), "start {start}: {why}");
                Entry::new(900, 1, vec![]).commit(&vault).unwrap_err();
                for bytes in &chunks {
                    assert_eq!(reads(&vault, bytes), Ok(true));
                }
                drop(vault);
                assert_eq!(disk.list("chunks").unwrap(), segments, "start {start}");
            }
            // Put back, it is read by an index that was made without it.
            let disk = disk.fork();
            for (path, bytes) in &whole {
                disk.unlink(path).unwrap();
                put_back(&disk, path, bytes);
            }
            let vault = store.open(&disk, &index).unwrap();
            assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
            for bytes in chunks.iter().chain(&after) {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
        }
    }
}

#[test]
fn the_loss_of_the_logs_end_once_accepted_keeps_every_chunk_and_is_not_asked_about_again() {
    let large = Limits { segment_bytes: 1 << 20, ..SMALL };
    for (limits, after) in [(SMALL, 0), (SMALL, 1), (large, 0), (large, 1)] {
        for write in [false, true] {
            let Lost { store, disk, chunks, after, .. } = lost(limits, after);
            let vault = store.open_with(&disk, fresh(), limits, true).unwrap();
            assert_eq!(vault.read_only(), None);
            let all: Vec<_> = chunks.into_iter().chain(after).collect();
            for bytes in &all {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
            let more = fill(&vault, 300, if write { 3 } else { 0 });
            drop(vault);
            let vault = store.open_with(&disk, fresh(), limits, false).unwrap();
            assert_eq!(vault.read_only(), None);
            for bytes in all.iter().chain(&more) {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
        }
    }
}

/// A store whose first segment is as it was after two chunks; and that segment as it should be.
fn shortened() -> (Store, SimulatedDisk, Vec<Vec<u8>>, Vec<u8>) {
    let (store, disk, index, chunks) = filled();
    let right = files(&disk)[FIRST].clone();
    let cut = of_segment(&store, &index, &chunks, 1)[2].offset as usize;
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &right[..cut]);
    (store, disk, chunks, right)
}

#[test]
fn an_index_that_is_made_beside_a_shortened_segment_does_not_let_it_be_replaced() {
    let (store, disk, chunks, right) = shortened();
    let index = fresh();
    for _ in 0..2 {
        let vault = store.open(&disk, &index).unwrap();
        assert!(vault.damage().iter().any(|d| d.file == FIRST), "{:?}", vault.damage());
        collect(&vault, &chunks);
        let packed = vault.collect().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
        assert!(packed.segments_damaged > 0);
    }
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &right);
    for index in [index, fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        assert_eq!(vault.damage(), []);
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn an_accepted_loss_of_a_segments_end_is_not_waited_for() {
    let (store, disk, chunks, _) = shortened();
    let index = fresh();
    drop(store.open_with(&disk, index.clone(), SMALL, true).unwrap());
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    let there = |bytes: &&Vec<u8>| reads(&vault, bytes) == Ok(true);
    let left: Vec<_> = chunks.iter().filter(there).cloned().collect();
    assert!(left.len() < chunks.len());
    let packed = vault.collect().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    assert_eq!(packed.segments_damaged, 0);
    for bytes in &left {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn a_draft_with_its_end_and_a_hole_replaces_nothing() {
    let (store, disk, index, chunks) = filled();
    let left = without(&disk, FIRST);
    let vault = store.open(&disk, &index).unwrap();
    vault.collect().unwrap().repack(9, 1, false, &mut |_, _| true).unwrap();
    drop(vault);
    let draft = segment::path(REWRITTEN | 1);
    let mut bytes = files(&disk)[&draft].clone();
    let length = bytes.len();
    bytes[length / 4..length / 2].fill(0);
    let read = |disk: &SimulatedDisk| {
        let vault = store.open(disk, &fresh()).unwrap();
        assert!(names_missing(&vault, FIRST), "{:?}", vault.damage());
        chunks.iter().filter(|bytes| reads(&vault, bytes) == Ok(true)).count()
    };
    let without_it = read(&left);
    put_back(&left, &draft, &bytes);
    for _ in 0..2 {
        assert!(read(&left) >= without_it);
    }
    for name in disk.list("chunks").unwrap() {
        assert!(name == "R0000001.seg" || left.list("chunks").unwrap().contains(&name));
    }
}

#[test]
fn rewritten_segments_of_another_store_are_neither_taken_in_nor_removed() {
    let mut other = Store::new(false);
    other.id = [7; 16];
    let other_disk = other.disk();
    let vault = other.open(&other_disk, &fresh()).unwrap();
    let theirs = fill(&vault, 500, 20);
    let appended = files(&other_disk)[FIRST].clone();
    vault.collect().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    let rewritten = files(&other_disk)[OLDER].clone();
    let store = Store::new(false);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 20);
    drop(vault);
    let vault = store.open(&disk, &index).unwrap();
    vault.collect().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    // Under a number of its own, and under one that was replaced here.
    let beside = disk.fork();
    put_back(&beside, "chunks/R0000007.seg", &rewritten);
    put_back(&beside, FIRST, &appended);
    for index in [index_of(&index.rows()), fresh()] {
        let vault = store.open(&beside, &index).unwrap();
        vault.collect().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
        drop(vault);
        assert_eq!(files(&beside)["chunks/R0000007.seg"], rewritten);
        assert_eq!(files(&beside)[FIRST], appended);
    }
    // In the place of ours.
    let ours = files(&disk)[OLDER].clone();
    disk.unlink(OLDER).unwrap();
    put_back(&disk, OLDER, &rewritten);
    for index in [index, fresh()] {
        let disk = disk.fork();
        let vault = store.open(&disk, &index).unwrap();
        assert_eq!(scrubbed(&vault), [OLDER]);
        assert!(!vault.knows(&id_of(&theirs[0]), false).unwrap());
        collect(&vault, &chunks);
        vault.collect().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
        drop(vault);
        assert_eq!(files(&disk)[OLDER], rewritten);
        disk.unlink(OLDER).unwrap();
        put_back(&disk, OLDER, &ours);
        let vault = store.open(&disk, &index).unwrap();
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn kills_while_a_segment_is_away_cost_nothing_when_it_is_back() {
    let (store, disk, index, chunks) = filled();
    let away = "chunks/00000002.seg";
    let back = files(&disk)[away].clone();
    let live: Vec<_> =
        (0..).zip(&chunks).filter(|(n, _)| n % 3 != 0).map(|(_, c)| c.clone()).collect();
    for is_away in [false, true] {
        let disk = if is_away { without(&disk, away) } else { disk.fork() };
        let start = disk.calls();
        let vault = store.open(&disk, &index_of(&index.rows())).unwrap();
        collect(&vault, &live);
        vault.collect().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
        vault.collect().unwrap().condense(&|_| Ok(true), &mut |_, _| true).unwrap();
        drop(vault);
        for calls in (start..=disk.calls()).step_by(5) {
            let killed = disk.after_kill(calls);
            let again = fresh();
            let vault = store.open(&killed, &again).unwrap();
            assert_eq!(vault.read_only(), None, "{calls}");
            let left = collect(&vault, &live).segments_damaged;
            let packed = vault.collect().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
            assert!(is_away || left + packed.segments_damaged == 0, "{calls}");
            drop(vault);
            if is_away && !killed.list("chunks").unwrap().contains(&"00000002.seg".to_owned()) {
                put_back(&killed, away, &back);
            }
            for index in [again, fresh()] {
                let vault = store.open(&killed, &index).unwrap();
                assert_eq!(vault.read_only(), None, "{calls}");
                for bytes in &live {
                    assert_eq!(reads(&vault, bytes), Ok(true), "{calls}");
                }
            }
        }
    }
}
