//! Says which chunks would have to be sent. Advice: the op that takes references decides.

use std::collections::HashMap;

use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_store::crypt::ChunkKey;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::sessions::get_session::get_session;
use crate::ops::sight::Sight;
use crate::row::{Referred, SessionName, SessionRow};

/// Those of `ids` that are not there for a caller, or only as a damaged or unencrypted copy.
pub fn missing_chunks(
    vault: &Vault,
    sight: &Sight,
    ids: &[ChunkId],
) -> Result<Vec<ChunkId>, OpError> {
    missing(vault, ids, |id| {
        let is_seen = sight.sees_chunk(vault, id)?;
        Ok(is_seen.then(|| ChunkKey::from(id)))
    })
}

/// The same of a session's copies, which may be its own.
pub fn missing_of_session(
    vault: &Vault,
    sight: &Sight,
    session: &SessionId,
    ids: &[ChunkId],
) -> Result<Vec<ChunkId>, OpError> {
    sight.check(vault, session)?;
    let session = get_session(vault, session)?;
    missing(vault, ids, |id| {
        let is_seen = sight.sees_chunk(vault, id)? || has(vault, &session, id)?;
        Ok(is_seen.then(|| session.key_of(id)))
    })
}

/// Whether a session refers to a chunk.
pub(in crate::ops) fn has(
    vault: &Vault,
    session: &SessionRow,
    id: &ChunkId,
) -> Result<bool, OpError> {
    let cipher = vault.cipher();
    let name = SessionName::of(cipher, &session.id);
    let key = Referred::by_key(&cipher.chunk_name(session.key_of(id)), &name);
    Ok(vault.index().get(&key)?.is_some())
}

/// `key_of` says what a chunk is asked for by, if it is one that there may be.
fn missing(
    vault: &Vault,
    ids: &[ChunkId],
    key_of: impl Fn(&ChunkId) -> Result<Option<ChunkKey>, OpError>,
) -> Result<Vec<ChunkId>, OpError> {
    let encrypted = vault.cipher().is_encrypted();
    let (mut missing, mut known) = (Vec::new(), HashMap::new());
    for id in ids {
        // One that is named again is not looked for again: that may take long.
        let is_there = match known.get(id) {
            Some(is_there) => *is_there,
            None => match key_of(id)? {
                Some(key) => vault.knows(key, encrypted)?,
                None => false,
            },
        };
        known.insert(id, is_there);
        if !is_there {
            missing.push(*id);
        }
    }
    Ok(missing)
}
