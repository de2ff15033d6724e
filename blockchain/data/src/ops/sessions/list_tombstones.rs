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

/// Tombstones that one request looks at.
const LOOKED_AT_MAX: usize = 16_384;
/// Of these, in one go.
const BATCH: usize = 256;

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
    let mut to = cursor.map_or_else(|| end.clone(), |cursor| end.clone().min(cursor.to_vec()));
    let (mut tombstones, mut looked_at) = (Vec::new(), 0);
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, true)?;
        let is_last = rows.len() < BATCH;
        looked_at += rows.len();
        for (key, _) in rows {
            to.clone_from(&key);
            let Some(name) = row::name_in(&key) else { continue };
            let tombstone = row::tombstone(vault.index(), vault.cipher(), &name)?;
            tombstones.extend(tombstone.filter(|row| sight.sees_removed(&row.id)));
            // Behind one that is seen: whether others follow that are not is nobody's to learn.
            if tombstones.len() == limit {
                return Ok(TombstonePage { tombstones, next: Some(to) });
            }
        }
        if is_last {
            return Ok(TombstonePage { tombstones, next: None });
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok(TombstonePage { tombstones, next: Some(to) });
        }
    }
}
