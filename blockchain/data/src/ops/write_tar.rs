//! Writes an archived folder as a tar stream.

use std::io::Write;
use std::ops::ControlFlow;

use lucid_core::catalogue::{Entry, Kind};

use super::OpError;
use super::chosen::Chosen;
use super::read_session::{Cursor, SessionSource, visit_entries};
use crate::tarball::{TarError, Tarball};

/// Writes paths and everything below them; no paths means everything. An error of `out` means that whoever
/// wanted the stream is gone.
pub fn write_tar<W: Write>(
    source: &dyn SessionSource,
    paths: &[Vec<u8>],
    out: W,
) -> Result<W, OpError> {
    let mut tarball = Tarball::new(out);
    let mut cursor = Cursor::new(source);
    let mut chosen = Chosen::new(paths);
    for below in chosen.paths().to_vec() {
        let (mut found, mut outcome) = (false, Ok(()));
        visit_entries(source, &below, None, |entry| {
            found = true;
            let settled = chosen.settle(source, entry);
            outcome = settled.and_then(|entry| add(&mut cursor, &mut tarball, &entry));
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome?;
        if !found && !below.is_empty() {
            let path = String::from_utf8_lossy(&below).into_owned();
            return Err(OpError::NoFile { session: source.shape().id.clone(), path });
        }
    }
    tarball.finish().map_err(refuse)
}

/// Writes one entry, and the bytes of a file.
pub fn add<W: Write>(
    cursor: &mut Cursor<'_>,
    tarball: &mut Tarball<W>,
    entry: &Entry,
) -> Result<(), OpError> {
    tarball.entry(entry).map_err(refuse)?;
    if entry.kind != Kind::File {
        return Ok(());
    }
    let bytes = entry.offset..entry.offset.saturating_add(entry.length);
    cursor.read(bytes, |piece| tarball.content(piece).map_err(refuse))
}

fn refuse(error: TarError) -> OpError {
    match error {
        TarError::Io(_) => OpError::Abandoned,
        TarError::Unsafe(_) | TarError::Length { .. } => {
            OpError::Unsound(format!("the catalogue: {error}"))
        }
    }
}
