//! The rows that the vault itself keeps in an index: where a chunk is, and whether that copy is damaged.

use lucid_core::digest::ChunkName;

use crate::StoreError;
use crate::contract::blobs::Placement;
use crate::contract::index::{Changes, Index};
use crate::registry::vault::key::{CHUNK, QUARANTINE};
use crate::vault::unit_rows::is_retired_in;

fn chunk_key(prefix: u8, name: &ChunkName) -> Vec<u8> {
    [&[prefix], name.as_bytes().as_slice()].concat()
}

/// Where a chunk is, unless it is unknown.
pub fn placement(index: &dyn Index, name: &ChunkName) -> Result<Option<Placement>, StoreError> {
    index.get(&chunk_key(CHUNK, name))?.map(|value| read_placement(&value)).transpose()
}

/// So many chunks at most in the order of their names, behind one: where each is.
pub fn page(
    index: &dyn Index,
    behind: Option<&ChunkName>,
    limit: usize,
) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
    // Behind a key comes the same with a zero at its end.
    let from =
        behind.map_or_else(|| vec![CHUNK], |name| [chunk_key(CHUNK, name), vec![0]].concat());
    let rows = index.scan(&from, &[CHUNK + 1], limit, false)?;
    rows.into_iter()
        .map(|(key, value)| {
            let name = key.get(1..).and_then(|name| <[u8; 32]>::try_from(name).ok());
            let name = name.ok_or_else(|| StoreError::Index("a chunk's row has no name".into()))?;
            Ok((ChunkName::new(name), read_placement(&value)?))
        })
        .collect()
}

/// Where a chunk will be, unless it is unknown.
pub fn placement_in(
    changes: &Changes<'_>,
    name: &ChunkName,
) -> Result<Option<Placement>, StoreError> {
    changes.get(&chunk_key(CHUNK, name))?.map(|value| read_placement(&value)).transpose()
}

fn read_placement(value: &[u8]) -> Result<Placement, StoreError> {
    Placement::decode(value).map_err(|fault| StoreError::Index(format!("a chunk's row: {fault}")))
}

/// Notes where a chunk is. A fresh copy heals: it ends the quarantine of the name.
pub fn place(changes: &mut Changes<'_>, name: &ChunkName, placement: &Placement) {
    changes.put(chunk_key(CHUNK, name), placement.encode());
    changes.remove(chunk_key(QUARANTINE, name));
}

/// Whether a chunk's only copy is known to be damaged.
pub fn is_quarantined(index: &dyn Index, name: &ChunkName) -> Result<bool, StoreError> {
    Ok(index.get(&chunk_key(QUARANTINE, name))?.is_some())
}

/// Notes that the copy at this place is damaged, unless a newer copy has taken its place.
pub fn quarantine(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    place: (u32, u64),
) -> Result<(), StoreError> {
    let known = placement_in(changes, name)?;
    if known.is_none_or(|known| known.place() == place) {
        changes.put(chunk_key(QUARANTINE, name), Vec::new());
    }
    Ok(())
}

/// Takes a chunk out of the index, if it is still at this place.
pub fn drop_chunk(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    place: (u32, u64),
) -> Result<(), StoreError> {
    let known = placement_in(changes, name)?;
    if known.is_some_and(|known| known.place() == place) {
        changes.remove(chunk_key(CHUNK, name));
        changes.remove(chunk_key(QUARANTINE, name));
    }
    Ok(())
}

/// Notes where a chunk has been copied to, unless the copy that is known is `newer` than the one that was
/// copied. Nothing is known of it when the file it was copied from had been removed before the index was
/// built.
pub fn move_chunk(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    to: &Placement,
    newer: impl FnOnce(&Placement) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let known = placement_in(changes, name)?;
    if known == Some(*to) {
        return Ok(());
    }
    if let Some(known) = known
        && !is_retired_in(changes, known.unit)?
        && newer(&known)?
    {
        return Ok(());
    }
    // What was said of another copy, be it gone, does not hold for this one.
    place(changes, name, to);
    Ok(())
}

/// Notes where a chunk is, of which the unit could not be read when its row should have been made.
/// Something may have been said of it since.
pub fn find_chunk(
    changes: &mut Changes<'_>,
    name: &ChunkName,
    at: &Placement,
    newer: impl FnOnce(&Placement) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    if changes.get(&chunk_key(CHUNK, name))?.is_some() {
        return move_chunk(changes, name, at, newer);
    }
    changes.put(chunk_key(CHUNK, name), at.encode());
    Ok(())
}

/// The chunks there are, from a name on and in the order of names.
pub fn chunks(
    index: &dyn Index,
    from: &ChunkName,
    limit: usize,
) -> Result<Vec<(ChunkName, Placement)>, StoreError> {
    let rows = index.scan(&chunk_key(CHUNK, from), &[CHUNK + 1], limit, false)?;
    rows.into_iter()
        .map(|(key, value)| {
            let name = key.last_chunk::<32>().copied().unwrap_or_default();
            Ok((ChunkName::new(name), read_placement(&value)?))
        })
        .collect()
}
