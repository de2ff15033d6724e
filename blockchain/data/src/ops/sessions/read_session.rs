//! Reads sessions: their bytes, their catalogue, single files.
//!
//! Everything here but [`StoredSession`] works on any [`SessionSource`], and touches only the chunks it must.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use lucid_core::catalogue::{self, Entry};
use lucid_core::page;
use lucid_core::session::{Layout, SessionId};
use lucid_core::words::many;
use lucid_store::codec::Packer;
use lucid_store::crypt::{ChunkKey, Owner};
use lucid_store::vault::Vault;

use crate::opened::SessionLocks;
use crate::ops::sessions::get_session::get_session;
use crate::ops::{Clash, OpError};
use crate::row::{self, Reference, SessionName};
use crate::source::{ChunkRun, SessionSource, Shape};

/// A session in a data folder.
pub struct StoredSession<'a> {
    vault: &'a Vault,
    name: SessionName,
    owner: Owner,
    shape: Shape,
    tail: Vec<u8>,
}

impl<'a> StoredSession<'a> {
    /// Finds the session.
    pub fn open(vault: &'a Vault, id: &SessionId) -> Result<Self, OpError> {
        let session = get_session(vault, id)?;
        let name = SessionName::of(vault.cipher(), id);
        let (shape, owner) = (Shape::of(&session), session.owner);
        Ok(Self { vault, name, owner, shape, tail: Vec::new() })
    }

    /// Finds the session with everything it was given so far, so the tail of a live stream too.
    pub fn open_live(
        vault: &'a Vault,
        locks: &SessionLocks,
        id: &SessionId,
    ) -> Result<Self, OpError> {
        // What is tail now may be cut in the next moment.
        let _held = locks.hold(id);
        let mut source = Self::open(vault, id)?;
        if get_session(vault, id)?.tail_bytes > 0 {
            source.tail = row::tail(vault.index(), vault.cipher(), &source.name)?;
            source.shape.content_bytes += source.tail.len() as u64;
        }
        Ok(source)
    }
}

impl SessionSource for StoredSession<'_> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn tail_bytes(&self) -> u64 {
        self.tail.len() as u64
    }

    fn tail(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>, OpError> {
        let bytes = self.tail.get(range.start as usize..range.end as usize);
        bytes.map(Cow::Borrowed).ok_or_else(|| outside(self, self.shape.total_bytes + range.end))
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        Ok(row::references(self.vault.index(), self.vault.cipher(), &self.name, start, limit)?)
    }

    fn chunk(&self, packer: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        let bytes = self
            .vault
            .read_chunk(packer, ChunkKey::of(self.owner, reference.chunk))?
            .ok_or_else(|| OpError::Missing(vec![reference.chunk]))?;
        if bytes.len() == reference.length as usize {
            Ok(bytes)
        } else {
            Err(OpError::Unsound(format!(
                "chunk {} has {} bytes, and the session says {}",
                reference.chunk,
                bytes.len(),
                reference.length
            )))
        }
    }
}

/// Bytes of a tail fetched in one go.
const TAIL_PART_BYTES: u64 = 4 << 20;
/// References fetched in one go.
const REFERENCES_BATCH: usize = 256;
/// Chunks asked for in one go, at most.
const RUN_CHUNKS: usize = 64;

/// The reference whose chunk holds the byte at `offset`: a binary search over the session's chunks.
pub fn reference_at(source: &dyn SessionSource, offset: u64) -> Result<Reference, OpError> {
    let (mut low, mut high) = (0, source.shape().chunk_count);
    while low < high {
        let middle = low + (high - low) / 2;
        let reference = reference(source, middle)?;
        if reference.holds(offset) {
            return Ok(reference);
        }
        if offset < reference.offset {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Err(outside(source, offset))
}

/// The reference with this index.
pub fn reference(source: &dyn SessionSource, index: u64) -> Result<Reference, OpError> {
    source.references(index, 1)?.into_iter().find(|reference| reference.index == index).ok_or_else(
        || OpError::Unsound(format!("session {} has no chunk {index}", source.shape().id)),
    )
}

/// Hands the bytes of a range to `take`, piece by piece, in order.
pub fn read_range(
    source: &dyn SessionSource,
    range: Range<u64>,
    take: impl FnMut(&[u8]) -> Result<(), OpError>,
) -> Result<(), OpError> {
    Cursor::new(source).read(range, take)
}

/// Chunks that were asked for in one go and have not all come.
struct Run<'a> {
    next: u64,
    end: u64,
    chunks: ChunkRun<'a>,
}

/// Reads ranges one after the other; those that lie in one chunk read it once. As long as a reader goes on where it
/// was, more and more chunks are asked for in one go, but none behind the range that it reads.
pub struct Cursor<'a> {
    source: &'a dyn SessionSource,
    packer: Packer,
    chunk: Option<(Reference, Vec<u8>)>,
    /// References behind the chunk, fetched in advance.
    coming: VecDeque<Reference>,
    run: Option<Run<'a>>,
    /// How many chunks were asked for last.
    asked: usize,
}

impl<'a> Cursor<'a> {
    /// Nothing is read yet.
    pub fn new(source: &'a dyn SessionSource) -> Self {
        let (packer, coming) = (Packer::new(), VecDeque::new());
        Self { source, packer, chunk: None, coming, run: None, asked: 1 }
    }

    /// Hands the bytes of a range to `take`, piece by piece, in order.
    pub fn read(
        &mut self,
        range: Range<u64>,
        mut take: impl FnMut(&[u8]) -> Result<(), OpError>,
    ) -> Result<(), OpError> {
        let (source, cut_bytes) = (self.source, self.source.shape().total_bytes);
        if range.end > cut_bytes + source.tail_bytes() {
            return Err(outside(source, range.end));
        }
        let mut at = range.start;
        while at < range.end.min(cut_bytes) {
            let (reference, bytes) = self.load(at, range.end)?;
            let from = (at - reference.offset) as usize;
            let to = (range.end.min(reference.end()) - reference.offset) as usize;
            at = reference.end();
            take(bytes.get(from..to).unwrap_or_default())?;
        }
        let mut rest = range.start.saturating_sub(cut_bytes)..range.end.saturating_sub(cut_bytes);
        while rest.start < rest.end {
            let part = rest.start..rest.end.min(rest.start + TAIL_PART_BYTES);
            rest.start = part.end;
            take(&source.tail(part)?)?;
        }
        Ok(())
    }

    fn load(&mut self, at: u64, end: u64) -> Result<&(Reference, Vec<u8>), OpError> {
        if !self.chunk.as_ref().is_some_and(|(reference, _)| reference.holds(at)) {
            let next = self.chunk.as_ref().map(|(reference, _)| reference.index + 1);
            let reference = self.find(at)?;
            let bytes = self.fetch(&reference, next == Some(reference.index), end)?;
            self.chunk = Some((reference, bytes));
        }
        self.chunk.as_ref().ok_or_else(|| outside(self.source, at))
    }

    fn fetch(&mut self, wanted: &Reference, goes_on: bool, end: u64) -> Result<Vec<u8>, OpError> {
        let is_next = |run: &Run<'_>| run.next == wanted.index && run.next < run.end;
        let run = self.run.take().filter(is_next);
        if let Some(mut run) = run.or_else(|| self.begin_run(wanted, goes_on, end)) {
            if let Some(Ok(bytes)) = run.chunks.next() {
                run.next += 1;
                self.run = Some(run);
                return Ok(bytes);
            }
            self.asked = 1;
        }
        // Alone it is given, or what is wrong with it is said.
        self.source.chunk(&mut self.packer, wanted)
    }

    /// Asks for a chunk together with those behind it that will be wanted.
    fn begin_run(&mut self, wanted: &Reference, goes_on: bool, end: u64) -> Option<Run<'a>> {
        self.asked = if goes_on { (self.asked * 2).min(RUN_CHUNKS) } else { 1 };
        let behind = self.coming.iter().take(self.asked - 1).take_while(|next| next.offset < end);
        let all: Vec<Reference> = std::iter::once(wanted).chain(behind).copied().collect();
        if all.len() < 2 {
            return None;
        }
        let chunks = self.source.chunks(&all);
        if chunks.is_none() {
            self.asked = 1;
        }
        Some(Run { next: wanted.index, end: wanted.index + all.len() as u64, chunks: chunks? })
    }

    fn find(&mut self, at: u64) -> Result<Reference, OpError> {
        while let Some(next) = self.coming.pop_front() {
            if next.holds(at) {
                return Ok(next);
            }
            if next.offset > at {
                break;
            }
        }
        let reference = match self.chunk.take() {
            // Most readers go on where they were.
            Some((last, _)) if last.end() == at => reference(self.source, last.index + 1)?,
            _ => reference_at(self.source, at)?,
        };
        if !reference.holds(at) {
            return Err(outside(self.source, at));
        }
        self.coming = self.source.references(reference.index + 1, REFERENCES_BATCH)?.into();
        Ok(reference)
    }
}

fn outside(source: &dyn SessionSource, at: u64) -> OpError {
    let Shape { id, total_bytes, .. } = source.shape();
    let bytes = total_bytes + source.tail_bytes();
    OpError::Invalid(format!(
        "byte {at} is outside session {id}, which has {}",
        many(bytes, "byte")
    ))
}

/// Reads one page of the appendix. The root page is the session's last chunk, and knows its number.
pub(super) struct Pages<'a> {
    source: &'a dyn SessionSource,
    packer: Packer,
    root: u32,
    first_chunk: u64,
}

impl<'a> Pages<'a> {
    /// Finds the catalogue of an archived folder.
    pub(super) fn open(source: &'a dyn SessionSource) -> Result<Self, OpError> {
        let shape = source.shape();
        if shape.layout != Layout::Tree || shape.total_bytes == shape.content_bytes {
            let clash = match shape.layout {
                Layout::Tree => Clash::Unsealed,
                Layout::Raw => Clash::WrongLayout,
            };
            let sentence = format!("session {} is not an archived folder that is sealed", shape.id);
            return Err(OpError::Conflict(clash, sentence));
        }
        Self::find(source)
    }

    /// Finds the pages by the last chunk.
    pub(super) fn find(source: &'a dyn SessionSource) -> Result<Self, OpError> {
        let shape = source.shape();
        let none = || OpError::Invalid(format!("session {} does not end with pages", shape.id));
        let last = shape.chunk_count.checked_sub(1).ok_or_else(none)?;
        let mut packer = Packer::new();
        let root = reference(source, last)?;
        let bytes = source.chunk(&mut packer, &root)?;
        let root = page::Page::decode(&bytes).map_err(|_| none())?.ordinal();
        let first_chunk = last.checked_sub(u64::from(root)).ok_or_else(none)?;
        Ok(Self { source, packer, root, first_chunk })
    }

    /// The chunk that is the first page.
    pub(super) fn first_chunk(&self) -> u64 {
        self.first_chunk
    }

    /// The leaf page where a key is, if it is anywhere.
    pub(super) fn leaf_page(&mut self, key: &[u8]) -> Result<(u32, Vec<u8>), OpError> {
        let mut descent = page::Descent::new(self.root, key);
        loop {
            let ordinal = descent.wants();
            let bytes = self.load(ordinal)?;
            let read = page::Page::decode(&bytes).and_then(|page| descent.step(&page));
            match read {
                Ok(true) => return Ok((ordinal, bytes)),
                Ok(false) => {}
                Err(fault) => return Err(OpError::Unsound(format!("the appendix: {fault}"))),
            }
        }
    }

    /// A page's bytes.
    pub(super) fn load(&mut self, ordinal: u32) -> Result<Vec<u8>, OpError> {
        let reference = reference(self.source, self.first_chunk + u64::from(ordinal))?;
        self.source.chunk(&mut self.packer, &reference)
    }
}

/// Where the pages at the end of a session begin.
pub fn appendix_start(source: &dyn SessionSource) -> Result<u64, OpError> {
    let pages = Pages::find(source)?;
    Ok(reference(source, pages.first_chunk)?.offset)
}

fn flatten(error: page::PageWalkError<OpError>) -> OpError {
    match error {
        page::PageWalkError::Load(error) => error,
        page::PageWalkError::Page(fault) => OpError::Unsound(format!("the catalogue: {fault}")),
    }
}

/// Visits the entries on every leaf page that can be read, even if other pages are damaged: leaf
/// pages stand in a row where the content ends.
fn salvage(
    source: &dyn SessionSource,
    mut visit: impl FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<(), OpError> {
    let mut packer = Packer::new();
    let first_chunk = reference_at(source, source.shape().content_bytes)?.index;
    for index in first_chunk..source.shape().chunk_count {
        let loaded = reference(source, index).and_then(|at| source.chunk(&mut packer, &at));
        let bytes = match loaded {
            Ok(bytes) => bytes,
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error),
        };
        let Ok(page) = page::Page::decode(&bytes) else { continue };
        if page.level() > 0 {
            break;
        }
        for (key, value) in page.entries() {
            if visit(index, key, value).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads an entry as a page has it.
pub(super) fn decode_entry(key: &[u8], value: &[u8]) -> Result<Entry, OpError> {
    Entry::decode(key, value).map_err(|fault| OpError::Unsound(format!("the catalogue: {fault}")))
}

/// A path's entry, and the chunk of the catalogue page it stands on.
pub fn find_entry(
    source: &dyn SessionSource,
    path: &[u8],
) -> Result<Option<(Entry, u64)>, OpError> {
    let key = catalogue::path_key(path);
    let error = match descend(source, &key) {
        Err(error) if error.is_damage() => error,
        found => return found,
    };
    // A damaged page of the index stands in nobody's way but its own.
    let mut found = None;
    salvage(source, |chunk, at, value| {
        if at == key {
            found = Some(decode_entry(at, value).map(|entry| (entry, chunk)));
        }
        if at < key.as_slice() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    // Absence is only said when every page was read.
    found.unwrap_or(Err(error)).map(Some)
}

fn descend(source: &dyn SessionSource, key: &[u8]) -> Result<Option<(Entry, u64)>, OpError> {
    let mut pages = Pages::open(source)?;
    let (root, first_chunk) = (pages.root, pages.first_chunk);
    let hit = page::find(root, key, |ordinal| pages.load(ordinal)).map_err(flatten)?;
    hit.map(|hit| Ok((decode_entry(&hit.key, &hit.value)?, first_chunk + u64::from(hit.ordinal))))
        .transpose()
}

/// Visits a path and everything below it, in order, until `visit` breaks off. `""` is everything.
/// `after` skips what does not come behind that path. Damage in the catalogue costs the entries it
/// hit: all others are visited, and then it is the error.
pub fn visit_entries(
    source: &dyn SessionSource,
    below: &[u8],
    after: Option<&[u8]>,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), OpError> {
    let own_key = catalogue::path_key(below);
    let prefix = catalogue::folder_prefix(below);
    let after_key = after.map(catalogue::path_key);
    let from = after_key.as_ref().filter(|key| **key > own_key).unwrap_or(&own_key).clone();
    // The last key that was visited: nothing is visited twice.
    let mut last = after_key;
    let mut fault = None;
    let mut take = |key: &[u8], value: &[u8]| {
        if key < from.as_slice() || last.as_deref().is_some_and(|last| key <= last) {
            return ControlFlow::Continue(());
        }
        if key != own_key && !key.starts_with(&prefix) {
            return ControlFlow::Break(());
        }
        key.clone_into(last.get_or_insert_default());
        match decode_entry(key, value) {
            Ok(entry) => visit(entry),
            Err(why) => {
                fault.get_or_insert(why);
                ControlFlow::Continue(())
            }
        }
    };
    let mut damage = None;
    match scan(source, &from, &mut take) {
        Err(error) if error.is_damage() => {
            salvage(source, |_, key, value| take(key, value))?;
            damage = Some(error);
        }
        scanned => scanned?,
    }
    damage.or(fault).map_or(Ok(()), Err)
}

/// Hears of a key and its value, and says whether to go on.
type Take<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

fn scan(source: &dyn SessionSource, from: &[u8], take: &mut Take<'_>) -> Result<(), OpError> {
    let mut pages = Pages::open(source)?;
    let root = pages.root;
    page::scan(root, from, |ordinal| pages.load(ordinal), |_, key, value| take(key, value))
        .map_err(flatten)
}

#[cfg(test)]
mod tests;
