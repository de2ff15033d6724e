//! What back-ends on other machines keep: objects with their names and marks, and documents of the log and the chain.
//! The first byte chooses what.
//!
//! What is read is written as it was; what was sound and is altered is refused, since digests cover it all.

use std::sync::LazyLock;

use lucid_core::digest::ChunkName;
use lucid_core::record::BlockRecord;
use lucid_store::contract::blobs::{Extent, Placement, UnitKind};
use lucid_store::contract::fact_log::snapshot::Remains;
use lucid_store::contract::fact_log::{Incarnation, frames};
use lucid_store::frame::{HEADER_BYTES, Record, RecordKind};
use lucid_store::mongo::{Beside, Chunks, Commit, Found, Head as BlockHead};
use lucid_store::s3::numbers::Mark;
use lucid_store::s3::object::{Draft, Footer, Head, Key};
use mongodb::bson::{Binary, Bson, Document, spec::BinarySubtype};

use crate::bounds::within;
use crate::draw::{Draw, alter};
use crate::worlds::OURS;

/// A parser of this target, and how much memory it may take: for each byte, and besides.
type Parser = (&'static str, fn(&mut Draw<'_>), (usize, usize));

const PARSERS: [Parser; 5] = [
    ("an object", objects, (64, 512 << 10)),
    ("an object's payloads", payloads, (32, 256 << 10)),
    ("a commit's document", commits, (128, 512 << 10)),
    ("a block's document", blocks, (128, 1 << 20)),
    ("a document", documents, (512, 512 << 10)),
];

/// Numbers of a store are below this.
const NUMBER_MAX: u64 = 1 << 62;

/// Gives the bytes behind the first one to the parser that it chooses.
pub fn remote(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Some((name, parse, most)) = PARSERS.get(usize::from(*first) % PARSERS.len()) else {
        return;
    };
    // What is made once is not counted to the input that asks for it first.
    LazyLock::force(&OURS);
    within(name, rest.len(), *most, || parse(&mut Draw::new(rest)));
}

fn key(draw: &mut Draw<'_>) -> Key {
    Key { number: draw.number(), random: draw.number() }
}

/// An object as it is put, then altered: what lists its records is what was written, or is refused.
fn objects(draw: &mut Draw<'_>) {
    let kind = if draw.flag() { UnitKind::Written } else { UnitKind::Made };
    let replaces = (0..draw.below(6)).map(|_| draw.short()).collect();
    let head = Head { store: draw.array(), key: key(draw), kind, level: draw.byte(), replaces };
    let Ok(record) = head.to_record() else { panic!("a first record is written") };
    assert!(Head::decode(&record.payload).as_ref() == Ok(&head));
    let unit = draw.short();
    let Ok(mut draft) = Draft::begin(&head, unit) else { panic!("an object is begun") };
    for _ in 0..draw.below(5) {
        let payload = draw.filled(300);
        let Ok(chunk) = Record::plain(RecordKind::Chunk, draw.array(), payload) else { return };
        draft.add(&chunk.header, &chunk.payload);
    }
    let Ok(drafted) = draft.finish() else { panic!("an object is ended") };
    let begins = usize::try_from(drafted.to).unwrap_or(usize::MAX);
    let end = drafted.bytes.get(begins..).unwrap_or_default();
    assert_eq!(Footer::find(&drafted.bytes), Some(drafted.to));
    assert_eq!(Footer::read(end, unit).as_ref(), Ok(&drafted.footer));

    let mut altered = drafted.bytes.to_vec();
    for _ in 0..draw.below(4) {
        altered.push(0);
        altered.pop();
        if !altered.is_empty() {
            alter(draw, &mut altered);
        }
    }
    let at = Footer::find(&altered).and_then(|at| usize::try_from(at).ok());
    if let Some(end) = at.and_then(|at| altered.get(at..))
        && let Ok(read) = Footer::read(end, unit)
    {
        let payload = end.get(HEADER_BYTES..).unwrap_or_default();
        let written = read.to_record();
        assert!(written.is_ok_and(|record| payload.starts_with(&record.payload)));
        assert!(read == drafted.footer, "a footer is believed that was altered");
    }
    // A list that lies, with a right digest.
    let Ok(record) = drafted.footer.to_record() else { panic!("a footer is written") };
    let mut payload = record.payload;
    alter(draw, &mut payload);
    same_payloads(&payload, unit);
}

/// Payloads as they are.
fn payloads(draw: &mut Draw<'_>) {
    let unit = draw.short();
    let bytes = std::mem::replace(draw, Draw::new(&[])).rest();
    same_payloads(bytes, unit);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(key) = Key::parse(text)
    {
        assert_eq!(key.to_string(), text);
    }
}

fn same_payloads(bytes: &[u8], unit: u32) {
    if let Ok(head) = Head::decode(bytes) {
        assert!(head.to_record().is_ok_and(|record| record.payload == bytes));
    }
    if let Ok(mark) = Mark::decode(bytes) {
        assert!(mark.to_record().is_ok_and(|record| record.payload == bytes));
    }
    if let Ok(footer) = Footer::decode(bytes, unit) {
        assert!(footer.to_record().is_ok_and(|record| record.payload == bytes));
        assert!(footer.entries.iter().all(|entry| entry.placement.unit == unit));
    }
    let _answer = (Footer::find(bytes), Footer::read(bytes, unit));
    if let Ok(all) = Remains::decode_all("a piece", bytes) {
        let again: Vec<u8> = all.iter().flat_map(Remains::encode).collect();
        assert_eq!(again, bytes, "a piece is not written as it was read");
    }
}

/// A commit with a right digest, whatever it says: it is read as it was written if its numbers are a store's, and
/// refused if not. Altered, it is refused.
fn commits(draw: &mut Draw<'_>) {
    let mut kept = Vec::new();
    for _ in 0..draw.below(4) {
        let payload = draw.filled(200);
        kept.extend(Record::plain(RecordKind::Fact, draw.array(), payload));
    }
    let mut facts = frames(&kept);
    let is_whole = !draw.once_in(3);
    if !is_whole {
        facts.push(0);
        alter(draw, &mut facts);
    }
    let mut numbers = Vec::new();
    let mut number = |draw: &mut Draw<'_>| {
        let number = draw.number();
        numbers.push(number);
        number
    };
    let (n, log_bytes) = (number(draw), number(draw));
    let chunks = draw.flag().then(|| {
        let unit = draw.short();
        let extent = Extent {
            unit,
            from: number(draw),
            to: number(draw),
            digest: draw.array(),
            first_sequence: number(draw),
        };
        let place = |draw: &mut Draw<'_>, offset| Placement {
            unit,
            offset,
            stored_length: draw.short(),
            plain_length: draw.short(),
            encrypted: draw.flag(),
        };
        let count = draw.below(4);
        let places = (0..count).map(|_| {
            let offset = number(draw);
            (ChunkName::new(draw.array()), place(draw, offset))
        });
        Chunks { places: places.collect(), extent }
    });
    let commit = Commit {
        n,
        incarnation: Incarnation { number: draw.short().max(1), id: draw.array() },
        nonce: draw.array(),
        before: draw.array(),
        log_bytes,
        facts,
        chunks,
    };
    let digest = commit.digest();
    let document = commit.document(&digest);
    let read = Commit::read(document.clone());
    if numbers.iter().all(|number| *number < NUMBER_MAX) {
        assert!(read == Ok((commit.clone(), digest)), "a commit is not read as it was written");
    } else {
        assert!(read.is_err(), "a commit has numbers that no store has");
    }
    match commit.records() {
        Ok(records) => {
            let again: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
            assert_eq!(frames(&again), commit.facts);
        }
        Err(_) => assert!(!is_whole),
    }
    let mut altered = document.clone();
    change(draw, &mut altered);
    if let Ok((read, digest)) = Commit::read(altered.clone()) {
        assert!(altered == document && read.document(&digest) == document, "{altered}");
    }
    same_documents(&altered_bytes(draw, &document));
}

/// A block's document, right and altered: it is what was written, or is refused.
fn blocks(draw: &mut Draw<'_>) {
    let Some(world) = draw.of(OURS.as_slice()) else { return };
    let record = BlockRecord::of(&world.block);
    let encoded = record.encode();
    let is_it = !draw.once_in(4);
    let head = BlockHead {
        height: if is_it { world.block.index } else { draw.number() },
        nonce: draw.array(),
        hash: if is_it { *world.block.hash.as_bytes() } else { draw.array() },
        count: draw.number(),
        size: draw.number(),
        before: (draw.number(), draw.number()),
        record: Beside::of(&encoded),
        body: Beside { bytes: draw.number(), digest: draw.array() },
    };
    let numbers =
        [head.height, head.count, head.size, head.before.0, head.before.1, head.body.bytes];
    let document = head.document(&record, encoded);
    match Found::read(document.clone()) {
        Ok(found) => {
            assert!(found.head == head && numbers.iter().all(|number| *number < NUMBER_MAX));
            let encoded = found.record.clone().unwrap_or_default();
            let stored = found.stored(&encoded).map(|stored| stored.record);
            let is_same =
                head.height == world.block.index && head.hash == *world.block.hash.as_bytes();
            assert_eq!(stored.is_ok(), is_same);
            assert!(stored.is_err() || stored == Ok(record));
            let _sums = (head.tip(), head.behind(), head.body.parts());
        }
        Err(_) => assert!(numbers.iter().any(|number| *number >= NUMBER_MAX)),
    }
    let mut altered = document.clone();
    change(draw, &mut altered);
    if let Ok(found) = Found::read(altered.clone())
        && let Some(encoded) = found.record.clone()
        && let Ok(stored) = found.stored(&encoded)
    {
        assert!(altered == document, "a block is believed that was altered: {altered}");
        assert!(found.head.document(&stored.record, encoded) == altered);
    }
    same_documents(&altered_bytes(draw, &document));
}

/// BSON as it is.
fn documents(draw: &mut Draw<'_>) {
    let bytes = std::mem::replace(draw, Draw::new(&[])).rest();
    same_documents(bytes);
}

fn same_documents(mut bytes: &[u8]) {
    // How long a document is, its message has said before.
    let length = bytes.first_chunk().map(|length| u32::from_le_bytes(*length));
    if length.and_then(|length| usize::try_from(length).ok()) != Some(bytes.len()) {
        return;
    }
    let Ok(document) = Document::from_reader(&mut bytes) else { return };
    if let Ok((commit, digest)) = Commit::read(document.clone()) {
        assert!(commit.document(&digest) == document, "{document}");
        let _answer = commit.records();
    }
    if let Ok(found) = Found::read(document.clone())
        && let Some(encoded) = found.record.clone()
        && let Ok(stored) = found.stored(&encoded)
    {
        assert!(found.head.document(&stored.record, encoded) == document, "{document}");
    }
}

fn altered_bytes(draw: &mut Draw<'_>, document: &Document) -> Vec<u8> {
    let mut bytes = document.to_vec().unwrap_or_default();
    for _ in 0..draw.below(3) {
        bytes.push(0);
        bytes.pop();
        if !bytes.is_empty() {
            alter(draw, &mut bytes);
        }
    }
    bytes
}

/// Changes a field of a document, or of one inside it: another value, another type, gone, or one more.
fn change(draw: &mut Draw<'_>, document: &mut Document) {
    let names: Vec<String> = document.keys().cloned().collect();
    let Some(name) = draw.of(&names).cloned() else { return };
    match draw.below(6) {
        0 => drop(document.remove(&name)),
        1 => drop(document.insert(draw.text(9), any(draw))),
        2 => drop(document.insert(name, any(draw))),
        _ => match document.get_mut(&name) {
            Some(Bson::Document(inner)) => change(draw, inner),
            Some(Bson::Binary(Binary { bytes, .. })) => {
                bytes.push(0);
                alter(draw, bytes);
            }
            Some(Bson::Int64(number)) => *number = draw.number().cast_signed(),
            Some(Bson::Array(all)) if draw.flag() => drop(all.pop()),
            Some(Bson::Array(all)) => all.push(any(draw)),
            Some(other) => *other = any(draw),
            None => {}
        },
    }
}

fn any(draw: &mut Draw<'_>) -> Bson {
    match draw.below(9) {
        0 => Bson::Null,
        1 => Bson::Boolean(draw.flag()),
        2 => Bson::Int32(draw.short().cast_signed()),
        3 => Bson::Int64(draw.number().cast_signed()),
        4 => Bson::Double(f64::from(draw.short())),
        5 => Bson::String(draw.text(9)),
        6 => Bson::Array(Vec::new()),
        7 => Bson::Document(Document::new()),
        _ => {
            let subtype = if draw.flag() { BinarySubtype::Generic } else { BinarySubtype::Uuid };
            Bson::Binary(Binary { subtype, bytes: draw.bytes(40) })
        }
    }
}
