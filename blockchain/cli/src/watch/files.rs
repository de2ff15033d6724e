//! The files of a watched folder: plain ones, hidden ones left out, links not followed, stores not entered.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use lucid_core::time::Timestamp;
use lucid_store::files::descriptors::patiently;
use lucid_store::files::folder::holds_store;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// What a file is known by, regardless of its name: device, number, and when it was made, since numbers
/// are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    device: u64,
    number: u64,
    made: i64,
}

impl FileIdentity {
    /// Whether this is the other, but for its device: the number of a device need not outlast a reboot,
    /// nor being mounted anew.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.number, self.made) == (other.number, other.made)
    }
}

/// How a file is at a moment. While this stays as it is, its content does, as far as can be told without
/// reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// How long it is.
    pub length: u64,
    /// When it was last changed.
    pub changed: Timestamp,
}

impl State {
    /// How an open file is now.
    pub fn of(file: &File) -> anyhow::Result<Self> {
        Ok(Self::from(&file.metadata().context("it cannot be read")?))
    }
}

impl From<&std::fs::Metadata> for State {
    fn from(found: &std::fs::Metadata) -> Self {
        let changed = found.modified().map_or_else(|_| crate::cmd::now(), moment);
        Self { length: found.len(), changed }
    }
}

/// A file as it was found.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Where it is.
    path: PathBuf,
    /// Where that is in the watched folder.
    relative: PathBuf,
    /// What it is known by.
    pub identity: FileIdentity,
    /// How it was.
    pub state: State,
    /// When it was made, or last changed, where that is not known.
    pub began: Timestamp,
}

impl Seen {
    /// Its path in the watched folder, for people.
    pub fn shown(&self) -> String {
        self.relative.to_string_lossy().into_owned()
    }

    /// Its path in the watched folder.
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// What its folder is known by: its number, and when it was made, since numbers are used again.
    pub fn folder_number(&self) -> anyhow::Result<String> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let found = std::fs::metadata(folder).context("its folder cannot be looked at")?;
        let FileIdentity { number, made, .. } = identity(&found);
        Ok(format!("{number} {made}"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, if it is still this file.
    pub fn open(&self) -> anyhow::Result<File> {
        let context = || "it cannot be read".to_owned();
        let mut how = File::options();
        how.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let file = patiently(|| how.open(&self.path)).with_context(context)?;
        let found = file.metadata().with_context(context)?;
        anyhow::ensure!(identity(&found) == self.identity, "it was replaced while it was opened");
        Ok(file)
    }
}

fn identity(found: &std::fs::Metadata) -> FileIdentity {
    let made = found.created().map_or(0, |time| moment(time).as_micros());
    FileIdentity { device: found.dev(), number: found.ino(), made }
}

/// A file's time as an instant.
fn moment(time: SystemTime) -> Timestamp {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
    };
    Timestamp::from_micros(micros)
}

/// What a look at a folder found.
#[derive(Debug, Default)]
pub struct FolderScan {
    /// Files, by path.
    pub files: Vec<Seen>,
    /// What could not be looked at, by its path in the folder, and why.
    pub troubles: Vec<(String, anyhow::Error)>,
    /// Folders that are stores, by their paths in the folder: their keys are in them.
    pub stores: Vec<String>,
    /// File systems that were seen.
    devices: BTreeSet<u64>,
    /// Where each file is in `files`.
    places: HashMap<FileIdentity, usize>,
}

impl FolderScan {
    /// A file, if it was seen.
    pub fn of(&self, identity: &FileIdentity) -> Option<&Seen> {
        self.places.get(identity).and_then(|at| self.files.get(*at))
    }

    /// Looks again at the file at this path. Nothing, if it is another one than was seen there.
    pub fn look_again(&mut self, path: &Path) -> Option<FileIdentity> {
        let at = self.files.binary_search_by(|file| file.path.as_path().cmp(path)).ok()?;
        let seen = self.files.get_mut(at)?;
        let found = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        if identity(&found) != seen.identity {
            return None;
        }
        seen.state = State::from(&found);
        Some(seen.identity)
    }

    /// Whether a file that was not seen, and was at this path once, is not there any more: not so while
    /// its folder cannot be looked at, nor while its file system is away.
    pub fn is_gone(&self, path: &str, identity: &FileIdentity) -> bool {
        !self.is_away(identity)
            && !self.troubles.iter().any(|(trouble, _)| Path::new(path).starts_with(trouble))
    }

    /// Whether the file system of a file was not seen.
    pub fn is_away(&self, identity: &FileIdentity) -> bool {
        !self.devices.contains(&identity.device)
    }
}

/// What a folder is known by: another one that is mounted or moved in its place is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderIdentity {
    device: u64,
    number: u64,
}

impl FolderIdentity {
    /// The folder that is there now.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(folder)?;
        Ok(Self { device: found.dev(), number: found.ino() })
    }
}

/// A path in the folder, for people.
fn shown(folder: &Path, at: &Path) -> String {
    at.strip_prefix(folder).unwrap_or(at).to_string_lossy().into_owned()
}

/// Every file below a folder, by path. Folders in `not` are left out, and so are stores. What cannot be looked at is
/// named, and does not keep the rest from being found; only the folder itself must be there. `list` hears of every
/// folder before it is listed.
pub fn scan(
    folder: &Path,
    not: &[PathBuf],
    list: &mut dyn FnMut(&Path),
) -> anyhow::Result<FolderScan> {
    let mut scan = FolderScan::default();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        list(&at);
        let unlisted = || format!("\"{}\" cannot be listed", at.display());
        let entries = match std::fs::read_dir(&at) {
            Ok(entries) => entries,
            Err(error) if at == folder => return Err(error).with_context(unlisted),
            Err(error) => {
                scan.trouble(folder, &at, error, "it cannot be listed");
                continue;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if at == folder => return Err(error).with_context(unlisted),
                Err(error) => {
                    scan.trouble(folder, &at, error, "it cannot be listed");
                    break;
                }
            };
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let metadata = match std::fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) => {
                    scan.trouble(folder, &path, error, "it cannot be read");
                    continue;
                }
            };
            scan.devices.insert(metadata.dev());
            if metadata.is_dir() {
                if path.canonicalize().is_ok_and(|path| not.contains(&path)) {
                    continue;
                }
                match holds_store(&path) {
                    true => scan.stores.push(shown(folder, &path)),
                    false => waiting.push(path),
                }
            } else if metadata.is_file() {
                scan.files.push(Seen {
                    relative: path.strip_prefix(folder).unwrap_or(&path).to_owned(),
                    identity: identity(&metadata),
                    state: State::from(&metadata),
                    began: metadata
                        .created()
                        .or_else(|_| metadata.modified())
                        .map_or_else(|_| crate::cmd::now(), moment),
                    path,
                });
            }
        }
    }
    scan.devices.insert(FolderIdentity::of(folder)?.device);
    scan.files.sort_by(|a, b| a.path.cmp(&b.path));
    // A file with two names is one recording.
    let mut known = BTreeSet::new();
    scan.files.retain(|file| known.insert(file.identity));
    scan.places = (0..).zip(&scan.files).map(|(at, file)| (file.identity, at)).collect();
    Ok(scan)
}

impl FolderScan {
    fn trouble(&mut self, folder: &Path, at: &Path, error: io::Error, what: &str) {
        // What went away while it was looked at is not there any more.
        if error.kind() != io::ErrorKind::NotFound {
            let path = shown(folder, at);
            self.troubles.push((path, anyhow::Error::new(error).context(what.to_owned())));
        }
    }
}
