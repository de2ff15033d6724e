//! The documented transactions, roots and blocks, one by one.

use lucid_core::block::{Candidate, block_hash};
use lucid_core::block_merkle::{merkle_root, mutated};
use lucid_core::digest::TransactionHash;
use lucid_core::transaction::Transaction;

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const TRANSACTIONS: [(&str, &str); 3] = [
    (
        r#"{"id":"tx-1","type":"session_anchor","session_id":"s-1","timestamp":"2025-01-27T00:00:00Z"}"#,
        "7fcb5ad9af1953657304422646f7d265870cf74085d96a2fc7e7b4ce4e2fd0cd",
    ),
    (
        r#"{"id":"tx-2","type":"data_storage","data":{"b":1,"a":[1.0,2.5,1e16,1e-5,-0.0,true,null]},"fee":0.1}"#,
        "731e7b8da16c39182c466b7947f7977bcd28965f0b364c62800c6a1788b03274",
    ),
    (
        "{\"id\":\"tx-3\",\"note\":\"café 😀 \u{7f} / \\\" \\\\ \\n\\t\\u0001\"}",
        "72c22f77f69f784e5a6c6dbb20aad1c23c09abd095dc2eb230c64840f783d4a7",
    ),
];

fn hashes() -> Vec<TransactionHash> {
    let hash = |(text, _): &(&str, _)| Transaction::parse(text.as_bytes()).unwrap().hash();
    TRANSACTIONS.iter().map(hash).collect()
}

#[test]
fn the_documented_transactions_have_their_hashes() {
    for (hash, (text, want)) in hashes().iter().zip(TRANSACTIONS) {
        assert_eq!(hash.to_string(), want, "{text}");
    }
}

#[test]
fn the_documented_roots_hold_and_the_malleable_one_is_told() {
    let leaves = hashes();
    let of_two = "031569438872283551cc6bf716261d24b79e1bd83b5c8699921149e3a9847928";
    let of_three = "a37ccf0978580c1935a42101fc4da42342d1485778d1caca42477e88e3c62ff4";
    assert_eq!(merkle_root(&[]).to_string(), ZEROS);
    assert_eq!(merkle_root(&leaves[..2]).to_string(), of_two);
    assert_eq!(merkle_root(&leaves).to_string(), of_three);
    let padded = [leaves[0], leaves[1], leaves[2], leaves[2]];
    assert_eq!(merkle_root(&padded).to_string(), of_three);
    assert!(mutated(&padded) && !mutated(&leaves));
}

#[test]
fn the_documented_blocks_have_their_hashes() {
    let genesis = block_hash("0", "2025-01-27T00:00:00Z", ZEROS, ZEROS, "0").to_string();
    assert_eq!(genesis, "3a3856a65beec20b5f8fba0642e4e7cfe15eb5f726f58b649686091553c59b92");
    let root = merkle_root(&hashes()).to_string();
    let first = block_hash("1", "2025-01-27T00:00:10Z", &genesis, &root, "42").to_string();
    assert_eq!(first, "0b7625e6a29794669f2332f5abd85064797fba40ae35845ebcf1838acf102fb4");
    let other = block_hash("0", "2025-01-01T00:00:00Z", ZEROS, ZEROS, "0").to_string();
    assert_eq!(other, "9e02439aa00c73b6184883fb1ea3d517c00b1aa3b974b30a31f047e36035e6c6");
}

/// Without the format lock these two blocks would share a hash.
#[test]
fn fields_that_run_together_are_told_apart_by_their_grammar() {
    let hash = |index: &str, time: &str| block_hash(index, time, ZEROS, ZEROS, "0");
    assert_eq!(hash("1", "22025-01-27T00:00:00Z"), hash("12", "2025-01-27T00:00:00Z"));
    let block = |index: &str, time: &str| {
        format!(
            r#"{{"index":{index},"timestamp":"{time}","transactions":[],"previous_hash":"{ZEROS}",
                "merkle_root":"{ZEROS}","nonce":0,"hash":"{}"}}"#,
            hash(index, time)
        )
    };
    let verdict = |text: String| {
        let candidate = Candidate::parse(text.as_bytes()).unwrap();
        crate::chain::judge(candidate, None, &Default::default())
    };
    assert!(verdict(block("0", "2025-01-27T00:00:00Z")).valid);
    let refused = verdict(block("1", "22025-01-27T00:00:00Z"));
    assert_eq!(refused.first_fault.map(|rule| rule.name()), Some("block_structure"));
}
