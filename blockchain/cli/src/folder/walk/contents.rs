//! What a folder says of its own content: that it is a store, that it is a cache, that it is not wanted, which
//! names are not.
//!
//! Asked by the scout when it enters a folder, with the names in it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lucid_store::files::folder::{STORE_TITLE, begins_label, labels};
use rustix::fs::OFlags;

use super::{open_reading, scout::Name};
use crate::folder::select::{Marker, Selection};

/// Where a folder says which names in it and below are not wanted.
const GIT_IGNORE: &[u8] = b".gitignore";
/// The most of it that is read: git's own bound for what it treats as text.
const GIT_IGNORE_BYTES_MAX: u64 = 100 << 20;

/// Whether a name is among those of a folder.
pub(super) fn has(names: &[Name], name: &[u8]) -> bool {
    names.binary_search_by(|(known, _)| (**known).cmp(name)).is_ok()
}

/// Whether the folder with these names is a store, by its label.
pub(super) fn is_store(folder: &File, names: &[Name]) -> bool {
    labels().iter().any(|label| {
        has(names, label.as_bytes())
            && open_reading(folder, label.as_bytes(), OFlags::empty()).is_ok_and(is_label)
    })
}

fn is_label(label: File) -> bool {
    let mut bytes = [0; STORE_TITLE.len()];
    label.read_exact_at(&mut bytes, 0).is_ok() && begins_label(&bytes)
}

/// The marker in a folder that says that the rest is not wanted, if one does.
pub(super) fn marker<'a>(
    selection: &'a Selection,
    folder: &File,
    names: &[Name],
) -> Option<&'a Marker> {
    selection.markers.iter().find(|marker| has(names, &marker.name) && begins(folder, marker))
}

fn begins(folder: &File, marker: &Marker) -> bool {
    if marker.header.is_empty() {
        return true;
    }
    let Ok(file) = open_reading(folder, marker.name.as_slice(), OFlags::NOFOLLOW) else {
        return false;
    };
    let mut head = Vec::new();
    let read = file.take(marker.header.len() as u64).read_to_end(&mut head);
    read.is_ok() && head == marker.header
}

/// What the `.gitignore` of a folder says, and why a line of it is passed over, if one is.
pub(super) fn ignores(folder: &File) -> Result<(Gitignore, Vec<String>), std::io::Error> {
    let file = open_reading(folder, GIT_IGNORE, OFlags::NOFOLLOW)?;
    let mut bytes = Vec::new();
    file.take(GIT_IGNORE_BYTES_MAX).read_to_end(&mut bytes)?;
    let (mut builder, mut passed_over) = (GitignoreBuilder::new(""), Vec::new());
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let added = match std::str::from_utf8(line) {
            Ok(line) => builder.add_line(None, line).map(|_| ()).map_err(|why| why.to_string()),
            Err(_) => Err("it is not UTF-8".to_owned()),
        };
        if let Err(why) = added {
            passed_over.push(format!("line {number} of its .gitignore is passed over: {why}"));
        }
    }
    let built = builder.build().map_err(std::io::Error::other)?;
    Ok((built, passed_over))
}

/// Whether a `.gitignore` is among names.
pub(super) fn has_ignores(names: &[Name]) -> bool {
    has(names, GIT_IGNORE)
}

/// What a folder's `.gitignore` says of a path below it: nothing, or whether it is not wanted.
pub(super) fn verdict(ignores: &Gitignore, below: &[u8], is_folder: bool) -> Option<bool> {
    match ignores.matched(Path::new(std::ffi::OsStr::from_bytes(below)), is_folder) {
        Match::None => None,
        Match::Ignore(_) => Some(true),
        Match::Whitelist(_) => Some(false),
    }
}
