//! A data folder, opened: facts and chunks go in through the committer, and come out checked.
//!
//! A [`Vault`] joins the parts of one folder. Who writes what into it is its owner's business; that
//! what was acknowledged stays, and that only true bytes come out, is kept here.
//!
//! In one file because it is what all of `vault/` looks like to a service: one type, with what its methods answer.

pub mod audit;
pub mod chunk_rows;
pub mod collect;
pub mod committer;
pub(crate) mod elsewhere;
mod facts;
pub(crate) mod follow;
mod line;
mod marks;
pub mod moving;
pub(crate) mod projection;
pub mod scrub;
pub mod snapshot;
pub(crate) mod unit_rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use parking_lot::{Mutex, MutexGuard};

use self::committer::{
    Committed, Committer, Done, DoubtfulCopies, Fact, Start, Submission, satisfies,
};
use self::elsewhere::Loss;
use self::facts::VaultFact;
use self::line::Line;
use self::projection::Projection;
use self::snapshot::Pieces;
use self::unit_rows::Unread;
use crate::codec::{Compression, Packer};
use crate::contract::blobs::{Blobs, Placement};
use crate::contract::fact_log::{Condensed, Condensing, FactLog, Place, Position, Replayed};
use crate::contract::index::{Index, Look, Project};
use crate::crypt::{ChunkKey, Cipher};
use crate::damage::DamageList;
use crate::frame::Record;
use crate::measured::{Fullness, MeasuredBlobs, MeasuredLog, fullness};
use crate::{CommitError, Damage, StoreError};

/// Chunks that are to be dropped are looked at so often while others keep changing who refers to them; then
/// they stay until another time.
const LOOKS_MAX: usize = 16;

/// Whether nobody refers to a chunk, as the rows say that are asked for through this index.
pub type IsFree<'a> = dyn Fn(&dyn Index, &ChunkName) -> Result<bool, StoreError> + 'a;

/// Whether a fact still matters.
pub type Matters<'a> = dyn Fn(&[u8]) -> Result<bool, StoreError> + 'a;

/// Is shown a fact of the log, or damage that may have been one.
pub type VisitAround<'a> = dyn FnMut(Result<&[u8], Damage>) -> Result<(), StoreError> + 'a;

/// Whether a chunk is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has to be sent.
    No,
    /// It is on its way, and there before anything submitted next, unless its commit fails.
    Pending,
    /// It is there, and durable.
    There,
}

/// An open store.
pub struct Vault {
    cipher: Arc<Cipher>,
    index: Arc<dyn Index>,
    log: Arc<dyn FactLog>,
    blobs: Arc<dyn Blobs>,
    committer: Option<Committer>,
    projection: Arc<Projection>,
    /// Why acknowledged facts are missing, if so.
    loss: Option<String>,
    /// Why nothing may be written although nothing is missing: the folder may only be read.
    only_read: Option<String>,
    damage: Mutex<DamageList>,
    /// Chunks of which the scrub found the copy in use damaged, and where: another one is looked for.
    unhealed: Mutex<BTreeMap<ChunkName, Placement>>,
    doubts: Arc<DoubtfulCopies>,
    /// Held while a collection or a packing makes units anew.
    collecting: Mutex<()>,
}

/// Held while units are made anew. With the feature `no-locks` it holds nothing, and nobody waits for it.
pub(crate) type CollectingTurn<'a> = Option<MutexGuard<'a, ()>>;

/// A store that is kept otherwise than in files, and loses nothing by promise.
pub struct Elsewhere {
    /// Keeps the facts.
    pub log: Arc<dyn FactLog>,
    /// Keeps the chunks.
    pub blobs: Arc<dyn Blobs>,
    /// Where a log without commits ends.
    pub start: Position,
    /// Makes its records and reads them.
    pub cipher: Arc<Cipher>,
    /// Its derived rows.
    pub index: Arc<dyn Index>,
    /// What its owner makes of facts.
    pub project: Arc<dyn Project>,
}

/// Log and chunks of a store, with an index that has followed them.
pub(crate) struct Followed {
    /// The log.
    pub log: Arc<dyn FactLog>,
    /// The chunks.
    pub blobs: Arc<dyn Blobs>,
    /// The last commit.
    pub at: Position,
    /// What is wrong, none of it in the way of the rest.
    pub damage: DamageList,
    /// Why nothing may be written, if so: acknowledged facts are missing from the log.
    pub loss: Option<String>,
    /// Units that are not there, or not whole.
    pub unread: BTreeMap<u32, Unread>,
}

/// What a vault is made of.
pub(crate) struct VaultParts {
    pub followed: Followed,
    pub cipher: Arc<Cipher>,
    pub index: Arc<dyn Index>,
    pub projection: Arc<Projection>,
    /// Why nothing may be written although nothing is missing: the folder may only be read.
    pub only_read: Option<String>,
}

impl Vault {
    /// Opens what a back-end has made ready.
    pub(crate) fn new(parts: VaultParts) -> Result<Self, StoreError> {
        let VaultParts { followed, cipher, index, projection, only_read } = parts;
        let Followed { log, blobs, at, damage, loss, unread } = followed;
        let log: Arc<dyn FactLog> = Arc::new(MeasuredLog::over(log));
        let blobs: Arc<dyn Blobs> = Arc::new(MeasuredBlobs::over(blobs));
        for found in damage.iter() {
            tracing::error!(damage = %found, "damage found while opening");
        }
        if let Some(why) = &loss {
            tracing::error!(why, "the store is opened for reading only");
        }
        let doubts = Arc::new(DoubtfulCopies::new(unread));
        let mut committer = None;
        if loss.is_none() && only_read.is_none() {
            committer = Some(Committer::start(Start {
                log: log.clone(),
                blobs: blobs.clone(),
                index: index.clone(),
                projection: projection.clone(),
                cipher: cipher.clone(),
                at,
                doubts: doubts.clone(),
            })?);
        }
        let (damage, unhealed) = (Mutex::new(damage), Mutex::default());
        Ok(Self {
            cipher,
            index,
            log,
            blobs,
            committer,
            projection,
            loss,
            only_read,
            damage,
            unhealed,
            doubts,
            collecting: Mutex::default(),
        })
    }

    /// Follows the log of a store that is kept elsewhere, and opens it.
    ///
    /// A log with less than was acknowledged is refused in a sentence that says what to do. An index that cannot
    /// follow, although nothing is lost, is marked to be made anew ([`StoreError::Anew`]): the next opening does that.
    pub fn open_elsewhere(store: Elsewhere) -> Result<Self, StoreError> {
        Self::open_elsewhere_watched(store, None, &|_, _| true)
    }

    /// The same. `only_read` says why nothing may be written, if so; `progress` hears how many bytes of the log, of how
    /// many, are read, and ends the opening by `false`: the next one goes on from there.
    pub fn open_elsewhere_watched(
        store: Elsewhere,
        only_read: Option<String>,
        progress: &dyn Fn(u64, u64) -> bool,
    ) -> Result<Self, StoreError> {
        elsewhere::open(store, Loss::Refused, only_read, progress)
    }

    /// Opens a store that is kept elsewhere, with an index that has followed nothing yet, and goes on with what is
    /// there, whether or not it is all that was acknowledged: a new incarnation of the log begins, which every copy
    /// follows. `progress` is that of [`Self::open_elsewhere_watched`].
    pub fn open_elsewhere_accepting_loss(
        store: Elsewhere,
        progress: &dyn Fn(u64, u64) -> bool,
    ) -> Result<Self, StoreError> {
        elsewhere::open(store, Loss::Accepted, None, progress)
    }

    /// Segments that were not there, or not whole, when the store was opened. What the index says of them may be
    /// less than they hold, should they be there again.
    pub(crate) fn unread(&self) -> &BTreeMap<u32, Unread> {
        &self.doubts.unread
    }

    /// The derived rows.
    pub fn index(&self) -> &dyn Index {
        self.index.as_ref()
    }

    /// The derived rows as one op sees them, which a submission then rests on.
    pub fn look(&self) -> Look<'_> {
        Look::new(self.index.as_ref())
    }

    /// What makes this store's records and reads them.
    pub fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    /// Bytes of chunks and log, as they are kept.
    pub fn stored_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.log.bytes()? + self.blobs.bytes()?)
    }

    /// Damage found since the store was opened, while opening it included.
    pub fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone().into()
    }

    /// The place of a chunk that damage is in, if it is in one: the unit, and where in it.
    pub fn place_of(&self, damage: &Damage) -> Option<(u32, u64)> {
        self.blobs.place_of(damage)
    }

    /// Whether its rows are made of no commit at all.
    pub fn is_unused(&self) -> Result<bool, StoreError> {
        match Position::of(self.index.as_ref())? {
            None => Ok(true),
            Some(at) => self.log.is_start(&at),
        }
    }

    /// Up to where its rows have followed a log that others may write to, too; `None` for any other log, and before the
    /// first commit. Callers are told it ([`Place::told`]), so that they can ask for rows that are as new at least.
    pub fn stands_at(&self) -> Result<Option<Place>, StoreError> {
        let at = Position::of(self.index.as_ref())?;
        Ok(at.map(|at| self.log.place(&at)).transpose()?.flatten())
    }

    /// Why the store cannot be written to, if so.
    pub fn read_only(&self) -> Option<String> {
        self.loss().or_else(|| self.only_read.clone())
    }

    /// Why what is here may not be all there was, if so.
    pub fn loss(&self) -> Option<String> {
        self.loss.clone().or_else(|| self.committer.as_ref()?.broken())
    }

    /// Makes a fact ready to be submitted.
    pub fn fact(&self, packer: &mut Packer, plain: Vec<u8>) -> Result<Fact, StoreError> {
        let record = self.cipher.fact_record(packer, &plain)?;
        Ok(Fact { plain, record })
    }

    /// Makes a chunk ready to be submitted.
    pub fn chunk(
        &self,
        packer: &mut Packer,
        compression: Compression,
        encrypt: bool,
        key: impl Into<ChunkKey>,
        plain: &[u8],
    ) -> Result<Record, StoreError> {
        self.cipher.chunk_record(packer, compression, encrypt, key, plain)
    }

    /// Whether a sound copy of a chunk, encrypted if it must be, is there, or will be before anything
    /// submitted next.
    pub fn knows(&self, key: impl Into<ChunkKey>, encrypted: bool) -> Result<bool, StoreError> {
        Ok(self.known(key, encrypted)? != Known::No)
    }

    /// Whether a sound copy of a chunk, encrypted if it must be, is there already, will be there before
    /// anything submitted next, or neither.
    pub fn known(&self, key: impl Into<ChunkKey>, encrypted: bool) -> Result<Known, StoreError> {
        let name = self.cipher.chunk_name(key);
        if let Some(committer) = &self.committer {
            if !committer.ask_for(&name) {
                return Ok(Known::No);
            }
            if committer.is_pending(&name, encrypted) {
                return Ok(Known::Pending);
            }
        }
        Ok(match satisfies(self.index.as_ref(), &self.doubts, &name, encrypted)? {
            true => Known::There,
            false => Known::No,
        })
    }

    /// Whether a place is in no unit that is there: its unit was away when the store was opened, or has been replaced.
    pub fn is_nowhere(&self, placement: &Placement) -> Result<bool, StoreError> {
        Ok(self.doubts.unread.contains_key(&placement.unit)
            || unit_rows::is_retired(self.index.as_ref(), placement.unit)?)
    }

    /// Where a chunk is, unless it is unknown.
    pub fn placement(&self, key: impl Into<ChunkKey>) -> Result<Option<Placement>, StoreError> {
        chunk_rows::placement(self.index.as_ref(), &self.cipher.chunk_name(key))
    }

    /// Where a chunk is that is known by its name alone.
    pub fn placement_of(&self, name: &ChunkName) -> Result<Option<Placement>, StoreError> {
        chunk_rows::placement(self.index.as_ref(), name)
    }

    fn committer(&self) -> Result<&Committer, CommitError> {
        self.committer.as_ref().ok_or_else(|| {
            CommitError::Failed(self.read_only().unwrap_or_else(|| "it is closed".into()))
        })
    }

    /// How full its queue and the memory of its index are, and what that memory spared. It waits for nothing.
    pub fn figures(&self) -> [Fullness; 8] {
        let queue = self.committer.as_ref().map(Committer::queue).unwrap_or_default();
        fullness(queue, self.index.memory())
    }

    /// Hands over a submission without waiting for its commit.
    pub fn submit(&self, submission: Submission, done: Done) {
        match self.committer() {
            Ok(committer) => committer.submit(submission, done),
            Err(error) => done(Err(error)),
        }
    }

    /// Hands over a submission and waits until it is durable, or surely is not.
    pub fn commit(&self, submission: Submission) -> Result<Committed, CommitError> {
        self.committer()?.commit(submission)
    }

    /// Refuses what brings bytes in while less room is free than has to stay free: a caller asks before it reads
    /// what it was sent. Submitting decides.
    pub fn room(&self) -> Result<(), CommitError> {
        self.log.room(0).and_then(|()| self.blobs.room(0))
    }

    /// Brings the index to the end of the log, as it is when this is asked: others may commit to it, too, unless
    /// it is in files.
    pub fn catch_up(&self) -> Result<(), CommitError> {
        self.commit(Submission { follow: true, ..Submission::default() }).map(|_| ())
    }

    /// A chunk's bytes, checked against its id. `Ok(None)` when it is unknown. A damaged record is
    /// named, and quarantined so that the same content uploaded again replaces it.
    pub fn read_chunk(
        &self,
        packer: &mut Packer,
        key: impl Into<ChunkKey>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.cipher.chunk_name(key);
        let Some(mut placement) = chunk_rows::placement(self.index.as_ref(), &name)? else {
            return Ok(None);
        };
        loop {
            let read = self.blobs.read(&name, &placement).and_then(|(header, payload)| {
                let opened = self.cipher.open(packer, &header, payload);
                opened.map_err(|why| why.at(&self.blobs.title(placement.unit), placement.offset))
            });
            match read {
                Ok(plain) => return Ok(Some(plain)),
                // A row that is made of a snapshot may be of a copy that was dropped before its unit was replaced.
                Err(_) if self.blobs.is_shared() && self.is_replaced(&name, &placement)? => {
                    return Ok(None);
                }
                Err(StoreError::Damaged(damage)) => {
                    // Its unit may have been made anew, and removed, since the place was looked up.
                    match chunk_rows::placement(self.index.as_ref(), &name)? {
                        None => return Ok(None),
                        Some(now) if now != placement => placement = now,
                        Some(_) => {
                            self.quarantine(packer, &name, &placement, &damage);
                            return Err(StoreError::Damaged(damage));
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a chunk is still said to be at a place, and the unit there has been replaced.
    fn is_replaced(&self, name: &ChunkName, at: &Placement) -> Result<bool, StoreError> {
        let now = chunk_rows::placement(self.index.as_ref(), name)?;
        Ok(now == Some(*at) && unit_rows::is_retired(self.index.as_ref(), at.unit)?)
    }

    /// Notes that a copy is damaged, so that the next one replaces it.
    pub(crate) fn quarantine(
        &self,
        packer: &mut Packer,
        name: &ChunkName,
        placement: &Placement,
        damage: &Damage,
    ) {
        let known = chunk_rows::is_quarantined(self.index.as_ref(), name).unwrap_or(false);
        if self.damage.lock().note(damage.clone()) {
            tracing::error!(%damage, "a chunk is damaged");
        }
        // What is in a unit that is away is no copy meanwhile, and a sound one again when it is back.
        let is_away = self.doubts.unread.contains_key(&placement.unit);
        if known || is_away || self.committer.is_none() {
            return;
        }
        self.doubts.add(*name, *placement);
        let (doubts, doubted) = (self.doubts.clone(), *name);
        let place = placement.place();
        match self.fact(packer, VaultFact::Quarantined(*name, place).encode()) {
            Ok(fact) => self.submit(
                Submission { facts: vec![fact], ..Submission::upkeep() },
                Box::new(move |outcome| match outcome {
                    Ok(_) => doubts.settled(&doubted),
                    Err(error) => {
                        tracing::warn!(%error, "the quarantine of a damaged chunk was not kept");
                    }
                }),
            ),
            Err(error) => tracing::warn!(%error, "the quarantine of a damaged chunk was not kept"),
        }
    }

    /// Shows every fact of the log to `visit`, in order, straight from the files. `progress` is told how many
    /// bytes of how many are read, and stops the reading by `false`; the answer is whether all facts were
    /// shown. Damage is an error here: the caller wants all facts.
    pub fn facts(
        &self,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<bool, StoreError> {
        let visit = &mut |fact: Result<&[u8], Damage>| visit(fact.map_err(StoreError::Damaged)?);
        self.facts_around_damage(visit, progress)
    }

    /// Shows every fact of the log like [`Vault::facts`], for a caller that wants to know where facts may be
    /// missing: damage is no error here, but is shown in its place.
    pub fn facts_around_damage(
        &self,
        visit: &mut VisitAround<'_>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<bool, StoreError> {
        let mut packer = Packer::new();
        self.log.replay(None, &mut |found, passed| {
            match found {
                Replayed::Commit { .. } => return Ok(true),
                Replayed::Damaged(damage) => visit(Err(damage))?,
                Replayed::Fact { record, file, offset } => {
                    let opened = self.cipher.open(&mut packer, &record.header, record.payload);
                    match opened.map_err(|why| why.at(&file, offset)) {
                        Ok(plain) => visit(Ok(&plain))?,
                        Err(StoreError::Damaged(damage)) => visit(Err(damage))?,
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(progress(passed.done, passed.total))
        })
    }

    /// Where, in these units, the log says that chunks were dropped.
    pub(crate) fn dropped(
        &self,
        units: &dyn Fn(u32) -> bool,
    ) -> Result<BTreeSet<(u32, u64)>, StoreError> {
        let mut places = BTreeSet::new();
        let mut visit = |fact: &[u8]| {
            if let Some(Ok(VaultFact::Dropped(chunks))) = VaultFact::decode(fact) {
                let chunks = chunks.into_iter().map(|(_, place)| place);
                places.extend(chunks.filter(|(unit, _)| units(*unit)));
            }
            Ok(())
        };
        self.facts(&mut visit, &mut |_, _| true)?;
        Ok(places)
    }

    /// Chunks for which another copy is looked for.
    pub(crate) fn unhealed(&self) -> &Mutex<BTreeMap<ChunkName, Placement>> {
        &self.unhealed
    }

    /// Its log.
    pub(crate) fn log(&self) -> &dyn FactLog {
        self.log.as_ref()
    }

    /// Its chunks.
    pub(crate) fn blobs(&self) -> &dyn Blobs {
        self.blobs.as_ref()
    }

    /// The turn to make units anew; `None` while another collection has it. Two at once would do the same work, and
    /// every switch of the slower one would be overtaken.
    pub(crate) fn turn_to_collect(&self) -> Option<CollectingTurn<'_>> {
        match cfg!(feature = "no-locks") {
            true => Some(None),
            false => self.collecting.try_lock().map(Some),
        }
    }

    /// Remembers every chunk that is asked for from now on, until this is called with `false`.
    pub(crate) fn set_collecting(&self, collecting: bool) {
        if let Some(committer) = &self.committer {
            committer.set_collecting(collecting);
        }
    }

    /// Drops chunks that nobody refers to, and returns those that are wanted after all. The rows of the chunks
    /// are looked at once more: what they say then is still so when the chunks are dropped.
    pub(crate) fn drop_chunks(
        &self,
        packer: &mut Packer,
        chunks: &[(ChunkName, Placement)],
        is_free: &IsFree<'_>,
    ) -> Result<Vec<ChunkName>, StoreError> {
        let failed = || StoreError::commit("dropping chunks");
        let mut left = chunks.to_vec();
        let mut spared = Vec::new();
        for _ in 0..LOOKS_MAX {
            let look = self.look();
            let mut free = Vec::new();
            for (name, at) in left {
                match is_free(&look, &name)? {
                    true => free.push((name, at)),
                    false => spared.push(name),
                }
            }
            left = free;
            if left.is_empty() {
                return Ok(spared);
            }
            let places = left.iter().map(|(name, at)| (*name, at.place()));
            let fact = self.fact(packer, VaultFact::Dropped(places.collect()).encode())?;
            let drops = left.iter().map(|(name, _)| *name).collect();
            let (facts, rests_on) = (vec![fact], look.seen());
            match self.commit(Submission { facts, drops, rests_on, ..Submission::upkeep() }) {
                Ok(_) => return Ok(spared),
                // Another submission came to refer to one of the chunks, or ceased to.
                Err(CommitError::Overtaken(_)) => {}
                Err(CommitError::InUse(wanted)) => {
                    left.retain(|(name, _)| !wanted.contains(name));
                    spared.extend(wanted);
                }
                Err(error) => return Err(failed()(error)),
            }
        }
        spared.extend(left.into_iter().map(|(name, _)| name));
        Ok(spared)
    }

    /// Ends the open unit, so that what is in it can be made anew, too.
    pub(crate) fn end_unit(&self) -> Result<(), CommitError> {
        self.commit(Submission { end_unit: true, ..Submission::default() }).map(|_| ())
    }

    /// Writes the log anew where over a third of a part does not matter any more. What matters of the owner's
    /// facts is `matters`' to say.
    pub fn condense(
        &self,
        matters: &Matters<'_>,
        step: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Condensed, StoreError> {
        // First the index: one that is behind the log may need the facts that are about to go.
        self.index.flush()?;
        let packer = Mutex::new(Packer::new());
        self.log.condense(&mut Condensing {
            matters: &|fact, file, offset| {
                let opened =
                    self.cipher.open(&mut packer.lock(), &fact.header, fact.payload.clone());
                let plain = opened.map_err(|why| why.at(file, offset))?;
                match self.matters(&plain)? {
                    Some(its_own) => Ok(its_own),
                    None => matters(&plain),
                }
            },
            stands: &|unit| Ok(!unit_rows::is_retired(self.index.as_ref(), unit)?),
            go_on_behind: &mut || {
                self.begin_log()?;
                // An index that stood in what is replaced would be refused.
                self.index.flush()
            },
            step,
        })
    }

    /// Has the log go on in a new part: the one there is will not be written to any more.
    fn begin_log(&self) -> Result<(), StoreError> {
        let failed = || StoreError::commit("beginning a new log");
        self.commit(Submission { end_log: true, ..Submission::default() }).map_err(failed())?;
        let fact = self.fact(&mut Packer::new(), VaultFact::Dropped(Vec::new()).encode())?;
        self.commit(Submission { facts: vec![fact], ..Submission::upkeep() }).map_err(failed())?;
        Ok(())
    }

    /// Whether a fact of the vault's own still matters; `None` when it is the owner's to say.
    fn matters(&self, fact: &[u8]) -> Result<Option<bool>, StoreError> {
        let gone = |unit: u32| unit_rows::is_retired(self.index.as_ref(), unit);
        Ok(match VaultFact::decode(fact) {
            None => None,
            Some(Err(_)) => Some(true),
            // A record in a unit that is no more can neither be found again nor come back.
            Some(Ok(VaultFact::Quarantined(_, (unit, _)))) => Some(!gone(unit)?),
            Some(Ok(VaultFact::Dropped(chunks))) => {
                let mut matters = false;
                for (_, (unit, _)) in &chunks {
                    matters |= !gone(*unit)?;
                }
                Some(matters)
            }
            Some(Ok(VaultFact::Tallied(_))) => Some(false),
            Some(Ok(VaultFact::Snapshots(pieces))) => {
                Some(Pieces::of(self.index.as_ref())? == pieces)
            }
            Some(Ok(VaultFact::Lined(line))) => {
                Some(Line::of(self.index.as_ref())?.is_some_and(|now| now == line))
            }
            // If that unit is gone, the one that stands for it now names all that it stood for.
            Some(Ok(VaultFact::Switched { to, .. })) => Some(!gone(to)?),
            // Only while nothing says that it is at its end; what says so stays.
            Some(Ok(VaultFact::Moving(_))) => Some(moving::rows::is_going_on(self.index.as_ref())?),
            Some(Ok(VaultFact::Moved(_))) => Some(true),
        })
    }

    /// Makes a unit that was made of others stand for them, and removes these, unless one of those that its records are
    /// `from` has been replaced meanwhile. Where others may write units, these go one collection later.
    pub(crate) fn switch(
        &self,
        packer: &mut Packer,
        to: u32,
        from: &[u32],
        replaces: Vec<u32>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::commit("switching to a new unit");
        let look = self.look();
        // No unit up to the line is named for the first time, and this one rests on that row.
        if self.blobs.is_shared()
            && let Some(Line { line, .. }) = Line::of(&look)?
            && !self.blobs.is_above(to, line)
        {
            return Err(failed()(CommitError::Overtaken(Vec::new())));
        }
        for source in from {
            if unit_rows::is_retired(&look, *source)? {
                return Err(failed()(CommitError::Overtaken(Vec::new())));
            }
        }
        let fact =
            self.fact(packer, VaultFact::Switched { to, replaces: replaces.clone() }.encode())?;
        let (facts, rests_on) = (vec![fact], look.seen());
        self.commit(Submission { facts, rests_on, ..Submission::upkeep() }).map_err(failed())?;
        if self.blobs.is_shared() {
            // They go one collection later: `line`.
            return Ok(());
        }
        // From here on the switch has happened, even if the old units cannot be removed now: the next start
        // removes them, too.
        self.blobs.remove(&replaces).map_err(|error| StoreError::Commit {
            what: "removing units that were replaced",
            error: CommitError::Partly(error.to_string()),
        })
    }

    /// Ends writing in order and notes how far the log goes, so that the next start can tell a torn
    /// tail from damage.
    pub fn close(&self) -> Result<(), StoreError> {
        if !self.committer.as_ref().is_some_and(Committer::close) {
            return Ok(());
        }
        self.index.flush()?;
        self.log.close()
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed in order; the next start recovers it");
        }
    }
}
