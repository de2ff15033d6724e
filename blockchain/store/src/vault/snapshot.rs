//! Makes snapshots of a log that others follow, and empties the commits that nobody needs any more.
//!
//! A snapshot has what matters of all commits up to where this copy's index stands: facts as they are, and where the
//! chunks are that count. It goes over the pieces of the snapshot before, rewrites those of which over a third does not
//! matter any more, and goes on with the log behind it. Commits are emptied only when an index made of the pieces
//! alone, read back, has the same rows as this copy's had there: so a mistake in what matters costs room, and no fact.
//!
//! Pieces are named by a fact before they are put, and removed by that name: those of no snapshot one snapshot later.
//! Two copies that make one at once are told by the row that each fact takes the place of: one of them gives up.

mod pieces;
mod rows;

use std::sync::Arc;

use crate::codec::Packer;
use crate::contract::fact_log::snapshot::{
    self as contract, Piece, PieceId, Remains, Snapshot, Snapshots,
};
use crate::contract::fact_log::{Place, Position, Replayed};
use crate::contract::index::Index;
use crate::crypt::random;
use crate::frame::Record;
use crate::registry::vault::fact;
use crate::vault::committer::Submission;
use crate::vault::facts::VaultFact;
use crate::vault::follow::Follower;
use crate::vault::{Vault, chunk_rows, unit_rows};
use crate::{CommitError, Damage, StoreError};

pub(super) use pieces::Pieces;

/// A piece is put when it has so many bytes; it may have one commit more.
const PIECE_BYTES: usize = if cfg!(test) { 1 << 10 } else { 4 << 20 };
/// Names that are drawn and committed at once.
const NAMES: usize = 64;

/// Whether a fact still matters, by the rows of an index.
pub type MattersBy<'a> = dyn Fn(&dyn Index, &[u8]) -> Result<bool, StoreError> + 'a;

/// How a snapshot is made.
pub struct Snapshotting<'a> {
    /// Whether a fact of the owner's still matters.
    pub matters: &'a MattersBy<'a>,
    /// An index that has followed nothing, in which the snapshot is tried.
    pub scratch: Arc<dyn Index>,
    /// None is made before so many commits are behind the one before.
    pub least: u64,
    /// Hears how many commits of how many are done; `false` stops it.
    pub step: &'a mut dyn FnMut(u64, u64) -> bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapped {
    /// The number of the snapshot; zero where none was made: nothing was new, another copy was at it, or it was
    /// stopped.
    pub number: u64,
    /// Pieces that were taken over from the snapshot before.
    pub pieces_kept: u64,
    /// Pieces that were written.
    pub pieces_written: u64,
    /// Facts that it has not, of those that were looked at.
    pub facts_left_out: u64,
    /// Commits that were emptied.
    pub commits_hollowed: u64,
}

impl Vault {
    /// Whether snapshots are made of this log: where none are kept there are none, nor where chunks are of this machine
    /// alone. No copy starts from one there, and how far its files are named is known by the commits.
    pub fn keeps_snapshots(&self) -> bool {
        self.snapshots().is_some()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.log.snapshots().filter(|_| self.blobs.is_shared())
    }

    /// Makes a snapshot of the log up to where the index stands, and hollows the commits up to the snapshot before it.
    /// Does nothing for a log that keeps none.
    pub fn snapshot(&self, how: Snapshotting<'_>) -> Result<Snapped, StoreError> {
        let Snapshotting { matters, scratch, least, step } = how;
        let Some(kept) = self.snapshots() else { return Ok(Snapped::default()) };
        let frozen = self.index.frozen()?.ok_or_else(|| {
            StoreError::Index(
                "no snapshot is made of an index that cannot be looked at as it was".into(),
            )
        })?;
        let frozen = frozen.as_ref();
        let Some(place) = Position::of(frozen)?.map(|at| self.log.place(&at)).transpose()? else {
            return Ok(Snapped::default());
        };
        let (Some(place), before) = (place, Pieces::of(frozen)?) else {
            return Ok(Snapped::default());
        };
        if before.snapshots.is_empty() && place.n < least {
            return Ok(Snapped::default());
        }
        // The process that committed the newest may have ended before it did the rest.
        if let Some(newest) = before.snapshots.first() {
            kept.announce(newest)?;
            let hollowed = match before.snapshots.get(1) {
                Some(second) => kept.hollow(before.hollow, &second.place)?,
                None => 0,
            };
            if place.n - newest.place.n < least || !self.is_news(&newest.place, &place)? {
                return Ok(Snapped { commits_hollowed: hollowed, ..Snapped::default() });
            }
        }
        let mut making = Making {
            vault: self,
            kept,
            frozen,
            matters,
            packer: Packer::new(),
            now: before.clone(),
            names: Vec::new(),
            draft: Vec::new(),
            pieces: Vec::new(),
            done: Snapped::default(),
        };
        let is_made = making.make(&place, scratch.as_ref(), step)?;
        Ok(if is_made { making.done } else { Snapped::default() })
    }

    /// Whether there is anything between two places but what was said of snapshots.
    fn is_news(&self, from: &Place, to: &Place) -> Result<bool, StoreError> {
        let (mut packer, mut is_news, mut n) = (Packer::new(), false, from.n);
        if from.n >= to.n {
            return Ok(false);
        }
        self.log.replay(Some(&from.position()), &mut |found, _| {
            match found {
                Replayed::Damaged(damage) => return Err(StoreError::Damaged(damage)),
                Replayed::Commit { chunks, .. } => {
                    is_news |= chunks.is_some();
                    n += 1;
                }
                Replayed::Fact { record, file, offset } => {
                    let opened = self.cipher.open(&mut packer, &record.header, record.payload);
                    let plain = opened.map_err(|why| why.at(&file, offset))?;
                    is_news |= !matches!(plain.first(), Some(&(fact::SNAPSHOTS | fact::TALLIED)));
                }
            }
            Ok(!is_news && n < to.n)
        })?;
        Ok(is_news)
    }

    /// Whether a fact of the vault's own matters to a snapshot; `None` when it is the owner's to say. It has to hold
    /// beside pieces that are taken over as they are, with places of chunks that were dropped since; what these say of
    /// units that others stand for says nothing any more.
    fn matters_to_snapshot(
        &self,
        index: &dyn Index,
        fact: &[u8],
    ) -> Result<Option<bool>, StoreError> {
        Ok(match VaultFact::decode(fact) {
            None => None,
            Some(Err(fault)) => {
                let why = format!("a fact of the store is not understood: {fault}");
                return Err(StoreError::Damaged(Damage::new("the log", 0, why)));
            }
            Some(Ok(VaultFact::Quarantined(name, place))) => {
                let now = chunk_rows::placement(index, &name)?;
                let is_there = now.is_none_or(|now| now.place() == place);
                Some(is_there && chunk_rows::is_quarantined(index, &name)?)
            }
            Some(Ok(VaultFact::Dropped(chunks))) => {
                let mut matters = false;
                for (_, (unit, _)) in &chunks {
                    matters |= !unit_rows::is_retired(index, *unit)?;
                }
                Some(matters)
            }
            Some(Ok(VaultFact::Switched { to, .. })) => Some(!unit_rows::is_retired(index, to)?),
            Some(Ok(VaultFact::Lined(line))) => {
                Some(super::Line::of(index)?.is_some_and(|now| now == line))
            }
            Some(Ok(VaultFact::Snapshots(pieces))) => Some(Pieces::of(index)? == pieces),
            // What is left comes to less.
            Some(Ok(VaultFact::Tallied(_))) => Some(false),
            Some(Ok(VaultFact::Moving(_))) => Some(super::moving::rows::is_going_on(index)?),
            Some(Ok(VaultFact::Moved(_))) => Some(true),
        })
    }
}

/// A snapshot that is being made.
struct Making<'a> {
    vault: &'a Vault,
    kept: &'a dyn Snapshots,
    /// The index as it was at the place of the snapshot.
    frozen: &'a dyn Index,
    matters: &'a MattersBy<'a>,
    packer: Packer,
    /// What the row says, as far as this process knows.
    now: Pieces,
    /// Names that are committed, and not used yet.
    names: Vec<PieceId>,
    /// What the next piece has so far.
    draft: Vec<u8>,
    pieces: Vec<Piece>,
    done: Snapped,
}

/// What a commit, or what was left of one, comes to when what does not matter is left out.
struct Weighed {
    remains: Remains,
    bytes: u64,
    bytes_left: u64,
}

impl Making<'_> {
    /// Makes it; `false` where it was given up.
    fn make(
        &mut self,
        place: &Place,
        scratch: &dyn Index,
        step: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<bool, StoreError> {
        // They were named one snapshot ago, and no snapshot has had them since.
        self.kept.remove(&self.now.going)?;
        let needed = self.now.needed();
        let going = self.now.named.iter().filter(|name| !needed.contains(*name));
        let hollow = self.now.snapshots.get(1).map_or(0, |second| second.place.n);
        let first = Pieces {
            snapshots: self.now.snapshots.clone(),
            hollow,
            going: going.copied().collect(),
            named: needed.into_iter().collect(),
        };
        if !self.name_more(first)? {
            return Ok(false);
        }
        let newest = self.now.snapshots.first().cloned();
        let goes_on = match &newest {
            Some(newest) => self.take_over(newest)?,
            None => true,
        };
        let from = newest.as_ref().map(|newest| newest.place);
        if !goes_on || !self.go_on(from, place, step)? || !self.put_draft()? {
            return Ok(false);
        }
        let number = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let pieces = std::mem::take(&mut self.pieces);
        let mut snapshot = Snapshot { number, place: *place, rows: [0; 32], pieces };
        snapshot.rows = rows::digest(self.frozen, self.vault.cipher(), &self.vault.projection)?;
        self.prove(&snapshot, scratch)?;
        self.publish(snapshot)
    }

    /// Takes over the pieces of a snapshot, those of which over a third does not matter any more written anew.
    fn take_over(&mut self, newest: &Snapshot) -> Result<bool, StoreError> {
        for piece in &newest.pieces {
            let title = contract::title(&piece.id);
            let (mut all, mut bytes, mut bytes_left, mut left_out) = (Vec::new(), 0, 0, 0);
            for remains in Remains::decode_all(&title, &self.kept.piece(piece)?)? {
                let before = remains.facts.len();
                let weighed = self.weigh(&title, remains)?;
                (bytes, bytes_left) = (bytes + weighed.bytes, bytes_left + weighed.bytes_left);
                left_out += (before - weighed.remains.facts.len()) as u64;
                all.push(weighed.remains);
            }
            if bytes_left * 3 >= bytes * 2 {
                // What comes before it in the order of commits is put before it.
                if !self.put_draft()? {
                    return Ok(false);
                }
                self.pieces.push(*piece);
                self.done.pieces_kept += 1;
                continue;
            }
            self.done.facts_left_out += left_out;
            for remains in all {
                if !self.add(&remains)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Goes on with the commits of the log behind a place up to another.
    fn go_on(
        &mut self,
        from: Option<Place>,
        to: &Place,
        step: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<bool, StoreError> {
        let (vault, mut n) = (self.vault, from.map_or(0, |from| from.n));
        let (first, mut facts, mut goes_on) = (n, Vec::new(), true);
        let from = from.map(|from| from.position());
        vault.log.replay(from.as_ref(), &mut |found, _| {
            match found {
                Replayed::Damaged(damage) => return Err(StoreError::Damaged(damage)),
                Replayed::Fact { record, .. } => facts.push(record),
                Replayed::Commit { chunks, places, .. } => {
                    n += 1;
                    let places = match (places, chunks) {
                        (Some(places), _) => places,
                        (None, Some(extent)) => vault.blobs.places(&extent)?,
                        (None, None) => Vec::new(),
                    };
                    let facts = std::mem::take(&mut facts);
                    let before = facts.len();
                    let title = format!("commit {n} of the log");
                    let remains = self.weigh(&title, Remains { n, facts, places })?.remains;
                    self.done.facts_left_out += (before - remains.facts.len()) as u64;
                    goes_on = self.add(&remains)? && step(n - first, to.n - first);
                }
            }
            Ok(goes_on && n < to.n)
        })?;
        Ok(goes_on && n == to.n)
    }

    /// Leaves out what does not matter.
    fn weigh(&mut self, title: &str, remains: Remains) -> Result<Weighed, StoreError> {
        let Remains { n, facts, places } = remains;
        let size = |facts: &[Record], places: usize| {
            let facts: u64 = facts.iter().map(Record::record_bytes).sum();
            facts + 53 * places as u64
        };
        let bytes = size(&facts, places.len());
        let mut kept = Remains { n, facts: Vec::new(), places: Vec::new() };
        for fact in facts {
            let opened =
                self.vault.cipher().open(&mut self.packer, &fact.header, fact.payload.clone());
            let plain = opened.map_err(|why| why.at(title, n))?;
            let matters = match self.vault.matters_to_snapshot(self.frozen, &plain)? {
                Some(matters) => matters,
                None => (self.matters)(self.frozen, &plain)?,
            };
            if matters {
                kept.facts.push(fact);
            }
        }
        for (name, place) in places {
            if chunk_rows::placement(self.frozen, &name)? == Some(place) {
                kept.places.push((name, place));
            }
        }
        let bytes_left = size(&kept.facts, kept.places.len());
        Ok(Weighed { remains: kept, bytes, bytes_left })
    }

    /// Adds what is left of a commit, if anything is.
    fn add(&mut self, remains: &Remains) -> Result<bool, StoreError> {
        if remains.facts.is_empty() && remains.places.is_empty() {
            return Ok(true);
        }
        self.draft.extend_from_slice(&remains.encode());
        if self.draft.len() < PIECE_BYTES { Ok(true) } else { self.put_draft() }
    }

    /// Puts what there is as a piece, under a name that is committed.
    fn put_draft(&mut self) -> Result<bool, StoreError> {
        if self.draft.is_empty() {
            return Ok(true);
        }
        if self.names.is_empty() && !self.name_more(self.now.clone())? {
            return Ok(false);
        }
        let Some(id) = self.names.pop() else { return Ok(false) };
        self.pieces.push(self.kept.put(&id, &self.draft)?);
        self.done.pieces_written += 1;
        self.draft.clear();
        Ok(true)
    }

    /// Commits names for more pieces.
    fn name_more(&mut self, next: Pieces) -> Result<bool, StoreError> {
        let names = (0..NAMES).map(|_| random()).collect::<Result<Vec<PieceId>, _>>()?;
        let mut next = next;
        next.named.extend(&names);
        self.names = names;
        self.commit(next)
    }

    /// Commits what the row is to say; `false` where it does not say any more what this process knows.
    fn commit(&mut self, next: Pieces) -> Result<bool, StoreError> {
        let look = self.vault.look();
        if Pieces::of(&look)? != self.now {
            return Ok(false);
        }
        let fact = VaultFact::Snapshots(next.clone()).encode();
        let (facts, rests_on) = (vec![self.vault.fact(&mut self.packer, fact)?], look.seen());
        match self.vault.commit(Submission { facts, rests_on, ..Submission::upkeep() }) {
            Ok(_) => {
                self.now = next;
                Ok(true)
            }
            Err(CommitError::Overtaken(_)) => Ok(false),
            Err(error) => Err(StoreError::commit("making a snapshot")(error)),
        }
    }

    /// Makes an index from what was put alone, and compares it.
    fn prove(&self, snapshot: &Snapshot, scratch: &dyn Index) -> Result<(), StoreError> {
        let (vault, projection) = (self.vault, self.vault.projection.anew());
        if Position::of(scratch)?.is_some() {
            return Err(StoreError::Index("the index that is to try a snapshot is in use".into()));
        }
        let mut follower = Follower::new(vault.blobs(), scratch, &projection, vault.cipher());
        contract::show(self.kept, snapshot, 0, &mut |found, _| {
            follower.take(found).map(|()| true)
        })?;
        follower.finish()?;
        match rows::digest(scratch, vault.cipher(), &projection)? == snapshot.rows {
            true => Ok(()),
            false => Err(StoreError::Index(format!(
                "what an index is made of by a snapshot up to commit {} is not what it is made of by the log, so the \
                 snapshot was given up: make the index anew by `lucid reindex`, and say so to who wrote this program if it \
                 comes again",
                snapshot.place
            ))),
        }
    }

    /// Commits the snapshot, announces it, and hollows what is behind the one before.
    fn publish(&mut self, snapshot: Snapshot) -> Result<bool, StoreError> {
        let mut snapshots = vec![snapshot];
        snapshots.extend(self.now.snapshots.first().cloned());
        let (hollow, going) = (self.now.hollow, self.now.going.clone());
        let mut next = Pieces { snapshots, hollow, named: Vec::new(), going };
        let needed = next.needed();
        next.going.extend(self.now.named.iter().filter(|name| !needed.contains(*name)));
        next.named = needed.into_iter().collect();
        if !self.commit(next)? {
            return Ok(false);
        }
        if let Some(newest) = self.now.snapshots.first() {
            self.kept.announce(newest)?;
            self.done.number = newest.number;
        }
        if let Some(second) = self.now.snapshots.get(1) {
            self.done.commits_hollowed = self.kept.hollow(hollow, &second.place)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
