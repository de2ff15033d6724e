//! Stores of records that lie: every checksum and digest is right, so that what is behind them is reached.
//!
//! The input says which files there are and what their records claim: commits that follow each other but for
//! one field, summaries, footers with their trailers, beginnings, facts of the store's own, chunks. In every
//! case the store is read to its end, opened or refused, and what it acknowledges then is kept.

use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::contract::blobs::Placement;
use lucid_store::contract::index::{Changes, Project};
use lucid_store::crypt::Cipher;
use lucid_store::files::Limits;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::files::disk::{Disk, DiskFile};
use lucid_store::files::log::{Commit, FileHeader, Summary};
use lucid_store::files::rewrite::RewrittenHeader;
use lucid_store::files::segment::{Footer, FooterEntry, REWRITTEN, TRAILER_BYTES};
use lucid_store::files::{self, UnopenedStore};
use lucid_store::files::{log, segment};
use lucid_store::frame::{
    CipherId, CodecId, HEADER_BYTES, HeadersDigest, Record, RecordKind, Scanner,
};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::bounds::within;
use crate::draw::{Draw, alter};

/// The store whose files they are.
const STORE: [u8; 16] = [7; 16];
/// Names of files that are told from each other by their numbers.
const NUMBERS: [u32; 6] = [1, 2, 3, 4, 9, 99_999_999];
/// The first byte of a fact that is the owner's.
const OWNERS: u8 = 0x10;

/// A store that the input describes: it opens or is refused, and keeps what it acknowledges.
pub fn recovery(bytes: &[u8]) {
    let disk = written(&mut Draw::new(bytes));
    let size: usize = files(&disk).iter().map(|(_, bytes)| bytes.len()).sum();
    let accept_loss = bytes.len().is_multiple_of(2);
    // A thread that writes and one for each core that audits have their buffers.
    within("recovery", size, (24, 48 << 20), || open(&disk, accept_loss));
}

fn open(disk: &SimulatedDisk, accept_loss: bool) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let cipher = Cipher::new(None);
    for (path, bytes) in files(disk) {
        if let Ok(Some(file)) = disk.open(&path) {
            walk(file.as_ref(), &path, bytes.len() as u64);
        }
    }
    let audited = audit(&shared, Some(&cipher), STORE, None, &|_, _| {});
    assert!(audited.is_ok(), "the audit: {audited:?}");
    let Ok(vault) = opened(disk, &Arc::default(), accept_loss) else { return };
    let new = [&[OWNERS], b"acknowledged".as_slice()].concat();
    let Ok(fact) = vault.fact(&mut Packer::new(), new.clone()) else { return };
    let done = vault.commit(Submission { facts: vec![fact], ..Submission::default() });
    drop(vault);
    if done.is_ok() {
        let index = Arc::new(MemoryIndex::new());
        // What is lacking before it may still want to be accepted; what is new is there all the same.
        let again = opened(disk, &index, accept_loss);
        assert!(again.is_ok(), "it opened, and does not any more: {:?}", again.err());
        assert!(index.rows().contains_key(&new), "a fact was acknowledged, and is gone");
    }
}

fn opened(
    disk: &SimulatedDisk,
    index: &Arc<MemoryIndex>,
    accept_loss: bool,
) -> Result<Vault, StoreError> {
    files::open(UnopenedStore {
        disk: Arc::new(disk.clone()),
        store: STORE,
        cipher: Arc::new(Cipher::new(None)),
        index: index.clone(),
        project: Arc::new(Itself),
        accept_loss,
        limits: Limits::default(),
    })
}

/// Every fact is its own row.
struct Itself;

impl Project for Itself {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        changes.put(fact.to_vec(), Vec::new());
        Ok(())
    }
}

/// Every record of a file, and its footer.
fn walk(file: &dyn DiskFile, path: &str, end: u64) {
    let mut scanner = Scanner::new(file, path, 0, end);
    while let Ok(Some(_)) = scanner.step() {}
    if let Some(number) = segment::number_of(path) {
        let _answer = Footer::find(file, number);
        let _answer = Footer::of_ended(file, number, true);
        let _answer = RewrittenHeader::read(file, number, &STORE);
    }
}

/// Every file of a store, by path.
pub(crate) fn files(disk: &SimulatedDisk) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["", log::FOLDER, segment::FOLDER] {
        for name in disk.list(folder).unwrap_or_default() {
            let path = files::disk::join(folder, &name);
            if let Ok(Some(bytes)) = files::disk::read_all(disk, &path) {
                files.push((path, bytes));
            }
        }
    }
    files
}

/// Puts a file where one may be already.
pub(crate) fn put(disk: &SimulatedDisk, path: &str, bytes: &[u8]) {
    let written =
        disk.unlink(path).and_then(|()| disk.create(path)).and_then(|file| file.append(&[bytes]));
    assert!(written.is_ok(), "{path}: {written:?}");
}

/// What the records so far amount to, so that the next ones can be right.
struct Told {
    sequence: u64,
    number: u64,
    previous: [u8; 32],
    /// Facts since the last commit.
    facts: HeadersDigest,
    fact_count: u32,
    first: u64,
    /// The segment of the chunks since then, where they begin and end, and their headers.
    segment: u32,
    from: u64,
    to: u64,
    chunks: HeadersDigest,
    /// What the segment has so far.
    entries: Vec<FooterEntry>,
}

fn written(draw: &mut Draw<'_>) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    for folder in [log::FOLDER, segment::FOLDER] {
        let made = disk.create_folder(folder);
        assert!(made.is_ok());
    }
    let mut told = Told {
        sequence: 1,
        number: 0,
        previous: [0; 32],
        facts: HeadersDigest::new(),
        fact_count: 0,
        first: 1,
        segment: 0,
        from: 0,
        to: 0,
        chunks: HeadersDigest::new(),
        entries: Vec::new(),
    };
    for _ in 0..8 {
        if draw.is_empty() {
            break;
        }
        let number = draw.of(&NUMBERS).copied().unwrap_or(1);
        match draw.below(3) {
            0 => {
                let path = log::path(number);
                let begin = begin(draw, &mut told, "log", number);
                let bytes = records(draw, &mut told, begin, number);
                put(&disk, &path, &bytes);
            }
            1 => {
                let begin = begin(draw, &mut told, "chunks", number);
                let bytes = records(draw, &mut told, begin, number);
                put(&disk, &segment::path(number), &bytes);
            }
            _ => {
                let number = REWRITTEN | number.min(9_999_999);
                let replaces = (0..draw.below(3)).map(|_| 1 + draw.short() % 4).collect();
                let header = RewrittenHeader { store: STORE, number, level: draw.byte(), replaces };
                let begin = header.to_record().map(|record| bytes_of(&record)).unwrap_or_default();
                let bytes = records(draw, &mut told, begin, number);
                put(&disk, &segment::path(number), &bytes);
            }
        }
    }
    disk
}

/// The first record of a file; now and then no such thing.
fn begin(draw: &mut Draw<'_>, told: &mut Told, role: &'static str, number: u32) -> Vec<u8> {
    let choice = draw.below(8);
    let (store, role, number) = match choice {
        7 => return draw.bytes(64),
        6 => ([8; 16], role, number),
        5 => (STORE, "bodies", number),
        4 => (STORE, role, draw.short()),
        _ => (STORE, role, number),
    };
    if role == "chunks" {
        told.entries.clear();
        (told.segment, told.from, told.to) = (number, 0, 0);
        told.chunks = HeadersDigest::new();
    }
    let previous = if role == "log" { told.previous } else { [0; 32] };
    let header = FileHeader { store, role, number, previous };
    let record = header.to_record(told.sequence);
    told.sequence += 1;
    record.map(|record| bytes_of(&record)).unwrap_or_default()
}

fn bytes_of(record: &Record) -> Vec<u8> {
    [record.header.encode().as_slice(), &record.payload].concat()
}

/// Records behind the first one, to the end of the file.
fn records(draw: &mut Draw<'_>, told: &mut Told, mut bytes: Vec<u8>, number: u32) -> Vec<u8> {
    if told.segment == number && told.from == 0 {
        (told.from, told.to) = (bytes.len() as u64, bytes.len() as u64);
    }
    for _ in 0..24 {
        if draw.is_empty() {
            break;
        }
        let at = bytes.len() as u64;
        let choice = draw.below(12);
        let record = match choice {
            0 => break,
            1 | 2 => fact(draw, told),
            3 | 4 => chunk(draw, told, number, at),
            5 | 6 => commit(draw, told),
            7 => summary(draw, told),
            8 => {
                if let Some(footer) = footer(draw, told, number, at) {
                    bytes.extend(footer);
                    if draw.flag() {
                        break;
                    }
                }
                continue;
            }
            9 => {
                let kinds = [
                    RecordKind::Fact,
                    RecordKind::Commit,
                    RecordKind::Summary,
                    RecordKind::Footer,
                    RecordKind::File,
                    RecordKind::Body,
                ];
                let kind = draw.of(&kinds).copied().unwrap_or(RecordKind::Fact);
                Record::plain(kind, draw.array(), draw.bytes(200)).ok()
            }
            10 => {
                bytes.extend(draw.bytes(40));
                continue;
            }
            _ => {
                alter(draw, &mut bytes);
                continue;
            }
        };
        if let Some(mut record) = record {
            if draw.once_in(6) {
                lie(draw, &mut record);
            }
            bytes.extend(bytes_of(&record));
        }
    }
    bytes
}

/// Lets a header say something else.
fn lie(draw: &mut Draw<'_>, record: &mut Record) {
    let header = &mut record.header;
    match draw.below(8) {
        0 => header.sequence = draw.number(),
        1 => header.plain_length = draw.short(),
        2 => header.stored_length = draw.short(),
        3 => header.codec = CodecId::Zstd,
        4 => header.codec = CodecId::Lz4,
        5 => header.codec = CodecId::Gzip,
        6 => header.cipher = CipherId::Aes256Gcm,
        _ => header.name = draw.array(),
    }
}

/// A fact: one of the store's own, or its owner's.
fn fact(draw: &mut Draw<'_>, told: &mut Told) -> Option<Record> {
    let mut plain = vec![draw.byte() % 6];
    let named = draw.of(&told.entries).map(|entry| (entry.name, entry.placement));
    let placed = |draw: &mut Draw<'_>, plain: &mut Vec<u8>| match (named, draw.flag()) {
        (Some((name, place)), true) => {
            plain.extend(name.as_bytes());
            plain.extend(place.unit.to_le_bytes());
            plain.extend(place.offset.to_le_bytes());
        }
        _ => {
            plain.extend(draw.array::<32>());
            plain.extend(draw.short().to_le_bytes());
            plain.extend(draw.number().to_le_bytes());
        }
    };
    match plain.first() {
        // Quarantined, dropped, switched to: FORMATS.md has the bytes.
        Some(1) => placed(draw, &mut plain),
        Some(2) => {
            plain.extend(1_u32.to_le_bytes());
            placed(draw, &mut plain);
        }
        Some(3) => {
            let segment = REWRITTEN | (1 + draw.short() % 4);
            plain.extend(segment.to_le_bytes());
            plain.extend(1_u32.to_le_bytes());
            plain.extend((1 + draw.short() % 4).to_le_bytes());
        }
        Some(0) => plain.extend(draw.bytes(60)),
        _ => plain = [&[OWNERS], draw.bytes(20).as_slice()].concat(),
    }
    let record = Cipher::new(None).fact_record(&mut Packer::new(), &plain).ok();
    let mut record = record?;
    record.header.sequence = told.sequence;
    told.sequence += 1;
    told.facts.add(&record.header);
    told.fact_count += 1;
    Some(record)
}

fn chunk(draw: &mut Draw<'_>, told: &mut Told, number: u32, at: u64) -> Option<Record> {
    let plain = draw.filled(300);
    let id = blake3::hash(&plain);
    let mut record = Record::plain(RecordKind::Chunk, *id.as_bytes(), plain).ok()?;
    record.header.sequence = told.sequence;
    told.sequence += 1;
    if told.segment == number {
        told.to = at + record.record_bytes();
        told.chunks.add(&record.header);
    }
    told.entries.push(FooterEntry {
        name: ChunkName::new(record.header.name),
        sequence: record.header.sequence,
        placement: Placement {
            unit: number,
            offset: at,
            stored_length: record.header.stored_length,
            plain_length: record.header.plain_length,
            encrypted: false,
        },
        header_digest: *blake3::hash(&record.header.encode()).as_bytes(),
    });
    Some(record)
}

/// The commit that follows, but for one field now and then.
fn commit(draw: &mut Draw<'_>, told: &mut Told) -> Option<Record> {
    let has_chunks = told.to > told.from;
    let none = HeadersDigest::new().finish();
    let mut commit = Commit {
        number: told.number + 1,
        previous: told.previous,
        first_sequence: told.first,
        facts: told.fact_count,
        facts_digest: told.facts.finish(),
        segment: if has_chunks { told.segment } else { 0 },
        segment_from: if has_chunks { told.from } else { 0 },
        segment_to: if has_chunks { told.to } else { 0 },
        segment_digest: if has_chunks { told.chunks.finish() } else { none },
    };
    match draw.below(16) {
        0 => commit.number = draw.number(),
        1 => commit.previous = draw.array(),
        2 => commit.first_sequence = draw.number(),
        3 => commit.facts = draw.short(),
        4 => commit.facts_digest = draw.array(),
        5 => commit.segment = draw.short(),
        6 => commit.segment_from = draw.number(),
        7 => commit.segment_to = draw.number(),
        8 => commit.segment_digest = none,
        _ => {}
    }
    let mut record = commit.to_record().ok()?;
    record.header.sequence = told.sequence;
    follows(told, (commit.number, record.header.name));
    (told.from, told.chunks) = (told.to, HeadersDigest::new());
    Some(record)
}

fn summary(draw: &mut Draw<'_>, told: &mut Told) -> Option<Record> {
    let mut summary = Summary {
        number: told.number + 1,
        digest: draw.array(),
        previous: told.previous,
        sequence: told.sequence + 1,
        facts: told.fact_count,
        facts_digest: told.facts.finish(),
        segment: told.segment,
        segment_to: told.to,
    };
    match draw.below(10) {
        0 => summary.number = draw.number(),
        1 => summary.previous = draw.array(),
        2 => summary.sequence = draw.number(),
        3 => summary.facts = draw.short(),
        4 => summary.segment = draw.short(),
        5 => summary.segment_to = draw.number(),
        _ => {}
    }
    let record = summary.to_record().ok()?;
    follows(told, (summary.number, summary.digest));
    Some(record)
}

/// What comes next follows this commit.
fn follows(told: &mut Told, (number, digest): (u64, [u8; 32])) {
    told.sequence = told.sequence.saturating_add(1).min(1 << 40);
    (told.number, told.previous) = (number.min(1 << 40), digest);
    (told.facts, told.fact_count, told.first) = (HeadersDigest::new(), 0, told.sequence);
}

/// A footer and its trailer, of what the segment has but for one entry now and then.
fn footer(draw: &mut Draw<'_>, told: &mut Told, number: u32, at: u64) -> Option<Vec<u8>> {
    let mut entries: Vec<_> =
        told.entries.iter().filter(|entry| entry.placement.unit == number).cloned().collect();
    entries.sort_by_key(|entry| (entry.name, entry.sequence));
    match draw.below(10) {
        0 => drop(entries.pop()),
        1 => entries.reverse(),
        choice @ 2..=6 => {
            if let Some(entry) = entries.first_mut() {
                match choice {
                    2 => entry.sequence = draw.number(),
                    3 => entry.placement.offset = draw.number(),
                    4 => entry.placement.stored_length = draw.short(),
                    5 => entry.placement.plain_length = draw.short(),
                    _ => entry.header_digest = draw.array(),
                }
            }
        }
        _ => {}
    }
    let number = if draw.once_in(8) { draw.short() } else { number };
    let footer = Footer { segment: number, entries };
    let place = if draw.once_in(8) { draw.number() } else { at };
    let (record, trailer) = footer.to_record(place, told.sequence).ok()?;
    told.sequence += 1;
    let mut bytes = bytes_of(&record);
    bytes.extend(trailer);
    debug_assert!(bytes.len() >= HEADER_BYTES + TRAILER_BYTES);
    Some(bytes)
}
