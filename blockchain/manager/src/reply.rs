//! What the ops find, in the words of the API: for the routes, and for the command line, which says the
//! same.

use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::{RuleResult, Validation, ValidationMode};
use lucid_api::v1::validation::{ChainValidation, InvalidBlock};
use lucid_core::json::Json as Value;
use lucid_core::time::Timestamp;
use lucid_core::validate::{Coverage, Mode, Rule, RuleResult as CoreResult, Verdict};
use lucid_core::words::many;
use lucid_http::reply::{Refusal, Reply};
use serde::Serialize;
use serde_json::Map;

use crate::given::{RefusedBlock, WhyRefused};
use crate::ops::validate_texts::ChainReport;

/// An answer as its text.
pub fn encode(answer: &impl Serialize) -> Reply<Vec<u8>> {
    serde_json::to_vec(answer).map_err(|why| Refusal::new(ErrorCode::Internal, why.to_string()))
}

/// A moment as a block spells it, with its zone: one that names none is in UTC.
pub fn moment(spelled: String) -> String {
    match spelled.ends_with('Z') || spelled.ends_with("+00:00") || spelled.is_empty() {
        true => spelled,
        false => spelled + "Z",
    }
}

/// The verdict on a block.
pub fn validation(verdict: &Verdict) -> Validation {
    let failed = verdict.results.iter().filter(|result| !result.passed);
    let errors = failed.map(|result| {
        let said = result.details.get("error").and_then(Value::as_text);
        format!("{}: {}", result.rule.name(), said.unwrap_or("does not hold, see its details"))
    });
    Validation {
        valid: verdict.valid,
        results: results(verdict),
        validated_at: verdict.validated_at.to_string(),
        mode: match verdict.mode {
            Mode::Historical => ValidationMode::Historical,
            Mode::Candidate => ValidationMode::Candidate,
        },
        first_fault: verdict.first_fault.map(|rule| rule.name().to_owned()),
        coverage: covered(&verdict.coverage),
        not_checked: verdict.not_checked.clone(),
        errors: errors.collect(),
        warnings: Vec::new(),
        not_yet: verdict.not_yet,
        validation_results: verdict.results.iter().map(older_name).collect(),
    }
}

/// A rule as older clients know it, and whether it passed.
fn older_name(result: &CoreResult) -> (String, serde_json::Value) {
    let name = match result.rule {
        Rule::BlockStructure => "structure_valid",
        Rule::BlockHash => "hash_valid",
        Rule::PreviousHash => "previous_hash_valid",
        Rule::MerkleRoot => "merkle_root_valid",
        Rule::Timestamp => "timestamp_valid",
        Rule::Transactions => "transactions_valid",
    };
    (name.to_owned(), result.passed.into())
}

fn covered(coverage: &Coverage) -> Vec<String> {
    let mut sentences = vec![
        format!(
            "{} of {}",
            many(coverage.transactions, "transaction"),
            many(coverage.bytes, "byte")
        ),
        many(coverage.transaction_signatures, "transaction signature"),
    ];
    if coverage.block_signature {
        sentences.push("the producer's signature".to_owned());
    }
    if coverage.producer_pinned {
        sentences.push("that the producer is the pinned one".to_owned());
    }
    sentences
}

/// What each rule found.
pub fn results(verdict: &Verdict) -> Vec<RuleResult> {
    let results = verdict.results.iter().map(|result| RuleResult {
        rule: result.rule.name().to_owned(),
        passed: result.passed,
        details: details(&result.details),
    });
    results.collect()
}

/// The details are our own, so a general JSON value changes nothing in them.
fn details(value: &Value) -> Map<String, serde_json::Value> {
    serde_json::from_str(&value.canonical()).unwrap_or_default()
}

/// A block that was refused.
pub fn invalid(refused: &RefusedBlock) -> InvalidBlock {
    let verdict = match &refused.why {
        WhyRefused::Rules(verdict) => Some(verdict),
        WhyRefused::Unreadable(_)
        | WhyRefused::HeightTaken(_)
        | WhyRefused::Damaged(_)
        | WhyRefused::Unvouched => None,
    };
    let first = verdict.and_then(|verdict| verdict.first_fault);
    InvalidBlock {
        index: refused.index,
        hash: refused.hash,
        line: None,
        first_fault: first.map(|rule: Rule| rule.name().to_owned()),
        results: verdict.map(|verdict| results(verdict)).unwrap_or_default(),
        reason: refused.sentence(),
    }
}

/// What judging a row of blocks found.
pub fn chain_validation(report: &ChainReport, now: Timestamp) -> ChainValidation {
    ChainValidation {
        valid: report.is_valid(),
        blocks_checked: report.blocks,
        records_only: report.records_only,
        transactions_checked: report.transactions,
        transaction_signatures: report.transaction_signatures,
        signed_blocks: report.signed_blocks,
        start: report.first,
        end: report.last.map(|last| last.height),
        end_hash: report.last.map(|last| last.hash),
        missing: report.missing.clone(),
        invalid: report.refused.iter().map(invalid).collect(),
        invalid_count: report.refused_count,
        wrong_end: report.wrong_end.clone(),
        log_root: report.log_root,
        not_checked: report.not_checked.clone(),
        validated_at: now.to_string(),
    }
}
