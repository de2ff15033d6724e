//! Snapshots of a log of numbered commits: what matters of all commits up to a place, in pieces that never change.
//!
//! A copy that starts without an index is made from the newest one, and follows the log from its place on. So the
//! commits up to the snapshot before the newest are *hollowed*: they lose their facts, and keep their numbers, so that
//! a process that slept and inserts one of these numbers still fails. An index that has not followed beyond them is
//! made anew.
//!
//! A log keeps pieces and snapshots, and empties commits; what is in a piece, whether it is right, and when it goes is
//! the vault's to say (`vault/snapshot`).

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use super::frames::{frames, read_frames};
use super::place::{Incarnation, Place};
use super::{Passed, Position, Replayed};
use crate::contract::blobs::Placement;
use crate::frame::{NEWER_RECORD, Record};
use crate::{Damage, StoreError};

/// What stands where a place would: an index was being made from a snapshot, and is not done.
const UNFINISHED: &[u8] = b"unfinished";
/// Bytes of a placement.
const PLACEMENT_BYTES: usize = 21;

/// The name of a piece, drawn for it alone.
pub type PieceId = [u8; 16];

/// A part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its name.
    pub id: PieceId,
    /// BLAKE3 of its bytes.
    pub digest: [u8; 32],
    /// How many it has.
    pub bytes: u64,
}

/// What matters of all commits up to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number, from 1 on: one more than that of the one before.
    pub number: u64,
    /// The place behind the last commit that it has taken in.
    pub place: Place,
    /// The digest of the rows that an index has which is made from its pieces alone: its writer's were the same.
    pub rows: [u8; 32],
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

impl Snapshot {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        let Place { n, digest, incarnation } = self.place;
        to.u64(self.number).u64(n).raw(&digest).u32(incarnation.number).raw(&incarnation.id);
        to.raw(&self.rows).count(self.pieces.len());
        for Piece { id, digest, bytes } in &self.pieces {
            to.raw(id).raw(digest).u64(*bytes);
        }
        to.finish()
    }

    /// Reads [`Snapshot::encode`], with something behind it or not.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let (number, n, digest) = (from.u64("number")?, from.u64("commit")?, from.array("digest")?);
        let incarnation = Incarnation { number: from.u32("incarnation")?, id: from.array("id")? };
        let place = Place { n, digest, incarnation };
        let (rows, count) = (from.array("rows")?, from.u32("pieces")?);
        let mut pieces = Vec::new();
        for _ in 0..count {
            let (id, digest) = (from.array("piece")?, from.array("digest")?);
            pieces.push(Piece { id, digest, bytes: from.u64("bytes")? });
        }
        Ok(Self { number, place, rows, pieces })
    }

    /// Reads [`Snapshot::encode`], and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let snapshot = Self::read(&mut from)?;
        from.finish()?;
        Ok(snapshot)
    }

    /// Bytes of its pieces.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}

/// Chunks, each with where it is.
pub type Places = Vec<(ChunkName, Placement)>;

/// What is left of one commit.
#[derive(Debug, Clone)]
pub struct Remains {
    /// Its number.
    pub n: u64,
    /// Those of its facts that matter, as they are kept, in order.
    pub facts: Vec<Record>,
    /// Where those of its chunks are that count there.
    pub places: Places,
}

impl Remains {
    /// Its bytes, as they follow each other in a piece.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.n).bytes(&frames(&self.facts)).count(self.places.len());
        for (name, place) in &self.places {
            to.raw(name.as_bytes()).raw(&place.encode());
        }
        to.finish()
    }

    /// Reads all of a piece. `title` is what people know the piece by.
    pub fn decode_all(title: &str, bytes: &[u8]) -> Result<Vec<Self>, StoreError> {
        let damaged = |at: u64, why: String| StoreError::Damaged(Damage::new(title, at, why));
        let (mut all, mut from) = (Vec::new(), Reader::new(bytes));
        while !from.is_empty() {
            let begin = (bytes.len() - from.rest().len()) as u64;
            let read = Self::read(&mut from);
            let (n, facts, places) = read.map_err(|fault| damaged(begin, fault.to_string()))?;
            let facts = read_frames(facts).map_err(|fault| match fault.why {
                NEWER_RECORD => StoreError::newer(format_args!("a fact in {title}")),
                why => damaged(begin + fault.at, why.to_owned()),
            })?;
            let facts = facts.into_iter().map(|(_, fact)| fact).collect();
            all.push(Self { n, facts, places });
        }
        Ok(all)
    }

    fn read<'a>(from: &mut Reader<'a>) -> Result<(u64, &'a [u8], Places), WireFault> {
        let (n, facts, count) = (from.u64("commit")?, from.bytes("facts")?, from.u32("places")?);
        let mut places = Vec::new();
        for _ in 0..count {
            let name = ChunkName::new(from.array("name")?);
            places.push((name, Placement::decode(from.raw(PLACEMENT_BYTES, "place")?)?));
        }
        Ok((n, facts, places))
    }
}

/// Keeps the snapshots of a log.
pub trait Snapshots: Send + Sync {
    /// The newest snapshots, two at most, the newer one first.
    fn kept(&self) -> Result<Vec<Snapshot>, StoreError>;

    /// Puts a piece, durably, under a name that was drawn for it. It counts for nothing until a snapshot has it.
    fn put(&self, id: &PieceId, bytes: &[u8]) -> Result<Piece, StoreError>;

    /// The bytes of a piece, which are what was put; anything else is damage.
    fn piece(&self, piece: &Piece) -> Result<Vec<u8>, StoreError>;

    /// Removes pieces, as far as they are there.
    fn remove(&self, pieces: &[PieceId]) -> Result<(), StoreError>;

    /// Keeps a snapshot, durably, unless there is one of its number; those before the one before it go.
    fn announce(&self, snapshot: &Snapshot) -> Result<(), StoreError>;

    /// Takes facts and chunks from the commits behind `from` up to the place, which has to be that of the snapshot
    /// before the newest or one before it. Says how many commits these were.
    fn hollow(&self, from: u64, up_to: &Place) -> Result<u64, StoreError>;
}

/// What people know a piece by.
pub fn title(piece: &PieceId) -> String {
    let [a, b, c, d, ..] = piece;
    format!("piece {a:02x}{b:02x}{c:02x}{d:02x} of a snapshot")
}

/// The bytes of a piece, if they are those that were put.
pub(crate) fn checked(piece: &Piece, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    match blake3::hash(&bytes).as_bytes() == &piece.digest {
        true => Ok(bytes),
        false => Err(StoreError::Damaged(Damage::new(title(&piece.id), 0, "it has other bytes"))),
    }
}

/// Whether an index stands in the midst of being made from a snapshot.
pub(crate) fn is_unfinished(at: &Position) -> bool {
    at.as_bytes() == UNFINISHED
}

/// Shows what a snapshot has as a log shows its commits. Only the last of them has a place; before that an index is of
/// no use, and says so if it is opened.
pub(crate) fn show(
    snapshots: &dyn Snapshots,
    snapshot: &Snapshot,
    total: u64,
    each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let mut done = 0;
    for piece in &snapshot.pieces {
        let (title, passed) = (title(&piece.id), Passed { done, total: total.max(done) });
        for Remains { n, facts, places } in Remains::decode_all(&title, &snapshots.piece(piece)?)? {
            for record in facts {
                let (file, offset) = (title.clone(), n);
                if !each(Replayed::Fact { record, file, offset }, passed)? {
                    return Ok(false);
                }
            }
            let position = Position::new(UNFINISHED.to_vec());
            if !each(Replayed::Commit { chunks: None, places: Some(places), position }, passed)? {
                return Ok(false);
            }
        }
        done += piece.bytes;
    }
    let position = snapshot.place.position();
    let passed = Passed { done, total: total.max(done) };
    each(Replayed::Commit { chunks: None, places: None, position }, passed)
}

/// What is said of a commit that is hollow and was to be followed.
pub(crate) fn hollow(log: &str, n: u64) -> StoreError {
    StoreError::Anew(format!(
        "commit {n} of {log} is in a snapshot only: the index is made anew from that"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::RecordKind;

    fn fact() -> Record {
        Record::plain(RecordKind::Fact, [5; 32], b"a fact".to_vec()).unwrap()
    }

    #[test]
    fn a_snapshot_is_these_bytes() {
        let incarnation = Incarnation { number: 2, id: [0xbb; 16] };
        let snapshot = Snapshot {
            number: 3,
            place: Place { n: 1_042, digest: [0xcc; 32], incarnation },
            rows: [0xdd; 32],
            pieces: vec![Piece { id: [0xee; 16], digest: [0xff; 32], bytes: 9 }],
        };
        let hex = [
            "0300000000000000",
            "1204000000000000",
            &"cc".repeat(32),
            "02000000",
            &"bb".repeat(16),
            &"dd".repeat(32),
            "01000000",
            &"ee".repeat(16),
            &"ff".repeat(32),
            "0900000000000000",
        ];
        let bytes = snapshot.encode();
        assert_eq!(hex::encode(&bytes), hex.concat());
        assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
        for cut in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn what_is_left_of_commits_is_these_bytes_and_no_others() {
        let at =
            Placement { unit: 3, offset: 7, stored_length: 8, plain_length: 9, encrypted: true };
        let places = vec![(ChunkName::new([6; 32]), at)];
        let remains = Remains { n: 5, facts: vec![fact()], places };
        let bare = Remains { n: 6, facts: Vec::new(), places: Vec::new() };
        let record = hex::encode(frames(&[fact()]));
        let hex = [
            "0500000000000000",
            "86000000",
            &record,
            "01000000",
            &"06".repeat(32),
            "03000000070000000000000008000000",
            "0900000001",
            "06000000000000000000000000000000",
        ];
        let bytes = [remains.encode(), bare.encode()].concat();
        assert_eq!(hex::encode(&bytes), hex.concat());
        let read = Remains::decode_all("p", &bytes).unwrap();
        let again: Vec<Vec<u8>> = read.iter().map(Remains::encode).collect();
        assert_eq!(again, [remains.encode(), bare.encode()]);
        assert!(Remains::decode_all("p", &[]).unwrap().is_empty());
        let whole = bytes.len() - 16;
        for cut in (1..bytes.len()).filter(|cut| *cut != whole) {
            assert!(Remains::decode_all("p", &bytes[..cut]).is_err(), "{cut}");
        }
        // A fact that was changed is found out; where chunks are is covered by the digest of the piece.
        for at in 12..12 + 134 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Remains::decode_all("p", &flipped).is_err(), "{at}");
        }
    }
}
