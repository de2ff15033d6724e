//! One cycle of upkeep: look through some blocks, prune, and say what was found.
//!
//! Called by the maintenance worker once a minute, and when a request asks for it. Blocks that break a
//! rule stop the clean-up, since then it is not known what is wrong; damage does not, for the store spares
//! what it touches. Which blocks those are is written down, so that a restart does not forget them.

use lucid_core::time::Timestamp;
use lucid_store::contract::chain::{ChainStore, Pruning};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};

use super::check_integrity::{Integrity, Invalid, NAMED_MAX, check_integrity};
use crate::fact::{self, Fact};

/// Blocks that an ordinary cycle looks at, at most.
pub const CYCLE_BLOCKS: u64 = 4_096;
/// Where looking goes on is written down when it has moved so far.
const NOTED_BLOCKS: u64 = 16 * CYCLE_BLOCKS;
/// So much is noted of what a block breaks.
const WHY_CHARS_MAX: usize = 500;

/// What a cycle is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CyclePlan<'a> {
    /// Looks at every block, not at the next ones only.
    pub full: bool,
    /// Where the cycle before ended; `None` for the first one.
    pub cursor: Option<u64>,
    /// So many bodies are kept at least; 0 keeps all.
    pub keep: u64,
    /// Blocks that were found to break a rule, and not looked at since, besides those that are noted.
    pub suspects: &'a [Invalid],
}

/// What a cycle did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upkeep {
    /// What it looked at.
    pub integrity: Integrity,
    /// What it removed.
    pub pruning: Pruning,
    /// Why it removed nothing, where it should have.
    pub spared: Option<String>,
    /// The tip.
    pub height: u64,
    /// Where the next cycle goes on.
    pub cursor: u64,
    /// Blocks that break a rule, found now or before; as many as are named.
    pub suspects: Vec<Invalid>,
}

/// Why a cycle failed.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The blocks that are noted as breaking a rule.
pub fn known_suspects(vault: &Vault) -> Result<Vec<Invalid>, StoreError> {
    let noted = fact::suspects(vault.index())?;
    Ok(noted.into_iter().map(|(index, why)| Invalid { index, why }).collect())
}

/// Which blocks break a rule, now that some were looked at: as many as are named, lowest first. What was
/// known of one stands until it was judged again, or is above the newest block.
fn suspects(looked: &Integrity, wanted: &[Invalid], known: &[Invalid], tip: u64) -> Vec<Invalid> {
    let looked_at = looked.from..looked.next;
    let is_judged = |height: &u64| looked_at.contains(height) && !looked.unjudged.contains(height);
    let before = wanted.iter().chain(known);
    let before = before.filter(|suspect| !is_judged(&suspect.index) && suspect.index <= tip);
    let mut all: Vec<Invalid> = looked.invalid.iter().chain(before).cloned().collect();
    for suspect in &mut all {
        let end = suspect.why.char_indices().nth(WHY_CHARS_MAX).map(|(at, _)| at);
        suspect.why.truncate(end.unwrap_or(suspect.why.len()));
    }
    // What was found now stands before what was known.
    all.sort_by_key(|suspect| suspect.index);
    all.dedup_by_key(|suspect| suspect.index);
    all.truncate(NAMED_MAX);
    all
}

/// Runs one cycle. `goes_on` ends the looking early.
pub fn maintain_chain(
    vault: &Vault,
    chain: &dyn ChainStore,
    now: Timestamp,
    wanted: &CyclePlan<'_>,
    goes_on: &mut dyn FnMut(&Integrity) -> bool,
) -> Result<Upkeep, UpkeepError> {
    let height = chain.tip()?.map_or(0, |tip| tip.height);
    let noted = fact::cursor(vault.index())?;
    // Behind the tip it begins anew.
    let next = wanted.cursor.unwrap_or(noted);
    let from = if wanted.full || next > height { 0 } else { next };
    let to = if wanted.full { u64::MAX } else { from.saturating_add(CYCLE_BLOCKS) };
    let integrity = check_integrity(chain, now, from..to, goes_on)?;
    let cursor = integrity.next;
    let known = known_suspects(vault)?;
    let suspects = suspects(&integrity, wanted.suspects, &known, height);
    let mut notes = Vec::new();
    if suspects != known {
        let note = |suspect: &Invalid| (suspect.index, suspect.why.clone());
        notes.push(Fact::Suspects(suspects.iter().map(note).collect()));
    }
    if cursor.abs_diff(noted) >= NOTED_BLOCKS {
        notes.push(Fact::LookedThrough { next: cursor });
    }
    if !notes.is_empty() && vault.read_only().is_none() {
        fact::commit(vault, &notes)?;
    }
    let mut upkeep = Upkeep {
        suspects,
        integrity,
        pruning: Pruning::default(),
        spared: chain.read_only(),
        height,
        cursor,
    };
    let keep_from = height.saturating_add(1).saturating_sub(wanted.keep);
    if wanted.keep == 0 || keep_from == 0 || upkeep.spared.is_some() {
        return Ok(upkeep);
    }
    if let Some(first) = upkeep.suspects.first() {
        let why = format!("nothing is removed while block {} breaks a rule", first.index);
        tracing::warn!(why, "the clean-up was left out");
        upkeep.spared = Some(why);
        return Ok(upkeep);
    }
    upkeep.pruning = chain.prune(keep_from)?;
    if upkeep.pruning.blocks > 0 {
        let Pruning { blocks, bytes, .. } = upkeep.pruning;
        tracing::info!(bytes, "Cleaned up {blocks} old blocks");
    }
    for damage in &upkeep.pruning.spared {
        tracing::warn!(%damage, "old blocks were not cleaned up, since what is kept of them is damaged");
    }
    Ok(upkeep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(heights: &[u64]) -> Vec<Invalid> {
        heights.iter().map(|index| Invalid { index: *index, why: "because".into() }).collect()
    }

    #[test]
    fn a_suspect_stays_until_it_was_judged_again_or_is_above_the_newest_block() {
        let looked = Integrity {
            from: 3,
            next: 9,
            unjudged: [5].into(),
            invalid: invalid(&[7]),
            ..Integrity::default()
        };
        let heights = |tip| {
            let known = invalid(&[1, 4, 5, 12]);
            let found = suspects(&looked, &invalid(&[8]), &known, tip);
            found.into_iter().map(|suspect| suspect.index).collect::<Vec<_>>()
        };
        assert_eq!(heights(20), [1, 5, 7, 12]);
        assert_eq!(heights(11), [1, 5, 7]);
    }
}
