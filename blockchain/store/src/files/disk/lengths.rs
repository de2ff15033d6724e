//! What folders of numbered files take up, without opening every file each time.
//!
//! Status and metrics ask for it again and again. Only the newest files of a folder grow: the others are
//! measured until they were found to be as they were, and remembered from then on.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;

use super::{Disk, is_media_error, join};

/// So many files of each kind, the newest, are measured every time.
const NEWEST: usize = 2;

/// Lengths that do not change any more, by path.
#[derive(Debug, Default)]
pub struct Lengths(Mutex<HashMap<String, Measured>>);

#[derive(Debug, Clone, Copy)]
struct Measured {
    length: u64,
    is_settled: bool,
}

impl Lengths {
    /// The bytes of all files in these folders together.
    pub fn total(&self, disk: &dyn Disk, folders: &[&str]) -> io::Result<u64> {
        let mut known = self.0.lock();
        let (mut seen, mut total) = (HashMap::new(), 0);
        for folder in folders {
            let names = disk.list(folder)?;
            // The newest come first.
            let mut kinds: HashMap<&str, usize> = HashMap::new();
            for name in names.iter().rev().filter(|name| !name.ends_with('/')) {
                let newer = kinds.entry(name.split_once('.').map_or("", |of| of.1)).or_default();
                let may_grow = *newer < NEWEST;
                *newer += 1;
                let path = join(folder, name);
                let before = known.get(&path).copied();
                let measured = match before {
                    Some(before) if before.is_settled && !may_grow => before,
                    _ => match disk.open(&path) {
                        // It may have been removed since it was listed.
                        Ok(None) => continue,
                        Ok(Some(file)) => {
                            let length = file.length()?;
                            let is_settled = before.is_some_and(|before| before.length == length);
                            Measured { length, is_settled }
                        }
                        // What cannot be read any more is not counted.
                        Err(error) if is_media_error(&error) => continue,
                        Err(error) => return Err(error),
                    },
                };
                total += measured.length;
                seen.insert(path, measured);
            }
        }
        *known = seen;
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::DiskFile;
    use super::super::simulated::SimulatedDisk;
    use super::*;
    use crate::files::room::Space;

    /// Counts how many files are opened.
    struct Counting(SimulatedDisk, AtomicUsize);

    impl Disk for Counting {
        fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
            self.0.create(path)
        }
        fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.open(path)
        }
        fn create_folder(&self, path: &str) -> io::Result<()> {
            self.0.create_folder(path)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn unlink(&self, path: &str) -> io::Result<()> {
            self.0.unlink(path)
        }
        fn sync_folder(&self, path: &str) -> io::Result<()> {
            self.0.sync_folder(path)
        }
        fn list(&self, path: &str) -> io::Result<Vec<String>> {
            self.0.list(path)
        }
        fn space(&self, path: &str) -> io::Result<Space> {
            self.0.space(path)
        }

        fn set_aside(&self, path: &str, bytes: u64) -> io::Result<()> {
            self.0.set_aside(path, bytes)
        }
    }

    #[test]
    fn only_files_that_may_have_grown_are_opened_and_the_sum_is_right() {
        let disk = Counting(SimulatedDisk::new(), AtomicUsize::new(0));
        let lengths = Lengths::default();
        for folder in ["log", "segments"] {
            disk.create_folder(folder).unwrap();
            for number in 0..50 {
                let file = disk.create(&format!("{folder}/{number:08}")).unwrap();
                file.append(&[&[1; 10]]).unwrap();
            }
        }
        let total = || {
            let before = disk.1.load(Ordering::SeqCst);
            let total = lengths.total(&disk, &["log", "segments"]).unwrap();
            (total, disk.1.load(Ordering::SeqCst) - before)
        };
        assert_eq!(total(), (1_000, 100));
        assert_eq!(total(), (1_000, 100));
        assert_eq!(total(), (1_000, 2 * NEWEST));
        disk.0.open("log/00000049").unwrap().unwrap().append(&[&[1; 5]]).unwrap();
        disk.unlink("segments/00000007").unwrap();
        disk.create("segments/00000050").unwrap().append(&[&[1; 3]]).unwrap();
        assert_eq!(total(), (998, 2 * NEWEST));
        assert_eq!(total(), (998, 2 * NEWEST));
    }
}
