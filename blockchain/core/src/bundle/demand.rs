//! What a bundle must have for what it is to prove: which chunks, and whether its leaves and its page are theirs.
//!
//! [`super::Bundle::build`] asks before it makes a bundle, [`crate::check`] after it has read one:
//! both by the same rules, so that nothing is built that would be refused.

use std::ops::Range;

use super::{Bundle, PageProof, Subject};
use crate::catalogue::{Entry, EntryFault, path_key};
use crate::digest::ChunkId;
use crate::manifest::Manifest;
use crate::page::{Page, PageFault};
use crate::session::{Layout, Leaf, Salt};
use crate::timeline::{PlacedPage, TimelineFault, Within};
use crate::tree::{Blake3Tree, root_from_inclusion, root_from_range};

/// Why a bundle does not cover what it claims to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemandFault {
    /// A range that the session does not have.
    #[error("{start}..{end} is not a range of the session's {what}")]
    Range {
        /// Of what it is a range.
        what: &'static str,
        /// Its first element.
        start: u64,
        /// The element after its last.
        end: u64,
    },
    /// Leaves that do not cover the claim, or that do not fit together.
    #[error("the leaves do not cover what is claimed: {rule}")]
    Leaves {
        /// The rule they break.
        rule: &'static str,
    },
    /// A page where none belongs, or none where one does.
    #[error(
        "one page belongs to the proof of a path in a folder, up to four to that of a span of a \
         recording, and none to any other"
    )]
    PageOutOfPlace,
    /// A page that is not the chunk its leaf names, or not part of the appendix.
    #[error("the page is not the chunk that its leaf names")]
    PageChunk,
    /// A leaf of a page that the session does not have.
    #[error("the page does not belong to the session's root")]
    PageRoot,
    /// Pages that do not say where a span's bytes are.
    #[error(transparent)]
    Timeline(#[from] TimelineFault),
    /// A page that is none.
    #[error(transparent)]
    Page(#[from] PageFault),
    /// An entry that is none.
    #[error(transparent)]
    Entry(#[from] EntryFault),
    /// A page without the path.
    #[error("{path:?} is not on the catalogue page")]
    PathAbsent {
        /// The path.
        path: String,
    },
    /// Leaves and hashes that do not give the root.
    #[error("the leaves do not lead to the session's root")]
    Root,
}

/// The stretch of a session that a bundle covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The bytes, counted from the session's start.
    pub bytes: Range<u64>,
    /// For a path, what the catalogue says about it.
    pub entry: Option<Entry>,
    /// For a span, what the timeline says about it.
    pub within: Option<Within>,
}

impl Demand {
    /// What a bundle claims; its leaves are known to cover exactly that and to fit together, and a
    /// path's page to belong to the session. [`leads_to_root`] is asked separately.
    pub fn of(bundle: &Bundle, manifest: &Manifest) -> Result<Self, DemandFault> {
        let entry = entry(bundle, manifest)?;
        let within = span(bundle, manifest)?;
        let leaves = bundle.leaves.as_slice();
        fit_together(leaves, manifest)?;
        let bytes = match (&bundle.subject, &entry) {
            (Subject::Span(_), _) => {
                within.as_ref().ok_or(DemandFault::PageOutOfPlace)?.bytes.clone()
            }
            (Subject::Session, _) => {
                need(leaves.len() as u64 == manifest.chunk_count, "not all of them are there")?;
                0..manifest.total_bytes
            }
            (Subject::Chunks(start, end), _) => {
                if start >= end || *end > manifest.chunk_count {
                    return Err(DemandFault::Range { what: "chunks", start: *start, end: *end });
                }
                let first = leaves.first().map(|leaf| leaf.index);
                let right = first == Some(*start) && leaves.len() as u64 == end - start;
                need(right, "they are other chunks")?;
                let of = |leaf: Option<&Leaf>, at: fn(&Leaf) -> u64| leaf.map_or(0, at);
                of(leaves.first(), |leaf| leaf.offset)..of(leaves.last(), Leaf::end)
            }
            (Subject::Bytes(start, end), _) => {
                if start >= end || *end > manifest.content_bytes {
                    return Err(DemandFault::Range { what: "bytes", start: *start, end: *end });
                }
                *start..*end
            }
            (Subject::Path(_), Some(entry)) => {
                let (start, end) = (entry.offset, entry.offset.saturating_add(entry.length));
                if end > manifest.content_bytes {
                    return Err(DemandFault::Range { what: "bytes", start, end });
                }
                start..end
            }
            (Subject::Path(_), None) => return Err(DemandFault::PageOutOfPlace),
        };
        let claim = Self { bytes, entry, within };
        claim.tight(leaves)?;
        Ok(claim)
    }

    /// The part of a chunk that is covered, unless the whole chunk is.
    pub fn part_of(&self, leaf: &Leaf) -> Option<Range<u32>> {
        part_of(&self.bytes, leaf)
    }

    /// The first and the last leaf hold an end of the claim, and nothing claimed is left over.
    fn tight(&self, leaves: &[Leaf]) -> Result<(), DemandFault> {
        if self.bytes.is_empty() {
            return need(leaves.is_empty(), "nothing is claimed");
        }
        let holds = |leaf: &Leaf, byte: u64| (leaf.offset..leaf.end()).contains(&byte);
        let first = leaves.first().is_some_and(|leaf| holds(leaf, self.bytes.start));
        let last = leaves.last().is_some_and(|leaf| holds(leaf, self.bytes.end - 1));
        need(first && last, "they begin or end elsewhere")
    }
}

fn need(kept: bool, rule: &'static str) -> Result<(), DemandFault> {
    if kept { Ok(()) } else { Err(DemandFault::Leaves { rule }) }
}

fn part_of(bytes: &Range<u64>, leaf: &Leaf) -> Option<Range<u32>> {
    let start = bytes.start.clamp(leaf.offset, leaf.end()) - leaf.offset;
    let end = bytes.end.clamp(leaf.offset, leaf.end()) - leaf.offset;
    // Both lie within the chunk, whose length is a `u32`.
    let part = u32::try_from(start).ok()?..u32::try_from(end).ok()?;
    (part != (0..leaf.length)).then_some(part)
}

/// The leaves that hold `bytes`, out of leaves in order.
pub fn covering<'a>(bytes: &Range<u64>, leaves: &'a [Leaf]) -> &'a [Leaf] {
    if bytes.is_empty() {
        return &[];
    }
    let first = leaves.partition_point(|leaf| leaf.end() <= bytes.start);
    let end = leaves.partition_point(|leaf| leaf.offset < bytes.end);
    leaves.get(first..end).unwrap_or_default()
}

/// The leaves whose chunks `bytes` covers in part: [`Bundle::build`] wants their content.
pub fn edges<'a>(bytes: &Range<u64>, leaves: &'a [Leaf]) -> Vec<&'a Leaf> {
    leaves.iter().filter(|leaf| part_of(bytes, leaf).is_some()).collect()
}

/// Leaves in a row: chunk follows chunk and byte follows byte, from the start to the end that the
/// manifest names, and none lies across the end of the content.
fn fit_together(leaves: &[Leaf], manifest: &Manifest) -> Result<(), DemandFault> {
    for leaf in leaves {
        fits(leaf, manifest)?;
    }
    for (before, after) in leaves.iter().zip(leaves.iter().skip(1)) {
        let follows = before.index.checked_add(1) == Some(after.index);
        need(follows && before.end() == after.offset, "they do not follow each other")?;
    }
    Ok(())
}

fn fits(leaf: &Leaf, manifest: &Manifest) -> Result<(), DemandFault> {
    let starts = (leaf.index == 0) == (leaf.offset == 0);
    let ends = (leaf.index.checked_add(1) == Some(manifest.chunk_count))
        == (leaf.end() == manifest.total_bytes);
    let inside = leaf.index < manifest.chunk_count && leaf.end() <= manifest.total_bytes;
    need(starts && ends && inside, "one has a place that the session has not")?;
    let across = leaf.offset < manifest.content_bytes && leaf.end() > manifest.content_bytes;
    need(!across, "one lies across the end of the content")?;
    need(!manifest.public || leaf.salt == Salt::PUBLIC, "one of a public session has a salt")
}

/// Holds a page against the session: it is the chunk that its leaf names, in the appendix, and that
/// leaf leads to the root.
fn belongs(page: &PageProof, manifest: &Manifest) -> Result<(), DemandFault> {
    let PageProof { bytes, leaf, proof } = page;
    fits(leaf, manifest)?;
    let is_chunk = leaf.chunk_id == ChunkId::from(blake3::hash(bytes))
        && bytes.len() as u64 == u64::from(leaf.length)
        && leaf.offset >= manifest.content_bytes;
    if !is_chunk {
        return Err(DemandFault::PageChunk);
    }
    let hash = leaf.hash(&manifest.session_id.key());
    let root =
        root_from_inclusion::<Blake3Tree>(hash.as_bytes(), leaf.index, manifest.chunk_count, proof);
    if root.as_ref() == Some(manifest.merkle_root.as_bytes()) {
        Ok(())
    } else {
        Err(DemandFault::PageRoot)
    }
}

/// The catalogue's entry for a path, read from a page that belongs to the session.
fn entry(bundle: &Bundle, manifest: &Manifest) -> Result<Option<Entry>, DemandFault> {
    let (path, page) = match (&bundle.subject, bundle.pages.as_slice()) {
        (Subject::Path(path), [page]) if manifest.layout == Layout::Tree => (path, page),
        // A path without its page is refused where its bytes are asked for.
        (_, []) | (Subject::Span(_), _) => return Ok(None),
        _ => return Err(DemandFault::PageOutOfPlace),
    };
    belongs(page, manifest)?;
    let key = path_key(path);
    let page = Page::decode(&page.bytes)?;
    let absent = || DemandFault::PathAbsent { path: String::from_utf8_lossy(path).into_owned() };
    let entry = Entry::decode(&key, page.get(&key).ok_or_else(absent)?)?;
    // A path with a zero byte has the key of another one.
    if entry.path == *path { Ok(Some(entry)) } else { Err(absent()) }
}

/// The bytes of a span of time, by pages of the timeline that belong to the session.
fn span(bundle: &Bundle, manifest: &Manifest) -> Result<Option<Within>, DemandFault> {
    let Subject::Span(span) = &bundle.subject else { return Ok(None) };
    if manifest.layout != Layout::Raw || manifest.appendix.is_none() {
        return Err(DemandFault::PageOutOfPlace);
    }
    let mut pages = Vec::new();
    for page in &bundle.pages {
        belongs(page, manifest)?;
        let (index, offset) = (page.leaf.index, page.leaf.offset);
        let is_first = offset == manifest.content_bytes;
        let is_last = index.checked_add(1) == Some(manifest.chunk_count);
        pages.push(PlacedPage::read(&page.bytes, index, is_first, is_last)?);
    }
    Ok(Some(span.bytes(&pages, manifest.content_bytes)?))
}

/// Whether a bundle's leaves, as many as there are, lead to the manifest's root.
pub(crate) fn leads_to_root(bundle: &Bundle, manifest: &Manifest) -> Result<(), DemandFault> {
    let Some(first) = bundle.leaves.first() else {
        // A session of nothing has the root of nothing, which its manifest was held to; a path
        // without bytes has led to the root by its page.
        return if bundle.range_proof.is_empty() { Ok(()) } else { Err(DemandFault::Root) };
    };
    let session = manifest.session_id.key();
    let hashes: Vec<_> = bundle.leaves.iter().map(|leaf| *leaf.hash(&session).as_bytes()).collect();
    let root = root_from_range::<Blake3Tree>(
        manifest.chunk_count,
        first.index,
        &hashes,
        &bundle.range_proof,
    );
    if root.as_ref() == Some(manifest.merkle_root.as_bytes()) {
        Ok(())
    } else {
        Err(DemandFault::Root)
    }
}
