//! Joins and splits paths inside a tree.
//!
//! Called by everything in [`folder`](super). Which paths are sound, and in which order they
//! stand, is the catalogue's to say ([`check_path`](lucid_core::catalogue::check_path)).

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
    fn splitting_undoes_joining() {
        assert_eq!(split(&join(b"a/b", b"c")), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(&join(b"", b"c")), (&b""[..], &b"c"[..]));
    }
}
