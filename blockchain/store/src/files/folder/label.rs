//! The few files that everything else hangs on: a title, `key: value` lines and a checksum, each file twice.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::files::disk::{self, Disk};
use crate::{Damage, StoreError};

/// The lines of a label file, some of which are secrets: they are wiped when dropped.
pub type Lines = BTreeMap<String, Zeroizing<String>>;

/// The name of a label file's second copy.
pub fn copy_name(name: &str) -> String {
    format!("{name}.copy")
}

/// Writes a label file and its copy: a title, `key: value` lines, and a checksum of all of it.
pub(super) fn write_label(
    disk: &dyn Disk,
    folder: &str,
    name: &str,
    title: &str,
    lines: &[(&str, Zeroizing<String>)],
) -> Result<(), StoreError> {
    let text = label_text(title, lines);
    for name in [copy_name(name), name.to_owned()] {
        disk::replace(disk, folder, &name, text.as_bytes())
            .map_err(StoreError::io(format!("writing {name}")))?;
    }
    Ok(())
}

pub(super) fn label_text(title: &str, lines: &[(&str, Zeroizing<String>)]) -> Zeroizing<String> {
    // As long as it will be: what grows leaves copies behind that nobody wipes.
    let length: usize = lines.iter().map(|(key, value)| key.len() + value.len() + 3).sum();
    let mut text = Zeroizing::new(String::with_capacity(title.len() + length + 64));
    text.push_str(title);
    text.push('\n');
    for (key, value) in lines {
        for part in [key, ": ", value.as_str(), "\n"] {
            text.push_str(part);
        }
    }
    let sum = label_checksum(&text);
    for part in ["checksum: ", &sum, "\n"] {
        text.push_str(part);
    }
    text
}

fn label_checksum(covered: &str) -> String {
    blake3::hash(covered.as_bytes()).to_hex().chars().take(32).collect()
}

/// Reads one copy of a label file.
pub fn parse_label(text: &str, title: &str) -> Result<Lines, &'static str> {
    let at = text.rfind("checksum: ").ok_or("the file is cut short")?;
    let (covered, sum) = text.split_at_checked(at).ok_or("the file is cut short")?;
    if sum != format!("checksum: {}\n", label_checksum(covered)) {
        return Err("the file does not match its checksum");
    }
    let mut lines = covered.lines();
    if lines.next() != Some(title) {
        return Err("the file is of another kind, or of a newer version of Lucid");
    }
    Ok(lines
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_owned(), Zeroizing::new(value.to_owned())))
        .collect())
}

/// Reads whichever copy is sound, and names the one that is not.
pub(super) fn read_label(
    disk: &dyn Disk,
    folder: &str,
    name: &str,
    title: &str,
    damage: &mut Vec<Damage>,
) -> Result<Lines, StoreError> {
    let mut sound = None;
    let mut why = Vec::new();
    for name in [name.to_owned(), copy_name(name)] {
        match read_copy(disk, &disk::join(folder, &name), title)? {
            Ok(lines) => sound = sound.or(Some(lines)),
            Err(fault) => {
                why.push(fault.to_string());
                damage.push(fault);
            }
        }
    }
    sound.ok_or_else(|| {
        StoreError::Folder(format!("{}; put one of them back from a copy", why.join(", and ")))
    })
}

/// Reads one copy: its lines, or what is wrong with it.
pub fn read_copy(
    disk: &dyn Disk,
    path: &str,
    title: &str,
) -> Result<Result<Lines, Damage>, StoreError> {
    let bytes = disk::read_all(disk, path).map_err(StoreError::io(format!("reading {path}")))?;
    let Some(bytes) = bytes else {
        return Ok(Err(Damage::new(path, 0, "the file is missing")));
    };
    let bytes = Zeroizing::new(bytes);
    let parsed = std::str::from_utf8(&bytes)
        .map_err(|_| "the file is not text")
        .and_then(|text| parse_label(text, title));
    Ok(parsed.map_err(|why| Damage::new(path, 0, why)))
}
