//! Says which chunks would have to be sent. Advice: the op that takes references decides.

use lucid_core::digest::ChunkId;
use lucid_store::vault::Vault;

use super::OpError;

/// Those of `ids` that are not there, or only as a damaged or unencrypted copy.
pub fn missing_chunks(vault: &Vault, ids: &[ChunkId]) -> Result<Vec<ChunkId>, OpError> {
    let encrypted = vault.sealer().is_encrypted();
    let mut missing = Vec::new();
    for id in ids {
        if !vault.knows(id, encrypted)? {
            missing.push(*id);
        }
    }
    Ok(missing)
}
