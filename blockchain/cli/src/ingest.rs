//! The way in: `read → cut → hash → (known? refer to it) → compress → encrypt → commit`.
//!
//! One thread walks and feeds small files into shared chunks, a few cut large files, one per core
//! hashes and hands over chunks, and one [`ledger`] puts the results back into order. Work is
//! parallel across chunks and across large files, never inside a chunk. Every queue is bounded by
//! bytes, and what waits for its place by count: entries, and chunks of large files that are cut before
//! their turn. So memory does not depend on what is archived, but for names of files that have several.
//!
//! [`Sink`] is where it all goes: a data folder in this process, or a server.

mod cutter;
mod ledger;
pub(crate) mod queue;
pub(crate) mod sink;
mod turn;
pub(crate) mod weighing;

use std::io::Read;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use lucid_core::cut::ChunkProfile;
use lucid_core::digest::ChunkId;
use lucid_core::manifest::Appendix;
use lucid_data_chain::ops::chunks::store_chunks::chunk_length;
use lucid_store::codec::Pressure;
use lucid_store::files::descriptors::{self, Keeper};
use parking_lot::Mutex;
use thiserror::Error;

use self::cutter::{Cut, Cutter};
use self::ledger::{ContentPlace, Event, FileReading, Ledger, Unplaced};
use self::queue::Queue;
use self::sink::SinkError;
use self::turn::Turn;
use crate::folder::select::{Excluded, ExcludedCounts};
use crate::folder::walk::{
    self, EntryContent, Holes, Loss, OpenFile, Skipped, Sources, Step, WalkError, WalkedEntry,
    WhySkipped,
};
use crate::folder::{Entry, EntryKind};
use crate::progress::ProgressLine;

pub use self::sink::{Sink, Worker};

/// Bytes of cut chunks that may wait for a worker. In tests less than is read ahead at worst.
const QUEUE_BYTES: u64 = if cfg!(test) { 4 << 20 } else { 48 << 20 };
/// Large files that may wait for a cutter, as far as descriptors go: they are open.
const FILES_WAITING: usize = 64;

/// Entries that may wait until it is known where their bytes are: behind a large file all others do. So
/// few in tests that every one of them meets the bound.
const ENTRIES_WAITING: u64 = if cfg!(test) { 8 } else { 1 << 14 };

/// Chunks of large files that may wait for their turn, some sixty bytes each.
const CHUNKS_WAITING: usize = if cfg!(test) { 8 } else { 1 << 18 };

/// What is archived.
pub enum IngestSource {
    /// A stream of bytes.
    Raw(Box<dyn Read + Send>),
    /// A stream of bytes, as the content of one file of a tree.
    File(Box<dyn Read + Send>, Entry),
    /// Folders and files; one file alone is a tree of one entry.
    Tree(Sources, walk::Options),
}

/// What was taken in.
#[derive(Debug, Default)]
pub struct Intake {
    /// Bytes read.
    pub bytes_in: u64,
    /// Chunks in the session, appendix included.
    pub chunk_count: u64,
    /// Bytes before the appendix.
    pub content_bytes: u64,
    /// The catalogue, for a tree.
    pub appendix: Option<Appendix>,
    /// Files in the tree.
    pub files: u64,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// How much was not wanted.
    pub excluded: ExcludedCounts,
    /// Files that changed while they were read.
    pub changed: Vec<Vec<u8>>,
}

/// Something that was not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it is, or what it belongs to.
    pub path: Vec<u8>,
    /// Why, in a sentence.
    pub why: String,
    /// How much that is.
    pub loss: Loss,
}

/// Why nothing more was taken in.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The walk did not begin.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The stream broke off.
    #[error("the input cannot be read")]
    Read(#[source] std::io::Error),
    /// The store or the server did not take it.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The catalogue cannot be written.
    #[error("the catalogue cannot be written: {0}")]
    Catalogue(String),
    /// No thread could be started.
    #[error("the threads that archive cannot be started")]
    Threads(#[source] std::io::Error),
    /// A thread ended before its work did.
    #[error("archiving was broken off")]
    BrokenOff,
}

/// A large file on its way to a cutter.
struct Large {
    piece: u64,
    file: OpenFile,
}

/// What the threads share.
struct Shop<'a> {
    profile: ChunkProfile,
    sink: &'a dyn Sink,
    progress: &'a ProgressLine,
    cuts: Queue<Cut>,
    large: Queue<Large>,
    /// One permit for each entry that waits in the ledger.
    entries: Queue<()>,
    turn: Turn,
    failure: Mutex<Option<IngestError>>,
}

impl Shop<'_> {
    /// The first failure counts; everything that waits is let go.
    fn fail(&self, error: IngestError) {
        self.failure.lock().get_or_insert(error);
        self.cuts.abandon();
        self.large.abandon();
        self.entries.abandon();
        self.turn.abandon();
    }
}

/// Takes in a source; on success every chunk is handed over and referred to. Each path is told to `met` as it is
/// come upon: that it is taken, or why it is not wanted.
pub fn ingest(
    source: IngestSource,
    profile: ChunkProfile,
    sink: &dyn Sink,
    progress: &ProgressLine,
    met: &mut dyn FnMut(&[u8], Option<Excluded>),
) -> Result<Intake, IngestError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shop = Shop {
        profile,
        sink,
        progress,
        cuts: Queue::new(QUEUE_BYTES),
        large: Queue::new(descriptors::share(Keeper::LargeFiles, FILES_WAITING) as u64),
        entries: Queue::new(ENTRIES_WAITING),
        turn: Turn::new(CHUNKS_WAITING),
        failure: Mutex::new(None),
    };
    let is_tree = !matches!(source, IngestSource::Raw(_));
    let (events, told) = channel();
    let intake = std::thread::scope(|scope| {
        let shop = &shop;
        let ledger = spawn(scope, shop, "lucid-ledger", move || {
            Ledger::new(shop.sink, is_tree, &shop.entries, &shop.turn)
                .keep(told)
                .map_err(|error| shop.fail(error))
                .ok()
        });
        let cutters: Vec<_> = (0..if is_tree { cores } else { 0 })
            .map(|_| {
                let events = events.clone();
                spawn(scope, shop, "lucid-cut", move || cut_large_files(shop, &events))
            })
            .collect();
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                let events = events.clone();
                spawn(scope, shop, "lucid-hash", move || hand_over(shop, &events))
            })
            .collect();
        let absent = match feed(shop, source, &events, met) {
            Ok(absent) => absent,
            Err(error) => {
                shop.fail(error);
                Absent::default()
            }
        };
        shop.large.close();
        for cutter in cutters {
            join(cutter);
        }
        shop.cuts.close();
        for worker in workers {
            join(worker);
        }
        drop(events);
        let mut intake = join(ledger).flatten()?;
        intake.left_out.splice(0..0, absent.left_out);
        intake.excluded = absent.excluded;
        Some(intake)
    });
    match (shop.failure.into_inner(), intake) {
        (Some(error), _) => Err(error),
        (None, Some(intake)) => Ok(intake),
        (None, None) => Err(IngestError::BrokenOff),
    }
}

/// Starts a thread. Where there is none to be had, nothing is taken in.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    shop: &Shop<'_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().name(name.to_owned()).spawn_scoped(scope, run);
    started.map_err(|why| shop.fail(IngestError::Threads(why))).ok()
}

fn join<T>(thread: Option<ScopedJoinHandle<'_, T>>) -> Option<T> {
    match thread?.join() {
        Ok(done) => Some(done),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// What of a source is not in the archive.
#[derive(Default)]
struct Absent {
    left_out: Vec<LeftOut>,
    excluded: ExcludedCounts,
}

/// Reads the source in order; returns what is not taken in.
fn feed(
    shop: &Shop<'_>,
    source: IngestSource,
    events: &Sender<Event>,
    met: &mut dyn FnMut(&[u8], Option<Excluded>),
) -> Result<Absent, IngestError> {
    let mut absent = Absent::default();
    let mut feeder = Feeder { shop, events, next_piece: 0, group: None };
    match source {
        IngestSource::Raw(stream) => cut_stream(shop, stream, feeder.number(), events)?,
        IngestSource::File(stream, entry) => {
            let piece = feeder.number();
            met(&entry.path, None);
            feeder.draft(entry, ContentPlace::OwnPiece(piece), false);
            cut_stream(shop, stream, piece, events)?;
        }
        IngestSource::Tree(sources, options) => {
            let small_max = shop.profile.average() as u64;
            for step in walk::walk_with_contents(sources, &options, small_max)? {
                match step {
                    Step::Entry(mut found) => {
                        for why in found.lacks.drain(..) {
                            let path = found.entry.path.clone();
                            absent.left_out.push(LeftOut { path, why, loss: Loss::Part });
                        }
                        met(&found.entry.path, None);
                        feeder.take(*found);
                    }
                    Step::Skipped(Skipped { path, why: WhySkipped::Excluded(why) }) => {
                        absent.excluded.add(why);
                        met(&path, Some(why));
                    }
                    Step::Skipped(what) => absent.left_out.push(LeftOut {
                        loss: what.why.loss(),
                        why: what.why.to_string(),
                        path: what.path,
                    }),
                }
                if shop.failure.lock().is_some() {
                    break;
                }
            }
            feeder.end_group();
        }
    }
    Ok(absent)
}

/// Cuts what comes, as one piece.
fn cut_stream(
    shop: &Shop<'_>,
    mut stream: Box<dyn Read + Send>,
    piece: u64,
    events: &Sender<Event>,
) -> Result<(), IngestError> {
    let mut cutter = Cutter::new(shop.profile, piece, &shop.cuts);
    while !cutter.is_stopped() {
        match cutter.fill(|space| stream.read(space)) {
            Ok(0) => break,
            Ok(count) => shop.progress.add(count as u64),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(IngestError::Read(error)),
        }
    }
    tell(events, cutter.finish(FileReading::default()));
    Ok(())
}

/// The ledger outlives every sender, unless it failed; then the failure is what counts.
fn tell(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}

/// Lays files side by side: small ones share pieces, large ones have a piece of their own.
struct Feeder<'a> {
    shop: &'a Shop<'a>,
    events: &'a Sender<Event>,
    next_piece: u64,
    group: Option<Cutter<'a>>,
}

impl Feeder<'_> {
    fn take(&mut self, found: WalkedEntry) {
        let WalkedEntry { entry, content, has_more_names, lacks: _ } = found;
        let placed = match content {
            EntryContent::None if entry.kind == EntryKind::HardLink => ContentPlace::AsTarget,
            EntryContent::None => ContentPlace::Nowhere,
            EntryContent::Read(bytes) => self.add_small(&bytes),
            EntryContent::Open(file) => {
                self.end_group();
                let piece = self.number();
                self.draft(entry, ContentPlace::OwnPiece(piece), has_more_names);
                self.shop.large.push(Large { piece, file }, 1);
                return;
            }
        };
        self.draft(entry, placed, has_more_names);
    }

    fn draft(&self, entry: Entry, placed: ContentPlace, has_more_names: bool) {
        // The ledger takes one out again as soon as the pieces before it are cut, and nothing of those
        // waits for this thread: the piece that it fills itself is behind them.
        self.shop.entries.push((), 1);
        tell(self.events, Event::Entry(Box::new(Unplaced { entry, placed, has_more_names })));
    }

    fn number(&mut self) -> u64 {
        self.next_piece += 1;
        self.next_piece - 1
    }

    fn add_small(&mut self, bytes: &[u8]) -> ContentPlace {
        if bytes.is_empty() {
            return ContentPlace::Nowhere;
        }
        if self.group.is_none() {
            let piece = self.number();
            self.group = Some(Cutter::new(self.shop.profile, piece, &self.shop.cuts));
        }
        self.shop.progress.add(bytes.len() as u64);
        match &mut self.group {
            Some(group) => {
                let placed = ContentPlace::Within(group.piece(), group.length());
                group.push(bytes);
                placed
            }
            None => ContentPlace::Nowhere,
        }
    }

    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            tell(self.events, group.finish(FileReading::default()));
        }
    }
}

/// A cutter's thread: one large file after the other.
fn cut_large_files(shop: &Shop<'_>, events: &Sender<Event>) {
    while let Some(Large { piece, file }) = shop.large.pop() {
        tell(events, cut_large_file(shop, piece, &file));
    }
}

fn cut_large_file(shop: &Shop<'_>, piece: u64, file: &OpenFile) -> Event {
    let mut cutter = Cutter::new(shop.profile, piece, &shop.cuts);
    let mut fault = None;
    let (mut holes, no_holes) = match file.holes() {
        Ok(holes) => (holes, None),
        Err(why) => (Holes::default(), Some(walk::no_holes(&why))),
    };
    while !cutter.is_stopped() && cutter.length() < file.length() {
        shop.turn.wait_for_room(piece);
        let read = cutter.length();
        let left = file.length() - read;
        let filled = cutter.fill(|space| {
            let count = file.read_at(read, first(space, left))?;
            holes.hold_against(read, space.get(..count).unwrap_or_default());
            Ok(count)
        });
        match filled {
            Ok(0) => break,
            Ok(count) => shop.progress.add(count as u64),
            Err(error) => {
                fault = Some(error.to_string());
                break;
            }
        }
    }
    let changed = file.changed(cutter.length());
    let holes = holes.within(cutter.length());
    cutter.finish(FileReading { changed, fault, holes, no_holes })
}

/// The part of `space` that `left` bytes can fill.
fn first(space: &mut [u8], left: u64) -> &mut [u8] {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(space.len());
    space.get_mut(..count).unwrap_or_default()
}

/// Of the room for cut chunks, in hundredths: beyond it the input waits for the packers.
const PRESSED_FILL: u64 = 25;

/// A worker's thread: hashes chunks and hands them over.
fn hand_over(shop: &Shop<'_>, events: &Sender<Event>) {
    let mut worker = Worker::default();
    loop {
        let pressed = shop.cuts.fill() >= PRESSED_FILL;
        worker.pressure = if pressed { Pressure::Pressed } else { Pressure::Even };
        let Some(cut) = shop.cuts.pop() else { return };
        let id = ChunkId::from(blake3::hash(&cut.bytes));
        let length = chunk_length(cut.bytes.len()).map_err(SinkError::from);
        match length.and_then(|length| shop.sink.put(&mut worker, &id, cut.bytes).map(|()| length))
        {
            Ok(length) => {
                let chunk = Event::Chunk { piece: cut.piece, number: cut.number, id, length };
                tell(events, chunk);
            }
            Err(error) => {
                shop.fail(error.into());
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
