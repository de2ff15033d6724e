//! The marks of a recording, which become its timeline when it is sealed.

use lucid_core::timeline::Mark;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::MARK;

use super::SessionName;
use crate::fact::read_number;

impl SessionName {
    /// The key of a mark, by its number.
    pub fn mark_key(&self, number: u64) -> Vec<u8> {
        [self.key(MARK).as_slice(), &number.to_be_bytes()].concat()
    }
}

/// The value of a mark's row, to be encrypted.
pub fn encode_mark(mark: &Mark) -> Vec<u8> {
    let mut to = Writer::new();
    to.i64(mark.micros).u64(mark.offset);
    to.finish()
}

fn decode(bytes: &[u8]) -> Result<Mark, WireFault> {
    let mut from = Reader::new(bytes);
    let mark = Mark {
        micros: from.i64("a mark's time")?,
        offset: read_number(&mut from, "a mark's offset")?,
    };
    from.finish()?;
    Ok(mark)
}

/// Up to `limit` marks from number `start` on, in order.
pub fn marks(
    index: &dyn Index,
    cipher: &Cipher,
    name: &SessionName,
    start: u64,
    limit: usize,
) -> Result<Vec<Mark>, StoreError> {
    let to = [name.key(MARK).as_slice(), &[0xff; 9]].concat();
    let rows = index.scan(&name.mark_key(start), &to, limit, false)?;
    rows.into_iter()
        .map(|(key, value)| {
            decode(&cipher.decrypt_value(&key, value)?)
                .map_err(|fault| StoreError::Index(format!("a mark's row: {fault}")))
        })
        .collect()
}
