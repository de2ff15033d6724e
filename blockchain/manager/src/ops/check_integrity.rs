//! Looks through stored blocks: each is read, and judged again as history, by the same rules as any other.
//!
//! Called by maintenance, a stretch at a time, and for the whole chain on demand. Nothing is repaired:
//! what is wrong is named. A pruned block is judged by its record.

use std::collections::BTreeSet;
use std::ops::Range;

use lucid_core::block::Candidate;
use lucid_core::time::Timestamp;
use lucid_core::validate::Mode;
use lucid_store::contract::chain::{ChainStore, KeptBlock, StoredRecord};
use lucid_store::{Damage, StoreError};

use super::validate_block::validate_in;
use crate::given::Pins;

/// Blocks that are named one by one; further ones are counted.
pub(super) const NAMED_MAX: usize = 1_000;
/// So many blocks that could not be judged are remembered.
const UNJUDGED_MAX: usize = 100_000;

/// A block that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Which.
    pub index: u64,
    /// What it breaks.
    pub why: String,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Integrity {
    /// How many blocks were looked at.
    pub checked: u64,
    /// The first of them.
    pub from: u64,
    /// The height behind the last.
    pub next: u64,
    /// Blocks that are not there, or not all of them.
    pub missing: Vec<u64>,
    /// Blocks of which it could not be said whether they break one: they, or what they are judged by, cannot be
    /// read.
    pub unjudged: BTreeSet<u64>,
    /// Blocks that break a rule.
    pub invalid: Vec<Invalid>,
    /// Damaged places that were met.
    pub damage: Vec<Damage>,
    /// Blocks that are missing or invalid, those included that are not named.
    pub faults: u64,
}

impl Integrity {
    fn missing(&mut self, height: u64, damage: Option<Damage>) {
        tracing::warn!("Missing block at index {height}");
        self.unjudged(height);
        self.faults += 1;
        if self.missing.len() < NAMED_MAX {
            self.missing.push(height);
            self.damage.extend(damage.filter(|damage| !self.damage.contains(damage)));
        }
    }

    fn unjudged(&mut self, height: u64) {
        if self.unjudged.len() < UNJUDGED_MAX {
            self.unjudged.insert(height);
        }
    }

    fn invalid(&mut self, index: u64, why: String) {
        tracing::error!(why, "Invalid block at index {index}");
        self.faults += 1;
        if self.invalid.len() < NAMED_MAX {
            self.invalid.push(Invalid { index, why });
        }
    }
}

/// Looks through the blocks of a range, as far as the chain goes and `goes_on` lets it.
pub fn check_integrity(
    chain: &dyn ChainStore,
    now: Timestamp,
    range: Range<u64>,
    goes_on: &mut dyn FnMut(&Integrity) -> bool,
) -> Result<Integrity, StoreError> {
    let mut found = Integrity { from: range.start, next: range.start, ..Integrity::default() };
    let Some(tip) = chain.tip()? else { return Ok(found) };
    for height in range.start..range.end.min(tip.height + 1) {
        match look_at(chain, now, height) {
            Ok(BlockSoundness::Absent) => found.missing(height, None),
            Ok(BlockSoundness::Sound) => {}
            Ok(BlockSoundness::Unjudged) => found.unjudged(height),
            Ok(BlockSoundness::Invalid(why)) => found.invalid(height, why),
            Err(StoreError::Damaged(damage)) => found.missing(height, Some(damage)),
            Err(error) => return Err(error),
        }
        found.checked += 1;
        found.next = height + 1;
        if !goes_on(&found) {
            break;
        }
    }
    Ok(found)
}

/// What was seen of one block.
enum BlockSoundness {
    /// It is not there.
    Absent,
    /// It breaks no rule.
    Sound,
    /// What it is judged by cannot be read.
    Unjudged,
    /// What it breaks.
    Invalid(String),
}

impl From<Result<(), String>> for BlockSoundness {
    fn from(judged: Result<(), String>) -> Self {
        judged.map_or_else(Self::Invalid, |()| Self::Sound)
    }
}

/// Judges one block; says what it breaks.
fn look_at(
    chain: &dyn ChainStore,
    now: Timestamp,
    height: u64,
) -> Result<BlockSoundness, StoreError> {
    let block = match chain.block(height)? {
        None => return Ok(BlockSoundness::Absent),
        Some(KeptBlock::Pruned(stored)) => {
            return look_at_record(chain, height, &stored).map(Into::into);
        }
        Some(KeptBlock::Whole(block)) => block,
    };
    let verdict =
        match validate_in(chain, now, Candidate::from(block), Mode::Historical, &Pins::default()) {
            // What it is judged by lies elsewhere, and is named there.
            Err(StoreError::Damaged(damage)) => {
                tracing::warn!(%damage, "block {height} cannot be judged");
                return Ok(BlockSoundness::Unjudged);
            }
            verdict => verdict?,
        };
    let failed = verdict.results.iter().find(|result| !result.passed);
    Ok(match failed {
        None => BlockSoundness::Sound,
        Some(result) => BlockSoundness::Invalid(format!(
            "{} {}",
            result.rule.name(),
            result.details.canonical()
        )),
    })
}

fn look_at_record(
    chain: &dyn ChainStore,
    height: u64,
    stored: &StoredRecord,
) -> Result<Result<(), String>, StoreError> {
    if let Err(fault) = stored.record.check() {
        return Ok(Err(fault.to_string()));
    }
    let parent = match height.checked_sub(1).map(|below| chain.record(below)).transpose() {
        // It is named where it is.
        Err(StoreError::Damaged(_)) => None,
        below => below?.flatten().map(|below| below.record.entry.hash),
    };
    Ok(match parent {
        Some(parent) if parent != stored.record.entry.previous_hash => {
            Err("the block does not follow the one before it".to_owned())
        }
        _ => Ok(()),
    })
}
