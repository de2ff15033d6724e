//! Segments that are away, come back, are another store's, or have been replaced: what counts is never
//! taken for dead, nothing relies on what is not there, and no number is used twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lucid_core::digest::ChunkName;
use lucid_store::StoreError;
use lucid_store::contract::blobs::Placement;
use lucid_store::contract::index::Index;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::segment::{self, REWRITTEN};
use lucid_store::memory::faulty::{FaultyIndex, IndexCall};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::chunk_rows::{is_quarantined, placement};
use lucid_store::vault::collect::{Collected, Names};
use lucid_store::vault::scrub::Cursor;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::bench::{Entry, SMALL, Store, chunk, facts_of, files, id_of, index_of, reads, without};

pub const FIRST: &str = "chunks/00000001.seg";

/// One chunk a commit, over several segments.
pub fn fill(vault: &Vault, from: u32, count: u32) -> Vec<Vec<u8>> {
    let commit = |number: u32| {
        let bytes = chunk(number, 300 + (number as usize * 37) % 500);
        Entry::new(number, 1, vec![bytes.clone()]).commit(vault).unwrap();
        bytes
    };
    (from..from + count).map(commit).collect()
}

/// A store of several segments, and of more log files, that was closed in order.
pub fn filled() -> (Store, SimulatedDisk, Arc<MemoryIndex>, Vec<Vec<u8>>) {
    filled_by(true)
}

fn filled_by(encrypted: bool) -> (Store, SimulatedDisk, Arc<MemoryIndex>, Vec<Vec<u8>>) {
    let store = Store::new(encrypted);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 20);
    // The newest log file holds no commit that names a segment.
    (1_000..1_020).for_each(|number| {
        Entry::new(number, 1, vec![]).commit(&vault).unwrap();
    });
    drop(vault);
    assert!(disk.list("chunks").unwrap().len() > 3);
    (store, disk, index, chunks)
}

pub fn fresh() -> Arc<MemoryIndex> {
    Arc::new(MemoryIndex::new())
}

pub fn collect(vault: &Vault, live: &[Vec<u8>]) -> Collected {
    let mut names = Names::default();
    live.iter().for_each(|bytes| names.add(&vault.cipher().chunk_name(&id_of(bytes))));
    names.settle();
    vault.begin_collection().unwrap().run(&names, &|_, _| Ok(true), &mut |_, _| true).unwrap()
}

/// A store of which everything was rewritten, and then only the first half is referred to: its log is
/// condensed, and no appended segment is left.
fn rewritten() -> (Store, SimulatedDisk, Vec<Vec<u8>>) {
    rewritten_by(true)
}

fn rewritten_by(encrypted: bool) -> (Store, SimulatedDisk, Vec<Vec<u8>>) {
    let (store, disk, index, chunks) = filled_by(encrypted);
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    vault.begin_collection().unwrap().condense(&|_| Ok(false), &mut |_, _| true).unwrap();
    drop(vault);
    let names = disk.list("chunks").unwrap();
    assert!(names.iter().all(|name| name.starts_with('R')), "{names:?}");
    (store, disk, chunks)
}

fn in_segment(index: &dyn Index, vault: &Vault, number: u32, bytes: &[u8]) -> bool {
    let name = vault.cipher().chunk_name(&id_of(bytes));
    placement(index, &name).unwrap().is_some_and(|at| at.unit == number)
}

/// Where those of these chunks are that are in this segment, in the order of their places.
pub fn of_segment(
    store: &Store,
    index: &Arc<MemoryIndex>,
    chunks: &[Vec<u8>],
    number: u32,
) -> Vec<Placement> {
    let name = |bytes: &Vec<u8>| store.cipher.chunk_name(&id_of(bytes));
    let place = |bytes| placement(index.as_ref(), &name(bytes)).unwrap();
    let mut places: Vec<_> =
        chunks.iter().filter_map(place).filter(|at| at.unit == number).collect();
    places.sort_by_key(|at| at.offset);
    places
}

pub fn names_missing(vault: &Vault, path: &str) -> bool {
    vault.damage().iter().any(|d| d.file == path && d.why == "the file is missing")
}

pub fn scrubbed(vault: &Vault) -> Vec<String> {
    let stretch = vault.scrub(Cursor::default(), u64::MAX, &|_| true).unwrap();
    stretch.findings.iter().map(|finding| finding.damage.file.clone()).collect()
}

pub fn put_back(disk: &SimulatedDisk, path: &str, bytes: &[u8]) {
    disk.create(path).unwrap().append(&[bytes]).unwrap();
}

#[test]
fn a_segment_that_is_gone_is_named_and_nothing_relies_on_it() {
    let (store, disk, index, chunks) = filled();
    let bytes = files(&disk)[FIRST].clone();
    disk.unlink(FIRST).unwrap();
    for start in 0..2 {
        let vault = store.open(&disk, &index).unwrap();
        assert_eq!(vault.read_only(), None);
        assert!(names_missing(&vault, FIRST), "start {start}: {:?}", vault.damage());
        assert_eq!(scrubbed(&vault), [FIRST], "start {start}");
    }
    let vault = store.open(&disk, &index).unwrap();
    let (gone, kept): (Vec<_>, Vec<_>) =
        chunks.iter().partition(|bytes| in_segment(index.as_ref(), &vault, 1, bytes));
    assert!(gone.len() > 2 && kept.len() > 2);
    for bytes in &kept {
        assert!(vault.knows(&id_of(bytes), true).unwrap());
    }
    for bytes in &gone {
        assert!(!vault.knows(&id_of(bytes), true).unwrap());
        reads(&vault, bytes).unwrap_err();
    }
    // What comes again is stored again, and not found in a file that is not there.
    let again = vec![gone[0].clone()];
    Entry::new(900, 1, again).commit(&vault).unwrap();
    assert_eq!(reads(&vault, gone[0]), Ok(true));
    drop(vault);
    // And when the file is back, everything is as it was.
    put_back(&disk, FIRST, &bytes);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!(vault.damage(), []);
    assert_eq!(scrubbed(&vault), [""; 0]);
    for bytes in &chunks {
        assert!(vault.knows(&id_of(bytes), true).unwrap());
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn a_segment_that_was_away_while_the_index_was_made_is_taken_in_when_it_is_back() {
    let (store, disk, _, chunks) = filled();
    let bytes = files(&disk)[FIRST].clone();
    disk.unlink(FIRST).unwrap();
    let index = fresh();
    drop(store.open(&disk, &index).unwrap());
    put_back(&disk, FIRST, &bytes);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!(vault.damage(), []);
    assert_eq!(collect(&vault, &chunks).bytes_freed, 0);
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    for bytes in &chunks {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

/// Damages a chunk, and has that noticed; gives its name, and where it is.
fn damaged(disk: &SimulatedDisk, vault: &Vault, bytes: &[u8]) -> (ChunkName, Placement) {
    let name = vault.cipher().chunk_name(&id_of(bytes));
    let at = placement(vault.index(), &name).unwrap().unwrap();
    disk.flip(&segment::path(at.unit), at.offset as usize + 150);
    reads(vault, bytes).unwrap_err();
    (name, at)
}

#[test]
fn a_damaged_chunk_is_known_as_such_when_its_segment_comes_back() {
    let (store, disk, index, chunks) = filled();
    let vault = store.open(&disk, &index).unwrap();
    let (name, at) = damaged(&disk, &vault, &chunks[0]);
    drop(vault);
    let path = segment::path(at.unit);
    let bytes = files(&disk)[&path].clone();
    disk.unlink(&path).unwrap();
    let index = fresh();
    drop(store.open(&disk, &index).unwrap());
    put_back(&disk, &path, &bytes);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!(placement(index.as_ref(), &name).unwrap(), Some(at));
    assert!(is_quarantined(index.as_ref(), &name).unwrap());
    assert!(!vault.knows(&id_of(&chunks[0]), true).unwrap());
}

#[test]
fn a_store_without_any_of_its_segments_is_not_written_to_until_that_is_accepted() {
    let (store, disk, index, chunks) = filled();
    for path in disk.list("chunks").unwrap() {
        disk.unlink(&format!("chunks/{path}")).unwrap();
    }
    for index in [index.clone(), fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        let why = vault.read_only().unwrap();
        assert!(why.contains("chunks/: none of the segments"), "{why}");
        assert!(why.contains("mount") && why.contains("lucid reindex --accept-loss"), "{why}");
        Entry::new(900, 1, vec![chunks[0].clone()]).commit(&vault).unwrap_err();
        assert_eq!(disk.list("chunks").unwrap(), [""; 0]);
    }
    let index = fresh();
    let vault = store.open_with(&disk, index.clone(), SMALL, true).unwrap();
    assert_eq!(vault.read_only(), None);
    drop(vault);
    // Accepted is accepted: the next start does not ask again, nor does a scrub.
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    assert_eq!(scrubbed(&vault), [""; 0]);
    assert_eq!(facts_of(index.as_ref()).len(), chunks.len() + 20);
    Entry::new(900, 1, vec![chunks[0].clone()]).commit(&vault).unwrap();
    assert_eq!(reads(&vault, &chunks[0]), Ok(true));
    drop(vault);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    assert_eq!(reads(&vault, &chunks[0]), Ok(true));
}

#[test]
fn a_new_segment_never_has_the_number_of_one_that_was_replaced() {
    let (store, disk, chunks) = rewritten();
    // Of the log only the newest file is left, which says what replaced what, and no mark says more.
    let mut logs = disk.list("log").unwrap();
    logs.pop();
    let paths = logs.iter().map(|name| format!("log/{name}")).chain(["CLOSED".to_owned()]);
    let disk = paths.fold(disk, |disk, path| without(&disk, &path));
    let index = fresh();
    let vault = store.open_with(&disk, index.clone(), SMALL, true).unwrap();
    let more = chunk(7_000, 600);
    Entry::new(900, 1, vec![more.clone()]).commit(&vault).unwrap();
    drop(vault);
    for index in [index, fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        assert_eq!(vault.read_only(), None);
        assert_eq!(reads(&vault, &more), Ok(true));
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn a_lost_log_is_noticed_beside_rewritten_segments_alone() {
    let (store, disk, chunks) = rewritten();
    for path in disk.list("log").unwrap() {
        disk.unlink(&format!("log/{path}")).unwrap();
    }
    let names = disk.list("chunks").unwrap();
    for lost in [disk.fork(), without(&disk, "CLOSED")] {
        for start in 0..2 {
            let vault = store.open(&lost, &fresh()).unwrap();
            assert!(vault.read_only().is_some(), "start {start}");
            drop(vault);
            assert_eq!(lost.list("chunks").unwrap(), names);
        }
        let vault = store.open_with(&lost, fresh(), SMALL, true).unwrap();
        assert_eq!(vault.read_only(), None);
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn a_segment_of_another_store_is_named_and_neither_taken_in_nor_removed() {
    let (store, disk, index, chunks) = filled();
    let other = Store::new(false);
    let other_disk = other.disk();
    let vault = other.open(&other_disk, &fresh()).unwrap();
    let theirs = fill(&vault, 500, 20);
    drop(vault);
    let ended = files(&other_disk)[FIRST].clone();
    let cut = ended[..ended.len() - 100].to_vec();
    let ahead = "chunks/00000099.seg";
    for (bytes, accept) in [(&ended, false), (&cut, false), (&ended, true), (&cut, true)] {
        for index in [index_of(&index.rows()), fresh()] {
            let disk = disk.fork();
            put_back(&disk, ahead, bytes);
            let vault = store.open_with(&disk, index.clone(), SMALL, accept).unwrap();
            let why = vault.read_only().unwrap();
            assert!(why.contains(ahead) && why.contains("move the file out"), "{why}");
            let named = "the file belongs to another store";
            assert!(vault.damage().iter().any(|d| d.file == ahead && d.why == named));
            assert!(!vault.knows(&id_of(&theirs[0]), false).unwrap());
            drop(vault);
            assert_eq!(&files(&disk)[ahead], bytes);
            disk.unlink(ahead).unwrap();
            let vault = store.open(&disk, &index).unwrap();
            assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
            for bytes in &chunks {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
        }
    }
    // In the place of one of ours it is named, too, and ours is missing.
    let disk = without(&disk, FIRST);
    put_back(&disk, FIRST, &ended);
    let vault = store.open(&disk, &fresh()).unwrap();
    assert!(names_missing(&vault, FIRST), "{:?}", vault.damage());
    assert!(!vault.knows(&id_of(&theirs[0]), false).unwrap());
    assert_eq!(files(&disk)[FIRST], ended);
}

#[test]
fn a_healed_chunk_that_was_rewritten_is_in_no_quarantine_after_a_reindex() {
    let (store, disk, index, chunks) = filled();
    let vault = store.open(&disk, &index).unwrap();
    let (name, _) = damaged(&disk, &vault, &chunks[0]);
    Entry::new(900, 1, vec![chunks[0].clone()]).commit(&vault).unwrap();
    let done = vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    assert_eq!(done.units_damaged, 0, "{:?}", vault.damage());
    let now = placement(index.as_ref(), &name).unwrap().unwrap();
    assert!(now.unit & REWRITTEN != 0);
    drop(vault);
    let index = fresh();
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!(placement(index.as_ref(), &name).unwrap(), Some(now));
    assert!(!is_quarantined(index.as_ref(), &name).unwrap());
    assert!(vault.knows(&id_of(&chunks[0]), true).unwrap());
}

#[test]
fn what_a_rewriting_left_behind_replaces_nothing_while_a_segment_is_missing() {
    let (store, disk, index, chunks) = filled();
    // A rewriting died just before its switch, and then a segment is lost.
    let vault = store.open(&disk, &index).unwrap();
    let chunks = [chunks, fill(&vault, 100, 1)].concat();
    drop(vault);
    let rows = index.rows();
    let left = disk.fork();
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().repack(9, 1, false, &mut |_, _| true).unwrap();
    let draft = segment::path(REWRITTEN | 1);
    put_back(&left, &draft, &files(&disk)[&draft]);
    drop(vault);
    let last = disk.list("chunks").unwrap().into_iter().find(|name| !name.starts_with('R'));
    let lost = format!("chunks/{}", last.unwrap());
    let disk = without(&left, &lost);
    let index = index_of(&rows);
    let vault = store.open(&disk, &index).unwrap();
    assert!(names_missing(&vault, &lost), "{:?}", vault.damage());
    let there: Vec<_> =
        chunks.iter().filter(|bytes| reads(&vault, bytes) == Ok(true)).cloned().collect();
    assert!(there.len() > 10);
    collect(&vault, &chunks);
    vault.begin_collection().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    for index in [index, fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        for bytes in &there {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn a_rewriting_that_died_half_way_replaces_no_segment_that_is_there() {
    let (store, disk, index, chunks) = filled();
    let left = disk.fork();
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().repack(9, 1, false, &mut |_, _| true).unwrap();
    drop(vault);
    let draft = segment::path(REWRITTEN | 1);
    let whole = files(&disk)[&draft].clone();
    for bytes in [&whole[..whole.len() / 2], &whole] {
        let disk = without(&left, FIRST);
        put_back(&disk, &draft, bytes);
        let vault = store.open(&disk, &fresh()).unwrap();
        let there: Vec<_> =
            chunks.iter().filter(|bytes| reads(&vault, bytes) == Ok(true)).collect();
        assert!(there.len() >= 15, "{}", there.len());
        drop(vault);
        for _ in 0..2 {
            let vault = store.open(&disk, &fresh()).unwrap();
            for bytes in &there {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
        }
    }
}

/// Two generations: a rewritten segment, and appended ones behind it. And the bytes of the segment that
/// rewrites all of them.
struct Generations {
    store: Store,
    disk: SimulatedDisk,
    older: Vec<Vec<u8>>,
    newer: Vec<Vec<u8>>,
    draft: Vec<u8>,
}

pub const OLDER: &str = "chunks/R0000001.seg";
const DRAFT: &str = "chunks/R0000002.seg";

fn generations() -> Generations {
    let (store, disk, index, older) = filled();
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    let newer = fill(&vault, 100, 12);
    drop(vault);
    let later = disk.fork();
    let vault = store.open(&later, &index_of(&index.rows())).unwrap();
    vault.begin_collection().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    let draft = files(&later)[DRAFT].clone();
    Generations { store, disk, older, newer, draft }
}

#[test]
fn half_a_draft_stands_for_nothing_when_it_was_taken_in() {
    let Generations { store, disk, older, newer, draft } = generations();
    let lost = files(&disk)[OLDER].clone();
    // Ended behind any record, or in one.
    for length in (200..draft.len() - 100).step_by(draft.len() / 7) {
        let disk = without(&disk, OLDER);
        put_back(&disk, DRAFT, &draft[..length]);
        let index = fresh();
        let vault = store.open(&disk, &index).unwrap();
        assert!(names_missing(&vault, OLDER), "{:?}", vault.damage());
        for bytes in &newer {
            assert_eq!(reads(&vault, bytes), Ok(true), "{length}");
        }
        let kept: Vec<_> = older[..2].iter().chain(&newer).cloned().collect();
        collect(&vault, &kept);
        vault.begin_collection().unwrap().repack(15, 1, true, &mut |_, _| true).unwrap();
        drop(vault);
        for index in [index, fresh()] {
            let vault = store.open(&disk, &index).unwrap();
            for bytes in &newer {
                assert_eq!(reads(&vault, bytes), Ok(true), "{length}");
            }
        }
        // The lost one is still wanted, and has its chunks when it is back.
        put_back(&disk, OLDER, &lost);
        let vault = store.open(&disk, &fresh()).unwrap();
        for bytes in &kept {
            assert_eq!(reads(&vault, bytes), Ok(true), "{length}");
        }
        assert!(files(&disk).contains_key(OLDER));
    }
}

#[test]
fn a_log_that_is_put_back_is_read_whole_by_the_index_that_was_made_without_it() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let first = fill(&vault, 0, 4);
    drop(vault);
    let (mark, logs) = (files(&disk)["CLOSED"].clone(), disk.list("log").unwrap());
    let vault = store.open(&disk, &index).unwrap();
    // A segment that stays, and others behind it of which nothing does.
    let more = fill(&vault, 100, 6);
    fill(&vault, 200, 12);
    drop(vault);
    let vault = store.open(&disk, &index).unwrap();
    let live = [first, more].concat();
    assert!(collect(&vault, &live).units_replaced > 1);
    drop(vault);
    let lost = disk.fork();
    let mut away = Vec::new();
    for name in disk.list("log").unwrap().iter().filter(|name| !logs.contains(name)) {
        let path = format!("log/{name}");
        away.push((path.clone(), files(&disk)[&path].clone()));
        lost.unlink(&path).unwrap();
    }
    let newest = files(&lost)["CLOSED"].clone();
    lost.unlink("CLOSED").unwrap();
    put_back(&lost, "CLOSED", &mark);
    let index = fresh();
    let vault = store.open(&lost, &index).unwrap();
    assert!(vault.read_only().is_some());
    drop(vault);
    for (path, bytes) in &away {
        put_back(&lost, path, bytes);
    }
    lost.unlink("CLOSED").unwrap();
    put_back(&lost, "CLOSED", &newest);
    let vault = store.open(&lost, &index).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    for bytes in &live {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn a_segment_that_lacks_what_the_index_has_in_it_is_left_alone() {
    let (store, disk, index, chunks) = filled();
    let right = files(&disk)[FIRST].clone();
    let places = of_segment(&store, &index, &chunks, 1);
    // As it was while it was still written to.
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &right[..places[2].offset as usize]);
    let vault = store.open(&disk, &index).unwrap();
    let repacked = vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    assert_eq!(repacked.units_damaged, 1);
    assert_eq!(collect(&vault, &chunks[5..]).units_damaged, 1);
    drop(vault);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = store.audit(shared).unwrap();
    assert!(found.damage.iter().any(|d| d.file == FIRST), "{:?}", found.damage);
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &right);
    for index in [index, fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        for bytes in &chunks[5..] {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn a_segment_of_another_store_in_the_place_of_one_of_ours_is_not_touched() {
    let other = Store::new(false);
    let other_disk = other.disk();
    let vault = other.open(&other_disk, &fresh()).unwrap();
    fill(&vault, 500, 20);
    drop(vault);
    let theirs = files(&other_disk)[FIRST].clone();
    // In the place of the one that is written to.
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let only = fill(&vault, 0, 1);
    drop(vault);
    let ours = files(&disk)[FIRST].clone();
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &theirs);
    for index in [index.clone(), fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        assert!(
            vault.read_only().unwrap().contains("move the file out"),
            "{:?}",
            vault.read_only()
        );
        drop(vault);
        assert_eq!(files(&disk)[FIRST], theirs);
    }
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &ours);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!(reads(&vault, &only[0]), Ok(true));
    drop(vault);
    // And of an older one, beside an index that has all rows.
    let (store, disk, index, chunks) = filled();
    let ours = files(&disk)[FIRST].clone();
    let theirs = theirs.repeat(3);
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &theirs);
    let vault = store.open(&disk, &index).unwrap();
    let named = "the file belongs to another store";
    assert!(
        vault.damage().iter().any(|d| d.file == FIRST && d.why == named),
        "{:?}",
        vault.damage()
    );
    assert!(names_missing(&vault, FIRST), "{:?}", vault.damage());
    assert_eq!(vault.read_only(), None);
    assert!(!vault.knows(&id_of(&chunks[0]), true).unwrap(), "nothing new relies on it");
    assert!(scrubbed(&vault).iter().all(|path| path == FIRST));
    collect(&vault, &chunks);
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    assert_eq!(files(&disk)[FIRST], theirs);
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &ours);
    let vault = store.open(&disk, &index).unwrap();
    for bytes in &chunks {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn after_an_accepted_loss_drafts_are_cleared_away_again() {
    let Generations { store, disk, .. } = generations();
    let gone = disk.list("chunks").unwrap().into_iter().rfind(|name| !name.starts_with('R'));
    let disk = without(&disk, &format!("chunks/{}", gone.unwrap()));
    // All that this one replaces is there.
    let begin = files(&disk)[OLDER].clone();
    let index = fresh();
    drop(store.open_with(&disk, index.clone(), SMALL, true).unwrap());
    let of_nothing = "chunks/R0000007.seg";
    put_back(&disk, of_nothing, &begin);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    assert!(!files(&disk).contains_key(of_nothing));
}

#[test]
fn damaged_segments_that_a_collection_leaves_alone_are_all_counted() {
    let (store, disk, index, chunks) = filled();
    // A header of the first and of the second: what lies in them cannot be listed any more.
    for path in [FIRST, "chunks/00000002.seg"] {
        let length = files(&disk)[path].len();
        disk.flip(path, length - 60);
        disk.flip(path, 300);
    }
    let vault = store.open(&disk, &index).unwrap();
    let kept = &chunks[..2];
    assert_eq!(collect(&vault, kept).units_damaged, 2);
    let repacked = vault.begin_collection().unwrap().repack(9, 1, false, &mut |_, _| true).unwrap();
    assert_eq!(repacked.units_damaged, 2);
}

#[test]
fn an_audit_names_the_newest_segment_of_a_condensed_store_when_it_is_lost() {
    let (store, disk, index, _) = filled();
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().condense(&|_| Ok(false), &mut |_, _| true).unwrap();
    drop(vault);
    let newest = format!("chunks/{}", disk.list("chunks").unwrap().last().unwrap());
    let lost = without(&without(&disk, &newest), "CLOSED");
    let lost: Arc<dyn Disk> = Arc::new(lost);
    let found = audit(&lost, Some(&store.cipher), store.id, None, &|_, _| {}).unwrap();
    assert!(found.damage.iter().any(|d| d.file == newest), "{:?}", found.damage);
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[test]
fn the_index_is_never_ahead_of_what_a_start_has_made_durable() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    fill(&vault, 0, 6);
    let (from, rows) = (disk.calls(), index.rows());
    fill(&vault, 6, 3);
    drop(vault);
    let mut writes = 0;
    for calls in from..disk.calls() {
        // Killed here: all that was written is in the page cache, and the disk may still lose it.
        let killed = disk.after_kill(calls);
        // What is durable at each write of the index, with its rows then.
        let seen = Arc::new(Mutex::new(Vec::<(SimulatedDisk, Rows)>::new()));
        let (now, told) = (killed.clone(), seen.clone());
        let index = FaultyIndex::over(index_of(&rows), |_| Ok(())).shown_to(move |rows| {
            told.lock().push((now.after_power_cut(now.calls(), 0), rows.rows()));
        });
        let vault = store.open_with(&killed, Arc::new(index), SMALL, false).unwrap();
        assert_eq!(vault.read_only(), None);
        drop(vault);
        for (cut, rows) in seen.lock().iter() {
            let vault = store.open(cut, &index_of(rows)).unwrap();
            assert_eq!(vault.read_only(), None, "killed after {calls} calls");
            writes += 1;
        }
    }
    assert!(writes > 3);
}

#[test]
fn a_rewritten_segment_of_another_store_is_named_at_the_start_and_ours_is_missing() {
    let (_, other_disk, _) = rewritten_by(false);
    let (store, disk, chunks) = rewritten();
    let index = fresh();
    drop(store.open(&disk, &index).unwrap());
    let path = "chunks/R0000001.seg";
    let (ours, theirs) = (files(&disk)[path].clone(), files(&other_disk)[path].clone());
    disk.unlink(path).unwrap();
    put_back(&disk, path, &theirs);
    let vault = store.open(&disk, &index).unwrap();
    let named = "the file belongs to another store";
    assert!(
        vault.damage().iter().any(|d| d.file == path && d.why == named),
        "{:?}",
        vault.damage()
    );
    assert!(names_missing(&vault, path), "{:?}", vault.damage());
    assert_eq!(vault.read_only(), None);
    assert!(!vault.knows(&id_of(&chunks[0]), true).unwrap(), "nothing new relies on it");
    drop(vault);
    assert_eq!(files(&disk)[path], theirs);
    disk.unlink(path).unwrap();
    put_back(&disk, path, &ours);
    let vault = store.open(&disk, &index).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    for bytes in &chunks {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn a_segment_before_the_newest_may_lack_its_footer_and_be_whole() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let first = fill(&vault, 0, 2);
    disk.fail_syncs(0, 1);
    Entry::new(50, 1, vec![chunk(50, 300)]).commit(&vault).unwrap_err();
    let second = fill(&vault, 60, 2);
    drop(vault);
    assert!(disk.list("chunks").unwrap().len() > 1);
    assert!(!files(&disk)[FIRST].windows(8).any(|bytes| bytes == b"LCDRfoot"));
    let vault = store.open(&disk, &fresh()).unwrap();
    assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
    for bytes in first.iter().chain(&second) {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
    assert_eq!(scrubbed(&vault), [""; 0]);
    assert_eq!(store.audit(Arc::new(disk.clone())).unwrap().damage, []);
}

#[test]
fn packing_finishes_what_a_collection_that_died_behind_its_dropping_left() {
    for log_is_whole in [true, false] {
        let (store, disk, index, chunks) = filled();
        let live = &chunks[10..];
        let bad = FaultyDisk::over(Arc::new(disk.clone()));
        let vault = store.open_on(Arc::new(bad.clone()), index.clone(), SMALL, false).unwrap();
        let mut names = Names::default();
        live.iter().for_each(|bytes| names.add(&vault.cipher().chunk_name(&id_of(bytes))));
        names.settle();
        bad.refuse(Call::Create, "chunks/R", Errno::NOSPC, 0, usize::MAX);
        let error = vault
            .begin_collection()
            .unwrap()
            .run(&names, &|_, _| Ok(true), &mut |_, _| true)
            .unwrap_err();
        assert!(error.is_full(), "{error}");
        drop(vault);
        let vault = store.open(&disk, &index).unwrap();
        if !log_is_whole {
            // What was dropped is not known any more, and nothing goes.
            assert!(disk.flip("log/00000001.log", 400));
        }
        let packed =
            vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
        assert_eq!(packed.units_damaged == 0, log_is_whole, "{packed:?}");
        assert_eq!(files(&disk).contains_key(FIRST), !log_is_whole);
        drop(vault);
        for index in [index.clone(), fresh()] {
            if !log_is_whole && index.rows().is_empty() {
                continue;
            }
            let vault = store.open(&disk, &index).unwrap();
            for bytes in live {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
            assert_eq!(reads(&vault, &chunks[0]), Ok(false));
        }
    }
}

#[test]
fn a_replaced_segment_that_cannot_be_removed_leaves_a_switch_that_is_said_to_have_happened() {
    let (store, disk, index, chunks) = filled();
    let bad = FaultyDisk::over(Arc::new(disk.clone()));
    let vault = store.open_on(Arc::new(bad.clone()), index.clone(), SMALL, false).unwrap();
    bad.refuse(Call::Name, "chunks/0", Errno::IO, 1, 1);
    let error = vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap_err();
    assert!(error.maybe_applied(), "{error}");
    assert!(disk.list("chunks").unwrap().iter().any(|name| name.starts_with('R')));
    drop(vault);
    for index in [index, fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn a_packing_ends_where_the_quarantine_of_a_damaged_chunk_cannot_be_kept() {
    let (store, disk, index, chunks) = filled();
    // The thread that writes cannot look at rows, so often.
    let left = Arc::new(AtomicUsize::new(0));
    let fails = left.clone();
    let rows = FaultyIndex::over(index, move |call| {
        let is_deciding =
            call == IndexCall::Get && std::thread::current().name() == Some("committer");
        let fewer = |left: usize| left.checked_sub(1);
        match is_deciding && fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
        {
            true => Err(StoreError::Index("the row cannot be read".into())),
            false => Ok(()),
        }
    });
    let vault = store.open_with(&disk, Arc::new(rows), SMALL, false).unwrap();
    let at = vault.placement(&id_of(&chunks[0])).unwrap().unwrap();
    assert!(disk.flip(&segment::path(at.unit), at.offset as usize + 150));
    let pack = || vault.begin_collection().unwrap().repack(9, 1, false, &mut |_, _| true);
    // It is tried again for each segment once at most, and these are far fewer.
    left.store(100, Ordering::Relaxed);
    let ended = pack();
    assert!(matches!(ended, Err(StoreError::Damaged(_))), "{ended:?}");
    left.store(0, Ordering::Relaxed);
    assert_eq!(pack().unwrap().units_damaged, 1);
    for bytes in &chunks[1..] {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}
