//! A log in memory. Any number of writers share one; the first to commit is first.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::contract::blobs::Written;
use crate::contract::fact_log::snapshot::{self, Piece, PieceId, Snapshot, Snapshots};
use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Following, Incarnation, Passed, Place, Position,
    Replayed, Reread, Unsettled, gone,
};
use crate::crypt::random;
use crate::frame::Record;
use crate::{CommitError, Damage, StoreError};

/// Commits behind a lock.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
    /// What happens when a commit is on its way, and how many come before that one.
    meanwhile: Mutex<Option<(usize, Meanwhile)>>,
}

/// Is called once.
type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    commits: Vec<MemoryCommit>,
    /// How many commits there ever were: no two have the same digest.
    ever: u64,
    /// Commits of a faster writer: each comes before the next commit of any other writer.
    faster: VecDeque<Vec<Record>>,
    /// How the next commits end; `None`: well.
    endings: VecDeque<Option<Ending>>,
    /// The pieces of snapshots.
    pieces: BTreeMap<PieceId, Vec<u8>>,
    /// The newest snapshots, the newer one first.
    snapshots: Vec<Snapshot>,
}

struct MemoryCommit {
    /// The place behind it.
    place: Place,
    facts: Vec<Record>,
    chunks: Option<Written>,
    /// Whether facts and chunks were taken from it.
    is_hollow: bool,
}

/// How a commit ends otherwise than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It does not happen, and says so.
    Refused,
    /// It happens, and its answer is lost.
    Unheard,
    /// It does not happen, and nobody says so.
    Lost,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where a log without commits ends.
    pub fn start() -> Position {
        beginning().position()
    }

    /// Plays a writer that commits these facts just before the next commit of any other writer.
    pub fn be_faster(&self, facts: Vec<Record>) {
        self.state.lock().faster.push_back(facts);
    }

    /// Calls this when the chunks of the commit behind the next so many are there, and before it is.
    pub fn meanwhile(&self, behind: usize, then: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some((behind, Box::new(then)));
    }

    /// Has the next commit end so.
    pub fn end_next(&self, ending: Ending) {
        self.state.lock().endings.push_back(Some(ending));
    }

    /// Has the commit behind the next so many end so, and forgets how others were to end.
    pub fn end_behind(&self, good: usize, ending: Ending) {
        let endings = std::iter::repeat_n(None, good).chain([Some(ending)]);
        self.state.lock().endings = endings.collect();
    }

    /// Has the next commits end well.
    pub fn end_well(&self) {
        self.state.lock().endings.clear();
    }

    /// Puts the log back to older data: only so many commits are left, with the snapshots up to there.
    pub fn put_back(&self, commits: usize) {
        let mut state = self.state.lock();
        state.commits.truncate(commits);
        state.snapshots.retain(|snapshot| snapshot.place.n <= commits as u64);
    }

    /// How many commits are hollow.
    pub fn hollow_commits(&self) -> usize {
        self.state.lock().commits.iter().filter(|commit| commit.is_hollow).count()
    }

    /// How many pieces of snapshots there are.
    pub fn pieces(&self) -> usize {
        self.state.lock().pieces.len()
    }

    /// Changes the pieces behind everybody's back.
    pub fn meddle_with_pieces(&self, with: impl FnOnce(&mut BTreeMap<PieceId, Vec<u8>>)) {
        with(&mut self.state.lock().pieces);
    }

    /// How many commits there are.
    pub fn commits(&self) -> usize {
        self.state.lock().commits.len()
    }
}

fn beginning() -> Place {
    Place { n: 0, digest: [0; 32], incarnation: Incarnation::first([0; 16]) }
}

impl State {
    /// The place behind the commit with a number, if there is one.
    fn place(&self, n: u64) -> Option<Place> {
        let Some(before) = n.checked_sub(1) else { return Some(beginning()) };
        let commit = self.commits.get(usize::try_from(before).ok()?)?;
        Some(commit.place)
    }

    fn end(&self) -> Place {
        self.commits.last().map_or_else(beginning, |commit| commit.place)
    }

    /// How many commits are in front of a place, or why nothing may follow it.
    fn stands(&self, at: &Place) -> Result<usize, StoreError> {
        let end = self.end();
        match self.place(at.n) {
            Some(there) if there == *at => {
                usize::try_from(at.n).map_err(|_| StoreError::Index("too many commits".into()))
            }
            there => Err(gone("the log in memory", at, there.is_some(), &end)),
        }
    }

    fn append(
        &mut self,
        incarnation: Incarnation,
        facts: &mut [Record],
        chunks: Option<Written>,
    ) -> Position {
        let before = self.end();
        self.ever += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&before.encode()).update(&self.ever.to_le_bytes());
        for (ordinal, fact) in (0..).zip(facts.iter_mut()) {
            fact.header.sequence = ordinal;
            hasher.update(&fact.header.encode()).update(&fact.payload);
        }
        let place = Place { n: before.n + 1, digest: *hasher.finalize().as_bytes(), incarnation };
        self.commits.push(MemoryCommit { place, facts: facts.to_vec(), chunks, is_hollow: false });
        place.position()
    }

    /// Lets others that are faster commit, and says what the place is then that a commit is to follow; `None` where it
    /// is not the end.
    fn before(&mut self, after: &Position) -> Result<Option<Place>, CommitError> {
        while let Some(mut faster) = self.faster.pop_front() {
            self.append(self.end().incarnation, &mut faster, None);
        }
        let after = Place::of(after).map_err(|error| CommitError::Failed(error.to_string()))?;
        self.stands(&after).map_err(|error| CommitError::Broken(error.to_string()))?;
        Ok((self.end() == after).then_some(after))
    }
}

impl FactLog for MemoryLog {
    // There is always some.
    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn ready(&self) -> Result<(), CommitError> {
        Ok(())
    }

    /// Chunks are settled first: a reader of the commit may ask for them.
    fn commit(
        &self,
        after: &Position,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError> {
        if let Some(chunks) = chunks {
            chunks.settle()?;
        }
        let meanwhile = {
            let mut waiting = self.meanwhile.lock();
            match waiting.as_mut() {
                Some((behind, _)) if *behind > 0 => {
                    *behind -= 1;
                    None
                }
                _ => waiting.take(),
            }
        };
        if let Some((_, then)) = meanwhile {
            then();
        }
        let mut state = self.state.lock();
        let Some(Place { incarnation, .. }) = state.before(after)? else {
            return Ok(Appended::Overtaken);
        };
        let chunks = chunks.map(|chunks| chunks.written.clone());
        match state.endings.pop_front().flatten() {
            None => Ok(Appended::Here(state.append(incarnation, facts, chunks))),
            Some(Ending::Refused) => Err(CommitError::Failed("it was refused".into())),
            Some(Ending::Lost) => Err(CommitError::Maybe("no answer came".into())),
            Some(Ending::Unheard) => {
                state.append(incarnation, facts, chunks);
                Err(CommitError::Maybe("no answer came".into()))
            }
        }
    }

    fn begin_part(&self) -> Result<(), CommitError> {
        Ok(())
    }

    fn replay(
        &self,
        after: Option<&Position>,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let newest = self.state.lock().snapshots.first().cloned();
        let mut next = match (after, newest) {
            (Some(after), _) => self.state.lock().stands(&Place::of(after)?)?,
            (None, None) => 0,
            (None, Some(newest)) => {
                let total = self.commits() as u64;
                if !snapshot::show(self, &newest, total, each)? {
                    return Ok(false);
                }
                self.state.lock().stands(&newest.place)?
            }
        };
        loop {
            // Writers go on meanwhile: none of them waits for a reader.
            let (facts, chunks, position, total) = {
                let state = self.state.lock();
                let Some(commit) = state.commits.get(next) else { return Ok(true) };
                if commit.is_hollow {
                    return Err(snapshot::hollow("the log in memory", commit.place.n));
                }
                let position = commit.place.position();
                (commit.facts.clone(), commit.chunks.clone(), position, state.commits.len() as u64)
            };
            let passed = Passed { done: next as u64, total };
            let (file, offset) = ("memory".to_owned(), next as u64);
            for record in facts {
                if !each(Replayed::Fact { record, file: file.clone(), offset }, passed)? {
                    return Ok(false);
                }
            }
            next += 1;
            let (chunks, places) = chunks.map(|written| (written.extent, written.places)).unzip();
            if !each(Replayed::Commit { chunks, places, position }, passed)? {
                return Ok(false);
            }
        }
    }

    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let mut next = from.1;
        loop {
            let facts = {
                let state = self.state.lock();
                let place = usize::try_from(next).unwrap_or(usize::MAX);
                let Some(commit) = state.commits.get(place) else { return Ok(None) };
                commit.facts.clone()
            };
            let mut goes_on = true;
            for Record { header, payload } in facts {
                let payload = Ok(payload);
                goes_on &= each(Reread::Record { header, payload, file: "memory", offset: next })?;
            }
            next += 1;
            if !goes_on {
                return Ok(Some((0, next)));
            }
        }
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn following(&self, at: &Position) -> Result<Following, StoreError> {
        match Place::of(at).and_then(|place| self.state.lock().stands(&place)) {
            Ok(_) => Ok(Following::GoesOn),
            Err(StoreError::Anew(why)) => Ok(Following::Anew(why)),
            Err(error) => Err(error),
        }
    }

    fn place(&self, at: &Position) -> Result<Option<Place>, StoreError> {
        Place::of(at).map(Some)
    }

    fn has(&self, place: &Place) -> Result<Option<bool>, StoreError> {
        Ok(self.state.lock().place(place.n).map(|there| there.digest == place.digest))
    }

    fn begin_incarnation(&self, after: &Position) -> Result<Appended, CommitError> {
        let id = random().map_err(|error| CommitError::Failed(error.to_string()))?;
        let mut state = self.state.lock();
        let Some(place) = state.before(after)? else { return Ok(Appended::Overtaken) };
        let next = place.incarnation.next(id);
        let next = next.ok_or_else(|| CommitError::Failed("no incarnation is left".into()))?;
        Ok(Appended::Here(state.append(next, &mut [], None)))
    }

    fn is_start(&self, at: &Position) -> Result<bool, StoreError> {
        Ok(*at == Self::start())
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let state = self.state.lock();
        Ok(state.commits.iter().flat_map(|commit| &commit.facts).map(Record::record_bytes).sum())
    }

    /// Another writer that shares the log may still have to follow facts that do not matter any more: nothing goes.
    fn condense(&self, _how: &mut Condensing<'_>) -> Result<Condensed, StoreError> {
        Ok(Condensed::default())
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Snapshots for MemoryLog {
    fn kept(&self) -> Result<Vec<Snapshot>, StoreError> {
        Ok(self.state.lock().snapshots.clone())
    }

    fn put(&self, id: &PieceId, bytes: &[u8]) -> Result<Piece, StoreError> {
        self.state.lock().pieces.insert(*id, bytes.to_vec());
        Ok(Piece { id: *id, digest: *blake3::hash(bytes).as_bytes(), bytes: bytes.len() as u64 })
    }

    fn piece(&self, piece: &Piece) -> Result<Vec<u8>, StoreError> {
        let bytes = self.state.lock().pieces.get(&piece.id).cloned();
        let missing = || Damage::new(snapshot::title(&piece.id), 0, "it is missing");
        snapshot::checked(piece, bytes.ok_or_else(|| StoreError::Damaged(missing()))?)
    }

    fn remove(&self, pieces: &[PieceId]) -> Result<(), StoreError> {
        self.state.lock().pieces.retain(|id, _| !pieces.contains(id));
        Ok(())
    }

    fn announce(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let snapshots = &mut self.state.lock().snapshots;
        if snapshots.iter().all(|kept| kept.number < snapshot.number) {
            snapshots.insert(0, snapshot.clone());
            snapshots.truncate(2);
        }
        Ok(())
    }

    fn hollow(&self, from: u64, up_to: &Place) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        state.stands(up_to)?;
        let mut hollowed = 0;
        for commit in &mut state.commits {
            if commit.place.n > from && commit.place.n <= up_to.n && !commit.is_hollow {
                (commit.facts, commit.chunks, commit.is_hollow) = (Vec::new(), None, true);
                hollowed += 1;
            }
        }
        Ok(hollowed)
    }
}
