//! A log that lost its end though segments tell that there was more, and files that look whole and are not:
//! nothing is written or removed by their word, once or twice, and what is put back is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lucid_store::StoreError;
use lucid_store::files::Limits;
use lucid_store::files::disk::Disk as _;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::segment::{self, REWRITTEN};
use lucid_store::files::segment_rows::watermark;
use lucid_store::frame::read_header;
use lucid_store::memory::faulty::{FaultyIndex, IndexCall};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::chunk_rows::placement;
use lucid_store::vault::committer::Submission;
use rustix::io::Errno;

use crate::bench::{Entry, SMALL, Store, facts_of, files, id_of, index_of, reads, without};
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
    vault.begin_collection().unwrap().condense(&|_| Ok(true), &mut |_, _| true).unwrap();
    let chunks = fill(&vault, 100, 12);
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
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

/// A store whose newest log files are gone, the chunks that they named being in several segments; of these the
/// newest two have been rewritten, if they are to be.
fn lost_chunks(rewritten: bool) -> Lost {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let mut chunks = fill(&vault, 0, 4);
    drop(vault);
    let (mark, logs) = (files(&disk)["CLOSED"].clone(), disk.list("log").unwrap());
    let vault = store.open(&disk, &index).unwrap();
    chunks.extend(fill(&vault, 100, 30));
    drop(vault);
    let vault = store.open(&disk, &index).unwrap();
    let newest = segment::numbers(&disk).unwrap().into_iter().max().unwrap();
    if rewritten {
        let at = |bytes: &Vec<u8>| vault.placement(&id_of(bytes)).unwrap().unwrap();
        let mut number = 0;
        chunks.retain(|bytes| {
            number += 1;
            at(bytes).unit + 1 < newest || number % 3 == 0
        });
        collect(&vault, &chunks);
    }
    drop(vault);
    let there = segment::numbers(&disk).unwrap();
    assert!(newest > 4 && there.contains(&newest) != rewritten, "{there:?}");
    assert!(there.contains(&(newest - 2)) && there.contains(&(newest - 1)) != rewritten);
    let whole = files(&disk);
    for name in disk.list("log").unwrap().iter().filter(|name| !logs.contains(name)) {
        disk.unlink(&format!("log/{name}")).unwrap();
    }
    disk.unlink("CLOSED").unwrap();
    put_back(&disk, "CLOSED", &mark);
    Lost { store, disk, chunks, after: Vec::new(), whole }
}

#[test]
fn the_mark_of_an_accepted_loss_is_believed_though_its_segment_is_not_there() {
    for (rewritten, written, killed) in
        [(false, 0, false), (false, 2, true), (true, 0, false), (true, 2, false), (true, 2, true)]
    {
        let what = format!("rewritten {rewritten}, {written} facts, killed {killed}");
        let Lost { store, mut disk, chunks, .. } = lost_chunks(rewritten);
        let index = fresh();
        let vault = store.open_with(&disk, index.clone(), SMALL, true).unwrap();
        assert_eq!(vault.read_only(), None, "{what}");
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
        }
        // All of whose chunks are known: no commit says how far these go.
        for number in 0..written {
            Entry::new(900 + number, 1, vec![]).commit(&vault).unwrap();
        }
        if killed {
            disk = disk.after_kill(disk.calls());
        } else {
            drop(vault);
        }
        let mut left = chunks;
        let newest = segment::numbers(&disk).unwrap();
        let newest = newest.into_iter().filter(|number| number & REWRITTEN == 0).max().unwrap();
        let away = segment::path(newest);
        let bytes = files(&disk)[&away].clone();
        if !rewritten {
            let gone = of_segment(&store, &index, &left, newest);
            let name = |bytes: &Vec<u8>| store.cipher.chunk_name(&id_of(bytes));
            let at = |bytes: &Vec<u8>| placement(index.as_ref(), &name(bytes)).unwrap().unwrap();
            left.retain(|bytes| !gone.contains(&at(bytes)));
            assert!(!gone.is_empty());
            disk.unlink(&away).unwrap();
        }
        let segments = disk.list("chunks").unwrap();
        for index in [fresh(), fresh()] {
            let vault = store.open(&disk, &index).unwrap();
            assert_eq!(vault.read_only(), None, "{what}");
            assert_eq!(names_missing(&vault, &away), !rewritten, "{what}: {:?}", vault.damage());
            for bytes in &left {
                assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
            }
            drop(vault);
            assert_eq!(disk.list("chunks").unwrap(), segments, "{what}");
        }
        if rewritten {
            continue;
        }
        // Its number is not given again, and what is put back is there.
        let index = fresh();
        let vault = store.open(&disk, &index).unwrap();
        let more = fill(&vault, 300, 3);
        drop(vault);
        assert!(!disk.list("chunks").unwrap().contains(&away["chunks/".len()..].to_owned()));
        put_back(&disk, &away, &bytes);
        for index in [index, fresh()] {
            let vault = store.open(&disk, &index).unwrap();
            assert_eq!((vault.read_only(), vault.damage()), (None, vec![]), "{what}");
            for bytes in left.iter().chain(&more) {
                assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
            }
        }
    }
}

#[test]
fn a_newest_segment_that_cannot_be_opened_is_kept_and_passed_when_the_log_lost_its_end() {
    let Lost { store, disk, chunks, .. } = lost_chunks(false);
    let newest = segment::path(*segment::numbers(&disk).unwrap().last().unwrap());
    let (segments, kept) = (disk.list("chunks").unwrap(), files(&disk)[&newest].clone());
    let bad = FaultyDisk::over(Arc::new(disk.clone()));
    bad.refuse(Call::Open, &newest, Errno::IO, 0, usize::MAX);
    let index = fresh();
    let vault = store.open_on(Arc::new(bad.clone()), index.clone(), SMALL, false).unwrap();
    assert!(vault.read_only().unwrap().contains("commits are missing"));
    drop(vault);
    assert_eq!(disk.list("chunks").unwrap(), segments);
    let mut more = Vec::new();
    for start in 0..3 {
        let vault = store.open_on(Arc::new(bad.clone()), index.clone(), SMALL, start == 0).unwrap();
        assert_eq!(vault.read_only(), None, "start {start}");
        let read = chunks.iter().filter(|bytes| reads(&vault, bytes) == Ok(true)).count();
        assert!(chunks.len() - read < 5, "start {start}: {read} of {}", chunks.len());
        // Only then is there anything behind it but a beginning.
        more.extend(fill(&vault, 300, if start == 1 { 3 } else { 0 }));
        drop(vault);
        assert_eq!(files(&disk)[&newest], kept, "start {start}");
    }
    for index in [index, fresh()] {
        let vault = store.open(&disk, &index).unwrap();
        assert_eq!((vault.read_only(), vault.damage()), (None, vec![]));
        for bytes in chunks.iter().chain(&more) {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
    }
}

#[test]
fn a_newest_segment_that_cannot_be_opened_is_kept_when_its_last_commit_is_damaged() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 12);
    let log = format!("log/{}", disk.list("log").unwrap().last().unwrap());
    let end = files(&disk)[&log].len();
    // The commits that follow say nothing of chunks, and are in another file.
    let apart = Submission { end_log: true, ..Submission::default() };
    vault.commit(apart).unwrap();
    Entry::new(900, 1, vec![]).commit(&vault).unwrap();
    assert!(files(&disk)[&log].len() == end && disk.list("log").unwrap().len() > 1);
    let disk = disk.after_kill(disk.calls());
    drop(vault);
    assert!(disk.flip(&log, end - 8));
    let newest = segment::path(*segment::numbers(&disk).unwrap().last().unwrap());
    let kept = files(&disk)[&newest].clone();
    for written in [0, 1] {
        let (disk, index) = (disk.fork(), fresh());
        let bad = FaultyDisk::over(Arc::new(disk.clone()));
        bad.refuse(Call::Open, &newest, Errno::IO, 0, usize::MAX);
        let mut all = chunks.clone();
        for start in 0..2 {
            let vault = store.open_on(Arc::new(bad.clone()), index.clone(), SMALL, false).unwrap();
            assert_eq!(vault.read_only(), None, "start {start}");
            all.extend(fill(&vault, 300 + start, written));
            drop(vault);
            assert_eq!(files(&disk)[&newest], kept, "start {start}");
        }
        for index in [index, fresh()] {
            let vault = store.open(&disk, &index).unwrap();
            for bytes in &all {
                assert_eq!(reads(&vault, bytes), Ok(true), "{written} written");
            }
        }
    }
}

#[test]
fn segments_that_cannot_be_read_are_not_removed_because_no_log_is_there() {
    let store = Store::new(true);
    let (whole, index) = (store.disk(), fresh());
    let vault = store.open(&whole, &index).unwrap();
    let chunks = fill(&vault, 0, 2);
    drop(vault);
    let kept = files(&whole)[FIRST].clone();
    for call in [Call::Open, Call::Read] {
        let disk = whole.fork();
        disk.unlink("log/00000001.log").unwrap();
        disk.unlink("CLOSED").unwrap();
        let bad = FaultyDisk::over(Arc::new(disk.clone()));
        bad.refuse(call, "chunks/", Errno::IO, 0, usize::MAX);
        let open = |accept| store.open_on(Arc::new(bad.clone()), fresh(), SMALL, accept);
        let vault = open(false).unwrap();
        let why = vault.read_only().unwrap();
        assert!(why.contains("commits are missing"), "{call:?}: {why}");
        drop(vault);
        // Even when their loss is accepted the segments stay, and are there when they can be read.
        let vault = open(true).unwrap();
        assert_eq!(vault.read_only(), None, "{call:?}");
        let more = fill(&vault, 300, 1);
        drop(vault);
        assert_eq!(files(&disk)[FIRST], kept, "{call:?}");
        let vault = store.open(&disk, &fresh()).unwrap();
        for bytes in chunks.iter().chain(&more) {
            assert_eq!(reads(&vault, bytes), Ok(true), "{call:?}");
        }
    }
}

#[test]
fn the_last_commit_is_no_tear_because_its_segment_is_away_or_not_what_it_was() {
    let store = Store::new(true);
    let (whole, index) = (store.disk(), fresh());
    let vault = store.open(&whole, &index).unwrap();
    let chunks = fill(&vault, 0, 12);
    let whole = whole.after_kill(whole.calls());
    drop(vault);
    let newest = segment::path(*segment::numbers(&whole).unwrap().last().unwrap());
    let right = files(&whole)[&newest].clone();
    let mut others = Store::new(true);
    others.id = [7; 16];
    let other = others.disk();
    let vault = others.open(&other, &fresh()).unwrap();
    fill(&vault, 500, 20);
    drop(vault);
    let theirs = files(&other)[&newest].clone();
    for (what, now) in [
        ("away", None),
        ("empty", Some(&right[..0])),
        ("older", Some(&right[..right.len() / 4])),
        ("another's", Some(&theirs[..])),
    ] {
        let (disk, index) = (whole.fork(), fresh());
        disk.unlink(&newest).unwrap();
        if let Some(bytes) = now {
            put_back(&disk, &newest, bytes);
        }
        for start in 0..2 {
            let vault = store.open(&disk, &index).unwrap();
            let named = vault.damage().iter().any(|damage| damage.file == newest);
            assert!(named, "{what}, start {start}: {:?}", vault.damage());
            assert_eq!(facts_of(index.as_ref()).len(), 12, "{what}, start {start}");
        }
        disk.unlink(&newest).unwrap();
        put_back(&disk, &newest, &right);
        for index in [index, fresh()] {
            let vault = store.open(&disk, &index).unwrap();
            assert_eq!((vault.read_only(), vault.damage()), (None, vec![]), "{what}");
            assert_eq!(facts_of(index.as_ref()).len(), 12, "{what}");
            for bytes in &chunks {
                assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
            }
        }
    }
}

#[test]
fn an_audit_names_the_segment_of_the_last_commit_and_calls_none_of_its_chunks_torn() {
    let store = Store::new(true);
    let disk = store.disk();
    let vault = store.open(&disk, &fresh()).unwrap();
    let mut others = Store::new(true);
    others.id = [7; 16];
    let other = others.disk();
    let theirs = others.open(&other, &fresh()).unwrap();
    fill(&theirs, 500, 20);
    drop(theirs);
    // A last commit in the middle of a segment, and one that begins another.
    let (mut in_the_middle, mut begins, mut segments) = (None, None, 1);
    for number in 0..30 {
        fill(&vault, number, 1);
        let now = disk.list("chunks").unwrap().len();
        let kept = if now > segments { &mut begins } else { &mut in_the_middle };
        *kept = Some(disk.after_kill(disk.calls()));
        segments = now;
    }
    drop(vault);
    for (what, whole) in [("in the middle", in_the_middle.unwrap()), ("begins", begins.unwrap())] {
        let newest = segment::path(*segment::numbers(&whole).unwrap().last().unwrap());
        let right = files(&whole)[&newest].clone();
        let theirs = files(&other)[FIRST].clone();
        for now in [None, Some(&right[..0]), Some(&right[..70]), Some(&theirs[..])] {
            let disk = without(&whole, &newest);
            if let Some(bytes) = now {
                put_back(&disk, &newest, bytes);
            }
            let found = store.audit(Arc::new(disk)).unwrap();
            let (what, now) = (format!("{what} of {newest}"), now.map(<[u8]>::len));
            let named = found.damage.iter().any(|damage| damage.file == newest);
            assert!(named, "{what}, {now:?}: {:?}", found.damage);
            assert_eq!(found.torn, [], "{what}, {now:?}");
        }
        let bad = FaultyDisk::over(Arc::new(whole));
        let at = right.len() as u64 - 20;
        bad.break_bytes(&newest, at..at + 1, Errno::IO);
        let found = store.audit(Arc::new(bad)).unwrap();
        let named = found.damage.iter().any(|d| d.file == newest && d.why.contains("cannot read"));
        assert!(named && found.torn.is_empty(), "{what}: {:?}", (found.damage, found.torn));
    }
}

/// All in one segment, and in one log file.
const LARGE: Limits = Limits { segment_bytes: 8 << 20, log_bytes: 8 << 20, ..SMALL };
const LOG: &str = "log/00000001.log";

/// Cuts a file short.
fn shorten(disk: &SimulatedDisk, path: &str, length: usize) {
    let bytes = files(disk)[path].clone();
    disk.unlink(path).unwrap();
    put_back(disk, path, &bytes[..length]);
}

fn length_of(disk: &SimulatedDisk, path: &str) -> usize {
    files(disk)[path].len()
}

/// An index that fails from one of its writes on, as if the start had been killed there.
fn dying(rows: &Arc<MemoryIndex>, writes: usize) -> Arc<FaultyIndex> {
    let left = AtomicUsize::new(writes);
    Arc::new(FaultyIndex::over(rows.clone(), move |call| {
        let fewer = |left: usize| left.checked_sub(1);
        match call == IndexCall::Write {
            true if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_err() => {
                Err(StoreError::Index("it ends here".into()))
            }
            _ => Ok(()),
        }
    }))
}

#[test]
fn a_start_that_is_killed_behind_a_damaged_commit_leaves_its_chunks_to_the_next_one() {
    let store = Store::new(false);
    let whole = store.disk();
    let vault = store.open_with(&whole, fresh(), LARGE, false).unwrap();
    let chunks = fill(&vault, 0, 3);
    let end = length_of(&whole, LOG);
    // So many rows that some are written before the end is reached; the commits name no chunk.
    Entry::new(10_000, 8_300, vec![]).commit(&vault).unwrap();
    Entry::new(900, 1, vec![]).commit(&vault).unwrap();
    let whole = whole.after_kill(whole.calls());
    drop(vault);
    assert!(whole.flip(LOG, end - 8));
    let mut killed = 0;
    for left in 1.. {
        let disk = whole.fork();
        let rows = Arc::new(MemoryIndex::new());
        if store.open_with(&disk, dying(&rows, left), LARGE, false).is_ok() {
            break;
        }
        killed += 1;
        // Nothing else is left of what the start knew.
        let index = index_of(&rows.rows());
        let mut all = chunks.clone();
        for start in 0..2 {
            let vault = store.open_with(&disk, index.clone(), LARGE, false).unwrap();
            assert_eq!(vault.read_only(), None, "{left} writes, start {start}");
            for bytes in &all {
                assert_eq!(reads(&vault, bytes), Ok(true), "{left} writes, start {start}");
            }
            all.extend(fill(&vault, 300 + start, 1));
        }
        let vault = store.open_with(&disk, fresh(), LARGE, false).unwrap();
        for bytes in &all {
            assert_eq!(reads(&vault, bytes), Ok(true), "{left} writes, an index made anew");
        }
    }
    assert!(killed > 0);
}

#[test]
fn a_start_without_any_segment_leaves_the_chunks_of_a_damaged_commit_to_the_next_one() {
    let store = Store::new(true);
    let whole = store.disk();
    let vault = store.open_with(&whole, fresh(), LARGE, false).unwrap();
    let mut chunks = fill(&vault, 0, 3);
    let damaged = length_of(&whole, LOG) - 8;
    Entry::new(900, 2, vec![]).commit(&vault).unwrap();
    let disk = whole.after_kill(whole.calls());
    drop(vault);
    assert!(disk.flip(LOG, damaged));
    let index = fresh();
    let vault = store.open_with(&without(&disk, FIRST), index.clone(), LARGE, false).unwrap();
    assert!(vault.read_only().unwrap().contains("none of the segments"));
    drop(vault);
    for start in 0..2 {
        let vault = store.open_with(&disk, index.clone(), LARGE, false).unwrap();
        assert_eq!(vault.read_only(), None);
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true), "start {start}");
        }
        chunks.extend(fill(&vault, 300 + start, 1));
    }
}

#[test]
fn a_start_without_the_logs_end_leaves_the_chunks_of_a_damaged_commit_to_the_next_one() {
    let store = Store::new(true);
    let disk = store.disk();
    let vault = store.open_with(&disk, fresh(), LARGE, false).unwrap();
    let mut chunks = fill(&vault, 0, 2);
    drop(vault);
    let stale = files(&disk)["CLOSED"].clone();
    let vault = store.open_with(&disk, fresh(), LARGE, false).unwrap();
    chunks.extend(fill(&vault, 2, 1));
    let damaged = length_of(&disk, LOG) - 8;
    Entry::new(900, 1, vec![]).commit(&vault).unwrap();
    let end = length_of(&disk, LOG);
    Entry::new(901, 1, vec![]).commit(&vault).unwrap();
    drop(vault);
    assert!(disk.flip(LOG, damaged));
    shorten(&disk, LOG, end);
    let index = fresh();
    let vault = store.open_with(&disk, index.clone(), LARGE, false).unwrap();
    assert!(vault.read_only().is_some(), "the mark says that there was more");
    drop(vault);
    disk.unlink("CLOSED").unwrap();
    put_back(&disk, "CLOSED", &stale);
    for index in [index.clone(), index, fresh()] {
        let vault = store.open_with(&disk, index, LARGE, false).unwrap();
        assert_eq!(vault.read_only(), None);
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true));
        }
        Entry::new(902, 1, vec![]).commit(&vault).unwrap();
    }
}

#[test]
fn a_segment_of_which_only_contents_cannot_be_read_is_not_removed_behind_the_logs_end() {
    let store = Store::new(true);
    let disk = store.disk();
    let limits = Limits { log_bytes: 8 << 20, ..SMALL };
    let vault = store.open_with(&disk, fresh(), limits, false).unwrap();
    let mut chunks = fill(&vault, 0, 1);
    let mut end = 0;
    while disk.list("chunks").unwrap().len() < 3 {
        end = length_of(&disk, LOG);
        chunks.extend(fill(&vault, chunks.len() as u32, 1));
    }
    chunks.pop();
    let disk = disk.after_kill(disk.calls());
    drop(vault);
    // Its commit is not in the log.
    shorten(&disk, LOG, end);
    let newest = "chunks/00000003.seg";
    let kept = files(&disk)[newest].clone();
    let bad = FaultyDisk::over(Arc::new(disk.clone()));
    let at = kept.len() as u64;
    bad.break_bytes(newest, at - 20..at - 19, Errno::IO);
    let open = |accept| store.open_on(Arc::new(bad.clone()), fresh(), limits, accept).unwrap();
    for start in 0..2 {
        let vault = open(false);
        let why = vault.read_only().unwrap_or_default();
        assert!(why.contains("may hold chunks"), "start {start}: {why}");
        drop(vault);
        assert_eq!(files(&disk)[newest], kept, "start {start}");
    }
    let vault = open(true);
    assert_eq!(vault.read_only(), None);
    chunks.extend(fill(&vault, 300, 1));
    drop(vault);
    assert!(files(&disk)[newest].starts_with(&kept));
    bad.repair();
    let vault = open(false);
    for bytes in &chunks {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn what_cannot_be_read_behind_the_last_commit_is_not_cut_off() {
    let store = Store::new(true);
    let whole = store.disk();
    let vault = store.open_with(&whole, fresh(), LARGE, false).unwrap();
    let chunks = fill(&vault, 0, 2);
    let (log, full) = (length_of(&whole, LOG), length_of(&whole, FIRST));
    let disk = whole.fork();
    fill(&vault, 2, 1);
    let torn = whole.after_kill(whole.calls());
    drop(vault);
    // A chunk whose commit was not written, and the footer of a segment that has ended.
    shorten(&torn, LOG, log);
    let vault = store.open_with(&disk, fresh(), LARGE, false).unwrap();
    vault.commit(Submission { end_unit: true, ..Submission::default() }).unwrap();
    let ended = disk.after_kill(disk.calls());
    drop(vault);
    for (what, disk, begin) in [("torn", torn, full), ("ended", ended, full)] {
        let length = length_of(&disk, FIRST);
        assert!(length > begin, "{what}");
        for at in [begin + 10, length - 10, (begin + length) / 2] {
            let (disk, what) = (disk.fork(), format!("{what}, byte {}", at - begin));
            let kept = files(&disk)[FIRST].clone();
            let bad = FaultyDisk::over(Arc::new(disk.clone()));
            bad.break_bytes(FIRST, at as u64..at as u64 + 1, Errno::IO);
            let (index, mut all) = (fresh(), chunks.clone());
            for start in 0..3 {
                let index = if start == 1 { fresh() } else { index.clone() };
                let vault = store.open_on(Arc::new(bad.clone()), index, LARGE, false).unwrap();
                assert_eq!(vault.read_only(), None, "{what}, start {start}");
                for bytes in &all {
                    assert_eq!(reads(&vault, bytes), Ok(true), "{what}, start {start}");
                }
                if start > 0 {
                    all.extend(fill(&vault, 300 + start, 1));
                }
                drop(vault);
                assert_eq!(files(&disk)[FIRST], kept, "{what}, start {start}");
            }
            bad.repair();
            for index in [index, fresh()] {
                let vault = store.open_with(&disk, index, LARGE, false).unwrap();
                assert_eq!(vault.read_only(), None, "{what}");
                for bytes in &all {
                    assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
                }
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
        let packed =
            vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
        assert!(packed.units_damaged > 0);
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
    let packed = vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    assert_eq!(packed.units_damaged, 0);
    for bytes in &left {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}

#[test]
fn a_draft_with_its_end_and_a_hole_replaces_nothing() {
    let (store, disk, index, chunks) = filled();
    let left = without(&disk, FIRST);
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().repack(9, 1, false, &mut |_, _| true).unwrap();
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
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    let rewritten = files(&other_disk)[OLDER].clone();
    let store = Store::new(false);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 20);
    drop(vault);
    let vault = store.open(&disk, &index).unwrap();
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    drop(vault);
    // Under a number of its own, and under one that was replaced here.
    let beside = disk.fork();
    put_back(&beside, "chunks/R0000007.seg", &rewritten);
    put_back(&beside, FIRST, &appended);
    for index in [index_of(&index.rows()), fresh()] {
        let vault = store.open(&beside, &index).unwrap();
        vault.begin_collection().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
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
        vault.begin_collection().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
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
        vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
        vault.begin_collection().unwrap().condense(&|_| Ok(true), &mut |_, _| true).unwrap();
        drop(vault);
        for calls in (start..=disk.calls()).step_by(5) {
            let killed = disk.after_kill(calls);
            let again = fresh();
            let vault = store.open(&killed, &again).unwrap();
            assert_eq!(vault.read_only(), None, "{calls}");
            let left = collect(&vault, &live).units_damaged;
            let packed =
                vault.begin_collection().unwrap().repack(12, 1, true, &mut |_, _| true).unwrap();
            assert!(is_away || left + packed.units_damaged == 0, "{calls}");
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

#[test]
fn damage_in_front_of_a_torn_commit_is_named_all_the_same() {
    let store = Store::new(true);
    let whole = store.disk();
    let vault = store.open_with(&whole, fresh(), LARGE, false).unwrap();
    let chunks = fill(&vault, 0, 3);
    let disk = whole.after_kill(whole.calls());
    drop(vault);
    // The first fact is damaged, and of the last chunk not all bytes came to the disk.
    let log = disk.open(LOG).unwrap().unwrap();
    let fact = read_header(log.as_ref(), LOG, 0).unwrap().unwrap().unwrap().record_bytes();
    assert!(disk.flip(LOG, fact as usize + 130));
    shorten(&disk, FIRST, length_of(&disk, FIRST) - 10);
    let index = fresh();
    let vault = store.open_with(&disk, index.clone(), LARGE, false).unwrap();
    assert_eq!(vault.read_only(), None);
    let named: Vec<_> =
        vault.damage().into_iter().map(|found| (found.file, found.offset)).collect();
    assert_eq!(named, [(LOG.to_owned(), fact)]);
    assert_eq!(facts_of(index.as_ref()).len(), 1);
    for (number, bytes) in chunks.iter().enumerate() {
        assert_eq!(reads(&vault, bytes), Ok(number < 2), "chunk {number}");
    }
}

#[test]
fn a_segment_that_a_killed_start_has_begun_is_found_by_one_that_knows_of_none() {
    let store = Store::new(true);
    let whole = store.disk();
    let vault = store.open_with(&whole, fresh(), LARGE, false).unwrap();
    let chunks = fill(&vault, 0, 2);
    let (log, last) = (length_of(&whole, LOG), length_of(&whole, FIRST) as u64);
    fill(&vault, 2, 1);
    let mut disk = whole.after_kill(whole.calls());
    drop(vault);
    // A chunk that cannot be read, and whose commit was not written.
    shorten(&disk, LOG, log);
    let begun = "chunks/00000002.seg";
    for start in 0..2 {
        let bad = FaultyDisk::over(Arc::new(disk.clone()));
        bad.break_bytes(FIRST, last + 10..last + 11, Errno::IO);
        let index = fresh();
        let vault = store.open_on(Arc::new(bad), index.clone(), LARGE, false).unwrap();
        assert_eq!(vault.read_only(), None, "start {start}");
        let file = disk.open(begun).unwrap().unwrap();
        let first = read_header(file.as_ref(), begun, 0).unwrap().unwrap().unwrap();
        let next = watermark(index.as_ref()).unwrap().sequence;
        assert!(next > first.sequence, "start {start}: {next}, {}", first.sequence);
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true), "start {start}");
        }
        // Neither its mark nor its index is there for the next one.
        disk = disk.after_kill(disk.calls());
        drop(vault);
    }
    assert_eq!(disk.list("chunks").unwrap(), ["00000001.seg", "00000002.seg"]);
}

#[test]
fn a_segment_that_has_ended_stays_as_it_is_beside_a_damaged_commit() {
    let store = Store::new(true);
    let whole = store.disk();
    let vault = store.open_with(&whole, fresh(), LARGE, false).unwrap();
    let chunks = fill(&vault, 0, 2);
    let damaged = length_of(&whole, LOG) - 8;
    let ends = Submission { end_unit: true, end_log: true, ..Submission::default() };
    vault.commit(ends).unwrap();
    Entry::new(900, 1, vec![]).commit(&vault).unwrap();
    let disk = whole.after_kill(whole.calls());
    drop(vault);
    assert!(disk.flip(LOG, damaged));
    let kept = files(&disk)[FIRST].clone();
    for start in 0..2 {
        let vault = store.open_with(&disk, fresh(), LARGE, false).unwrap();
        assert_eq!(vault.read_only(), None, "start {start}");
        for bytes in &chunks {
            assert_eq!(reads(&vault, bytes), Ok(true), "start {start}");
        }
        drop(vault);
        assert!(files(&disk)[FIRST] == kept, "start {start}");
        assert_eq!(disk.list("chunks").unwrap(), ["00000001.seg"], "start {start}");
    }
}

#[test]
fn a_segment_that_lacks_chunks_is_left_alone_also_beside_smaller_ones() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), fresh());
    let vault = store.open_with(&disk, index.clone(), LARGE, false).unwrap();
    let chunks = fill(&vault, 10, 5);
    vault.commit(Submission { end_unit: true, ..Submission::default() }).unwrap();
    fill(&vault, 0, 1);
    drop(vault);
    let right = files(&disk)[FIRST].clone();
    let places = of_segment(&store, &index, &chunks, 1);
    shorten(&disk, FIRST, places[3].offset as usize);
    let vault = store.open_with(&disk, index.clone(), LARGE, false).unwrap();
    let packed = vault.begin_collection().unwrap().repack(9, 1, false, &mut |_, _| true).unwrap();
    assert_eq!((packed.units_replaced, packed.units_damaged), (0, 1));
    drop(vault);
    disk.unlink(FIRST).unwrap();
    put_back(&disk, FIRST, &right);
    let vault = store.open_with(&disk, index, LARGE, false).unwrap();
    for bytes in &chunks {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
}
