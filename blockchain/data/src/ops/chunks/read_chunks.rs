//! Reads many chunks by their ids, checked against them.

use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::crypt::ChunkKey;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::chunks::find_chunk::find_seen_chunk;
use crate::ops::sight::Sight;

/// Where each of these chunks is and how long it is, in order; if some are unknown to the caller, which. They are
/// looked for in `session`; without one, wherever they are kept.
pub fn find_seen_chunks(
    vault: &Vault,
    sight: &Sight,
    ids: &[ChunkId],
    session: Option<&SessionId>,
    now: Timestamp,
) -> Result<Vec<(ChunkKey, u32)>, OpError> {
    let (mut found, mut unknown) = (Vec::with_capacity(ids.len()), Vec::new());
    for id in ids {
        match find_seen_chunk(vault, sight, &id.to_string(), session, now) {
            Ok(chunk) => found.extend(chunk.parts),
            Err(OpError::NoChunk(_)) => unknown.push(*id),
            Err(error) => return Err(error),
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(OpError::NoChunks(unknown)) }
}

/// Reads chunks one after the other.
pub fn read_chunks(
    vault: &Vault,
    chunks: &[(ChunkKey, u32)],
    mut take: impl FnMut(Vec<u8>) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut packer = Packer::new();
    for (key, _) in chunks {
        let bytes = vault.read_chunk(&mut packer, *key)?;
        take(bytes.ok_or_else(|| OpError::NoChunks(vec![key.id]))?)?;
    }
    Ok(())
}
