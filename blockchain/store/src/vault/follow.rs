//! Follows a log: what it holds becomes rows.
//!
//! For back-ends that lose nothing by promise. Files may lose and tear, and have a recovery of their own.

use crate::codec::Packer;
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{FactLog, Position, Replayed};
use crate::contract::index::{Changes, Index};
use crate::crypt::Cipher;
use crate::vault::chunk_rows;
use crate::vault::projection::Projection;
use crate::{Damage, StoreError};

/// What is followed, and what follows.
pub struct Following<'a> {
    /// The log.
    pub log: &'a dyn FactLog,
    /// The chunks that its commits name.
    pub blobs: &'a dyn Blobs,
    /// The rows.
    pub index: &'a dyn Index,
    /// Makes them of facts.
    pub projection: &'a Projection,
    /// Opens facts.
    pub cipher: &'a Cipher,
}

/// Brings an index from one place of its log to the end, and says where that is. What cannot be read or opened
/// stops it: nothing is passed over, or copies would differ for ever.
pub fn follow(
    log: &dyn FactLog,
    blobs: &dyn Blobs,
    index: &dyn Index,
    projection: &Projection,
    cipher: &Cipher,
    from: &Position,
) -> Result<Position, StoreError> {
    follow_watched(Following { log, blobs, index, projection, cipher }, from, &|_, _| true)
}

/// The same. `progress` hears with every commit how many bytes of the log, of how many, are read, and ends it by
/// `false` ([`StoreError::Stopped`]): the rows are those up to some commit, from which the next one goes on.
pub fn follow_watched(
    following: Following<'_>,
    from: &Position,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Position, StoreError> {
    let Following { log, blobs, index, projection, cipher } = following;
    let mut packer = Packer::new();
    let mut end = from.clone();
    let mut facts = Vec::new();
    let is_whole = log.replay(Some(from), &mut |found, passed| {
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
                let places = match (places, chunks) {
                    (Some(places), _) => places,
                    (None, Some(extent)) => blobs.places(&extent)?,
                    (None, None) => Vec::new(),
                };
                for (name, place) in &places {
                    chunk_rows::place(&mut changes, name, place);
                }
                position.note(&mut changes);
                changes.write()?;
                end = position;
                return Ok(progress(passed.done, passed.total));
            }
        }
        Ok(true)
    })?;
    if !is_whole {
        return Err(StoreError::Stopped);
    }
    if facts.is_empty() {
        return Ok(end);
    }
    Err(StoreError::Damaged(Damage::new("the log", 0, "it ends in facts without a commit")))
}
