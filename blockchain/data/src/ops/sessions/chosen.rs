//! What is taken out of an archived folder: some paths, and everything below them.
//!
//! Both ways out ask it what an entry becomes: restoring into a folder, and [`crate::ops::sessions::write_tar`].
//! Invariant: a further name of a file is never left without the file. If the first name stays behind,
//! the first of the names that come along stands in for it, with the bytes and all that is known of the
//! file, and the others lead to that.

use std::collections::{HashMap, HashSet};

use lucid_core::catalogue::{Entry, EntryKind};

use crate::ops::OpError;
use crate::ops::sessions::read_session::find_entry;
use crate::source::SessionSource;

/// Some paths of a session, or all of it.
pub struct Chosen {
    paths: Vec<Vec<u8>>,
    /// What was named and comes along with another.
    covered: Vec<Vec<u8>>,
    /// Names that stand in, by the first name.
    stand_ins: HashMap<Vec<u8>, Vec<u8>>,
}

impl Chosen {
    /// These and everything below them; no paths means everything. What is named twice, or below another
    /// one, comes once.
    pub fn new(paths: &[Vec<u8>]) -> Self {
        if paths.is_empty() {
            return Self::new(&[Vec::new()]);
        }
        let named: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let comes_along = |path: &[u8]| {
            let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            let above = |(at, _): (usize, _)| path.get(..at).is_some_and(|up| named.contains(up));
            !path.is_empty() && (named.contains(&b""[..]) || slashes.any(above))
        };
        let mut told = HashSet::new();
        let once = paths.iter().filter(|path| told.insert(path.as_slice())).cloned();
        let (covered, paths) = once.partition(|path| comes_along(path));
        Self { paths, covered, stand_ins: HashMap::new() }
    }

    /// What is visited, one after the other; the empty path is everything.
    pub fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }

    /// Of what was named and comes along with another, that which is not there.
    pub fn absent(&self, source: &dyn SessionSource) -> Result<Vec<Vec<u8>>, OpError> {
        let mut absent = Vec::new();
        for path in &self.covered {
            match find_entry(source, path) {
                Ok(None) => absent.push(path.clone()),
                Ok(Some(_)) => {}
                // A visit of the path above it comes upon the damage.
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(absent)
    }

    fn holds(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|below| {
            below.is_empty()
                || path == below.as_slice()
                || path.strip_prefix(below.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
        })
    }

    /// An entry below the paths, as it comes out, with ACLs as version 2 has them. Give them in the order in which they come out.
    pub fn settle(&mut self, source: &dyn SessionSource, entry: Entry) -> Result<Entry, OpError> {
        let entry = entry.with_acls();
        if entry.kind != EntryKind::HardLink || self.holds(&entry.target) {
            return Ok(entry);
        }
        match self.stand_ins.get(&entry.target) {
            Some(first) if *first != entry.path => {
                return Ok(Entry { target: first.clone(), ..entry });
            }
            _ => {}
        }
        let first = find_entry(source, &entry.target)?.map(|(first, _)| first);
        // A symbolic link may have several names, too.
        let has_names = |first: &Entry| matches!(first.kind, EntryKind::File | EntryKind::Symlink);
        let Some(first) = first.filter(has_names) else {
            return Err(OpError::Unsound("the catalogue: a link leads to no file".to_owned()));
        };
        self.stand_ins.insert(entry.target, entry.path.clone());
        Ok(Entry { path: entry.path, ..first.with_acls() })
    }
}
