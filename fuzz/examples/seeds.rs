//! Writes the seeds of every target into `corpus/`, from real builders and the vectors of the core:
//!
//! `cargo run -p lucid-fuzz --example seeds`
//!
//! What fuzzing found worth keeping stands beside them, under names of forty digits.

#![expect(clippy::unwrap_used, reason = "a program that cannot go on has failed")]

use std::fs;
use std::path::Path;

use lucid_core::bundle::Subject;
use lucid_core::digest::ChunkName;
use lucid_core::record::{BlockRecord, Head, encode_body};
use lucid_fuzz::TARGETS;
use lucid_fuzz::worlds::{OURS, T0};
use lucid_store::contract::blobs::{Entry, Extent, Placement, UnitKind};
use lucid_store::contract::fact_log::snapshot::Remains;
use lucid_store::contract::fact_log::{Incarnation, frames};
use lucid_store::files::log::{Commit, FileHeader, Summary};
use lucid_store::files::rewrite::RewrittenHeader;
use lucid_store::files::segment::Footer;
use lucid_store::files::watermark::Watermark;
use lucid_store::frame::{Record, RecordKind};
use lucid_store::s3::numbers::Mark;
use lucid_store::s3::object::Key;
use lucid_store::{mongo, s3};

/// Inputs of targets that decide by what they are given: as many, and as long.
const DRAWN: [usize; 10] = [24, 40, 64, 64, 96, 128, 160, 200, 300, 400];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let folder = root.join(target.name);
        fs::create_dir_all(&folder).unwrap();
        let mut seeds = sound(target.name);
        let draws = [
            "forge", "formats", "remote", "store", "restore", "http", "peer", "pyjson", "recovery",
        ];
        if draws.contains(&target.name) {
            for (number, length) in DRAWN.into_iter().enumerate() {
                let mut bytes = vec![0; length];
                let name = format!("{} {number}", target.name);
                blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
                seeds.push(bytes);
            }
        }
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
}

/// Sound bytes for a target that takes them as they are.
fn sound(target: &str) -> Vec<Vec<u8>> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blockchain/core/tests/vectors");
    let words = |name: &str, most: usize| {
        let text = fs::read_to_string(vectors.join(name)).unwrap();
        let hex = |word: &str| {
            let pairs: Option<Vec<&str>> =
                (0..word.len()).step_by(2).map(|at| word.get(at..at + 2)).collect();
            pairs?
                .into_iter()
                .map(|pair| u8::from_str_radix(pair, 16).ok())
                .collect::<Option<Vec<u8>>>()
        };
        let found = text.split_whitespace().filter(|word| word.len() > 20).filter_map(hex);
        found.filter(|bytes| bytes.len() <= 4_096).take(most).collect::<Vec<_>>()
    };
    let lines = |name: &str, most: usize| {
        let text = fs::read_to_string(vectors.join(name)).unwrap();
        let short = text.lines().filter(|line| line.len() <= 2_048).take(most);
        short.map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>()
    };
    match target {
        "records" => records(),
        "manifest" => {
            let texts = OURS.iter().flat_map(|world| {
                [world.text.clone().into_bytes(), world.anchored.transaction.clone().into_bytes()]
            });
            texts.collect()
        }
        "bundle" => {
            let world = OURS.first().unwrap();
            let proofs = [Subject::Session, Subject::Bytes(10, 15), Subject::Path(b"b".to_vec())];
            let mut seeds: Vec<_> =
                proofs.into_iter().map(|subject| world.prove(subject).unwrap().encode()).collect();
            seeds.extend(words("bundle.txt", 8));
            seeds
        }
        "pages" => [words("pages.txt", 8), words("catalogue.txt", 8)].concat(),
        "chain" => {
            let block = &OURS.first().unwrap().block;
            let record = BlockRecord::of(block);
            let mut seeds = vec![
                block.to_json_text().into_bytes(),
                record.encode(),
                Head::of(&record).encode(),
                encode_body(&block.transactions),
            ];
            seeds.extend(lines("chain.jsonl", 6));
            seeds
        }
        "remote" => remote(),
        "wire" => {
            let started = [&[0x10, 1, 0, 0, 0, b's'], [0; 40].as_slice()].concat();
            vec![
                started,
                [&5_u32.to_le_bytes(), b"hello".as_slice()].concat(),
                T0.to_le_bytes().to_vec(),
            ]
        }
        _ => Vec::new(),
    }
}

/// Payloads and documents as they are, behind the byte that chooses what reads them.
fn remote() -> Vec<Vec<u8>> {
    let key = Key { number: 1, random: 0xff };
    let head = s3::object::Head {
        store: [7; 16],
        key,
        kind: UnitKind::Made,
        level: 3,
        replaces: vec![1, 2],
    };
    let placement =
        Placement { unit: 3, offset: 9, stored_length: 7, plain_length: 9, encrypted: true };
    let name = ChunkName::new([6; 32]);
    let entries = vec![Entry { name, sequence: 5, placement }];
    let fact = Record::plain(RecordKind::Fact, [5; 32], b"a fact".to_vec()).unwrap();
    let payloads = [
        head.to_record().unwrap().payload,
        Mark { store: [7; 16], key }.to_record().unwrap().payload,
        s3::object::Footer { key, digest: [8; 32], entries }.to_record().unwrap().payload,
        key.to_string().into_bytes(),
        Remains { n: 2, facts: vec![fact.clone()], places: vec![(name, placement)] }.encode(),
    ];
    let extent = Extent { unit: 3, from: 0, to: 135, digest: [8; 32], first_sequence: 11 };
    let commit = mongo::Commit {
        n: 2,
        incarnation: Incarnation::first([1; 16]),
        nonce: [2; 16],
        before: [3; 32],
        log_bytes: 1_000,
        facts: frames(std::slice::from_ref(&fact)),
        chunks: Some(mongo::Chunks { extent, places: vec![(name, placement)] }),
    };
    let block = &OURS.first().unwrap().block;
    let record = BlockRecord::of(block);
    let encoded = record.encode();
    let stored = mongo::Head {
        height: block.index,
        nonce: [2; 16],
        hash: *block.hash.as_bytes(),
        count: 1,
        size: 9,
        before: (3, 4),
        record: mongo::Beside::of(&encoded),
        body: mongo::Beside::of(&encode_body(&block.transactions)),
    };
    let documents = [commit.document(&commit.digest()), stored.document(&record, encoded)];
    let payloads = payloads.into_iter().map(|bytes| [&[1, 64], bytes.as_slice()].concat());
    let documents = documents.iter().map(|document| document.to_vec().unwrap());
    payloads.chain(documents.map(|bytes| [&[4], bytes.as_slice()].concat())).collect()
}

fn records() -> Vec<Vec<u8>> {
    let nothing = *blake3::hash(b"").as_bytes();
    let commit = Commit {
        number: 1,
        previous: [0; 32],
        first_sequence: 2,
        facts: 0,
        facts_digest: nothing,
        segment: 0,
        segment_from: 0,
        segment_to: 0,
        segment_digest: [0; 32],
    };
    let summary = Summary {
        number: 1,
        digest: [1; 32],
        previous: [0; 32],
        sequence: 3,
        facts: 0,
        facts_digest: nothing,
        segment: 0,
        segment_to: 0,
    };
    let begin = FileHeader { store: [7; 16], role: "log", number: 1, previous: [0; 32] };
    let rewritten =
        RewrittenHeader { store: [7; 16], number: 0x8000_0001, level: 3, replaces: vec![1, 2] };
    let sealed = commit.to_record().unwrap();
    vec![
        sealed.header.encode().to_vec(),
        sealed.payload,
        summary.to_record().unwrap().payload,
        begin.to_record(1).unwrap().payload,
        rewritten.to_record().unwrap().payload,
        Footer { segment: 1, entries: Vec::new() }.to_record(0, 0).unwrap().0.payload,
        Watermark::START.encode(),
        b"lucid-key/v1\nroot: x\nchecksum: y\n".to_vec(),
    ]
}
