//! Chunk records: where they are put, and how a commit names them.
//!
//! Records lie in *units*: for files a unit is a segment, for an object store it is an object. What a unit's
//! number and a place in it mean is the back-end's business alone.

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::frame::{self, Header, Sealed};
use crate::{CommitError, StoreError};

/// Where a chunk's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The number of its unit.
    pub segment: u32,
    /// Where its record begins.
    pub offset: u64,
    /// Bytes of the payload as stored.
    pub stored_length: u32,
    /// Bytes of the chunk.
    pub plain_length: u32,
    /// Whether the payload is encrypted.
    pub encrypted: bool,
}

impl Placement {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.segment).u64(self.offset).u32(self.stored_length).u32(self.plain_length);
        to.u8(u8::from(self.encrypted));
        to.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let placement = Self {
            segment: from.u32("segment")?,
            offset: frame::number(&mut from, "offset")?,
            stored_length: from.u32("stored length")?,
            plain_length: from.u32("plain length")?,
            encrypted: flag(from.u8("encrypted")?)?,
        };
        from.finish()?;
        Ok(placement)
    }
}

/// A yes or a no, and nothing else: one value has one encoding.
pub(crate) fn flag(byte: u8) -> Result<bool, WireFault> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireFault::Invalid { what: "yes or no" }),
    }
}

/// The records of one commit, as it names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The unit they are in.
    pub unit: u32,
    /// Where the first record begins in it.
    pub from: u64,
    /// Where the last one ends.
    pub to: u64,
    /// BLAKE3 of their headers, in order.
    pub digest: [u8; 32],
    /// The sequence of the first record.
    pub first_sequence: u64,
}

/// Chunks that were written for one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What the commit says of them.
    pub extent: Extent,
    /// Where each of them is, in order.
    pub places: Vec<(ChunkName, Placement)>,
}

/// Keeps chunk records.
///
/// Every back-end promises:
///
/// - **What is settled is durable**, whole, and never changes. Until then a crash may leave all of it, some of it
///   or nothing, and whoever reads it is told where that is so: no other bytes come out than went in.
/// - **What is taken back is gone**, durably, and its place may be another's. What cannot be taken back is
///   [`CommitError::Broken`], and nothing is written any more.
/// - **A record's name is what it was written under.** Reading asks for both name and place, and another record
///   in the place is damage.
pub trait Blobs: Send + Sync {
    /// How many of these records go into one unit with one [`Blobs::write`]: none when the open unit is full, and
    /// has to be sealed first.
    fn fits(&self, records: &[Sealed]) -> usize;

    /// Writes records that fit, in order. They count once a commit names them.
    fn write(&self, records: &mut [Sealed]) -> Result<Written, CommitError>;

    /// Makes durable what was written.
    fn settle(&self, written: &Written) -> Result<(), CommitError>;

    /// Takes back what was written last: no commit names it.
    fn take_back(&self, written: &Written) -> Result<(), CommitError>;

    /// Ends the open unit, which never changes from then on, if it is full or has to be ended `now`. What was
    /// settled in it stays whether or not that works.
    fn seal(&self, now: bool) -> Result<(), CommitError>;

    /// Where the records are that a commit names. What cannot be read of them has no place.
    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError>;

    /// Reads the record of a chunk in one piece, not opened yet. What is not as the placement says is damage.
    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn placements_read_back_and_nothing_else_does(
            segment: u32, offset in 0..frame::NUMBER_MAX, stored_length: u32, plain_length: u32,
            encrypted: bool,
            noise in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let placement = Placement { segment, offset, stored_length, plain_length, encrypted };
            let bytes = placement.encode();
            prop_assert_eq!(Placement::decode(&bytes), Ok(placement));
            prop_assert!(Placement::decode(&bytes[1..]).is_err());
            if let Ok(read) = Placement::decode(&noise) {
                prop_assert_eq!(read.encode(), noise);
            }
        }
    }
}
