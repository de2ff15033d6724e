//! How old sessions are, by the chain: the time of a block that is made now, less that of the block which
//! has a session's anchor. No client's clock counts, nor this machine's alone; what is not anchored has no
//! age.

use std::time::{Duration, Instant};

use lucid_core::record::BlockEntry;
use lucid_core::retention::RetentionRun;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;

use crate::anchoring::AnchorEngine;
use crate::ops::proofs::deliver_anchors::fault;
use crate::ops::proofs::prove_session::anchored;
use crate::ops::proofs::recognise_chain::recognise_chain;
use crate::ops::{Clash, OpError};
use crate::row::SessionName;

/// How long a block is waited for at most, and how often it is asked for.
const WAIT: Duration = Duration::from_secs(90);
const ASK: Duration = Duration::from_millis(100);
/// A clock that is so many days ahead of everything that is known may be wrong, and ends no session's time
/// unasked: far longer than a store rests that is in use.
pub const STEP_DAYS_MAX: i64 = 32;

/// The time of a block that is made now: one with a transaction that asks for it, which is waited for.
/// `None` if `goes_on` ended that.
pub fn ask_the_chain(
    vault: &Vault,
    key: &SigningKey,
    engine: &dyn AnchorEngine,
    run: RetentionRun,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Timestamp>, OpError> {
    let away = |error: &dyn std::fmt::Display| {
        OpError::Away(format!("no session's age is known, and none is removed by it: {error}"))
    };
    // Another chain's time says nothing of anchors in this one.
    recognise_chain(vault, &key.public(), engine)?.map_err(|error| away(&error))?;
    let transaction = run.sign(key).map_err(|fault| OpError::Fault(fault.to_string()))?;
    engine.submit(transaction.text()).map_err(|error| away(&error))?;
    let since = Instant::now();
    loop {
        let confirmed = engine.confirmed(transaction.id()).map_err(|error| away(&error))?;
        if let Some(confirmed) = confirmed {
            if let Some(why) = fault(&confirmed, transaction.text(), &transaction) {
                return Err(away(&why));
            }
            return time_of(&confirmed.proof.entry).map(Some);
        }
        if since.elapsed() > WAIT {
            let seconds = WAIT.as_secs();
            return Err(away(&format!(
                "the block-manager made no block in {seconds} s; its /health says why"
            )));
        }
        if !goes_on() {
            return Ok(None);
        }
        std::thread::sleep(ASK);
    }
}

/// The time of the block that has a session's anchor; `None` without one.
pub fn anchored_at(vault: &Vault, name: &SessionName) -> Result<Option<Timestamp>, OpError> {
    anchored(vault, name)?.map(|anchored| time_of(&anchored.entry)).transpose()
}

fn time_of(entry: &str) -> Result<Timestamp, OpError> {
    let unsound =
        |fault: &dyn std::fmt::Display| OpError::Unsound(format!("a block's entry: {fault}"));
    let entry = BlockEntry::parse(entry).map_err(|fault| unsound(&fault))?;
    entry.time().map_err(|fault| unsound(&fault))
}

/// Whether a clock is so far ahead of what is known that it ends nothing's time unasked.
pub fn is_step(known: Timestamp, now: Timestamp) -> bool {
    now > known.plus_seconds(STEP_DAYS_MAX * 24 * 3_600)
}

/// Refuses to count ages by a block that is made so long after every other one.
pub fn refuse_step(newest: Option<Timestamp>, now: Timestamp) -> Result<(), OpError> {
    let Some(newest) = newest.filter(|newest| is_step(*newest, now)) else { return Ok(()) };
    Err(OpError::Conflict(
        Clash::Unclear,
        format!(
            "by the clock it is {now}, over {STEP_DAYS_MAX} days after {newest}, when the newest session was \
             anchored: a clock that is wrong would end the time of sessions that are to be kept, so \
             confirm that it is right"
        ),
    ))
}
