//! Joins and splits paths inside a tree, and makes those of the user absolute.
//!
//! Called by everything in [`folder`](super). Which paths are sound, and in which order they
//! stand, is the catalogue's to say ([`check_path`](lucid_core::catalogue::check_path)).

use std::path::{Component, Path, PathBuf};

/// A path from the root on, without `.` and `..`. Symbolic links stay in it, but for those that a `..` goes
/// back over: what is above them is not where they stand.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut absolute = PathBuf::from("/");
    for part in whole.components() {
        match part {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute = absolute.canonicalize().unwrap_or(absolute);
                absolute.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    absolute
}

/// Puts a name under a folder's path.
#[must_use]
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Parts a path into its folder's path and its name.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            let (folder, rest) = path.split_at(slash);
            (folder, rest.get(1..).unwrap_or_default())
        }
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_goes_back_over_links_as_the_system_does() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("far/away")).unwrap();
        std::os::unix::fs::symlink("far/away", top.join("link")).unwrap();
        for (given, wanted) in [
            ("a/./b//c", "a/b/c"),
            ("link/x", "link/x"),
            ("link/../x", "far/x"),
            ("far/away/../../y", "y"),
            ("none/../z", "z"),
        ] {
            assert_eq!(absolute(&top.join(given)), top.join(wanted), "{given}");
        }
        assert_eq!(absolute(Path::new("/../..")), Path::new("/"));
        assert!(absolute(Path::new("x")).is_absolute());
    }

    #[test]
    fn splitting_undoes_joining() {
        assert_eq!(split(&join(b"a/b", b"c")), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(&join(b"", b"c")), (&b""[..], &b"c"[..]));
    }
}
