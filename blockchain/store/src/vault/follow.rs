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

/// Brings an index from one place of its log to the end, or one that has followed nothing yet, and says where that is:
/// `None` where nothing was found. What cannot be read or opened stops it: nothing is passed over, or copies would
/// differ for ever. `goes_on` hears how far it is, and ends it by `false` ([`StoreError::Stopped`]).
pub fn follow(
    log: &dyn FactLog,
    blobs: &dyn Blobs,
    index: &dyn Index,
    projection: &Projection,
    cipher: &Cipher,
    from: Option<&Position>,
    goes_on: &dyn Fn(Passed) -> bool,
) -> Result<Option<Position>, StoreError> {
    let mut follower = Follower::new(blobs, index, projection, cipher);
    log.replay(from, &mut |found, passed| {
        if !goes_on(passed) {
            return Err(StoreError::Stopped);
        }
        follower.take(found).map(|()| true)
    })?;
    follower.finish()
}

/// An index that takes in what it is shown, commit by commit.
pub(super) struct Follower<'a> {
    blobs: &'a dyn Blobs,
    index: &'a dyn Index,
    projection: &'a Projection,
    cipher: &'a Cipher,
    packer: Packer,
    /// Facts of a commit that is not there yet, each with its place.
    facts: Vec<(Vec<u8>, String, u64)>,
    end: Option<Position>,
}

impl<'a> Follower<'a> {
    /// Nothing is taken in yet.
    pub(super) fn new(
        blobs: &'a dyn Blobs,
        index: &'a dyn Index,
        projection: &'a Projection,
        cipher: &'a Cipher,
    ) -> Self {
        let (packer, facts) = (Packer::new(), Vec::new());
        Self { blobs, index, projection, cipher, packer, facts, end: None }
    }

    /// Takes in what comes next.
    pub(super) fn take(&mut self, found: Replayed) -> Result<(), StoreError> {
        match found {
            Replayed::Damaged(damage) => Err(StoreError::Damaged(damage)),
            Replayed::Fact { record, file, offset } => {
                let opened = self.cipher.open(&mut self.packer, &record.header, record.payload);
                let plain = opened.map_err(|why| why.at(&file, offset))?;
                self.facts.push((plain, file, offset));
                Ok(())
            }
            Replayed::Commit { chunks, places, position } => {
                let mut changes = Changes::new(self.index);
                for (fact, file, offset) in self.facts.drain(..) {
                    let applied = self.projection.apply(&fact, &mut changes);
                    applied.map_err(|error| standing_in(error, file, offset))?;
                }
                let places = match (places, &chunks) {
                    (Some(places), _) => places,
                    (None, Some(extent)) => self.blobs.places(extent)?,
                    (None, None) => Vec::new(),
                };
                self.blobs.note(chunks.as_ref().map(|extent| (extent, places.len())), &mut changes);
                for (name, place) in &places {
                    chunk_rows::place(&mut changes, name, place);
                }
                position.note(&mut changes);
                changes.write()?;
                self.end = Some(position);
                Ok(())
            }
        }
    }

    /// Where the index stands now, if it was shown any commit.
    pub(super) fn finish(self) -> Result<Option<Position>, StoreError> {
        if self.facts.is_empty() {
            return Ok(self.end);
        }
        Err(StoreError::Damaged(Damage::new("the log", 0, "it ends in facts without a commit")))
    }
}

/// Names the place of a fact that is not understood.
fn standing_in(error: StoreError, file: String, offset: u64) -> StoreError {
    match error {
        StoreError::Damaged(damage) => StoreError::Damaged(Damage { file, offset, ..damage }),
        error => error,
    }
}
