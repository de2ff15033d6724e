//! The formats that are our own, byte by byte: signatures, entries, records, bodies.

use lucid_core::block::{Block, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::json::Json;
use lucid_core::record::{BlockEntry, BlockRecord, encode_body};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{SESSION_ANCHOR, Transaction, complete};

const FROZEN: &str = include_str!("../vectors/chain_formats.txt");

/// The key of the seed 00 01 .. 1f.
fn key() -> SigningKey {
    SigningKey::from_seed(std::array::from_fn(|position| position as u8))
}

fn block() -> Block {
    let anchor = Json::object([
        ("id", Json::from("anchor:1")),
        ("type", Json::from(SESSION_ANCHOR)),
        ("session_id", Json::from("s-1")),
        ("timestamp", Json::from("2026-01-01T00:00:00.000000Z")),
        ("chunk_count", Json::from(3_u64)),
    ]);
    let now = Timestamp::parse("2026-01-01T00:00:05.25Z").unwrap();
    let plain = complete(br#"{"type":"audit","note":"caf\u00e9","n":1e-5}"#, now).unwrap();
    let parent = Parent { index: 41, hash: BlockHash::new([0xab; 32]), time: now };
    let transactions = vec![plain.transaction, Transaction::signed(&anchor, &key()).unwrap()];
    Block::build(Some(&parent), transactions, now, &key())
}

#[test]
fn every_format_is_what_it_was() {
    let block = block();
    let record = BlockRecord::of(&block);
    assert_eq!(record.check(), Ok(()));
    let lines = [
        ("public_key", key().public().to_string()),
        ("transaction.0", block.transactions[0].text().to_owned()),
        ("transaction.1", block.transactions[1].text().to_owned()),
        ("transaction.1.leaf_hash", block.transactions[1].leaf_hash().to_string()),
        ("transaction.1.id_digest", hex::encode(block.transactions[1].id_digest())),
        ("block", block.to_json_text()),
        ("entry", Json::from(BlockEntry::of(&block).text()).canonical()),
        ("entry.leaf_hash", record.entry.leaf_hash().to_string()),
        ("record", hex::encode(record.encode())),
        ("body", hex::encode(encode_body(&block.transactions))),
    ];
    let ours: String = lines.map(|(name, value)| format!("{name} {value}\n")).concat();
    assert_eq!(ours, FROZEN);
}
