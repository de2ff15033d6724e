//! Stores chunks: compressed, encrypted, durable on return, and only once each.

use lucid_core::digest::ChunkId;
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_store::codec::{Compression, Packer};
use lucid_store::committer::{Done, Submission};
use lucid_store::vault::Vault;

use super::OpError;

/// How new chunks are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// How they are compressed.
    pub compression: Compression,
    /// Whether they are encrypted; a store without keys cannot.
    pub encrypt: bool,
}

/// What became of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its id.
    pub id: ChunkId,
    /// Bytes it takes on the disk; zero when it was known.
    pub stored_bytes: u64,
    /// Whether it was known already.
    pub deduplicated: bool,
}

/// Stores all of them or none.
pub fn store_chunks(
    vault: &Vault,
    packer: &mut Packer,
    keeping: Keeping,
    chunks: &[&[u8]],
) -> Result<Vec<StoredChunk>, OpError> {
    let mut stored = Vec::with_capacity(chunks.len());
    let mut submission = Submission::default();
    for bytes in chunks {
        if bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX {
            return Err(OpError::Invalid(format!(
                "chunk {} has {} bytes; a chunk has 1 to {CHUNK_BYTES_MAX}",
                stored.len(),
                bytes.len()
            )));
        }
        let id = ChunkId::from(blake3::hash(bytes));
        let deduplicated = vault.knows(&id, keeping.encrypt)?;
        let mut stored_bytes = 0;
        // A chunk that is only pending is submitted too: this answer must not depend on that commit.
        if vault.placement(&id)?.is_none() || !deduplicated {
            let sealed = vault.chunk(packer, keeping.compression, keeping.encrypt, &id, bytes)?;
            stored_bytes = sealed.record_bytes();
            submission.chunks.push(sealed);
        }
        stored.push(StoredChunk { id, stored_bytes, deduplicated });
    }
    vault.commit(submission)?;
    Ok(stored)
}

/// Hands one chunk over without waiting for its commit, unless it is known. `done` hears how it went;
/// it is not called for a known chunk. Returns whether the chunk was new.
pub fn hand_over_chunk(
    vault: &Vault,
    packer: &mut Packer,
    keeping: Keeping,
    id: &ChunkId,
    bytes: &[u8],
    done: Done,
) -> Result<bool, OpError> {
    if vault.knows(id, keeping.encrypt)? {
        return Ok(false);
    }
    let sealed = vault.chunk(packer, keeping.compression, keeping.encrypt, id, bytes)?;
    vault.submit(Submission { chunks: vec![sealed], ..Submission::default() }, done);
    Ok(true)
}
