//! The rules of paths inside a tree: which are sound, how they are ordered, joined and split.
//!
//! Called by everything in [`folder`](super). Invariant: a path that [`check`] accepts consists
//! of plain names only, so following it from a folder, without following links, stays inside.

use std::cmp::Ordering;

use thiserror::Error;

/// Why a path must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathFault {
    /// It begins with a slash.
    #[error("it is absolute")]
    Absolute,
    /// Two slashes meet, or one ends it.
    #[error("a part of it is empty")]
    EmptyPart,
    /// A part is `.` or `..`.
    #[error("a part of it is \".\" or \"..\"")]
    Dots,
    /// It holds a zero byte.
    #[error("it holds a zero byte")]
    Zero,
}

/// Accepts the empty path (the folder itself) and paths of plain names.
pub fn check(path: &[u8]) -> Result<(), PathFault> {
    if path.is_empty() {
        return Ok(());
    }
    if path.first() == Some(&b'/') {
        return Err(PathFault::Absolute);
    }
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" => return Err(PathFault::EmptyPart),
            b"." | b".." => return Err(PathFault::Dots),
            _ if part.contains(&0) => return Err(PathFault::Zero),
            _ => {}
        }
    }
    Ok(())
}

/// Compares paths part by part, in bytes: the order of every catalogue.
///
/// A folder comes right before what is in it. This is not the order of the whole byte strings:
/// there, `a-b` would stand between `a` and `a/b`.
#[must_use]
pub fn path_order(left: &[u8], right: &[u8]) -> Ordering {
    // The empty path has no parts, but splitting it gives one empty part.
    match (left.is_empty(), right.is_empty()) {
        (false, false) => {
            let slash = |byte: &u8| *byte == b'/';
            left.split(slash).cmp(right.split(slash))
        }
        (left, right) => right.cmp(&left),
    }
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
    fn only_plain_names_are_sound() {
        for good in ["", "a", "a/b", "...", "a/..b", " ", "a\nb"] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        assert_eq!(check(b"/a"), Err(PathFault::Absolute));
        assert_eq!(check(b"a//b"), Err(PathFault::EmptyPart));
        assert_eq!(check(b"a/"), Err(PathFault::EmptyPart));
        assert_eq!(check(b"a/../b"), Err(PathFault::Dots));
        assert_eq!(check(b"."), Err(PathFault::Dots));
        assert_eq!(check(b"a\0"), Err(PathFault::Zero));
    }

    #[test]
    fn a_folder_comes_before_its_contents_and_they_stay_together() {
        let mut paths: Vec<&[u8]> = vec![b"a-b", b"a/b", b"a", b"", b"a/b/c", b"a.b", b"b"];
        paths.sort_by(|left, right| path_order(left, right));
        let expected: Vec<&[u8]> = vec![b"", b"a", b"a/b", b"a/b/c", b"a-b", b"a.b", b"b"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn splitting_undoes_joining() {
        assert_eq!(split(&join(b"a/b", b"c")), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(&join(b"", b"c")), (&b""[..], &b"c"[..]));
    }
}
