//! Chunks are kept here. As records: where they are put, how a commit names them, and how their units are made anew.
//!
//! Records lie in *units*: for files a unit is a segment, for an object store it is an object. What a unit's
//! number and a place in it mean is the back-end's business alone. A unit that never changes any more has
//! *ended*; it goes when another one, made of its records that still count, *stands for* it.

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::contract::fact_log::Place;
use crate::contract::index::Changes;
use crate::frame::{self, HEADER_BYTES, Header, Record};
use crate::{CommitError, Damage, StoreError};

/// Where a chunk's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The number of its unit.
    pub unit: u32,
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
    /// The place alone, as facts name it: the unit, and where in it.
    pub fn place(&self) -> (u32, u64) {
        (self.unit, self.offset)
    }

    /// Bytes of the record, header and payload.
    pub fn record_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.stored_length)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u32(self.unit).u64(self.offset).u32(self.stored_length).u32(self.plain_length);
        to.u8(u8::from(self.encrypted));
        to.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let placement = Self {
            unit: from.u32("unit")?,
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

/// Chunks of one unit with their places, as a commit carries them: without the unit, which it names once.
pub(crate) fn encode_places(places: &[(ChunkName, Placement)]) -> Vec<u8> {
    let mut to = Writer::new();
    to.count(places.len());
    for (name, at) in places {
        to.raw(name.as_bytes()).u64(at.offset).u32(at.stored_length).u32(at.plain_length);
        to.u8(u8::from(at.encrypted));
    }
    to.finish()
}

/// Reads [`encode_places`] of this unit.
pub(crate) fn decode_places(
    unit: u32,
    from: &mut Reader<'_>,
) -> Result<Vec<(ChunkName, Placement)>, WireFault> {
    let mut places = Vec::new();
    for _ in 0..from.u32("places")? {
        let name = ChunkName::new(from.array("name")?);
        let placement = Placement {
            unit,
            offset: frame::number(from, "offset")?,
            stored_length: from.u32("stored length")?,
            plain_length: from.u32("plain length")?,
            encrypted: flag(from.u8("encrypted")?)?,
        };
        places.push((name, placement));
    }
    Ok(places)
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

/// A record of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The chunk's name.
    pub name: ChunkName,
    /// The record's sequence: of two copies of a chunk, the one with the higher is the later.
    pub sequence: u64,
    /// Where and how large it is.
    pub placement: Placement,
}

/// A unit that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Bytes that are free once it is removed.
    pub bytes: u64,
    /// Bytes of its records, whether or not they still count, without what lists them.
    pub records_bytes: u64,
    /// Its records, in any order.
    pub entries: Vec<Entry>,
}

/// A unit, as far as it may be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitState {
    /// It never changes any more.
    Ended(Unit),
    /// It is not at its end yet, or none that a commit has named: nothing to be done about it.
    Open,
    /// It is damaged, or another store's, so that nobody knows what is in it.
    Damaged,
}

/// What a unit says of itself that was made of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Every unit that it stands for, those included that its own sources had stood for. None where it was
    /// written as chunks came.
    pub replaces: Vec<u32>,
    /// The zstd level that all of its records were packed at, at least; zero when they are as they came.
    pub level: u8,
}

/// What is found in a unit that is read again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its records, in any order.
    pub chunks: Vec<(ChunkName, Placement)>,
    /// What is wrong with the unit itself.
    pub damage: Vec<Damage>,
}

/// A unit that has to be there, and that [`Blobs::numbers`] does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// It is there after all.
    There,
    /// It is not found, and may be found later: nobody says yet that it is lost.
    NotNow,
    /// It is lost.
    Lost,
}

/// How a unit came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// Of chunks, as they came: it counts once a commit names it.
    Written,
    /// Of records of other units: it counts once a fact says that it stands for them.
    Made,
}

/// Units as wholes, to be looked at: what facts about them mean for rows depends on it.
pub trait Units: Send + Sync {
    /// How a unit with this number came to be; `None` for numbers that no unit gets.
    fn kind(&self, unit: u32) -> Option<UnitKind>;

    /// The records of a unit that has ended, as far as they can be read; `None` when it is not there, or no part
    /// of this store.
    fn entries(&self, unit: u32) -> Result<Option<Vec<Entry>>, StoreError>;

    /// The sequence of the record of a chunk at a place, if that can be read.
    fn sequence(&self, name: &ChunkName, at: &Placement) -> Result<Option<u64>, StoreError>;
}

/// Keeps chunk records.
///
/// Every back-end promises:
///
/// - **What is settled is durable**, whole, and never changes. Until then a crash may leave all of it, some of it
///   or nothing, and a reader is told where some is missing: no other bytes come out than went in.
/// - **What is taken back is gone**: no reader finds it, and no commit names it. Where its place may be another's, as
///   in a file that is written on, it is gone durably, and what cannot be taken back so is [`CommitError::Broken`]:
///   nothing is written any more. A back-end that never gives out a place again may leave bytes behind, since nothing
///   leads to them: a store elsewhere cannot be made to forget while it does not answer, and writing need not end for
///   that.
/// - **A record's name is what it was written under.** Reading asks for both name and place, and another record
///   in the place is damage.
/// - **A number is one unit's for ever**: also when that unit was removed, no other gets it that a fact could
///   take for it.
pub trait Blobs: Units {
    /// How many of these records go into one unit with one [`Blobs::write`]: none when the open unit is full, and
    /// has to end first.
    fn fits(&self, records: &[Record]) -> usize;

    /// Refuses so many bytes of records that are to be added where they would take the room that what gives some
    /// back needs ([`CommitError::Full`]). What cannot run out of room refuses nothing.
    fn room(&self, bytes: u64) -> Result<(), CommitError>;

    /// Writes records that fit, in order. They count once a commit names them. They are handed over to be
    /// changed: the back-end gives each its sequence (`header.sequence`, higher than all before), and takes the
    /// extent's digest of the headers afterwards.
    fn write(&self, records: &mut [Record]) -> Result<Written, CommitError>;

    /// Makes durable what was written. The log calls it when it commits ([`FactLog::commit`]): it decides
    /// whether chunks are settled before its own record, or beside it.
    ///
    /// [`FactLog::commit`]: super::fact_log::FactLog::commit
    fn settle(&self, written: &Written) -> Result<(), CommitError>;

    /// Takes back what was written last: no commit names it.
    fn take_back(&self, written: &Written) -> Result<(), CommitError>;

    /// Ends the open unit, which never changes from then on, if it is full or has to be ended `now`. What was
    /// settled in it stays whether or not that works.
    fn end(&self, now: bool) -> Result<(), CommitError>;

    /// A commit is in the log, and its rows are written with these changes: a back-end that has to know at its next
    /// opening how far commits name its units notes that here. Of the chunks it names, it is told where they are and
    /// how many.
    fn note(&self, _named: Option<(&Extent, usize)>, _changes: &mut Changes<'_>) {}

    /// Where the records are that a commit names. What cannot be read of them has no place.
    fn places(&self, extent: &Extent) -> Result<Vec<(ChunkName, Placement)>, StoreError>;

    /// Reads the record of a chunk in one piece, not opened yet. What is not as the placement says is damage; whether
    /// the payload is the one that its header names is for who opens it.
    fn read(
        &self,
        name: &ChunkName,
        placement: &Placement,
    ) -> Result<(Header, Vec<u8>), StoreError>;

    /// What people know a unit by.
    fn title(&self, unit: u32) -> String;

    /// The place that damage is in, if it is in a unit.
    fn place_of(&self, damage: &Damage) -> Option<(u32, u64)>;

    /// The unit that is being added to, and how many bytes it has; none where every write is a unit of its own.
    fn open_unit(&self) -> Result<Option<(u32, u64)>, StoreError>;

    /// The units that are there, ascending, those that are only being made included.
    fn numbers(&self) -> Result<Vec<u32>, StoreError>;

    /// Numbers from one to this were all given out, so a unit that is not there and was not replaced is lost.
    /// Zero where gaps mean nothing.
    fn begun(&self) -> u32;

    /// Looks once more for a unit that has to be there, and that [`Blobs::numbers`] does not have. One that loses sight
    /// of units for a while says that one is lost only when it has missed it twice, hours apart.
    fn look_again(&self, _unit: u32) -> Result<Missed, StoreError> {
        Ok(Missed::Lost)
    }

    /// Bytes of all units.
    fn bytes(&self) -> Result<u64, StoreError>;

    /// How many records a unit may have that is made of others.
    fn records_max(&self) -> usize;

    /// How many bytes of records are put together into one unit that is made of others, or a unit more: a back-end that
    /// writes it in one piece has them in memory until then.
    fn draft_bytes(&self) -> u64;

    /// Looks at a unit.
    fn state(&self, unit: u32) -> Result<UnitState, StoreError>;

    /// What a unit was made of, or what is wrong with it instead.
    fn origin(&self, unit: u32) -> Result<Result<Origin, Damage>, StoreError>;

    /// What is in a unit, ended or not, from a place in it on, for a scrub, which reads everything again; or
    /// why that cannot be told, when the unit is not there or cannot be opened.
    fn contents(&self, unit: u32, from: u64) -> Result<Result<Contents, Damage>, StoreError>;

    /// Begins a unit of other units' records, with a number behind all that there are and behind this one. Until
    /// a fact says that it stands for them, it counts for nothing.
    fn begin(&self, behind: u32, origin: Origin) -> Result<Box<dyn NewUnit>, StoreError>;

    /// Notes, durably and where every machine sees it that opens this store, that the log has come to a place. Where
    /// chunks are on the disk of the one machine that writes, nobody else has to know, and nothing is noted.
    fn mark(&self, _place: &Place) -> Result<(), StoreError> {
        Ok(())
    }

    /// The highest place that was noted: the highest number of the highest incarnation.
    fn marked(&self) -> Result<Option<Place>, StoreError> {
        Ok(None)
    }

    /// Whether other processes may write units, too, as far as this one knows. Then units can be left over that no
    /// commit names, and are never told from those that one is about to name, but by a line ([`Blobs::rise`]); and
    /// units that were replaced are still there for a while.
    fn is_shared(&self) -> bool {
        false
    }

    /// Up to where numbers were given out, to this process or another: a unit that is begun by a process which takes
    /// its numbers after this has a higher one.
    fn taken(&self) -> Result<u32, StoreError> {
        Ok(0)
    }

    /// From here on no unit that is begun here has a number up to this line.
    fn rise(&self, _line: u32) {}

    /// Whether a unit's number is above a line, however the unit came to be.
    fn is_above(&self, _unit: u32, _line: u32) -> bool {
        true
    }

    /// Removes units that others stand for, or that never came to count. What another store owns stays.
    fn remove(&self, units: &[u32]) -> Result<(), StoreError>;
}

/// A unit that is being made of other units' records. Dropped before it is finished, it counts for nothing, and
/// the caller that made it removes it.
pub trait NewUnit: Send {
    /// Its number.
    fn number(&self) -> u32;

    /// Adds a record, with the sequence that it has.
    fn add(&mut self, header: &Header, payload: &[u8]) -> Result<(), StoreError>;

    /// Ends it, durably, and says how many bytes it has.
    fn finish(self: Box<Self>) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn placements_read_back_and_nothing_else_does(
            unit: u32, offset in 0..frame::NUMBER_MAX, stored_length: u32, plain_length: u32,
            encrypted: bool,
            noise in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let placement = Placement { unit, offset, stored_length, plain_length, encrypted };
            let bytes = placement.encode();
            prop_assert_eq!(Placement::decode(&bytes), Ok(placement));
            prop_assert!(Placement::decode(&bytes[1..]).is_err());
            if let Ok(read) = Placement::decode(&noise) {
                prop_assert_eq!(read.encode(), noise);
            }
        }
    }
}
