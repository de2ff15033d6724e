//! The log of facts: one order for everybody.

mod frames;
mod place;
pub mod snapshot;

use lucid_core::digest::ChunkName;

use crate::contract::blobs::{Blobs, Extent, Placement, Written};
use crate::contract::index::{Changes, Index};
use crate::frame::{Header, Record};
use crate::registry::vault::key::POSITION;
use crate::{CommitError, Damage, StoreError};

use snapshot::Snapshots;

pub use frames::frames;
pub(crate) use frames::read_frames;
pub(crate) use place::gone;
pub use place::{Incarnation, Place, Told};

/// A place in a log, behind a commit. What its bytes say is the back-end's business alone; equal places have
/// equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(Vec<u8>);

/// The key of the row that says up to where an index has followed its log.
const ROW: [u8; 1] = [POSITION];

impl Position {
    /// The place with these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Up to where an index has followed its log; `None` for one that has not begun to.
    pub fn of(index: &dyn Index) -> Result<Option<Self>, StoreError> {
        Ok(index.get(&ROW)?.map(Self))
    }

    /// Notes that an index has followed its log up to here, in the batch that brought it here.
    pub fn note(&self, changes: &mut Changes<'_>) {
        changes.put(ROW.to_vec(), self.0.clone());
    }
}

/// Chunks that were written for a commit, and may not be durable yet.
#[derive(Clone, Copy)]
pub struct Unsettled<'a> {
    /// Where they were written.
    pub blobs: &'a dyn Blobs,
    /// Which they are.
    pub written: &'a Written,
}

impl Unsettled<'_> {
    /// Makes them durable.
    pub fn settle(&self) -> Result<(), CommitError> {
        self.blobs.settle(self.written)
    }
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is there, durable with all that it names, and the log ends here.
    Here(Position),
    /// Another writer's commit is already behind the place that this one was to follow. This one surely did not
    /// happen.
    Overtaken,
}

/// Whether an index can follow its log from where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// What comes behind its place is what comes behind what it has taken in.
    GoesOn,
    /// Not from there, and nothing is wrong: the index is to be made anew from what the log has. Why, as a sentence
    /// without a full stop.
    Anew(String),
}

/// What is found when a log is gone through.
#[derive(Debug)]
pub enum Replayed {
    /// A fact, not opened yet, of the commit that follows.
    Fact {
        /// The fact.
        record: Record,
        /// The file it is in, for a caller that has to name the place.
        file: String,
        /// Its offset in that file.
        offset: u64,
    },
    /// The facts since the one before were committed. One may stand for several of which only some facts are
    /// left; of their chunks it says nothing.
    Commit {
        /// The chunks it names.
        chunks: Option<Extent>,
        /// Where each of them is, where the commit itself says so: then nobody has to read their unit.
        places: Option<Vec<(ChunkName, Placement)>>,
        /// The place behind it.
        position: Position,
    },
    /// Something cannot be read here, and may have been a fact.
    Damaged(Damage),
}

/// What is found when records are read again, each on its own: those of commits, too.
#[derive(Debug)]
pub enum Reread<'a> {
    /// A record, not opened yet.
    Record {
        /// Its header.
        header: Header,
        /// Its payload, or why that cannot be had.
        payload: Result<Vec<u8>, &'static str>,
        /// The file it is in, for a caller that has to name the place.
        file: &'a str,
        /// Its offset in that file.
        offset: u64,
    },
    /// Something is missing, or cannot be read.
    Damaged(Damage),
}

/// How far the reading of a log has come, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// What is done.
    pub done: u64,
    /// What there is.
    pub total: u64,
}

/// What condensing a log did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condensed {
    /// Parts that were written anew.
    pub logs_rewritten: u64,
    /// Facts that went.
    pub facts_removed: u64,
    /// By how much the log got smaller.
    pub bytes_freed: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// How a log is to be condensed.
pub struct Condensing<'a> {
    /// Whether a fact, which is told with its place, still matters.
    pub matters: &'a dyn Fn(&Record, &str, u64) -> Result<bool, StoreError>,
    /// Whether a unit is one that none stands for: then the places that commits name in it still matter.
    pub stands: &'a dyn Fn(u32) -> Result<bool, StoreError>,
    /// Has a commit follow in a new part, so that the one before it can be condensed, too; and an index that
    /// stood in it stand behind it, durably.
    pub go_on_behind: &'a mut dyn FnMut() -> Result<(), StoreError>,
    /// Hears how many bytes, of how many, have been gone through; `false` stops it.
    pub step: &'a mut dyn FnMut(u64, u64) -> bool,
}

/// Keeps facts, in commits.
///
/// Every back-end promises:
///
/// - **One order.** Commits follow each other; of any number that are to follow the same place one does, and the
///   others are told [`Appended::Overtaken`].
/// - **All or nothing.** A commit is there with all of its facts and all chunks it names, durable, or not at all;
///   what is there is never another's, and never changes its place.
/// - **Which order of writing and settling that takes is the log's to say**: it is given the chunks unsettled, and
///   settles them itself, before or beside its own.
/// - **An error says what happened.** [`CommitError::maybe_applied`] tells one that may have happened from one that
///   surely did not. Of the latter nothing is left, but the chunks, which the caller takes back.
pub trait FactLog: Send + Sync {
    /// Makes sure that a commit can follow, before its chunks are written.
    fn ready(&self) -> Result<(), CommitError>;

    /// Refuses so many bytes of facts that are to be added where they would take the room that what gives some
    /// back needs ([`CommitError::Full`]). A log that cannot run out of room refuses nothing.
    fn room(&self, bytes: u64) -> Result<(), CommitError>;

    /// Appends a commit behind `after`.
    fn commit(
        &self,
        after: &Position,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError>;

    /// Has the next commit begin a new part of the log, so that those before it can be gone through and condensed.
    fn begin_part(&self) -> Result<(), CommitError>;

    /// Its snapshots, where it keeps any.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// Shows what is behind a place, or all there is, in order, until `false` is answered; whether all was shown. All
    /// there is begins with what the newest snapshot has, if there is one.
    fn replay(
        &self,
        after: Option<&Position>,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError>;

    /// Reads records again, from a place on that was answered before or from `(0, 0)`, until `false` is answered
    /// behind one of them; then says where to go on. `None` at the end.
    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError>;

    /// Whether an index that stands here can follow. Where what stood there is gone, and nobody accepted that, it is an
    /// error that names both places ([`StoreError::Folder`]): the log was put back to older data, or is another one.
    fn following(&self, _at: &Position) -> Result<Following, StoreError> {
        Ok(Following::GoesOn)
    }

    /// The place of a log of numbered commits that others may write to, too; `None` for any other log.
    fn place(&self, _at: &Position) -> Result<Option<Place>, StoreError> {
        Ok(None)
    }

    /// Whether the commit with the place's number has its digest; `None` where there is no commit of that number.
    fn has(&self, _place: &Place) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }

    /// Appends a commit that begins a new incarnation: what was lost before it is accepted as lost. An index that
    /// stands at a place that is gone is made anew from then on ([`Following::Anew`]).
    fn begin_incarnation(&self, _after: &Position) -> Result<Appended, CommitError> {
        Err(CommitError::Failed("this log has one history alone: nothing can begin another".into()))
    }

    /// Whether this place is in front of every commit.
    fn is_start(&self, at: &Position) -> Result<bool, StoreError>;

    /// Bytes of the log, as it is kept.
    fn bytes(&self) -> Result<u64, StoreError>;

    /// Writes anew what has many facts that do not matter any more, without them. Who replays it finds those that
    /// do in the same order, and the same place behind the last commit of each part.
    fn condense(&self, how: &mut Condensing<'_>) -> Result<Condensed, StoreError>;

    /// Notes that writing ended in order, so that the next start can tell what was torn from what is damaged.
    fn close(&self) -> Result<(), StoreError>;
}
