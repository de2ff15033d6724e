//! Makes the timeline of a recording that ends: its marks as pages, stored as chunks that sealing
//! makes the session's last ones.
//!
//! Marks are kept as they came, even if the clock went back. Those that it told after a later one make
//! the doubt of all, and are no entries themselves.

use lucid_core::digest::ChunkId;
use lucid_core::page::PageWriter;
use lucid_core::time::Timestamp;
use lucid_core::timeline::{ClockDoubts, Mark};
use lucid_store::codec::Packer;
use lucid_store::vault::committer::Submission;
use lucid_store::vault::{Known, Vault};

use crate::ops::OpError;
use crate::ops::chunks::store_chunks::{StorageOptions, chunk_length};
use crate::row::live::marks;
use crate::row::{SessionName, SessionRow};

/// Marks that are read in one go.
const BATCH: usize = 4_096;
/// Pages that are stored in one go: a few megabytes.
const PAGES: usize = 64;

/// Stores the pages; nothing refers to them yet. None for a session without marks. `now` is the moment
/// of sealing, and `back` by how many microseconds a clock went back before it that no marks tell of.
pub fn make_timeline(
    vault: &Vault,
    storage: StorageOptions,
    (now, back): (Timestamp, u64),
    name: &SessionName,
    session: &SessionRow,
) -> Result<Vec<(ChunkId, u32)>, OpError> {
    let mut stored = Vec::new();
    if session.marks == 0 {
        return Ok(stored);
    }
    let unsound =
        |fault| OpError::Unsound(format!("the timeline of session {}: {fault}", session.id));
    let doubt = doubt(vault, (now, back), name, session)?;
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    let mut told = ClockDoubts::default();
    let mut next = 0;
    while let Some(batch) = batch(vault, name, session, &mut next)? {
        for mark in batch {
            if told.take(mark.micros) {
                pages.extend(writer.push(&mark.key(), &mark.encode(doubt)).map_err(unsound)?);
            }
        }
        if pages.len() >= PAGES {
            store(vault, storage, session, &mut pages, &mut stored)?;
        }
    }
    pages.extend(writer.finish().map_err(unsound)?);
    store(vault, storage, session, &mut pages, &mut stored)?;
    Ok(stored)
}

/// How far the clock went back while the marks were made, and behind the last of them. What the service's
/// own told when the last bytes came shows that after a restart, too, if no more time has passed since.
fn doubt(
    vault: &Vault,
    (now, back): (Timestamp, u64),
    name: &SessionName,
    session: &SessionRow,
) -> Result<u64, OpError> {
    let mut told = ClockDoubts::default();
    let mut next = 0;
    while let Some(batch) = batch(vault, name, session, &mut next)? {
        for mark in batch {
            told.take(mark.micros);
        }
    }
    if let Some(last) = session.appended_at.filter(|last| *last > now) {
        told.went_back(last.as_micros(), now.as_micros());
    }
    told.went_back_by(back);
    Ok(told.most())
}

/// The marks from number `next` on, as many as are read in one go; `None` behind the last.
fn batch(
    vault: &Vault,
    name: &SessionName,
    session: &SessionRow,
    next: &mut u64,
) -> Result<Option<Vec<Mark>>, OpError> {
    if *next >= session.marks {
        return Ok(None);
    }
    let batch = marks(vault.index(), vault.cipher(), name, *next, BATCH)?;
    if batch.is_empty() {
        return Err(OpError::Unsound(format!(
            "the timeline of session {}: mark {next} of {} is missing; run `lucid reindex`",
            session.id, session.marks
        )));
    }
    *next += batch.len() as u64;
    Ok(Some(batch))
}

fn store(
    vault: &Vault,
    storage: StorageOptions,
    session: &SessionRow,
    pages: &mut Vec<Vec<u8>>,
    stored: &mut Vec<(ChunkId, u32)>,
) -> Result<(), OpError> {
    let mut packer = Packer::new();
    for some in pages.chunks(PAGES) {
        let mut submission = Submission::upkeep();
        for page in some {
            let id = ChunkId::from(blake3::hash(page));
            let key = session.key_of(&id);
            if vault.known(key, storage.encrypt)? != Known::There {
                let chunk =
                    vault.chunk(&mut packer, storage.compression, storage.encrypt, key, page)?;
                submission.chunks.push(chunk);
            }
            stored.push((id, chunk_length(page.len())?));
        }
        vault.commit(submission)?;
    }
    pages.clear();
    Ok(())
}
