//! Stores chunks: compressed, encrypted, durable on return, and only once each.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use lucid_core::digest::ChunkId;
use lucid_core::limits::CHUNK_BYTES_MAX;
use lucid_core::time::Timestamp;
use lucid_store::codec::{Compression, Packer};
use lucid_store::crypt::ChunkKey;
use lucid_store::frame::Record;
use lucid_store::threads::run_on;
use lucid_store::vault::committer::{Done, Submission};
use lucid_store::vault::{Known, Vault};

use crate::fact::{Fact, Uploaded};
use crate::figures::STAGES;
use crate::ops::look_again::{at_hand, look_again};
use crate::ops::{OpError, fact_records};

/// How new chunks are kept.
#[derive(Debug, Clone, Copy)]
pub struct StorageOptions {
    /// How they are compressed.
    pub compression: Compression,
    /// Whether they are encrypted; a store without keys cannot.
    pub encrypt: bool,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self { compression: Compression::default(), encrypt: true }
    }
}

/// What became of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its id.
    pub id: ChunkId,
    /// Bytes it takes on the disk; zero when it was known.
    pub stored_bytes: u64,
    /// Whether it was known already.
    pub deduplicated: bool,
}

/// How long chunks are kept that were sent to be referred to.
pub(in crate::ops) const KEPT_SECONDS: i64 = 24 * 3_600;

/// Stores all of them or none, compressing on up to so many threads. They are kept for a day; by then
/// something refers to them. `sender` is what the credentials are called of who sent them.
pub fn store_chunks(
    vault: &Vault,
    storage: StorageOptions,
    threads: usize,
    now: Timestamp,
    sender: Option<&str>,
    chunks: &[&[u8]],
) -> Result<Vec<StoredChunk>, OpError> {
    check(chunks)?;
    STAGES.run("store", || look_again(|| store(vault, storage, threads, now, sender, chunks)))
}

fn store(
    vault: &Vault,
    storage: StorageOptions,
    threads: usize,
    now: Timestamp,
    sender: Option<&str>,
    chunks: &[&[u8]],
) -> Result<Vec<StoredChunk>, OpError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Packed)>, OpError> {
        let mut packer = Packer::new();
        let mut packed = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(bytes) = chunks.get(position) else { return Ok(packed) };
            packed.push((position, pack(vault, &mut packer, storage, bytes)?));
        }
    };
    let parts = run_on(threads.min(chunks.len()), "packing", work);
    let mut packed: Vec<_> =
        parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    packed.sort_unstable_by_key(|(position, _)| *position);
    let mut known = HashSet::new();
    let mut stored = Vec::with_capacity(chunks.len());
    let mut submission = Submission::default();
    let mut lengths = Vec::with_capacity(chunks.len());
    for (position, Packed { id, deduplicated, record }) in packed {
        let length = chunks.get(position).map_or(0, |bytes| bytes.len());
        lengths.push((id, chunk_length(length)?));
        let deduplicated = !known.insert(id) || deduplicated;
        let bytes = record.as_ref().map_or(0, Record::record_bytes);
        submission.chunks.extend(record);
        stored.push(StoredChunk {
            id,
            stored_bytes: if deduplicated { 0 } else { bytes },
            deduplicated,
        });
    }
    if chunks.is_empty() {
        return Ok(stored);
    }
    // What was known is kept for a day too: the caller relies on it no less.
    submission.requires = stored.iter().map(|chunk| vault.cipher().chunk_name(&chunk.id)).collect();
    let until = Some(now.plus_seconds(KEPT_SECONDS));
    let uploaded = Uploaded::of(now, until, "", &lengths, sender).into_iter().map(Fact::Uploaded);
    submission.facts = fact_records(vault, uploaded)?;
    vault.commit(submission).map_err(at_hand)?;
    Ok(stored)
}

/// How many bytes a chunk has, as a reference says it.
pub fn chunk_length(bytes: usize) -> Result<u32, OpError> {
    u32::try_from(bytes).ok().filter(|length| *length as usize <= CHUNK_BYTES_MAX).ok_or_else(
        || OpError::TooLarge(format!("a chunk has at most {CHUNK_BYTES_MAX} bytes, not {bytes}")),
    )
}

fn check(chunks: &[&[u8]]) -> Result<(), OpError> {
    let wrong = |bytes: &&[u8]| bytes.is_empty() || bytes.len() > CHUNK_BYTES_MAX;
    match chunks.iter().enumerate().find(|(_, bytes)| wrong(bytes)) {
        Some((position, bytes)) => Err(OpError::Invalid(format!(
            "chunk {position} has {} bytes; a chunk has 1 to {CHUNK_BYTES_MAX}",
            bytes.len()
        ))),
        None => Ok(()),
    }
}

/// A chunk on its way to the committer.
struct Packed {
    id: ChunkId,
    deduplicated: bool,
    record: Option<Record>,
}

fn pack(
    vault: &Vault,
    packer: &mut Packer,
    storage: StorageOptions,
    bytes: &[u8],
) -> Result<Packed, OpError> {
    let id = ChunkId::from(blake3::hash(bytes));
    let known = vault.known(&id, storage.encrypt)?;
    // A chunk that is only pending is submitted too: this answer must not depend on that commit.
    let record = match known {
        Known::There => None,
        _ => Some(vault.chunk(packer, storage.compression, storage.encrypt, &id, bytes)?),
    };
    Ok(Packed { id, deduplicated: known != Known::No, record })
}

/// Hands one chunk over without waiting for its commit, unless it is known. `done` hears how it went;
/// it is not called for a known chunk. Returns whether the chunk was new.
pub fn hand_over_chunk(
    vault: &Vault,
    packer: &mut Packer,
    storage: StorageOptions,
    key: ChunkKey,
    bytes: &[u8],
    done: Done,
) -> Result<bool, OpError> {
    if vault.knows(key, storage.encrypt)? {
        return Ok(false);
    }
    let sealed = vault.chunk(packer, storage.compression, storage.encrypt, key, bytes)?;
    vault.submit(Submission { chunks: vec![sealed], ..Submission::default() }, done);
    Ok(true)
}
