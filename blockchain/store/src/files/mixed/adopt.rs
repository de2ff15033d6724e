//! Units of chunks whose commits are missing from a log in files: it was damaged, or its end is lost and that accepted.
//! Facts that are left may refer to their chunks, and only the commits said where they are.
//!
//! Each is named once more, by a commit of its own. So the log is whole again, and every start after this one finds the
//! same, without asking what is there.

use lucid_core::digest::ChunkName;

use crate::contract::blobs::{Blobs, Contents, Extent, Placement, UnitKind, Written};
use crate::contract::fact_log::{Appended, Unsettled};
use crate::contract::index::{Changes, Index};
use crate::files::{ToRecover, segment_rows};
use crate::frame::HeadersDigest;
use crate::vault::{Followed, chunk_rows, unit_rows};
use crate::{CommitError, StoreError};

/// Takes in every unit that is there and has chunks of which the index knows nothing. A store that is only read gets
/// the rows alone.
pub(super) fn adopt(parts: ToRecover<'_>, into: &mut Followed) -> Result<(), StoreError> {
    let ToRecover { disk, index, .. } = parts;
    let blobs = into.blobs.clone();
    let is_writable = disk.only_read().is_none();
    for unit in blobs.numbers()? {
        // What was made of others is named by a fact, and the units that it stands for say which.
        if blobs.kind(unit) != Some(UnitKind::Written) || unit_rows::is_retired(index, unit)? {
            continue;
        }
        let Some(written) = unknown(blobs.as_ref(), index, unit, into)? else { continue };
        tracing::warn!(unit = blobs.title(unit), "chunks are taken in without their commit");
        let mut changes = Changes::new(index);
        if is_writable {
            let unsettled = Unsettled { blobs: blobs.as_ref(), written: &written };
            into.log.ready().map_err(failed())?;
            match into.log.commit(&into.at, &mut [], Some(unsettled)).map_err(failed())? {
                Appended::Here(at) => into.at = at,
                Appended::Overtaken => return Err(failed()(CommitError::Overtaken(Vec::new()))),
            }
            into.at.note(&mut changes);
        }
        for (name, place) in &written.places {
            chunk_rows::place(&mut changes, name, place);
        }
        changes.write()?;
    }
    if is_writable {
        let mut changes = Changes::new(index);
        segment_rows::forget_commits_missing(&mut changes);
        changes.write()?;
    }
    Ok(())
}

fn failed() -> impl FnOnce(CommitError) -> StoreError {
    StoreError::commit("taking in chunks whose commits are missing")
}

/// The chunks of a unit that the index knows nothing of, as a commit names them; each was read, and is whole.
fn unknown(
    blobs: &dyn Blobs,
    index: &dyn Index,
    unit: u32,
    into: &mut Followed,
) -> Result<Option<Written>, StoreError> {
    let Contents { mut chunks, damage } = match blobs.contents(unit, 0)? {
        Ok(contents) => contents,
        Err(damage) => {
            into.damage.push(damage);
            return Ok(None);
        }
    };
    into.damage.extend(damage);
    let mut places: Vec<(ChunkName, Placement)> = Vec::new();
    for (name, place) in &chunks {
        if chunk_rows::placement(index, name)?.is_none() {
            places.push((*name, *place));
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    chunks.sort_by_key(|(_, place)| place.offset);
    let mut digest = HeadersDigest::new();
    let (mut first_sequence, mut end) = (None, 0);
    for (name, place) in &chunks {
        match blobs.read(name, place) {
            Ok((header, payload)) if header.matches(&payload) => {
                first_sequence.get_or_insert(header.sequence);
                digest.add(&header);
                end = place.offset + place.record_bytes();
            }
            Ok(_) | Err(StoreError::Damaged(_)) => places.retain(|(_, at)| at != place),
            Err(error) => return Err(error),
        }
    }
    let from = chunks.first().map_or(0, |(_, place)| place.offset);
    let first_sequence = first_sequence.unwrap_or(0);
    let extent = Extent { unit, from, to: end, digest: digest.finish(), first_sequence };
    Ok((!places.is_empty()).then_some(Written { extent, places }))
}
