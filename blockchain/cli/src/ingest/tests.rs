//! Archiving from a disk that fails, into a sink that remembers.

use std::fs;
use std::path::Path;

use lucid_core::catalogue::Hole;
use lucid_core::cut::ChunkProfile;
use parking_lot::Mutex;

use super::sink::SinkError;
use super::*;
use crate::output::{Output, OutputMode};

/// Keeps chunks by what they are, and references in order.
#[derive(Default)]
struct Remembering {
    chunks: Mutex<std::collections::HashMap<ChunkId, Vec<u8>>>,
    referred: Mutex<Vec<ChunkId>>,
    /// While a test holds this, nothing is kept that begins with an `A`.
    gate: Mutex<()>,
}

impl Sink for Remembering {
    fn put(&self, _: &mut Worker, id: &ChunkId, bytes: Vec<u8>) -> Result<(), SinkError> {
        if bytes.starts_with(b"A") {
            drop(self.gate.lock());
        }
        self.chunks.lock().insert(*id, bytes);
        Ok(())
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        let mut referred = self.referred.lock();
        assert_eq!(start_index, referred.len() as u64);
        referred.extend(chunks.into_iter().map(|(id, _)| id));
        Ok(())
    }
}

impl Remembering {
    fn session(&self) -> Vec<u8> {
        let chunks = self.chunks.lock();
        self.referred.lock().iter().flat_map(|id| chunks[id].clone()).collect()
    }

    /// The catalogue's entries, and the content before it.
    fn read(&self, intake: &Intake) -> (Vec<Entry>, Vec<u8>) {
        let session = self.session();
        let appendix = intake.appendix.as_ref().unwrap();
        let (content, pages) = session.split_at(usize::try_from(appendix.offset).unwrap());
        // One page here, so it is the whole appendix.
        let page = lucid_core::page::Page::decode(pages).unwrap();
        let entries = page.entries().iter();
        let entries = entries.map(|entry| Entry::decode(entry.0, entry.1).unwrap()).collect();
        (entries, content.to_vec())
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Takes in a folder in which every large file fails at `fails_at`.
fn taken_in(folder: &Path, fails_at: Option<u64>) -> (Intake, Remembering) {
    let options = walk::Options { fails_at, ..walk::Options::default() };
    let sink = Remembering::default();
    let progress = ProgressLine::start(
        &Output::new(OutputMode { quiet: true, ..OutputMode::default() }),
        "",
        None,
    );
    let source = IngestSource::Tree(folder.into(), options);
    let intake = ingest(source, ChunkProfile::default(), &sink, &progress, &mut |_, _| {}).unwrap();
    (intake, sink)
}

#[test]
fn a_large_file_that_fails_on_the_way_is_kept_up_to_there_and_named_under_every_name() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = noise(5 << 20);
    fs::write(folder.path().join("big"), &bytes).unwrap();
    fs::hard_link(folder.path().join("big"), folder.path().join("same")).unwrap();
    fs::write(folder.path().join("small"), "small").unwrap();
    // Behind the first read, and not on a border of one.
    let end = (3 << 20) + 123;
    let (intake, sink) = taken_in(folder.path(), Some(end as u64));
    let told: Vec<_> =
        intake.left_out.iter().map(|left| (&*left.path, &*left.why, left.loss)).collect();
    let why = format!("only {end} bytes could be read: Input/output error (os error 5)");
    assert_eq!(told, [(&b"big"[..], &*why, Loss::Part), (b"same", &why, Loss::Part)]);
    assert_eq!(intake.changed, [b"big".to_vec(), b"same".to_vec()]);
    let (entries, content) = sink.read(&intake);
    let big = &entries[1];
    assert_eq!((big.path.as_slice(), big.length, big.changed), (&b"big"[..], end as u64, true));
    assert!(content[usize::try_from(big.offset).unwrap()..][..end] == bytes[..end]);
    let same = &entries[2];
    assert_eq!(
        (same.kind, same.offset, same.length),
        (EntryKind::HardLink, big.offset, big.length)
    );
    assert!(same.changed);
    assert_eq!((entries[3].path.as_slice(), entries[3].changed), (&b"small"[..], false));
}

#[test]
fn a_large_file_of_which_nothing_can_be_read_is_left_out_and_not_kept_as_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("big"), noise(5 << 20)).unwrap();
    fs::hard_link(folder.path().join("big"), folder.path().join("same")).unwrap();
    fs::write(folder.path().join("small"), "small").unwrap();
    let (intake, sink) = taken_in(folder.path(), Some(0));
    let told: Vec<_> =
        intake.left_out.iter().map(|left| (&*left.path, &*left.why, left.loss)).collect();
    let why = "only 0 bytes could be read: Input/output error (os error 5)";
    assert_eq!(told, [(&b"big"[..], why, Loss::Whole), (b"same", why, Loss::Whole)]);
    assert_eq!((intake.files, intake.bytes_in), (1, 5));
    let (entries, _) = sink.read(&intake);
    let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_slice()).collect();
    assert_eq!(paths, [&b""[..], b"small"]);
}

#[test]
fn files_before_and_after_one_that_fails_keep_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        let length = if name == "b" { 6 << 20 } else { 2 << 20 };
        fs::write(folder.path().join(name), noise(length)).unwrap();
    }
    let (intake, sink) = taken_in(folder.path(), Some(4 << 20));
    let told: Vec<_> = intake.left_out.iter().map(|left| &*left.path).collect();
    assert_eq!(told, [b"b"]);
    let (entries, content) = sink.read(&intake);
    for entry in &entries[1..] {
        let (offset, length) = (usize::try_from(entry.offset).unwrap(), entry.length);
        let wanted = if entry.path == b"b" { 4 << 20 } else { 2 << 20 };
        assert_eq!((length, entry.changed), (wanted as u64, entry.path == b"b"));
        assert!(content[offset..][..wanted] == noise(wanted));
    }
}

#[test]
fn holes_are_kept_beside_their_zeros_under_every_name_and_no_further_than_was_read() {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big");
    let file = fs::File::create(&path).unwrap();
    file.set_len(16 << 20).unwrap();
    file.write_all_at(&noise(1 << 20), 4 << 20).unwrap();
    fs::hard_link(&path, folder.path().join("same")).unwrap();
    let small = fs::File::create(folder.path().join("small")).unwrap();
    small.set_len(500_000).unwrap();
    small.write_all_at(b"words", 262_144).unwrap();
    if file.metadata().unwrap().blocks() * 512 >= 16 << 20 {
        eprintln!("SKIPPED: the file system of {} keeps no holes", folder.path().display());
        return;
    }
    let hole = |offset, length| Hole { offset, length };
    let (first, second) = (hole(0, 4 << 20), hole(5 << 20, 11 << 20));
    let (intake, sink) = taken_in(folder.path(), None);
    assert_eq!(intake.left_out, []);
    let (entries, content) = sink.read(&intake);
    let [_, big, same, small] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&big.holes, &same.holes), (&vec![first, second], &vec![first, second]));
    let begin = usize::try_from(big.offset).unwrap();
    assert!(content[begin..][..16 << 20] == fs::read(&path).unwrap());
    assert_eq!((small.length, small.holes[0]), (500_000, hole(0, 262_144)));

    let (intake, sink) = taken_in(folder.path(), Some((4 << 20) - 5));
    let (entries, _) = sink.read(&intake);
    assert_eq!(entries[1].holes, [hole(0, (4 << 20) - 5)]);
}

#[test]
fn large_files_behind_a_slow_one_are_not_cut_without_end() {
    const LARGE: usize = 48 << 20;
    let folder = tempfile::tempdir().unwrap();
    // One chunk alone is held.
    let mut bytes = noise(LARGE);
    bytes.iter_mut().filter(|byte| **byte == b'A').for_each(|byte| *byte = b'B');
    for name in ["b", "c"] {
        fs::write(folder.path().join(name), &bytes).unwrap();
        bytes.reverse();
    }
    bytes.truncate(2 << 20);
    bytes[0] = b'A';
    fs::write(folder.path().join("a slow one"), bytes).unwrap();
    let sink = Remembering::default();
    let progress = ProgressLine::start(
        &Output::new(OutputMode { quiet: true, ..OutputMode::default() }),
        "",
        None,
    );
    let profile = ChunkProfile::content_defined(64 << 10).unwrap();
    let intake = std::thread::scope(|scope| {
        let held = sink.gate.lock();
        let working = scope.spawn(|| {
            let source = IngestSource::Tree(folder.path().into(), walk::Options::default());
            ingest(source, profile, &sink, &progress, &mut |_, _| {}).unwrap()
        });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while sink.chunks.lock().len() <= CHUNKS_WAITING {
            assert!(std::time::Instant::now() < deadline, "nothing is cut behind the slow file");
            std::thread::yield_now();
        }
        // What must not happen has no event to wait for.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let kept = sink.chunks.lock().len();
        // Of two such files: what the queue and the cutters have, and what comes while the ledger tells them.
        assert!(kept < LARGE / (64 << 10), "{kept} chunks");
        drop(held);
        working.join().unwrap()
    });
    assert_eq!(intake.content_bytes, (2 << 20) + 2 * LARGE as u64);
}

#[test]
fn while_a_large_file_is_cut_only_so_many_entries_wait_behind_it() {
    const LARGE: usize = 4 << 20;
    const SMALL: u64 = 10;
    const FILES: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a large one"), vec![b'A'; LARGE]).unwrap();
    for number in 0..FILES {
        fs::write(folder.path().join(format!("small {number:04}")), [b'b'; SMALL as usize])
            .unwrap();
    }
    let sink = Remembering::default();
    let progress = ProgressLine::start(
        &Output::new(OutputMode { quiet: true, ..OutputMode::default() }),
        "",
        None,
    );
    let intake = std::thread::scope(|scope| {
        let held = sink.gate.lock();
        let working = scope.spawn(|| {
            let source = IngestSource::Tree(folder.path().into(), walk::Options::default());
            ingest(source, ChunkProfile::default(), &sink, &progress, &mut |_, _| {}).unwrap()
        });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while progress.done() < LARGE as u64 + SMALL {
            assert!(std::time::Instant::now() < deadline, "nothing is read behind the large file");
            std::thread::yield_now();
        }
        // What must not happen has no event to wait for.
        std::thread::sleep(std::time::Duration::from_millis(300));
        // One more is read, and waits for room.
        let most = LARGE as u64 + (ENTRIES_WAITING + 1) * SMALL;
        assert!(progress.done() <= most, "{} of {most}", progress.done());
        drop(held);
        working.join().unwrap()
    });
    assert_eq!((intake.files, intake.content_bytes), (FILES + 1, LARGE as u64 + FILES * SMALL));
}
