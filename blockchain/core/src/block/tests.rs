//! Golden blocks, what is built, and what is remembered of a block that was sent.

use super::*;
use crate::json::{Json, JsonFault};

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed([3; 32])
}

fn built(count: usize) -> Block {
    let transaction = |n| Transaction::parse(format!(r#"{{"id":"t{n}"}}"#).as_bytes()).unwrap();
    let parent = Parent { index: 6, hash: BlockHash::new([1; 32]), time: at("2025-01-27") };
    Block::build(Some(&parent), (0..count).map(transaction).collect(), at("2025-01-28"), &key())
}

/// The JSON of a block with one member replaced, or removed.
fn with(field: &str, value: Option<Json>) -> Vec<u8> {
    let block = Json::parse(built(2).to_json_text().as_bytes()).unwrap();
    let kept = block.as_object().unwrap().iter().cloned();
    // The alias would speak up for an index that was changed.
    let kept = kept.filter(|(key, _)| key != field && key != "height");
    let replaced = value.map(|value| (field.to_owned(), value));
    Json::object(kept.chain(replaced)).canonical().into_bytes()
}

fn invalid(bytes: &[u8]) -> Vec<&'static str> {
    let candidate = Candidate::parse(bytes).unwrap();
    assert!(candidate.clone().into_block().is_none());
    assert_eq!(candidate.missing, [""; 0]);
    candidate.invalid.iter().map(|fault| fault.field).collect()
}

#[test]
fn the_size_of_a_block_is_that_of_its_texts() {
    assert_eq!(built(0).size_bytes(), 0);
    assert_eq!(built(3).size_bytes(), 3 * r#"{"id": "t0"}"#.len());
}

#[test]
fn golden_blocks_have_their_hashes() {
    let genesis = block_hash("0", "2025-01-27T00:00:00Z", ZEROS, ZEROS, "0");
    assert_eq!(
        genesis.to_string(),
        "3a3856a65beec20b5f8fba0642e4e7cfe15eb5f726f58b649686091553c59b92"
    );
    let root = "a37ccf0978580c1935a42101fc4da42342d1485778d1caca42477e88e3c62ff4";
    let first = block_hash("1", "2025-01-27T00:00:10Z", &genesis.to_string(), root, "42");
    assert_eq!(
        first.to_string(),
        "0b7625e6a29794669f2332f5abd85064797fba40ae35845ebcf1838acf102fb4"
    );
}

#[test]
fn a_built_block_follows_its_parent_and_is_signed() {
    let block = built(2);
    assert_eq!((block.index, block.nonce), (7, 0));
    assert_eq!(block.previous_hash, BlockHash::new([1; 32]));
    assert_eq!(block.timestamp, "2025-01-28T00:00:00.000000Z");
    assert_eq!(block.hash, block.computed_hash());
    assert!(BlockEntry::of(&block).verify(&key().public(), &block.signature.unwrap()));

    let parent = Parent { time: at("2030-01-01"), ..block.as_parent().unwrap() };
    let later = Block::build(Some(&parent), Vec::new(), at("2025-01-28"), &key());
    assert_eq!(later.time(), Ok(parent.time), "never before its parent");
    let genesis = Block::build(None, Vec::new(), at("2025-01-28"), &key());
    assert_eq!((genesis.index, genesis.previous_hash), (0, BlockHash::ZERO));
    assert_eq!(genesis.merkle_root, MerkleRoot::ZERO);
}

#[test]
fn the_json_of_a_block_reads_back_as_that_block() {
    for count in [0, 1, 3] {
        let block = built(count);
        let text = block.to_json_text();
        assert_eq!(Candidate::parse(text.as_bytes()).unwrap().into_block(), Some(block.clone()));
        let wrapped = format!("{{\"block_data\": {text}}}");
        let posted = Candidate::parse_posted(wrapped.as_bytes()).unwrap();
        assert_eq!(posted.into_block(), Some(block.clone()));
        assert_eq!(Candidate::from(block.clone()).into_block(), Some(block.clone()));
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(json.get("height"), json.get("index"));
        assert_eq!(json.get("transaction_count").and_then(Json::as_u64), Some(count as u64));
        assert_eq!(json.get("size_bytes").and_then(Json::as_u64), Some(block.size_bytes() as u64));
    }
}

#[test]
fn numbers_are_plain_digits() {
    let float = || Json::parse(b"7.0").unwrap();
    for field in ["index", "nonce"] {
        for wrong in [
            Json::from("7"),
            float(),
            Json::from(true),
            Json::Null,
            Json::Integer("-1".into()),
            Json::Integer("9223372036854775808".into()),
        ] {
            assert_eq!(invalid(&with(field, Some(wrong))), [field]);
        }
        let most = with(field, Some(Json::Integer("9223372036854775807".into())));
        assert!(Candidate::parse(&most).unwrap().into_block().is_some());
        let text = String::from_utf8(with(field, Some(Json::from("@")))).unwrap();
        assert_eq!(invalid(text.replace("\"@\"", "-0").as_bytes()), [field], "minus zero");
    }
}

#[test]
fn times_and_hashes_have_one_grammar() {
    for wrong in [Json::from("2025-01-28T00:00:00.5Z"), Json::from("025-01-28"), Json::Null] {
        assert_eq!(invalid(&with("timestamp", Some(wrong))), ["timestamp"]);
    }
    for field in ["previous_hash", "merkle_root", "hash"] {
        for wrong in [Json::from("AB".repeat(32)), Json::from("ab"), Json::from(5_u64)] {
            assert_eq!(invalid(&with(field, Some(wrong))), [field]);
        }
    }
}

#[test]
fn height_is_another_name_of_index_and_must_agree() {
    let text = built(1).to_json_text();
    let alone = text.replace("\"index\":7,", "");
    assert_eq!(Candidate::parse(alone.as_bytes()).unwrap().index(), Some(7));
    let torn = text.replace("\"height\":7,", "\"height\":8,");
    assert_eq!(invalid(torn.as_bytes()), ["height"]);
}

#[test]
fn what_is_missing_is_named_in_order() {
    let candidate = Candidate::parse(br#"{"x": 1}"#).unwrap();
    assert_eq!(candidate.missing, REQUIRED_FIELDS);
    let with_nonce = candidate.with_default_nonce();
    assert_eq!(with_nonce.nonce.as_deref(), Some("0"));
    let others = REQUIRED_FIELDS.into_iter().filter(|field| *field != "nonce");
    assert_eq!(with_nonce.missing, others.collect::<Vec<_>>());
    let given = Candidate::parse(&with("nonce", Some(Json::from(5_u64)))).unwrap();
    assert_eq!(given.with_default_nonce().nonce.as_deref(), Some("5"));
    for text in ["[]", "5", "{", r#"{"index":1,"index":1}"#] {
        assert!(Candidate::parse(text.as_bytes()).is_err(), "{text}");
    }
    let twice = Candidate::parse(br#"{"transactions":[],"transactions":[]}"#);
    assert_eq!(twice.unwrap_err(), JsonFault::DuplicateKey { key: "transactions".into() });
}

#[test]
fn the_constants_and_the_kind_of_transactions_are_structure() {
    let field = "transactions";
    assert_eq!(invalid(&with(field, Some(Json::Null))), [field]);
    assert_eq!(invalid(&with(field, Some(Json::list(["x"])))), [field]);
    let small = |n: usize| Json::object([("id", Json::from(format!("{n}")))]);
    let most = Candidate::parse(&with(field, Some(Json::list((0..10_000).map(small))))).unwrap();
    assert_eq!(most.invalid, []);
    assert_eq!(invalid(&with(field, Some(Json::list((0..10_001).map(small))))), [field]);
    // Sixteen of a mebibyte each are as many bytes as a block may have.
    let of_bytes = |n: usize, bytes: usize| {
        let around = format!(r#"{{"id": "{n:02}", "x": ""}}"#).len();
        let filled = Json::from("x".repeat(bytes - around));
        Json::object([("id", Json::from(format!("{n:02}"))), ("x", filled)])
    };
    let large = |n: usize| of_bytes(n, 1 << 20);
    let whole = Candidate::parse(&with(field, Some(Json::list((0..16).map(large))))).unwrap();
    assert_eq!(whole.invalid, []);
    let beyond = (0..16).map(large).chain([of_bytes(16, 30)]);
    let beyond = Candidate::parse(&with(field, Some(Json::list(beyond)))).unwrap();
    let sentence = "16777246 bytes together, and 16777216 is the most";
    assert_eq!(beyond.invalid, [InvalidField { field, reason: sentence.to_owned() }]);
    assert_eq!(invalid(&with(field, Some(Json::list([of_bytes(0, (1 << 20) + 1)])))), [field]);
    let huge = Json::object([("id", Json::from("x".repeat(1 << 20)))]);
    assert_eq!(invalid(&with(field, Some(Json::list([huge])))), [field]);
}

#[test]
fn a_candidate_says_what_it_claims_where_it_is_sound() {
    let block = built(1);
    let wrapped = format!("{{\"block_data\": {}}}", block.to_json_text());
    let parsed = Candidate::parse(block.to_json_text().as_bytes()).unwrap();
    for sound in [parsed, block.clone().into()] {
        assert_eq!(sound.hash(), Some(block.hash));
        assert_eq!(sound.previous_hash(), Some(block.previous_hash));
        assert_eq!(sound.producer(), block.producer);
        let parent = Parent { index: 7, hash: block.hash, time: at("2025-01-28") };
        assert_eq!(sound.as_parent(), Some(parent));
        assert_eq!(
            sound.transactions().collect::<Vec<_>>(),
            block.transactions.iter().collect::<Vec<_>>()
        );
        assert!(!sound.bare_signature);
    }
    // Only what is posted may be wrapped.
    let other = Candidate::parse(wrapped.as_bytes()).unwrap();
    assert_eq!(other.missing, REQUIRED_FIELDS);
    assert_eq!((other.index(), other.hash(), other.previous_hash()), (None, None, None));
    assert_eq!((other.producer(), other.as_parent()), (None, None));
    assert!(Candidate::parse(&with("producer", None)).unwrap().bare_signature);
    assert!(!Candidate::parse(&with("signature", None)).unwrap().bare_signature);
    let nobody = with("producer", None);
    let nobody = String::from_utf8(nobody).unwrap().replace("\"signature\"", "\"other\"");
    assert!(!Candidate::parse(nobody.as_bytes()).unwrap().bare_signature);
}

#[test]
fn a_producer_is_a_key_and_a_signature_without_one_is_dropped() {
    assert_eq!(invalid(&with("producer", Some(Json::from("node-1")))), ["producer"]);
    assert_eq!(invalid(&with("signature", Some(Json::from("")))), ["signature"]);
    let bare = Candidate::parse(&with("producer", None)).unwrap().into_block().unwrap();
    assert_eq!((bare.producer, bare.signature), (None, None));
    let text = built(0).to_json_text().replace("\"producer\":", "\"maker\":");
    let text = text.replace("\"signature\":\"", "\"signature\":\"0x");
    assert!(Candidate::parse(text.as_bytes()).unwrap().into_block().is_some(), "any old form");
}

#[test]
fn every_transaction_may_use_all_the_depth_there_is() {
    let deep = |levels: usize| {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"block_data":{{"transactions":[{{"id":"x","v":{nested}}}]}}}}"#)
    };
    assert!(Candidate::parse_posted(deep(63).as_bytes()).is_ok());
    assert!(matches!(Candidate::parse_posted(deep(64).as_bytes()), Err(JsonFault::TooDeep { .. })));
}
