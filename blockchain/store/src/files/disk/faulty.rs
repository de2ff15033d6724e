//! A disk that fails, over any other: bad sectors, calls that the system refuses or never answers, short and
//! slow reads.
//!
//! Tests put it under a store. Rules are added while the store is open, and count what they did.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use super::{Disk, DiskFile, PathError};
use crate::files::room::Space;

/// A call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Making a file or a folder.
    Create,
    /// Opening a file.
    Open,
    /// Listing a folder.
    List,
    /// Reading.
    Read,
    /// Appending.
    Append,
    /// Cutting.
    Truncate,
    /// Syncing a file or a folder.
    Sync,
    /// Renaming or removing.
    Name,
    /// Asking how much room there is.
    Space,
}

#[derive(Debug)]
enum Rule {
    /// Reads that touch these bytes of this file fail.
    Bad { path: String, bytes: Range<u64>, errno: Errno },
    /// Calls of a kind on paths that contain this fail, after `good` that do not and for `times`.
    Refuse { call: Call, part: String, errno: Errno, good: usize, times: usize },
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    /// A read gives at most so many bytes.
    short: Option<usize>,
    delay: Option<Duration>,
    /// Calls on paths that contain one of these wait.
    hanging: Vec<String>,
    /// How many wait.
    waiting: usize,
    failed: usize,
    calls: usize,
    bytes: u64,
    /// Files that are open, and the most that were.
    open: usize,
    open_most: usize,
}

/// A disk that fails as it is told to.
#[derive(Clone)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    state: Arc<Mutex<State>>,
    repaired: Arc<Condvar>,
}

impl FaultyDisk {
    /// Fails nowhere yet.
    pub fn over(inner: Arc<dyn Disk>) -> Self {
        Self { inner, state: Arc::default(), repaired: Arc::default() }
    }

    /// Lets reads fail that touch these bytes of this file, for good.
    pub fn break_bytes(&self, path: &str, bytes: Range<u64>, errno: Errno) {
        self.state.lock().rules.push(Rule::Bad { path: path.to_owned(), bytes, errno });
    }

    /// Lets calls fail on paths that contain `part`: `good` pass, then `times` fail.
    pub fn refuse(&self, call: Call, part: &str, errno: Errno, good: usize, times: usize) {
        let part = part.to_owned();
        self.state.lock().rules.push(Rule::Refuse { call, part, errno, good, times });
    }

    /// Lets no read give more than so many bytes.
    pub fn shorten_reads(&self, bytes: usize) {
        self.state.lock().short = Some(bytes.max(1));
    }

    /// Lets every call take so long at least.
    pub fn delay(&self, by: Duration) {
        self.state.lock().delay = Some(by);
    }

    /// Lets calls on paths that contain `part` wait until the disk is repaired.
    pub fn hang(&self, part: &str) {
        self.state.lock().hanging.push(part.to_owned());
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Fails no more, and hangs no more.
    pub fn repair(&self) {
        let mut state = self.state.lock();
        (state.rules, state.short, state.delay) = (Vec::new(), None, None);
        state.hanging.clear();
        self.repaired.notify_all();
    }

    /// How many calls failed.
    pub fn failed(&self) -> usize {
        self.state.lock().failed
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.state.lock().calls
    }

    /// How many bytes were asked for.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.state.lock().open
    }

    /// How many files were open at once, at most, since this was asked last.
    pub fn open_most(&self) -> usize {
        let mut state = self.state.lock();
        let open = state.open;
        std::mem::replace(&mut state.open_most, open)
    }

    fn call(&self, call: Call, path: &str, reading: Option<Range<u64>>) -> io::Result<()> {
        let (delay, errno) = {
            let mut state = self.state.lock();
            state.calls += 1;
            while state.hanging.iter().any(|part| path.contains(part.as_str())) {
                state.waiting += 1;
                self.repaired.wait(&mut state);
                state.waiting -= 1;
            }
            state.bytes += reading.as_ref().map_or(0, |read| read.end - read.start);
            let errno = state.rules.iter_mut().find_map(|rule| rule.errno(call, path, &reading));
            state.failed += usize::from(errno.is_some());
            (state.delay, errno)
        };
        if let Some(delay) = delay {
            std::thread::sleep(delay);
        }
        errno.map_or(Ok(()), |errno| Err(PathError::io(path, errno.into())))
    }

    fn file(&self, path: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let mut state = self.state.lock();
        state.open += 1;
        state.open_most = state.open_most.max(state.open);
        Arc::new(FaultyFile { disk: self.clone(), path: path.to_owned(), file })
    }
}

impl Rule {
    /// With what this call fails, if it does.
    fn errno(&mut self, made: Call, at: &str, reading: &Option<Range<u64>>) -> Option<Errno> {
        match self {
            Self::Bad { path, bytes, errno } => {
                let read = reading.as_ref()?;
                let touches = read.start < bytes.end && bytes.start < read.end;
                (at == path && touches).then_some(*errno)
            }
            Self::Refuse { call, part, errno, good, times } => {
                if *call != made || !at.contains(part.as_str()) {
                    return None;
                }
                if *good > 0 {
                    *good -= 1;
                    return None;
                }
                *times = times.checked_sub(1)?;
                Some(*errno)
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.call(Call::Create, path, None)?;
        Ok(self.file(path, self.inner.create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        self.call(Call::Open, path, None)?;
        Ok(self.inner.open(path)?.map(|file| self.file(path, file)))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.call(Call::Create, path, None)?;
        self.inner.create_folder(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(Call::Name, from, None)?;
        self.inner.rename(from, to)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.call(Call::Name, path, None)?;
        self.inner.unlink(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.call(Call::Sync, path, None)?;
        self.inner.sync_folder(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.call(Call::List, path, None)?;
        self.inner.list(path)
    }

    fn space(&self, path: &str) -> io::Result<Space> {
        self.call(Call::Space, path, None)?;
        self.inner.space(path)
    }

    fn set_aside(&self, path: &str, bytes: u64) -> io::Result<()> {
        self.call(Call::Space, path, None)?;
        self.inner.set_aside(path, bytes)
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    path: String,
    file: Arc<dyn DiskFile>,
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        self.disk.state.lock().open -= 1;
    }
}

impl DiskFile for FaultyFile {
    fn append(&self, parts: &[&[u8]]) -> io::Result<()> {
        self.disk.call(Call::Append, &self.path, None)?;
        self.file.append(parts)
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.disk.state.lock().short.unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let reading = offset..offset.saturating_add(buffer.len() as u64);
        self.disk.call(Call::Read, &self.path, Some(reading))?;
        self.file.read_some(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(Call::Sync, &self.path, None)?;
        self.file.sync()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.call(Call::Truncate, &self.path, None)?;
        self.file.truncate(length)
    }
}
