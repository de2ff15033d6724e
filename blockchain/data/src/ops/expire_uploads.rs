//! Forgets uploads whose time is over: chunks that no session came to refer to while they were kept.

use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use crate::fact::{Fact, Forgotten};
use crate::row::UploadedRow;

/// Chunks in one fact.
const BATCH: usize = 4_096;

/// Forgets them, and says how many. One that is uploaded once more in this very moment is known for as
/// long as the store remembers what it was asked for.
pub fn expire_uploads(vault: &Vault, now: Timestamp) -> Result<u64, OpError> {
    let (mut from, to) = UploadedRow::range();
    let mut expired = 0;
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        let mut chunks = Vec::new();
        for (key, value) in rows {
            let row = UploadedRow::open(vault.sealer(), value)?;
            if !row.counts(now) {
                chunks.push(row.chunk);
            }
            from = key;
            from.push(0);
        }
        expired += chunks.len() as u64;
        if !chunks.is_empty() {
            let fact = Fact::Forgotten(Forgotten { chunks });
            let fact = vault.fact(&mut Packer::new(), fact.encode())?;
            vault.commit(Submission { facts: vec![fact], ..Submission::default() })?;
        }
        if is_last {
            return Ok(expired);
        }
    }
}
