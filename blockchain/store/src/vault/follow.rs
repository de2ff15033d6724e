//! Follows a log: what it holds becomes rows.
//!
//! For back-ends that lose nothing by promise. Files may lose and tear, and have a recovery of their own.

use crate::codec::Packer;
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{FactLog, Passed, Position, Replayed};
use crate::contract::index::{Changes, Index};
use crate::crypt::Cipher;
use crate::vault::chunk_rows;
use crate::vault::projection::Projection;
use crate::{Damage, StoreError};

/// Brings an index from one place of its log to the end, and says where that is. What cannot be read or opened
/// stops it: nothing is passed over, or copies would differ for ever. `goes_on` hears how far it is, and ends it by
/// `false` ([`StoreError::Stopped`]).
pub fn follow(
    log: &dyn FactLog,
    blobs: &dyn Blobs,
    index: &dyn Index,
    projection: &Projection,
    cipher: &Cipher,
    from: &Position,
    goes_on: &dyn Fn(Passed) -> bool,
) -> Result<Position, StoreError> {
    let mut packer = Packer::new();
    let mut end = from.clone();
    let mut facts = Vec::new();
    log.replay(Some(from), &mut |found, passed| {
        if !goes_on(passed) {
            return Err(StoreError::Stopped);
        }
        match found {
            Replayed::Damaged(damage) => return Err(StoreError::Damaged(damage)),
            Replayed::Fact { record, file, offset } => {
                let opened = cipher.open(&mut packer, &record.header, record.payload);
                facts.push(opened.map_err(|why| why.at(&file, offset))?);
            }
            Replayed::Commit { chunks, places, position } => {
                let mut changes = Changes::new(index);
                for fact in facts.drain(..) {
                    projection.apply(&fact, &mut changes)?;
                }
                let places = match (places, &chunks) {
                    (Some(places), _) => places,
                    (None, Some(extent)) => blobs.places(extent)?,
                    (None, None) => Vec::new(),
                };
                blobs.note(chunks.as_ref().map(|extent| (extent, places.len())), &mut changes);
                for (name, place) in &places {
                    chunk_rows::place(&mut changes, name, place);
                }
                position.note(&mut changes);
                changes.write()?;
                end = position;
            }
        }
        Ok(true)
    })?;
    if facts.is_empty() {
        return Ok(end);
    }
    Err(StoreError::Damaged(Damage::new("the log", 0, "it ends in facts without a commit")))
}
