//! What of a session is proved, and a source of it that hands out nothing else.
//!
//! `restore` asks before it writes, and says at the end how much of that was proved; `serve --trust` shows only what
//! is. A proof leads from every chunk by the session's root and manifest to a block, as `lucid check-proof` checks
//! it. Invariant: what [`Proven`] hands out belongs to that root, whatever the store or the server says meanwhile.

use std::sync::Arc;

use lucid_api::v1::sessions::Session;
use lucid_core::bundle::{Bundle, Subject};
use lucid_core::check::{CheckVerdict, StepOutcome, Trust, check};
use lucid_core::manifest::Manifest;
use lucid_core::session::{Leaf, SessionId, session_key};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::row::Reference;
use lucid_data_chain::source::{ChunkRun, SessionSource, Shape};
use lucid_store::codec::Packer;

use crate::place::ReadSessions;
use crate::place::remote::{is_away, is_not_allowed};

/// What a proof says of a session.
#[derive(Clone)]
pub struct Proof {
    shape: Shape,
    references: Arc<[Reference]>,
    /// The block that its anchor is in.
    pub block: u64,
}

impl Proof {
    /// How many chunks it tells of.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.references.len() as u64
    }
}

/// Proves a session by keys or blocks that are trusted; with none, by the keys that the store itself names. Inside is
/// why nothing is proved.
pub fn prove(
    place: &dyn ReadSessions,
    id: &SessionId,
    trust: &[Trust],
) -> anyhow::Result<Result<Proof, String>> {
    let unproved = |error: anyhow::Error| match is_away(&error) {
        true => Err(error),
        false => Ok(format!("session {id} cannot be proved: {error:#}")),
    };
    let session = match place.session(id) {
        Ok(session) => session,
        Err(error) => return unproved(error).map(Err),
    };
    let Some(block) = session.anchor.as_ref().and_then(|anchor| anchor.block_index) else {
        let state = if session.merkle_root.is_some() { "anchored" } else { "sealed" };
        return Ok(Err(format!("session {id} is not {state} yet")));
    };
    let trust = match trust {
        [] => named_keys(&session)?,
        given => given.to_vec(),
    };
    let bundle = match place.prove(id, &WantedProof::Session) {
        Ok(bundle) => bundle,
        Err(error) if is_not_allowed(&error) => {
            return Ok(Err(format!("these credentials may not ask for the proof of session {id}")));
        }
        Err(error) => return unproved(error).map(Err),
    };
    checked(&bundle, id, block, &trust)
}

fn named_keys(session: &Session) -> anyhow::Result<Vec<Trust>> {
    let keys = session.anchor.clone().map(|anchor| anchor.trust).unwrap_or_default();
    let keys = [keys.block, keys.recorder].into_iter().flatten();
    keys.map(|key| Ok(Trust::Key(key.parse()?))).collect()
}

/// What a bundle says of a session, if it proves all of it.
fn checked(
    bundle: &[u8],
    id: &SessionId,
    block: u64,
    trust: &[Trust],
) -> anyhow::Result<Result<Proof, String>> {
    let report = check(bundle, None, trust)?;
    match &report.verdict {
        CheckVerdict::Proved => {}
        CheckVerdict::Refused { reason } => {
            return Ok(Err(format!("the proof of session {id} does not hold: {reason}")));
        }
        CheckVerdict::OriginOrRecorderNotProved => {
            let mut steps = report.steps.iter();
            let unproved = steps.find(|step| step.outcome == StepOutcome::NotProved);
            let why = unproved.map_or("its origin", |step| step.sentence.as_str());
            return Ok(Err(format!(
                "the proof of session {id} is of nobody who is trusted: {why}"
            )));
        }
    }
    let bundle = Bundle::decode(bundle)?;
    let manifest = Manifest::parse(bundle.manifest.as_bytes())?;
    let is_whole = bundle.subject == Subject::Session
        && manifest.session_id == *id
        && bundle.leaves.len() as u64 == manifest.chunk_count;
    if !is_whole {
        return Ok(Err(format!("the proof of session {id} is of something else")));
    }
    let key = session_key(id);
    let reference = |leaf: &Leaf| Reference {
        index: leaf.index,
        offset: leaf.offset,
        length: leaf.length,
        chunk: leaf.chunk_id,
        leaf: leaf.hash(&key),
    };
    let references = bundle.leaves.iter().map(reference).collect();
    let shape = Shape {
        id: manifest.session_id,
        layout: manifest.layout,
        chunk_count: manifest.chunk_count,
        content_bytes: manifest.content_bytes,
        total_bytes: manifest.total_bytes,
        ended_at: Some(manifest.ended_at),
    };
    Ok(Ok(Proof { shape, references, block }))
}

/// A session as its proof has it. The chunks come from elsewhere, each checked against its id.
pub struct Proven<'a> {
    inner: Box<dyn SessionSource + 'a>,
    proof: Proof,
}

impl<'a> Proven<'a> {
    /// Reads the chunks from `inner`.
    pub fn new(inner: Box<dyn SessionSource + 'a>, proof: Proof) -> Self {
        Self { inner, proof }
    }
}

impl SessionSource for Proven<'_> {
    fn shape(&self) -> &Shape {
        &self.proof.shape
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        let references = &self.proof.references;
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(references.len());
        let end = start.saturating_add(limit).min(references.len());
        Ok(references.get(start..end).unwrap_or_default().to_vec())
    }

    fn chunk(&self, packer: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        self.inner.chunk(packer, reference)
    }

    fn chunks(&self, wanted: &[Reference]) -> Option<ChunkRun<'_>> {
        self.inner.chunks(wanted)
    }
}

/// Reads what is trusted, as an option is given it: a key, or the hash of a block.
pub fn trust(text: &str) -> Result<Trust, String> {
    if let Ok(hash) = text.parse() {
        return Ok(Trust::BlockHash(hash));
    }
    text.parse().map(Trust::Key).map_err(|_| {
        format!("{text:?} is neither a public key in base64 nor a block hash of 64 hex digits")
    })
}

/// Opens a session: as its proof has it if it is proved, else as it is, and says why it is not.
pub fn open<'a>(
    place: &'a dyn ReadSessions,
    id: &SessionId,
    trust: &[Trust],
) -> anyhow::Result<(Box<dyn SessionSource + 'a>, Result<u64, String>)> {
    let source = place.source(id)?;
    match prove(place, id, trust)? {
        Ok(proof) => {
            let block = proof.block;
            Ok((Box::new(Proven::new(source, proof)), Ok(block)))
        }
        Err(why) => Ok((source, Err(why))),
    }
}
