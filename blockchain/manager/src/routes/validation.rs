//! Verdicts on blocks, and the rules behind them.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::{
    BlockToJudge, ValidateQuery, Validation, ValidationMode, ValidationRule, ValidationRules,
};
use lucid_api::v1::validation::{ChainValidation, ValidateChain};
use lucid_core::block::REQUIRED_FIELDS;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::validate::{Mode, Rule};
use lucid_http::extract::{JsonOrNone, JsonText, Query};
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::ops::validate_block::validate_block as judge;
use crate::ops::validate_chain::validate_chain as judge_chain;
use crate::ops::validate_texts::ValidationRequest;
use crate::problems;
use crate::reply::{chain_validation, validation};

/// Judges a block without storing it. The verdict is an answer: 200, valid or not.
#[utoipa::path(post, path = paths::BLOCKS_VALIDATE, tag = "validation", params(ValidateQuery), request_body = BlockToJudge, responses((status = 200, body = Validation)))]
pub async fn validate_block(
    State(app): State<App>,
    Query(query): Query<ValidateQuery>,
    JsonText(text): JsonText,
) -> Reply<Json<Validation>> {
    let mode = query.mode.map(|mode| match mode {
        ValidationMode::Candidate => Mode::Candidate,
        ValidationMode::Historical => Mode::Historical,
    });
    app.run(move |manager| {
        let (chain, producer) = (manager.chain.as_ref(), manager.producer());
        let verdict = judge(chain, manager.clock.now(), text.as_bytes(), mode, producer)
            .map_err(problems::validate)?;
        Ok(Json(validation(&verdict)))
    })
    .await
}

/// The same.
#[utoipa::path(post, path = paths::VALIDATION_BLOCK, tag = "validation", params(ValidateQuery), request_body = BlockToJudge, responses((status = 200, body = Validation)))]
pub async fn validate_block_alias(
    app: State<App>,
    query: Query<ValidateQuery>,
    text: JsonText,
) -> Reply<Json<Validation>> {
    validate_block(app, query, text).await
}

/// Judges stored blocks, all of them or a range. Takes as long as it takes; the service's status says
/// how far it is.
#[utoipa::path(post, path = paths::VALIDATION_CHAIN, tag = "validation", request_body = Option<ValidateChain>, responses((status = 200, body = ChainValidation), (status = 409, description = "it is being validated already")))]
pub async fn validate_chain(
    State(app): State<App>,
    JsonOrNone(wanted): JsonOrNone<ValidateChain>,
) -> Reply<Json<ChainValidation>> {
    let ValidateChain { start, end, records } = wanted;
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(Refusal::new(ErrorCode::Invalid, "start lies above end: swap them"));
    }
    let validating = app.clone();
    // A caller that has left does not want the answer any more.
    let asking = Arc::new(());
    let asked_still = Arc::downgrade(&asking);
    let judged = app.run(move |manager| {
        let chain = manager.chain.as_ref();
        let tip = chain.tip().map_err(problems::store)?;
        let from = start.unwrap_or(0);
        if from > tip.map_or(0, |tip| tip.height) {
            let sentence = match tip {
                Some(tip) => format!("start lies above the newest block, {}", tip.height),
                None => "start lies above the newest block: there is none yet".to_owned(),
            };
            return Err(Refusal::new(ErrorCode::Invalid, sentence));
        }
        let last = end.unwrap_or(u64::MAX).min(tip.map_or(0, |tip| tip.height));
        let total = (last + 1).saturating_sub(from);
        let run = validating.validating().begin(total).ok_or_else(|| {
            let sentence = "the chain is being validated already: its status says how far that is";
            Refusal::new(ErrorCode::Running, sentence)
        })?;
        let asked = ValidationRequest { from: start, to: end, ..ValidationRequest::default() };
        let report = judge_chain(chain, manager.clock.now(), &asked, records, |report| {
            run.is_at(report.blocks);
            match validating.shutdown().is_asked() || asked_still.strong_count() == 0 {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        let report = report.map_err(problems::store)?;
        if validating.shutdown().is_asked() {
            let sentence = "the service is ending, and not every block was judged";
            return Err(Refusal::new(ErrorCode::Unavailable, sentence));
        }
        Ok(Json(chain_validation(&report, manager.clock.now())))
    });
    let judged = judged.await;
    drop(asking);
    judged
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
