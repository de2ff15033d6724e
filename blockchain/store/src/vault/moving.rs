//! Moves everything that a store holds to where it is to be kept from then on: from files into a database, back, or
//! between any other two.
//!
//! Both sides are the same store, with the same keys, so facts and chunk records move as they are; only their
//! sequences are the other side's. What a store notes for itself of units stays behind: it is about places.
//!
//! - **It goes on where it was interrupted.** What has arrived is what the other side's log says: a chunk that has a
//!   row there is there, and of the facts as many as there are. So a move that is killed at any moment is simply run
//!   again. If something was stored meanwhile, chunks that came are kept, and facts are added to those that came:
//!   unless these are not the first ones any more, since the log was condensed. Then the other side has to be emptied.
//! - **Nothing counts before everything was compared.** Every record is read from both sides again, and the facts of
//!   both are gone through in order. Until then the other side says of itself that it is not whole
//!   ([`Vault::whole`]), and nothing of this side is changed at all.
//! - **Nobody else may write**, to either side. Writing behind a writer that does is refused.

mod copy;
pub(in crate::vault) mod rows;
mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_core::digest::ChunkName;
use lucid_core::words::many_do;
use parking_lot::Mutex;

use crate::chain_move::ChainMoveError;
use crate::codec::Packer;
use crate::contract::blobs::Placement;
use crate::contract::fact_log::{Passed, Position, Replayed};
use crate::contract::index::Seen;
use crate::damage::DamageList;
use crate::frame::{HEADER_BYTES, Header, Record, UNSOUND};
use crate::vault::committer::{Fact, Submission};
use crate::vault::facts::{Arrived, VaultFact};
use crate::vault::{Vault, chunk_rows, collect};
use crate::{CommitError, Damage, StoreError, threads};

/// Chunks are read, sent and compared in stretches of so many bytes: one commit has no more, unless one chunk has.
const STRETCH_BYTES: u64 = 8 << 20;
/// And of so many records.
const STRETCH_RECORDS: usize = 16_384;
/// Records that are read at once: over a network most of the time is spent waiting.
const READERS: usize = 8;
/// Rows that are looked at together, so that what lies together is read together: some megabytes.
const PAGE: usize = 1 << 16;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Chunks and facts are copied.
    Copying,
    /// Both sides are read and compared.
    Comparing,
}

/// Hears how many bytes, of how many, a stage has done; by `false` it stops the move in order.
pub type Progress<'a> = dyn FnMut(Stage, u64, u64) -> bool + 'a;

/// How much there is to move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToMove {
    /// Chunks.
    pub chunks: u64,
    /// Bytes of their records.
    pub chunk_bytes: u64,
    /// Those of them that have arrived already.
    pub chunks_there: u64,
    /// Bytes of their records.
    pub bytes_there: u64,
    /// Bytes of the log, with what stays behind.
    pub log_bytes: u64,
}

impl ToMove {
    /// Bytes that have not arrived.
    pub fn bytes(&self) -> u64 {
        (self.chunk_bytes + self.log_bytes).saturating_sub(self.bytes_there)
    }
}

/// What was moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Chunks that are there now.
    pub chunks: u64,
    /// Bytes of their records.
    pub chunk_bytes: u64,
    /// Those of them that an earlier try had brought.
    pub chunks_before: u64,
    /// Facts that are there now.
    pub facts: u64,
    /// Those of them that an earlier try had brought.
    pub facts_before: u64,
    /// Chunks that read wrongly there and were sent again.
    pub sent_again: u64,
    /// Chunks that are there and not needed any more: the next collection there removes them.
    pub spare: u64,
    /// What could not be read and was left behind, as that was allowed.
    pub left: Vec<Damage>,
    /// BLAKE3 of all that was compared. Equal content has equal digests, on whatever back-end.
    pub digest: [u8; 32],
}

impl Moved {
    /// The digest in hex.
    pub fn digest_text(&self) -> String {
        hex::encode(self.digest)
    }
}

/// Why a move did not come to its end. What has arrived stays, and running it again goes on from there, but where it
/// is said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Reading or writing failed, or it was stopped.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something cannot be read where it is moved from. Everything else has arrived, but no fact.
    #[error(
        "{} damaged in what is to be moved, first {}: put back what is named from a copy (`lucid verify --all` names \
         all of it), or pass --accept-loss to leave it behind",
        many_do(.0.len(), "place", "is", "are"),
        .0.first().map_or_else(String::new, Damage::to_string)
    )]
    Damaged(Vec<Damage>),
    /// Acknowledged facts are missing where it is moved from.
    #[error(
        "what is to be moved is not all there was ({0}): put it back first, or pass --accept-loss to move what is left"
    )]
    Lacking(String),
    /// The other side holds something else. Nothing was written.
    #[error(
        "where it is to go holds facts already, and no move brought them: name an empty database and bucket, or an \
         empty folder"
    )]
    NotEmpty,
    /// The facts that an earlier try brought are not the first ones any more.
    #[error(
        "the log was condensed since an earlier move brought its first {0}, and a log is never cut: name an empty \
         database or folder, and run the same again"
    )]
    Condensed(
        /// How many facts it brought, in words.
        String,
    ),
    /// The chain beside it did not come to its end.
    #[error(transparent)]
    Chain(#[from] ChainMoveError),
    /// The other side gives back something else than was written to it.
    #[error(
        "where it went, {0}: look whether another process writes there, and run the same again"
    )]
    Differs(String),
}

/// A move of all that one side holds to the other.
pub struct Move<'a> {
    from: &'a Vault,
    to: &'a Vault,
    accept_loss: bool,
}

/// A fact as a log has it.
enum Found {
    /// The owner's.
    Owners(Fact),
    /// One that the store keeps for itself.
    Own(VaultFact),
    /// It cannot be read.
    Damaged(Damage),
}

/// How many facts there are, and their digest.
#[derive(Clone, Default)]
struct Facts {
    count: u64,
    digest: blake3::Hasher,
}

impl Facts {
    fn add(&mut self, record: &Record) {
        self.count += 1;
        self.digest.update(&content(&record.header)).update(&record.payload);
    }

    fn finish(&self) -> [u8; 32] {
        *self.digest.finalize().as_bytes()
    }
}

/// What a header says that is the same wherever its record is.
fn content(header: &Header) -> [u8; HEADER_BYTES] {
    Header { sequence: 0, ..header.clone() }.encode()
}

fn moving() -> impl FnOnce(CommitError) -> StoreError {
    StoreError::commit("moving")
}

impl Vault {
    /// Itself, unless a move into it is not at its end: it does not have everything yet, and is nobody's to use.
    pub fn whole(self) -> Result<Self, StoreError> {
        match rows::is_going_on(self.index())? {
            false => Ok(self),
            true => Err(StoreError::Folder(
                "a move into this store is not at its end: run `lucid migrate` again where it was begun, or use what it \
                 is moved from"
                    .into(),
            )),
        }
    }

    /// How much there is to move of it, wherever it goes.
    pub fn to_move(&self) -> Result<ToMove, StoreError> {
        let mut all = ToMove { log_bytes: self.log().bytes()?, ..ToMove::default() };
        each_page(self, |page| {
            all.chunks += page.len() as u64;
            all.chunk_bytes +=
                page.iter().map(|(_, placement)| placement.record_bytes()).sum::<u64>();
            Ok(())
        })?;
        Ok(all)
    }

    /// Shows every fact of the log in order, with its record.
    fn each_fact(
        &self,
        visit: &mut dyn FnMut(Found, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut packer = Packer::new();
        self.log().replay(None, &mut |found, passed| {
            let (record, file, offset) = match found {
                Replayed::Commit { .. } => return Ok(true),
                Replayed::Damaged(damage) => return visit(Found::Damaged(damage), passed),
                Replayed::Fact { record, file, offset } => (record, file, offset),
            };
            let opened = self.cipher().open(&mut packer, &record.header, record.payload.clone());
            let found = match opened.map_err(|why| why.at(&file, offset)) {
                Err(StoreError::Damaged(damage)) => Found::Damaged(damage),
                Err(error) => return Err(error),
                Ok(plain) => match VaultFact::decode(&plain) {
                    None => Found::Owners(Fact { plain, record }),
                    Some(Ok(fact)) => Found::Own(fact),
                    Some(Err(fault)) => Found::Damaged(Damage::new(file, offset, fault)),
                },
            };
            visit(found, passed)
        })
    }
}

/// The owner's facts of a store. Where some may be left behind, damage is passed over.
fn facts_of(vault: &Vault, passing_over: bool) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    vault.each_fact(&mut |found, _| {
        match found {
            Found::Owners(fact) => facts.add(&fact.record),
            Found::Damaged(damage) if !passing_over => return Err(StoreError::Damaged(damage)),
            Found::Own(_) | Found::Damaged(_) => {}
        }
        Ok(true)
    })?;
    Ok(facts)
}

/// Where the log of a store ends; another place than any for one that has none.
fn end_of(vault: &Vault) -> Result<Position, StoreError> {
    Ok(Position::of(vault.index())?.unwrap_or_else(|| Position::new(Vec::new())))
}

/// A move on its way.
struct Work<'a, 'p> {
    from: &'a Vault,
    to: &'a Vault,
    accept_loss: bool,
    progress: &'p mut Progress<'p>,
    /// Bytes that the stage has done, and that it has to do.
    done: u64,
    total: u64,
    /// What cannot be read.
    damage: DamageList,
    /// The chunks among that.
    lost: BTreeSet<ChunkName>,
    failed: Arc<Mutex<Option<CommitError>>>,
    moved: Moved,
}

impl<'a> Move<'a> {
    /// Of everything that one side holds, to the other.
    pub fn new(from: &'a Vault, to: &'a Vault) -> Self {
        Self { from, to, accept_loss: false }
    }

    /// Leaves behind what cannot be read.
    #[must_use]
    pub fn accepting_loss(self, accept_loss: bool) -> Self {
        Self { accept_loss, ..self }
    }

    /// Counts, and changes nothing.
    pub fn survey(&self) -> Result<ToMove, StoreError> {
        let mut survey = ToMove { log_bytes: self.from.log().bytes()?, ..ToMove::default() };
        each_page(self.from, |page| {
            for (name, placement) in page {
                let bytes = placement.record_bytes();
                survey.chunks += 1;
                survey.chunk_bytes += bytes;
                if chunk_rows::placement(self.to.index(), &name)?.is_some() {
                    survey.chunks_there += 1;
                    survey.bytes_there += bytes;
                }
            }
            Ok(())
        })?;
        Ok(survey)
    }

    /// Moves, and compares. What is there after it is a whole store.
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<Moved, MoveError> {
        self.run_with(&mut || Ok(()), progress)
    }

    /// The same of a store with something beside it, a chain, that moves with it: `beside` is run behind the facts and
    /// before the other side is whole, and again by every other try.
    pub fn run_with(
        &self,
        beside: &mut dyn FnMut() -> Result<(), MoveError>,
        progress: &mut Progress<'_>,
    ) -> Result<Moved, MoveError> {
        if let Some(why) = self.from.loss()
            && !self.accept_loss
        {
            return Err(MoveError::Lacking(why));
        }
        let at = self.begin()?;
        let survey = self.survey()?;
        let mut heard = |stage, done, total| progress(stage, done, total);
        let mut work = Work {
            from: self.from,
            to: self.to,
            accept_loss: self.accept_loss,
            progress: &mut heard,
            done: survey.bytes_there,
            total: survey.chunk_bytes + survey.log_bytes,
            damage: DamageList::default(),
            lost: BTreeSet::new(),
            failed: Arc::default(),
            moved: Moved { chunks_before: survey.chunks_there, ..Moved::default() },
        };
        work.copy_chunks()?;
        let damaged = work.look_for_damaged_facts()?;
        work.damage.append(damaged);
        if !work.damage.is_empty() && !self.accept_loss {
            return Err(MoveError::Damaged(work.damage.into()));
        }
        work.copy_facts()?;
        (work.done, work.total) = (0, survey.chunk_bytes + survey.log_bytes);
        work.compare()?;
        beside()?;
        if end_of(self.from)? != at {
            return Err(MoveError::Differs("something was stored meanwhile".into()));
        }
        let Work { mut moved, damage, .. } = work;
        moved.left = damage.into();
        let arrived = Arrived {
            at: at.as_bytes().to_vec(),
            facts: moved.facts,
            chunks: moved.chunks,
            digest: moved.digest,
        };
        self.note(VaultFact::Moved(arrived), Seen::new())?;
        Ok(moved)
    }

    /// Makes sure that the other side is empty, or has what an earlier try brought, and says there that a move goes
    /// on. Answers where the log ends that is moved.
    fn begin(&self) -> Result<Position, MoveError> {
        let at = end_of(self.from)?;
        let look = self.to.look();
        let place = Position::of(&look)?;
        if !rows::is_going_on(&look)? && !self.to.is_unused()? {
            // A move that was at its end, and nothing behind it: it may have been stopped before anybody heard so.
            let mut last = None;
            self.to.each_fact(&mut |found, _| {
                last = Some(matches!(found, Found::Own(VaultFact::Moved(_))));
                Ok(true)
            })?;
            if last != Some(true) {
                return Err(MoveError::NotEmpty);
            }
        }
        tracing::info!(?place, "a move begins, or goes on");
        self.note(VaultFact::Moving(at.as_bytes().to_vec()), look.seen())?;
        Ok(at)
    }

    fn note(&self, fact: VaultFact, rests_on: Seen) -> Result<(), StoreError> {
        let facts = vec![self.to.fact(&mut Packer::new(), fact.encode())?];
        let submission = Submission { facts, rests_on, ..Submission::upkeep() };
        self.to.commit(submission).map_err(moving()).map(|_| ())
    }
}

/// Shows all chunks of a store, many at a time, in the order of their names.
fn each_page(
    of: &Vault,
    mut visit: impl FnMut(Vec<(ChunkName, Placement)>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from = Some(ChunkName::new([0; 32]));
    while let Some(name) = from {
        let page = chunk_rows::chunks(of.index(), &name, PAGE)?;
        from =
            page.last().filter(|_| page.len() == PAGE).and_then(|(last, _)| collect::after(last));
        visit(page)?;
    }
    Ok(())
}

/// The first of them that make a stretch, and the rest.
fn stretch<T>(of: &[T], bytes: impl Fn(&T) -> u64) -> (&[T], &[T]) {
    let mut sum = 0;
    let fits = |one: &&T| {
        sum += bytes(one);
        sum <= STRETCH_BYTES
    };
    let count = of.iter().take(STRETCH_RECORDS).take_while(fits).count().max(1);
    of.split_at_checked(count).unwrap_or((of, &[]))
}

/// Does the same with each, several at once; the answers are in order.
fn each_of<T: Sync, U: Send>(
    all: &[T],
    work: impl Fn(&mut Packer, &T) -> Result<U, StoreError> + Sync,
) -> Result<Vec<U>, StoreError> {
    let left = Mutex::new(all.iter().enumerate());
    let parts = threads::run_on(READERS.min(all.len()), "moving", || -> Result<_, StoreError> {
        let (mut done, mut packer) = (Vec::new(), Packer::new());
        loop {
            let Some((number, one)) = left.lock().next() else { return Ok(done) };
            done.push((number, work(&mut packer, one)?));
        }
    });
    let parts = parts.into_iter().collect::<Result<Vec<_>, StoreError>>()?;
    let mut parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.sort_unstable_by_key(|(number, _)| *number);
    Ok(parts.into_iter().map(|(_, done)| done).collect())
}

/// Reads a chunk's record as it is, or says what is wrong with it. One that was found damaged before is opened, since
/// its digest may be right all the same.
fn read(
    of: &Vault,
    packer: &mut Packer,
    name: &ChunkName,
    placement: &Placement,
) -> Result<Result<Record, Damage>, StoreError> {
    let (header, payload) = match of.blobs().read(name, placement) {
        Ok(read) => read,
        Err(StoreError::Damaged(damage)) => return Ok(Err(damage)),
        Err(error) => return Err(error),
    };
    let damaged = |why: &dyn std::fmt::Display| {
        Damage::new(of.blobs().title(placement.unit), placement.offset, why)
    };
    if !header.matches(&payload) {
        return Ok(Err(damaged(&UNSOUND)));
    }
    let record = Record { header, payload };
    if chunk_rows::is_quarantined(of.index(), name)?
        && let Some(damage) = is_sealed_wrongly(of, packer, &record, placement)?
    {
        return Ok(Err(damage));
    }
    Ok(Ok(record))
}

/// What is wrong with a record whose digest is right, if anything is.
fn is_sealed_wrongly(
    of: &Vault,
    packer: &mut Packer,
    record: &Record,
    placement: &Placement,
) -> Result<Option<Damage>, StoreError> {
    let opened = of.cipher().open(packer, &record.header, record.payload.clone());
    let title = of.blobs().title(placement.unit);
    match opened.map_err(|why| why.at(&title, placement.offset)) {
        Ok(_) => Ok(None),
        Err(StoreError::Damaged(damage)) => Ok(Some(damage)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
