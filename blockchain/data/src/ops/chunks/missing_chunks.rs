//! Says which chunks would have to be sent. Advice: the op that takes references decides.

use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_store::crypt::ChunkKey;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::sessions::get_session::get_session;

/// Those of `ids` that are not there, or only as a damaged or unencrypted copy.
pub fn missing_chunks(vault: &Vault, ids: &[ChunkId]) -> Result<Vec<ChunkId>, OpError> {
    missing(vault, ids, |id| ChunkKey::from(id))
}

/// The same of a session's copies, which may be its own.
pub fn missing_of_session(
    vault: &Vault,
    session: &SessionId,
    ids: &[ChunkId],
) -> Result<Vec<ChunkId>, OpError> {
    let session = get_session(vault, session)?;
    missing(vault, ids, |id| session.key_of(id))
}

fn missing(
    vault: &Vault,
    ids: &[ChunkId],
    key_of: impl Fn(&ChunkId) -> ChunkKey,
) -> Result<Vec<ChunkId>, OpError> {
    let encrypted = vault.cipher().is_encrypted();
    let mut missing = Vec::new();
    for id in ids {
        if !vault.knows(key_of(id), encrypted)? {
            missing.push(*id);
        }
    }
    Ok(missing)
}
