//! Makes proof bundles: small files that show, offline, what was recorded and when it was anchored.

use std::ops::Range;

use lucid_core::bundle::{AnchorInclusion, AnchoredElsewhere, BuildFault, Bundle, Subject, edges};
use lucid_core::manifest::Manifest;
use lucid_core::session::{LEAF_BYTES, Leaf, SessionId, salt, session_key};
use lucid_core::timeline::Span;
use lucid_core::tree::NodeHash;
use lucid_core::words::many;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;

use crate::ops::proofs::deliver_anchors::anchor_text;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::read_session::{StoredSession, find_entry, reference_at};
use crate::ops::sessions::read_timeline::find_span;
use crate::ops::{Clash, OpError};
use crate::row::{self, Reference, SessionName, SessionRow};
use crate::source::SessionSource as _;

/// What is to be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedProof {
    /// The whole session.
    Session,
    /// One chunk.
    Chunk(u64),
    /// Bytes of the content, from the first to before the second offset.
    Bytes(Range<u64>),
    /// One path of an archived folder.
    Path(Vec<u8>),
    /// What was recorded in a span of time.
    Span(Span),
}

/// References read in one go.
const BATCH: usize = 4_096;

/// Asked by the code that makes a proof before it takes so many bytes of memory, and with zero bytes now
/// and then: an error where there is no room, or the proof is not wanted any more.
pub type Allow<'a> = &'a dyn Fn(usize) -> Result<(), OpError>;

/// Allows everything: for a caller that makes one proof and has the memory for it.
pub fn freely(_: usize) -> Result<(), OpError> {
    Ok(())
}

/// The bundle's bytes. Only a sealed session can be proved; one that is not anchored yet gives a bundle
/// that says so.
pub fn prove_session(
    vault: &Vault,
    id: &SessionId,
    wanted: &WantedProof,
    allow: Allow<'_>,
) -> Result<Vec<u8>, OpError> {
    let (name, session) = named(vault, id)?;
    let (_, manifest) = session_manifest(vault, &name, &session)?;
    let source = StoredSession::open(vault, id)?;
    let plan = plan(&source, &manifest, wanted)?;
    let covered = plan.chunks.end.saturating_sub(plan.chunks.start);
    Bundle::covers(covered).map_err(|fault| OpError::Invalid(fault.to_string()))?;
    let (count, covered) = (length(manifest.chunk_count), length(covered));
    // The hashes, the leaves, and these once more in the file.
    let leaf_bytes = size_of::<Leaf>() + LEAF_BYTES;
    allow(count.saturating_mul(size_of::<NodeHash>()).saturating_add(covered * leaf_bytes))?;
    let (mut hashes, mut leaves) = (room(count)?, room(covered)?);
    let mut pages = Vec::new();
    let mut packer = Packer::new();
    let mut next = 0;
    while next < manifest.chunk_count {
        allow(0)?;
        let batch = source.references(next, BATCH)?;
        let Some(last) = batch.last() else { break };
        next = last.index + 1;
        for reference in &batch {
            hashes.push(*reference.leaf.as_bytes());
            if plan.chunks.contains(&reference.index) {
                leaves.push(leaf(&session, reference)?);
            }
            if plan.pages.contains(&reference.index) {
                let bytes = source.chunk(&mut packer, reference)?;
                pages.push((leaf(&session, reference)?, bytes));
            }
        }
    }
    let mut edge_chunks = Vec::new();
    for edge in plan.bytes.iter().flat_map(|bytes| edges(bytes, &leaves)) {
        // What is read, what is decoded, the slice of it, and that once more in the file.
        allow((edge.length as usize).saturating_mul(4))?;
        let reference = crate::ops::sessions::read_session::reference(&source, edge.index)?;
        edge_chunks.push(source.chunk(&mut packer, &reference)?);
    }
    let edge_chunks: Vec<&[u8]> = edge_chunks.iter().map(Vec::as_slice).collect();
    let bundle = Bundle::build(plan.subject, &manifest, &hashes, leaves, &edge_chunks, pages)
        .map_err(|fault| match fault {
            BuildFault::Root => unproved(id),
            fault => OpError::Invalid(fault.to_string()),
        })?;
    let bundle = match anchored(vault, &name)? {
        Some(anchored) => bundle.anchored_in(anchored),
        None => bundle,
    };
    let words = row::elsewhere(vault.index(), vault.cipher(), &name)?;
    let bundle = match words {
        Some(words) => {
            let transaction = anchor_text(vault, &name)?;
            bundle.anchored_elsewhere(AnchoredElsewhere { transaction, words })
        }
        None => bundle,
    };
    Ok(bundle.encode())
}

/// Room for so many, and no more than that.
pub(super) fn room<T>(count: usize) -> Result<Vec<T>, OpError> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|error| OpError::Busy(error.to_string()))?;
    Ok(room)
}

/// A count of things in memory. More than there can be is refused when memory is asked for.
pub(super) fn length(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Which parts of a session a proof is made of.
struct ProofPlan {
    subject: Subject,
    /// The chunks whose leaves it opens.
    chunks: Range<u64>,
    /// The bytes it covers, where they need not begin and end with chunks.
    bytes: Option<Range<u64>>,
    /// The chunks of the pages it shows.
    pages: Vec<u64>,
}

fn plan(
    source: &StoredSession<'_>,
    manifest: &Manifest,
    wanted: &WantedProof,
) -> Result<ProofPlan, OpError> {
    let id = &manifest.session_id;
    Ok(match wanted {
        WantedProof::Session => ProofPlan {
            subject: Subject::Session,
            chunks: 0..manifest.chunk_count,
            bytes: None,
            pages: Vec::new(),
        },
        WantedProof::Chunk(index) if *index < manifest.chunk_count => ProofPlan {
            subject: Subject::Chunks(*index, index + 1),
            chunks: *index..index + 1,
            bytes: None,
            pages: Vec::new(),
        },
        WantedProof::Chunk(index) => {
            return Err(OpError::Invalid(format!(
                "session {id} has {}, so none with index {index}",
                many(manifest.chunk_count, "chunk")
            )));
        }
        WantedProof::Bytes(range)
            if range.start <= range.end && range.end <= manifest.content_bytes =>
        {
            ProofPlan {
                subject: Subject::Bytes(range.start, range.end),
                chunks: chunks_of(source, range)?,
                bytes: Some(range.clone()),
                pages: Vec::new(),
            }
        }
        WantedProof::Bytes(range) => {
            return Err(OpError::Invalid(format!(
                "session {id} has {} of content, counted from 0, so no bytes {} to {}",
                many(manifest.content_bytes, "byte"),
                range.start,
                range.end.saturating_sub(1)
            )));
        }
        WantedProof::Path(path) => {
            let (entry, page) = find_entry(source, path)?.ok_or_else(|| OpError::NoFile {
                session: id.clone(),
                path: String::from_utf8_lossy(path).into_owned(),
            })?;
            let bytes = entry.offset..entry.offset + entry.length;
            ProofPlan {
                subject: Subject::Path(path.clone()),
                chunks: chunks_of(source, &bytes)?,
                bytes: Some(bytes),
                pages: vec![page],
            }
        }
        WantedProof::Span(span) => {
            let found = find_span(source, span)?;
            ProofPlan {
                subject: Subject::Span(*span),
                chunks: chunks_of(source, &found.within.bytes)?,
                bytes: Some(found.within.bytes),
                pages: found.pages,
            }
        }
    })
}

/// The rows of a session do not give the root it was sealed with, so they prove nothing.
pub(super) fn unproved(id: &SessionId) -> OpError {
    OpError::Unsound(format!(
        "what the index has of the chunks of session {id} does not give the root it was sealed with: \
         `lucid reindex` makes it anew from the log"
    ))
}

/// What the leaf of a chunk is made of; it gives the hash that stands in the tree.
pub(super) fn leaf(session: &SessionRow, reference: &Reference) -> Result<Leaf, OpError> {
    let leaf = Leaf {
        index: reference.index,
        offset: reference.offset,
        length: reference.length,
        chunk_id: reference.chunk,
        salt: salt(session.secret.as_ref(), reference.index),
    };
    match leaf.hash(&session_key(&session.id)) == reference.leaf {
        true => Ok(leaf),
        false => Err(unproved(&session.id)),
    }
}

/// Which chunks hold a range of bytes; none for an empty one.
fn chunks_of(source: &StoredSession<'_>, range: &Range<u64>) -> Result<Range<u64>, OpError> {
    if range.is_empty() {
        return Ok(0..0);
    }
    let first = reference_at(source, range.start)?.index;
    let last = reference_at(source, range.end - 1)?.index;
    Ok(first..last + 1)
}

/// A sealed session's manifest, as its text and read.
pub fn session_manifest(
    vault: &Vault,
    name: &SessionName,
    session: &SessionRow,
) -> Result<(String, Manifest), OpError> {
    if session.sealed.is_none() {
        return Err(OpError::Conflict(
            Clash::Unsealed,
            format!("session {} is not sealed yet", session.id),
        ));
    }
    let text = manifest_text(vault, name)?;
    let manifest =
        Manifest::parse(text.as_bytes()).map_err(|fault| OpError::Unsound(fault.to_string()))?;
    Ok((text, manifest))
}

/// The text of a sealed session's manifest.
pub fn manifest_text(vault: &Vault, name: &SessionName) -> Result<String, OpError> {
    let key = name.manifest_key();
    let value = vault.index().get(&key)?.unwrap_or_default();
    String::from_utf8(vault.cipher().decrypt_value(&key, value)?)
        .map_err(|_| OpError::Unsound("the manifest is not text".into()))
}

/// The way from a session's anchor into its block, once there is one.
pub fn anchored(vault: &Vault, name: &SessionName) -> Result<Option<AnchorInclusion>, OpError> {
    let key = name.proof_key();
    let Some(value) = vault.index().get(&key)? else { return Ok(None) };
    AnchorInclusion::decode(&vault.cipher().decrypt_value(&key, value)?)
        .map(Some)
        .map_err(|fault| OpError::Unsound(format!("the stored proof: {fault}")))
}

/// The name and the row of a session.
pub fn named(vault: &Vault, id: &SessionId) -> Result<(SessionName, SessionRow), OpError> {
    let name = SessionName::of(vault.cipher(), id);
    Ok((name, get_session(vault, id)?))
}
