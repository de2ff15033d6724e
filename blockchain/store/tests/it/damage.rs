//! Disks that rot: every byte flipped, every file cut short, every file lost.
//!
//! The audit names the file and the record; the store opens around it, gives back everything else, and
//! never gives back wrong bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_store::Damage;
use lucid_store::files::Limits;
use lucid_store::files::audit::{Audit, audit};
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::frame::{RecordKind, read_header};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;

use crate::bench::{Entry, Store, chunk, facts_of, files, index_of, reads, without};

const TINY: Limits = Limits { segment_bytes: 1_200, segment_records: 500_000, log_bytes: 900 };

/// A store of two log files and two segments, closed in order.
struct Sound {
    store: Store,
    disk: SimulatedDisk,
    entries: Vec<Entry>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Sound {
    fn new(encrypted: bool) -> Self {
        let store = Store::new(encrypted);
        let disk = store.disk();
        let index = Arc::new(MemoryIndex::new());
        let vault = store.open_with(&disk, index.clone(), TINY, false).unwrap();
        let entries = vec![
            Entry::new(1, 1, vec![chunk(1, 400)]),
            Entry::new(2, 2, vec![chunk(3, 300), chunk(2, 450)]),
            Entry::new(4, 1, vec![]),
            Entry::new(5, 1, vec![chunk(5, 200)]),
        ];
        for entry in &entries {
            entry.commit(&vault).unwrap();
        }
        vault.close().unwrap();
        assert_eq!(disk.list("log").unwrap(), ["00000001.log", "00000002.log"]);
        assert_eq!(disk.list("chunks").unwrap(), ["00000001.seg", "00000002.seg"]);
        Self { store, disk, entries, rows: index.rows() }
    }

    fn open(&self, disk: &SimulatedDisk, index: &Arc<MemoryIndex>) -> Vault {
        self.store.open_with(disk, index.clone(), TINY, false).unwrap()
    }

    fn audit(&self, disk: &SimulatedDisk) -> Audit {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        audit(&disk, Some(&self.store.cipher), self.store.id, None, &|_, _| {}).unwrap()
    }

    fn facts(&self) -> Vec<Vec<u8>> {
        self.entries.iter().flat_map(|entry| entry.facts.clone()).collect()
    }

    fn chunks(&self) -> Vec<Vec<u8>> {
        self.entries.iter().flat_map(|entry| entry.chunks.clone()).collect()
    }

    /// How many facts and chunks a damaged store does not give back. Wrong ones fail the test.
    fn lost(&self, vault: &Vault, index: &MemoryIndex, what: &str) -> (usize, usize) {
        let seen = facts_of(index);
        let all = self.facts();
        assert!(seen.iter().all(|fact| all.contains(fact)), "{what}: a fact that never was");
        let mut lost = 0;
        for bytes in self.chunks() {
            match reads(vault, &bytes) {
                Ok(true) => {}
                Ok(false) => lost += 1,
                Err(why) => {
                    assert!(why.starts_with("damaged: "), "{what}: {why}");
                    lost += 1;
                }
            }
        }
        (all.len() - seen.len(), lost)
    }
}

/// Where each record of a file begins, and what it is; a trailer counts as part of its footer.
fn records(disk: &SimulatedDisk, path: &str) -> Vec<(u64, Option<RecordKind>)> {
    let file = disk.open(path).unwrap().unwrap();
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(Ok(header)) = read_header(file.as_ref(), path, at).unwrap() {
        records.push((at, Some(header.kind)));
        at += header.record_bytes();
    }
    if records.is_empty() {
        records.push((0, None));
    }
    records
}

fn record_at(records: &[(u64, Option<RecordKind>)], offset: u64) -> (u64, Option<RecordKind>) {
    *records.iter().rev().find(|(start, _)| *start <= offset).unwrap()
}

#[test]
fn a_sound_store_has_nothing_to_report() {
    for encrypted in [false, true] {
        let sound = Sound::new(encrypted);
        let found = sound.audit(&sound.disk);
        assert_eq!((found.damage.len(), found.torn.len()), (0, 0), "{found:?}");
        assert_eq!((found.chunks, found.facts, found.commits), (4, 5, 4));
        // Two beginnings of each kind and one footer.
        assert_eq!(found.records, 4 + 5 + 4 + 4 + 1);
        assert_eq!(found.opened, 4 + 5);
        let plain: usize = sound.chunks().iter().chain(&sound.facts()).map(Vec::len).sum();
        assert_eq!(found.plain_bytes, plain as u64);
        assert!(found.unknown.is_empty() && found.elsewhere.is_empty());
        assert!(found.not_checked.is_empty());
        assert_eq!(found.files, files(&sound.disk).len() as u64);
    }
}

#[test]
fn an_audit_without_keys_says_so_and_still_finds_every_flip() {
    let sound = Sound::new(true);
    let disk: Arc<dyn Disk> = Arc::new(sound.disk.clone());
    let found = audit(&disk, None, sound.store.id, None, &|_, _| {}).unwrap();
    assert_eq!((found.damage.len(), found.opened), (0, 0));
    assert_eq!(found.not_checked.len(), 1);
    let flipped = sound.disk.fork();
    assert!(flipped.flip("chunks/00000002.seg", 400));
    let disk: Arc<dyn Disk> = Arc::new(flipped);
    let found = audit(&disk, None, sound.store.id, None, &|_, _| {}).unwrap();
    assert_eq!(found.damage.len(), 1, "{found:?}");
}

#[test]
fn progress_ends_with_every_byte() {
    let sound = Sound::new(true);
    let disk: Arc<dyn Disk> = Arc::new(sound.disk.clone());
    let last = parking_lot::Mutex::new((0, 1));
    let found = audit(&disk, None, sound.store.id, None, &|done, total| {
        let mut last = last.lock();
        assert!(done >= last.0 && done <= total);
        *last = (done, total);
    })
    .unwrap();
    assert_eq!(*last.lock(), (found.bytes, found.bytes));
}

#[test]
fn unknown_files_are_listed_and_are_no_damage() {
    let sound = Sound::new(true);
    let disk = sound.disk.fork();
    disk.create_folder("blocks").unwrap();
    disk.create_folder("index").unwrap();
    for path in ["notes.txt", "log/backup.log", "chunks/1.seg", "keys/old.pem", "TIP"] {
        disk.create(path).unwrap();
    }
    let found = sound.audit(&disk);
    assert_eq!(found.damage, []);
    assert_eq!(found.unknown, ["notes.txt", "log/backup.log", "chunks/1.seg", "keys/old.pem"]);
    assert_eq!(found.elsewhere, ["TIP", "blocks/"]);
}

fn every_flip(encrypted: bool) -> usize {
    let sound = Sound::new(encrypted);
    let mut flips = 0;
    for (path, bytes) in files(&sound.disk) {
        let records = records(&sound.disk, &path);
        for offset in 0..bytes.len() {
            let what = format!("{path} flipped at {offset}");
            let disk = sound.disk.fork();
            assert!(disk.flip(&path, offset));
            flips += 1;
            let (start, kind) = record_at(&records, offset as u64);
            is_named(&sound.audit(&disk), &path, start, offset as u64, &what);
            if path == "STORE" || path.starts_with("STORE.") || path.starts_with("keys/") {
                // Read by the folder, not by the vault.
                continue;
            }
            for rows in [None, Some(&sound.rows)] {
                let disk = disk.fork();
                let index = rows.map_or_else(Default::default, index_of);
                let vault = sound.open(&disk, &index);
                assert_eq!(vault.read_only(), None, "{what}");
                let (facts, chunks) = sound.lost(&vault, &index, &what);
                let may_lose = match kind {
                    Some(RecordKind::Fact) if rows.is_none() => (1, 0),
                    Some(RecordKind::Chunk) => (0, 1),
                    _ => (0, 0),
                };
                assert_eq!((facts, chunks), may_lose, "{what}");
                if rows.is_none() && (path.starts_with("log/") || path == "CLOSED") {
                    // The end of the log included: the mark says that it was acknowledged.
                    is_listed(&vault.damage(), &path, start, &what);
                }
                let length = disk.open(&path).unwrap().unwrap().length().unwrap();
                assert!(length >= bytes.len() as u64, "{what}: it was cut");
            }
        }
    }
    flips
}

/// The audit says: in this file, in this record.
fn is_named(found: &Audit, path: &str, start: u64, offset: u64, what: &str) {
    let named = found.damage.iter().any(|damage| {
        damage.file == path && (start..=offset).contains(&damage.offset) && !damage.why.is_empty()
    });
    assert!(named, "{what}: {found:?}");
    let elsewhere = found.damage.iter().find(|damage| damage.file != path);
    assert_eq!(elsewhere, None, "{what}: a sound file is blamed");
}

fn is_listed(damage: &[Damage], path: &str, start: u64, what: &str) {
    let listed = damage.iter().any(|found| found.file == path && found.offset == start);
    assert!(listed, "{what}: {damage:?}");
}

#[test]
fn every_flipped_byte_of_an_encrypted_store_is_named_and_costs_one_record() {
    assert!(every_flip(true) > 6_000);
}

#[test]
fn every_flipped_byte_of_a_plain_store_is_named_and_costs_one_record() {
    assert!(every_flip(false) > 5_000);
}

#[test]
fn a_flip_without_a_mark_or_an_index_costs_no_more_than_the_last_commit() {
    let sound = Sound::new(true);
    let crashed = without(&sound.disk, "CLOSED");
    let logs: Vec<String> = files(&crashed).into_keys().filter(|p| p.starts_with("log/")).collect();
    for path in logs {
        let records = records(&crashed, &path);
        let length = files(&crashed)[&path].len();
        // The last batch: its fact, and its commit. A crash might have torn it, so it may go.
        let last_batch = records[records.len() - 2].0;
        for offset in (0..length).step_by(3) {
            let what = format!("{path} flipped at {offset}");
            let disk = crashed.fork();
            disk.flip(&path, offset);
            let index = Arc::new(MemoryIndex::new());
            let vault = sound.open(&disk, &index);
            assert_eq!(vault.read_only(), None, "{what}");
            let (facts, chunks) = sound.lost(&vault, &index, &what);
            let (start, kind) = record_at(&records, offset as u64);
            let is_last = path.ends_with("2.log") && start >= last_batch;
            let may_lose = match kind {
                _ if is_last => (1, 1),
                Some(RecordKind::Fact) => (1, 0),
                _ => (0, 0),
            };
            assert_eq!((facts, chunks), may_lose, "{what}");
        }
    }
}

#[test]
fn every_file_cut_short_is_named_and_the_rest_is_there() {
    let sound = Sound::new(true);
    for (path, bytes) in files(&sound.disk) {
        let length = bytes.len() as u64;
        let mut cuts: Vec<u64> =
            vec![0, 1, 127, 128, length / 2, length - 25, length - 24, length - 1];
        cuts.extend(records(&sound.disk, &path).iter().map(|(start, _)| *start));
        cuts.extend(records(&sound.disk, &path).iter().map(|(start, _)| start + 60));
        cuts.retain(|cut| *cut < length);
        cuts.sort_unstable();
        cuts.dedup();
        for cut in cuts {
            let what = format!("{path} cut to {cut} bytes");
            let disk = sound.disk.fork();
            disk.open(&path).unwrap().unwrap().truncate(cut).unwrap();
            let found = sound.audit(&disk);
            let named = found.damage.iter().any(|d| d.file == path && d.offset <= cut);
            assert!(named, "{what}: {found:?}");
            survives(&sound, &disk, &path, &what);
        }
    }
}

#[test]
fn every_lost_file_is_named_and_the_rest_is_there() {
    let sound = Sound::new(true);
    for path in files(&sound.disk).into_keys() {
        let disk = without(&sound.disk, &path);
        let found = sound.audit(&disk);
        let what = format!("{path} lost");
        if path == "CLOSED" {
            // A crash leaves none either. Without it the end of the log is not vouched for.
            assert_eq!(found.not_checked.len(), 1, "{what}");
        } else {
            let named = found.damage.iter().any(|d| d.file == path && d.why.contains("missing"));
            assert!(named, "{what}: {found:?}");
        }
        survives(&sound, &disk, &path, &what);
    }
}

/// A store with one short or missing file: its end of the log is missed, everything else is there.
fn survives(sound: &Sound, disk: &SimulatedDisk, path: &str, what: &str) {
    for rows in [None, Some(&sound.rows)] {
        let disk = disk.fork();
        let index = rows.map_or_else(Default::default, index_of);
        let vault = sound.open(&disk, &index);
        let (facts, chunks) = sound.lost(&vault, &index, what);
        if path == "log/00000002.log" {
            let why = vault.read_only().unwrap_or_default();
            assert!(why.contains("put the file back from a copy"), "{what}: {why}");
            assert!(facts <= 2, "{what}: {facts} facts are gone");
        } else {
            assert_eq!(vault.read_only(), None, "{what}");
        }
        match path {
            "log/00000001.log" if rows.is_none() => {
                assert!(!vault.damage().is_empty(), "{what}");
                assert!(facts <= 4, "{what}");
            }
            "log/00000001.log" => assert_eq!(facts, 0, "{what}"),
            "chunks/00000001.seg" => assert!(chunks <= 3 && facts == 0, "{what}"),
            "chunks/00000002.seg" => assert!(chunks <= 1 && facts == 0, "{what}"),
            "log/00000002.log" => {}
            _ => assert_eq!((facts, chunks), (0, 0), "{what}"),
        }
        if !path.starts_with("chunks/") {
            assert_eq!(chunks, 0, "{what}: chunks are gone");
        }
    }
}

#[test]
fn a_damaged_chunk_is_quarantined_and_healed_by_the_same_content() {
    let sound = Sound::new(true);
    let disk = sound.disk.fork();
    let file = disk.open("chunks/00000002.seg").unwrap().unwrap();
    assert!(disk.flip("chunks/00000002.seg", file.length().unwrap() as usize - 1));
    let index = Arc::new(index_of(&sound.rows).rows());
    let index = index_of(&index);
    let vault = sound.open(&disk, &index);
    let bytes = chunk(5, 200);
    let id = crate::bench::id_of(&bytes);
    assert!(vault.knows(&id, true).unwrap(), "nobody has read it yet");
    assert!(reads(&vault, &bytes).unwrap_err().starts_with("damaged: chunks/00000002.seg"));
    // The quarantine is a fact like any other: it is committed before anything that comes next.
    Entry::new(90, 1, vec![]).commit(&vault).unwrap();
    assert!(!vault.knows(&id, true).unwrap());
    let again = Entry::new(91, 1, vec![bytes.clone()]);
    assert_eq!(again.commit(&vault).unwrap().chunks_new, 1);
    assert_eq!(reads(&vault, &bytes), Ok(true));
    assert_eq!(vault.damage().len(), 1, "{:?}", vault.damage());
    drop(vault);
    // A rebuilt index comes to the same end.
    let fresh = Arc::new(MemoryIndex::new());
    let vault = sound.open(&disk, &fresh);
    assert_eq!(reads(&vault, &bytes), Ok(true));
    assert_eq!(fresh.rows(), index.rows());
}

#[test]
fn a_quarantine_outlives_a_restart() {
    let sound = Sound::new(false);
    let disk = sound.disk.fork();
    assert!(disk.flip("chunks/00000001.seg", 400));
    let index = index_of(&sound.rows);
    let vault = sound.open(&disk, &index);
    let bytes = chunk(1, 400);
    reads(&vault, &bytes).unwrap_err();
    Entry::new(90, 1, vec![]).commit(&vault).unwrap();
    drop(vault);
    let fresh = Arc::new(MemoryIndex::new());
    let vault = sound.open(&disk, &fresh);
    assert!(!vault.knows(&crate::bench::id_of(&bytes), false).unwrap());
    let refers = Entry { facts: vec![crate::bench::fact(95, &[])], chunks: vec![] };
    let mut submission = refers.submission(&vault);
    submission.requires.push(vault.cipher().chunk_name(&crate::bench::id_of(&bytes)));
    vault.commit(submission).unwrap_err();
}

#[test]
fn a_file_of_another_store_or_another_place_is_named() {
    let (sound, other) = (Sound::new(true), Sound::new(false));
    for path in ["log/00000001.log", "chunks/00000001.seg"] {
        let disk = without(&sound.disk, path);
        let file = disk.create(path).unwrap();
        file.append(&[&files(&other.disk)[path]]).unwrap();
        let found = sound.audit(&disk);
        let why = "the file belongs to another store";
        assert!(found.damage.iter().any(|d| d.file == path && d.why == why), "{found:?}");
    }
    let disk = sound.disk.fork();
    disk.rename("chunks/00000001.seg", "chunks/00000003.seg").unwrap();
    disk.rename("chunks/00000002.seg", "chunks/00000001.seg").unwrap();
    disk.rename("chunks/00000003.seg", "chunks/00000002.seg").unwrap();
    let found = sound.audit(&disk);
    let why = "the file was another one before it was renamed";
    assert_eq!(found.damage.iter().filter(|d| d.why == why).count(), 2, "{found:?}");
}

#[test]
fn bytes_behind_the_end_are_damage_where_nothing_may_follow() {
    let sound = Sound::new(true);
    let disk = sound.disk.fork();
    let ended = disk.open("chunks/00000001.seg").unwrap().unwrap();
    ended.append(&[b"x"]).unwrap();
    let found = sound.audit(&disk);
    assert!(found.damage.iter().any(|d| d.file == "chunks/00000001.seg"), "{found:?}");
    // Behind the last commit a crash leaves such bytes.
    let disk = sound.disk.fork();
    disk.open("log/00000002.log").unwrap().unwrap().append(&[b"half a record"]).unwrap();
    let found = sound.audit(&disk);
    assert_eq!(found.damage, []);
    assert!(found.torn.iter().any(|torn| torn.file == "log/00000002.log"), "{found:?}");
    let vault = sound.open(&disk, &Arc::new(MemoryIndex::new()));
    assert_eq!((vault.read_only(), vault.damage().len()), (None, 0));
}
