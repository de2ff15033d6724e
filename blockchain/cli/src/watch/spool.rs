//! What a watcher must not forget: which file is which session. One small file for each, written and
//! synced before the session begins, gone once the recording is sealed and its file is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_api::v1::sessions::SessionSource;
use lucid_store::files::disk::real::{PRIVATE_FILE, close_to_others, private_folder};
use rustix::fs::{FlockOperation, OFlags};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::files::FileIdentity;

/// A file that is a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The session.
    pub session: String,
    /// The file, as it was called when it was found.
    pub path: String,
    /// What it is known by.
    pub identity: FileIdentity,
    /// Whose recording it is.
    pub user: String,
    /// What is kept with it.
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from: not there of what an earlier version began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SessionSource>,
    /// When it began.
    pub started_at: String,
    /// Where in the file the session begins.
    pub base: u64,
    /// Which session of the file this is: one that goes on after it was sealed has more.
    pub part: u32,
    /// Up to where in the file it was sealed, once it is.
    pub sealed_at: Option<u64>,
    /// When the file was last changed, as it was when all of it had been sent, in microseconds: since
    /// then it may have been written anew at the same length. Not there if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<i64>,
    /// Whether something else stands in the file than was sent: all of that is another recording.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

/// A spool that is of one store, used with another.
#[derive(Debug, thiserror::Error)]
#[error(
    "the spool \"{}\" is of store {known}, and this is store {given}: what was sent there would be \
     missing here. Name another folder with --spool, and everything is sent to this one",
    spool.display()
)]
pub struct OtherStore {
    spool: PathBuf,
    known: String,
    given: String,
}

/// A folder of recordings, held by one watcher at a time.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    _lock: File,
}

impl Spool {
    /// Opens the folder, and makes it if there is none.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let context = || format!("the spool \"{}\" cannot be used", folder.display());
        private_folder(folder).with_context(context)?;
        must_be_ours(folder).with_context(context)?;
        let mut how = File::options();
        how.write(true).create(true).truncate(false).mode(PRIVATE_FILE);
        let lock = how.custom_flags(NO_LINKS).open(folder.join(LOCK)).with_context(context)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            anyhow::bail!(
                "the spool \"{}\" is in use by another `lucid watch` or `lucid sink`: end that one, or name another \
                 folder with --spool",
                folder.display()
            );
        }
        if let Some(parent) = folder.canonicalize().with_context(context)?.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).with_context(context)?;
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Notes that what is remembered here was sent to this store, and refuses another one: there nothing
    /// of what is sealed would ever be sent. A spool that does not know its store yet takes it.
    pub fn belongs_to(&self, store: &str) -> anyhow::Result<()> {
        let path = self.folder.join("store");
        let context = || format!("\"{}\" cannot be used", path.display());
        let known = match read(&path).and_then(|known| {
            String::from_utf8(known).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
        }) {
            Ok(known) => known,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.write(&path, format!("{store}\n").as_bytes()).with_context(context);
            }
            Err(error) => return Err(error).with_context(context),
        };
        let known = known.trim();
        if known != store {
            return Err(OtherStore {
                spool: self.folder.clone(),
                known: known.to_owned(),
                given: store.to_owned(),
            }
            .into());
        }
        Ok(())
    }

    /// Everything that is remembered, and the names of what cannot be read. Other files are passed over.
    pub fn recordings(&self) -> anyhow::Result<(Vec<Recording>, BTreeSet<String>)> {
        let (mut found, mut unread) = (Vec::new(), BTreeSet::new());
        let context = || format!("\"{}\" cannot be listed", self.folder.display());
        for entry in fs::read_dir(&self.folder).with_context(context)? {
            let name = entry.with_context(context)?.file_name().to_string_lossy().into_owned();
            if !is_recording(&name) {
                continue;
            }
            match self.read(&name) {
                Ok(recording) => found.extend(recording),
                Err(_) => drop(unread.insert(name)),
            }
        }
        Ok((found, unread))
    }

    /// Reads one recording by its name in the spool, if it is there.
    pub fn read(&self, name: &str) -> anyhow::Result<Option<Recording>> {
        let context = || {
            "it cannot be read as a recording, and its file is looked at as if it were new: if it stays \
             so, remove it"
        };
        match read(&self.folder.join(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(context),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(context),
        }
    }

    /// Remembers a recording; durable on return.
    pub fn keep(&self, recording: &Recording) -> anyhow::Result<()> {
        let path = self.path(recording);
        self.write(&path, &serde_json::to_vec_pretty(recording)?)
            .with_context(|| format!("writing \"{}\"", path.display()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut how = File::options();
        how.write(true).create(true).truncate(true).mode(PRIVATE_FILE).custom_flags(NO_LINKS);
        let mut file = how.open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets a recording.
    pub fn forget(&self, recording: &Recording) -> anyhow::Result<()> {
        let path = self.path(recording);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing \"{}\"", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// A file has one name in here, whichever session of it is the latest.
    fn path(&self, recording: &Recording) -> PathBuf {
        let name = blake3::hash(format!("{:?}", recording.identity).as_bytes()).to_hex();
        self.folder.join(format!("{}{EXTENSION}", name.get(..NAME_LENGTH).unwrap_or_default()))
    }
}

/// Only the user who watches may put anything into a spool: what stands in it decides what is sent, and under
/// which names files are made.
fn must_be_ours(folder: &Path) -> anyhow::Result<()> {
    let me = geteuid().as_raw();
    let named = fs::symlink_metadata(folder)?;
    let found = fs::metadata(folder)?;
    anyhow::ensure!(
        named.uid() == me && found.uid() == me,
        "it belongs to another user (number {}): name a folder of your own with --spool",
        if named.uid() == me { found.uid() } else { named.uid() }
    );
    // A version before made it as the umask said, which may have let the user's own group in.
    let is_spool = || {
        fs::symlink_metadata(folder.join(LOCK)).is_ok_and(|lock| lock.is_file() && lock.uid() == me)
    };
    if found.mode() & 0o022 == 0o020 && is_spool() {
        return Ok(close_to_others(folder)?);
    }
    anyhow::ensure!(
        found.mode() & 0o022 == 0,
        "others may write to it: name a folder of your own with --spool, or, if all that is in it is \
         yours, close it to them (chmod go-w)"
    );
    Ok(())
}

/// Reads a file of the spool, and nothing that a link leads to.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut how = File::options();
    how.read(true).custom_flags(NO_LINKS).open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file that is locked while a watcher runs.
const LOCK: &str = "lock";
/// A name that is a link is an error, and a pipe keeps nobody waiting.
const NO_LINKS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();

/// How the names of recordings are made: so many hexadecimal digits, and this behind them.
const NAME_LENGTH: usize = 24;
const EXTENSION: &str = ".json";

fn is_recording(name: &str) -> bool {
    name.strip_suffix(EXTENSION).is_some_and(|name| {
        name.len() == NAME_LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
