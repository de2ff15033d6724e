//! What has come to a live stream behind a byte: its reader asks again and again.
//!
//! Nothing waits here for those who write. What is not cut yet may be cut while it is read, so the session's row is
//! looked at before and after.

use lucid_core::session::{Layout, SessionId};
use lucid_core::words::many;
use lucid_store::StoreError;
use lucid_store::vault::Vault;

use crate::ops::sessions::get_session::get_session;
use crate::ops::sessions::read_session::{StoredSession, read_range};
use crate::ops::{Clash, OpError};
use crate::row::{SessionName, SessionRow};

/// Rows of bytes that are not cut yet, fetched in one go.
const ROWS_BATCH: usize = 64;

/// What there is behind a byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// The bytes, as many as were asked for at most.
    pub bytes: Vec<u8>,
    /// Whether these were the last: the session is sealed, and there is nothing behind them.
    pub is_all: bool,
}

/// What came from the byte `from` on; `most` bytes of it at most.
pub fn come_since(vault: &Vault, id: &SessionId, from: u64, most: usize) -> Result<Came, OpError> {
    loop {
        let session = get_session(vault, id)?;
        if session.layout != Layout::Raw {
            let sentence = format!("session {id} is a folder: a recording is what is followed");
            return Err(OpError::Conflict(Clash::WrongLayout, sentence));
        }
        let sealed = session.sealed.as_ref().map(|sealed| sealed.content_bytes);
        let length = sealed.unwrap_or_else(|| session.offset());
        if from > length {
            let bytes = many(length, "byte");
            let sentence = format!("session {id} has {bytes}, and byte {from} is asked for");
            return Err(OpError::Invalid(sentence));
        }
        let end = length.min(from.saturating_add(most as u64));
        let bytes = if from == end {
            Vec::new()
        } else if from < session.cut_bytes {
            let source = StoredSession::open(vault, id)?;
            let mut bytes = Vec::new();
            read_range(&source, from..end.min(session.cut_bytes), |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
            bytes
        } else {
            let bytes = uncut(vault, id, from, most)?;
            if !is_as_it_was(&session, &get_session(vault, id)?) {
                continue;
            }
            bytes
        };
        let is_all = sealed.is_some() && from + bytes.len() as u64 == length;
        return Ok(Came { bytes, is_all });
    }
}

/// Whether nothing was cut meanwhile, so that what was read as not cut was just that.
fn is_as_it_was(before: &SessionRow, now: &SessionRow) -> bool {
    before.cut_bytes == now.cut_bytes && now.sealed.is_none()
}

/// Bytes behind the last cut, from one of them on.
fn uncut(vault: &Vault, id: &SessionId, from: u64, most: usize) -> Result<Vec<u8>, OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    let name = SessionName::of(cipher, id);
    // The row that has the byte begins there, or before it.
    let before = index.scan(&name.tail_key(0), &name.tail_key(from.saturating_add(1)), 1, true)?;
    let Some((mut next, _)) = before.into_iter().next() else { return Ok(Vec::new()) };
    let (to, mut bytes) = (name.tail_key(u64::MAX), Vec::new());
    loop {
        let rows = index.scan(&next, &to, ROWS_BATCH, false)?;
        let (count, last) = (rows.len(), rows.last().map(|(key, _)| key.clone()));
        for (key, value) in rows {
            let at = key.last_chunk().map(|at| u64::from_be_bytes(*at));
            let at = at.ok_or_else(|| StoreError::Index("a tail's key is too short".into()))?;
            let value = cipher.decrypt_value(&key, value)?;
            let known = usize::try_from(from.saturating_sub(at)).unwrap_or(usize::MAX);
            bytes.extend_from_slice(value.get(known..).unwrap_or_default());
            if bytes.len() >= most {
                bytes.truncate(most);
                return Ok(bytes);
            }
        }
        match last {
            // The key right behind the last one.
            Some(last) if count == ROWS_BATCH => next = [last.as_slice(), &[0]].concat(),
            _ => return Ok(bytes),
        }
    }
}
