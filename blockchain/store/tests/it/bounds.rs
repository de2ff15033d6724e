//! Everything that a writer makes, a reader takes: records, footers, batches and lists at their limits and one
//! over; and stores of earlier versions, which kept no limit, are read and made sound.

use std::sync::Arc;

use lucid_store::StoreError;
use lucid_store::codec::{Compression, Packer};
use lucid_store::contract::blobs::Placement;
use lucid_store::files::Limits;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::faulty::FaultyDisk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::log::{self, Commit};
use lucid_store::files::rewrite::RewrittenHeader;
use lucid_store::files::segment::{
    self, Footer, FooterEntry, RECORDS_MAX, REWRITTEN, placement_of,
};
use lucid_store::frame::{
    HEADER_BYTES, HeadersDigest, PAYLOAD_BYTES_MAX, Record, RecordKind, Scanner, Step, read_payload,
};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::Names;
use lucid_store::vault::committer::Submission;

use crate::bench::{Entry, SMALL, Store, chunk, fact, facts_of, files, id_of, reads};

/// Segments of ten records.
const FEW: Limits = Limits { segment_bytes: 1 << 20, segment_records: 10, log_bytes: 1 << 20 };

fn assert_sound(store: &Store, disk: &SimulatedDisk) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = audit(&disk, Some(&store.cipher), store.id, None, &|_, _| {}).unwrap();
    assert_eq!(found.damage, []);
    assert_eq!(found.torn, []);
}

/// How many records each segment holds, by its number.
fn held(disk: &SimulatedDisk) -> Vec<(u32, usize)> {
    let numbers = segment::numbers(disk).unwrap();
    let count = |number: u32| {
        let file = disk.open(&segment::path(number)).unwrap().unwrap();
        let end = file.length().unwrap();
        let found = Footer::find(file.as_ref(), number).unwrap();
        match found {
            Some(footer) => (number, footer.unwrap().1.entries.len()),
            None => {
                let footer = Footer::of(file.as_ref(), number, end, &mut Vec::new()).unwrap();
                (number, footer.entries.len())
            }
        }
    };
    numbers.into_iter().map(count).collect()
}

#[test]
fn one_batch_fills_as_many_segments_as_it_takes_and_everything_in_it_reads_back() {
    for (count, segments) in [(9, 1), (10, 1), (11, 2), (35, 4)] {
        for encrypted in [false, true] {
            let store = Store::new(encrypted);
            let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
            let vault = store.open_with(&disk, index.clone(), FEW, false).unwrap();
            let chunks: Vec<_> = (0..count).map(|number| chunk(number, 50)).collect();
            let done = Entry::new(1, 2, chunks.clone()).commit(&vault).unwrap();
            assert_eq!(done.chunks_new, u64::from(count));
            let more = chunk(1_000, 50);
            Entry::new(10, 1, vec![more.clone()]).commit(&vault).unwrap();
            let held = held(&disk);
            assert!(held.len() >= segments, "{count}: {held:?}");
            assert!(held.iter().all(|(_, records)| *records <= 10), "{count}: {held:?}");
            drop(vault);
            assert_sound(&store, &disk);
            // From the files alone, too.
            let index = Arc::new(MemoryIndex::new());
            let vault = store.open_with(&disk, index.clone(), FEW, false).unwrap();
            assert_eq!(vault.damage(), []);
            assert_eq!(facts_of(index.as_ref()).len(), 3);
            for bytes in chunks.iter().chain([&more]) {
                assert_eq!(reads(&vault, bytes), Ok(true), "{count}");
            }
        }
    }
}

#[test]
fn one_batch_ends_a_segment_at_its_size() {
    let store = Store::new(false);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open(&disk, &index).unwrap();
    let chunks: Vec<_> = (0..40).map(|number| chunk(number, 700)).collect();
    Entry::new(1, 1, chunks.clone()).commit(&vault).unwrap();
    for (path, bytes) in files(&disk).into_iter().filter(|(path, _)| path.starts_with("chunks/")) {
        // The record that reaches the size still belongs to it, then its footer.
        assert!(
            bytes.len() < SMALL.segment_bytes as usize + 1_500,
            "{path}: {} bytes",
            bytes.len()
        );
    }
    drop(vault);
    assert_sound(&store, &disk);
}

#[test]
fn a_batch_over_several_segments_happens_as_a_whole_or_its_facts_do_not() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open_with(&disk, index, FEW, false).unwrap();
    let before = chunk(500, 50);
    Entry::new(10, 1, vec![before.clone()]).commit(&vault).unwrap();
    let started = disk.calls();
    let chunks: Vec<_> = (0..25).map(|number| chunk(number, 50)).collect();
    Entry::new(1, 2, chunks.clone()).commit(&vault).unwrap();
    let (mut none, mut all) = (0, 0);
    for calls in started..=disk.calls() {
        for seed in 0..3 {
            let cut = disk.after_power_cut(calls, seed);
            let index = Arc::new(MemoryIndex::new());
            let vault = store.open_with(&cut, index.clone(), FEW, false).unwrap();
            assert_eq!(vault.damage(), [], "{calls}");
            assert_eq!(vault.read_only(), None, "{calls}");
            assert_eq!(reads(&vault, &before), Ok(true), "{calls}");
            let there = chunks.iter().map(|bytes| reads(&vault, bytes).unwrap());
            match facts_of(index.as_ref()).len() {
                1 => none += 1,
                3 => {
                    assert!(there.into_iter().all(|there| there), "{calls}");
                    all += 1;
                }
                other => panic!("{calls}: {other} facts"),
            }
            // And it goes on from there.
            Entry::new(1, 2, chunks.clone()).commit(&vault).unwrap();
            drop(vault);
            assert_sound(&store, &cut);
        }
    }
    assert!(none > 10 && all > 0, "{none} without, {all} with");
}

fn entry(number: u32) -> FooterEntry {
    let placement = Placement {
        unit: 1,
        offset: u64::from(number),
        stored_length: 1,
        plain_length: 1,
        encrypted: false,
    };
    let name = lucid_core::digest::ChunkName::new([1; 32]);
    FooterEntry { name, sequence: number.into(), placement, header_digest: [0; 32] }
}

#[test]
fn a_footer_reads_back_at_its_limit_and_is_refused_one_over() {
    let most = u32::try_from(RECORDS_MAX).unwrap();
    let mut footer = Footer { segment: 1, entries: (0..most).map(entry).collect() };
    let (record, _) = footer.to_record(7, 1).unwrap();
    assert!(PAYLOAD_BYTES_MAX as usize - record.payload.len() < 89);
    assert_eq!(Footer::decode(&record.payload).unwrap().entries.len(), RECORDS_MAX);
    assert_eq!(footer.digest(), record.header.name);
    footer.entries.push(entry(most));
    let fault = footer.to_record(7, 1).unwrap_err();
    assert!(matches!(fault, StoreError::TooLarge { what: "a segment's footer", .. }), "{fault}");
}

#[test]
fn what_a_rewritten_segment_stands_for_reads_back_at_its_limit_and_is_refused_one_over() {
    let fixed = 16 + 4 + "rewritten".len() + 4 + 1 + 4;
    let most = (PAYLOAD_BYTES_MAX as usize - fixed) / 4;
    let number = REWRITTEN + 1;
    let mut begin = RewrittenHeader { store: [1; 16], number, level: 0, replaces: vec![1; most] };
    let record = begin.to_record().unwrap();
    assert_eq!(RewrittenHeader::decode(&record.payload), Ok(begin.clone()));
    begin.replaces.push(1);
    assert!(matches!(begin.to_record(), Err(StoreError::TooLarge { .. })));
}

/// What the tests let a segment have.
const MOST: usize = 40;

/// A store as earlier versions made it: one commit with more chunks than a segment may have.
struct Old {
    store: Store,
    disk: SimulatedDisk,
    chunks: u32,
}

/// The bytes of its chunk of a number.
fn tiny(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn bytes_of(record: &Record) -> Vec<u8> {
    [record.header.encode().as_slice(), &record.payload].concat()
}

fn append(disk: &SimulatedDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(path).unwrap().unwrap();
    file.append(&[bytes]).unwrap();
    file.sync().unwrap();
}

impl Old {
    fn make(chunks: u32, with_footer: bool) -> Self {
        let store = Store::new(false);
        let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
        let vault = store.open_with(&disk, index, Limits::default(), false).unwrap();
        Entry::new(1, 1, vec![chunk(1, 50)]).commit(&vault).unwrap();
        drop(vault);
        let (log, path) = (log::path(1), segment::path(1));
        let file = disk.open(&log).unwrap().unwrap();
        let mut scanner = Scanner::new(file.as_ref(), &log, 0, file.length().unwrap());
        let mut last = None;
        while let Some(step) = scanner.step().unwrap() {
            let Step::Record(offset, header) = step else { panic!("damaged") };
            if header.kind == RecordKind::Commit {
                let payload = read_payload(file.as_ref(), &log, offset, &header).unwrap();
                last = Some((header, Commit::decode(&payload.unwrap()).unwrap()));
            }
        }
        let (header, last) = last.unwrap();
        let segment_from = disk.open(&path).unwrap().unwrap().length().unwrap();
        let (mut packer, mut digest) = (Packer::new(), HeadersDigest::new());
        let (mut bytes, mut sequence) = (Vec::new(), header.sequence + 1);
        let file = disk.open(&path).unwrap().unwrap();
        let mut entries =
            Footer::of(file.as_ref(), 1, segment_from, &mut Vec::new()).unwrap().entries;
        for number in 0..chunks {
            let plain = tiny(number);
            let record = store.cipher.chunk_record(
                &mut packer,
                Compression::None,
                false,
                &id_of(&plain),
                &plain,
            );
            let mut record = record.unwrap();
            record.header.sequence = sequence;
            sequence += 1;
            digest.add(&record.header);
            let offset = segment_from + bytes.len() as u64;
            entries.push(FooterEntry {
                name: lucid_core::digest::ChunkName::new(record.header.name),
                sequence: record.header.sequence,
                placement: placement_of(1, offset, &record.header),
                header_digest: *blake3::hash(&record.header.encode()).as_bytes(),
            });
            bytes.extend_from_slice(&bytes_of(&record));
        }
        let mut named = store.cipher.fact_record(&mut packer, &fact(2, &[])).unwrap();
        named.header.sequence = sequence;
        let mut facts = HeadersDigest::new();
        facts.add(&named.header);
        let segment_to = segment_from + bytes.len() as u64;
        let commit = Commit {
            number: last.number + 1,
            previous: header.name,
            first_sequence: header.sequence + 1,
            facts: 1,
            facts_digest: facts.finish(),
            segment: 1,
            segment_from,
            segment_to,
            segment_digest: digest.finish(),
        };
        let mut record = commit.to_record().unwrap();
        record.header.sequence = sequence + 1;
        append(&disk, &path, &bytes);
        append(&disk, &log, &[bytes_of(&named), bytes_of(&record)].concat());
        if with_footer {
            entries.sort_by_key(|entry| (entry.name, entry.sequence));
            append(&disk, &path, &long_footer(&entries, segment_to, sequence + 2));
        }
        Self { store, disk, chunks }
    }

    fn open(&self) -> (Vault, Arc<MemoryIndex>) {
        let index = Arc::new(MemoryIndex::new());
        let open = self.store.open_with(&self.disk, index.clone(), Limits::default(), false);
        (open.unwrap(), index)
    }

    /// Its chunks that are still wanted.
    fn kept(&self) -> Vec<Vec<u8>> {
        (0..self.chunks).step_by(2).map(tiny).chain([chunk(1, 50)]).collect()
    }

    fn assert_holds(&self, vault: &Vault) {
        assert_eq!(vault.damage(), []);
        assert_eq!(vault.read_only(), None);
        for bytes in self.kept() {
            assert_eq!(reads(vault, &bytes), Ok(true));
        }
    }

    /// Collects, twice, and looks at what that made.
    fn collect(&self, vault: &Vault) {
        let mut names = Names::default();
        for bytes in self.kept() {
            names.add(&vault.cipher().chunk_name(&id_of(&bytes)));
        }
        names.settle();
        for _ in 0..2 {
            let collection = vault.begin_collection().unwrap().splitting_over(MOST);
            let done = collection.run(&names, &|_, _| Ok(true), &mut |_, _| true).unwrap();
            assert_eq!(done.units_damaged, 0);
        }
        self.assert_holds(vault);
        let held = held(&self.disk);
        let gone = held.iter().all(|(number, records)| *number != 1 && *records <= MOST);
        assert!(gone, "{held:?}");
    }
}

fn disk_file(disk: &SimulatedDisk, number: u32) -> Arc<dyn lucid_store::files::disk::DiskFile> {
    disk.open(&segment::path(number)).unwrap().unwrap()
}

/// A footer without a limit, with its trailer: what earlier versions sealed such a segment with.
fn long_footer(entries: &[FooterEntry], at: u64, sequence: u64) -> Vec<u8> {
    let mut payload = lucid_core::wire::Writer::new();
    payload.u32(1).count(entries.len());
    for entry in entries {
        let place = &entry.placement;
        payload.raw(entry.name.as_bytes()).u64(entry.sequence).u64(place.offset);
        payload.u32(place.stored_length).u32(place.plain_length).u8(u8::from(place.encrypted));
        payload.raw(&entry.header_digest);
    }
    let payload = payload.finish();
    let digest = *blake3::hash(&payload).as_bytes();
    let mut header = Record::plain(RecordKind::Footer, digest, Vec::new()).unwrap().header;
    (header.sequence, header.payload_digest) = (sequence, digest);
    header.stored_length = u32::try_from(payload.len()).unwrap();
    header.plain_length = header.stored_length;
    let covered = [b"LCDRfoot".as_slice(), &at.to_le_bytes()].concat();
    let sum = blake3::hash(&covered);
    assert_eq!(header.encode().len(), HEADER_BYTES);
    [header.encode().as_slice(), &payload, &covered, &sum.as_bytes()[..8]].concat()
}

#[test]
fn a_footer_that_an_earlier_version_made_too_long_is_read_all_the_same() {
    let count = u32::try_from(RECORDS_MAX).unwrap() + 1;
    let entries: Vec<_> = (0..count).map(entry).collect();
    let footer = long_footer(&entries, 0, 1);
    assert!(footer.len() > PAYLOAD_BYTES_MAX as usize);
    let disk = SimulatedDisk::new();
    let file = disk.create("f").unwrap();
    file.append(&[&footer]).unwrap();
    let (at, found) = Footer::find(file.as_ref(), 1).unwrap().unwrap().unwrap();
    assert_eq!((at, found.entries.len()), (0, RECORDS_MAX + 1));
}

#[test]
fn a_segment_with_too_many_records_is_read_and_split() {
    let old = Old::make(50, true);
    let (vault, index) = old.open();
    assert_eq!(facts_of(index.as_ref()).len(), 2);
    old.assert_holds(&vault);
    assert_sound(&old.store, &old.disk);
    Entry::new(7, 1, vec![chunk(7, 50)]).commit(&vault).unwrap();
    old.collect(&vault);
    drop(vault);
    assert_sound(&old.store, &old.disk);
    // From the files alone, as a reindex reads them.
    let (vault, _) = old.open();
    old.assert_holds(&vault);
}

#[test]
fn a_segment_that_was_left_without_a_footer_is_collected_too() {
    let old = Old::make(50, true);
    let file = disk_file(&old.disk, 1);
    let (footer_at, _) = Footer::find(file.as_ref(), 1).unwrap().unwrap().unwrap();
    let (vault, _) = old.open();
    Entry::new(7, 1, vec![chunk(7, 50)]).commit(&vault).unwrap();
    drop(vault);
    // As if it could not be written: the next segment names none either.
    file.truncate(footer_at).unwrap();
    let (vault, _) = old.open();
    old.assert_holds(&vault);
    old.collect(&vault);
    drop(vault);
    let (vault, _) = old.open();
    old.assert_holds(&vault);
}

#[test]
fn a_damaged_footer_does_not_keep_a_segment_from_being_collected() {
    let old = Old::make(50, true);
    let file = disk_file(&old.disk, 1);
    let (footer_at, _) = Footer::find(file.as_ref(), 1).unwrap().unwrap().unwrap();
    let (vault, _) = old.open();
    Entry::new(7, 1, vec![chunk(7, 50)]).commit(&vault).unwrap();
    assert!(old.disk.flip(&segment::path(1), usize::try_from(footer_at).unwrap() + 200));
    old.collect(&vault);
    drop(vault);
    assert_sound(&old.store, &old.disk);
}

#[test]
fn an_open_segment_beyond_any_footer_is_left_and_the_next_one_begun() {
    let old = Old::make(u32::try_from(RECORDS_MAX).unwrap() + 10, false);
    let (vault, _) = old.open();
    let more = chunk(7, 50);
    Entry::new(7, 1, vec![more.clone()]).commit(&vault).unwrap();
    assert_eq!(reads(&vault, &more), Ok(true));
    assert_eq!(reads(&vault, &tiny(17)), Ok(true));
    assert_eq!(segment::numbers(&old.disk).unwrap(), [1, 2]);
}

#[test]
fn however_many_files_there_are_few_are_open_at_once() {
    let store = Store::new(true);
    let disk = store.disk();
    let vault = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    let mut names = Names::default();
    for number in 0..120 {
        let entry = Entry::new(number, 2, vec![chunk(number, 700)]);
        entry.commit(&vault).unwrap();
        if number % 3 == 0 {
            names.add(&vault.cipher().chunk_name(&id_of(&entry.chunks[0])));
        }
    }
    names.settle();
    drop(vault);
    let counts = |folder| disk.list(folder).unwrap().len();
    let (logs, segments) = (counts("log"), counts("chunks"));
    assert!(logs > 20 && segments > 20, "{logs} and {segments}");
    let counted = FaultyDisk::over(Arc::new(disk.clone()));
    let disk: Arc<dyn Disk> = Arc::new(counted.clone());
    let vault = store.open_on(disk.clone(), Arc::new(MemoryIndex::new()), SMALL, false).unwrap();
    assert!(counted.open_most() <= 6, "a start");
    vault.facts(&mut |_| Ok(()), &mut |_, _| true).unwrap();
    assert!(counted.open_most() <= 6, "the facts");
    vault.begin_collection().unwrap().condense(&|_| Ok(false), &mut |_, _| true).unwrap();
    assert!(counted.open_most() <= 6, "condensing");
    drop(vault);
    // What reads chunks keeps their files open, up to a share of the descriptors.
    let vault = store.open_on(disk.clone(), Arc::new(MemoryIndex::new()), SMALL, false).unwrap();
    vault.begin_collection().unwrap().run(&names, &|_, _| Ok(true), &mut |_, _| true).unwrap();
    let kept = counted.open_files();
    assert!(counted.open_most() <= kept + 60, "collecting");
    drop(vault);
    assert_eq!(counted.open_files(), 0);
    assert!(store.audit(disk).unwrap().damage.is_empty());
    assert!(counted.open_most() <= 6, "an audit");
}

#[test]
fn a_payload_that_ends_as_a_footer_does_not_seal_the_open_segment() {
    let store = Store::new(false);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let vault = store.open_with(&disk, index.clone(), Limits::default(), false).unwrap();
    Entry::new(1, 1, vec![chunk(1, 50)]).commit(&vault).unwrap();
    let open_at =
        lucid_store::files::segment_rows::watermark(index.as_ref()).unwrap().segment_offset;
    let made = long_footer(&[entry(9)], open_at + HEADER_BYTES as u64 + 40, 99);
    let bytes = [chunk(2, 40), made].concat();
    let how = Compression::None;
    let record = vault.chunk(&mut Packer::new(), how, false, &id_of(&bytes), &bytes).unwrap();
    let chunks = vec![record];
    vault.commit(Submission { chunks, ..Submission::default() }).unwrap();
    assert!(matches!(Footer::find(disk_file(&disk, 1).as_ref(), 1), Ok(Some(Ok(_)))));
    // What this process has written it spares.
    drop(vault);
    let vault = store.open_with(&disk, index.clone(), Limits::default(), false).unwrap();
    let nothing = Names::default();
    vault.begin_collection().unwrap().run(&nothing, &|_, _| Ok(true), &mut |_, _| true).unwrap();
    Entry::new(3, 1, vec![chunk(3, 50)]).commit(&vault).unwrap();
    drop(vault);
    let vault = store.open(&disk, &Arc::new(MemoryIndex::new())).unwrap();
    assert_eq!((reads(&vault, &chunk(3, 50)), vault.damage()), (Ok(true), vec![]));
}

#[test]
fn more_live_records_than_a_segment_may_have_are_moved_before_theirs_is_rewritten() {
    let old = Old::make(100, true);
    assert!(old.kept().len() > MOST);
    let limits = Limits { segment_records: MOST as u64, ..Limits::default() };
    let index = Arc::new(MemoryIndex::new());
    let vault = old.store.open_with(&old.disk, index, limits, false).unwrap();
    old.collect(&vault);
    drop(vault);
    assert_sound(&old.store, &old.disk);
    let (vault, _) = old.open();
    old.assert_holds(&vault);
}

#[test]
fn neither_nothing_nor_a_segment_that_is_full_already_makes_a_commit() {
    let store = Store::new(true);
    let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
    let large = Limits { segment_bytes: 1 << 20, ..SMALL };
    let vault = store.open_with(&disk, index.clone(), large, false).unwrap();
    for number in 0..8 {
        Entry::new(number, 1, vec![chunk(number, 700)]).commit(&vault).unwrap();
    }
    let calls = disk.calls();
    vault.commit(Submission::default()).unwrap();
    assert_eq!(disk.calls(), calls);
    drop(vault);
    // By these limits the segment that was written to is full.
    let vault = store.open(&disk, &index).unwrap();
    Entry::new(20, 1, vec![chunk(20, 700)]).commit(&vault).unwrap();
    drop(vault);
    assert_eq!(segment::numbers(&disk).unwrap(), [1, 2]);
    let found = store.audit(Arc::new(disk)).unwrap();
    assert_eq!((found.commits, found.damage), (9, vec![]));
}
