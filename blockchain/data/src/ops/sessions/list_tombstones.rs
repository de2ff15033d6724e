//! Lists the sessions that were removed, the last one first.

use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::sight::Sight;
use crate::row::{self, TombstoneRow};

/// A page of tombstones, and the cursor of the next page if there is more.
#[derive(Debug, Clone)]
pub struct TombstonePage {
    /// The tombstones.
    pub tombstones: Vec<TombstoneRow>,
    /// Where the next page begins.
    pub next: Option<Vec<u8>>,
}

/// Up to `limit` tombstones from behind `cursor`; a page may be short, even empty, and yet have a next one.
pub fn list_tombstones(
    vault: &Vault,
    sight: &Sight,
    limit: usize,
    cursor: Option<&[u8]>,
) -> Result<TombstonePage, OpError> {
    let (from, end) = row::removal_range();
    let is_row = |key: &[u8]| {
        key.len() == from.len() + 8 + 16 && key >= from.as_slice() && key < end.as_slice()
    };
    if cursor.is_some_and(|cursor| !is_row(cursor)) {
        return Err(OpError::Invalid("cursor is not one of an earlier page".into()));
    }
    let to = cursor.map_or_else(|| end.clone(), |cursor| end.clone().min(cursor.to_vec()));
    let rows = vault.index().scan(&from, &to, limit, true)?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| key.clone());
    let mut tombstones = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let Some(name) = row::name_in(&key) else { continue };
        let tombstone = row::tombstone(vault.index(), vault.cipher(), &name)?;
        tombstones.extend(tombstone.filter(|row| sight.sees_removed(&row.id)));
    }
    Ok(TombstonePage { tombstones, next })
}
