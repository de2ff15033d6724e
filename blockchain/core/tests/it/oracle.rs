//! Agreement with an independent implementation of the hash rules: on frozen answers always, on
//! fresh ones where it is at hand.

#![expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests names the script and the seed"
)]

use std::process::Command;
use std::time::SystemTime;

use lucid_core::block::Candidate;
use lucid_core::block_merkle::{merkle_root, transaction_hash};
use lucid_core::digest::TransactionHash;
use lucid_core::json::Json;
use lucid_core::transaction::Transaction;

const FROZEN: &str = include_str!("../vectors/chain_oracle.jsonl");
/// A double's bits in hex, and CPython's `repr` of it.
const FLOATS: &str = include_str!("../vectors/floats.txt");

/// The oracle asks for the hash of any object, also of such as are no transactions.
fn hash(value: &Json) -> TransactionHash {
    transaction_hash(&value.canonical())
}

/// What we say to one of the oracle's questions.
fn answer(kind: &str, input: &str) -> String {
    let value = Json::parse_wrapped(input.as_bytes(), 2).unwrap();
    let root = |list: &Json| {
        let hashes: Vec<_> = list.as_list().unwrap().iter().map(hash).collect();
        merkle_root(&hashes).to_string()
    };
    match kind {
        "transaction" => {
            // Some of them have no id, and so are none; the others come by both ways to one text.
            if let Ok(read) = Transaction::parse(input.as_bytes()) {
                assert_eq!((read.text(), read.hash()), (value.canonical().as_str(), hash(&value)));
            }
            hash(&value).to_string()
        }
        "merkle_root" => root(&value),
        "block" => {
            let want = value.get("merkle_root").and_then(Json::as_text).unwrap();
            assert_eq!(root(value.get("transactions").unwrap()), want);
            let block = Candidate::parse(input.as_bytes()).unwrap();
            block.expected_hash().unwrap().to_string()
        }
        other => panic!("the oracle asks for {other}"),
    }
}

/// How many questions were answered; the first wrong answer ends it.
fn compare(vectors: &str) -> usize {
    for line in vectors.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| vector[name].as_str().unwrap();
        assert_eq!(answer(field("kind"), field("input")), field("want"), "{line}");
    }
    vectors.lines().count()
}

#[test]
fn the_frozen_answers_hold() {
    assert_eq!(compare(FROZEN), 343);
}

/// Among them every kind of tie: floats that lie halfway between two shortest texts.
#[test]
fn the_frozen_floats_print_as_they_did() {
    for line in FLOATS.lines() {
        let (bits, want) = line.split_once(' ').unwrap();
        let value = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        assert_eq!(Json::Float(value).canonical(), want, "{line}");
    }
}

#[test]
fn fresh_answers_hold_where_the_oracle_is_at_hand() {
    let Ok(script) = std::env::var("LUCID_CHAIN_ORACLE") else {
        println!("skipped: LUCID_CHAIN_ORACLE does not name the oracle's script");
        return;
    };
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("LUCID_ORACLE_SEED").unwrap_or_else(|_| clock().to_string());
    println!("LUCID_ORACLE_SEED={seed}");
    let arguments = [script.as_str(), "vectors", "--count", "3000", "--seed", &seed];
    match Command::new("python3").args(arguments).output() {
        Err(error) => println!("skipped: python3 does not run: {error}"),
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let compared = compare(&String::from_utf8(output.stdout).unwrap());
            assert!(compared > 3000, "the oracle printed {compared} lines only");
        }
    }
}
