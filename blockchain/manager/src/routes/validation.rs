//! Verdicts on blocks, and the rules behind them.

use axum::Json;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::blocks::{
    ValidateQuery, Validation, ValidationMode, ValidationRule, ValidationRules,
};
use lucid_core::block::REQUIRED_FIELDS;
use lucid_core::json::Json as Value;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::validate::{Coverage, Mode, Rule, Verdict};
use lucid_http::extract::{JsonText, Query};
use lucid_http::reply::Reply;
use serde::Serialize;
use serde_json::Map;

use crate::app::App;
use crate::clock::now;
use crate::ops::validate_block::validate_block as judge;
use crate::problems;
use crate::reply::results;

/// The verdict, with what only the documented clients read.
#[derive(Debug, Serialize)]
pub struct Judged {
    #[serde(flatten)]
    validation: Validation,
    /// Sound, but ahead of the clock: ask again later.
    not_yet: bool,
    /// Each rule under its older name.
    validation_results: Map<String, serde_json::Value>,
}

/// Judges a block without storing it. The verdict is an answer: 200, valid or not.
#[utoipa::path(post, path = paths::BLOCKS_VALIDATE, tag = "validation", params(ValidateQuery), request_body = Object, responses((status = 200, body = Validation)))]
pub async fn validate_block(
    State(app): State<App>,
    Query(query): Query<ValidateQuery>,
    JsonText(text): JsonText,
) -> Reply<Json<Judged>> {
    let mode = query.mode.map(|mode| match mode {
        ValidationMode::Candidate => Mode::Candidate,
        ValidationMode::Historical => Mode::Historical,
    });
    app.run(move |manager| {
        let verdict = judge(manager.chain.as_ref(), now(), text.as_bytes(), mode)
            .map_err(problems::validate)?;
        Ok(Json(judged(&verdict)))
    })
    .await
}

/// The same.
#[utoipa::path(post, path = paths::VALIDATION_BLOCK, tag = "validation", params(ValidateQuery), request_body = Object, responses((status = 200, body = Validation)))]
pub async fn validate_block_alias(
    app: State<App>,
    query: Query<ValidateQuery>,
    text: JsonText,
) -> Reply<Json<Judged>> {
    validate_block(app, query, text).await
}

/// The rules a block is judged by.
#[utoipa::path(get, path = paths::VALIDATION_RULES, tag = "validation", responses((status = 200, body = ValidationRules)))]
pub async fn get_rules() -> Json<ValidationRules> {
    let rules = (1..).zip(Rule::ALL).map(|(order, rule)| ValidationRule {
        name: rule.name().to_owned(),
        description: rule.description().to_owned(),
        order,
    });
    Json(ValidationRules {
        rules: rules.collect(),
        required_fields: REQUIRED_FIELDS.map(str::to_owned).to_vec(),
        timestamp_tolerance_seconds: BLOCK_TIME_TOLERANCE_SECONDS.unsigned_abs(),
        hash_algorithm: "sha256".to_owned(),
    })
}

fn judged(verdict: &Verdict) -> Judged {
    let failed = verdict.results.iter().filter(|result| !result.passed);
    let errors = failed.map(|result| {
        let said = result.details.get("error").and_then(Value::as_text);
        format!("{}: {}", result.rule.name(), said.unwrap_or("does not hold, see its details"))
    });
    let older = verdict.results.iter().map(|result| {
        let name = match result.rule {
            Rule::BlockStructure => "structure_valid",
            Rule::BlockHash => "hash_valid",
            Rule::PreviousHash => "previous_hash_valid",
            Rule::MerkleRoot => "merkle_root_valid",
            Rule::Timestamp => "timestamp_valid",
            Rule::Transactions => "transactions_valid",
        };
        (name.to_owned(), result.passed.into())
    });
    Judged {
        validation: Validation {
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
        },
        not_yet: verdict.not_yet,
        validation_results: older.collect(),
    }
}

fn covered(coverage: &Coverage) -> Vec<String> {
    let mut sentences = vec![
        format!("{} transactions of {} bytes", coverage.transactions, coverage.bytes),
        format!("{} transaction signatures", coverage.transaction_signatures),
    ];
    if coverage.block_signature {
        sentences.push("the producer's signature".to_owned());
    }
    if coverage.producer_pinned {
        sentences.push("that the producer is the pinned one".to_owned());
    }
    sentences
}
