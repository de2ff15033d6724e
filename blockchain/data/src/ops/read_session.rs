//! Reads sessions: their bytes, their catalogue, single files.
//!
//! [`SessionSource`] is what reading needs: references and checked chunks. A data folder is one source,
//! a server behind HTTP another; everything else here works on both, and touches only the chunks it
//! must.

use std::ops::{ControlFlow, Range};

use lucid_core::catalogue::{self, Entry};
use lucid_core::page;
use lucid_core::session::{Layout, SessionId};
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;

use super::OpError;
use super::list_sessions::get_session;
use crate::row::{self, Reference, SessionName, SessionRow};

/// What a session looks like to whoever reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Its id.
    pub id: SessionId,
    /// What it consists of.
    pub layout: Layout,
    /// How many chunks it has, appendix included.
    pub chunk_count: u64,
    /// Bytes of its content.
    pub content_bytes: u64,
    /// Bytes of its chunks, appendix included.
    pub total_bytes: u64,
}

impl Shape {
    /// The shape of a session in a store.
    pub fn of(session: &SessionRow) -> Self {
        let content = session.sealed.as_ref().map_or(session.cut_bytes, |s| s.content_bytes);
        Self {
            id: session.id.clone(),
            layout: session.layout,
            chunk_count: session.chunk_count(),
            content_bytes: content,
            total_bytes: session.cut_bytes,
        }
    }
}

/// Where a session can be read from.
pub trait SessionSource: Send + Sync {
    /// The session.
    fn shape(&self) -> &Shape;

    /// Up to `limit` references from `start` on.
    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError>;

    /// A chunk's bytes, checked against its id.
    fn chunk(&self, packer: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError>;
}

/// A session in a data folder.
pub struct StoredSession<'a> {
    vault: &'a Vault,
    name: SessionName,
    shape: Shape,
}

impl<'a> StoredSession<'a> {
    /// Finds the session.
    pub fn open(vault: &'a Vault, id: &SessionId) -> Result<Self, OpError> {
        let session = get_session(vault, id)?;
        let name = SessionName::of(vault.sealer(), id);
        Ok(Self { vault, name, shape: Shape::of(&session) })
    }
}

impl SessionSource for StoredSession<'_> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        Ok(row::references(self.vault.index(), self.vault.sealer(), &self.name, start, limit)?)
    }

    fn chunk(&self, packer: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        let bytes = self
            .vault
            .read_chunk(packer, &reference.chunk)?
            .ok_or_else(|| OpError::Missing(vec![reference.chunk]))?;
        if bytes.len() == reference.length as usize {
            Ok(bytes)
        } else {
            Err(OpError::Invalid(format!("chunk {} has another length", reference.chunk)))
        }
    }
}

/// References fetched in one go.
const REFERENCES_BATCH: usize = 1_024;

/// The reference whose chunk holds the byte at `offset`: a binary search over the session's chunks.
pub fn reference_at(source: &dyn SessionSource, offset: u64) -> Result<Reference, OpError> {
    let (mut low, mut high) = (0, source.shape().chunk_count);
    while low < high {
        let middle = low + (high - low) / 2;
        let reference = reference(source, middle)?;
        if offset < reference.offset {
            high = middle;
        } else if offset >= reference.end() {
            low = middle + 1;
        } else {
            return Ok(reference);
        }
    }
    Err(OpError::Invalid(format!(
        "byte {offset} is outside session {}, which has {}",
        source.shape().id,
        source.shape().total_bytes
    )))
}

/// The reference with this index.
pub fn reference(source: &dyn SessionSource, index: u64) -> Result<Reference, OpError> {
    source.references(index, 1)?.into_iter().find(|reference| reference.index == index).ok_or_else(
        || OpError::Invalid(format!("session {} has no chunk {index}", source.shape().id)),
    )
}

/// Hands the bytes of a range to `take`, piece by piece, in order.
pub fn read_range(
    source: &dyn SessionSource,
    range: Range<u64>,
    mut take: impl FnMut(&[u8]) -> Result<(), OpError>,
) -> Result<(), OpError> {
    if range.is_empty() {
        return Ok(());
    }
    let mut packer = Packer::new();
    let mut next = reference_at(source, range.start)?.index;
    loop {
        let references = source.references(next, REFERENCES_BATCH)?;
        if references.is_empty() {
            return Err(OpError::Invalid(format!(
                "session {} ends before byte {}",
                source.shape().id,
                range.end
            )));
        }
        for reference in references {
            if reference.offset >= range.end {
                return Ok(());
            }
            let bytes = source.chunk(&mut packer, &reference)?;
            let from = range.start.saturating_sub(reference.offset) as usize;
            let to = (range.end.min(reference.end()) - reference.offset) as usize;
            take(bytes.get(from..to).unwrap_or_default())?;
            next = reference.index + 1;
        }
        if next >= source.shape().chunk_count {
            return Ok(());
        }
    }
}

/// Reads one page of the appendix. The root page is the session's last chunk, and knows its number.
struct Pages<'a> {
    source: &'a dyn SessionSource,
    packer: Packer,
    root: u32,
    first_chunk: u64,
}

impl<'a> Pages<'a> {
    fn open(source: &'a dyn SessionSource) -> Result<Self, OpError> {
        let shape = source.shape();
        let not_a_tree =
            || OpError::Invalid(format!("session {} is not an archived folder", shape.id));
        if shape.layout != Layout::Tree || shape.total_bytes == shape.content_bytes {
            return Err(not_a_tree());
        }
        let last = shape.chunk_count.checked_sub(1).ok_or_else(not_a_tree)?;
        let mut packer = Packer::new();
        let bytes = source.chunk(&mut packer, &reference(source, last)?)?;
        let root = page::Page::decode(&bytes)
            .map_err(|fault| OpError::Invalid(fault.to_string()))?
            .ordinal();
        let first_chunk = last.checked_sub(u64::from(root)).ok_or_else(not_a_tree)?;
        Ok(Self { source, packer, root, first_chunk })
    }

    fn load(&mut self, ordinal: u32) -> Result<Vec<u8>, OpError> {
        let reference = reference(self.source, self.first_chunk + u64::from(ordinal))?;
        self.source.chunk(&mut self.packer, &reference)
    }
}

fn flatten(error: page::WalkError<OpError>) -> OpError {
    match error {
        page::WalkError::Load(error) => error,
        page::WalkError::Page(fault) => OpError::Invalid(fault.to_string()),
    }
}

/// A path's entry, and the chunk of the catalogue page it stands on.
pub fn find_entry(
    source: &dyn SessionSource,
    path: &[u8],
) -> Result<Option<(Entry, u64)>, OpError> {
    let mut pages = Pages::open(source)?;
    let (root, first_chunk) = (pages.root, pages.first_chunk);
    let key = catalogue::path_key(path);
    let hit = page::find(root, &key, |ordinal| pages.load(ordinal)).map_err(flatten)?;
    hit.map(|hit| {
        let entry = Entry::decode(&hit.key, &hit.value)
            .map_err(|fault| OpError::Invalid(fault.to_string()))?;
        Ok((entry, first_chunk + u64::from(hit.ordinal)))
    })
    .transpose()
}

/// Visits a path and everything below it, in order, until `visit` breaks off. `""` is everything.
/// `after` skips what does not come behind that path.
pub fn visit_entries(
    source: &dyn SessionSource,
    below: &[u8],
    after: Option<&[u8]>,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), OpError> {
    let mut pages = Pages::open(source)?;
    let root = pages.root;
    let own_key = catalogue::path_key(below);
    let prefix = catalogue::folder_prefix(below);
    let after_key = after.map(catalogue::path_key);
    let from = after_key.as_ref().filter(|key| **key > own_key).unwrap_or(&own_key).clone();
    let mut fault = None;
    page::scan(
        root,
        &from,
        |ordinal| pages.load(ordinal),
        |_, key, value| {
            if after_key.as_deref().is_some_and(|after| key <= after) {
                return ControlFlow::Continue(());
            }
            if key != own_key && !key.starts_with(&prefix) {
                return ControlFlow::Break(());
            }
            match Entry::decode(key, value) {
                Ok(entry) => visit(entry),
                Err(why) => {
                    fault = Some(OpError::Invalid(why.to_string()));
                    ControlFlow::Break(())
                }
            }
        },
    )
    .map_err(flatten)?;
    fault.map_or(Ok(()), Err)
}
