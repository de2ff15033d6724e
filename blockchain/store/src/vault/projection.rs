//! What facts mean for rows: the vault's own are read here, everything else is its owner's.
//!
//! Rows are made of a fact, of the rows before it, and of nothing else, but for one: what a unit stands for depends
//! on the records in it. These are read first ([`Switch::read`]); making the rows then reads nothing.
//!
//! A row says of which kinds facts were taken in. So a program that goes on where a later one stopped, with an index
//! that is up to date, hears that there is something which it does not know, and leaves everything as it is.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::contract::blobs::{UnitKind, Units};
use crate::contract::index::{Changes, Index, Project, Tally};
use crate::registry::SERVICE_FACTS;
use crate::registry::vault::{fact, key};
use crate::vault::chunk_rows;
use crate::vault::facts::VaultFact;
use crate::vault::moving::rows;
use crate::vault::unit_rows::Switch;
use crate::{Damage, StoreError};

/// The row with the kinds of facts that were taken in: a bit for each.
const KINDS: [u8; 1] = [key::KINDS];
/// Kinds are a byte.
const KIND_BYTES: usize = 32;

/// Kinds of facts, a bit for each.
struct Kinds(Vec<u8>);

impl Kinds {
    fn has(&self, kind: u8) -> bool {
        self.0.get(usize::from(kind / 8)).is_some_and(|byte| byte >> (kind % 8) & 1 == 1)
    }

    fn add(&mut self, kind: u8) {
        self.0.resize(KIND_BYTES, 0);
        if let Some(byte) = self.0.get_mut(usize::from(kind / 8)) {
            *byte |= 1 << (kind % 8);
        }
    }
}

/// Makes rows of all facts of a store.
pub(crate) struct Projection {
    units: Arc<dyn Units>,
    owner: Arc<dyn Project>,
    /// Whether what is not understood stops it.
    is_strict: bool,
    /// The kinds that are in the row for good, so that it is not read for every fact.
    noted: [AtomicBool; 256],
}

impl Projection {
    /// Over these units, and for this owner.
    pub(crate) fn new(units: Arc<dyn Units>, owner: Arc<dyn Project>) -> Self {
        Self { units, owner, is_strict: false, noted: [const { AtomicBool::new(false) }; 256] }
    }

    /// One that passes nothing over: where several follow one log, copies would differ for ever.
    pub(crate) fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    /// The same, for another index.
    pub(crate) fn anew(&self) -> Self {
        let anew = Self::new(self.units.clone(), self.owner.clone());
        Self { is_strict: self.is_strict, ..anew }
    }

    /// The fact that says what the rows come to, where the owner counts.
    pub(crate) fn tally(&self, rows: &Changes<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.owner.tally(rows)?.map(|tally| VaultFact::Tallied(tally).encode()))
    }

    /// Whether a row is not the same in a copy that starts from what was left of the log, as its owner says.
    pub(crate) fn is_of_history(&self, key: &[u8]) -> bool {
        self.owner.is_of_history(key)
    }

    /// Refuses an index with facts that a later version wrote.
    pub(crate) fn check(&self, index: &dyn Index) -> Result<(), StoreError> {
        let kinds = Kinds(index.get(&KINDS)?.unwrap_or_default());
        match (0..=u8::MAX).any(|kind| kinds.has(kind) && !self.knows(kind)) {
            true => Err(newer()),
            false => Ok(()),
        }
    }

    fn knows(&self, kind: u8) -> bool {
        if kind < SERVICE_FACTS { fact::ALL.contains(&kind) } else { self.owner.knows(kind) }
    }

    /// Notes that there is a fact of this kind.
    fn note(&self, kind: u8, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        let Some(noted) = self.noted.get(usize::from(kind)) else { return Ok(()) };
        let kinds = |row: Option<Vec<u8>>| Kinds(row.unwrap_or_default());
        if noted.load(Ordering::Relaxed) {
            return Ok(());
        }
        if kinds(changes.written(&KINDS)?).has(kind) {
            noted.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let mut all = kinds(changes.get(&KINDS)?);
        if !all.has(kind) {
            all.add(kind);
            changes.put(KINDS.to_vec(), all.0);
        }
        Ok(())
    }

    /// Reports what is not understood and passes it over; or refuses it, where it is strict.
    fn pass_over(&self, what: &'static str, why: impl Display) -> Result<(), StoreError> {
        if self.is_strict {
            return Err(StoreError::Damaged(Damage::new("the log", 0, format!("{what}: {why}"))));
        }
        tracing::error!(%why, "{what} and was passed over");
        Ok(())
    }

    /// Makes rows of a fact. One that is not understood is passed over, or refused; one of a kind that only a later
    /// version knows is an error.
    pub(crate) fn apply(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        if let Some(kind) = fact.first() {
            if !self.knows(*kind) {
                return Err(newer());
            }
            self.note(*kind, changes)?;
        }
        match VaultFact::decode(fact) {
            None => match self.is_strict.then(|| self.owner.fault(fact)).flatten() {
                Some(fault) => self.pass_over("a fact is not understood", fault),
                None => self.owner.project(fact, changes),
            },
            Some(Ok(VaultFact::Quarantined(name, place))) => {
                chunk_rows::quarantine(changes, &name, place)
            }
            Some(Ok(VaultFact::Dropped(chunks))) => chunks
                .iter()
                .try_for_each(|(name, place)| chunk_rows::drop_chunk(changes, name, *place)),
            Some(Ok(VaultFact::Switched { to, replaces })) => {
                let units = self.units.as_ref();
                let is_one = |unit: &u32| units.kind(*unit).is_some();
                if units.kind(to) == Some(UnitKind::Made) && replaces.iter().all(is_one) {
                    Switch::read(units, to, &replaces, changes)?.project(changes)
                } else {
                    self.pass_over("a fact of the store names no unit", to)
                }
            }
            Some(Ok(VaultFact::Moving(at))) => {
                rows::begin(changes, at);
                Ok(())
            }
            Some(Ok(VaultFact::Moved(_))) => {
                rows::end(changes);
                Ok(())
            }
            Some(Ok(VaultFact::Lined(line))) => {
                line.put(changes);
                Ok(())
            }
            Some(Ok(VaultFact::Snapshots(pieces))) => {
                pieces.put(changes);
                Ok(())
            }
            // Elsewhere than where several follow, facts that the writer counted may have gone since.
            Some(Ok(VaultFact::Tallied(theirs))) => match self.owner.tally(changes)? {
                Some(ours) if ours != theirs && self.is_strict => Err(differs(ours, theirs)),
                _ => Ok(()),
            },
            Some(Err(fault)) => self.pass_over("a fact of the store is not understood", fault),
        }
    }
}

fn differs(ours: Tally, theirs: Tally) -> StoreError {
    let counts = |Tally { sessions, chunks, references }: Tally| {
        format!("{sessions} sessions, {chunks} chunks and {references} references")
    };
    StoreError::Index(format!(
        "it has come to {}, and the writer of the commit to {}: make it anew by `lucid reindex`",
        counts(ours),
        counts(theirs),
    ))
}

fn newer() -> StoreError {
    StoreError::newer("a fact in the log")
}
