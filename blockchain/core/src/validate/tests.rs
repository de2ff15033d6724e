//! Every rule refuses what it should, and only it does.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::block::Block;
use crate::json::Json;
use crate::limits::BLOCK_TRANSACTIONS_MAX;
use crate::record::BlockRecord;
use crate::sign::{Producers, Signature, SigningKey};
use crate::transaction::{Transaction, id_digest};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2025-01-28T12:00:00Z")
}

fn key() -> SigningKey {
    SigningKey::from_seed([3; 32])
}

fn parent() -> Parent {
    Parent { index: 6, hash: BlockHash::new([1; 32]), time: at("2025-01-27") }
}

fn transaction(text: &str) -> Transaction {
    Transaction::parse(text.as_bytes()).unwrap()
}

fn block_of(transactions: Vec<Transaction>) -> Block {
    Block::build(Some(&parent()), transactions, now(), &key())
}

fn block() -> Block {
    block_of(["a", "b", "c"].map(|id| transaction(&format!(r#"{{"id":"{id}"}}"#))).to_vec())
}

/// A block whose hash and signature were made to fit again after a change.
fn forged(mut block: Block, change: impl FnOnce(&mut Block)) -> Block {
    change(&mut block);
    block.hash = block.computed_hash();
    let message = BlockEntry::of(&block).signing_message();
    block.signature = Some(key().sign(&message));
    block
}

fn judge<'a>(block: impl Into<Candidate>, adjust: impl FnOnce(&mut Context<'a>)) -> Verdict {
    let mut context = Context {
        parent: Some(parent()),
        genesis: None,
        now: now(),
        mode: Mode::Candidate,
        chained: &|_| false,
        producer: Producers::default(),
    };
    adjust(&mut context);
    validate(block.into(), &context)
}

/// The rules that fail, in order.
fn faults(verdict: &Verdict) -> Vec<&'static str> {
    let failed = verdict.results.iter().filter(|result| !result.passed);
    let names: Vec<_> = failed.map(|result| result.rule.name()).collect();
    assert_eq!(verdict.results.len(), 6, "every rule speaks");
    assert_eq!(verdict.first_fault.map(Rule::name), names.first().copied());
    assert_eq!(verdict.valid, names.is_empty());
    assert_eq!(verdict.block.is_some(), verdict.valid, "only a valid block is given out");
    names
}

fn detail(verdict: &Verdict, rule: Rule, key: &str) -> String {
    let details = &verdict.result(rule).unwrap().details;
    details.get(key).map(Json::canonical).unwrap_or_default()
}

#[test]
fn a_built_block_is_valid_and_comes_back_as_it_was() {
    let verdict = judge(block(), |_| {});
    assert_eq!(faults(&verdict), [""; 0]);
    assert!(verdict.coverage.block_signature && !verdict.not_yet);
    assert_eq!(verdict.not_checked.len(), 1);
    assert!(verdict.not_checked[0].contains("right key"), "{:?}", verdict.not_checked);
    let valid = verdict.block.unwrap();
    assert_eq!(valid.record(), BlockRecord::of(&block()));
    assert_eq!(valid.ids(), ["a", "b", "c"].map(id_digest));
    assert_eq!(Some(&valid), judge(block(), |_| {}).block.as_ref());
    assert_ne!(Some(&valid), judge(block_of(Vec::new()), |_| {}).block.as_ref());
    assert_eq!(valid.into_block(), block());
}

#[test]
fn every_rule_says_what_it_asks() {
    let about = ["field", "hash", "parent", "root", "time", "transaction"];
    for (rule, word) in Rule::ALL.into_iter().zip(about) {
        assert!(rule.description().contains(word), "{}", rule.name());
    }
}

#[test]
fn a_record_is_the_same_however_much_was_computed_for_it() {
    let mut unsigned = block();
    (unsigned.producer, unsigned.signature) = (None, None);
    for block in [block(), unsigned] {
        for with_entry in [false, true] {
            let mut weighed = Weighed::of(block.clone().into());
            assert_eq!(weighed.entry(), Some(&BlockRecord::of(&block).entry));
            let mut weighed = Weighed::of(block.clone().into());
            if with_entry {
                weighed = weighed.with_entry();
            }
            let context = Context {
                parent: Some(parent()),
                genesis: None,
                now: now(),
                mode: Mode::Candidate,
                chained: &|_| false,
                producer: Producers::default(),
            };
            let valid = validate_weighed(weighed, &context).block.unwrap();
            assert_eq!(valid.record(), BlockRecord::of(&block));
        }
    }
}

#[test]
fn a_record_is_that_of_a_block_only_with_every_digest() {
    let anchor = r#"{"id":"s","type":"session_anchor"}"#;
    let of = block_of(vec![transaction(r#"{"id":"a"}"#), transaction(anchor)]);
    let record = BlockRecord::of(&of);
    let check = |record: &BlockRecord| Weighed::of(of.clone().into()).check_record(record);
    assert_eq!(check(&record), Ok(()));
    let changes: [fn(&mut BlockRecord); 8] = [
        |record| record.transactions[0].leaf = record.transactions[1].leaf,
        |record| record.transactions[0].id[3] ^= 1,
        |record| record.transactions.truncate(1),
        |record| record.anchors.clear(),
        |record| {
            record.anchors[0].transaction = transaction(r#"{"id":"t","type":"session_anchor"}"#)
        },
        |record| record.entry.log_root = record.transactions[0].leaf,
        |record| record.entry.merkle_root = crate::digest::MerkleRoot::ZERO,
        |record| record.entry.hash = BlockHash::ZERO,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut changed = record.clone();
        change(&mut changed);
        assert!(check(&changed).is_err(), "{at}");
    }
}

/// Signatures of many blocks are verified together, and each block gets its own answers.
#[test]
fn many_blocks_are_weighed_as_each_alone() {
    let signed =
        |id: &str| Transaction::signed(&Json::object([("id", Json::from(id))]), &key()).unwrap();
    let forged_text = signed("x").text().replace("\"x\"", "\"y\"");
    let mut wrong = block_of(vec![signed("c")]);
    wrong.signature = Some(Signature::new([7; 64]));
    let blocks = [
        block_of(vec![signed("a"), transaction(&forged_text), signed("b")]),
        wrong,
        block(),
        block_of(vec![signed("d"), transaction(r#"{"id":"e","signature":"s"}"#)]),
    ];
    let context = Context {
        parent: Some(parent()),
        genesis: None,
        now: now(),
        mode: Mode::Candidate,
        chained: &|_| false,
        producer: Producers::default(),
    };
    let together = Weighed::of_all(blocks.iter().cloned().map(Candidate::from).collect());
    let found: Vec<Vec<&str>> = together
        .into_iter()
        .zip(blocks)
        .map(|(weighed, block)| {
            let verdict = validate_weighed(weighed, &context);
            let alone = validate(Candidate::from(block), &context);
            assert_eq!(
                (verdict.valid, &verdict.results, verdict.coverage, &verdict.not_checked),
                (alone.valid, &alone.results, alone.coverage, &alone.not_checked)
            );
            faults(&verdict)
        })
        .collect();
    assert_eq!(found, [vec!["transactions"], vec!["block_hash"], vec![], vec![]]);
}

#[test]
fn the_details_have_the_documented_keys() {
    let verdict = judge(block(), |_| {});
    assert_eq!((verdict.valid, verdict.first_fault, verdict.mode), (true, None, Mode::Candidate));
    assert_eq!(verdict.validated_at.to_string(), "2025-01-28T12:00:00.000000Z");
    let keys: Vec<Vec<&str>> = verdict
        .results
        .iter()
        .map(|result| {
            let details = result.details.as_object().unwrap();
            details.iter().map(|(key, _)| key.as_str()).collect()
        })
        .collect();
    assert_eq!(
        keys,
        [
            vec!["invalid_fields", "missing_fields", "required_fields"],
            vec!["actual_hash", "expected_hash"],
            vec!["actual_previous_hash", "expected_previous_hash"],
            vec!["actual_merkle_root", "expected_merkle_root"],
            vec!["block_time", "current_time", "mode", "parent_time", "time_diff_seconds"],
            vec!["errors", "total_transactions", "valid_transactions"],
        ]
    );
}

#[test]
fn each_changed_field_is_refused_by_its_rule() {
    let mut changed = block();
    changed.nonce = 1;
    assert_eq!(faults(&judge(changed, |_| {})), ["block_hash"]);
    let mut changed = block();
    changed.hash = BlockHash::new([9; 32]);
    assert_eq!(faults(&judge(changed, |_| {})), ["block_hash"]);
    let changed = forged(block(), |block| block.previous_hash = BlockHash::new([2; 32]));
    assert_eq!(faults(&judge(changed, |_| {})), ["previous_hash"]);
    let changed = forged(block(), |block| block.index = 8);
    assert_eq!(faults(&judge(changed, |_| {})), ["previous_hash"]);
    let changed = forged(block(), |block| block.transactions.swap(0, 1));
    assert_eq!(faults(&judge(changed, |_| {})), ["merkle_root"]);
    let changed = forged(block(), |block| block.timestamp = "2025-01-26T00:00:00Z".into());
    let verdict = judge(changed, |context| context.mode = Mode::Historical);
    assert_eq!(faults(&verdict), ["timestamp"]);
    let changed = forged(block(), |block| block.timestamp = "2025-01-28T12:00:00.5Z".into());
    assert_eq!(faults(&judge(changed, |_| {})), ["block_structure"]);
}

#[test]
fn an_empty_object_fails_every_rule_that_needs_something() {
    let verdict = judge(Candidate::parse(b"{}").unwrap(), |_| {});
    let failed = ["block_structure", "block_hash", "previous_hash", "merkle_root", "timestamp"];
    assert_eq!(faults(&verdict), failed);
    assert!(detail(&verdict, Rule::BlockHash, "error").contains("missing"));
    assert!(detail(&verdict, Rule::BlockStructure, "missing_fields").contains("nonce"));
}

#[test]
fn a_block_without_a_known_parent_is_genesis_only_at_index_0() {
    let orphan = judge(block(), |context| context.parent = None);
    assert_eq!(faults(&orphan), ["previous_hash"]);
    assert_eq!(detail(&orphan, Rule::PreviousHash, "error"), "\"previous block not found\"");

    let genesis = Block::build(None, Vec::new(), now(), &key());
    let verdict = judge(genesis.clone(), |context| context.parent = None);
    assert_eq!(faults(&verdict), [""; 0]);
    assert_eq!(detail(&verdict, Rule::PreviousHash, "is_genesis"), "true");
    assert_eq!(faults(&judge(genesis.clone(), |_| {})), ["previous_hash"]);

    let other = judge(genesis.clone(), |context| {
        (context.parent, context.genesis) = (None, Some(BlockHash::new([5; 32])));
    });
    assert_eq!(faults(&other), ["previous_hash"]);
    let rooted = forged(genesis, |block| block.previous_hash = BlockHash::new([2; 32]));
    assert_eq!(faults(&judge(rooted, |context| context.parent = None)), ["previous_hash"]);
}

#[test]
fn the_clock_bounds_a_candidate_on_both_sides_and_history_on_one() {
    let timed = |text: &str| forged(block(), |block| block.timestamp = text.into());
    let judged = |text: &str, mode| judge(timed(text), |context| context.mode = mode);
    for (time, candidate, historical, not_yet) in [
        ("2025-01-28T12:59:59.999999Z", true, true, false),
        ("2025-01-28T13:00:00Z", false, false, true),
        ("2025-01-28T11:00:00.000001Z", true, true, false),
        ("2025-01-28T11:00:00Z", false, true, false),
        ("2025-01-27T00:00:00", false, true, false),
        ("2025-01-26T23:59:59.999999+00:00", false, false, false),
    ] {
        for (mode, passed) in [(Mode::Candidate, candidate), (Mode::Historical, historical)] {
            let verdict = judged(time, mode);
            let want: &[&str] = if passed { &[] } else { &["timestamp"] };
            assert_eq!(faults(&verdict), want, "{time} {mode:?}");
            assert_eq!(verdict.not_yet, not_yet, "{time} {mode:?}");
        }
    }
    let verdict = judged("2025-01-28T11:59:58.500Z", Mode::Candidate);
    // The block is behind the clock, and its time is told as it spells it.
    assert_eq!(detail(&verdict, Rule::Timestamp, "time_diff_seconds"), "-1.5");
    assert_eq!(detail(&verdict, Rule::Timestamp, "block_time"), "\"2025-01-28T11:59:58.500Z\"");
}

#[test]
fn a_broken_block_is_never_only_early() {
    let early = forged(block(), |block| block.timestamp = "2025-01-29T00:00:00Z".into());
    assert!(judge(early.clone(), |_| {}).not_yet);
    let broken = forged(early, |block| block.index = 9);
    assert!(!judge(broken, |_| {}).not_yet);
}

/// CVE-2012-2459, with the root and the hash of the honest block.
#[test]
fn a_repeated_tail_is_refused_although_root_and_hash_fit() {
    let mut padded = block();
    padded.transactions.push(padded.transactions[2].clone());
    (padded.producer, padded.signature) = (None, None);
    let verdict = judge(padded, |_| {});
    assert_eq!(faults(&verdict), ["merkle_root", "transactions"]);
    assert!(verdict.result(Rule::BlockHash).unwrap().passed);
}

#[test]
fn an_id_may_stand_once_in_a_chain() {
    let twice = block_of(vec![transaction(r#"{"id":"a"}"#), transaction(r#"{"id":"a","n":1}"#)]);
    assert_eq!(faults(&judge(twice, |_| {})), ["transactions"]);
    // Only what comes again is at fault.
    let again = ["a", "b", "a"].map(|id| transaction(&format!(r#"{{"id":"{id}"}}"#)));
    let verdict = judge(block_of(again.to_vec()), |_| {});
    let wanted =
        r#"[{"id": "a", "index": 2, "reason": "another transaction of this block has this id"}]"#;
    assert_eq!(detail(&verdict, Rule::Transactions, "errors"), wanted);
    let chained = HashSet::from([id_digest("b")]);
    let earlier = |id: &IdDigest| chained.contains(id);
    let verdict = judge(block(), |context| context.chained = &earlier);
    assert_eq!(faults(&verdict), ["transactions"]);
    assert_eq!(detail(&verdict, Rule::Transactions, "valid_transactions"), "2");
    let errors = detail(&verdict, Rule::Transactions, "errors");
    assert!(errors.starts_with(r#"[{"id": "b", "index": 1, "reason": "an earlier"#), "{errors}");
}

#[test]
fn what_is_no_transaction_is_named() {
    let text = block().to_json_text().replace(r#"{"id": "b"}"#, r#"{"id": ""}"#);
    let verdict = judge(Candidate::parse(text.as_bytes()).unwrap(), |_| {});
    assert_eq!(faults(&verdict), ["block_hash", "merkle_root", "transactions"]);
    let text = block().to_json_text().replace(r#"{"id": "b"}"#, "7");
    let verdict = judge(Candidate::parse(text.as_bytes()).unwrap(), |_| {});
    assert_eq!(verdict.first_fault, Some(Rule::BlockStructure));
    assert!(detail(&verdict, Rule::Transactions, "errors").contains("object"));
}

#[test]
fn a_signed_transaction_must_verify_and_a_bare_signature_is_told() {
    let value = Json::object([("id", Json::from("s")), ("n", Json::from(1_u64))]);
    let signed = Transaction::signed(&value, &key()).unwrap();
    let verdict = judge(block_of(vec![signed.clone()]), |_| {});
    assert_eq!(faults(&verdict), [""; 0]);
    assert_eq!(verdict.coverage.transaction_signatures, 1);

    let changed = transaction(&signed.text().replace("\"n\": 1", "\"n\": 2"));
    assert_eq!(faults(&judge(block_of(vec![changed]), |_| {})), ["transactions"]);

    let bare = transaction(r#"{"id":"b","signature":"0xabc"}"#);
    let verdict = judge(block_of(vec![bare]), |_| {});
    assert_eq!(faults(&verdict), [""; 0]);
    let told = verdict.not_checked.iter().any(|told| told.contains("transaction 0"));
    assert!(told, "{:?}", verdict.not_checked);
}

#[test]
fn what_was_looked_at_is_counted() {
    let signed =
        |id: &str| Transaction::signed(&Json::object([("id", Json::from(id))]), &key()).unwrap();
    let bare = transaction(r#"{"id":"b","signature":"0xabc"}"#);
    let all = vec![signed("r"), bare, transaction(r#"{"id":"p"}"#), signed("s")];
    let bytes = all.iter().map(|transaction| transaction.text().len()).sum();
    let coverage =
        judge(block_of(all), |context| context.producer = key().public().into()).coverage;
    let wanted = Coverage {
        transactions: 4,
        bytes,
        transaction_signatures: 2,
        bare_signatures: 1,
        block_signature: true,
        producer_pinned: true,
    };
    assert_eq!(coverage, wanted);
}

#[test]
fn a_hundred_bare_signatures_are_named_and_the_rest_is_counted() {
    let told = |count: usize| {
        let bare = |n| transaction(&format!(r#"{{"id":"{n}","signature":"0xabc"}}"#));
        let verdict = judge(block_of((0..count).map(bare).collect()), |_| {});
        assert_eq!(verdict.coverage.bare_signatures, count);
        verdict.not_checked.into_iter().filter(|told| !told.contains("block")).collect::<Vec<_>>()
    };
    assert_eq!(told(100).len(), 100);
    let more = told(102);
    assert_eq!(more.len(), 101);
    assert_eq!(
        more[99..],
        [
            "transaction 99 has a signature but no public_key to check it with",
            "2 more transactions have a signature but no public_key",
        ]
    );
}

#[test]
fn the_ids_of_a_weighed_block_are_those_of_its_transactions() {
    let text = block().to_json_text().replace(r#"{"id": "b"}"#, "7");
    let weighed = Weighed::of(Candidate::parse(text.as_bytes()).unwrap());
    assert_eq!(weighed.ids().copied().collect::<Vec<_>>(), ["a", "c"].map(id_digest));
}

#[test]
fn a_producer_must_have_signed_and_an_unsigned_block_is_told() {
    let mut unsigned = block();
    (unsigned.producer, unsigned.signature) = (None, None);
    let verdict = judge(unsigned, |_| {});
    assert_eq!(faults(&verdict), [""; 0]);
    assert!(verdict.not_checked[0].contains("unsigned"));

    let mut bare = block();
    bare.producer = None;
    let verdict = judge(bare, |_| {});
    assert!(verdict.not_checked[0].contains("no producer"));
    assert_eq!(verdict.block.unwrap().signature, None);

    let mut nameless = block();
    nameless.signature = None;
    assert_eq!(faults(&judge(nameless, |_| {})), ["block_hash"]);
    let mut wrong = block();
    wrong.signature = Some(Signature::new([7; 64]));
    assert_eq!(faults(&judge(wrong, |_| {})), ["block_hash"]);
}

#[test]
fn a_pinned_producer_is_the_only_one() {
    let pinned = judge(block(), |context| context.producer = key().public().into());
    assert_eq!(faults(&pinned), [""; 0]);
    assert!(pinned.coverage.producer_pinned);
    let other = SigningKey::from_seed([8; 32]).public();
    let verdict = judge(block(), |context| context.producer = other.into());
    assert_eq!(faults(&verdict), ["block_hash"]);
    assert!(detail(&verdict, Rule::BlockHash, "error").contains("pinned"));
}

#[test]
fn thousands_of_faults_are_counted_and_a_hundred_are_named() {
    let text = format!(r#"{{"transactions":[{}1]}}"#, "1,".repeat(4_999));
    let verdict = judge(Candidate::parse(text.as_bytes()).unwrap(), |_| {});
    let details = &verdict.result(Rule::Transactions).unwrap().details;
    assert_eq!(details.get("total_transactions").and_then(Json::as_u64), Some(5_000));
    assert_eq!(details.get("errors").and_then(Json::as_list).unwrap().len(), 100);
}

fn any_field() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Json::Float),
        any::<String>().prop_map(Json::Text),
        prop::collection::vec(any::<String>(), 0..3).prop_map(Json::from),
        prop::collection::vec(any::<String>(), 0..3).prop_map(|ids| {
            Json::list(ids.into_iter().map(|id| Json::object([("id", Json::Text(id))])))
        }),
    ]
}

proptest! {
    /// For every block that is sent, six rules answer, and what is valid is the block that was built.
    #[test]
    fn no_field_makes_a_rule_panic(fields in prop::collection::vec((0_usize..9, any_field()), 1..4)) {
        let text = block().to_json_text();
        let sent = Json::parse(text.as_bytes()).unwrap();
        let names = ["index", "height", "timestamp", "transactions", "previous_hash",
            "merkle_root", "nonce", "hash", "producer"];
        let changes = fields.into_iter().map(|(name, value)| (names[name].to_owned(), value));
        let changed = Json::object(sent.as_object().unwrap().iter().cloned().chain(changes));
        let candidate = Candidate::parse(changed.canonical().as_bytes()).unwrap();
        let verdict = judge(candidate, |_| {});
        let failed = faults(&verdict);
        for result in &verdict.results {
            prop_assert!(Json::parse(result.details.canonical().as_bytes()).is_ok());
        }
        if failed.is_empty() {
            prop_assert_eq!(verdict.block.unwrap().hash, block().hash);
        }
    }
}

#[test]
fn what_lies_beyond_the_most_transactions_is_counted_and_not_kept() {
    let many = vec!["0"; BLOCK_TRANSACTIONS_MAX + 7].join(",");
    let candidate = Candidate::parse(format!(r#"{{"transactions":[{many}]}}"#).as_bytes()).unwrap();
    let (items, sentence) = (candidate.items.len(), format!("{} transactions", 10_007));
    assert_eq!(items, BLOCK_TRANSACTIONS_MAX);
    assert!(candidate.invalid.iter().any(|fault| fault.reason.contains(&sentence)));
}
