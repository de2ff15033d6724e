//! The row that says which chain this store's anchors are in: the last fact about it.

use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::CHAIN;

use crate::fact::{Fact, OwnChain};

/// The key of the row.
pub fn chain_key() -> Vec<u8> {
    vec![CHAIN]
}

/// The chain that anchors go to. Without a row nothing was anchored yet, or by a version that did not
/// keep this.
pub fn own_chain(index: &dyn Index, cipher: &Cipher) -> Result<Option<OwnChain>, StoreError> {
    let key = chain_key();
    let Some(value) = index.get(&key)? else { return Ok(None) };
    match Fact::decode(&cipher.decrypt_value(&key, value)?) {
        Ok(Fact::Chain(chain)) => Ok(Some(chain)),
        _ => Err(StoreError::Index("the row of the chain is none".into())),
    }
}
