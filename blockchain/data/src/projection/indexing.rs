//! What the facts of the index's queue mean for the index.

use lucid_store::StoreError;
use lucid_store::contract::index::Changes;

use super::SessionProjection;
use crate::fact::Indexing;
use crate::row::documents::DocumentName;
use crate::row::indexing::{IndexingCounts, ItemRow, entry_key};

impl SessionProjection {
    pub(super) fn indexing(
        &self,
        fact: Indexing,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let counts = changes.get(&IndexingCounts::key())?;
        let counts = counts.map(|row| IndexingCounts::decode(&row)).transpose()?;
        let mut counts = counts.unwrap_or_default();
        match fact {
            Indexing::Queued { at, items } => {
                for (kind, text) in items {
                    let row = ItemRow { kind, at, text, why: String::new() };
                    self.queue(changes, &mut counts, &row)?;
                }
            }
            Indexing::Indexed { at: _, numbers, entries } => {
                for (kind, id, text) in entries {
                    let key = entry_key(&DocumentName::of(&self.sealer, kind, &id));
                    if changes.get(&key)?.is_none()
                        && let Some(count) = counts.entries.get_mut(usize::from(kind.code()))
                    {
                        *count += 1;
                    }
                    self.put(changes, key, text.as_bytes())?;
                }
                for number in numbers {
                    let key = ItemRow::queued_key(number);
                    if changes.get(&key)?.is_some() {
                        changes.remove(key);
                        counts.queued = counts.queued.saturating_sub(1);
                    }
                }
            }
            Indexing::Buried { at, number, why } => {
                let key = ItemRow::queued_key(number);
                let Some(value) = changes.get(&key)? else { return Ok(()) };
                let row = ItemRow { at, why, ..ItemRow::open(&self.sealer, &key, value)? };
                changes.remove(key);
                self.put(changes, ItemRow::dead_key(number), &row.encode())?;
                counts.queued = counts.queued.saturating_sub(1);
                counts.dead += 1;
            }
            Indexing::Revived { at, number } => {
                let key = ItemRow::dead_key(number);
                let Some(value) = changes.get(&key)? else { return Ok(()) };
                let row = ItemRow::open(&self.sealer, &key, value)?;
                let row = ItemRow { at, why: String::new(), ..row };
                changes.remove(key);
                counts.dead = counts.dead.saturating_sub(1);
                self.queue(changes, &mut counts, &row)?;
            }
        }
        changes.put(IndexingCounts::key(), counts.encode());
        Ok(())
    }

    fn queue(
        &self,
        changes: &mut Changes<'_>,
        counts: &mut IndexingCounts,
        row: &ItemRow,
    ) -> Result<(), StoreError> {
        self.put(changes, ItemRow::queued_key(counts.next), &row.encode())?;
        counts.next += 1;
        counts.queued += 1;
        Ok(())
    }
}
