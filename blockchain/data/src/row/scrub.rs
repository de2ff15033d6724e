//! The row of what is known of reading stored bytes again: the last fact about it.

use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::SCRUBBED;

use crate::fact::{Fact, Scrubbed};

/// The key of the row.
pub fn scrub_key() -> Vec<u8> {
    vec![SCRUBBED]
}

/// What is known of reading stored bytes again.
pub fn scrubbed(index: &dyn Index, cipher: &Cipher) -> Result<Scrubbed, StoreError> {
    let key = scrub_key();
    let Some(value) = index.get(&key)? else { return Ok(Scrubbed::default()) };
    match Fact::decode(&cipher.decrypt_value(&key, value)?) {
        Ok(Fact::Scrubbed(scrubbed)) => Ok(scrubbed),
        _ => Err(StoreError::Index("the row of scrubbing is none".into())),
    }
}
