//! Compares files that stand in the target with what would be restored.
//!
//! Where a chunk's files all stand there, their bytes together have the chunk's id, and nothing of it is read from
//! the store; otherwise the chunk is read, and compared piece by piece. What differs is dealt out once more, to be
//! written or refused.

use std::sync::Arc;

use lucid_core::digest::ChunkId;

use super::{Job, Landing, Part, Restoring, describe};
use crate::folder::target::Standing;

/// Whether nothing of a job is left to do: all of the chunk stands in the target, or all that stands there is known
/// to differ.
pub(super) fn is_settled(restoring: &Restoring<'_>, job: &Job, buffer: &mut Vec<u8>) -> bool {
    let is_different = |part: &Part| matches!(&part.landing, Landing::Stands(standing, _) if standing.is_different());
    if job.parts.iter().all(is_different) {
        return true;
    }
    // Of a chunk that none can be, the source says what is wrong with it.
    if !job.reference.is_sound() {
        return false;
    }
    let length = job.reference.length as usize;
    let mut filled = 0;
    buffer.resize(length.max(buffer.len()), 0);
    for Part { landing, from, length } in &job.parts {
        let Landing::Stands(standing, at) = landing else { return false };
        let Some(piece) = buffer.get_mut(filled..filled + length) else { return false };
        if *from != filled || standing.is_different() || standing.read(*at, piece).is_err() {
            return false;
        }
        filled += length;
    }
    let whole = buffer.get(..length).unwrap_or_default();
    if filled != length || ChunkId::from(blake3::hash(whole)) != job.reference.chunk {
        return false;
    }
    for part in &job.parts {
        if let Landing::Stands(standing, _) = &part.landing {
            same(restoring, standing, part.length);
        }
    }
    true
}

/// Compares a piece of a file with what it should be.
pub(super) fn compare(
    restoring: &Restoring<'_>,
    standing: &Arc<Standing>,
    at: u64,
    wanted: &[u8],
    buffer: &mut Vec<u8>,
) {
    if standing.is_different() {
        return;
    }
    buffer.resize(wanted.len().max(buffer.len()), 0);
    let piece = buffer.get_mut(..wanted.len()).unwrap_or_default();
    if standing.read(at, piece).is_ok() && piece == wanted {
        same(restoring, standing, wanted.len());
    } else if standing.differ() {
        restoring.different.lock().push(standing.entry().clone());
    }
}

fn same(restoring: &Restoring<'_>, standing: &Standing, length: usize) {
    match standing.same(length as u64) {
        Ok(is_last) => {
            restoring.progress.add(length as u64);
            if is_last {
                restoring.stands(standing.entry());
            }
        }
        Err(error) => restoring.fail(&standing.entry().path, describe(&error)),
    }
}
