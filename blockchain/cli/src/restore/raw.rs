//! A raw session on its way out: it is one file.

use std::ops::Range;

use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner};
use lucid_core::session::Layout;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::read_session::read_range;
use lucid_data_chain::source::SessionSource;

use crate::folder::target::Target;
use crate::progress::ProgressLine;

/// Of a raw session there are no files to choose from.
pub fn refuse_paths_of_raw(source: &dyn SessionSource, paths: &[Vec<u8>]) -> anyhow::Result<()> {
    let shape = source.shape();
    anyhow::ensure!(
        shape.layout == Layout::Tree || paths.is_empty(),
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

/// A raw session, or a part of it, becomes one file.
pub fn restore_raw(
    source: &dyn SessionSource,
    target: &Target,
    part: Range<u64>,
    progress: &ProgressLine,
) -> anyhow::Result<()> {
    let slot = target.open_file(&raw_entry(source, &part))?;
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
        None => Ok(read?),
    }
}
