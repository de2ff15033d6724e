//! The rows of sessions that an engine has which keeps no chain of ours.
//!
//! Such a session waits for a block all the same, in a queue of its own: a block-manager finds both queues, and the
//! engine is not asked again for what it has.

use lucid_core::elsewhere::Elsewhere;
use lucid_core::time::Timestamp;
use lucid_core::wire::Reader;
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{ELSEWHERE, WAITING_ELSEWHERE};

use super::{SessionName, ordered};

impl SessionName {
    /// The key of what the engine says.
    pub fn elsewhere_key(&self) -> Vec<u8> {
        self.key(ELSEWHERE)
    }

    /// The key that says that the anchor of such a session is on its way into a block, in the order of sealing.
    pub fn waiting_elsewhere_key(&self, sealed_at: Timestamp) -> Vec<u8> {
        [[WAITING_ELSEWHERE].as_slice(), &ordered(sealed_at), &self.0].concat()
    }
}

/// Where sessions that another engine has, and no block, begin and end, those that wait longest in front.
pub fn waiting_elsewhere_range() -> (Vec<u8>, Vec<u8>) {
    (vec![WAITING_ELSEWHERE], vec![WAITING_ELSEWHERE + 1])
}

/// What another engine says of a session's anchor, if one has it.
pub fn elsewhere(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
) -> Result<Option<Elsewhere>, StoreError> {
    let key = name.elsewhere_key();
    let Some(value) = index.get(&key)? else { return Ok(None) };
    let value = cipher.decrypt_value(&key, value)?;
    let mut from = Reader::new(&value);
    Elsewhere::read(&mut from)
        .and_then(|words| from.finish().map(|()| Some(words)))
        .map_err(|fault| StoreError::Index(format!("the row of an anchor elsewhere: {fault}")))
}
