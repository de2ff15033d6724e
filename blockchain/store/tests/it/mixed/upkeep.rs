//! Collecting, packing, scrubbing, verifying and making the index anew, of stores with only one half in files; and what
//! is lost of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_core::time::Timestamp;
use lucid_store::StoreError;
use lucid_store::files::audit::{Audit, OtherHalf, audit_with};
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::disk::view::{Settled, View};
use lucid_store::memory::blobs::MemoryBlobs;
use lucid_store::memory::fact_log::Ending;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::{Collected, Names};
use lucid_store::vault::scrub::Cursor;

use super::halves::LogAside;
use super::{beside_chunks, fresh, sound, under_a_log};
use crate::bench::{Entry, SMALL, Store, chunk, facts_of, files, id_of, reads};

fn names(vault: &Vault, chunks: &[Vec<u8>]) -> Names {
    let mut names = Names::default();
    chunks.iter().for_each(|bytes| names.add(&vault.cipher().chunk_name(&id_of(bytes))));
    names.settle();
    names
}

fn collect(vault: &Vault, live: &[Vec<u8>]) -> Result<Collected, StoreError> {
    let collection = vault.begin_collection().unwrap();
    collection.run(&names(vault, live), &|_, _| Ok(true), &mut |_, _| true)
}

fn repack(vault: &Vault) -> Collected {
    vault.begin_collection().unwrap().repack(9, 1, true, &mut |_, _| true).unwrap()
}

fn fill(vault: &Vault, from: u32, count: u32) -> Vec<Vec<u8>> {
    (from..from + count)
        .map(|number| {
            let bytes = chunk(number, 300 + (number as usize * 37) % 500);
            Entry::new(number * 10, 2, vec![bytes.clone()]).commit(vault).unwrap();
            bytes
        })
        .collect()
}

fn all_read(vault: &Vault, chunks: &[Vec<u8>]) {
    chunks.iter().for_each(|bytes| assert_eq!(reads(vault, bytes), Ok(true)));
}

/// Every other chunk, and the others.
fn halves(chunks: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let of = |is: usize| chunks.iter().skip(is).step_by(2).cloned().collect();
    (of(0), of(1))
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    files(disk).into_keys().filter(|path| path.starts_with("chunks/")).collect()
}

fn segment_bytes(disk: &SimulatedDisk) -> usize {
    files(disk).iter().filter(|(path, _)| path.starts_with("chunks/")).map(|(_, b)| b.len()).sum()
}

/// Clears what is left over of chunks that others may write to, too, on so many days.
fn clear(vault: &Vault, days: i64) {
    for day in 1..=days {
        let now = Timestamp::from_micros(day * 24 * 60 * 60 * 1_000_000);
        vault.begin_collection().unwrap().clear(now).unwrap();
    }
}

/// Segments under a log elsewhere.
struct Under {
    store: Store,
    disk: SimulatedDisk,
    log: Arc<LogAside>,
}

impl Under {
    fn new() -> Self {
        let store = Store::new(true);
        let disk = store.disk();
        let log = LogAside::with(Vec::new(), &disk);
        Self { store, disk, log }
    }

    fn open(&self, index: &Arc<MemoryIndex>) -> Vault {
        sound(under_a_log::open(&self.store, &self.disk, &self.log, index)).unwrap()
    }

    fn open_whatever(&self, index: &Arc<MemoryIndex>, accept_loss: bool) -> Vault {
        let disk = Arc::new(self.disk.clone());
        under_a_log::open_on(&self.store, disk, &self.log, index, accept_loss).unwrap()
    }

    fn audit(&self) -> Audit {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let other = Some(OtherHalf::Log(self.log.as_ref()));
        let cipher = Some(self.store.cipher.as_ref());
        audit_with(&disk, cipher, self.store.id, None, other, &|_, _| {}).unwrap()
    }

    fn assert_sound(&self) {
        let found = self.audit();
        assert_eq!((found.damage, found.torn), (vec![], vec![]));
        assert!(found.commits > 0 && found.facts > 0 && found.chunks > 0);
    }
}

/// A log beside chunks elsewhere.
struct Beside {
    store: Store,
    disk: SimulatedDisk,
    chunks: MemoryBlobs,
}

impl Beside {
    fn new() -> Self {
        let store = Store::new(true);
        Self { disk: store.disk(), store, chunks: MemoryBlobs::new() }
    }

    fn open(&self, index: &Arc<MemoryIndex>) -> Vault {
        sound(beside_chunks::open(&self.store, &self.disk, Arc::new(self.chunks.clone()), index))
            .unwrap()
    }

    fn open_whatever(&self, index: &Arc<MemoryIndex>, accept_loss: bool) -> Vault {
        let (disk, chunks) = (Arc::new(self.disk.clone()), Arc::new(self.chunks.clone()));
        beside_chunks::open_on(&self.store, disk, chunks, index, accept_loss).unwrap()
    }

    fn audit(&self) -> Audit {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let other = Some(OtherHalf::Chunks(&self.chunks));
        let cipher = Some(self.store.cipher.as_ref());
        audit_with(&disk, cipher, self.store.id, None, other, &|_, _| {}).unwrap()
    }

    fn assert_sound(&self) {
        let found = self.audit();
        assert_eq!((found.damage, found.torn), (vec![], vec![]));
        assert!(found.commits > 0 && found.facts > 0 && found.chunks > 0);
    }
}

#[test]
fn segments_under_a_log_are_collected_and_packed_and_their_index_made_anew() {
    let under = Under::new();
    let index = fresh();
    let vault = under.open(&index);
    let chunks = fill(&vault, 0, 30);
    drop(vault);
    let vault = under.open(&index);
    let (kept, gone) = halves(&chunks);
    let before = segment_bytes(&under.disk);
    let (kept, gone) = (kept[..5].to_vec(), [gone, kept[5..].to_vec()].concat());
    let done = collect(&vault, &kept).unwrap();
    assert_eq!((done.chunks_removed, done.units_damaged), (25, 0));
    assert!(segment_bytes(&under.disk) * 2 < before, "{done:?}");
    all_read(&vault, &kept);
    assert!(repack(&vault).units_replaced > 0);
    let more = fill(&vault, 50, 6);
    under.assert_sound();
    drop(vault);
    for index in [index, fresh()] {
        let vault = under.open(&index);
        all_read(&vault, &kept);
        all_read(&vault, &more);
        gone.iter().for_each(|bytes| assert_eq!(reads(&vault, bytes), Ok(false)));
    }
    under.assert_sound();
}

#[test]
fn chunks_that_no_commit_names_are_no_damage_and_their_space_is_found() {
    let under = Under::new();
    let index = fresh();
    let vault = under.open(&index);
    let chunks = fill(&vault, 0, 2);
    for number in 100..110 {
        under.log.end_next(Ending::Lost);
        let lost = Entry::new(number, 1, vec![chunk(number, 1_000)]);
        assert!(lost.commit(&vault).unwrap_err().maybe_applied());
    }
    let before = segment_bytes(&under.disk);
    assert!(before > 10_000);
    drop(vault);
    let index = fresh();
    let vault = under.open(&index);
    under.assert_sound();
    assert_eq!(reads(&vault, &chunk(100, 1_000)), Ok(false));
    let scrubbed = vault.scrub(Cursor::default(), u64::MAX, &|_| true).unwrap();
    assert_eq!((scrubbed.findings, scrubbed.next), (vec![], None));
    // A commit behind them, so that the segment that they are in has one.
    let more = fill(&vault, 20, 1);
    drop(vault);
    let vault = under.open(&index);
    let live = [chunks.clone(), more.clone()].concat();
    let done = collect(&vault, &live).unwrap();
    assert_eq!(done.units_damaged, 0);
    assert!(segment_bytes(&under.disk) < 4_000, "{done:?}");
    all_read(&vault, &live);
    under.assert_sound();
}

#[test]
fn a_segment_that_is_missing_is_damage_and_its_number_is_not_given_again() {
    let under = Under::new();
    let index = fresh();
    let vault = under.open(&index);
    let chunks = fill(&vault, 0, 12);
    drop(vault);
    let all = segments(&under.disk);
    assert!(all.len() > 2);
    for away in [all.last().unwrap(), &all[0]] {
        let bytes = files(&under.disk)[away].clone();
        under.disk.unlink(away).unwrap();
        assert!(!under.audit().damage.is_empty());
        let other = fresh();
        let vault = under.open_whatever(&other, false);
        assert_eq!(vault.read_only(), None);
        assert!(vault.damage().iter().any(|damage| damage.file == *away), "{:?}", vault.damage());
        let lost = chunks.iter().filter(|bytes| reads(&vault, bytes).is_err()).count();
        assert!(lost > 0 && lost < chunks.len(), "{lost}");
        // The content is asked for again, and kept under another number.
        let again = chunks.iter().map(|bytes| Entry { facts: vec![], chunks: vec![bytes.clone()] });
        for entry in again {
            entry.commit(&vault).unwrap();
        }
        all_read(&vault, &chunks);
        assert!(!segments(&under.disk).contains(away));
        drop(vault);
        under.disk.create(away).unwrap().append(&[&bytes]).unwrap();
        for index in [other, fresh()] {
            all_read(&under.open(&index), &chunks);
        }
        under.assert_sound();
    }
}

#[test]
fn a_segment_that_lost_its_end_is_damage_and_nothing_is_written_behind_it() {
    let under = Under::new();
    let index = fresh();
    let vault = under.open(&index);
    let chunks = fill(&vault, 0, 12);
    drop(vault);
    let last = segments(&under.disk).pop().unwrap();
    let file = under.disk.open(&last).unwrap().unwrap();
    let length = file.length().unwrap();
    file.truncate(length - 10).unwrap();
    for _ in 0..2 {
        let vault = under.open_whatever(&index, false);
        assert!(vault.damage().iter().any(|damage| damage.file == last), "{:?}", vault.damage());
        assert!(reads(&vault, chunks.last().unwrap()).is_err());
        let more = Entry::new(5_000, 1, vec![chunk(700, 100)]);
        more.commit(&vault).unwrap();
        assert_eq!(reads(&vault, &chunk(700, 100)), Ok(true));
        assert_eq!(file.length().unwrap(), length - 10);
    }
}

#[test]
fn where_every_segment_is_missing_nothing_is_written_until_that_is_accepted() {
    let under = Under::new();
    let index = fresh();
    fill(&under.open(&index), 0, 12);
    segments(&under.disk).iter().for_each(|path| under.disk.unlink(path).unwrap());
    for index in [&index, &fresh()] {
        let vault = under.open_whatever(index, false);
        let why = vault.read_only().unwrap();
        assert!(why.contains("none of the segments that the store wrote is there"), "{why}");
    }
    let vault = under.open_whatever(&index, true);
    assert_eq!(vault.read_only(), None);
    assert_eq!(facts_of(index.as_ref()).len(), 24);
    let more = fill(&vault, 30, 3);
    drop(vault);
    all_read(&under.open_whatever(&index, false), &more);
}

#[test]
fn a_segment_that_may_still_be_switched_to_stays_until_it_cannot_be() {
    for comes in [true, false] {
        let under = Under::new();
        let index = fresh();
        let vault = under.open(&index);
        let chunks = fill(&vault, 0, 12);
        drop(vault);
        let vault = under.open(&index);
        let (kept, _) = halves(&chunks);
        // The chunks are dropped; what would have said that their segments are replaced is lost.
        let live = names(&vault, &kept);
        let collection = vault.begin_collection().unwrap();
        let drops = under.log.made().len() + 1;
        let mut is_told = false;
        collection
            .run(&live, &|_, _| Ok(true), &mut |_, _| {
                if !is_told && under.log.made().len() == drops {
                    under.log.end_next(Ending::Lost);
                    is_told = true;
                }
                true
            })
            .unwrap_err();
        drop(collection);
        let is_made = |path: &String| path.starts_with("chunks/R");
        assert!(segments(&under.disk).iter().any(is_made));
        drop(vault);
        let vault = under.open(&index);
        assert!(segments(&under.disk).iter().any(is_made), "{:?}", segments(&under.disk));
        if comes {
            under.log.come_late(under.log.lost().pop().unwrap().1);
        }
        let more = fill(&vault, 40, 2);
        assert_eq!(segments(&under.disk).iter().any(is_made), comes);
        all_read(&vault, &kept);
        drop(vault);
        for index in [index, fresh()] {
            let vault = under.open(&index);
            all_read(&vault, &kept);
            all_read(&vault, &more);
        }
        under.assert_sound();
    }
}

#[test]
fn a_chunk_that_rots_under_a_log_is_named_and_healed_by_another_copy() {
    let under = Under::new();
    let index = fresh();
    let vault = under.open(&index);
    let chunks = fill(&vault, 0, 4);
    under.disk.flip("chunks/00000001.seg", 400);
    assert_eq!(under.audit().damage.len(), 1);
    let scrubbed = vault.scrub(Cursor::default(), u64::MAX, &|_| true).unwrap();
    assert_eq!(scrubbed.findings.len(), 1);
    let bad: Vec<_> = chunks.iter().filter(|bytes| reads(&vault, bytes).is_err()).collect();
    assert_eq!(bad.len(), 1);
    Entry { facts: vec![], chunks: vec![bad[0].clone()] }.commit(&vault).unwrap();
    all_read(&vault, &chunks);
    drop(vault);
    all_read(&under.open(&fresh()), &chunks);
}

/// Opens what a crash left without writing, sees what a start sees, and leaves the disk as it was.
fn look(disk: &SimulatedDisk, open: impl Fn(Arc<dyn Disk>, &Arc<MemoryIndex>) -> Vault) {
    let (before, seen) = (disk.calls(), fresh());
    let settled = Settled::not_yet("it is only looked at".into());
    let view: Arc<dyn Disk> = Arc::new(View::of(Arc::new(disk.clone()), settled.clone()));
    let vault = open(view, &seen);
    settled.settle();
    assert!(vault.read_only().is_some() && vault.loss().is_none());
    assert_eq!(vault.damage(), []);
    vault.close().unwrap();
    drop(vault);
    assert_eq!(disk.calls(), before);
    let index = fresh();
    let vault = open(Arc::new(disk.clone()), &index);
    assert_eq!((vault.read_only(), index.rows()), (None, seen.rows()));
}

#[test]
fn what_only_reads_one_half_sees_what_a_start_sees_and_writes_nothing() {
    let under = Under::new();
    let vault = under.open(&fresh());
    fill(&vault, 0, 5);
    // What was never synced.
    let last = segments(&under.disk).pop().unwrap();
    under.disk.open(&last).unwrap().unwrap().append(&[&chunk(77, 900)]).unwrap();
    for seed in 0..20 {
        let disk = under.disk.after_power_cut(under.disk.calls(), seed);
        look(&disk, |disk, index| {
            under_a_log::open_on(&under.store, disk, &under.log, index, false).unwrap()
        });
    }
    let beside = Beside::new();
    let vault = beside.open(&fresh());
    fill(&vault, 0, 5);
    for seed in 0..20 {
        let disk = beside.disk.after_power_cut(beside.disk.calls() - 1, seed);
        look(&disk, |disk, index| {
            let chunks = Arc::new(beside.chunks.clone());
            beside_chunks::open_on(&beside.store, disk, chunks, index, false).unwrap()
        });
    }
}

#[test]
fn a_folder_is_not_opened_as_what_it_is_not() {
    let store = Store::new(true);
    let disk = store.disk();
    let index = fresh();
    drop(fill(&store.open(&disk, &index).unwrap(), 0, 3));
    let log = LogAside::with(Vec::new(), &disk);
    let said = |opened: Result<Vault, StoreError>| opened.err().unwrap().to_string();
    let why = said(under_a_log::open(&store, &disk, &log, &fresh()));
    assert!(why.starts_with("log/ has a log of this folder's own"), "{why}");
    let chunks = Arc::new(MemoryBlobs::new());
    let why = said(beside_chunks::open(&store, &disk, chunks, &fresh()));
    assert!(why.starts_with("chunks/ has chunks of this folder's own"), "{why}");

    let beside = Beside::new();
    fill(&beside.open(&fresh()), 0, 3);
    let why = said(store.open(&beside.disk, &fresh()));
    assert!(why.contains("are not in segments beside it: name the place"), "{why}");

    let under = Under::new();
    let index = fresh();
    fill(&under.open(&index), 0, 3);
    assert!(store.open(&under.disk, &fresh()).unwrap().read_only().is_some());
    assert!(matches!(store.open(&under.disk, &index), Err(StoreError::Index(_))));
}

#[test]
fn a_log_beside_chunks_is_collected_condensed_and_its_index_made_anew() {
    let beside = Beside::new();
    let index = fresh();
    let vault = beside.open(&index);
    let chunks = fill(&vault, 0, 30);
    drop(vault);
    let vault = beside.open(&index);
    let (kept, gone) = halves(&chunks);
    let (kept, gone) = (kept[..5].to_vec(), [gone, kept[5..].to_vec()].concat());
    let done = collect(&vault, &kept).unwrap();
    assert_eq!((done.chunks_removed, done.units_damaged), (25, 0));
    let log_bytes = || -> usize {
        let files = files(&beside.disk);
        files.iter().filter(|(path, _)| path.starts_with("log/")).map(|(_, b)| b.len()).sum()
    };
    let before = log_bytes();
    let number = |fact: &[u8]| u32::from_be_bytes(*fact[1..].first_chunk().unwrap());
    let collection = vault.begin_collection().unwrap();
    let matters = |fact: &[u8]| Ok(number(fact).is_multiple_of(20));
    let condensed = collection.condense(&matters, &mut |_, _| true).unwrap();
    drop(collection);
    assert!(condensed.logs_rewritten > 3 && log_bytes() * 3 < before * 2, "{condensed:?}");
    assert!(repack(&vault).units_replaced > 0);
    let more = fill(&vault, 50, 6);
    beside.assert_sound();
    // Units that others stand for go by their names, one collection later.
    clear(&vault, 2);
    drop(vault);
    let left = beside.chunks.units();
    let rows: Vec<_> = [index, fresh()]
        .into_iter()
        .map(|index| {
            let vault = beside.open(&index);
            all_read(&vault, &kept);
            all_read(&vault, &more);
            gone.iter().for_each(|bytes| assert_eq!(reads(&vault, bytes), Ok(false)));
            let scrubbed = vault.scrub(Cursor::default(), u64::MAX, &|_| true).unwrap();
            assert_eq!((scrubbed.findings, scrubbed.next), (vec![], None));
            facts_of(index.as_ref())
        })
        .collect();
    assert!(rows[1].len() < rows[0].len());
    assert_eq!((beside.chunks.units(), left), (left, 7));
    beside.assert_sound();
}

#[test]
fn a_unit_that_no_commit_names_goes_when_two_more_lines_were_drawn() {
    let beside = Beside::new();
    let index = fresh();
    let vault = beside.open(&index);
    let chunks = fill(&vault, 0, 3);
    drop(vault);
    // A crash between its put and its commit leaves this.
    let mut orphan = [Store::new(true).cipher]
        .iter()
        .map(|cipher| {
            let (bytes, how) = (chunk(500, 2_000), Default::default());
            let mut packer = Default::default();
            cipher.chunk_record(&mut packer, how, true, &id_of(&bytes), &bytes).unwrap()
        })
        .collect::<Vec<_>>();
    lucid_store::contract::blobs::Blobs::write(&beside.chunks, &mut orphan).unwrap();
    assert_eq!(beside.chunks.units(), 4);
    beside.assert_sound();
    let vault = beside.open(&index);
    collect(&vault, &chunks).unwrap();
    clear(&vault, 3);
    all_read(&vault, &chunks);
    assert_eq!(reads(&vault, &chunk(500, 2_000)), Ok(false));
    let bytes = lucid_store::contract::blobs::Blobs::bytes(&beside.chunks).unwrap();
    assert!(bytes < 2_500, "{bytes}");
}

/// Whatever is damaged of a log, no chunk is lost by it; and the next start knows as much as the first.
#[test]
fn chunks_whose_commits_are_damaged_are_taken_in() {
    let beside = Beside::new();
    let chunks = {
        let vault = beside.open(&fresh());
        let chunks = fill(&vault, 0, 6);
        vault.close().unwrap();
        chunks
    };
    let logs: BTreeMap<String, Vec<u8>> =
        files(&beside.disk).into_iter().filter(|(path, _)| path.starts_with("log/")).collect();
    for (path, bytes) in &logs {
        for offset in (0..bytes.len()).step_by(31) {
            let disk = beside.disk.fork();
            disk.flip(path, offset);
            let kept = beside.chunks.only(&(1..=6).collect());
            let damaged = Beside { store: beside.store.clone(), disk, chunks: kept };
            let vault = damaged.open_whatever(&fresh(), false);
            let what = format!("{path} at {offset}");
            assert_eq!(vault.read_only(), None, "{what}");
            assert!(!vault.damage().is_empty(), "{what}");
            chunks.iter().for_each(|bytes| assert_eq!(reads(&vault, bytes), Ok(true), "{what}"));
            Entry::new(9_000, 1, vec![chunk(900, 100)]).commit(&vault).unwrap();
            drop(vault);
            let vault = damaged.open_whatever(&fresh(), false);
            chunks.iter().for_each(|bytes| assert_eq!(reads(&vault, bytes), Ok(true), "{what}"));
            assert_eq!(reads(&vault, &chunk(900, 100)), Ok(true), "{what}");
        }
    }
}

#[test]
fn a_log_that_is_gone_is_told_by_the_chunks_and_they_stay_when_that_is_accepted() {
    let beside = Beside::new();
    let chunks = fill(&beside.open(&fresh()), 0, 6);
    for path in files(&beside.disk).into_keys() {
        if path.starts_with("log/") || path == "CLOSED" {
            beside.disk.unlink(&path).unwrap();
        }
    }
    let vault = beside.open_whatever(&fresh(), false);
    let why = vault.read_only().unwrap();
    assert!(why.contains("holds chunks whose commits are missing from the log"), "{why}");
    drop(vault);
    let vault = beside.open_whatever(&fresh(), true);
    assert_eq!(vault.read_only(), None);
    all_read(&vault, &chunks);
    drop(vault);
    all_read(&beside.open_whatever(&fresh(), false), &chunks);
    assert_eq!(beside.audit().damage, []);
    assert_eq!(SMALL.log_bytes, 1_700);
}

#[test]
fn chunks_elsewhere_that_rot_or_are_missing_are_named() {
    let beside = Beside::new();
    let vault = beside.open(&fresh());
    let chunks = fill(&vault, 0, 3);
    drop(vault);
    beside.assert_sound();
    let units = [1, 3].into_iter().collect();
    let lacking = Beside { chunks: beside.chunks.only(&units), ..beside };
    let found = lacking.audit();
    assert_eq!(found.damage.len(), 1);
    assert!(found.damage[0].to_string().contains("it is missing, and commit 2 names chunks in it"));
    // Nobody asks for them to open the store.
    let vault = lacking.open(&fresh());
    assert_eq!(reads(&vault, &chunks[0]), Ok(true));
    assert!(reads(&vault, &chunks[1]).is_err());
}
