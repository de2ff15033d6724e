//! What every decoder promises, whatever bytes it meets: nothing panics, and what has one form only is
//! refused or written as exactly these bytes again; JSON, as a canonical text that stands for itself.
//!
//! Each function is a target of `cargo fuzz` (`targets/`), and a test here with random bytes and with
//! sound ones that were altered. Checksums are put right first: a fuzzer would never get past them.

use std::sync::Arc;

use bytes::Bytes;
use lucid_api::framing::Frames;
use lucid_core::block::Candidate;
use lucid_core::bundle::Bundle;
use lucid_core::catalogue::Entry;
use lucid_core::json::Json;
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_core::manifest::Manifest;
use lucid_core::page::Page;
use lucid_core::record::{self, BlockRecord, Head};
use lucid_core::timeline::Mark;
use lucid_core::transaction::Transaction;
use lucid_core::{anchor, check};
use lucid_store::audit::audit;
use lucid_store::committer::Limits;
use lucid_store::crypt::Sealer;
use lucid_store::disk::Disk;
use lucid_store::disk::simulated::SimulatedDisk;
use lucid_store::folder::{KEY_TITLE, parse_label};
use lucid_store::frame::{HEADER_BYTES, Header, Scanner, Sealed};
use lucid_store::index::memory::MemoryIndex;
use lucid_store::index::{Changes, Project, Watermark};
use lucid_store::log::{Commit, FileHeader, Summary};
use lucid_store::rewrite::RewrittenHeader;
use lucid_store::segment::{Footer, TRAILER_BYTES, read_trailer};
use lucid_store::vault::{Drawers, Vault};
use lucid_store::{StoreError, log, segment};

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("records", records),
    ("recovery", recovery),
    ("manifest", manifest),
    ("bundle", bundle),
    ("pages", pages),
    ("chain", chain),
    ("wire", wire),
];

/// The payloads and headers of a store's own records.
pub fn records(bytes: &[u8]) {
    if let Some((first, _)) = bytes.split_first_chunk::<HEADER_BYTES>() {
        let first = with_checksum(first);
        if let Ok(header) = Header::decode(&first) {
            assert_eq!(header.encode(), first);
        }
    }
    if let Ok(commit) = Commit::decode(bytes) {
        writes(commit.seal(), bytes);
    }
    if let Ok(summary) = Summary::decode(bytes) {
        writes(summary.seal(), bytes);
    }
    if let Ok(begin) = FileHeader::decode(bytes) {
        writes(begin.seal(0), bytes);
    }
    if let Ok(begin) = RewrittenHeader::decode(bytes) {
        writes(begin.seal(), bytes);
    }
    if let Ok(footer) = Footer::decode(bytes) {
        writes(footer.seal(0, 0).map(|(sealed, _)| sealed), bytes);
    }
    if let Ok(mark) = Watermark::decode(bytes) {
        assert_eq!(mark.encode(), bytes);
    }
    if let Some(trailer) = bytes.first_chunk::<TRAILER_BYTES>() {
        read_trailer(trailer);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _answer = parse_label(text, KEY_TITLE);
    }
}

/// What was read is written as it was.
fn writes(sealed: Result<Sealed, StoreError>, bytes: &[u8]) {
    assert!(sealed.is_ok_and(|sealed| sealed.payload == bytes));
}

/// The same header with its checksum put right.
fn with_checksum(header: &[u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
    let mut header = *header;
    if let Some((covered, sum)) = header.split_last_chunk_mut::<8>() {
        let hash = blake3::hash(covered);
        sum.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    }
    header
}

/// A store whose log and segments hold these bytes behind sound beginnings: whether it opens or not, it
/// is read to its end.
pub fn recovery(bytes: &[u8]) {
    let store = [7; 16];
    let sealer = Arc::new(Sealer::new(None));
    let disk = SimulatedDisk::new();
    let at = bytes.first().map_or(0, |share| bytes.len() * usize::from(*share) / 256);
    let (first, second) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    for (folder, path, role, content) in [
        (log::FOLDER, log::path(1), "log", first),
        (segment::FOLDER, segment::path(1), "chunks", second),
    ] {
        let begin = FileHeader { store, role, number: 1, previous: [0; 32] }.seal(1);
        let written = disk.create_folder(folder).and_then(|()| {
            let begin = begin.map_err(std::io::Error::other)?;
            disk.create(&path)?.append(&[&begin.header.encode(), &begin.payload, content])
        });
        assert!(written.is_ok());
    }
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let path = segment::path(1);
    if let Ok(Some(file)) = shared.open(&path) {
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, bytes.len() as u64 + 1_000);
        while let Ok(Some(_)) = scanner.step() {}
        let _answer = Footer::find(file.as_ref(), 1);
    }
    let _answer = audit(&shared, Some(&sealer), store, None, &|_, _| {});
    let _answer = Vault::open(Drawers {
        disk: shared,
        store,
        sealer,
        index: Arc::new(MemoryIndex::new()),
        project: Arc::new(Nothing),
        accept_loss: bytes.len().is_multiple_of(2),
        limits: Limits::default(),
    });
}

/// Makes no rows.
struct Nothing;

impl Project for Nothing {
    fn project(&self, _: &[u8], _: &mut Changes<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Manifests, and the transactions that anchor them.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(manifest.to_text().map(String::into_bytes), Ok(bytes.to_vec()));
    }
    if let Ok(transaction) = Transaction::parse(bytes) {
        let _answer = anchor::SignedAnchor::parse(&transaction);
    }
}

/// Proof bundles, with a checksum that is right.
pub fn bundle(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if let Some((covered, sum)) = bytes.split_last_chunk_mut::<32>() {
        *sum = *blake3::hash(covered).as_bytes();
    }
    if let Ok(bundle) = Bundle::decode(&bytes) {
        assert_eq!(bundle.encode(), bytes);
    }
    let mut content = bytes.as_slice();
    for content in [None, Some(&mut content as &mut dyn std::io::Read)] {
        assert!(check::check(&bytes, content, &[]).is_ok());
    }
}

/// Pages of an appendix and what is on them.
pub fn pages(bytes: &[u8]) {
    let _answer = Page::decode(bytes);
    let at = bytes.first().map_or(0, |share| usize::from(*share)).min(bytes.len());
    let (key, value) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    if let Ok(entry) = Entry::decode(key, value) {
        assert_eq!((entry.key().as_slice(), entry.encode().as_deref()), (key, Ok(value)));
    }
    if let Ok((mark, doubt)) = Mark::decode(key, value) {
        assert_eq!((mark.key().as_slice(), mark.encode(doubt).as_slice()), (key, value));
    }
}

/// JSON, transactions, blocks and what is kept of them.
pub fn chain(bytes: &[u8]) {
    if let Ok(json) = Json::parse(bytes) {
        let canonical = json.canonical();
        let again = Json::parse(canonical.as_bytes()).map(|json| json.canonical());
        assert_eq!(again.as_deref(), Ok(canonical.as_str()));
    }
    if let Ok(transaction) = Transaction::parse(bytes) {
        let again = Transaction::parse(transaction.text().as_bytes());
        assert_eq!(again.map(|again| again.hash()), Ok(transaction.hash()));
    }
    let _answer = (Candidate::parse(bytes), Candidate::parse_posted(bytes));
    // Two ways lead to the canonical text, and to one.
    if let Ok(transaction) = Transaction::parse(bytes) {
        let tree = Json::parse(bytes).map(|value| value.canonical());
        assert_eq!(tree.as_deref(), Ok(transaction.text()));
    }
    if let Ok(record) = BlockRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
    }
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(head.encode(), bytes);
    }
    let _answer = record::decode_body(bytes);
    if let Ok(fact) = lucid_block_manager::facts::Fact::decode(bytes) {
        assert_eq!(fact.encode(), bytes);
    }
}

/// What comes over the wire, and the facts of a data-chain.
pub fn wire(bytes: &[u8]) {
    for chunk in Frames::new(Bytes::copy_from_slice(bytes), CHUNK_BYTES_MAX) {
        if chunk.is_err() {
            break;
        }
    }
    if let Ok(fact) = lucid_data_chain::fact::Fact::decode(bytes) {
        assert_eq!(fact.encode(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sound bytes for somebody among the targets.
    fn seeds() -> Vec<Vec<u8>> {
        let commit = Commit {
            number: 1,
            previous: [0; 32],
            first_sequence: 2,
            facts: 0,
            facts_digest: *blake3::hash(b"").as_bytes(),
            segment: 0,
            segment_from: 0,
            segment_to: 0,
            segment_digest: [0; 32],
        };
        let mut sealed = commit.seal().unwrap();
        sealed.header.sequence = 2;
        let record = [sealed.header.encode().as_slice(), &sealed.payload].concat();
        let summary = Summary {
            number: 1,
            digest: [1; 32],
            previous: [0; 32],
            sequence: 3,
            facts: 0,
            facts_digest: *blake3::hash(b"").as_bytes(),
            segment: 0,
            segment_to: 0,
        };
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../blockchain/core/tests/vectors");
        let mut seeds = vec![
            [&[255], record.as_slice()].concat(),
            record,
            sealed.payload,
            summary.seal().unwrap().payload,
            Footer { segment: 1, entries: Vec::new() }.seal(0, 0).unwrap().0.payload,
            br#"{"id":"a","amount":1e300,"x":[{"y":"\u00e9"}]}"#.to_vec(),
        ];
        for name in ["manifest.txt", "bundle.txt", "pages.txt", "catalogue.txt", "chain.jsonl"] {
            let text = std::fs::read_to_string(format!("{vectors}/{name}")).unwrap();
            for word in text.split_whitespace().take(60) {
                seeds.push(word.as_bytes().to_vec());
                let hex = word.as_bytes().chunks(2).map(|pair| {
                    std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok())
                });
                seeds.extend(hex.collect::<Option<Vec<u8>>>());
            }
            seeds.extend(text.lines().take(20).map(|line| line.as_bytes().to_vec()));
        }
        seeds
    }

    #[test]
    fn no_target_minds_what_it_meets() {
        let mut random =
            blake3::Hasher::new().update(&std::process::id().to_le_bytes()).finalize_xof();
        let mut draw = |most: usize| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            usize::try_from(u64::from_le_bytes(bytes) >> 1).unwrap() % most.max(1)
        };
        let seeds = seeds();
        assert!(seeds.len() > 60);
        for seed in &seeds {
            for round in 0..12 {
                let mut bytes = seed.clone();
                for _ in 0..round.min(4) {
                    let at = draw(bytes.len());
                    match (draw(4), bytes.is_empty()) {
                        (_, true) => bytes.push(draw(256) as u8),
                        (0, _) => bytes.truncate(at),
                        (1, _) => bytes.insert(at, draw(256) as u8),
                        _ => bytes[at] = draw(256) as u8,
                    }
                }
                for (name, target) in TARGETS {
                    // Says where it was, if it panics.
                    let outcome = std::panic::catch_unwind(|| target(&bytes));
                    assert!(outcome.is_ok(), "{name} with {bytes:?}");
                }
            }
        }
    }
}
