//! Verdicts on blocks, and the rules behind them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::{
    BlockToJudge, ValidateQuery, Validation, ValidationMode, ValidationRule, ValidationRules,
};
use lucid_api::v1::maintenance::{JobKind, Progress};
use lucid_api::v1::validation::{ChainValidation, ValidateChain};
use lucid_core::block::REQUIRED_FIELDS;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::validate::{Mode, Rule};
use lucid_http::extract::{JsonOrNone, JsonText, Query};
use lucid_http::long_work::{Begun, Prefer, Wait, long_work};
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::ops::validate_block;
use crate::problems;
use crate::workers::validation::validate_now;
use lucid_api::v1::verdict::validation;

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
        let verdict = validate_block::validate_block(
            chain,
            manager.clock.now(),
            text.as_bytes(),
            mode,
            producer,
        )
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

/// Judges stored blocks, all of them or a range, and answers when that is done.
#[utoipa::path(post, path = paths::VALIDATION_CHAIN, tag = "validation", params(Prefer), request_body = Option<ValidateChain>, responses((status = 200, body = ChainValidation), (status = 202, body = Progress), (status = 409, description = "it is being validated already")))]
pub async fn validate_chain(
    State(app): State<App>,
    wait: Wait,
    JsonOrNone(wanted): JsonOrNone<ValidateChain>,
) -> Reply<Response> {
    if wanted.start.zip(wanted.end).is_some_and(|(start, end)| start > end) {
        return Err(Refusal::new(ErrorCode::Invalid, "start lies above end: swap them"));
    }
    let shown = app.clone();
    let look = async move {
        Ok((paths::VALIDATION_CHAIN.to_owned(), shown.jobs().show(JobKind::Validate)))
    };
    let validate = |begun: Begun| async move {
        // A caller that waits, and leaves, does not want the answer any more.
        let asking = Arc::new(());
        let asked = Arc::downgrade(&asking);
        let judging = app.clone();
        let judged = app.run(move |manager| {
            validate_now(&judging, manager, &wanted, begun, &|| asked.strong_count() > 0)
        });
        let judged = judged.await;
        drop(asking);
        judged
    };
    long_work(&wait, look, validate).await
}

/// How far validating is, or how it ended last.
#[utoipa::path(get, path = paths::VALIDATION_CHAIN, tag = "validation", responses((status = 200, body = Progress)))]
pub async fn get_validation(State(app): State<App>) -> Json<Progress> {
    Json(app.jobs().show(JobKind::Validate))
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
