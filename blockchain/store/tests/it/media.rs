//! Sectors that cannot be read, and systems that refuse: the first is damage and is stepped over, the
//! second says nothing about what is stored.

use std::io;
use std::sync::Arc;

use lucid_store::files::Limits;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::disk::{Disk, PathError, is_media_error};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::Names;
use lucid_store::vault::committer::Submission;
use lucid_store::vault::scrub::Cursor;
use lucid_store::{Damage, StoreError};
use rustix::io::Errno;

use crate::bench::{Entry, SMALL, Store, chunk, fact, facts_of, files, id_of, reads};

const PAGE: u64 = 4_096;

const MEDIA: [Errno; 6] =
    [Errno::IO, Errno::ILSEQ, Errno::BADMSG, Errno::NODATA, Errno::UCLEAN, Errno::REMOTEIO];
const OURS: [Errno; 7] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::ACCESS,
    Errno::PERM,
    Errno::NOMEM,
    Errno::STALE,
    Errno::NODEV,
];

#[test]
fn what_the_medium_fails_to_give_is_told_from_what_we_fail_to_ask_for() {
    for (errnos, media) in [(&MEDIA[..], true), (&OURS[..], false)] {
        for errno in errnos {
            let plain: io::Error = (*errno).into();
            assert_eq!(is_media_error(&plain), media, "{plain}");
            let named = PathError::io("log/00000001.log", plain);
            assert_eq!(is_media_error(&named), media, "{named}");
            assert!(named.to_string().starts_with("log/00000001.log: "), "{named}");
        }
    }
}

fn faulty(disk: &SimulatedDisk) -> FaultyDisk {
    FaultyDisk::over(Arc::new(disk.clone()))
}

fn open(store: &Store, disk: &FaultyDisk, index: &Arc<MemoryIndex>) -> Vault {
    let limits = Limits::default();
    store.open_on(Arc::new(disk.clone()), index.clone(), limits, false).unwrap()
}

/// A store of chunks that take three pages each, closed, with its index.
fn begun(store: &Store, count: u32) -> (SimulatedDisk, Arc<MemoryIndex>, Vec<Vec<u8>>) {
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open_with(&disk, index.clone(), Limits::default(), false).unwrap();
    let chunks: Vec<_> = (0..count).map(|number| chunk(number, 12_000)).collect();
    for (number, bytes) in (0..).zip(&chunks) {
        Entry::new(number, 1, vec![bytes.clone()]).commit(&vault).unwrap();
    }
    vault.close().unwrap();
    (disk, index, chunks)
}

fn whole_scrub(vault: &Vault) -> Result<Vec<Damage>, StoreError> {
    let stretch = vault.scrub(Cursor::default(), u64::MAX, &|_| true)?;
    assert_eq!(stretch.next, None);
    Ok(stretch.findings.into_iter().map(|finding| finding.damage).collect())
}

#[test]
fn a_sector_of_a_segment_costs_its_chunk_until_the_same_content_comes_again() {
    for errno in MEDIA {
        let store = Store::new(true);
        let (disk, index, chunks) = begun(&store, 6);
        let bad = faulty(&disk);
        let vault = open(&store, &bad, &index);
        let at = vault.placement(&id_of(&chunks[2])).unwrap().unwrap();
        let page = (at.offset + 6_000) / PAGE * PAGE;
        bad.break_bytes("chunks/00000001.seg", page..page + 512, errno);
        let found = whole_scrub(&vault).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].file.as_str(), found[0].offset), ("chunks/00000001.seg", at.offset));
        assert!(found[0].why.starts_with("the disk cannot read it: "), "{found:?}");
        for (number, bytes) in chunks.iter().enumerate() {
            assert_eq!(reads(&vault, bytes).is_ok(), number != 2, "{errno}: chunk {number}");
        }
        vault.commit(Submission::default()).unwrap();
        assert!(!vault.knows(&id_of(&chunks[2]), true).unwrap(), "it counts as unknown");
        let audited = store.audit(Arc::new(bad.clone())).unwrap();
        assert_eq!(audited.damage, found, "the audit names the same place");
        Entry::new(90, 1, vec![chunks[2].clone()]).commit(&vault).unwrap();
        assert_eq!(reads(&vault, &chunks[2]), Ok(true));
    }
}

#[test]
fn collecting_and_packing_go_on_around_a_sector_that_cannot_be_read() {
    let store = Store::new(true);
    let (disk, index, chunks) = begun(&store, 4);
    {
        let vault = store.open_with(&disk, index.clone(), Limits::default(), false).unwrap();
        vault.commit(Submission { end_unit: true, ..Submission::default() }).unwrap();
        for number in 10..14 {
            Entry::new(number, 1, vec![chunk(number, 12_000)]).commit(&vault).unwrap();
        }
        vault.commit(Submission { end_unit: true, ..Submission::default() }).unwrap();
    }
    let bad = faulty(&disk);
    let vault = open(&store, &bad, &index);
    bad.break_bytes("chunks/00000001.seg", 2 * PAGE..2 * PAGE + 512, Errno::IO);
    let packed = vault.begin_collection().unwrap().repack(9, 2, true, &mut |_, _| true).unwrap();
    assert_eq!(packed.units_damaged, 1);
    assert_eq!(packed.units_replaced, 1);
    let mut live = Names::default();
    for bytes in &chunks[..2] {
        live.add(&vault.cipher().chunk_name(&id_of(bytes)));
    }
    live.settle();
    drop(vault);
    // Nobody is spared for having been asked for lately.
    let vault = open(&store, &bad, &index);
    let collected =
        vault.begin_collection().unwrap().run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
    assert_eq!(collected.chunks_removed, 6);
    assert_eq!(reads(&vault, &chunks[1]), Ok(true));
}

#[test]
fn a_rewritten_segment_with_a_damaged_first_record_is_left_alone_and_stops_nothing_else() {
    let store = Store::new(true);
    let (disk, index, chunks) = begun(&store, 3);
    let vault = store.open_with(&disk, index.clone(), Limits::default(), false).unwrap();
    vault.begin_collection().unwrap().repack(3, 1, true, &mut |_, _| true).unwrap();
    Entry::new(50, 1, vec![chunk(50, 9_000)]).commit(&vault).unwrap();
    assert!(disk.flip("chunks/R0000001.seg", 140));
    let packed = vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap();
    assert_eq!((packed.units_damaged, packed.units_replaced), (1, 1));
    let mut live = Names::default();
    live.add(&vault.cipher().chunk_name(&id_of(&chunks[0])));
    live.settle();
    drop(vault);
    let vault = store.open_with(&disk, index, Limits::default(), false).unwrap();
    let collected =
        vault.begin_collection().unwrap().run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
    assert_eq!((collected.chunks_removed, collected.units_damaged), (3, 1));
    assert_eq!(reads(&vault, &chunks[0]), Ok(true));
}

/// A log of some twenty pages.
fn long_log(store: &Store) -> (SimulatedDisk, Arc<MemoryIndex>) {
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open_with(&disk, index.clone(), Limits::default(), false).unwrap();
    for number in 0..200 {
        Entry::new(number, 1, vec![]).commit(&vault).unwrap();
    }
    vault.close().unwrap();
    (disk, index)
}

#[test]
fn a_sector_of_the_log_costs_the_records_in_it_and_no_fact_that_comes_later() {
    let store = Store::new(true);
    let (disk, index) = long_log(&store);
    let length = files(&disk)["log/00000001.log"].len() as u64;
    let last = length / PAGE;
    assert!(last > 15, "{length}");
    for (closed, with_index) in [(true, true), (true, false), (false, true), (false, false)] {
        for page in [0, 5, last - 1, last] {
            let what = format!("page {page}, closed {closed}, index {with_index}");
            let copy = disk.fork();
            if !closed {
                copy.unlink("CLOSED").unwrap();
            }
            let bad = faulty(&copy);
            bad.break_bytes("log/00000001.log", page * PAGE..(page + 1) * PAGE, Errno::IO);
            if page == last {
                // What the medium does not give back cannot be written to either.
                bad.refuse(Call::Truncate, "log/00000001.log", Errno::IO, 0, usize::MAX);
                bad.refuse(Call::Append, "log/00000001.log", Errno::IO, 0, usize::MAX);
            }
            let rebuilt = match with_index {
                true => crate::bench::index_of(&index.rows()),
                false => Arc::new(MemoryIndex::new()),
            };
            let vault = open(&store, &bad, &rebuilt);
            let named = |damage: &Damage| damage.file == "log/00000001.log";
            assert!(with_index || vault.damage().iter().any(named), "{what}");
            let seen = facts_of(rebuilt.as_ref());
            assert!(seen.len() >= 185, "{what}: {} facts", seen.len());
            assert_eq!(vault.read_only(), None, "{what}");
            Entry::new(500, 1, vec![chunk(500, 100)]).commit(&vault).unwrap();
            let killed = FaultyDisk::over(Arc::new(copy.after_kill(copy.calls())));
            killed.break_bytes("log/00000001.log", page * PAGE..(page + 1) * PAGE, Errno::IO);
            let again = Arc::new(MemoryIndex::new());
            let vault = open(&store, &killed, &again);
            assert_eq!(vault.read_only(), None, "{what}");
            let found = facts_of(again.as_ref());
            assert!(found.contains(&fact(500, &[chunk(500, 100)])), "{what}");
            assert!(with_index || seen.iter().all(|fact| found.contains(fact)), "{what}");
            assert_eq!(reads(&vault, &chunk(500, 100)), Ok(true), "{what}");
            let audited = store.audit(Arc::new(killed.clone())).unwrap();
            assert!(audited.damage.iter().any(named), "{what}: {audited:?}");
            let scrubbed = whole_scrub(&vault).unwrap();
            assert!(scrubbed.iter().any(named), "{what}: {scrubbed:?}");
        }
    }
}

#[test]
fn every_small_file_may_lie_on_a_bad_sector() {
    let store = Store::new(true);
    let (disk, _, chunks) = begun(&store, 3);
    let bad = faulty(&disk);
    bad.break_bytes("CLOSED", 0..1, Errno::IO);
    let index = Arc::new(MemoryIndex::new());
    let vault = open(&store, &bad, &index);
    assert!(vault.damage().iter().any(|damage| damage.file == "CLOSED"), "{:?}", vault.damage());
    assert_eq!(facts_of(index.as_ref()).len(), 3);
    assert_eq!(reads(&vault, &chunks[0]), Ok(true));
}

#[test]
fn what_the_system_refuses_is_never_damage_and_costs_nothing() {
    let store = Store::new(true);
    let (disk, index, chunks) = begun(&store, 3);
    for errno in OURS {
        for call in [Call::Open, Call::Read, Call::List] {
            for good in 0..60 {
                let copy = disk.fork();
                let bad = faulty(&copy);
                bad.refuse(call, "", errno, good, usize::MAX);
                let rebuilt = Arc::new(MemoryIndex::new());
                let disk: Arc<dyn Disk> = Arc::new(bad.clone());
                let what = format!("{errno}, {call:?} {good}");
                let opened = store.open_on(disk.clone(), rebuilt, Limits::default(), false);
                match opened {
                    Ok(vault) => assert_eq!(vault.damage(), [], "{what}"),
                    Err(error) => {
                        assert!(matches!(error, StoreError::Io { .. }), "{what}: {error}")
                    }
                }
                if let Ok(audited) = store.audit(disk) {
                    assert_eq!(audited.damage, [], "{what}");
                }
                let rebuilt = Arc::new(MemoryIndex::new());
                let vault = store.open_with(&copy, rebuilt.clone(), SMALL, false).unwrap();
                assert_eq!((vault.damage(), vault.read_only()), (vec![], None), "{what}");
                assert_eq!(facts_of(rebuilt.as_ref()).len(), 3, "{what}");
            }
        }
        let bad = faulty(&disk);
        let vault = open(&store, &bad, &crate::bench::index_of(&index.rows()));
        bad.refuse(Call::Read, "", errno, 0, usize::MAX);
        let error = reads(&vault, &chunks[0]).unwrap_err();
        assert!(!error.starts_with("damaged"), "{error}");
        assert!(!matches!(whole_scrub(&vault).unwrap_err(), StoreError::Damaged(_)));
        bad.repair();
        assert_eq!((whole_scrub(&vault).unwrap(), vault.damage()), (vec![], vec![]));
        assert_eq!(reads(&vault, &chunks[0]), Ok(true));
    }
}

#[test]
fn a_refused_write_surely_did_not_happen_and_the_next_one_does() {
    let store = Store::new(true);
    for errno in [Errno::NOSPC, Errno::ROFS, Errno::ACCESS, Errno::IO] {
        for call in [Call::Create, Call::Append] {
            let (disk, index, chunks) = begun(&store, 2);
            let bad = faulty(&disk);
            let vault = open(&store, &bad, &index);
            bad.refuse(call, "", errno, 0, 1);
            let entry = Entry::new(70, 1, vec![chunk(70, 500)]);
            let outcome = entry.commit(&vault);
            assert_eq!(outcome.is_err(), call == Call::Append, "{errno}");
            bad.repair();
            entry.commit(&vault).unwrap();
            let rebuilt = Arc::new(MemoryIndex::new());
            let vault = open(&store, &faulty(&disk.after_kill(disk.calls())), &rebuilt);
            assert_eq!((vault.damage(), facts_of(rebuilt.as_ref()).len()), (vec![], 3), "{errno}");
            assert_eq!(reads(&vault, &chunks[1]), Ok(true));
        }
    }
}

#[test]
fn a_short_read_is_not_the_end_of_the_file() {
    let store = Store::new(true);
    let (disk, index, chunks) = begun(&store, 3);
    let rebuilt = Arc::new(MemoryIndex::new());
    for bytes in [1, 7, 4_000] {
        let bad = faulty(&disk);
        bad.shorten_reads(bytes);
        for index in [&index, &rebuilt] {
            let vault = open(&store, &bad, index);
            assert_eq!((vault.damage(), vault.read_only()), (vec![], None));
            for bytes in &chunks {
                assert_eq!(reads(&vault, bytes), Ok(true));
            }
            assert_eq!(whole_scrub(&vault).unwrap(), []);
        }
        let audited = store.audit(Arc::new(bad)).unwrap();
        assert_eq!((audited.damage, audited.torn), (vec![], vec![]));
    }
}

#[test]
fn copies_of_many_damaged_chunks_are_looked_for_in_one_pass_over_the_footers() {
    let mut extra = Vec::new();
    let mut footers = 0;
    for damaged in [1, 12] {
        let store = Store::new(true);
        let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
        let vault = store.open(&disk, &index).unwrap();
        let chunks: Vec<_> = (0..200).map(|number| chunk(number, 40)).collect();
        for (number, bytes) in (0..).zip(&chunks) {
            Entry::new(number, 1, vec![bytes.clone()]).commit(&vault).unwrap();
        }
        drop(vault);
        let segments = disk.list("chunks").unwrap().len();
        assert!(segments > 10, "{segments}");
        let bad = faulty(&disk);
        let vault = store.open_on(Arc::new(bad.clone()), index.clone(), SMALL, false).unwrap();
        let before = bad.bytes();
        assert_eq!(whole_scrub(&vault).unwrap(), []);
        let sound = bad.bytes() - before;
        for bytes in &chunks[..damaged] {
            let at = vault.placement(&id_of(bytes)).unwrap().unwrap();
            assert_eq!(at.unit, 1);
            assert!(disk.flip("chunks/00000001.seg", usize::try_from(at.offset).unwrap() + 130));
        }
        let before = bad.bytes();
        assert_eq!(whole_scrub(&vault).unwrap().len(), damaged);
        extra.push(bad.bytes() - before - sound);
        footers = segments as u64 * 1_000;
    }
    // One pass at least, and eleven more damaged chunks do not make another one.
    let (one, many) = (extra[0], extra[1]);
    assert!(one > footers / 2, "{one}, {footers}");
    assert!(many < one + footers / 2, "{one} bytes for one, {many} for twelve");
}
