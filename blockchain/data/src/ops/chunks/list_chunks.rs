//! Lists chunks: those of one session, or all that there are.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::chunks::find_chunk::FoundChunk;
use crate::ops::sessions::get_session::get_session;
use crate::row::{
    self, Counts, PlacedRow, SessionName, SessionRow, UploadedRow, all_references,
    session_of_reference,
};

/// Chunks of a session from an index on, those that wait included.
pub fn session_chunks(
    vault: &Vault,
    id: &SessionId,
    start: u64,
    limit: usize,
) -> Result<Vec<FoundChunk>, OpError> {
    let (vault_index, cipher) = (vault.index(), vault.cipher());
    let name = SessionName::of(cipher, id);
    let session = get_session(vault, id)?;
    let mut chunks = Vec::new();
    for reference in row::references(vault_index, cipher, &name, start, limit)? {
        let placed = PlacedRow::find(vault_index, cipher, &name, reference.index)?;
        chunks.push(shown(&session, &reference, placed));
    }
    if session.pending > 0 && chunks.len() < limit {
        let from = start.max(session.chunk_count());
        let rows = PlacedRow::list(vault_index, cipher, &name, from, limit - chunks.len())?;
        chunks.extend(rows.into_iter().map(|(index, row)| {
            let called = row.alias.clone().unwrap_or_else(|| row.chunk.to_string());
            FoundChunk::placed(called, &session, index, row)
        }));
    }
    Ok(chunks)
}

fn shown(
    session: &SessionRow,
    reference: &row::Reference,
    placed: Option<PlacedRow>,
) -> FoundChunk {
    match placed {
        Some(placed) => {
            let called = placed.alias.clone().unwrap_or_else(|| placed.chunk.to_string());
            FoundChunk::placed(called, session, reference.index, placed)
        }
        None => FoundChunk {
            session: Some(session.id.clone()),
            index: Some(reference.index),
            ..FoundChunk::plain(
                reference.chunk.to_string(),
                session.key_of(&reference.chunk),
                reference.length,
            )
        },
    }
}

/// Rows read in one go.
const PAGE: usize = 1_000;

/// Chunks of all sessions, one session after the other and each in order, then those that are kept on
/// their own.
pub fn all_chunks(
    vault: &Vault,
    mut skip: u64,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<FoundChunk>, OpError> {
    let (vault_index, cipher) = (vault.index(), vault.cipher());
    let mut chunks = Vec::new();
    // Nobody has to walk to where nothing is.
    let counts = vault_index.get(&Counts::key())?.map(|row| Counts::decode(&row)).transpose()?;
    if counts.is_some_and(|counts| skip >= counts.references.saturating_add(counts.uploads)) {
        return Ok(chunks);
    }
    let mut session: Option<(SessionName, SessionRow)> = None;
    let mut from = Vec::new();
    loop {
        // Sessions in front are passed over whole, as far as all of their references are there.
        while skip > 0
            && let Some((first, _)) = all_references(vault_index, cipher, &from, 1)?.first()
            && let Some(name) = session_of_reference(first)
            && *first == name.reference_key(0)
            && let Some(row) = row::session(vault_index, cipher, &name)?
            && !row.has_gap
        {
            let passed = skip.min(row.chunk_count());
            (skip, from) = (skip - passed, name.reference_key(passed));
            if passed < row.chunk_count() {
                break;
            }
        }
        let rows = all_references(vault_index, cipher, &from, PAGE)?;
        let Some((last, _)) = rows.last() else { break };
        from = [last.as_slice(), &[0]].concat();
        if let Some(left) = skip.checked_sub(rows.len() as u64) {
            skip = left;
            continue;
        }
        for (key, reference) in rows.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if chunks.len() == limit {
                return Ok(chunks);
            }
            let Some(name) = session_of_reference(key) else { continue };
            if session.as_ref().is_none_or(|(known, _)| *known != name) {
                session = row::session(vault_index, cipher, &name)?.map(|row| (name, row));
            }
            let Some((_, row)) = &session else { continue };
            let placed = PlacedRow::find(vault_index, cipher, &name, reference.index)?;
            chunks.push(shown(row, reference, placed));
        }
        skip = 0;
    }
    let (mut from, to) = UploadedRow::range();
    while chunks.len() < limit {
        let rows = vault_index.scan(&from, &to, PAGE, false)?;
        let Some((last, _)) = rows.last() else { break };
        from = [last.as_slice(), &[0]].concat();
        for (key, value) in rows {
            let row = UploadedRow::open(cipher, &key, value)?;
            if !row.note.counts(now) {
                continue;
            }
            match skip.checked_sub(1) {
                Some(left) => skip = left,
                None if chunks.len() < limit => {
                    chunks.push(FoundChunk::uploaded(row.chunk.to_string(), &row, &row.note));
                }
                None => break,
            }
        }
    }
    Ok(chunks)
}
