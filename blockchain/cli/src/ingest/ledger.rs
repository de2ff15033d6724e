//! Puts what the threads did back into order: references as they stand in the session, entries as
//! they stand in the catalogue.
//!
//! Chunks of the first unfinished piece are referred to as they come; later pieces wait. An entry is
//! written once the place of its bytes is known. Pages of the catalogue are stored as they fill and
//! referred to at the end, behind all content.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::Receiver;

use lucid_core::catalogue::Hole;
use lucid_core::digest::ChunkId;
use lucid_core::manifest::{Appendix, AppendixKind};
use lucid_core::page::PageWriter;
use lucid_data_chain::ops::chunks::store_chunks::chunk_length;

use super::queue::Queue;
use super::sink::{Sink, SinkError, Worker};
use super::turn::Turn;
use super::{IngestError, Intake, LeftOut};
use crate::folder::walk::{Loss, only};
use crate::folder::{Entry, EntryKind};

/// References are handed over in batches of this many.
const REFERENCES_BATCH: usize = 1_024;

/// What the ledger is told.
pub(super) enum Event {
    /// An entry was found; in catalogue order.
    Entry(Box<Unplaced>),
    /// A chunk was handed over.
    Chunk { piece: u64, number: u64, id: ChunkId, length: u32 },
    /// A piece was cut to its end, and this is how reading it went. Both are told at once, so that
    /// nobody takes a piece for whole before hearing that it is not.
    PieceDone { piece: u64, chunks: u64, length: u64, reading: FileReading },
}

/// How reading a file went.
#[derive(Debug, Clone, Default)]
pub(super) struct FileReading {
    /// Whether it changed meanwhile.
    pub changed: bool,
    /// Why it broke off, if it did.
    pub fault: Option<String>,
    /// Where it takes no room on its disk.
    pub holes: Vec<Hole>,
    /// Why nobody knows where, if so.
    pub no_holes: Option<String>,
}

/// An entry whose place is not known yet.
pub(super) struct Unplaced {
    pub entry: Entry,
    pub placed: ContentPlace,
    pub has_more_names: bool,
}

/// Where the bytes of an entry are.
pub(super) enum ContentPlace {
    /// It has none.
    Nowhere,
    /// Where those of its link target are.
    AsTarget,
    /// In a piece with others, from this offset on.
    Within(u64, u64),
    /// A piece of its own.
    OwnPiece(u64),
}

#[derive(Default)]
struct ContentPiece {
    /// Chunks that came before their turn.
    early: BTreeMap<u64, (ChunkId, u32)>,
    referred: u64,
    done: Option<Done>,
}

/// A piece that was cut to its end.
struct Done {
    chunks: u64,
    length: u64,
    reading: FileReading,
}

/// A piece whose chunks are all referred to.
struct Finished {
    base: u64,
    length: u64,
    reading: FileReading,
}

/// The first name of a file that has several.
struct First {
    offset: u64,
    length: u64,
    reading: FileReading,
}

pub(super) struct Ledger<'a> {
    sink: &'a dyn Sink,
    worker: Worker,
    pieces: BTreeMap<u64, ContentPiece>,
    /// The first piece that is not wholly referred to, and where it begins.
    piece: u64,
    base: u64,
    offset: u64,
    finished: HashMap<u64, Finished>,
    batch: Vec<(ChunkId, u32)>,
    next_index: u64,
    drafts: VecDeque<Box<Unplaced>>,
    /// Room for entries that wait: one is given back with each that does no more.
    room: &'a Queue<()>,
    /// Hears whose turn it is, and how many chunks wait for theirs.
    turn: &'a Turn,
    waiting: usize,
    /// First names that links may point to.
    names: HashMap<Vec<u8>, First>,
    catalogue: Option<PageWriter>,
    pages: Vec<(ChunkId, u32)>,
    intake: Intake,
}

impl<'a> Ledger<'a> {
    pub fn new(sink: &'a dyn Sink, is_tree: bool, room: &'a Queue<()>, turn: &'a Turn) -> Self {
        Self {
            sink,
            worker: Worker::default(),
            pieces: BTreeMap::new(),
            piece: 0,
            base: 0,
            offset: 0,
            finished: HashMap::new(),
            batch: Vec::new(),
            next_index: 0,
            drafts: VecDeque::new(),
            room,
            turn,
            waiting: 0,
            names: HashMap::new(),
            catalogue: is_tree.then(PageWriter::new),
            pages: Vec::new(),
            intake: Intake::default(),
        }
    }

    /// Keeps the books until nobody has anything more to tell.
    pub fn keep(mut self, told: Receiver<Event>) -> Result<Intake, IngestError> {
        for event in told {
            match event {
                Event::Entry(draft) => self.drafts.push_back(draft),
                Event::Chunk { piece, number, id, length } => {
                    self.pieces.entry(piece).or_default().early.insert(number, (id, length));
                    self.waiting += 1;
                }
                Event::PieceDone { piece, chunks, length, reading } => {
                    let done = Done { chunks, length, reading };
                    self.pieces.entry(piece).or_default().done = Some(done);
                }
            }
            self.refer_in_order()?;
            self.turn.is(self.piece, self.waiting);
            self.settle_entries(false)?;
        }
        self.settle_entries(true)?;
        self.refer()?;
        self.intake.bytes_in = self.offset;
        self.intake.content_bytes = self.offset;
        self.append_catalogue()?;
        self.intake.chunk_count = self.next_index;
        Ok(self.intake)
    }

    fn refer_in_order(&mut self) -> Result<(), IngestError> {
        while let Some(piece) = self.pieces.get_mut(&self.piece) {
            while let Some((id, length)) = piece.early.remove(&piece.referred) {
                piece.referred += 1;
                self.waiting -= 1;
                self.offset += u64::from(length);
                self.batch.push((id, length));
            }
            let referred = piece.referred;
            let done = piece.done.take_if(|done| done.chunks == referred);
            let is_done = done.is_some();
            if let Some(Done { length, reading, .. }) = done {
                let base = self.base;
                self.finished.insert(self.piece, Finished { base, length, reading });
                self.pieces.remove(&self.piece);
                self.piece += 1;
                self.base = self.offset;
            }
            if self.batch.len() >= REFERENCES_BATCH {
                self.refer()?;
            }
            if !is_done {
                return Ok(());
            }
        }
        Ok(())
    }

    fn refer(&mut self) -> Result<(), IngestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len() as u64;
        self.sink.refer(self.next_index, batch)?;
        self.next_index += count;
        Ok(())
    }

    /// Writes the entries whose bytes have their place.
    fn settle_entries(&mut self, at_end: bool) -> Result<(), IngestError> {
        while let Some(draft) = self.drafts.front() {
            let is_known = match draft.placed {
                ContentPlace::Nowhere | ContentPlace::AsTarget => true,
                // The piece has begun, so everything before it is counted.
                ContentPlace::Within(piece, _) => piece <= self.piece,
                ContentPlace::OwnPiece(piece) => piece < self.piece,
            };
            if !is_known && !at_end {
                return Ok(());
            }
            let Some(draft) = self.drafts.pop_front() else { return Ok(()) };
            self.room.pop();
            self.settle(draft)?;
        }
        Ok(())
    }

    fn settle(&mut self, draft: Box<Unplaced>) -> Result<(), IngestError> {
        let Unplaced { mut entry, placed, has_more_names } = *draft;
        let mut reading = FileReading::default();
        match placed {
            ContentPlace::Nowhere => {}
            ContentPlace::AsTarget => match self.names.get(&entry.target) {
                Some(first) => {
                    (entry.offset, entry.length) = (first.offset, first.length);
                    reading = first.reading.clone();
                }
                None => {
                    let why = "the name that its bytes belong to was left out";
                    self.leave_out(entry.path, why, Loss::Whole);
                    return Ok(());
                }
            },
            ContentPlace::Within(piece, within) => {
                let base = self.finished.get(&piece).map_or(self.base, |done| done.base);
                entry.offset = base + within;
            }
            ContentPlace::OwnPiece(piece) => {
                // Entries come in the order of pieces: nobody asks for this one or an earlier again.
                self.finished.retain(|number, _| *number >= piece);
                let done = self.finished.remove(&piece).ok_or(IngestError::BrokenOff)?;
                (entry.offset, entry.length) = (done.base, done.length);
                reading = done.reading;
            }
        }
        entry.changed |= reading.changed;
        // Files that were read ahead have theirs already.
        if !reading.holes.is_empty() {
            entry.holes.clone_from(&reading.holes);
        }
        if let Some(why) = &reading.no_holes {
            self.leave_out(entry.path.clone(), why, Loss::Part);
        }
        if has_more_names {
            let holes = entry.holes.clone();
            let reading = FileReading { changed: entry.changed, holes, ..reading.clone() };
            let first = First { offset: entry.offset, length: entry.length, reading };
            self.names.insert(entry.path.clone(), first);
        }
        if let Some(why) = &reading.fault {
            let why = only(entry.length, why);
            if entry.length == 0 {
                // A file of which nothing could be read is not an empty file.
                self.leave_out(entry.path, &why, Loss::Whole);
                return Ok(());
            }
            self.leave_out(entry.path.clone(), &why, Loss::Part);
        }
        if entry.length == 0 {
            entry.offset = 0;
        }
        self.write_entry(entry)
    }

    fn leave_out(&mut self, path: Vec<u8>, why: &str, loss: Loss) {
        self.intake.left_out.push(LeftOut { path, why: why.to_owned(), loss });
    }

    /// Writes an entry; one that the catalogue cannot hold as it is loses its attributes, and one that it
    /// cannot hold at all costs nobody else.
    fn write_entry(&mut self, mut entry: Entry) -> Result<(), IngestError> {
        let mut full = self.push(&entry);
        if let Err(why) = &full {
            let why = format!("its attributes, ACLs and holes cannot be kept: {why}");
            entry.attributes.clear();
            entry.access_acl.clear();
            entry.default_acl.clear();
            entry.holes.clear();
            full = self.push(&entry);
            if full.is_ok() {
                self.leave_out(entry.path.clone(), &why, Loss::Part);
            }
        }
        let full = match full {
            Ok(full) => full,
            Err(why) => {
                self.names.remove(&entry.path);
                let why = format!("the catalogue cannot hold it: {why}");
                self.leave_out(entry.path, &why, Loss::Whole);
                return Ok(());
            }
        };
        if entry.kind == EntryKind::File {
            self.intake.files += 1;
        }
        if entry.changed {
            self.intake.changed.push(entry.path);
        }
        match full {
            Some(page) => self.store_page(page),
            None => Ok(()),
        }
    }

    fn push(&mut self, entry: &Entry) -> Result<Option<Vec<u8>>, String> {
        let Some(catalogue) = &mut self.catalogue else { return Ok(None) };
        let value = entry.encode().map_err(|fault| fault.to_string())?;
        catalogue.push(&entry.key(), &value).map_err(|fault| fault.to_string())
    }

    fn store_page(&mut self, page: Vec<u8>) -> Result<(), IngestError> {
        let id = ChunkId::from(blake3::hash(&page));
        let length = chunk_length(page.len()).map_err(SinkError::from)?;
        self.sink.put(&mut self.worker, &id, page)?;
        self.pages.push((id, length));
        Ok(())
    }

    fn append_catalogue(&mut self) -> Result<(), IngestError> {
        let Some(catalogue) = self.catalogue.take() else { return Ok(()) };
        let last = catalogue.finish().map_err(|fault| IngestError::Catalogue(fault.to_string()))?;
        for page in last {
            self.store_page(page)?;
        }
        let offset = self.offset;
        let pages = std::mem::take(&mut self.pages);
        let length = pages.iter().map(|(_, length)| u64::from(*length)).sum();
        for batch in pages.chunks(REFERENCES_BATCH) {
            self.batch = batch.to_vec();
            self.refer()?;
        }
        self.intake.appendix = Some(Appendix { kind: AppendixKind::Catalogue, offset, length });
        Ok(())
    }
}
