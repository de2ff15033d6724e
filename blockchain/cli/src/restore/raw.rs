//! A raw session on its way out: it is one file.

use std::ops::Range;

use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner};
use lucid_core::digest::ChunkId;
use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::read_session::{read_range, reference_at};
use lucid_data_chain::row::Reference;
use lucid_data_chain::source::SessionSource;

use super::choice::Choice;
use crate::folder::target::{Foreseen, Standing, Target};
use crate::progress::ProgressLine;

/// Of a raw session there are no files to choose from.
pub fn refuse_paths_of_raw(source: &dyn SessionSource, choice: &Choice) -> anyhow::Result<()> {
    let shape = source.shape();
    anyhow::ensure!(
        shape.layout == Layout::Tree || choice.is_everything(),
        "session {} is raw: it has no files to choose from",
        shape.id
    );
    Ok(())
}

/// A raw session, or a part of it, as one file, named by the session, of the time when its last bytes
/// came.
pub fn raw_entry(source: &dyn SessionSource, part: &Range<u64>) -> Entry {
    let shape = source.shape();
    let ended = shape.ended_at.map_or(0, |time| time.as_micros());
    let nanos = u32::try_from(ended.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    Entry {
        path: shape.id.as_str().as_bytes().to_vec(),
        kind: EntryKind::File,
        mode: 0o600,
        modified: FileTime { seconds: ended.div_euclid(1_000_000), nanos },
        owner: Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        },
        offset: part.start,
        length: part.end - part.start,
        ..Entry::bare()
    }
}

/// A raw session, or a part of it, becomes one file, unless it stands there already: then that is said.
pub fn restore_raw(
    source: &dyn SessionSource,
    target: &Target,
    entry: &Entry,
    dry_run: bool,
    progress: &ProgressLine,
) -> anyhow::Result<Foreseen> {
    let part = entry.offset..entry.offset + entry.length;
    if let Some(standing) = target.standing(entry) {
        if standing.is_trusted() {
            standing.trust()?;
            return Ok(Foreseen::Stands);
        }
        if is_same(source, &standing, &part)? {
            standing.same(entry.length)?;
            return Ok(Foreseen::Stands);
        }
    }
    if dry_run {
        return Ok(target.foresee(entry)?);
    }
    let slot = target.open_file(entry)?;
    let mut at = 0;
    let mut failed = None;
    let read = read_range(source, part, |bytes| {
        slot.write_at(at, bytes).map_err(|error| {
            let text = error.to_string();
            failed = Some(error);
            OpError::Invalid(text)
        })?;
        at += bytes.len() as u64;
        progress.add(bytes.len() as u64);
        Ok(())
    });
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(read.map(|()| Foreseen::New)?),
    }
}

/// Whether a file has these bytes of a session: whole chunks by their ids, and the rest by what is read.
fn is_same(
    source: &dyn SessionSource,
    standing: &Standing,
    part: &Range<u64>,
) -> Result<bool, OpError> {
    let (mut buffer, mut at) = (Vec::new(), part.start);
    let mut is_here = |from: u64, length: usize, wanted: &dyn Fn(&[u8]) -> bool| {
        buffer.resize(length.max(buffer.len()), 0);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        standing.read(from - part.start, piece).is_ok() && wanted(piece)
    };
    while at < part.end {
        let within = source.shape().total_bytes;
        let reference = if at < within { Some(reference_at(source, at)?) } else { None };
        let end = reference.map_or(part.end, |reference| reference.end().min(part.end));
        let is_whole = |reference: &Reference| {
            reference.is_sound() && (reference.offset, reference.end()) == (at, end)
        };
        let whole = reference.filter(is_whole);
        if let Some(Reference { length, chunk, .. }) = whole {
            if !is_here(at, length as usize, &|piece| ChunkId::from(blake3::hash(piece)) == chunk) {
                return Ok(false);
            }
        } else {
            let (mut from, mut same) = (at, true);
            read_range(source, at..end, |bytes| {
                same = same && is_here(from, bytes.len(), &|piece| piece == bytes);
                from += bytes.len() as u64;
                Ok(())
            })?;
            if !same {
                return Ok(false);
            }
        }
        at = end;
    }
    Ok(true)
}
