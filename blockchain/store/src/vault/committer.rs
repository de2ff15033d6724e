//! The only writer of chunks and facts.
//!
//! Everyone else hands over finished records; one thread takes what is pending, writes the chunks and commits
//! the facts behind the last commit, brings the index up to date, and then acknowledges all of it. The commit
//! that is running forms the next batch, so there is no timer and no wait on a quiet store. If another writer's
//! commit came first, the index follows it, and the batch is decided anew.
//!
//! Invariants kept here and nowhere else:
//! - **No reference commits before its chunk.** A submission names the chunks it needs; if one is not
//!   there, and not in the same batch, the whole submission is refused.
//! - **What a submission rests on is so when it commits.** It names the rows that it rests on, as its op
//!   saw them; they are compared when it is its turn, with what was decided before it taken in, and if one
//!   differs the whole submission is refused. So two ops that look at the same time are in one order.
//! - **No chunk is dropped that is referred to**: a submission that drops chunks names the rows that say
//!   whether they are referred to, among those that it rests on. For as long as [`Recent`] remembers a chunk, a
//!   caller that was told that it is there may refer to it, too; after that, the reference is refused and the
//!   chunk sent again.
//! - **A commit is made only when the one before it is durable**, so a crash can tear the last one alone.
//! - **What brings bytes in leaves room for what gives some back** ([`Purpose`]): it is refused before the disk is
//!   full, so that a full store can be made smaller.
//! - **A failed write is taken back, and never retried.** If even that fails, nothing more is written by
//!   this process. Of a commit that nobody knows about, the chunks stay: the log tells in the end.
//! - **A batch that does not fit into one unit is cut into several commits**, each unit ending before
//!   the next one is begun; the facts go with the last of them, so a submission is decided as a whole.
//! - **Each waiting submission is answered**, even if the thread fails: if it ends otherwise than by
//!   [`Committer::close`], the store is broken, and all submissions that wait or come later are told so.
//!
//! In one file because queue, decision and answer are one protocol, whose parts are only right together.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_core::digest::ChunkName;
use parking_lot::{Condvar, Mutex};

use crate::codec::Packer;
use crate::contract::blobs::{Blobs, Placement};
use crate::contract::fact_log::{Appended, FactLog, Position, Unsettled};
use crate::contract::index::{Changes, Index, Seen};
use crate::crypt::Cipher;
use crate::frame::{CipherId, Record};
use crate::measured::CommitStages;
use crate::vault::chunk_rows;
use crate::vault::elsewhere::distrusting;
use crate::vault::follow::follow;
use crate::vault::line::Line;
use crate::vault::marks::Marks;
use crate::vault::projection::Projection;
use crate::vault::unit_rows::{self, Unread};
use crate::{CommitError, StoreError, threads};

/// A batch takes up submissions until it is this large.
const BATCH_BYTES: u64 = 8 << 20;
/// A batch is decided anew so often at most when others commit first; then it is refused, and its callers look again.
const OVERTAKEN_MAX: usize = 1_000;
/// Submissions waiting for the committer may hold this much; beyond it, submitting waits.
const QUEUE_BYTES_MAX: u64 = 32 << 20;

/// A fact: its bytes for the index, and the record for the log.
#[derive(Debug)]
pub struct Fact {
    /// What [`Projection::apply`] is given.
    pub plain: Vec<u8>,
    /// What is written.
    pub record: Record,
}

/// What a submission is for, which decides whether it may use the room that is kept free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// It brings bytes in: refused while less is free than has to stay free.
    #[default]
    Bring,
    /// It gives room back, or notes something about what is there: it may use all the room there is.
    Upkeep,
}

/// What is to be made durable together.
#[derive(Debug, Default)]
pub struct Submission {
    /// What it is for.
    pub purpose: Purpose,
    /// Chunk records. One that is known already is dropped.
    pub chunks: Vec<Record>,
    /// Facts, in order.
    pub facts: Vec<Fact>,
    /// Rows that must be as they were seen for the facts to be true.
    pub rests_on: Seen,
    /// Chunks that must be there for the facts to be true.
    pub requires: Vec<ChunkName>,
    /// Chunks that the facts drop: refused if anyone has asked for one of them lately.
    pub drops: Vec<ChunkName>,
    /// Whether chunks are written even if they are known: their copies move here from where they are.
    pub again: bool,
    /// Whether what others committed is to be followed first, so that the index is at the end of the log.
    pub follow: bool,
    /// Whether the open unit is to end, full or not.
    pub end_unit: bool,
    /// Whether the next commit is to begin a new log file.
    pub end_log: bool,
}

impl Submission {
    /// An empty one that may use all the room there is.
    pub fn upkeep() -> Self {
        Self { purpose: Purpose::Upkeep, ..Self::default() }
    }

    fn bytes(&self) -> u64 {
        let chunks: u64 = self.chunks.iter().map(Record::record_bytes).sum();
        let facts: u64 = self.facts.iter().map(|fact| fact.record.record_bytes()).sum();
        chunks + facts
    }

    /// Whether it is refused while there is only room for upkeep.
    fn needs_room(&self) -> bool {
        self.purpose == Purpose::Bring && !(self.chunks.is_empty() && self.facts.is_empty())
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Chunk records that were written, not known before.
    pub chunks_new: u64,
    /// Bytes they take on the disk, headers included.
    pub bytes_stored: u64,
}

/// What waits for the committer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Submissions.
    pub submissions: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// From so many bytes on, submitting waits.
    pub bytes_max: u64,
}

/// What is called with the outcome, on the committer's thread: it must not block.
pub type Done = Box<dyn FnOnce(Result<Committed, CommitError>) + Send>;

/// Names that are remembered before the older half of them is forgotten, unless time forgets them first.
const RECENT_MAX: usize = 1 << 18;
/// How long a name is remembered at least, while there are not too many.
const RECENT_FOR: Duration = Duration::from_secs(30 * 60);

/// Chunks that a caller was told are there, or refers to, lately. Eight bytes of a name are enough: two names
/// that share them only keep a chunk that might have gone.
struct Recent {
    names: HashSet<u64>,
    older: HashSet<u64>,
    since: Instant,
    /// While something is being collected nothing is forgotten.
    collecting: bool,
    /// Chunks that are being dropped: to a caller that asks now they are unknown already.
    dropping: HashSet<ChunkName>,
}

impl Recent {
    fn new() -> Self {
        Self {
            names: HashSet::new(),
            older: HashSet::new(),
            since: Instant::now(),
            collecting: false,
            dropping: HashSet::new(),
        }
    }

    fn add(&mut self, name: &ChunkName) {
        let full = self.names.len() >= RECENT_MAX || self.since.elapsed() >= RECENT_FOR;
        if full && !self.collecting {
            self.older = std::mem::take(&mut self.names);
            self.since = Instant::now();
        }
        self.names.insert(short(name));
    }

    fn has(&self, name: &ChunkName) -> bool {
        let name = short(name);
        self.names.contains(&name) || self.older.contains(&name)
    }
}

/// The first eight bytes of a name.
pub fn short(name: &ChunkName) -> u64 {
    name.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The caller that waits for the outcome of a submission. If the thread that was to tell the outcome unwinds,
/// the caller hears that the store is broken.
struct Waiter {
    done: Option<Done>,
    since: Instant,
}

impl Waiter {
    fn new(done: Done) -> Self {
        Self { done: Some(done), since: Instant::now() }
    }

    fn tell(mut self, outcome: Result<Committed, CommitError>) {
        if let Some(done) = self.done.take() {
            done(outcome);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(CommitError::Broken(ENDED.into())));
        }
    }
}

const ENDED: &str = "the thread that writes ended";

struct Queue {
    waiting: VecDeque<(Submission, Waiter)>,
    bytes: u64,
    /// Chunks that are waiting or being written, and whether a copy among them is encrypted: as good as known
    /// to every submission after them.
    pending: HashMap<ChunkName, bool>,
    closed: bool,
    broken: Option<String>,
}

impl Queue {
    fn expect(&mut self, chunk: &Record) {
        let (name, encrypted) = named(chunk);
        *self.pending.entry(name).or_insert(false) |= encrypted;
    }

    /// A batch is written, or failed: what is pending now is what still waits.
    fn written(&mut self, broken: Option<String>) {
        self.broken = broken;
        let waiting = std::mem::take(&mut self.waiting);
        self.pending.clear();
        waiting.iter().flat_map(|(submission, _)| &submission.chunks).for_each(|c| self.expect(c));
        self.waiting = waiting;
    }
}

/// A chunk's name, and whether this copy is encrypted.
fn named(chunk: &Record) -> (ChunkName, bool) {
    (ChunkName::new(chunk.header.name), chunk.header.cipher != CipherId::Plain)
}

struct Shared {
    queue: Mutex<Queue>,
    recent: Mutex<Recent>,
    arrived: Condvar,
    taken: Condvar,
    stages: CommitStages,
}

impl Shared {
    /// Nobody writes any more: says so to all who wait, for an outcome or for room.
    fn give_up(&self, why: String) {
        tracing::error!(why, "writing stopped");
        let mut queue = self.queue.lock();
        queue.broken = Some(why.clone());
        queue.bytes = 0;
        queue.pending.clear();
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.taken.notify_all();
        for (_, waiter) in waiting {
            waiter.tell(Err(CommitError::Broken(why.clone())));
        }
    }
}

/// Copies of chunks that the index has, and that nothing may rely on.
#[derive(Default)]
pub struct DoubtfulCopies {
    /// Units that were not there, or not whole, when the store was opened.
    pub unread: BTreeMap<u32, Unread>,
    /// Where copies were found damaged, until that is committed.
    found: Mutex<HashMap<ChunkName, Placement>>,
}

impl DoubtfulCopies {
    /// Nothing is found yet.
    pub fn new(unread: BTreeMap<u32, Unread>) -> Self {
        Self { unread, found: Mutex::default() }
    }

    /// A copy was found damaged. The commit that says so is on its way, and what comes before it, or with it,
    /// must not rely on the copy either.
    pub fn add(&self, name: ChunkName, placement: Placement) {
        self.found.lock().insert(name, placement);
    }

    /// That is committed.
    pub fn settled(&self, name: &ChunkName) {
        self.found.lock().remove(name);
    }

    fn has(&self, name: &ChunkName, placement: &Placement) -> bool {
        self.unread.contains_key(&placement.unit) || self.found.lock().get(name) == Some(placement)
    }
}

/// What is written to, and from where on.
pub(crate) struct Start {
    /// Keeps the facts.
    pub log: Arc<dyn FactLog>,
    /// Keeps the chunks.
    pub blobs: Arc<dyn Blobs>,
    /// Follows.
    pub index: Arc<dyn Index>,
    /// Makes rows of facts.
    pub projection: Arc<Projection>,
    /// Opens what others committed.
    pub cipher: Arc<Cipher>,
    /// The last commit.
    pub at: Position,
    /// Which copies nothing may rely on.
    pub doubts: Arc<DoubtfulCopies>,
}

/// The handle to the writing thread.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<bool>>>,
}

impl Committer {
    /// Starts writing behind the last commit.
    pub(crate) fn start(from: Start) -> Result<Self, StoreError> {
        let stages = CommitStages::new();
        let writer = Writer {
            from,
            broken: None,
            stages: stages.clone(),
            marks: Marks::default(),
            packer: Packer::new(),
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                bytes: 0,
                pending: HashMap::new(),
                closed: false,
                broken: None,
            }),
            recent: Mutex::new(Recent::new()),
            arrived: Condvar::new(),
            taken: Condvar::new(),
            stages,
        });
        let theirs = shared.clone();
        let work = move || match catch_unwind(AssertUnwindSafe(|| run(&theirs, writer))) {
            Ok(()) => true,
            Err(panic) => {
                theirs.give_up(format!("{ENDED}: {}", said(panic.as_ref())));
                false
            }
        };
        let thread = threads::start("committer", work)
            .map_err(StoreError::io("starting the thread that writes"))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a submission; waits only while too much is pending. `done` hears how it went.
    pub fn submit(&self, submission: Submission, done: Done) {
        let (bytes, done) = (submission.bytes(), Waiter::new(done));
        if !submission.requires.is_empty() || !submission.chunks.is_empty() {
            let mut recent = self.shared.recent.lock();
            submission.requires.iter().for_each(|name| recent.add(name));
            let chunks = submission.chunks.iter().map(|chunk| ChunkName::new(chunk.header.name));
            chunks.for_each(|name| recent.add(&name));
        }
        let mut queue = self.shared.queue.lock();
        while queue.bytes > QUEUE_BYTES_MAX && !queue.closed && queue.broken.is_none() {
            self.shared.taken.wait(&mut queue);
        }
        let refusal = match &queue.broken {
            Some(why) => Some(CommitError::Broken(why.clone())),
            None if queue.closed => Some(CommitError::Failed("the store is closing".into())),
            None => None,
        };
        if let Some(refusal) = refusal {
            drop(queue);
            done.tell(Err(refusal));
            return;
        }
        for chunk in &submission.chunks {
            queue.expect(chunk);
        }
        queue.bytes += bytes;
        queue.waiting.push_back((submission, done));
        self.shared.arrived.notify_one();
    }

    /// Hands over a submission and waits until it is durable, or surely is not.
    pub fn commit(&self, submission: Submission) -> Result<Committed, CommitError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.submit(
            submission,
            Box::new(move |outcome| {
                // The waiter may be gone; then nobody wants to know.
                let _ = tell.send(outcome);
            }),
        );
        told.recv().unwrap_or_else(|_| Err(CommitError::Broken(ENDED.into())))
    }

    /// Notes that the caller may be about to refer to a chunk; `false` when it is just being dropped.
    pub fn ask_for(&self, name: &ChunkName) -> bool {
        let mut recent = self.shared.recent.lock();
        recent.add(name);
        !recent.dropping.contains(name)
    }

    /// Remembers every chunk that is asked for from now on, until this is called with `false`.
    pub fn set_collecting(&self, collecting: bool) {
        self.shared.recent.lock().collecting = collecting;
    }

    /// Whether a chunk has been submitted, encrypted if it must be, and will be durable before anything that is
    /// submitted next.
    pub fn is_pending(&self, name: &ChunkName, encrypted: bool) -> bool {
        self.shared.queue.lock().pending.get(name).is_some_and(|is| *is || !encrypted)
    }

    /// What waits.
    pub fn queue(&self) -> QueueFigures {
        let queue = self.shared.queue.lock();
        let submissions = queue.waiting.len() as u64;
        QueueFigures { submissions, bytes: queue.bytes, bytes_max: QUEUE_BYTES_MAX }
    }

    /// Why nothing can be written any more, if so.
    pub fn broken(&self) -> Option<String> {
        self.shared.queue.lock().broken.clone()
    }

    /// Finishes what is pending and ends the thread. `false` the second time, and when the thread could not
    /// end in order.
    pub fn close(&self) -> bool {
        self.shared.queue.lock().closed = true;
        self.shared.arrived.notify_all();
        let thread = self.thread.lock().take();
        thread.is_some_and(|thread| thread.join().unwrap_or(false))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(shared: &Shared, mut writer: Writer) {
    while let Some(batch) = next_batch(shared) {
        let (submissions, waiters): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let mut waiters = waiters.into_iter();
        // Behind them, so that when this unwinds the store is broken before any of them hears so.
        let _breaks = Breaks(shared);
        let outcomes = writer.write(submissions, &shared.recent);
        shared.queue.lock().written(writer.broken.clone());
        shared.taken.notify_all();
        for outcome in outcomes {
            if let Some(waiter) = waiters.next() {
                waiter.tell(outcome);
            }
        }
    }
}

/// Marks the store broken where the thread unwinds.
struct Breaks<'a>(&'a Shared);

impl Drop for Breaks<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.lock().broken = Some(ENDED.into());
        }
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

fn next_batch(shared: &Shared) -> Option<Vec<(Submission, Waiter)>> {
    let mut queue = shared.queue.lock();
    while queue.waiting.is_empty() {
        if queue.closed {
            return None;
        }
        shared.arrived.wait(&mut queue);
    }
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some((submission, _)) = queue.waiting.front() {
        let more = submission.bytes();
        if !batch.is_empty() && bytes + more > BATCH_BYTES {
            break;
        }
        bytes += more;
        batch.extend(queue.waiting.pop_front());
    }
    queue.bytes -= bytes;
    drop(queue);
    batch.iter().for_each(|(_, waiter)| shared.stages.waited(waiter.since.elapsed()));
    Some(batch)
}

struct Writer {
    from: Start,
    broken: Option<String>,
    stages: CommitStages,
    marks: Marks,
    packer: Packer,
}

/// What of a batch is to be written: which chunks and facts of which submissions, and what follows.
struct Plan<'a> {
    chunks: Vec<(usize, usize)>,
    accepted: Vec<usize>,
    /// What the facts make of the index.
    changes: Changes<'a>,
    outcomes: Vec<Result<Committed, CommitError>>,
}

/// Why a batch was not written.
enum Stopped {
    /// Another writer's commit came first, and the index has followed it: everything is to be decided anew.
    Overtaken,
    /// All that wait are told this.
    Refused(CommitError),
}

impl From<CommitError> for Stopped {
    fn from(error: CommitError) -> Self {
        Self::Refused(error)
    }
}

impl Writer {
    /// Writes a batch and answers each submission.
    fn write(
        &mut self,
        submissions: Vec<Submission>,
        recent: &Mutex<Recent>,
    ) -> Vec<Result<Committed, CommitError>> {
        let outcomes = self.write_batch(submissions, recent);
        recent.lock().dropping.clear();
        outcomes
    }

    fn write_batch(
        &mut self,
        mut submissions: Vec<Submission>,
        recent: &Mutex<Recent>,
    ) -> Vec<Result<Committed, CommitError>> {
        let count = submissions.len();
        let refuse = |error: CommitError| (0..count).map(|_| Err(error.clone())).collect();
        if let Some(why) = &self.broken {
            return refuse(CommitError::Broken(why.clone()));
        }
        for _ in 0..OVERTAKEN_MAX {
            match self.try_batch(&mut submissions, recent) {
                Ok(outcomes) => return outcomes,
                Err(Stopped::Overtaken) => recent.lock().dropping.clear(),
                Err(Stopped::Refused(error)) => {
                    tracing::error!(%error, "a batch was not written");
                    if let CommitError::Broken(why) = &error {
                        tracing::error!(why, "writing stopped");
                        self.broken = Some(why.clone());
                    }
                    return refuse(error);
                }
            }
        }
        refuse(CommitError::Overtaken(Vec::new()))
    }

    fn try_batch(
        &mut self,
        submissions: &mut [Submission],
        recent: &Mutex<Recent>,
    ) -> Result<Vec<Result<Committed, CommitError>>, Stopped> {
        let end_unit = submissions.iter().any(|submission| submission.end_unit);
        let end_log = submissions.iter().any(|submission| submission.end_log);
        if submissions.iter().any(|submission| submission.follow) {
            self.from.at = self.follow()?;
        }
        let index = self.from.index.clone();
        let Plan { chunks, accepted, changes, outcomes } = self
            .stages
            .decide(|| self.plan(index.as_ref(), submissions, recent))
            .map_err(|error| CommitError::Failed(error.to_string()))?;
        if chunks.is_empty() && accepted.iter().all(|of| has_no_facts(submissions, *of)) {
            self.end_parts(end_unit, end_log)?;
            return Ok(outcomes);
        }
        let mut records = Records::take(submissions, &chunks, &accepted);
        let stages = self.stages.clone();
        let written = stages.write(|| self.write_records(&mut records, changes));
        if matches!(written, Err(Stopped::Overtaken)) {
            records.put_back(submissions, &chunks, &accepted);
        }
        written?;
        self.marks.note(&self.from);
        if let Err(error) = self.end_parts(end_unit, end_log) {
            if let CommitError::Broken(why) = &error {
                self.broken = Some(why.clone());
            }
            tracing::error!(%error, "a full file could not be closed; the next write tries again");
        }
        Ok(outcomes)
    }

    /// Writes what was decided: in several commits, where it does not fit into one unit.
    fn write_records(
        &mut self,
        records: &mut Records,
        mut changes: Changes<'_>,
    ) -> Result<(), Stopped> {
        let index = self.from.index.clone();
        if !records.facts.is_empty() {
            records.facts.extend(self.tally(&mut changes)?);
        }
        let mut changes = Some(changes);
        let mut placed = Vec::new();
        let mut rest = records.chunks.as_mut_slice();
        loop {
            // What the open unit does not take any more goes into a commit, and a unit, of its own.
            let fits = self.from.blobs.fits(rest);
            let (now, later) = rest.split_at_mut(fits);
            let is_last = later.is_empty();
            if fits > 0 || is_last {
                // The facts go with the last commit, and so does what they make of the index.
                let (facts, changes) = match is_last {
                    true => (records.facts.as_mut_slice(), changes.take()),
                    false => (&mut [] as &mut [Record], None),
                };
                let changes = changes.unwrap_or_else(|| Changes::new(index.as_ref()));
                self.commit(now, facts, changes, &mut placed)?;
            }
            if is_last {
                return Ok(());
            }
            self.from.blobs.end(true)?;
            rest = later;
        }
    }

    /// What the rows come to behind the facts of a batch, as a fact behind them: those who follow compare it.
    fn tally(&mut self, changes: &mut Changes<'_>) -> Result<Option<Record>, CommitError> {
        let Start { log, projection, cipher, at, .. } = &self.from;
        let mut tally = || {
            if log.place(at)?.is_none() {
                return Ok(None);
            }
            let Some(plain) = projection.tally(changes)? else { return Ok(None) };
            projection.apply(&plain, changes)?;
            cipher.fact_record(&mut self.packer, &plain).map(Some)
        };
        tally().map_err(|error: StoreError| CommitError::Failed(error.to_string()))
    }

    /// Ends what is full, or has to be ended: the next commit begins new ones.
    fn end_parts(&self, end_unit: bool, end_log: bool) -> Result<(), CommitError> {
        if end_log {
            self.from.log.begin_part()?;
        }
        self.from.blobs.end(end_unit)
    }

    /// Makes one commit durable, with chunks that fit into one unit, and has the index follow. The index then
    /// says where all chunks of the batch are that were placed until now, regardless of what the facts of the
    /// batch made of their rows.
    fn commit(
        &mut self,
        chunks: &mut [Record],
        facts: &mut [Record],
        mut changes: Changes<'_>,
        placed: &mut Vec<(ChunkName, Placement)>,
    ) -> Result<(), Stopped> {
        let Start { log, blobs, .. } = &self.from;
        log.ready()?;
        if !chunks.is_empty() && blobs.is_shared() {
            // If another line is drawn before this commit is there, it is overtaken.
            let line = Line::of(self.from.index.as_ref());
            let line = line.map_err(|error| CommitError::Failed(error.to_string()))?;
            blobs.rise(line.map_or(0, |line| line.line));
        }
        let written = match chunks.is_empty() {
            true => None,
            false => Some(blobs.write(chunks)?),
        };
        let unsettled =
            written.as_ref().map(|written| Unsettled { blobs: blobs.as_ref(), written });
        let committed = log.commit(&self.from.at, facts, unsettled);
        let Ok(Appended::Here(at)) = committed else {
            // Of what may have happened the chunks stay: the log may name them.
            let may_be_there = committed.as_ref().is_err_and(CommitError::maybe_applied);
            if let Some(written) = written
                && !may_be_there
            {
                blobs.take_back(&written).map_err(|left| match &committed {
                    Err(error) => CommitError::Broken(format!("{error}, and then {left}")),
                    Ok(_) => left,
                })?;
            }
            committed?;
            self.from.at = self.follow()?;
            return Err(Stopped::Overtaken);
        };
        let named = written.as_ref().map(|written| (&written.extent, written.places.len()));
        blobs.note(named, &mut changes);
        self.from.at = at;
        placed.extend(written.into_iter().flat_map(|written| written.places));
        for (name, placement) in &*placed {
            chunk_rows::place(&mut changes, name, placement);
        }
        self.from.at.note(&mut changes);
        // Durable, but not findable until a restart replays it: stop before anyone is told wrong.
        Ok(changes.write().map_err(|error| not_followed(&error))?)
    }

    /// Has the index follow what others committed.
    fn follow(&self) -> Result<Position, CommitError> {
        let Start { log, blobs, index, projection, cipher, at, .. } = &self.from;
        let (log, blobs, index) = (log.as_ref(), blobs.as_ref(), index.as_ref());
        let followed = follow(log, blobs, index, projection, cipher, Some(at), &|_| true);
        let end = distrusting(index, followed).map_err(|error| not_followed(&error))?;
        Ok(end.unwrap_or_else(|| at.clone()))
    }

    /// Whether there is room for what is new in a batch, beside what has to stay free. Where nothing in it depends on
    /// that, nobody asks.
    fn room(&self, submissions: &[Submission]) -> Result<(), CommitError> {
        if !submissions.iter().any(Submission::needs_room) {
            return Ok(());
        }
        let (mut chunks, mut all) = (0, 0);
        for submission in submissions {
            chunks += submission.chunks.iter().map(Record::record_bytes).sum::<u64>();
            all += submission.bytes();
        }
        self.from.log.room(all - chunks).and_then(|()| self.from.blobs.room(chunks))
    }

    /// Decides, submission by submission, what is accepted: the point of decision. Each sees what those before
    /// it made of the index.
    fn plan<'a>(
        &self,
        index: &'a dyn Index,
        submissions: &[Submission],
        recent: &Mutex<Recent>,
    ) -> Result<Plan<'a>, StoreError> {
        // New in this batch, and whether a copy among them is encrypted.
        let mut fresh: HashMap<ChunkName, bool> = HashMap::new();
        let mut dropped: HashSet<ChunkName> = HashSet::new();
        let there = |name: &ChunkName, encrypted, dropped: &HashSet<ChunkName>| {
            Ok::<_, StoreError>(
                !dropped.contains(name) && satisfies(index, &self.from.doubts, name, encrypted)?,
            )
        };
        let mut plan = Plan {
            chunks: Vec::new(),
            accepted: Vec::new(),
            changes: Changes::new(index),
            outcomes: Vec::new(),
        };
        let room = self.room(submissions);
        for (number, submission) in submissions.iter().enumerate() {
            if let Err(full) = &room
                && submission.needs_room()
            {
                plan.outcomes.push(Err(full.clone()));
                continue;
            }
            let overtaken = plan.changes.changed(&submission.rests_on)?;
            let (mut chunks_new, mut bytes_stored) = (0, 0);
            for (at, chunk) in submission.chunks.iter().enumerate() {
                let (name, encrypted) = named(chunk);
                let will_do = fresh.get(&name).is_some_and(|is| *is || !encrypted);
                if submission.again || (!will_do && !there(&name, encrypted, &dropped)?) {
                    *fresh.entry(name).or_insert(false) |= encrypted;
                    plan.chunks.push((number, at));
                    chunks_new += 1;
                    bytes_stored += chunk.record_bytes();
                }
            }
            let mut missing = Vec::new();
            for name in &submission.requires {
                if !fresh.contains_key(name) && !there(name, false, &dropped)? {
                    missing.push(*name);
                }
            }
            let refusal = if !overtaken.is_empty() {
                Some(CommitError::Overtaken(overtaken))
            } else if !missing.is_empty() {
                Some(CommitError::Missing(missing))
            } else {
                let wanted = claim(&submission.drops, recent);
                (!wanted.is_empty()).then_some(CommitError::InUse(wanted))
            };
            let refusal = refusal.or_else(|| self.project(&submission.facts, &mut plan.changes));
            plan.outcomes.push(match refusal {
                // Its chunks are sound and asked for by nobody yet: they are kept for the retry.
                Some(refusal) => Err(refusal),
                None => {
                    dropped.extend(submission.drops.iter().copied());
                    plan.accepted.push(number);
                    Ok(Committed { chunks_new, bytes_stored })
                }
            });
        }
        Ok(plan)
    }

    /// Makes rows of facts that are accepted; if that fails, none of them is, and it says why.
    fn project(&self, facts: &[Fact], changes: &mut Changes<'_>) -> Option<CommitError> {
        changes.begin();
        let made =
            facts.iter().try_for_each(|fact| self.from.projection.apply(&fact.plain, changes));
        match made {
            Ok(()) => {
                changes.keep();
                None
            }
            Err(error) => {
                changes.take_back();
                Some(CommitError::Failed(error.to_string()))
            }
        }
    }
}

/// Records on their way out of submissions, and back into them where everything is decided anew.
struct Records {
    chunks: Vec<Record>,
    facts: Vec<Record>,
}

impl Records {
    /// Takes the payloads of these chunks, and of the facts of these submissions.
    fn take(submissions: &mut [Submission], chunks: &[(usize, usize)], accepted: &[usize]) -> Self {
        let moved = |record: &mut Record| Record {
            header: record.header.clone(),
            payload: std::mem::take(&mut record.payload),
        };
        let chunk =
            |(of, at): &(usize, usize)| submissions.get_mut(*of)?.chunks.get_mut(*at).map(moved);
        let taken = chunks.iter().filter_map(chunk).collect();
        let facts = |of: &usize| {
            let facts = submissions.get_mut(*of).map(|submission| submission.facts.as_mut_slice());
            facts
                .unwrap_or_default()
                .iter_mut()
                .map(|fact| moved(&mut fact.record))
                .collect::<Vec<_>>()
        };
        let facts = accepted.iter().flat_map(facts).collect();
        Self { chunks: taken, facts }
    }

    fn put_back(
        self,
        submissions: &mut [Submission],
        chunks: &[(usize, usize)],
        accepted: &[usize],
    ) {
        for ((of, at), record) in chunks.iter().zip(self.chunks) {
            let place = submissions.get_mut(*of).and_then(|of| of.chunks.get_mut(*at));
            if let Some(place) = place {
                place.payload = record.payload;
            }
        }
        let mut facts = self.facts.into_iter();
        for of in accepted {
            let places = submissions.get_mut(*of).map(|of| of.facts.as_mut_slice());
            for (place, record) in places.unwrap_or_default().iter_mut().zip(&mut facts) {
                place.record.payload = record.payload;
            }
        }
    }
}

fn has_no_facts(submissions: &[Submission], of: usize) -> bool {
    submissions.get(of).is_none_or(|submission| submission.facts.is_empty())
}

fn not_followed(error: &StoreError) -> CommitError {
    CommitError::Broken(format!("the index could not follow: {error}"))
}

/// Takes the right to drop these chunks, or says which of them other callers want.
fn claim(drops: &[ChunkName], recent: &Mutex<Recent>) -> Vec<ChunkName> {
    if drops.is_empty() || cfg!(feature = "no-locks") {
        return Vec::new();
    }
    let mut recent = recent.lock();
    let wanted: Vec<ChunkName> = drops.iter().filter(|name| recent.has(name)).copied().collect();
    if wanted.is_empty() {
        recent.dropping.extend(drops.iter().copied());
    }
    wanted
}

/// Whether a stored copy will do: it is there, not known to be damaged, and encrypted if it must be. What
/// a row says to be in a file that has been replaced, or was not there at the start, is nowhere.
pub fn satisfies(
    index: &dyn Index,
    doubts: &DoubtfulCopies,
    name: &ChunkName,
    encrypted: bool,
) -> Result<bool, StoreError> {
    match chunk_rows::placement(index, name)? {
        Some(placement) if encrypted && !placement.encrypted => Ok(false),
        Some(placement) => Ok(!doubts.has(name, &placement)
            && !chunk_rows::is_quarantined(index, name)?
            && !unit_rows::is_retired(index, placement.unit)?),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_in_doubt_from_when_it_is_found_damaged_until_that_is_committed() {
        let name = ChunkName::new([1; 32]);
        let placement = |offset| Placement {
            unit: 1,
            offset,
            stored_length: 1,
            plain_length: 1,
            encrypted: false,
        };
        let doubts = DoubtfulCopies::new(BTreeMap::from([(7, Unread::default())]));
        assert!(!doubts.has(&name, &placement(0)));
        doubts.add(name, placement(0));
        assert!(doubts.has(&name, &placement(0)) && !doubts.has(&name, &placement(8)));
        assert!(doubts.has(&name, &Placement { unit: 7, ..placement(0) }));
        doubts.settled(&name);
        assert!(!doubts.has(&name, &placement(0)));
    }
}
