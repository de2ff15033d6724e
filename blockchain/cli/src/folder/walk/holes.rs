//! Where a file takes no room on its disk.
//!
//! Found by `SEEK_HOLE` and `SEEK_DATA`, before the file is read. That alone is not believed: file systems
//! have been wrong about it, and a file may be written to meanwhile. Invariant: what [`Holes::within`]
//! gives back was read, and nothing but zeros was read there; so content and holes never contradict each
//! other, and restoring holes loses nothing.

use std::{fs::File, io};

use lucid_core::catalogue::{HOLES_MAX, Hole};
use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

/// The holes of a file, while it is read.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    /// In order. One in which something was read has no length.
    found: Vec<Hole>,
    /// The first that was not read to its end.
    next: usize,
}

impl Holes {
    /// Asks for the holes of a file. It has none where its file system does not tell.
    pub(crate) fn find(file: &File, size: u64) -> io::Result<Self> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < size {
            let Some(offset) = next(file, SeekFrom::Hole(at))?.filter(|offset| *offset < size)
            else {
                break;
            };
            // Behind the last data there is one hole up to the end.
            let end = next(file, SeekFrom::Data(offset))?.map_or(size, |end| end.min(size));
            if end > offset {
                found.push(Hole { offset, length: end - offset });
            }
            at = end.max(offset + 1);
            if found.len() >= 2 * HOLES_MAX {
                keep_largest(&mut found);
            }
        }
        keep_largest(&mut found);
        Ok(Self { found, next: 0 })
    }

    /// Holds the holes against what was read, which comes in order.
    pub(crate) fn hold_against(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        while let Some(hole) = self.found.get_mut(self.next).filter(|hole| hole.offset < end) {
            let hole_end = hole.offset + hole.length;
            let part =
                |at: u64| usize::try_from(at.clamp(offset, end) - offset).unwrap_or(usize::MAX);
            let read = bytes.get(part(hole.offset)..part(hole_end)).unwrap_or(bytes);
            if !are_zeros(read) {
                hole.length = 0;
            }
            if hole_end > end {
                break;
            }
            self.next += 1;
        }
    }

    /// The holes in the bytes that were read.
    pub(crate) fn within(self, length: u64) -> Vec<Hole> {
        let mut found = self.found;
        found.retain_mut(|hole| {
            hole.length = hole.length.min(length.saturating_sub(hole.offset));
            hole.length > 0
        });
        found
    }
}

/// The next hole, or the next data; `None` if there is none.
fn next(file: &File, from: SeekFrom) -> io::Result<Option<u64>> {
    match seek(file, from) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn keep_largest(holes: &mut Vec<Hole>) {
    if holes.len() > HOLES_MAX {
        holes.sort_unstable_by_key(|hole| std::cmp::Reverse(hole.length));
        holes.truncate(HOLES_MAX);
        holes.sort_unstable_by_key(|hole| hole.offset);
    }
}

/// In stretches that a processor compares at once.
fn are_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(found: &[(u64, u64)]) -> Holes {
        let found = found.iter().map(|(offset, length)| Hole { offset: *offset, length: *length });
        Holes { found: found.collect(), next: 0 }
    }

    fn kept(holes: Holes, length: u64) -> Vec<(u64, u64)> {
        holes.within(length).iter().map(|hole| (hole.offset, hole.length)).collect()
    }

    #[test]
    fn a_hole_in_which_something_is_read_is_none() {
        let bytes: Vec<u8> = (0..100).map(|at| u8::from((40..45).contains(&at))).collect();
        let all = [(0, 10), (20, 10), (30, 40), (80, 20)];
        for step in [1, 7, 10, 33, 100] {
            let mut holes = holes(&all);
            for (number, part) in bytes.chunks(step).enumerate() {
                holes.hold_against((number * step) as u64, part);
            }
            assert_eq!(kept(holes, 100), [(0, 10), (20, 10), (80, 20)], "step {step}");
        }
    }

    #[test]
    fn holes_end_where_reading_did() {
        assert_eq!(kept(holes(&[(0, 10), (20, 10), (40, 5)]), 25), [(0, 10), (20, 5)]);
        assert_eq!(kept(holes(&[(0, 10)]), 0), []);
    }

    #[test]
    fn of_too_many_holes_the_largest_are_kept() {
        let count = HOLES_MAX as u64 + 10;
        let mut many: Vec<_> = (0..count)
            .map(|at| Hole { offset: at * 100, length: if at < 10 { 1 } else { 50 } })
            .collect();
        keep_largest(&mut many);
        assert_eq!((many.len(), many[0].offset), (HOLES_MAX, 1000));
        assert!(many.is_sorted_by(|a, b| a.offset < b.offset));
    }
}
