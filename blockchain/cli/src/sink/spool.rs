//! What was read from sockets and is not sealed yet: a folder for each connection, which is a state at any moment.
//!
//! In it, `head.json` says which session it is, `bytes` has what was read, and two empty files say by their names how
//! far it is: `sent-N` up to where it was sent, and `open`, `eof` or `unterminated` how it ended. Names are changed
//! where a full disk takes nothing more. A folder gets its name once its head is durable, and loses it, by one
//! renaming, once the session is sealed; whatever has a name that begins with a dot is neither, and is removed.
//!
//! What was sent is freed while the connection goes on, as a hole at the beginning of `bytes`, so that one that never
//! ends fills no disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::Context as _;
use lucid_api::v1::sessions::SessionSource;
use lucid_core::manifest::End;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::fresh_id::fresh_id;
use lucid_store::files::disk::real::{PRIVATE_FILE, private_folder};
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::watch::spool::Spool;

/// A name that is a link is an error.
const NO_LINKS: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const HEAD: &str = "head.json";
const BYTES: &str = "bytes";
const SENT: &str = "sent-";
const OPEN: &str = "open";
const EOF: &str = "eof";
const UNTERMINATED: &str = "unterminated";

/// The session of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The session.
    pub session: String,
    /// Who connected.
    pub user: String,
    /// What is kept with it.
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from.
    pub source: SessionSource,
    /// When it began.
    pub started_at: String,
    /// Where in `bytes` the session begins: one that was sealed by others goes on in another session.
    pub base: u64,
}

/// A connection in the spool.
#[derive(Debug)]
pub struct Spooled {
    /// Of its folder.
    pub name: String,
    /// Its session.
    pub head: Mutex<Head>,
    /// Bytes that are durable.
    pub durable: AtomicU64,
    /// Bytes that were sent.
    sent: AtomicU64,
    /// Up to where they were given back to the disk; it is in the name of a file.
    freed: AtomicU64,
    /// When the last of them came, in microseconds.
    pub came: AtomicI64,
    /// How the connection ended, once it has.
    pub end: Mutex<Option<End>>,
}

impl Spooled {
    /// Bytes that are durable and not sent.
    pub fn waiting(&self) -> u64 {
        self.durable.load(Ordering::Acquire).saturating_sub(self.sent.load(Ordering::Acquire))
    }

    /// Notes up to where it was sent; says how many more that are.
    pub fn note_sent(&self, up_to: u64) -> u64 {
        up_to.saturating_sub(self.sent.fetch_max(up_to, Ordering::AcqRel))
    }

    /// Up to where its bytes are not there any more.
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Acquire)
    }
}

/// What was in the spool.
#[derive(Debug, Default)]
pub struct Found {
    /// Connections of before.
    pub connections: Vec<Spooled>,
    /// What cannot be read, a sentence each.
    pub unread: Vec<String>,
}

/// The folder of all connections, used by one sink at a time.
#[derive(Debug)]
pub struct ConnectionSpool {
    folder: PathBuf,
    _guard: Spool,
}

impl ConnectionSpool {
    /// Opens the folder, makes it if there is none, and finds what is in it. What was open in there broke with its
    /// sink.
    pub fn open(folder: PathBuf) -> anyhow::Result<(Self, Found)> {
        let guard = Spool::open(&folder)?;
        let spool = Self { folder, _guard: guard };
        let mut found = Found::default();
        let context = || format!("the spool \"{}\" cannot be read", spool.folder.display());
        for entry in fs::read_dir(&spool.folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            if !entry.file_type().with_context(context)?.is_dir() {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                fs::remove_dir_all(entry.path()).with_context(context)?;
                continue;
            }
            match spool.find(&name) {
                // It was killed before it read anything.
                Ok(spooled) if spooled.waiting() == 0 && spooled.freed() == 0 => {
                    spool.remove(&name).with_context(context)?;
                }
                Ok(spooled) => found.connections.push(spooled),
                Err(error) => found.unread.push(format!(
                    "\"{}\" cannot be read as a connection and is left as it is, its bytes in the file `bytes`: {error:#}",
                    entry.path().display()
                )),
            }
        }
        Ok((spool, found))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn find(&self, name: &str) -> anyhow::Result<Spooled> {
        let folder = self.at(name);
        let head: Head = serde_json::from_slice(&fs::read(folder.join(HEAD))?)?;
        let (mut freed, mut end) = (None, None);
        for entry in fs::read_dir(&folder)? {
            let marker = entry?.file_name().to_string_lossy().into_owned();
            match marker.as_str() {
                EOF => end = Some(End::Eof),
                UNTERMINATED => end = Some(End::Unterminated),
                other => freed = freed.or(other.strip_prefix(SENT).and_then(|n| n.parse().ok())),
            }
        }
        let file = open(&folder.join(BYTES))?;
        // Of a process that was killed, some of it may not be durable yet.
        file.sync_all()?;
        let found = file.metadata()?;
        if end.is_none() {
            mark(&folder, OPEN, UNTERMINATED)?;
            end = Some(End::Unterminated);
        }
        let freed = freed.with_context(|| format!("there is no file {SENT}N"))?;
        let came = found.mtime().saturating_mul(1_000_000) + found.mtime_nsec() / 1_000;
        Ok(Spooled {
            name: name.to_owned(),
            head: Mutex::new(head),
            durable: AtomicU64::new(found.len()),
            sent: AtomicU64::new(freed),
            freed: AtomicU64::new(freed),
            came: AtomicI64::new(came),
            end: Mutex::new(end),
        })
    }

    /// Begins a connection; its folder is durable on return, and empty.
    pub fn begin(&self, head: Head) -> io::Result<(Writer, Spooled)> {
        let name = head.session.clone();
        let new = self.at(&format!(".new-{name}"));
        let made = || {
            private_folder(&new)?;
            create(&new.join(HEAD))?.write_all(&serde_json::to_vec_pretty(&head)?)?;
            create(&new.join(OPEN))?;
            create(&new.join(format!("{SENT}0")))?;
            let file = create(&new.join(BYTES))?;
            File::open(new.join(HEAD))?.sync_all()?;
            File::open(&new)?.sync_all()?;
            fs::rename(&new, self.at(&name))?;
            File::open(&self.folder)?.sync_all()?;
            Ok(file)
        };
        let file = match made() {
            Ok(file) => file,
            Err(error) => {
                // What is left of it goes with the next start.
                let _unmade = fs::remove_dir_all(&new);
                return Err(error);
            }
        };
        let spooled = Spooled {
            name: name.clone(),
            head: Mutex::new(head),
            durable: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            came: AtomicI64::new(0),
            end: Mutex::new(None),
        };
        Ok((Writer { file, folder: self.at(&name), length: 0, allocated: 0 }, spooled))
    }

    /// Opens the bytes of a connection, for them to be sent.
    pub fn bytes(&self, spooled: &Spooled) -> io::Result<File> {
        open(&self.at(&spooled.name).join(BYTES))
    }

    /// Has a connection go on in another session, from a byte on.
    pub fn go_on(&self, spooled: &Spooled, base: u64, now: Timestamp) -> anyhow::Result<Head> {
        let mut head = spooled.head.lock().clone();
        if base > head.base {
            head.metadata.insert("continues".to_owned(), head.session.clone());
        }
        (head.session, head.base) = (fresh_id(now)?.to_string(), base);
        let folder = self.at(&spooled.name);
        let new = folder.join("head.new");
        let mut file = create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(&head)?)?;
        file.sync_all()?;
        fs::rename(&new, folder.join(HEAD))?;
        File::open(&folder)?.sync_all()?;
        *spooled.head.lock() = head.clone();
        Ok(head)
    }

    /// Gives the room of what was sent back to the disk, if it is at least so much. A file system that makes no holes
    /// keeps all of it until the connection has ended.
    pub fn free(&self, spooled: &Spooled, file: &File, at_least: u64) -> io::Result<()> {
        let (freed, sent) = (spooled.freed(), spooled.sent.load(Ordering::Acquire));
        let up_to = sent - sent % BLOCK;
        if up_to < freed.saturating_add(at_least.max(BLOCK)) {
            return Ok(());
        }
        // Before they are gone: where they are not, nobody may look for them.
        mark(&self.at(&spooled.name), &format!("{SENT}{freed}"), &format!("{SENT}{up_to}"))?;
        spooled.freed.store(up_to, Ordering::Release);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(file, hole, freed, up_to - freed) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            made => Ok(made?),
        }
    }

    /// Removes a connection, whose session is sealed or that brought nothing.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let gone = self.at(&format!(".gone-{name}"));
        match fs::rename(self.at(name), &gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::remove_dir_all(&gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Holes begin and end at multiples of this.
const BLOCK: u64 = 4_096;

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).custom_flags(NO_LINKS).open(path)
}

fn create(path: &Path) -> io::Result<File> {
    let mut how = File::options();
    how.read(true).write(true).create(true).truncate(true).mode(PRIVATE_FILE);
    how.custom_flags(NO_LINKS).open(path)
}

/// Gives a marker its next name, durably.
fn mark(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    fs::rename(folder.join(from), folder.join(to))?;
    File::open(folder)?.sync_all()
}

/// The file that a connection goes into.
#[derive(Debug)]
pub struct Writer {
    file: File,
    folder: PathBuf,
    length: u64,
    /// Up to where the disk has room set aside.
    allocated: u64,
}

impl Writer {
    /// How much there is.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Has the disk set room aside for so many more bytes, so that what is read can be written.
    pub fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let wanted = self.length + bytes;
        if wanted <= self.allocated {
            return Ok(());
        }
        let more = wanted - self.allocated;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.allocated, more) {
            // Then the write itself shows whether there is room.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            made => made?,
        }
        self.allocated = wanted;
        Ok(())
    }

    /// Adds bytes, all of them or none.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes what was added durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Notes how the connection ended, durably.
    pub fn end(&self, end: End) -> io::Result<()> {
        // What was set aside and not used.
        self.file.set_len(self.length)?;
        self.file.sync_all()?;
        let name = if matches!(end, End::Eof) { EOF } else { UNTERMINATED };
        mark(&self.folder, OPEN, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(session: &str) -> Head {
        Head {
            session: session.to_owned(),
            user: "ann".to_owned(),
            metadata: BTreeMap::new(),
            source: SessionSource::default(),
            started_at: "2026-03-01T12:00:00Z".to_owned(),
            base: 0,
        }
    }

    #[test]
    fn a_connection_is_found_as_it_was_left_and_what_was_open_is_unterminated() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("spool");
        let (spool, found) = ConnectionSpool::open(folder.clone()).unwrap();
        assert!(found.connections.is_empty() && found.unread.is_empty());
        for (name, end) in [("closed", Some(End::Eof)), ("broken", None)] {
            let (mut writer, _) = spool.begin(head(name)).unwrap();
            writer.make_room(100_000).unwrap();
            writer.write(b"some").unwrap();
            writer.write(b"thing").unwrap();
            if let Some(end) = end {
                writer.end(end).unwrap();
            }
        }
        let (_, gone) = spool.begin(head("gone")).unwrap();
        spool.remove(&gone.name).unwrap();
        spool.remove(&gone.name).unwrap();
        spool.begin(head("empty")).unwrap();
        fs::create_dir(folder.join(".new-half")).unwrap();
        fs::create_dir(folder.join("strange")).unwrap();
        drop(spool);
        let (_spool, mut found) = ConnectionSpool::open(folder.clone()).unwrap();
        found.connections.sort_by(|one, other| one.name.cmp(&other.name));
        let told: Vec<_> = found
            .connections
            .iter()
            .map(|found| (found.name.as_str(), *found.end.lock(), found.waiting()))
            .collect();
        assert_eq!(told, [("broken", Some(End::Unterminated), 9), ("closed", Some(End::Eof), 9)]);
        assert!(!folder.join(".new-half").exists() && !folder.join("empty").exists());
        assert_eq!(found.unread.len(), 1);
        assert!(found.unread[0].contains("strange"), "{:?}", found.unread);
    }

    #[test]
    fn what_was_sent_is_freed_and_stays_sent() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("spool");
        let (spool, _) = ConnectionSpool::open(folder.clone()).unwrap();
        let (mut writer, spooled) = spool.begin(head("long")).unwrap();
        writer.write(&vec![7; 1 << 20]).unwrap();
        writer.sync().unwrap();
        spooled.durable.store(1 << 20, Ordering::Release);
        assert_eq!(spooled.note_sent(1_000_000), 1_000_000);
        assert_eq!(spooled.note_sent(900_000), 0);
        let file = spool.bytes(&spooled).unwrap();
        spool.free(&spooled, &file, 2 << 20).unwrap();
        assert_eq!(spooled.freed(), 0, "it is not worth it yet");
        spool.free(&spooled, &file, 1).unwrap();
        let freed = 1_000_000 - 1_000_000 % BLOCK;
        assert_eq!(spooled.freed(), freed);
        let mut last = vec![0; (1 << 20) - 1_000_000];
        file.read_exact_at(&mut last, 1_000_000).unwrap();
        assert!(last.iter().all(|byte| *byte == 7));
        drop(spool);
        let (_spool, found) = ConnectionSpool::open(folder).unwrap();
        assert_eq!(found.connections[0].freed(), freed);
        assert_eq!(found.connections[0].waiting(), (1 << 20) - freed);
    }
}
