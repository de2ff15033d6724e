//! One chunk's way to its session's root and into the block, for callers that want it as values. A
//! bundle ([`crate::ops::proofs::prove_session`]) says the same in one file.

use lucid_core::bundle::AnchorInclusion;
use lucid_core::digest::{LeafHash, SessionKey, SessionRoot};
use lucid_core::session::{Leaf, SessionId, session_key};
use lucid_core::tree::{Blake3Tree, NodeHash, inclusion_proof, root};
use lucid_store::vault::Vault;

use crate::ops::proofs::build_tree::directions;
use crate::ops::proofs::prove_session::{
    Allow, anchored, leaf as leaf_of, length, named, room, unproved,
};
use crate::ops::sessions::read_session::StoredSession;
use crate::ops::{Clash, OpError};
use crate::source::SessionSource as _;

/// References read in one go.
const BATCH: usize = 4_096;

/// A chunk, proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvedChunk {
    /// What the leaf is made of.
    pub leaf: Leaf,
    /// What it is bound to.
    pub session_key: SessionKey,
    /// The leaf.
    pub leaf_hash: LeafHash,
    /// Leaves of the tree.
    pub leaf_count: u64,
    /// The hashes beside the way up, each with whether it stands on the right.
    pub path: Vec<([u8; 32], bool)>,
    /// Where the way leads.
    pub root: SessionRoot,
    /// From there into a block, once the session is anchored.
    pub anchored: Option<AnchorInclusion>,
}

/// Proves the chunk at an index of a sealed session.
pub fn prove_chunk(
    vault: &Vault,
    id: &SessionId,
    index: u64,
    allow: Allow<'_>,
) -> Result<ProvedChunk, OpError> {
    let (name, session) = named(vault, id)?;
    let Some(sealed) = &session.sealed else {
        return Err(OpError::Conflict(Clash::Unsealed, format!("session {id} is not sealed yet")));
    };
    let source = StoredSession::open(vault, id)?;
    let count = source.shape().chunk_count;
    if index >= count {
        return Err(OpError::NoChunk(format!("{index} in session {id}, which has {count}")));
    }
    allow(length(count).saturating_mul(size_of::<NodeHash>()))?;
    let (mut leaves, mut wanted) = (room(length(count))?, None);
    loop {
        allow(0)?;
        let batch = source.references(leaves.len() as u64, BATCH)?;
        if batch.is_empty() {
            break;
        }
        for reference in &batch {
            leaves.push(*reference.leaf.as_bytes());
            if reference.index == index {
                wanted = Some((leaf_of(&session, reference)?, reference.leaf));
            }
        }
    }
    let unsound = || unproved(id);
    // What is handed out must hold without this store.
    if root::<Blake3Tree>(&leaves) != *sealed.root.as_bytes() {
        return Err(unsound());
    }
    let proof = inclusion_proof::<Blake3Tree>(&leaves, index).ok_or_else(unsound)?;
    let (leaf, leaf_hash) = wanted.ok_or_else(unsound)?;
    Ok(ProvedChunk {
        leaf,
        session_key: session_key(id),
        leaf_hash,
        leaf_count: count,
        path: proof.into_iter().zip(directions(index, count)).collect(),
        root: sealed.root,
        anchored: anchored(vault, &name)?,
    })
}
