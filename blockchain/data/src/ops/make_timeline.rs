//! Makes the timeline of a recording that ends: its marks as pages, stored as chunks that sealing
//! makes the session's last ones.

use lucid_core::digest::ChunkId;
use lucid_core::page::PageWriter;
use lucid_store::codec::Packer;
use lucid_store::committer::Submission;
use lucid_store::vault::{Known, Vault};

use super::OpError;
use super::store_chunks::{Keeping, chunk_length};
use crate::row::live::marks;
use crate::row::{SessionName, SessionRow};

/// Marks that are read in one go.
const BATCH: usize = 4_096;
/// Pages that are stored in one go: a few megabytes.
const PAGES: usize = 64;

/// Stores the pages; nothing refers to them yet. None for a session without marks.
pub fn make_timeline(
    vault: &Vault,
    keeping: Keeping,
    name: &SessionName,
    session: &SessionRow,
) -> Result<Vec<(ChunkId, u32)>, OpError> {
    let mut stored = Vec::new();
    if session.marks == 0 {
        return Ok(stored);
    }
    let unsound =
        |fault| OpError::Unsound(format!("the timeline of session {}: {fault}", session.id));
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    let mut next = 0;
    while next < session.marks {
        let batch = marks(vault.index(), vault.sealer(), name, next, BATCH)?;
        if batch.is_empty() {
            return Err(OpError::Unsound(format!(
                "the timeline of session {}: mark {next} of {} is missing; run `lucid reindex`",
                session.id, session.marks
            )));
        }
        next += batch.len() as u64;
        for mark in batch {
            pages.extend(writer.push(&mark.key(), &mark.encode()).map_err(unsound)?);
        }
        if pages.len() >= PAGES {
            store(vault, keeping, session, &mut pages, &mut stored)?;
        }
    }
    pages.extend(writer.finish().map_err(unsound)?);
    store(vault, keeping, session, &mut pages, &mut stored)?;
    Ok(stored)
}

fn store(
    vault: &Vault,
    keeping: Keeping,
    session: &SessionRow,
    pages: &mut Vec<Vec<u8>>,
    stored: &mut Vec<(ChunkId, u32)>,
) -> Result<(), OpError> {
    let mut packer = Packer::new();
    for some in pages.chunks(PAGES) {
        let mut submission = Submission::default();
        for page in some {
            let id = ChunkId::from(blake3::hash(page));
            let key = session.key_of(&id);
            if vault.known(key, keeping.encrypt)? != Known::There {
                let chunk =
                    vault.chunk(&mut packer, keeping.compression, keeping.encrypt, key, page)?;
                submission.chunks.push(chunk);
            }
            stored.push((id, chunk_length(page.len())?));
        }
        vault.commit(submission)?;
    }
    pages.clear();
    Ok(())
}
