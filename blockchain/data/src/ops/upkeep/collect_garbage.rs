//! Gives back the room of what nobody refers to.

use std::collections::BTreeSet;

use lucid_core::digest::ChunkName;
use lucid_core::retention::RetentionRun;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_store::contract::fact_log::Condensed;
use lucid_store::contract::index::Index;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::{Cleared, Collected, Survey};
use lucid_store::vault::scrub::Standing;

use crate::anchoring::AnchorEngine;
use crate::opened::SessionLocks;
use crate::ops::sessions::count_sessions::count_sessions;
use crate::ops::upkeep::begin_retention::begin_retention;
use crate::ops::upkeep::count_age::is_step;
use crate::ops::upkeep::expire_sessions::{
    Expired, Interrupted, Over, check_days, expire_sessions, last_begun,
};
use crate::ops::upkeep::expire_uploads::{expire_uploads, last_upload};
use crate::ops::upkeep::live_chunks::live_chunks;
use crate::ops::upkeep::scrub_store::{scrub_state, standings};
use crate::ops::upkeep::weigh_facts::matters;
use crate::ops::{Clash, OpError};
use crate::row::{Referred, UploadedRow};

/// From this size on, a collection that would free over half of the store wants to be confirmed.
const ABNORMAL_BYTES: u64 = 256 << 20;

/// How to collect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GarbageRequest {
    /// Sessions that were anchored over so many days ago are removed first; zero keeps them.
    pub keep_days: u32,
    /// The same of sessions of the read log.
    pub keep_log_days: u32,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Free even an abnormal share of the store, and believe a clock that is far ahead.
    pub confirm: bool,
}

/// What was found, and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Sessions that were removed, or would be.
    pub expired: Expired,
    /// What is referred to, and what is not. A dry run counts what the expired sessions refer to as
    /// referred to.
    pub survey: Survey,
    /// What was given back of segments; nothing in a dry run.
    pub collected: Collected,
    /// What was given back of the log; nothing in a dry run.
    pub condensed: Condensed,
}

/// What the work is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarbageStage {
    /// Finding out what is referred to.
    Finding,
    /// Rewriting segments.
    Rewriting,
    /// Rewriting the log.
    Condensing,
}

impl GarbageStage {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Rewriting => "rewriting",
            Self::Condensing => "condensing",
        }
    }
}

/// Removes expired sessions, finds what nobody refers to, and drops it; then facts go that do not matter
/// any more. The engine is asked what time it is before sessions go by their age. `watch` is told how many
/// bytes of how many are done, and stops the work in order by `false`. One collection runs at a time.
pub fn collect_garbage(
    vault: &Vault,
    locks: &SessionLocks,
    key: &SigningKey,
    now: Timestamp,
    engine: Option<&dyn AnchorEngine>,
    request: &GarbageRequest,
    watch: &mut dyn FnMut(GarbageStage, u64, u64) -> bool,
) -> Result<Garbage, OpError> {
    let collection = vault.begin_collection().ok_or_else(|| {
        OpError::Conflict(
            Clash::Running,
            "segments are being rewritten already: wait until that has ended".into(),
        )
    })?;
    let GarbageRequest { keep_days, keep_log_days, dry_run, confirm } = *request;
    check_days(keep_days)?;
    check_days(keep_log_days)?;
    let mut garbage = Garbage::default();
    let stopped = Collected { stopped: true, ..Collected::default() };
    // Nobody knows whether a store rested for so long or the clock is wrong. What a day ends waits.
    let known = last_begun(vault, now)?.max(last_upload(vault, now)?);
    let is_doubted = !confirm && known.is_some_and(|known| is_step(known, now));
    let interrupted = match (is_doubted, confirm) {
        (true, _) => Interrupted::None,
        (false, false) => Interrupted::Old,
        (false, true) => Interrupted::OldAndFuture,
    };
    // The clock only says whether it is worth while to ask the chain.
    let mut over = Over {
        now,
        anchored_before: Over::days(now, keep_days),
        log_anchored_before: Over::days(now, keep_log_days),
        chain: now,
        interrupted,
    };
    if dry_run {
        garbage.expired = expire_sessions(vault, locks, key, &over, true)?;
    } else {
        let mut would = expire_sessions(vault, locks, key, &over, true)?;
        if would.retention > 0 {
            let least = if keep_days > 0 { keep_days } else { keep_log_days };
            let run = RetentionRun { keep_days: least, timestamp: now };
            let goes_on = &mut || watch(GarbageStage::Finding, 0, 0);
            let Some(chain) = begin_retention(vault, key, engine, run, confirm, goes_on)? else {
                return Ok(Garbage { collected: stopped, ..garbage });
            };
            over.anchored_before = Over::days(chain.now, keep_days);
            over.log_anchored_before = Over::days(chain.now, keep_log_days);
            over.chain = match chain.ends_retention {
                true => chain.now,
                false => Timestamp::from_micros(i64::MIN),
            };
            would = expire_sessions(vault, locks, key, &over, true)?;
        }
        // Removing a session cannot be undone, so what it would come to is asked first.
        if !confirm {
            let left = count_sessions(vault)?.sessions.bytes.saturating_sub(would.bytes);
            refuse_abnormal("removing expired sessions would end", would.bytes, left)?;
        }
        // What ends a session's time, or holds it, is in the log: while that cannot be read whole, the index
        // may know a sealed session as one that was left behind. What is referred to is known only once the
        // expired sessions are gone, so the log is read for that once more.
        let mut finding = |done, total| watch(GarbageStage::Finding, done, total);
        if would.retention + would.interrupted > 0 && !vault.facts(&mut |_| Ok(()), &mut finding)? {
            return Ok(Garbage { collected: stopped, ..garbage });
        }
        garbage.expired = expire_sessions(vault, locks, key, &over, false)?;
        if !is_doubted {
            expire_uploads(vault, now, confirm)?;
        }
    }
    // What did not go counts as long as it is there.
    let counted = if is_doubted { Timestamp::from_micros(i64::MIN) } else { now };
    let mut finding = |done, total| watch(GarbageStage::Finding, done, total);
    let Some(live) = live_chunks(vault, counted, &mut finding)? else {
        return Ok(Garbage { collected: stopped, ..garbage });
    };
    let survey = collection.survey(&live)?;
    garbage.survey = survey;
    if dry_run {
        return Ok(garbage);
    }
    if !confirm {
        refuse_abnormal("collecting would free", survey.dead_bytes, survey.live_bytes)?;
    }
    let collection = collection.tidying(healed_files(vault)?);
    // What came to be kept since is in the rows. Waiting for its first reference is no reference yet.
    let is_free = |index: &dyn Index, name: &ChunkName| {
        let upload = UploadedRow::find(index, vault.cipher(), name)?;
        let is_kept = upload.is_some_and(|upload| upload.note.counts(counted));
        Ok(Referred::find(index, name)? == 0 && !is_kept)
    };
    garbage.collected = collection
        .run(&live, &is_free, &mut |done, total| watch(GarbageStage::Rewriting, done, total))?;
    if !garbage.collected.stopped {
        let cleared = collection.clear(now)?;
        if cleared != Cleared::default() {
            let Cleared { units_removed, units_going } = cleared;
            tracing::info!(units_removed, units_going, "units that were left over were cleared");
        }
        garbage.condensed = collection
            .condense(&|fact| matters(vault, fact), &mut |done, total| {
                watch(GarbageStage::Condensing, done, total)
            })?;
    }
    Ok(garbage)
}

/// Files that hold damage which a scrub found and a sound copy elsewhere made up for.
fn healed_files(vault: &Vault) -> Result<BTreeSet<String>, OpError> {
    let found = standings(vault, &scrub_state(vault)?)?;
    let healed = found.into_iter().filter(|(_, standing)| *standing == Some(Standing::Healed));
    Ok(healed.map(|(finding, _)| finding.damage.file).collect())
}

/// A mistake elsewhere would look like this: much more goes than anyone leaves.
fn refuse_abnormal(what: &str, dead_bytes: u64, live_bytes: u64) -> Result<(), OpError> {
    let all = dead_bytes.saturating_add(live_bytes);
    if dead_bytes <= live_bytes || all < ABNORMAL_BYTES {
        return Ok(());
    }
    Err(OpError::Conflict(
        Clash::Unclear,
        format!(
            "{what} {} of {} MiB, over half: confirm that this is meant",
            dead_bytes >> 20,
            all >> 20
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_share_of_a_large_store_is_abnormal() {
        let is_abnormal =
            |live_bytes, dead_bytes| refuse_abnormal("it is", dead_bytes, live_bytes).is_err();
        assert!(is_abnormal(0, ABNORMAL_BYTES));
        assert!(is_abnormal(ABNORMAL_BYTES, ABNORMAL_BYTES + 1));
        assert!(!is_abnormal(ABNORMAL_BYTES, ABNORMAL_BYTES));
        assert!(!is_abnormal(0, ABNORMAL_BYTES - 1));
    }
}
