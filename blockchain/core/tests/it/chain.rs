//! A whole small chain of another producer: it is valid, and no field of it may change.

use std::collections::HashSet;

use lucid_core::block::{Candidate, Parent};
use lucid_core::json::Json;
use lucid_core::record::{BlockRecord, decode_body, encode_body};
use lucid_core::time::Timestamp;
use lucid_core::transaction::IdDigest;
use lucid_core::validate::{Context, Mode, ValidBlock, Verdict, validate};

const CHAIN: &str = include_str!("../vectors/chain.jsonl");

/// Judges a block of history.
pub(crate) fn judge(
    candidate: Candidate,
    parent: Option<Parent>,
    chained: &HashSet<IdDigest>,
) -> Verdict {
    let context = Context {
        parent,
        genesis: None,
        now: Timestamp::parse("2026-06-01").unwrap(),
        mode: Mode::Historical,
        chained: &|id| chained.contains(id),
        producer: Default::default(),
    };
    validate(candidate, &context)
}

/// The chain's blocks up to a height, and the ids that are in them.
fn chain(height: usize) -> (Vec<ValidBlock>, HashSet<IdDigest>) {
    let (mut blocks, mut chained) = (Vec::<ValidBlock>::new(), HashSet::new());
    for line in CHAIN.lines().take(height) {
        let parent = blocks.last().map(|block| block.as_parent().unwrap());
        let verdict = judge(Candidate::parse(line.as_bytes()).unwrap(), parent, &chained);
        let block = verdict.block.unwrap_or_else(|| panic!("{line}"));
        chained.extend(block.transactions.iter().map(|transaction| transaction.id_digest()));
        blocks.push(block);
    }
    (blocks, chained)
}

/// The rules that refuse the fourth block with one of its members replaced.
fn refused_with(field: &str, value: Json) -> Vec<&'static str> {
    let (blocks, chained) = chain(3);
    let block = Json::parse(CHAIN.lines().nth(3).unwrap().as_bytes()).unwrap();
    let members = block.as_object().unwrap().iter().cloned();
    let changed = Json::object(members.chain([(field.to_owned(), value)]));
    let candidate = Candidate::parse(changed.canonical().as_bytes()).unwrap();
    let verdict = judge(candidate, Some(blocks[2].as_parent().unwrap()), &chained);
    let failed = verdict.results.iter().filter(|result| !result.passed);
    failed.map(|result| result.rule.name()).collect()
}

#[test]
fn a_chain_of_another_producer_is_valid() {
    let (blocks, chained) = chain(5);
    assert_eq!((blocks.len(), chained.len()), (5, 15));
    for block in &blocks {
        let record = BlockRecord::decode(&BlockRecord::of(block).encode()).unwrap();
        assert_eq!(record.check(), Ok(()));
        let body = decode_body(&encode_body(&block.transactions)).unwrap();
        let joined = lucid_core::block::Block::from_parts(&record, body).unwrap();
        assert_eq!(joined, **block);
    }
}

#[test]
fn every_changed_field_is_refused_by_its_rule() {
    let (blocks, _) = chain(5);
    let other = || Json::from("1".repeat(64));
    let of_another: Vec<Json> =
        blocks[4].transactions.iter().map(|transaction| transaction.to_json()).collect();
    let of_before: Vec<Json> =
        blocks[2].transactions.iter().map(|transaction| transaction.to_json()).collect();
    for (field, value, rules) in [
        ("index", Json::from(4_u64), vec!["block_hash", "previous_hash"]),
        ("timestamp", Json::from("2026-01-01T00:00:31Z"), vec!["block_hash"]),
        ("timestamp", Json::from("2026-01-01T00:00:19Z"), vec!["block_hash", "timestamp"]),
        ("timestamp", Json::from("2026-01-01"), vec!["block_structure", "block_hash", "timestamp"]),
        ("previous_hash", other(), vec!["block_hash", "previous_hash"]),
        ("merkle_root", other(), vec!["block_hash", "merkle_root"]),
        ("nonce", Json::from(0_u64), vec!["block_hash"]),
        ("hash", other(), vec!["block_hash"]),
        ("transactions", Json::List(of_another), vec!["merkle_root"]),
        ("transactions", Json::List(of_before), vec!["merkle_root", "transactions"]),
        ("transactions", Json::List(Vec::new()), vec!["merkle_root"]),
        ("height", Json::from(5_u64), vec!["block_structure"]),
    ] {
        assert_eq!(refused_with(field, value), rules, "{field}");
    }
    assert_eq!(refused_with("block_id", other()), [""; 0], "no field of the block");
}
