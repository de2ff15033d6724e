//! Reading a session back because a caller asked for it, and noting what that found.

use lucid_api::v1::maintenance::JobKind;
use lucid_api::v1::verification::Verified;
use lucid_core::digest::SessionRoot;
use lucid_core::session::SessionId;
use lucid_core::words::many_do;
use lucid_http::long_work::Begun;
use lucid_http::reply::Reply;

use super::maintenance::ended;
use crate::app::App;
use crate::fact::Verified as Outcome;
use crate::ops::OpError;
use crate::ops::proofs::verify_chunk::remember;
use crate::ops::proofs::verify_session::{SessionVerified, verify_session};
use crate::ops::sessions::get_session::get_session;
use crate::reply;

/// Reads a session back, telling everyone how far it is, for as long as a caller `wants` that. An answer that is
/// kept for its caller needs a run of its own; others may share the run of another caller.
pub fn verify_now(
    app: &App,
    begun: Begun,
    is_kept: bool,
    id: &SessionId,
    expected: Option<SessionRoot>,
    wants: &(dyn Fn() -> bool + Sync),
) -> Reply<Verified> {
    let total = match get_session(&app.opened.vault, id) {
        Ok(row) => row.offset(),
        Err(error @ OpError::NoSession(_)) => return Ok(absent(app, &error, expected)),
        Err(error) => return Err(error.into()),
    };
    let run = match app.jobs.begin_of(JobKind::Verify, id.as_str()) {
        Ok(run) => Some(run),
        // Looking, it would find the answer to the other caller, who may have another root in mind.
        Err(runs) if is_kept => return Err(runs.into()),
        Err(_) => None,
    };
    begun.say();
    let progress = |done| {
        let goes_on = run.as_ref().is_none_or(|run| run.step("reading", done, total));
        goes_on && wants()
    };
    progress(0);
    let verified = match verify_session(&app.opened.vault, id, app.threads, &progress) {
        // It was there a moment ago.
        Err(error @ OpError::NoSession(_)) => Ok(absent(app, &error, expected)),
        found => found.map(|found| noted(app, id, &found, expected)),
    };
    match run {
        Some(run) => ended(run, verified, |_| false),
        None => Ok(verified?),
    }
}

/// A session that is not there: a verdict like any other.
fn absent(app: &App, error: &OpError, expected: Option<SessionRoot>) -> Verified {
    let found = SessionVerified { faults: vec![error.to_string()], ..SessionVerified::default() };
    reply::verified(&found, expected, app.clock.now())
}

/// Remembers the outcome among the latest, where that is done; what could not be noted is said with it.
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
    if !app.remembers {
        return verified;
    }
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
