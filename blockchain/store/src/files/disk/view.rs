//! A disk that is read and never written to.
//!
//! A folder on a read-only medium, or one that this process may only read, is opened through a [`View`].
//! Recovery cuts what is torn, removes what was begun and locks what is whole; in a view all of that happens in
//! memory, so what is seen is what a start would have made of the folder. Once the store is open the view is
//! settled: every later write is refused.
//!
//! Invariant: nothing here can change the disk beneath. [`beneath`] keeps it, and has no word for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use self::beneath::{Beneath, BeneathFile};
use super::{Disk, DiskFile};
use crate::files::room::Space;

/// The disk that is looked at: code that has this can read, and nothing else.
mod beneath {
    use std::io;
    use std::sync::Arc;

    use crate::files::disk::{Disk, DiskFile};
    use crate::files::room::Space;

    pub(super) struct Beneath(Arc<dyn Disk>);

    pub(super) struct BeneathFile(Arc<dyn DiskFile>);

    impl Beneath {
        pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
            Self(disk)
        }

        pub(super) fn open(&self, path: &str) -> io::Result<Option<BeneathFile>> {
            Ok(self.0.open(path)?.map(BeneathFile))
        }

        pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
            self.0.list(path)
        }

        pub(super) fn space(&self, path: &str) -> io::Result<Space> {
            self.0.space(path)
        }
    }

    impl BeneathFile {
        pub(super) fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read_some(offset, buffer)
        }

        pub(super) fn length(&self) -> io::Result<u64> {
            self.0.length()
        }
    }
}

/// Why nothing is written, and whether the time for changes in memory is over. The views of one store
/// share it.
#[derive(Debug)]
pub struct Settled {
    why: String,
    settled: AtomicBool,
}

impl Settled {
    /// Changes are still taken, and seen.
    pub fn not_yet(why: String) -> Arc<Self> {
        Arc::new(Self { why, settled: AtomicBool::new(false) })
    }

    /// From now on every write is refused.
    pub fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }

    fn allow(&self) -> io::Result<()> {
        if self.settled.load(Ordering::Acquire) { Err(self.refusal()) } else { Ok(()) }
    }

    fn refusal(&self) -> io::Error {
        io::Error::new(io::ErrorKind::ReadOnlyFilesystem, self.why.clone())
    }
}

/// What is seen in the place of what is there.
enum Change {
    /// The file is not seen any more.
    Gone,
    /// Its bytes from here on are not.
    Cut(Arc<AtomicU64>),
    /// A file that is not there.
    Made(Arc<Mutex<Vec<u8>>>),
}

/// What is on a disk, and what a start would have made of it.
pub struct View {
    beneath: Beneath,
    changes: Mutex<BTreeMap<String, Change>>,
    settled: Arc<Settled>,
}

impl View {
    /// Looks at this disk.
    pub fn of(disk: Arc<dyn Disk>, settled: Arc<Settled>) -> Self {
        Self { beneath: Beneath::new(disk), changes: Mutex::default(), settled }
    }

    fn made(&self, bytes: Arc<Mutex<Vec<u8>>>) -> Arc<dyn DiskFile> {
        Arc::new(MadeFile { bytes, settled: self.settled.clone() })
    }
}

impl Disk for View {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.settled.allow()?;
        if self.open(path)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        self.changes.lock().insert(path.to_owned(), Change::Made(bytes.clone()));
        Ok(self.made(bytes))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match self.changes.lock().get(path) {
            Some(Change::Gone) => return Ok(None),
            Some(Change::Made(bytes)) => return Ok(Some(self.made(bytes.clone()))),
            Some(Change::Cut(_)) | None => {}
        }
        // It may have to wait for a descriptor, and nobody is to wait for that besides.
        let Some(file) = self.beneath.open(path)? else { return Ok(None) };
        let whole = || Change::Cut(Arc::new(AtomicU64::new(u64::MAX)));
        let end = match self.changes.lock().entry(path.to_owned()).or_insert_with(whole) {
            Change::Gone => return Ok(None),
            Change::Made(bytes) => return Ok(Some(self.made(bytes.clone()))),
            Change::Cut(end) => end.clone(),
        };
        Ok(Some(Arc::new(ViewFile { file, end, settled: self.settled.clone() })))
    }

    /// A folder is there once something in it is.
    fn create_folder(&self, _: &str) -> io::Result<()> {
        self.settled.allow()
    }

    /// Only what was made here is renamed: nothing else is, while a store opens.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.settled.allow()?;
        let mut changes = self.changes.lock();
        let Some(Change::Made(bytes)) = changes.get(from) else {
            return Err(self.settled.refusal());
        };
        let bytes = bytes.clone();
        changes.insert(to.to_owned(), Change::Made(bytes));
        changes.insert(from.to_owned(), Change::Gone);
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.settled.allow()?;
        self.changes.lock().insert(path.to_owned(), Change::Gone);
        Ok(())
    }

    fn sync_folder(&self, _: &str) -> io::Result<()> {
        self.settled.allow()
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = self.beneath.list(path)?;
        for (changed, change) in self.changes.lock().iter() {
            let name = match (path, changed.rsplit_once('/')) {
                ("", None) => changed.as_str(),
                (folder, Some((parent, name))) if parent == folder => name,
                _ => continue,
            };
            match (change, names.iter().position(|found| found == name)) {
                (Change::Gone, Some(at)) => drop(names.remove(at)),
                (Change::Made(_), None) => names.push(name.to_owned()),
                _ => {}
            }
        }
        names.sort();
        Ok(names)
    }

    fn space(&self, path: &str) -> io::Result<Space> {
        self.beneath.space(path)
    }

    /// What is only looked at needs no room.
    fn set_aside(&self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn only_read(&self) -> Option<String> {
        Some(self.settled.why.clone())
    }
}

/// A file that is there, up to where it is seen.
struct ViewFile {
    file: BeneathFile,
    end: Arc<AtomicU64>,
    settled: Arc<Settled>,
}

impl DiskFile for ViewFile {
    fn append(&self, _: &[&[u8]]) -> io::Result<()> {
        Err(self.settled.refusal())
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let seen = self.end.load(Ordering::Acquire).saturating_sub(offset);
        let length = usize::try_from(seen).unwrap_or(usize::MAX).min(buffer.len());
        buffer.get_mut(..length).map_or(Ok(0), |buffer| self.file.read_some(offset, buffer))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.length()?.min(self.end.load(Ordering::Acquire)))
    }

    fn sync(&self) -> io::Result<()> {
        self.settled.allow()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.settled.allow()?;
        if length > self.length()? {
            return Err(self.settled.refusal());
        }
        self.end.fetch_min(length, Ordering::AcqRel);
        Ok(())
    }
}

/// A file that is not there, but would be.
struct MadeFile {
    bytes: Arc<Mutex<Vec<u8>>>,
    settled: Arc<Settled>,
}

impl DiskFile for MadeFile {
    fn append(&self, parts: &[&[u8]]) -> io::Result<()> {
        self.settled.allow()?;
        let mut bytes = self.bytes.lock();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(())
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes.lock();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(found)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(found);
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.settled.allow()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.settled.allow()?;
        self.bytes.lock().truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::disk::simulated::SimulatedDisk;
    use crate::files::disk::{read_all, replace};

    #[test]
    fn what_is_changed_is_seen_and_nothing_beneath_is() {
        let disk = SimulatedDisk::new();
        disk.create_folder("log").unwrap();
        for name in ["log/1", "log/2", "TIP"] {
            disk.create(name).unwrap().append(&[b"0123456789"]).unwrap();
        }
        let calls = disk.calls();
        let settled = Settled::not_yet("it is only read".into());
        let view = View::of(Arc::new(disk.clone()), settled.clone());
        let before = view.open("log/1").unwrap().unwrap();
        view.open("log/1").unwrap().unwrap().truncate(4).unwrap();
        assert_eq!(before.length().unwrap(), 4, "handles that were there see it");
        assert_eq!(read_all(&view, "log/1").unwrap().unwrap(), b"0123");
        assert!(before.truncate(5).is_err() && before.append(&[b"x"]).is_err());
        view.unlink("log/2").unwrap();
        replace(&view, "", "TIP", b"new").unwrap();
        replace(&view, "log", "3", b"three").unwrap();
        assert_eq!(read_all(&view, "TIP").unwrap().unwrap(), b"new");
        assert_eq!(view.list("log").unwrap(), ["1", "3"]);
        assert_eq!(view.list("").unwrap(), ["TIP", "log/"]);
        assert!(view.open("log/2").unwrap().is_none());
        assert!(view.create("log/1").is_err(), "it is there");
        assert!(view.rename("log/1", "log/4").is_err());

        settled.settle();
        let made = view.open("TIP").unwrap().unwrap();
        let refused = [
            view.create("log/9").map(drop),
            view.create_folder("x"),
            view.rename("TIP", "log/9"),
            view.unlink("TIP"),
            view.sync_folder(""),
            made.append(&[b"x"]),
            made.truncate(0),
            made.sync(),
            before.append(&[b"x"]),
            before.truncate(0),
            before.sync(),
        ];
        for outcome in refused {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
            assert_eq!(error.to_string(), "it is only read");
        }
        assert_eq!(read_all(&view, "TIP").unwrap().unwrap(), b"new");
        assert_eq!(disk.calls(), calls, "{:?}", disk.story(calls..disk.calls()));
    }
}
