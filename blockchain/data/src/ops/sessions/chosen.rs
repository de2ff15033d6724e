//! What is taken out of an archived folder: some paths, and everything below them, as patterns narrow that.
//!
//! Both ways out ask it what an entry becomes: restoring into a folder, and [`crate::ops::sessions::write_tar`].
//! Invariant: a further name of a file is never left without the file. If the first name stays behind,
//! the first of the names that come along stands in for it, with the bytes and all that is known of the
//! file, and the others lead to that.

use std::collections::{HashMap, HashSet};

use lucid_core::catalogue::{Entry, EntryKind};

use crate::ops::OpError;
use crate::ops::sessions::find_files::PathPattern;
use crate::ops::sessions::read_session::find_entry;
use crate::source::SessionSource;

/// Patterns that choose, besides paths that are named. A pattern holds what it matches and everything below that.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// What is wanted as if it was named.
    pub named: Vec<PathPattern>,
    /// Of that, nothing else, if there is any.
    pub included: Vec<PathPattern>,
    /// And nothing of this.
    pub excluded: Vec<PathPattern>,
}

impl Patterns {
    /// Whether there are none, so that nothing is narrowed.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.included.is_empty() && self.excluded.is_empty()
    }
}

/// Some paths of a session, or all of it.
pub struct Chosen {
    paths: Vec<Vec<u8>>,
    /// What is gone through for them: everything, where a pattern names what is wanted.
    visited: Vec<Vec<u8>>,
    patterns: Patterns,
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
        let (covered, paths): (_, Vec<Vec<u8>>) = once.partition(|path| comes_along(path));
        let (visited, patterns) = (paths.clone(), Patterns::default());
        Self { paths, visited, patterns, covered, stand_ins: HashMap::new() }
    }

    /// The same, as patterns narrow it, or with what they name besides.
    pub fn narrowed(paths: &[Vec<u8>], patterns: Patterns) -> Self {
        let chosen = Self::new(paths);
        if patterns.named.is_empty() {
            return Self { patterns, ..chosen };
        }
        // What is named is not gone to by itself, so whether it is there is asked for.
        let covered = paths.to_vec();
        let paths = if paths.is_empty() { Vec::new() } else { chosen.paths };
        Self { paths, visited: vec![Vec::new()], patterns, covered, ..Self::new(&[]) }
    }

    /// What is visited, one after the other; the empty path is everything. Of what is met there,
    /// [`leaves_out`](Self::leaves_out) says what stays behind.
    pub fn visits(&self) -> &[Vec<u8>] {
        &self.visited
    }

    /// Whether a path that is met on a visit stays behind.
    pub fn leaves_out(&self, path: &[u8]) -> bool {
        !self.patterns.is_empty() && !self.holds(path)
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
        let is_below = |below: &Vec<u8>| {
            below.is_empty()
                || path == below.as_slice()
                || path.strip_prefix(below.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
        };
        let any = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.holds(path));
        let Patterns { named, included, excluded } = &self.patterns;
        (self.paths.iter().any(is_below) || any(named))
            && (included.is_empty() || any(included))
            && !any(excluded)
    }

    /// An entry below the paths, as it comes out, with ACLs as version 2 has them. Give them in the order in which they
    /// come out.
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
