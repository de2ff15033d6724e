//! Asks the chain what time it is before sessions are removed by how old they are: a block is made for that, and its
//! time counts. Collecting garbage begins so, and so does a caller that removes by a policy of its own.

use lucid_core::retention::RetentionRun;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;

use crate::anchoring::AnchorEngine;
use crate::ops::upkeep::count_age::{ask_the_chain, is_step, refuse_step};
use crate::ops::upkeep::expire_sessions::last_anchored;
use crate::ops::{Clash, OpError};

/// What the chain said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionTime {
    /// The time of a block that was made just now: ages are counted up to it.
    pub now: Timestamp,
    /// Whether it ends the times until which sessions are kept, too. That a clock far ahead is right can be confirmed
    /// for ages, and for none of these.
    pub ends_retention: bool,
}

/// Has a block made, and says its time. A clock that is far ahead of the newest anchor is refused, unless it is
/// confirmed. `None` if `goes_on` ended the wait for the block.
pub fn begin_retention(
    vault: &Vault,
    key: &SigningKey,
    engine: Option<&dyn AnchorEngine>,
    run: RetentionRun,
    confirm: bool,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<RetentionTime>, OpError> {
    let engine = engine.ok_or_else(no_engine)?;
    let newest = last_anchored(vault, run.timestamp)?;
    if !confirm {
        refuse_step(newest, run.timestamp)?;
    }
    let Some(now) = ask_the_chain(vault, key, engine, run, goes_on)? else { return Ok(None) };
    if !confirm {
        refuse_step(newest, now)?;
    }
    let ends_retention = newest.is_some_and(|newest| !is_step(newest, now));
    Ok(Some(RetentionTime { now, ends_retention }))
}

/// The same where a caller's own policy says which sessions go: the chain is told no number of days, and waited for.
pub fn begin_by_policy(
    vault: &Vault,
    key: &SigningKey,
    engine: Option<&dyn AnchorEngine>,
    now: Timestamp,
    confirm: bool,
) -> Result<RetentionTime, OpError> {
    let run = RetentionRun { keep_days: 0, timestamp: now };
    let begun = begin_retention(vault, key, engine, run, confirm, &mut || true)?;
    begun.ok_or(OpError::Abandoned)
}

fn no_engine() -> OpError {
    OpError::Conflict(
        Clash::Lost,
        "sessions have the age that the chain gives them, and anchoring is disabled: set BLOCK_MANAGER_URL, \
         or leave them as they are (keep_days 0)"
            .into(),
    )
}
