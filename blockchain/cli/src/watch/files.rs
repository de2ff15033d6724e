//! The files of a watched folder: plain ones, hidden ones left out, links not followed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use lucid_core::time::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// What a file is known by, whatever it is called: device, number, and when it was made, since numbers
/// are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    number: u64,
    made: i64,
}

/// A file as it was found.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Where it is.
    path: PathBuf,
    /// Where that is in the watched folder.
    relative: PathBuf,
    /// What it is known by.
    pub identity: Identity,
    /// How long it was.
    pub length: u64,
    /// When it was made, or last changed, where that is not known.
    pub began: Timestamp,
}

impl Seen {
    /// Its path in the watched folder, for people.
    pub fn shown(&self) -> String {
        self.relative.to_string_lossy().into_owned()
    }

    /// Opens it, if it is still this file.
    pub fn open(&self) -> anyhow::Result<File> {
        let context = || format!("\"{}\" cannot be read", self.path.display());
        let mut how = File::options();
        how.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let file = how.open(&self.path).with_context(context)?;
        let found = file.metadata().with_context(context)?;
        anyhow::ensure!(
            identity(&found) == self.identity,
            "\"{}\" was replaced while it was opened",
            self.path.display()
        );
        Ok(file)
    }
}

fn identity(found: &std::fs::Metadata) -> Identity {
    let made = found.created().map_or(0, |time| moment(time).as_micros());
    Identity { device: found.dev(), number: found.ino(), made }
}

/// A file's time as an instant.
pub fn moment(time: SystemTime) -> Timestamp {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
    };
    Timestamp::from_micros(micros)
}

/// Every file below a folder, by path. Folders in `not` are left out.
pub fn scan(folder: &Path, not: &[PathBuf]) -> anyhow::Result<Vec<Seen>> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        let entries = match std::fs::read_dir(&at) {
            // What went away while it was looked at is not there any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound && at != folder => continue,
            entries => entries.with_context(|| format!("\"{}\" cannot be listed", at.display()))?,
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("\"{}\" cannot be listed", at.display()))?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let metadata = match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => {
                    metadata.with_context(|| format!("\"{}\" cannot be read", path.display()))?
                }
            };
            if metadata.is_dir() {
                let own = path.canonicalize().is_ok_and(|path| not.contains(&path));
                waiting.extend((!own).then_some(path));
            } else if metadata.is_file() {
                found.push(Seen {
                    relative: path.strip_prefix(folder).unwrap_or(&path).to_owned(),
                    identity: identity(&metadata),
                    length: metadata.len(),
                    began: metadata
                        .created()
                        .or_else(|_| metadata.modified())
                        .map_or_else(|_| crate::cmd::now(), moment),
                    path,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    // A file with two names is one recording.
    let mut known = std::collections::BTreeSet::new();
    found.retain(|file| known.insert(file.identity));
    Ok(found)
}
