//! Forgets uploads whose time is over: chunks that no session came to refer to while they were kept.

use lucid_core::digest::ChunkId;
use lucid_core::time::Timestamp;
use lucid_store::CommitError;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::Vault;

use super::OpError;
use crate::fact::{Fact, Forgotten};
use crate::row::UploadedRow;

/// Chunks in one fact.
const BATCH: usize = 4_096;

/// Forgets them, and says how many. One that somebody asked for lately may just be uploaded once more,
/// for longer or for ever: it stays until another time.
pub fn expire_uploads(vault: &Vault, now: Timestamp) -> Result<u64, OpError> {
    let (mut from, to) = UploadedRow::range();
    let mut expired = 0;
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        let mut chunks = Vec::new();
        for (key, value) in rows {
            let row = UploadedRow::open(vault.sealer(), &key, value)?;
            if !row.counts(now) {
                chunks.push(row.chunk);
            }
            from = key;
            from.push(0);
        }
        expired += forget(vault, chunks)?;
        if is_last {
            return Ok(expired);
        }
    }
}

/// Forgets those that nobody wants, and says how many they were. The committer decides: what a row said
/// when it was read may not be so any more.
fn forget(vault: &Vault, mut chunks: Vec<ChunkId>) -> Result<u64, OpError> {
    let sealer = vault.sealer();
    while !chunks.is_empty() {
        let fact = Fact::Forgotten(Forgotten { chunks: chunks.clone() });
        let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
        let drops = chunks.iter().map(|chunk| sealer.chunk_name(chunk)).collect();
        match vault.commit(Submission { facts, drops, ..Submission::default() }) {
            Ok(_) => break,
            Err(CommitError::Wanted(wanted)) => {
                chunks.retain(|chunk| !wanted.contains(&sealer.chunk_name(chunk)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(chunks.len() as u64)
}
