//! Collecting and repacking: what nobody refers to goes, its space returns, everything else stays, and
//! death behind any call of it changes nothing of that.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_core::digest::ChunkId;
use lucid_store::CommitError;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::{SimulatedDisk, SyncPoint};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::chunk_rows::placement;
use lucid_store::vault::collect::{Collected, Names};
use lucid_store::vault::committer::Submission;

use crate::bench::{Entry, Store, chunk, files, id_of, index_of, reads};

fn go_on(_: u64, _: u64) -> bool {
    true
}

/// The names of these chunks.
fn names(vault: &Vault, chunks: &[Vec<u8>]) -> Names {
    let mut names = Names::default();
    for bytes in chunks {
        names.add(&vault.cipher().chunk_name(&id_of(bytes)));
    }
    names.settle();
    names
}

fn collect(vault: &Vault, live: &[Vec<u8>]) -> Collected {
    let collection = vault.begin_collection().expect("nobody else collects");
    collection.run(&names(vault, live), &|_, _| Ok(true), &mut go_on).unwrap()
}

/// Chunks, one a commit, over several segments.
fn fill(vault: &Vault, from: u32, count: u32) -> Vec<Vec<u8>> {
    (from..from + count)
        .map(|number| {
            let bytes = chunk(number, 300 + (number as usize * 37) % 500);
            Entry::new(number * 10, 1, vec![bytes.clone()]).commit(vault).unwrap();
            bytes
        })
        .collect()
}

/// After a restart nobody remembers having asked for them.
fn reopen(store: &Store, disk: &SimulatedDisk, vault: Vault, index: &Arc<MemoryIndex>) -> Vault {
    drop(vault);
    store.open(disk, index).unwrap()
}

fn assert_sound(store: &Store, disk: &SimulatedDisk) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = audit(&disk, Some(&store.cipher), store.id, None, &|_, _| {}).unwrap();
    assert_eq!(found.damage, []);
    assert_eq!(found.torn, []);
    assert_eq!(found.unknown, [""; 0]);
}

fn segment_bytes(disk: &SimulatedDisk) -> usize {
    files(disk).iter().filter(|(path, _)| path.starts_with("chunks/")).map(|(_, b)| b.len()).sum()
}

fn split(chunks: &[Vec<u8>], keep: impl Fn(usize) -> bool) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (kept, gone): (Vec<_>, Vec<_>) =
        chunks.iter().cloned().enumerate().partition(|(number, _)| keep(*number));
    let bare = |chunks: Vec<(usize, Vec<u8>)>| chunks.into_iter().map(|(_, b)| b).collect();
    (bare(kept), bare(gone))
}

/// A store of several segments that is open, most of it not to be referred to any more.
struct Mostly {
    store: Store,
    disk: SimulatedDisk,
    index: Arc<MemoryIndex>,
    vault: Vault,
    kept: Vec<Vec<u8>>,
    gone: Vec<Vec<u8>>,
}

fn mostly_dead() -> Mostly {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 30);
    let vault = reopen(&store, &disk, vault, &index);
    let (kept, gone) = split(&chunks, |number| number % 4 == 0);
    Mostly { store, disk, index, vault, kept, gone }
}

fn assert_holds(vault: &Vault, kept: &[Vec<u8>], gone: &[Vec<u8>]) {
    for bytes in kept {
        assert_eq!(reads(vault, bytes), Ok(true));
    }
    for bytes in gone {
        assert_eq!(reads(vault, bytes), Ok(false));
    }
}

/// A disk with the chunks may come back after the index was made without it.
#[test]
fn a_segment_that_was_away_while_the_index_was_made_is_not_taken_for_dead() {
    let Mostly { store, disk, vault, kept, gone, .. } = mostly_dead();
    vault.close().unwrap();
    let chunks = [kept, gone].concat();
    let away = "chunks/00000001.seg";
    let bytes = files(&disk)[away].clone();
    disk.unlink(away).unwrap();
    let vault = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    disk.create(away).unwrap().append(&[&bytes]).unwrap();
    let collected = collect(&vault, &chunks);
    assert!(collected.units_damaged > 0, "{collected:?}");
    let repacked = vault.begin_collection().unwrap().repack(9, 1, false, &mut go_on).unwrap();
    assert!(repacked.units_damaged > 0, "{repacked:?}");
    vault.close().unwrap();
    let vault = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    assert_holds(&vault, &chunks, &[]);
}

#[test]
fn what_nobody_refers_to_goes_and_its_space_returns() {
    for encrypted in [false, true] {
        let store = Store::new(encrypted);
        let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
        let vault = store.open(&disk, &index).unwrap();
        let chunks = fill(&vault, 0, 40);
        let vault = reopen(&store, &disk, vault, &index);
        let (kept, gone) = split(&chunks, |number| number % 4 == 0);
        let before = segment_bytes(&disk);

        let collection = vault.begin_collection().unwrap();
        assert!(vault.begin_collection().is_none(), "one at a time");
        let survey = collection.survey(&names(&vault, &kept)).unwrap();
        assert_eq!((survey.live_chunks, survey.dead_chunks), (10, 30));
        drop(collection);
        let done = collect(&vault, &kept);
        assert_eq!((done.chunks_removed, done.chunks_spared), (30, 0));
        let after = segment_bytes(&disk);
        assert_eq!(before as u64 - done.bytes_freed, after as u64 - ending(before, &done, after));
        assert!(after * 2 < before, "{before} bytes became {after}");
        assert_holds(&vault, &kept, &gone);
        assert_sound(&store, &disk);

        // Once more there is nothing to do.
        let again = collect(&vault, &kept);
        assert_eq!((again.chunks_removed, again.units_replaced), (0, 0));

        // It goes on: new chunks, and those that went, are taken in as ever.
        let more = fill(&vault, 100, 5);
        Entry::new(5_000, 1, gone[..3].to_vec()).commit(&vault).unwrap();
        let everything: Vec<_> = [&kept[..], &more[..], &gone[..3]].concat();
        assert_holds(&vault, &everything, &gone[3..]);
        // A second generation replaces the first.
        let vault = reopen(&store, &disk, vault, &index);
        let (kept, gone) = split(&everything, |number| number % 5 == 0);
        collect(&vault, &kept);
        assert_holds(&vault, &kept, &gone);
        assert_sound(&store, &disk);

        // The same from the files alone.
        drop(vault);
        let fresh = Arc::new(MemoryIndex::new());
        let vault = store.open(&disk, &fresh).unwrap();
        assert_eq!(vault.damage(), []);
        assert_holds(&vault, &kept, &gone);
        assert_sound(&store, &disk);
    }
}

/// What ending the open segment added to the files before any got smaller.
fn ending(before: usize, done: &Collected, after: usize) -> u64 {
    (after as u64 + done.bytes_freed).checked_sub(before as u64).unwrap()
}

#[test]
fn what_somebody_asked_for_stays() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 8);
    // Just uploaded, not referred to yet.
    assert_eq!(collect(&vault, &[]).chunks_spared, 8);
    let vault = reopen(&store, &disk, vault, &index);
    assert!(vault.knows(&id_of(&chunks[1]), true).unwrap());
    let done = collect(&vault, &chunks[3..4]);
    assert_eq!((done.chunks_removed, done.chunks_spared), (6, 1));
    let refer = |bytes: &[u8]| Submission {
        requires: vec![vault.cipher().chunk_name(&id_of(bytes))],
        ..Submission::default()
    };
    vault.commit(refer(&chunks[1])).unwrap();
    assert!(
        matches!(vault.commit(refer(&chunks[2])), Err(CommitError::Missing(names)) if names.len() == 1)
    );
    assert!(!vault.knows(&id_of(&chunks[2]), true).unwrap());
    assert_holds(&vault, &[chunks[1].clone(), chunks[3].clone()], &chunks[4..]);
}

#[test]
fn what_is_referred_to_or_sent_again_is_asked_for_each_on_its_own() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 4);
    let vault = reopen(&store, &disk, vault, &index);
    let whole = Entry::new(1_000, 0, vec![chunks[0].clone(), chunks[1].clone()]).submission(&vault);
    let (sent, name) = (whole.chunks.into_iter().next().unwrap(), whole.requires[1]);
    vault.commit(Submission { chunks: vec![sent], ..Submission::default() }).unwrap();
    vault.commit(Submission { requires: vec![name], ..Submission::default() }).unwrap();
    let done = collect(&vault, &[]);
    assert_eq!((done.chunks_removed, done.chunks_spared), (2, 2));
    assert_holds(&vault, &chunks[..2], &chunks[2..]);
}

#[test]
fn what_is_asked_for_while_something_collects_is_not_forgotten_and_afterwards_it_is() {
    // So many names are remembered, and as many older ones.
    const REMEMBERED: u32 = 1 << 18;
    let store = Store::new(false);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 2);
    let vault = reopen(&store, &disk, vault, &index);
    let ask_for_others = || {
        for number in 0..2 * REMEMBERED + 2 {
            let mut name = [0; 32];
            name[..4].copy_from_slice(&number.to_le_bytes());
            assert!(!vault.knows(&ChunkId::new(name), false).unwrap());
        }
    };
    let free = |chunk: &Vec<u8>| names(&vault, std::slice::from_ref(chunk));
    let collection = vault.begin_collection().expect("nobody else collects");
    assert!(vault.knows(&id_of(&chunks[0]), false).unwrap());
    ask_for_others();
    let done = collection.run(&free(&chunks[1]), &|_, _| Ok(true), &mut go_on).unwrap();
    assert_eq!((done.chunks_removed, done.chunks_spared), (0, 1));
    drop(collection);
    ask_for_others();
    ask_for_others();
    assert_eq!(collect(&vault, &chunks[1..]).chunks_removed, 1);
}

#[test]
fn a_survey_counts_chunks_and_the_bytes_of_their_records() {
    let store = Store::new(false);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 5);
    let bytes = |of: &[Vec<u8>]| {
        let name = |chunk: &Vec<u8>| vault.cipher().chunk_name(&id_of(chunk));
        let bytes = |chunk| placement(vault.index(), &name(chunk)).unwrap().unwrap().record_bytes();
        of.iter().map(bytes).sum::<u64>()
    };
    let survey = vault.begin_collection().unwrap().survey(&names(&vault, &chunks[..2])).unwrap();
    assert_eq!((survey.live_chunks, survey.dead_chunks), (2, 3));
    assert_eq!((survey.live_bytes, survey.dead_bytes), (bytes(&chunks[..2]), bytes(&chunks[2..])));
    assert!(names(&vault, &[]).is_empty() && !names(&vault, &chunks).is_empty());
}

#[test]
fn a_stop_leaves_a_sound_store_and_the_next_run_goes_on() {
    let Mostly { store, disk, vault, kept, gone, .. } = mostly_dead();
    let stopped = vault
        .begin_collection()
        .unwrap()
        .run(&names(&vault, &kept), &|_, _| Ok(true), &mut |_, _| false)
        .unwrap();
    assert!(stopped.stopped && stopped.chunks_removed == gone.len() as u64);
    assert_holds(&vault, &kept, &gone);
    assert_sound(&store, &disk);
    let done = collect(&vault, &kept);
    assert!(!done.stopped && done.units_replaced > 0);
    assert_holds(&vault, &kept, &gone);
    assert_sound(&store, &disk);
}

#[test]
fn damage_among_what_is_kept_spares_its_segment_and_stops_nothing_else() {
    let Mostly { store, disk, index, vault, kept, gone } = mostly_dead();
    let at =
        placement(index.as_ref(), &vault.cipher().chunk_name(&id_of(&kept[0]))).unwrap().unwrap();
    disk.flip(&lucid_store::files::segment::path(at.unit), at.offset as usize + 150);
    let done = collect(&vault, &kept);
    assert_eq!(done.units_damaged, 1);
    assert!(done.units_replaced > 1, "{done:?}");
    assert_holds(&vault, &kept[1..], &gone);
    assert!(reads(&vault, &kept[0]).is_err());
    assert_eq!(collect(&vault, &kept).units_damaged, 1);
    // A new upload heals it, and then the damaged record goes with its segment.
    Entry::new(7_010, 1, vec![kept[0].clone()]).commit(&vault).unwrap();
    collect(&vault, &kept);
    assert_holds(&vault, &kept, &gone);
    assert_sound(&store, &disk);
}

#[test]
fn a_healed_copy_that_was_rewritten_is_the_one_in_use_after_a_reindex() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let kept = fill(&vault, 0, 12);
    let name = vault.cipher().chunk_name(&id_of(&kept[0]));
    let at = placement(index.as_ref(), &name).unwrap().unwrap();
    disk.flip(&lucid_store::files::segment::path(at.unit), at.offset as usize + 150);
    assert!(reads(&vault, &kept[0]).is_err());
    // The new copy lies among chunks that nobody will refer to.
    let garbage = fill(&vault, 100, 6);
    Entry::new(7_000, 1, vec![kept[0].clone()]).commit(&vault).unwrap();
    fill(&vault, 200, 6);
    let vault = reopen(&store, &disk, vault, &index);
    collect(&vault, &kept);
    let now = placement(index.as_ref(), &name).unwrap().unwrap();
    assert!(now.unit & lucid_store::files::segment::REWRITTEN != 0, "{now:?}");
    drop(vault);
    let fresh = Arc::new(MemoryIndex::new());
    let vault = store.open(&disk, &fresh).unwrap();
    assert_eq!(placement(fresh.as_ref(), &name).unwrap(), Some(now));
    assert_holds(&vault, &kept, &garbage);
}

#[test]
fn repacking_makes_records_smaller_and_changes_nothing_else() {
    for encrypted in [false, true] {
        let store = Store::new(encrypted);
        let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
        let vault = store.open(&disk, &index).unwrap();
        let chunks: Vec<Vec<u8>> = (0..30u32)
            .map(|number| {
                let line = format!("line {number} of a text that repeats itself, ");
                let noise = chunk(number, 40);
                [line.repeat(9 + number as usize % 7).into_bytes(), noise].concat()
            })
            .collect();
        for (number, bytes) in (0u32..).zip(&chunks) {
            let mut packer = lucid_store::codec::Packer::new();
            let how = lucid_store::codec::Compression::None;
            let record = vault.chunk(&mut packer, how, encrypted, &id_of(bytes), bytes).unwrap();
            let fact = vault.fact(&mut packer, crate::bench::fact(number, &[])).unwrap();
            let chunks = vec![record];
            vault
                .commit(Submission { chunks, facts: vec![fact], ..Submission::default() })
                .unwrap();
        }
        let before = segment_bytes(&disk);
        let repack = |level, all| {
            vault.begin_collection().unwrap().repack(level, 2, all, &mut go_on).unwrap()
        };
        assert!(repack(9, true).units_replaced > 2);
        assert!(segment_bytes(&disk) * 2 < before);
        assert_holds(&vault, &chunks, &[]);
        assert_sound(&store, &disk);
        assert_eq!(repack(9, true).units_replaced, 0, "they are at that level");
        assert!(repack(12, false).units_replaced > 0);
        assert_holds(&vault, &chunks, &[]);
        // What a collection copies keeps the level of the lowest.
        drop(vault);
        let fresh = Arc::new(MemoryIndex::new());
        let vault = store.open(&disk, &fresh).unwrap();
        collect(&vault, &chunks[..7]);
        let again = vault.begin_collection().unwrap().repack(12, 1, true, &mut go_on).unwrap();
        assert_eq!(again.units_replaced, 0);
        assert_holds(&vault, &chunks[..7], &chunks[7..]);
        assert_sound(&store, &disk);
    }
}

#[test]
fn a_file_that_lost_its_fact_is_taken_in_again() {
    let Mostly { store, disk, vault, kept, .. } = mostly_dead();
    collect(&vault, &kept);
    drop(vault);
    // Every fact of the log that could tell is damaged, one after the other.
    let log: Vec<String> =
        files(&disk).into_keys().filter(|path| path.starts_with("log/")).collect();
    let newest = log.last().unwrap();
    for at in (0..files(&disk)[newest].len()).step_by(97) {
        let damaged = disk.fork();
        damaged.flip(newest, at);
        let fresh = Arc::new(MemoryIndex::new());
        let vault = store.open_with(&damaged, fresh, crate::bench::SMALL, false).unwrap();
        assert_holds(&vault, &kept, &[]);
    }
}

/// A store with two generations of rewritten segments, as it came to be.
struct Tape {
    store: Store,
    disk: SimulatedDisk,
    /// Where the first collection begins, and the index as it was then.
    started: (usize, BTreeMap<Vec<u8>, Vec<u8>>),
    /// What the first collection kept.
    kept: Vec<Vec<u8>>,
    /// Where the second begins.
    second: usize,
    /// What it kept, and what was repacked after it.
    kept_last: Vec<Vec<u8>>,
}

fn record(encrypted: bool) -> Tape {
    let store = Store::new(encrypted);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let first = fill(&vault, 0, 16);
    let vault = reopen(&store, &disk, vault, &index);
    let started = (disk.calls(), index.rows());
    let (kept, _) = split(&first, |number| number % 3 == 0);
    collect(&vault, &kept);
    let more = fill(&vault, 200, 6);
    let vault = reopen(&store, &disk, vault, &index);
    let second = disk.calls();
    let all: Vec<_> = [&kept[..], &more[..]].concat();
    let (kept_last, _) = split(&all, |number| number % 3 == 0);
    collect(&vault, &kept_last);
    let repacked = vault.begin_collection().unwrap().repack(5, 1, true, &mut go_on).unwrap();
    assert!(repacked.units_replaced > 0);
    drop(vault);
    Tape { store, disk, started, kept, second, kept_last }
}

/// Starts again behind a call, does the work once more, and starts once more from the files alone.
fn revive(tape: &Tape, disk: &SimulatedDisk, calls: usize, seed: u64) -> Result<(), String> {
    let dead = match seed {
        0 => disk.after_kill(calls),
        seed => disk.after_power_cut(calls, seed),
    };
    let index = match seed % 2 {
        0 => Arc::new(MemoryIndex::new()),
        _ => index_of(&tape.started.1),
    };
    let kept = if calls < tape.second { &tape.kept } else { &tape.kept_last };
    let check = |index: &Arc<MemoryIndex>, again: bool| {
        let vault = tape.store.open(&dead, index).map_err(|error| error.to_string())?;
        if let Some(damage) = vault.damage().first() {
            return Err(format!("false damage: {damage}"));
        }
        if again {
            collect(&vault, kept);
        }
        for bytes in kept {
            if !reads(&vault, bytes)? {
                return Err("a chunk that was kept is gone".into());
            }
        }
        let disk: Arc<dyn Disk> = Arc::new(dead.clone());
        let cipher = Some(tape.store.cipher.as_ref());
        let found = audit(&disk, cipher, tape.store.id, None, &|_, _| {});
        let found = found.map_err(|error| error.to_string())?;
        let torn = found.torn.iter().find(|torn| torn.file != "CLOSED.new");
        match found.damage.first().or(torn) {
            Some(damage) => Err(format!("the audit says: {damage}")),
            None => Ok(()),
        }
    };
    check(&index, false)?;
    check(&index, true)?;
    check(&Arc::new(MemoryIndex::new()), false)
}

#[test]
fn every_death_of_a_collection_is_survived() {
    for encrypted in [false, true] {
        let tape = record(encrypted);
        for calls in tape.started.0..=tape.disk.calls() {
            for seed in 0..4 {
                if let Err(why) = revive(&tape, &tape.disk, calls, seed) {
                    let story = tape.disk.story(calls.saturating_sub(12)..calls).join("\n");
                    panic!("{story}\nbehind call {calls}, {seed}: {why}");
                }
            }
        }
    }
}

#[test]
fn a_collection_without_any_one_of_its_syncs_loses_something() {
    let tape = record(true);
    let syncs = tape.disk.sync_calls();
    let is_content = |point: &SyncPoint| *point == SyncPoint::File("chunks/RNNNNNNN.seg".into());
    let contents = syncs.iter().filter(|(_, point)| is_content(point));
    let names = syncs.windows(2).filter(|pair| is_content(&pair[0].1)).map(|pair| &pair[1]);
    for calls in [contents.collect::<Vec<_>>(), names.collect()] {
        assert!(calls.len() > 1);
        let lost = calls.iter().any(|(at, _)| {
            let forgetful = tape.disk.fork();
            forgetful.forgetting(SyncPoint::Call(*at));
            (1..30).any(|seed| {
                (*at + 1..tape.disk.calls().min(at + 12))
                    .any(|behind| revive(&tape, &forgetful, behind, seed).is_err())
            })
        });
        assert!(lost, "nothing is lost without {:?}", calls[0]);
    }
}

/// How many facts of the log switch to a rewritten segment.
fn switches(vault: &Vault) -> usize {
    let mut count = 0;
    let mut visit = |fact: &[u8]| {
        count += usize::from(fact.first() == Some(&3));
        Ok(())
    };
    vault.facts(&mut visit, &mut |_, _| true).unwrap();
    count
}

#[test]
fn only_the_switches_to_segments_that_are_there_stay_in_a_condensed_log() {
    let Mostly { store, disk, index, mut vault, mut kept, .. } = mostly_dead();
    for _ in 0..3 {
        assert!(collect(&vault, &kept).units_replaced > 0);
        vault = reopen(&store, &disk, vault, &index);
        kept = split(&kept, |number| number % 2 == 0).0;
    }
    let before = switches(&vault);
    let condensed = vault.begin_collection().unwrap().condense(&|_| Ok(false), &mut go_on).unwrap();
    assert!(condensed.logs_rewritten > 0, "{condensed:?}");
    let there = files(&disk).into_keys().filter(|path| path.starts_with("chunks/R")).count();
    assert!(before > there && switches(&vault) <= there, "{before}, {}", switches(&vault));
    drop(vault);
    assert_sound(&store, &disk);
    // From the files alone it is the same store.
    let vault = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    assert_eq!(vault.damage(), []);
    assert_holds(&vault, &kept, &[]);
    assert_sound(&store, &disk);
}

#[test]
fn what_is_spared_counts_as_live_and_what_is_copied_is_counted() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks = fill(&vault, 0, 12);
    let before = files(&disk);
    // Just sent, so all of them are spared, and no segment is worth being written anew.
    let done = collect(&vault, &[]);
    assert_eq!((done.chunks_removed, done.chunks_spared, done.units_replaced), (0, 12, 0));
    assert!(files(&disk) == before);
    let bytes = |chunk: &Vec<u8>| {
        let name = vault.cipher().chunk_name(&id_of(chunk));
        placement(vault.index(), &name).unwrap().unwrap().record_bytes()
    };
    let kept = chunks.iter().map(bytes).sum::<u64>();
    let done = vault.begin_collection().unwrap().repack(9, 1, true, &mut go_on).unwrap();
    assert!(done.units_replaced > 1, "{done:?}");
    assert_eq!(done.bytes_copied, kept);
}
