//! Judging stored blocks because a caller asked for it.

use std::ops::ControlFlow;

use lucid_api::problem::ErrorCode;
use lucid_api::v1::maintenance::{JobKind, ProgressState};
use lucid_api::v1::validation::{ChainValidation, ValidateChain};
use lucid_http::jobs::JobFault;
use lucid_http::long_work::Begun;
use lucid_http::reply::{Refusal, Reply};
use serde_json::json;

use crate::app::App;
use crate::opened::Opened;
use crate::ops::validate_chain::validate_chain;
use crate::ops::validate_texts::ValidationRequest;
use crate::problems;
use crate::reply::chain_validation;

/// The one stage of validating.
const JUDGING: &str = "judging";

/// Judges what is wanted as long as a caller `wants` that, telling everyone how far it is.
pub fn validate_now(
    app: &App,
    manager: &Opened,
    wanted: &ValidateChain,
    begun: Begun,
    wants: &dyn Fn() -> bool,
) -> Reply<ChainValidation> {
    let chain = manager.chain.as_ref();
    let tip = chain.tip().map_err(problems::store)?;
    let from = wanted.start.unwrap_or(0);
    if from > tip.map_or(0, |tip| tip.height) {
        let sentence = match tip {
            Some(tip) => format!("start lies above the newest block, {}", tip.height),
            None => "start lies above the newest block: there is none yet".to_owned(),
        };
        return Err(Refusal::new(ErrorCode::Invalid, sentence));
    }
    let last = wanted.end.unwrap_or(u64::MAX).min(tip.map_or(0, |tip| tip.height));
    let total = (last + 1).saturating_sub(from);
    let run = app.jobs().begin(JobKind::Validate)?;
    run.step(JUDGING, 0, total);
    begun.say();
    let asked = ValidationRequest { from: wanted.start, to: wanted.end, ..Default::default() };
    let mut given_up = None;
    let report = validate_chain(chain, manager.clock.now(), &asked, wanted.records, |report| {
        given_up = match (run.step(JUDGING, report.blocks, total), wants()) {
            // Every block is judged, whatever came meanwhile.
            _ if report.blocks == total => None,
            (false, _) => Some("the service is ending, and not every block was judged"),
            (_, false) => Some("nobody waited for the answer, and not every block was judged"),
            (true, true) => None,
        };
        match given_up {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    });
    let refused = match (report, given_up) {
        (Ok(report), None) => {
            let validation = chain_validation(&report, manager.clock.now());
            run.end(ProgressState::Done, Ok(json!(validation)));
            return Ok(validation);
        }
        (Ok(_), Some(why)) => {
            let refusal = Refusal::new(ErrorCode::Unavailable, why);
            let fault = JobFault { code: refusal.code(), why: why.to_owned() };
            run.end(ProgressState::Stopped, Err(fault));
            refusal
        }
        (Err(error), _) => {
            let refusal = problems::store(error);
            run.fail(refusal.code(), refusal.detail());
            refusal
        }
    };
    Err(refused)
}
