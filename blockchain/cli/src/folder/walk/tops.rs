//! The paths that a user named, and where they stand in the archive.
//!
//! One path that is given alone is the top of its archive. Several stand at their absolute paths, so that their
//! names cannot clash, and the folders on the way to them are entries without other content.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lucid_core::catalogue::{folder_prefix, path_key, path_order};
use lucid_core::manifest::{PATHS_AND_TAGS_BYTES_MAX, PATHS_MAX};

use crate::folder::path::absolute;

/// What is archived.
#[derive(Debug, Clone)]
pub enum Sources {
    /// One folder, whose content stands at the top of the archive, or one file.
    Whole(PathBuf),
    /// Any number of paths, each at its absolute path.
    Each(Vec<PathBuf>),
}

impl From<&Path> for Sources {
    fn from(path: &Path) -> Self {
        Self::Whole(path.to_owned())
    }
}

impl From<&PathBuf> for Sources {
    fn from(path: &PathBuf) -> Self {
        Self::Whole(path.clone())
    }
}

impl Sources {
    /// The paths, as they were given.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Whole(path) => std::slice::from_ref(path),
            Self::Each(paths) => paths,
        }
    }

    /// The paths that a manifest has room for, and leaves some to tags: of a long list the folders that its paths
    /// are in, as near as fits.
    pub fn origins(&self) -> Vec<PathBuf> {
        let mut fitting = self.paths().to_vec();
        let depth = |path: &PathBuf| path.components().count();
        let bytes = |path: &PathBuf| path.as_os_str().len();
        let fits = |paths: &[PathBuf]| {
            paths.len() <= PATHS_MAX
                && paths.iter().map(bytes).sum::<usize>() <= PATHS_AND_TAGS_BYTES_MAX / 2
        };
        if self.paths().len() > 1 {
            fitting = fitting.iter().map(|path| absolute(path)).collect();
        }
        while !fits(&fitting) && fitting.iter().any(|path| depth(path) > 1) {
            let deepest = fitting.iter().map(depth).max();
            let raised = fitting.into_iter().map(|path| match path.parent() {
                Some(above) if Some(depth(&path)) == deepest => above.to_owned(),
                _ => path,
            });
            fitting = raised.collect::<BTreeSet<_>>().into_iter().collect();
        }
        fitting
    }
}

/// What a path in the archive means to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was not named.
    Plain,
    /// It leads to something that was named.
    Passage,
    /// It was named.
    Named,
}

/// Paths that were named, as they stand in the archive. Of an archive of one path there are none.
#[derive(Debug, Default)]
pub(super) struct Tops {
    /// In the order of the catalogue, each once.
    paths: Vec<Vec<u8>>,
}

impl Tops {
    /// Of paths as they were given.
    pub fn new(paths: &[PathBuf]) -> Self {
        let place = |path: &PathBuf| {
            let path = absolute(path);
            let bytes = path.as_os_str().as_bytes();
            bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
        };
        let mut paths: Vec<Vec<u8>> = paths.iter().map(place).collect();
        paths.sort_by(|a, b| path_order(a, b));
        paths.dedup();
        Self { paths }
    }

    /// What a path in the archive means.
    pub fn meaning(&self, path: &[u8]) -> Meaning {
        if self.paths.is_empty() {
            return Meaning::Plain;
        }
        let at = self.paths.partition_point(|named| path_order(named, path).is_lt());
        match self.paths.get(at) {
            Some(named) if named == path => Meaning::Named,
            // What is in a folder stands directly behind it.
            Some(named) if is_in(path, named) => Meaning::Passage,
            _ => Meaning::Plain,
        }
    }

    /// The paths that were named in a folder or below it.
    pub fn below<'a>(&'a self, folder: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let from = self.paths.partition_point(|named| path_order(named, folder).is_le());
        let behind = self.paths.get(from..).unwrap_or_default().iter().map(Vec::as_slice);
        behind.take_while(|named| is_in(folder, named))
    }

    /// The names in a folder that lead to them, in order, each once.
    pub fn names_in(&self, folder: &[u8]) -> Vec<Box<[u8]>> {
        let skip = folder.len() + usize::from(!folder.is_empty());
        let mut names: Vec<Box<[u8]>> = Vec::new();
        for named in self.below(folder) {
            let rest = named.get(skip..).unwrap_or_default();
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            if names.last().is_none_or(|last| **last != *name) {
                names.push(name.into());
            }
        }
        names
    }
}

fn is_in(folder: &[u8], path: &[u8]) -> bool {
    path != folder && path_key(path).starts_with(&folder_prefix(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tops(paths: &[&str]) -> Tops {
        Tops::new(&paths.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_path_is_named_leads_to_one_or_is_like_any_other() {
        let tops = tops(&["/a/b", "/a/b/c/d", "/a.x", "/a/b", "/e/"]);
        assert_eq!(tops.paths.len(), 4);
        for (path, wanted) in [
            ("", Meaning::Passage),
            ("a", Meaning::Passage),
            ("a/b", Meaning::Named),
            ("a/b/c", Meaning::Passage),
            ("a/b/c/d", Meaning::Named),
            ("a/b/c/d/e", Meaning::Plain),
            ("a/b.c", Meaning::Plain),
            ("a.x", Meaning::Named),
            ("e", Meaning::Named),
            ("f", Meaning::Plain),
        ] {
            assert_eq!(tops.meaning(path.as_bytes()), wanted, "{path}");
        }
        assert_eq!(Tops::default().meaning(b""), Meaning::Plain);
        let names = |folder: &str| -> Vec<String> {
            let names = tops.names_in(folder.as_bytes()).into_iter();
            names.map(|name| String::from_utf8(name.into_vec()).unwrap()).collect()
        };
        assert_eq!(names(""), ["a", "a.x", "e"]);
        assert_eq!(names("a"), ["b"]);
        assert_eq!(names("a/b"), ["c"]);
        assert_eq!(names("e"), Vec::<String>::new());
        let below: Vec<&[u8]> = tops.below(b"a").collect();
        assert_eq!(below, [&b"a/b"[..], b"a/b/c/d"]);
    }

    #[test]
    fn of_a_long_list_the_folders_are_named_that_its_paths_are_in() {
        let few = Sources::Each(vec![PathBuf::from("/b"), PathBuf::from("/a/c")]);
        assert_eq!(few.origins(), [PathBuf::from("/b"), PathBuf::from("/a/c")]);
        let list = (0..1000).map(|n| PathBuf::from(format!("/srv/{}/x/{n}", n % 3)));
        let many = Sources::Each(list.chain([PathBuf::from("/etc/hosts")]).collect());
        let wanted = ["/etc/hosts", "/srv/0/x", "/srv/1/x", "/srv/2/x"].map(PathBuf::from);
        assert_eq!(many.origins(), wanted);
        let long = Sources::Whole(PathBuf::from(format!("/{}", "a/".repeat(9_000))));
        assert_eq!(long.origins().len(), 1);
    }

    #[test]
    fn the_root_may_be_named_itself() {
        let tops = tops(&["/", "/a"]);
        assert_eq!(tops.meaning(b""), Meaning::Named);
        assert_eq!(tops.meaning(b"a"), Meaning::Named);
    }
}
