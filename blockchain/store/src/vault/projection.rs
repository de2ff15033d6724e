//! What facts mean for rows: the vault's own are read here, everything else is its owner's.
//!
//! Rows are made of a fact, of the rows before it, and of nothing else, but for one: what a unit stands for depends
//! on the records in it. These are read first ([`Switch::read`]); making the rows then reads nothing.

use std::sync::Arc;

use crate::StoreError;
use crate::contract::blobs::{UnitKind, Units};
use crate::contract::index::{Changes, Project};
use crate::vault::chunk_rows;
use crate::vault::facts::VaultFact;
use crate::vault::unit_rows::Switch;

/// Makes rows of all facts of a store.
pub(crate) struct Projection {
    units: Arc<dyn Units>,
    owner: Arc<dyn Project>,
}

impl Projection {
    /// Over these units, and for this owner.
    pub(crate) fn new(units: Arc<dyn Units>, owner: Arc<dyn Project>) -> Self {
        Self { units, owner }
    }

    /// Makes rows of a fact. One of the vault's that is not understood is reported and passed over.
    pub(crate) fn apply(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        match VaultFact::decode(fact) {
            None => self.owner.project(fact, changes),
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
                    tracing::error!(to, "a fact of the store names no unit and was passed over");
                    Ok(())
                }
            }
            Some(Err(fault)) => {
                tracing::error!(%fault, "a fact of the store is not understood and was passed over");
                Ok(())
            }
        }
    }
}
