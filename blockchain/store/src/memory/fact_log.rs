//! A log in memory. Any number of writers share one; the first to commit is first.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::contract::blobs::Written;
use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Passed, Position, Replayed, Reread, Unsettled,
};
use crate::frame::Record;
use crate::{CommitError, StoreError};

/// Commits behind a lock.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    commits: Vec<MemoryCommit>,
    /// Commits of a faster writer: each comes before the next commit of any other writer.
    faster: VecDeque<Vec<Record>>,
    /// How the next commits end.
    endings: VecDeque<Ending>,
}

struct MemoryCommit {
    facts: Vec<Record>,
    chunks: Option<Written>,
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
        place(0)
    }

    /// Plays a writer that commits these facts just before the next commit of any other writer.
    pub fn be_faster(&self, facts: Vec<Record>) {
        self.state.lock().faster.push_back(facts);
    }

    /// Has the next commit end so.
    pub fn end_next(&self, ending: Ending) {
        self.state.lock().endings.push_back(ending);
    }

    /// How many commits there are.
    pub fn commits(&self) -> usize {
        self.state.lock().commits.len()
    }
}

fn place(commits: usize) -> Position {
    Position::new((commits as u64).to_be_bytes().to_vec())
}

fn commits_before(place: &Position) -> Result<usize, StoreError> {
    let bytes: Result<[u8; 8], _> = place.as_bytes().try_into();
    let count = bytes.ok().and_then(|bytes| usize::try_from(u64::from_be_bytes(bytes)).ok());
    count.ok_or_else(|| StoreError::Index("the place is none of this log".into()))
}

impl State {
    fn append(&mut self, facts: &mut [Record], chunks: Option<Written>) -> Position {
        for (ordinal, fact) in (0..).zip(facts.iter_mut()) {
            fact.header.sequence = ordinal;
        }
        self.commits.push(MemoryCommit { facts: facts.to_vec(), chunks });
        place(self.commits.len())
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
        let mut state = self.state.lock();
        while let Some(mut faster) = state.faster.pop_front() {
            state.append(&mut faster, None);
        }
        if *after != place(state.commits.len()) {
            return Ok(Appended::Overtaken);
        }
        let chunks = chunks.map(|chunks| chunks.written.clone());
        match state.endings.pop_front() {
            None => Ok(Appended::Here(state.append(facts, chunks))),
            Some(Ending::Refused) => Err(CommitError::Failed("it was refused".into())),
            Some(Ending::Lost) => Err(CommitError::Maybe("no answer came".into())),
            Some(Ending::Unheard) => {
                state.append(facts, chunks);
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
        let mut next = after.map_or(Ok(0), commits_before)?;
        loop {
            // Writers go on meanwhile: none of them waits for a reader.
            let (facts, chunks, total) = {
                let state = self.state.lock();
                let Some(commit) = state.commits.get(next) else { return Ok(true) };
                (commit.facts.clone(), commit.chunks.clone(), state.commits.len() as u64)
            };
            let passed = Passed { done: next as u64, total };
            let (file, offset) = ("memory".to_owned(), next as u64);
            for record in facts {
                if !each(Replayed::Fact { record, file: file.clone(), offset }, passed)? {
                    return Ok(false);
                }
            }
            next += 1;
            let position = place(next);
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
