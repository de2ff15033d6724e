//! One session by its id: open, sealed, or removed.
//!
//! Called by routes, by the command line, and by every op that is about one session.

use lucid_core::session::SessionId;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::row::{self, SessionName, SessionRow};

/// The session, if there is one. A session that was removed is told from one that never was.
pub fn get_session(vault: &Vault, id: &SessionId) -> Result<SessionRow, OpError> {
    find_session(vault.index(), vault.cipher(), id)
}

/// The session as `index` has it, if there is one. A session that was removed is told from one that never
/// was.
pub fn find_session(
    index: &dyn Index,
    cipher: &Cipher,
    id: &SessionId,
) -> Result<SessionRow, OpError> {
    let name = SessionName::of(cipher, id);
    if let Some(session) = row::session(index, cipher, &name)? {
        return Ok(session);
    }
    Err(match row::tombstone(index, cipher, &name)? {
        Some(tombstone) => OpError::Removed(Box::new(tombstone)),
        None => OpError::NoSession(id.clone()),
    })
}
