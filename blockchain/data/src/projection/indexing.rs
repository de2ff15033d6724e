//! What the facts of the index's queue mean for the index.

use lucid_store::StoreError;
use lucid_store::contract::index::Changes;

use super::SessionProjection;
use crate::fact::{Indexing, ItemName};
use crate::row::documents::DocumentName;
use crate::row::indexing::{IndexingCounts, ItemRow, entry_key};

impl SessionProjection {
    pub(super) fn indexing(
        &self,
        fact: Indexing,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let mut counts = counts(changes)?;
        match fact {
            Indexing::Queued { at, items } => {
                for (name, kind, text) in items {
                    let row = ItemRow { kind, at, text, why: String::new() };
                    self.queue(changes, &mut counts, name, &row)?;
                }
            }
            Indexing::Indexed { at: _, names, entries } => {
                for (kind, id, text) in entries {
                    let name = DocumentName::of(&self.cipher, kind, &id);
                    let key = entry_key(&name);
                    // What is stored has its entry there.
                    if changes.get(&name.row_key())?.is_some() {
                        continue;
                    }
                    if changes.get(&key)?.is_none()
                        && let Some(count) = counts.entries.get_mut(usize::from(kind.code()))
                    {
                        *count += 1;
                    }
                    self.put(changes, key, text.as_bytes())?;
                }
                for name in names {
                    let key = ItemRow::queued_key(name);
                    if let Some(value) = changes.get(&key)? {
                        let row = ItemRow::open(&self.cipher, &key, value)?;
                        changes.remove(key);
                        counts.queued = counts.queued.saturating_sub(1);
                        counts.bytes = counts.bytes.saturating_sub(row.text.len() as u64);
                    }
                }
            }
            Indexing::Buried { at, name, why } => {
                let key = ItemRow::queued_key(name);
                let Some(value) = changes.get(&key)? else { return Ok(()) };
                let row = ItemRow { at, why, ..ItemRow::open(&self.cipher, &key, value)? };
                changes.remove(key);
                self.put(changes, ItemRow::dead_key(name), &row.encode())?;
                counts.queued = counts.queued.saturating_sub(1);
                counts.dead += 1;
            }
            Indexing::Revived { at, name } => {
                let key = ItemRow::dead_key(name);
                let Some(value) = changes.get(&key)? else { return Ok(()) };
                let row = ItemRow::open(&self.cipher, &key, value)?;
                let row = ItemRow { at, why: String::new(), ..row };
                changes.remove(key);
                counts.dead = counts.dead.saturating_sub(1);
                counts.bytes = counts.bytes.saturating_sub(row.text.len() as u64);
                self.queue(changes, &mut counts, name, &row)?;
            }
        }
        changes.put(IndexingCounts::key(), counts.encode());
        Ok(())
    }

    fn queue(
        &self,
        changes: &mut Changes<'_>,
        counts: &mut IndexingCounts,
        name: ItemName,
        row: &ItemRow,
    ) -> Result<(), StoreError> {
        let key = ItemRow::queued_key(name);
        if changes.get(&key)?.is_none() {
            counts.queued += 1;
            counts.bytes += row.text.len() as u64;
        }
        self.put(changes, key, &row.encode())
    }

    /// What was indexed of a document before it was stored has its entry in the document from then on.
    pub(super) fn drop_entry(
        &self,
        changes: &mut Changes<'_>,
        name: &DocumentName,
    ) -> Result<(), StoreError> {
        let key = entry_key(name);
        if changes.get(&key)?.is_none() {
            return Ok(());
        }
        changes.remove(key);
        let mut counts = counts(changes)?;
        if let Some(count) = counts.entries.get_mut(usize::from(name.kind.code())) {
            *count = count.saturating_sub(1);
        }
        changes.put(IndexingCounts::key(), counts.encode());
        Ok(())
    }
}

fn counts(changes: &Changes<'_>) -> Result<IndexingCounts, StoreError> {
    let row = changes.get(&IndexingCounts::key())?;
    Ok(row.map(|row| IndexingCounts::decode(&row)).transpose()?.unwrap_or_default())
}
