//! What chunks, trees and verifications of them look like on the wire.

use lucid_api::v1::chunks::{ChunkInfo, ChunkPart, ChunkTaken, Tree as WireTree, TreeProof};
use lucid_api::v1::proofs::{ChunkProof, ProvedAnchor, ProvedChunk as WireProvedChunk};
use lucid_api::v1::transactions::TransactionProof;
use lucid_core::bundle::AnchorInclusion;
use lucid_core::record::BlockEntry;
use lucid_core::session::SessionId;
use lucid_core::transaction::Transaction;
use lucid_store::vault::Vault;
use serde_json::{Map, Value};

use crate::ops::OpError;
use crate::ops::chunks::find_chunk::FoundChunk;
use crate::ops::chunks::put_chunk::{PutChunk, Taken};
use crate::ops::proofs::build_tree::{ALGORITHM, BuiltTree};
use crate::ops::proofs::prove_chunk::ProvedChunk;

/// What was said of a chunk, as it was given.
fn metadata(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

/// What became of an upload.
pub fn chunk_taken(request: PutChunk, taken: Taken, bytes: &[u8]) -> ChunkTaken {
    let parts: Vec<ChunkPart> = (0..)
        .zip(&taken.parts)
        .map(|(place, part)| ChunkPart {
            chunk_id: part.id,
            index: taken.index.map(|index| index + place),
            size_bytes: part.length.into(),
            deduplicated: part.stored_bytes == 0,
        })
        .collect();
    let first = parts.first().map(|part| part.chunk_id.to_string());
    ChunkTaken {
        chunk_id: request.alias.or(first).unwrap_or_default(),
        session_id: request.session.map(|session| session.to_string()),
        index: taken.index,
        size_bytes: bytes.len() as u64,
        hash_value: blake3::hash(bytes).into(),
        created_at: taken.at.to_string(),
        metadata: metadata(&request.metadata),
        deduplicated: parts.iter().all(|part| part.deduplicated),
        chunks: if parts.len() > 1 { parts } else { Vec::new() },
    }
}

/// What is known of a chunk without reading it.
pub fn chunk_info(vault: &Vault, found: &FoundChunk) -> Result<ChunkInfo, OpError> {
    let (mut stored_bytes, mut encrypted) = (0, true);
    for (key, _) in &found.parts {
        let place = vault.placement(*key)?;
        stored_bytes += place.map_or(0, |place| u64::from(place.stored_length));
        encrypted &= place.is_some_and(|place| place.encrypted);
    }
    let was_cut = found.parts.len() > 1;
    Ok(ChunkInfo {
        chunk_id: found.called.clone(),
        session_id: found.session.as_ref().map(SessionId::to_string),
        index: found.index,
        size_bytes: found.length(),
        hash_value: found.id(),
        created_at: found.at.map(|at| at.to_string()),
        kept_until: found.until.map(|until| until.to_string()),
        metadata: metadata(&found.metadata),
        waits: found.waits,
        stored_bytes,
        encrypted,
        parts: found.parts.iter().filter(|_| was_cut).map(|(key, _)| key.id).collect(),
    })
}

/// A tree that was built.
pub fn tree(tree: &BuiltTree, include_leaves: bool) -> WireTree {
    let count = tree.leaves.len() as u64;
    WireTree {
        root_hash: tree.root,
        leaf_count: count,
        tree_depth: depth(count),
        session_id: tree.session.as_ref().map(SessionId::to_string),
        created_at: tree.at.to_string(),
        algorithm: ALGORITHM.to_owned(),
        leaves: include_leaves.then(|| tree.leaves.iter().map(hex::encode).collect()),
    }
}

/// How long the longest way from a leaf to the root is.
pub fn depth(leaves: u64) -> u32 {
    leaves.max(1).next_power_of_two().trailing_zeros()
}

/// One chunk's way to its session's root and into the block.
pub fn chunk_proof(session: &SessionId, proved: ProvedChunk) -> Result<ChunkProof, OpError> {
    let ProvedChunk { leaf, session_key, leaf_hash, leaf_count, path, root, anchored } = proved;
    let (hashes, directions): (Vec<_>, Vec<_>) = path.into_iter().unzip();
    Ok(ChunkProof {
        session_id: session.to_string(),
        chunk: WireProvedChunk {
            index: leaf.index,
            offset: leaf.offset,
            length: leaf.length,
            chunk_id: leaf.chunk_id,
            session_key: hex::encode(session_key.as_bytes()),
            salt: hex::encode(leaf.salt.as_bytes()),
        },
        merkle_proof: TreeProof {
            leaf_hash: hex::encode(leaf_hash.as_bytes()),
            leaf_index: leaf.index,
            leaf_count,
            proof_hashes: hashes.iter().map(hex::encode).collect(),
            proof_directions: directions,
            root_hash: root,
        },
        anchor: anchored.map(proved_anchor).transpose()?,
    })
}

fn proved_anchor(anchored: AnchorInclusion) -> Result<ProvedAnchor, OpError> {
    let unsound =
        |fault: &dyn std::fmt::Display| OpError::Unsound(format!("the stored proof: {fault}"));
    let entry = BlockEntry::parse(&anchored.entry).map_err(|fault| unsound(&fault))?;
    let transaction =
        Transaction::parse(anchored.transaction.as_bytes()).map_err(|fault| unsound(&fault))?;
    Ok(ProvedAnchor {
        transaction_id: transaction.id().to_owned(),
        block_height: entry.index,
        block_hash: entry.hash,
        tx_proof: TransactionProof {
            transaction: anchored.transaction,
            position: anchored.position,
            count: anchored.count,
            path: anchored.path,
            merkle_root: entry.merkle_root,
            block_index: entry.index,
            block_hash: entry.hash,
            entry: anchored.entry,
            producer: anchored.producer.map(|producer| producer.key),
            signature: anchored.producer.map(|producer| producer.signature),
        },
    })
}
