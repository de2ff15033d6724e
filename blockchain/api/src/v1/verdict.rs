//! The verdict on a block, in the words of the API: both services judge blocks by the same rules.

use lucid_core::json::Json as Value;
use lucid_core::validate::{Coverage, Mode, Rule, RuleResult as CoreResult, Verdict};
use lucid_core::words::many;
use serde_json::Map;

use super::blocks::{RuleResult, Validation, ValidationMode};

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
