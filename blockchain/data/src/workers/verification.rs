//! Reading a session back because somebody asked for it, and noting what that found.

use lucid_api::v1::maintenance::JobKind;
use lucid_api::v1::verification::Verified;
use lucid_core::digest::SessionRoot;
use lucid_core::session::SessionId;
use lucid_core::words::many_do;
use lucid_http::long_work::{Begun, Wait};
use lucid_http::reply::Reply;

use super::maintenance::ended;
use crate::app::App;
use crate::fact::Verified as Outcome;
use crate::ops::OpError;
use crate::ops::proofs::verify_chunk::remember;
use crate::ops::proofs::verify_session::{SessionVerified, verify_session};
use crate::ops::sessions::get_session::get_session;
use crate::reply;

/// Reads a session back, telling everyone how far it is, for as long as somebody `wants` that.
pub fn verify_now(
    app: &App,
    begun: Begun,
    wait: Wait,
    id: &SessionId,
    expected: Option<SessionRoot>,
    wants: &(dyn Fn() -> bool + Sync),
) -> Reply<Verified> {
    let total = match get_session(&app.opened.vault, id) {
        Ok(row) => row.offset(),
        Err(error @ OpError::NoSession(_)) => {
            let faults = vec![error.to_string()];
            let found = SessionVerified { faults, ..SessionVerified::default() };
            return Ok(reply::verified(&found, expected, app.clock.now()));
        }
        Err(error) => return Err(error.into()),
    };
    let run = match (app.jobs.begin_of(JobKind::Verify, id.as_str()), wait) {
        (Ok(run), _) => Some(run),
        // Looking, it would find the answer to the other caller, who may have another root in mind.
        (Err(runs), Wait::For(_)) => return Err(runs.into()),
        (Err(_), Wait::Unsaid) => None,
    };
    begun.say();
    let progress = |done| {
        let goes_on = run.as_ref().is_none_or(|run| run.step("reading", done, total));
        goes_on && wants()
    };
    let _begun = progress(0);
    let found = verify_session(&app.opened.vault, id, app.threads, &progress);
    let verified = found.map(|found| noted(app, id, &found, expected));
    match run {
        Some(run) => ended(run, verified, |_| false),
        None => Ok(verified?),
    }
}

/// Remembers the outcome among the latest; what could not be noted is said with it.
fn noted(
    app: &App,
    id: &SessionId,
    found: &SessionVerified,
    expected: Option<SessionRoot>,
) -> Verified {
    let now = app.clock.now();
    let mut verified = reply::verified(found, expected, now);
    let reason = match found.failed.len() {
        0 => verified.details.reason.clone().unwrap_or_default(),
        failed => format!("{} damaged or missing", many_do(failed, "chunk", "is", "are")),
    };
    let outcome = Outcome {
        at: now,
        subject: id.to_string(),
        is_session: true,
        verified: verified.verified,
        reason: reason.clone(),
    };
    let told = remember(&app.opened.vault, outcome).reason;
    if told != reason {
        verified.details.reason = Some(told);
    }
    verified
}
