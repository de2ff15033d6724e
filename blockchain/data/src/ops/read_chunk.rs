//! Reads chunks by their ids, checked against them.

use lucid_core::digest::ChunkId;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;

use super::OpError;

/// A chunk's bytes.
pub fn read_chunk(vault: &Vault, packer: &mut Packer, id: &ChunkId) -> Result<Vec<u8>, OpError> {
    vault.read_chunk(packer, id)?.ok_or_else(|| OpError::NoChunks(vec![*id]))
}

/// How long each of these chunks is, in order; if some are unknown, which.
pub fn chunk_lengths(vault: &Vault, ids: &[ChunkId]) -> Result<Vec<u32>, OpError> {
    let mut lengths = Vec::with_capacity(ids.len());
    let mut unknown = Vec::new();
    for id in ids {
        match vault.placement(id)? {
            Some(placement) => lengths.push(placement.plain_length),
            None => unknown.push(*id),
        }
    }
    if unknown.is_empty() { Ok(lengths) } else { Err(OpError::NoChunks(unknown)) }
}

/// Reads chunks one after the other.
pub fn read_chunks(
    vault: &Vault,
    ids: &[ChunkId],
    mut take: impl FnMut(Vec<u8>) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut packer = Packer::new();
    for id in ids {
        take(read_chunk(vault, &mut packer, id)?)?;
    }
    Ok(())
}
