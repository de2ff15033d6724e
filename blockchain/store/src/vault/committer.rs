//! The only writer of segments and log.
//!
//! Everyone else hands over finished records; one thread takes whatever is pending, appends chunk
//! records to the segment and facts with one commit record to the log, syncs both, brings the index up
//! to date, and then acknowledges all of it. The sync that is running forms the next batch, so there is
//! no timer and no wait on a quiet store.
//!
//! Invariants kept here and nowhere else:
//! - **No reference commits before its chunk.** A submission names the chunks it needs; if one is not
//!   there, and not in the same batch, the whole submission is refused.
//! - **What a submission rests on is so when it commits.** It names the rows that it rests on, as its op
//!   saw them; they are compared when it is its turn, with what was decided before it taken in, and if one
//!   differs the whole submission is refused. So two ops that look at the same time are in one order.
//! - **No chunk is dropped that somebody refers to**: whoever drops names the rows that say so among those
//!   that it rests on. For as long as [`Recent`] remembers, whoever heard that a chunk is there may refer to
//!   it, too; beyond that, the reference is refused and the chunk sent again.
//! - **A commit is appended only after the sync of the one before it**, so a crash can tear the last
//!   commit alone.
//! - **A failed write is cut off again, durably, and never retried.** If even that fails, nothing more
//!   is written by this process.
//! - **No segment gets more records than its footer can list.** A batch with more is cut into several
//!   commits, each segment being sealed before the next one is begun; the facts go with the last of them,
//!   so a submission is decided as a whole.
//! - **Whoever waits is answered**, whatever becomes of the thread: if it ends otherwise than by
//!   [`Committer::close`], the store is broken, and all who wait and all who come hear so.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_core::digest::ChunkName;
use parking_lot::{Condvar, Mutex};

use crate::contract::index::{Changes, Index, Project, Seen};
use crate::files::disk::{self, Disk, DiskFile};
use crate::files::log::{self, Beginning, Commit, FileHeader, HeadersDigest, Summary};
use crate::files::segment::{self, Footer, placement_of};
use crate::files::segment_rows;
use crate::files::segment_rows::Unread;
use crate::files::watermark::Watermark;
use crate::frame::{self, CipherId, Kind, NUMBER_MAX, Sealed};
use crate::vault::chunk_rows;
use crate::vault::chunk_rows::Placement;
use crate::{CommitError, StoreError, threads};

/// A batch takes up submissions until it is this large.
const BATCH_BYTES: u64 = 8 << 20;
/// Submissions waiting for the committer may hold this much; beyond it, submitting waits.
const QUEUE_BYTES_MAX: u64 = 32 << 20;

/// Where a file is closed and the next one begun. Only tests have reason to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment is sealed at this size.
    pub segment_bytes: u64,
    /// A segment is sealed at so many records: its footer lists them all, and is one record itself. Above
    /// [`segment::RECORDS_MAX`] it means that.
    pub segment_records: u64,
    /// A log is continued in a new file at this size.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { segment_bytes: 256 << 20, segment_records: 100_000, log_bytes: 256 << 20 }
    }
}

/// A fact: its bytes for the index, and the record for the log.
#[derive(Debug)]
pub struct Fact {
    /// What [`Project::project`] is given.
    pub plain: Vec<u8>,
    /// What is written.
    pub sealed: Sealed,
}

/// What is to be made durable together.
#[derive(Debug, Default)]
pub struct Submission {
    /// Chunk records. One that is known already is dropped.
    pub chunks: Vec<Sealed>,
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
    /// Whether the open segment is to be sealed, full or not.
    pub seal_segment: bool,
    /// Whether the next commit is to begin a new log file.
    pub seal_log: bool,
}

impl Submission {
    fn bytes(&self) -> u64 {
        let chunks: u64 = self.chunks.iter().map(Sealed::record_bytes).sum();
        let facts: u64 = self.facts.iter().map(|fact| fact.sealed.record_bytes()).sum();
        chunks + facts
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

/// What is called with the outcome, on the committer's thread: it must not block.
pub type Done = Box<dyn FnOnce(Result<Committed, CommitError>) + Send>;

/// Names that are remembered before the older half of them is forgotten, unless time forgets them first.
const RECENT_MAX: usize = 1 << 18;
/// How long a name is remembered at least, while there are not too many.
const RECENT_FOR: Duration = Duration::from_secs(30 * 60);

/// Chunks that somebody was told to be there, or refers to, lately. Eight bytes of a name are enough:
/// two names that share them only keep a chunk that might have gone.
struct Recent {
    names: HashSet<u64>,
    older: HashSet<u64>,
    since: Instant,
    /// While something is being collected nothing is forgotten.
    collecting: bool,
    /// Chunks that are being dropped: to whoever asks now they are unknown already.
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

/// Whoever waits for the outcome of a submission. Told nothing else, because the thread that was to tell
/// it unwinds, it hears that the store is broken.
struct Waiter(Option<Done>);

impl Waiter {
    fn tell(mut self, outcome: Result<Committed, CommitError>) {
        if let Some(done) = self.0.take() {
            done(outcome);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(CommitError::Broken(ENDED.into())));
        }
    }
}

const ENDED: &str = "the thread that writes ended";

struct Queue {
    waiting: VecDeque<(Submission, Waiter)>,
    bytes: u64,
    /// Chunks that are waiting or being written, and whether a copy among them is encrypted: as good as
    /// known to whoever submits after them.
    pending: HashMap<ChunkName, bool>,
    closed: bool,
    broken: Option<String>,
}

impl Queue {
    fn expect(&mut self, chunk: &Sealed) {
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
fn named(chunk: &Sealed) -> (ChunkName, bool) {
    (ChunkName::new(chunk.header.name), chunk.header.cipher != CipherId::Plain)
}

struct Shared {
    queue: Mutex<Queue>,
    recent: Mutex<Recent>,
    arrived: Condvar,
    taken: Condvar,
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
pub struct Doubts {
    /// Segments that were not there, or not whole, when the store was opened.
    pub unread: BTreeMap<u32, Unread>,
    /// Where copies were found damaged, until that is committed.
    found: Mutex<HashMap<ChunkName, Placement>>,
}

impl Doubts {
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
        self.unread.contains_key(&placement.segment)
            || self.found.lock().get(name) == Some(placement)
    }
}

/// What recovery found, as far as writing goes on from it.
pub struct Start {
    /// The last commit.
    pub at: Watermark,
    /// The newest log file there is.
    pub newest_log: u32,
    /// Which copies nothing may rely on.
    pub doubts: Arc<Doubts>,
}

/// The handle to the writing thread.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Option<Watermark>>>>,
}

impl Committer {
    /// Starts writing behind what recovery found: the last commit, and the newest log file there is.
    pub fn start(
        disk: Arc<dyn Disk>,
        store: [u8; 16],
        index: Arc<dyn Index>,
        project: Arc<dyn Project>,
        from: Start,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let writer = Writer::open(disk, store, index, project, from, limits)?;
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
        });
        let theirs = shared.clone();
        let work = move || match catch_unwind(AssertUnwindSafe(|| run(&theirs, writer))) {
            Ok(at) => Some(at),
            Err(panic) => {
                theirs.give_up(format!("{ENDED}: {}", said(panic.as_ref())));
                None
            }
        };
        let thread = threads::start("committer", work)
            .map_err(StoreError::io("starting the thread that writes"))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over a submission; waits only while too much is pending. `done` hears how it went.
    pub fn submit(&self, submission: Submission, done: Done) {
        let (bytes, done) = (submission.bytes(), Waiter(Some(done)));
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

    /// Notes that somebody may be about to refer to a chunk; `false` when it is just being dropped.
    pub fn ask_for(&self, name: &ChunkName) -> bool {
        let mut recent = self.shared.recent.lock();
        recent.add(name);
        !recent.dropping.contains(name)
    }

    /// Remembers every chunk that is asked for from now on, until this is called with `false`.
    pub fn set_collecting(&self, collecting: bool) {
        self.shared.recent.lock().collecting = collecting;
    }

    /// Whether a chunk has been submitted, encrypted if it must be, and will be durable before whatever
    /// is submitted next.
    pub fn is_pending(&self, name: &ChunkName, encrypted: bool) -> bool {
        self.shared.queue.lock().pending.get(name).is_some_and(|is| *is || !encrypted)
    }

    /// Why nothing can be written any more, if so.
    pub fn broken(&self) -> Option<String> {
        self.shared.queue.lock().broken.clone()
    }

    /// Finishes what is pending and ends the thread; says how far the log goes. `None` the second
    /// time, and when the thread could not end in order.
    pub fn close(&self) -> Option<Watermark> {
        self.shared.queue.lock().closed = true;
        self.shared.arrived.notify_all();
        let thread = self.thread.lock().take()?;
        thread.join().ok().flatten()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(shared: &Shared, mut writer: Writer) -> Watermark {
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
    writer.at
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
    Some(batch)
}

/// An open file and its durable length: everything behind it is not acknowledged.
struct Tail {
    file: Arc<dyn DiskFile>,
    path: String,
    length: u64,
}

impl Tail {
    fn cut(&self) -> io::Result<()> {
        self.file.truncate(self.length)?;
        self.file.sync()
    }
}

struct Writer {
    disk: Arc<dyn Disk>,
    store: [u8; 16],
    index: Arc<dyn Index>,
    project: Arc<dyn Project>,
    at: Watermark,
    /// Log files that are there already; one of them may be none of ours, or unreadable.
    newest_log: u32,
    doubts: Arc<Doubts>,
    log: Option<Tail>,
    segment: Option<Tail>,
    /// The sequence of the open segment's first record: bounds how many records it has.
    segment_first_sequence: u64,
    /// The digest that the next segment's header names: the last footer's, or zeros.
    last_footer: [u8; 32],
    limits: Limits,
    broken: Option<String>,
}

/// What of a batch is to be written.
struct Plan<'a> {
    chunks: Vec<Sealed>,
    facts: Vec<Fact>,
    /// What the facts make of the index.
    changes: Changes<'a>,
    outcomes: Vec<Result<Committed, CommitError>>,
}

impl Writer {
    fn open(
        disk: Arc<dyn Disk>,
        store: [u8; 16],
        index: Arc<dyn Index>,
        project: Arc<dyn Project>,
        Start { at, newest_log, doubts }: Start,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let most = (segment::RECORDS_MAX as u64).min(limits.segment_records).max(1);
        let segment_bytes = limits.segment_bytes.max(1);
        let limits = Limits { segment_records: most, segment_bytes, ..limits };
        let reopen = |path: String, length: u64| -> Result<Option<Tail>, StoreError> {
            let file = disk::find(disk.as_ref(), &path)?.ok();
            Ok(file.map(|file| Tail { file, path, length }))
        };
        let log = match reopen(log::path(at.log), at.offset)? {
            Some(tail) if at.log >= newest_log && goes_on(&tail, &at, &store)? => Some(tail),
            _ => None,
        };
        let mut writer = Self {
            disk: disk.clone(),
            store,
            index,
            project,
            at,
            newest_log,
            doubts,
            log,
            segment: None,
            segment_first_sequence: at.sequence,
            last_footer: [0; 32],
            limits,
            broken: None,
        };
        if at.segment > 0
            && let Some(tail) = reopen(segment::path(at.segment), at.segment_offset)?
        {
            let context = || StoreError::io(format!("reading {}", tail.path));
            match tail.file.length().map_err(context())?.cmp(&tail.length) {
                // Nor is anything written into a page that the medium does not give back.
                Ordering::Equal
                    if !disk::ends_readably(tail.file.as_ref(), tail.length)
                        .map_err(context())? => {}
                Ordering::Equal => {
                    // How many records it has is told by its first one. Without that the next one is begun.
                    let number = at.segment;
                    if segment::begins_soundly(tail.file.as_ref(), number, &store)?
                        && let Some(Ok(first)) =
                            frame::read_header(tail.file.as_ref(), &tail.path, 0)?
                        && first.sequence <= at.sequence
                    {
                        writer.segment_first_sequence = first.sequence;
                        writer.segment = Some(tail);
                    }
                }
                // Recovery left a footer there, but the next one was not begun: the next chunk does.
                Ordering::Greater => {
                    if let Some(Ok((_, footer))) = Footer::find(tail.file.as_ref(), at.segment)? {
                        writer.last_footer = footer.digest();
                    }
                }
                // Its end is missing. Records behind the gap would not be where the index says.
                Ordering::Less => {}
            }
        }
        Ok(writer)
    }

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
        submissions: Vec<Submission>,
        recent: &Mutex<Recent>,
    ) -> Vec<Result<Committed, CommitError>> {
        let count = submissions.len();
        let seal_segment = submissions.iter().any(|submission| submission.seal_segment);
        let seal_log = submissions.iter().any(|submission| submission.seal_log);
        let refuse = |error: CommitError| (0..count).map(|_| Err(error.clone())).collect();
        if let Some(why) = &self.broken {
            return refuse(CommitError::Broken(why.clone()));
        }
        let index = self.index.clone();
        let Plan { mut chunks, mut facts, changes, outcomes } =
            match self.plan(index.as_ref(), submissions, recent) {
                Ok(plan) => plan,
                Err(error) => return refuse(CommitError::Failed(error.to_string())),
            };
        let mut changes = Some(changes);
        let mut placed = Vec::new();
        if chunks.is_empty() && facts.is_empty() {
            return match self.roll(seal_segment, seal_log) {
                Ok(()) => outcomes,
                Err(error) => refuse(self.unrolled(&error)),
            };
        }
        let mut rest = chunks.as_mut_slice();
        loop {
            // What the open segment does not take any more goes into a commit, and a segment, of its own.
            let fits = self.room_for(rest);
            let (now, later) = rest.split_at_mut(fits);
            let is_last = later.is_empty();
            if fits > 0 || is_last {
                // The facts go with the last commit, and so does what they make of the index.
                let (facts, changes) = match is_last {
                    true => (facts.as_mut_slice(), changes.take()),
                    false => (&mut [] as &mut [Fact], None),
                };
                let changes = changes.unwrap_or_else(|| Changes::new(index.as_ref()));
                if let Err(error) = self.commit(now, facts, changes, &mut placed) {
                    return refuse(error);
                }
            }
            if is_last {
                break;
            }
            if let Err(error) = self.roll(true, false) {
                return refuse(self.unrolled(&error));
            }
            rest = later;
        }
        if let Err(error) = self.roll(seal_segment, seal_log) {
            tracing::error!(%error, "a full file could not be closed; the next write tries again");
        }
        outcomes
    }

    /// How many of these chunks the open segment takes: the one that reaches its size still belongs to
    /// it, but none beyond its number of records does.
    fn room_for(&self, chunks: &[Sealed]) -> usize {
        let (mut records, mut bytes) = match &self.segment {
            Some(_) => (self.at.sequence - self.segment_first_sequence, self.at.segment_offset),
            None => (0, 0),
        };
        let fits = |chunk: &&Sealed| {
            let fits = records < self.limits.segment_records && bytes < self.limits.segment_bytes;
            records += 1;
            bytes += chunk.record_bytes();
            fits
        };
        chunks.iter().take_while(fits).count()
    }

    /// What whoever waits is told when a full file could not be closed, and nothing fits into it.
    fn unrolled(&self, error: &StoreError) -> CommitError {
        match &self.broken {
            Some(why) => CommitError::Broken(why.clone()),
            None if error.is_full() => CommitError::Full(error.to_string()),
            None => CommitError::Failed(error.to_string()),
        }
    }

    /// Makes one commit durable, with chunks that fit into one segment, and has the index follow: with where
    /// all chunks of the batch are that were placed until now, whatever its facts made of their rows.
    fn commit(
        &mut self,
        chunks: &mut [Sealed],
        facts: &mut [Fact],
        mut changes: Changes<'_>,
        placed: &mut Vec<(ChunkName, Placement)>,
    ) -> Result<(), CommitError> {
        match self.write_files(chunks, facts) {
            Ok(placements) => placed.extend(placements),
            Err(failure) => {
                return Err(self.undo((chunks.len() + facts.len()) as u64 + 1, failure));
            }
        }
        for (name, placement) in &*placed {
            chunk_rows::place(&mut changes, name, placement);
        }
        segment_rows::set_watermark(&mut changes, &self.at);
        changes.write().map_err(|error| {
            // Durable, but not findable until a restart replays it: stop before anyone is told wrong.
            let why = format!("the index could not follow: {error}");
            self.broken = Some(why.clone());
            CommitError::Broken(why)
        })
    }

    /// Decides, submission by submission, what is accepted: the point of decision. Each sees what those before
    /// it made of the index.
    fn plan<'a>(
        &self,
        index: &'a dyn Index,
        submissions: Vec<Submission>,
        recent: &Mutex<Recent>,
    ) -> Result<Plan<'a>, StoreError> {
        // New in this batch, and whether a copy among them is encrypted.
        let mut fresh: HashMap<ChunkName, bool> = HashMap::new();
        let mut dropped: HashSet<ChunkName> = HashSet::new();
        let there = |name: &ChunkName, encrypted, dropped: &HashSet<ChunkName>| {
            Ok::<_, StoreError>(
                !dropped.contains(name)
                    && satisfies(self.index.as_ref(), &self.doubts, name, encrypted)?,
            )
        };
        let mut plan = Plan {
            chunks: Vec::new(),
            facts: Vec::new(),
            changes: Changes::new(index),
            outcomes: Vec::new(),
        };
        for submission in submissions {
            let overtaken = plan.changes.changed(&submission.rests_on)?;
            let before = plan.chunks.len();
            for chunk in submission.chunks {
                let (name, encrypted) = named(&chunk);
                let will_do = fresh.get(&name).is_some_and(|is| *is || !encrypted);
                if submission.again || (!will_do && !there(&name, encrypted, &dropped)?) {
                    *fresh.entry(name).or_insert(false) |= encrypted;
                    plan.chunks.push(chunk);
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
                (!wanted.is_empty()).then_some(CommitError::Wanted(wanted))
            };
            let refusal = refusal.or_else(|| self.project(&submission.facts, &mut plan.changes));
            plan.outcomes.push(match refusal {
                // Its chunks are sound and asked for by nobody yet: they are kept for the retry.
                Some(refusal) => Err(refusal),
                None => {
                    dropped.extend(submission.drops.iter().copied());
                    plan.facts.extend(submission.facts);
                    let new = plan.chunks.get(before..).unwrap_or_default();
                    Ok(Committed {
                        chunks_new: new.len() as u64,
                        bytes_stored: new.iter().map(Sealed::record_bytes).sum(),
                    })
                }
            });
        }
        Ok(plan)
    }

    /// Makes rows of facts that are accepted; if that fails, none of them is, and it says why.
    fn project(&self, facts: &[Fact], changes: &mut Changes<'_>) -> Option<CommitError> {
        changes.begin();
        let made = facts.iter().try_for_each(|fact| self.project.project(&fact.plain, changes));
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

    /// Appends and syncs; on success [`Writer::at`] is behind the new commit.
    fn write_files(
        &mut self,
        chunks: &mut [Sealed],
        facts: &mut [Fact],
    ) -> Result<Vec<(ChunkName, Placement)>, Failure> {
        let has_chunks = !chunks.is_empty();
        if self.at.sequence.max(self.at.commit) >= NUMBERS_END {
            return Err(Failure::no_number("the log"));
        }
        self.open_tails(has_chunks)?;
        let mut next = self.at;
        let first_sequence = next.sequence;
        let mut placements = Vec::with_capacity(chunks.len());

        let mut chunk_headers = HeadersDigest::new();
        let mut chunk_parts: Vec<[u8; frame::HEADER_BYTES]> = Vec::new();
        for chunk in chunks.iter_mut() {
            chunk.header.sequence = next.sequence;
            next.sequence += 1;
            chunk_headers.add(&chunk.header);
            chunk_parts.push(chunk.header.encode());
            placements.push((
                ChunkName::new(chunk.header.name),
                placement_of(next.segment, next.segment_offset, &chunk.header),
            ));
            next.segment_offset += chunk.record_bytes();
        }

        let mut fact_headers = HeadersDigest::new();
        let mut fact_parts = Vec::new();
        for fact in facts.iter_mut() {
            fact.sealed.header.sequence = next.sequence;
            next.sequence += 1;
            fact_headers.add(&fact.sealed.header);
            fact_parts.push(fact.sealed.header.encode());
            next.offset += fact.sealed.record_bytes();
        }
        let mut commit = Commit {
            number: next.commit + 1,
            previous: next.digest,
            first_sequence,
            facts: u32::try_from(fact_parts.len()).map_err(|_| Failure::too_many())?,
            facts_digest: fact_headers.finish(),
            segment: 0,
            segment_from: 0,
            segment_to: 0,
            segment_digest: [0; 32],
        };
        if has_chunks {
            commit.segment = next.segment;
            commit.segment_from = self.at.segment_offset;
            commit.segment_to = next.segment_offset;
            commit.segment_digest = chunk_headers.finish();
        }
        let mut sealed = commit.seal().map_err(Failure::unmade)?;
        sealed.header.sequence = next.sequence;
        next.sequence += 1;
        next.commit = commit.number;
        next.digest = sealed.header.name;
        next.offset += sealed.record_bytes();

        let chunk_slices: Vec<&[u8]> = chunk_parts
            .iter()
            .zip(&*chunks)
            .flat_map(|(header, chunk)| [header.as_slice(), chunk.payload.as_slice()])
            .collect();
        let mut fact_slices: Vec<&[u8]> = fact_parts
            .iter()
            .zip(&*facts)
            .flat_map(|(header, fact)| [header.as_slice(), fact.sealed.payload.as_slice()])
            .collect();
        let commit_header = sealed.header.encode();
        fact_slices.push(&commit_header);
        fact_slices.push(&sealed.payload);

        let segment = self.segment.as_ref().filter(|_| has_chunks);
        let log = self.log.as_ref().ok_or_else(Failure::missing_log)?;
        if let Some(segment) = segment {
            segment.file.append(&chunk_slices).map_err(Failure::append(&segment.path))?;
        }
        log.file.append(&fact_slices).map_err(Failure::append(&log.path))?;
        sync_both(log, segment)?;

        if let Some(tail) = &mut self.segment {
            tail.length = next.segment_offset;
        }
        if let Some(tail) = &mut self.log {
            tail.length = next.offset;
        }
        self.at = next;
        Ok(placements)
    }

    /// Makes sure that there is a log to append to, and a segment when chunks are to be written.
    fn open_tails(&mut self, has_chunks: bool) -> Result<(), Failure> {
        if self.log.is_none() {
            let number = self.at.log.max(self.newest_log) + 1;
            if number > log::FILE_MAX {
                return Err(Failure::no_number(&log::path(number - 1)));
            }
            let header =
                FileHeader { store: self.store, role: "log", number, previous: self.at.digest };
            let tail = self.begin(log::FOLDER, log::path(number), &header)?;
            (self.at.log, self.at.offset) = (number, tail.length);
            self.log = Some(tail);
        }
        if has_chunks && self.segment.is_none() {
            let number = self.at.segment + 1;
            if number > log::FILE_MAX {
                return Err(Failure::no_number(&segment::path(number - 1)));
            }
            let header = FileHeader {
                store: self.store,
                role: "chunks",
                number,
                previous: self.last_footer,
            };
            self.segment_first_sequence = self.at.sequence;
            let tail = self.begin(segment::FOLDER, segment::path(number), &header)?;
            (self.at.segment, self.at.segment_offset) = (number, tail.length);
            self.segment = Some(tail);
        }
        Ok(())
    }

    /// Makes a file with its header record, durable in content and name.
    fn begin(&mut self, folder: &str, path: String, header: &FileHeader) -> Result<Tail, Failure> {
        let sealed = header.seal(self.at.sequence).map_err(Failure::unmade)?;
        // A crash may have left a file whose header never became durable: nothing in it counts.
        self.disk.unlink(&path).map_err(Failure::append(&path))?;
        let file = self.disk.create(&path).map_err(Failure::append(&path))?;
        let length = sealed.record_bytes();
        let made = file
            .append(&[&sealed.header.encode(), &sealed.payload])
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.sync_folder(folder));
        match made {
            Ok(()) => {
                self.at.sequence += 1;
                Ok(Tail { file, path, length })
            }
            Err(error) => {
                // Only a header is lost, and the next attempt begins by removing it; when it cannot be
                // removed now, that is why.
                let _ = self.disk.unlink(&path);
                Err(Failure::append(&path)(error))
            }
        }
    }

    /// Seals files that are full; the next commit begins new ones.
    fn roll(&mut self, seal_segment: bool, seal_log: bool) -> Result<(), StoreError> {
        if seal_log || self.at.offset >= self.limits.log_bytes {
            self.log = None;
        }
        let full = seal_segment
            || self.at.segment_offset >= self.limits.segment_bytes
            || self.at.sequence - self.segment_first_sequence >= self.limits.segment_records;
        if full && let Some(tail) = &self.segment {
            let context = || StoreError::io(format!("sealing {}", tail.path));
            let mut damage = Vec::new();
            let footer = Footer::of(tail.file.as_ref(), self.at.segment, tail.length, &mut damage)?;
            for found in &damage {
                tracing::error!(damage = %found, "a record is damaged; the footer leaves it out");
            }
            let (sealed, trailer) = match footer.seal(tail.length, self.at.sequence) {
                Ok(sealed) => sealed,
                Err(error) => {
                    // An earlier version filled it beyond any footer. It stays without one, and the next
                    // one is begun; the next collection looks after it.
                    tracing::error!(%error, path = tail.path, "a segment stays without its footer");
                    self.last_footer = [0; 32];
                    self.segment = None;
                    return Ok(());
                }
            };
            self.at.sequence += 1;
            let header = sealed.header.encode();
            let appended = tail.file.append(&[&header, &sealed.payload, &trailer]);
            let at_sync = appended.is_ok();
            if let Err(error) = appended.and_then(|()| tail.file.sync()) {
                // The records are safe; only the footer is not there. But behind what is left of it
                // no record would be where the index says.
                let failed = context()(io::Error::new(error.kind(), error.to_string()));
                if let Err(cut) = tail.cut() {
                    let why = format!("{}: {error}, and then {cut}", tail.path);
                    self.broken = Some(why);
                } else if at_sync {
                    // What a file says after a failed sync is not to be trusted: go on in a new one.
                    self.last_footer = [0; 32];
                    self.segment = None;
                }
                return Err(failed);
            }
            self.last_footer = sealed.header.name;
            self.segment = None;
        }
        Ok(())
    }

    /// Takes back a batch that failed: durably cuts off what was written of it.
    fn undo(&mut self, records: u64, failure: Failure) -> CommitError {
        // Sequences are never used again, even those of a batch that failed.
        self.at.sequence += records;
        let cut = [&self.log, &self.segment].into_iter().flatten().try_for_each(Tail::cut);
        if let Err(error) = cut {
            let why =
                format!("{}, and what was written could not be cut off: {error}", failure.why);
            tracing::error!(why, "writing stopped");
            self.broken = Some(why.clone());
            return CommitError::Broken(why);
        }
        if failure.at_sync {
            // What a file says after a failed sync is not to be trusted: go on in new ones.
            self.log = None;
            if self.segment.take().is_some() {
                self.last_footer = [0; 32];
            }
        }
        tracing::error!(why = failure.why, "a write failed and was taken back");
        if failure.full { CommitError::Full(failure.why) } else { CommitError::Failed(failure.why) }
    }
}

/// Takes the right to drop these chunks, or says which of them somebody wants.
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

/// Why writing files failed.
struct Failure {
    why: String,
    full: bool,
    at_sync: bool,
}

impl Failure {
    fn append(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { full: is_full(&error), why: format!("{path}: {error}"), at_sync: false }
    }

    fn sync(path: &str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self {
            full: is_full(&error),
            why: format!("syncing {path}: {error}"),
            at_sync: true,
        }
    }

    fn unmade(error: StoreError) -> Self {
        Self { why: error.to_string(), full: false, at_sync: false }
    }

    fn too_many() -> Self {
        Self { why: "a commit counts at most 2^32-1 facts".into(), full: false, at_sync: false }
    }

    fn no_number(place: &str) -> Self {
        let why = format!("no number is free behind {place}, which is damaged: move it away");
        Self { why, full: false, at_sync: false }
    }

    fn missing_log() -> Self {
        Self { why: "no log file is open".into(), full: false, at_sync: false }
    }
}

/// Nothing is written when sequences or commits come this near to [`NUMBER_MAX`].
const NUMBERS_END: u64 = NUMBER_MAX - (1 << 40);

/// Whether a log goes on here: right behind the commit that the next one will name, or behind the first
/// record of a file that was begun behind it. Behind anything else a new file is begun: what is cut short
/// or damaged could swallow what follows it, and a file that begins as another store's is passed over by a
/// start that reads all of it.
fn goes_on(tail: &Tail, at: &Watermark, store: &[u8; 16]) -> Result<bool, StoreError> {
    let Tail { file, path, length } = tail;
    let context = StoreError::io(format!("reading {path}"));
    if !disk::ends_readably(file.as_ref(), *length).map_err(context)? {
        return Ok(false);
    }
    let header = |offset| frame::read_header(file.as_ref(), path, offset);
    let Beginning::Sound(behind) = log::beginning(file.as_ref(), at.log, path, store)? else {
        return Ok(false);
    };
    if let Some(Ok(first)) = header(0)?
        && first.record_bytes() == *length
    {
        return Ok(behind == at.digest);
    }
    let Some(begin) = length.checked_sub(log::COMMIT_RECORD_BYTES) else { return Ok(false) };
    let Some(Ok(last)) = header(begin)? else { return Ok(false) };
    let Ok(payload) = frame::read_payload(file.as_ref(), path, begin, &last)? else {
        return Ok(false);
    };
    Ok(match last.kind {
        Kind::Commit => last.name == at.digest && Commit::decode(&payload).is_ok(),
        Kind::Summary => Summary::decode(&payload).is_ok_and(|last| last.digest == at.digest),
        _ => false,
    })
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Syncs both files at once; the log alone when there is nothing in the segment.
fn sync_both(log: &Tail, segment: Option<&Tail>) -> Result<(), Failure> {
    let Some(segment) = segment else {
        return log.file.sync().map_err(Failure::sync(&log.path));
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = threads::start_scoped(scope, "sync", || segment.file.sync());
        let first = log.file.sync();
        let second = match other {
            Ok(other) => other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the syncing thread panicked"))),
            // Where the system gives no thread, one after the other.
            Err(_) => segment.file.sync(),
        };
        (first, second)
    });
    second.map_err(Failure::sync(&segment.path))?;
    first.map_err(Failure::sync(&log.path))
}

/// Whether a stored copy will do: it is there, not known to be damaged, and encrypted if it must be. What
/// a row says to be in a file that has been replaced, or was not there at the start, is nowhere.
pub fn satisfies(
    index: &dyn Index,
    doubts: &Doubts,
    name: &ChunkName,
    encrypted: bool,
) -> Result<bool, StoreError> {
    match chunk_rows::placement(index, name)? {
        Some(placement) if encrypted && !placement.encrypted => Ok(false),
        Some(placement) => Ok(!doubts.has(name, &placement)
            && !chunk_rows::is_quarantined(index, name)?
            && !segment_rows::is_retired(index, placement.segment)?),
        None => Ok(false),
    }
}
