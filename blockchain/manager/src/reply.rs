//! What the ops find, in the words of the API: for the routes, and for the command line, which says the
//! same.

use lucid_api::problem::ErrorCode;
use lucid_api::v1::validation::{ChainValidation, InvalidBlock};
use lucid_api::v1::verdict::results;
use lucid_core::time::Timestamp;
use lucid_core::validate::Rule;
use lucid_http::reply::{Refusal, Reply};
use serde::Serialize;

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
