//! Builds a tree over chunks that are there, and keeps it: its leaves are what proofs are made of.
//!
//! The tree has the shape and the leaves of a session's. Built with a session's id and secret over all
//! of its chunks it has that session's root; without a session the key is that of an empty id, offsets
//! begin at 0 and salts are zeros, so that anyone who has the chunks can build it too.

use lucid_core::digest::{ChunkId, SessionKey, SessionRoot};
use lucid_core::session::{Leaf, SessionId, salt, session_key};
use lucid_core::time::Timestamp;
use lucid_core::tree::{Blake3Tree, inclusion_proof, root as tree_root};
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Tree};
use crate::ops::chunks::find_chunk::find_seen_chunk;
use crate::ops::sight::Sight;
use crate::ops::{OpError, fact_records};
use crate::row::{self, SessionName, SessionRow, TreeRow};

/// What the tree is, in replies.
pub const ALGORITHM: &str = "lucid-session-tree/v1";
/// The longest way from a leaf to the root.
pub const HEIGHT_MAX: u32 = 20;

/// A tree, with its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltTree {
    /// Its root.
    pub root: SessionRoot,
    /// The session its leaves are bound to.
    pub session: Option<SessionId>,
    /// When it was built first.
    pub at: Timestamp,
    /// Its leaves.
    pub leaves: Vec<[u8; 32]>,
}

/// Builds the tree over chunks in this order: by their ids, or by what a session calls them.
pub fn build_tree(
    vault: &Vault,
    sight: &Sight,
    now: Timestamp,
    session: Option<&SessionId>,
    chunks: &[String],
) -> Result<BuiltTree, OpError> {
    if chunks.is_empty() {
        return Err(OpError::Invalid("a tree needs at least one chunk".into()));
    }
    check_height(chunks.len())?;
    let row = match session {
        None => None,
        Some(id) => {
            let name = SessionName::of(vault.cipher(), id);
            row::session(vault.index(), vault.cipher(), &name)?
        }
    };
    let found = find_all(vault, sight, now, row.as_ref(), chunks)?;
    let key = session.map_or_else(|| SessionKey::from(blake3::hash(b"")), session_key);
    let secret = row.as_ref().and_then(|row| row.secret.as_ref());
    let (mut leaves, mut offset) = (Vec::with_capacity(found.len()), 0);
    for (index, (chunk_id, length)) in (0..).zip(found) {
        let salt = salt(secret, index);
        leaves.push(*Leaf { index, offset, length, chunk_id, salt }.hash(&key).as_bytes());
        offset += u64::from(length);
    }
    let root = SessionRoot::new(tree_root::<Blake3Tree>(&leaves));
    let known = TreeRow::find(vault.index(), vault.cipher(), &root)?;
    if let Some(known) = &known
        && known.leaves(vault.index(), vault.cipher(), &root)?.as_ref() == Some(&leaves)
    {
        // Who built it before, and when, is told to those who see everything.
        let (session, at) = match sight.is_everything() {
            true => (known.session.clone(), known.at),
            false => (session.cloned(), now),
        };
        return Ok(BuiltTree { root, session, at, leaves });
    }
    // One that lost leaves gets them back.
    let parts = Tree::parts(root, session, now, &leaves).into_iter().map(Fact::Tree);
    vault.commit(Submission { facts: fact_records(vault, parts)?, ..Submission::default() })?;
    let (session, at) = match known.filter(|_| sight.is_everything()) {
        Some(known) => (known.session, known.at),
        None => (session.cloned(), now),
    };
    Ok(BuiltTree { root, session, at, leaves })
}

fn check_height(leaves: usize) -> Result<(), OpError> {
    if leaves <= 1 << HEIGHT_MAX {
        return Ok(());
    }
    Err(OpError::Invalid(format!("{leaves} chunks would make a tree higher than {HEIGHT_MAX}")))
}

/// Every chunk with its length; those that are not there are listed.
fn find_all(
    vault: &Vault,
    sight: &Sight,
    now: Timestamp,
    session: Option<&SessionRow>,
    chunks: &[String],
) -> Result<Vec<(ChunkId, u32)>, OpError> {
    let (mut found, mut unknown) = (Vec::with_capacity(chunks.len()), Vec::new());
    for called in chunks {
        let within = session.map(|session| &session.id);
        let outcome = match find_seen_chunk(vault, sight, called, within, now) {
            // A session may be told of chunks that others keep.
            Err(OpError::NoChunk(_)) if within.is_some() => {
                find_seen_chunk(vault, sight, called, None, now)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(chunk) => {
                found.extend(chunk.parts.iter().map(|(key, length)| (key.id, *length)));
                // One name may stand for many chunks, and be given many times.
                check_height(found.len())?;
            }
            Err(OpError::NoChunk(_)) => unknown.push(called.clone()),
            Err(error) => return Err(error),
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(OpError::UnknownChunks(unknown)) }
}

/// A tree that was built earlier.
pub fn find_tree(vault: &Vault, root: &SessionRoot) -> Result<BuiltTree, OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    let row = TreeRow::find(index, cipher, root)?.ok_or(OpError::NoTree(*root))?;
    let lost = || {
        OpError::Unsound(format!(
            "leaves of tree {root} are lost: build it over the same chunks again, which brings them back"
        ))
    };
    let leaves = row.leaves(index, cipher, root)?.ok_or_else(lost)?;
    if tree_root::<Blake3Tree>(&leaves) != *root.as_bytes() {
        return Err(lost());
    }
    Ok(BuiltTree { root: *root, session: row.session, at: row.at, leaves })
}

/// The hashes beside the way from a leaf to the root, each with whether it stands on the right.
pub fn prove_leaf(tree: &BuiltTree, index: u64) -> Result<Vec<([u8; 32], bool)>, OpError> {
    let count = tree.leaves.len() as u64;
    let proof = inclusion_proof::<Blake3Tree>(&tree.leaves, index).ok_or_else(|| {
        let leaves = if count == 1 { "leaf" } else { "leaves" };
        OpError::Invalid(format!("the tree has {count} {leaves}, so none with index {index}"))
    })?;
    Ok(proof.into_iter().zip(directions(index, count)).collect())
}

/// Of each hash beside the way from a leaf up, whether it stands on the right. A node at the end of a
/// level that has no neighbour has no hash beside it.
pub fn directions(index: u64, count: u64) -> Vec<bool> {
    let (mut at, mut last) = (index, count.saturating_sub(1));
    let mut directions = Vec::new();
    while last > 0 {
        if at & 1 == 1 || at < last {
            directions.push(at & 1 == 0);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    directions
}
