//! Forgets uploads whose time is over: chunks that no session came to refer to while they were kept.

use lucid_core::digest::ChunkId;
use lucid_core::time::Timestamp;
use lucid_store::CommitError;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Forgotten};
use crate::ops::OpError;
use crate::ops::chunks::store_chunks::KEPT_SECONDS;
use crate::row::UploadedRow;

/// Chunks in one fact.
const BATCH: usize = 4_096;
/// An upload that is to be kept for longer than this came while the clock was ahead; up to an hour ahead is
/// forgiven.
const KEPT_SECONDS_MAX: i64 = KEPT_SECONDS + 3_600;

/// Forgets the uploads whose time is over, and says how many; `with_future` also those that came while the
/// clock was ahead. An upload that a client asked for lately may just be uploaded once more, for longer or for
/// ever: it stays until another time.
pub fn expire_uploads(vault: &Vault, now: Timestamp, with_future: bool) -> Result<u64, OpError> {
    let latest = now.plus_seconds(KEPT_SECONDS_MAX);
    let (mut from, to) = UploadedRow::range();
    let mut expired = 0;
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        let mut over = Vec::new();
        for (key, value) in rows {
            let row = UploadedRow::open(vault.cipher(), &key, value.clone())?;
            let is_of_the_future = row.note.until.is_some_and(|until| until > latest);
            if !row.note.counts(now) || with_future && is_of_the_future {
                over.push((row.chunk, key.clone(), value));
            }
            from = key;
            from.push(0);
        }
        expired += forget(vault, over)?;
        if is_last {
            return Ok(expired);
        }
    }
}

/// When the newest of them came that did not come in the future.
pub fn last_upload(vault: &Vault, now: Timestamp) -> Result<Option<Timestamp>, OpError> {
    let (mut from, to) = UploadedRow::range();
    let mut last = None;
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        for (key, value) in rows {
            let row = UploadedRow::open(vault.cipher(), &key, value)?;
            last = last.max(Some(row.note.at).filter(|at| *at <= now));
            from = key;
            from.push(0);
        }
        if is_last {
            return Ok(last);
        }
    }
}

/// Forgets those that nobody wants, and says how many they were. The committer decides: what a row said
/// when it was read may not be so any more.
fn forget(vault: &Vault, mut over: Vec<(ChunkId, Vec<u8>, Vec<u8>)>) -> Result<u64, OpError> {
    let cipher = vault.cipher();
    while !over.is_empty() {
        let chunks: Vec<ChunkId> = over.iter().map(|(chunk, ..)| *chunk).collect();
        let drops = chunks.iter().map(|chunk| cipher.chunk_name(chunk)).collect();
        let fact = Fact::Forgotten(Forgotten { chunks });
        let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
        let rests_on = over.iter().map(|(_, key, row)| (key.clone(), Some(row.clone()))).collect();
        match vault.commit(Submission { facts, rests_on, drops, ..Submission::upkeep() }) {
            Ok(_) => break,
            Err(CommitError::Overtaken(rows)) => over.retain(|(_, key, _)| !rows.contains(key)),
            Err(CommitError::InUse(wanted)) => {
                over.retain(|(chunk, ..)| !wanted.contains(&cipher.chunk_name(chunk)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(over.len() as u64)
}
