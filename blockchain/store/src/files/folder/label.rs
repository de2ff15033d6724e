//! The few files that everything else hangs on: a title, `key: value` lines and a checksum, each file twice.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::contract::lock::{CreateError, Created, Lock};
use crate::files::disk::{self, Disk};
use crate::{Damage, StoreError};

/// The lines of a label file, some of which are secrets: they are wiped when dropped.
pub type Lines = BTreeMap<String, Zeroizing<String>>;

/// The name of a label file's second copy.
pub fn copy_name(name: &str) -> String {
    format!("{name}.copy")
}

/// The label files of a folder as a [`Lock`]: a value is the text without the checksum. The folder's own lock
/// keeps other processes out, so a mutex is enough to let one `create` run at a time.
pub(crate) struct Labels<'a> {
    disk: &'a dyn Disk,
    one_at_a_time: Mutex<()>,
}

impl<'a> Labels<'a> {
    pub(crate) fn new(disk: &'a dyn Disk) -> Self {
        Self { disk, one_at_a_time: Mutex::new(()) }
    }

    /// The value that one of the two copies holds; none if neither is there.
    fn value(&self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let mut why = Vec::new();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let names = self.disk.list(folder).map_err(StoreError::io(format!("listing {folder}/")))?;
        for name in [name.to_owned(), copy_name(name)] {
            if !names.contains(&name) {
                continue;
            }
            let path = disk::join(folder, &name);
            let bytes = disk::read_all(self.disk, &path)
                .map_err(StoreError::io(format!("reading {path}")))?;
            let bytes = Zeroizing::new(bytes.unwrap_or_default());
            match covered(&bytes) {
                Ok(value) => return Ok(Some(Zeroizing::new(value.to_vec()))),
                Err(fault) => why.push(Damage::new(&path, 0, fault).to_string()),
            }
        }
        match why.is_empty() {
            true => Ok(None),
            false => Err(neither(&why)),
        }
    }
}

impl Lock for Labels<'_> {
    fn create(&self, path: &str, value: &[u8]) -> Result<Created, CreateError> {
        let _one = self.one_at_a_time.lock();
        let there = self.value(path).map_err(CreateError::Not)?;
        let text = with_checksum(there.as_deref().map_or(value, Vec::as_slice));
        // An earlier value is written again: its writer may have died before it was durable.
        write_both(self.disk, path, &text).map_err(|error| match (&there, error) {
            (Some(_), CreateError::Maybe(why)) => CreateError::Not(why),
            (_, error) => error,
        })?;
        Ok(there.map_or(Created::Here, Created::There))
    }

    fn read(&self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.value(path)
    }
}

/// Writes a label file and its copy: a title, `key: value` lines, and a checksum of all of it.
pub(super) fn write_label(
    disk: &dyn Disk,
    folder: &str,
    name: &str,
    title: &str,
    lines: &[(&str, Zeroizing<String>)],
) -> Result<(), StoreError> {
    let text = with_checksum(label_value(title, lines).as_bytes());
    Ok(write_both(disk, &disk::join(folder, name), &text)?)
}

/// Writes a file's copy, and then the file itself.
fn write_both(disk: &dyn Disk, path: &str, text: &[u8]) -> Result<(), CreateError> {
    let mut failed: fn(StoreError) -> CreateError = CreateError::Not;
    for path in [copy_name(path), path.to_owned()] {
        let prepared = disk::prepare(disk, &path, text);
        let fresh = prepared.map_err(StoreError::io(format!("writing {path}"))).map_err(failed)?;
        // From here on a reader may find the value.
        failed = CreateError::Maybe;
        disk::put_in_place(disk, &fresh, &path)
            .map_err(StoreError::io(format!("writing {path}")))
            .map_err(failed)?;
    }
    Ok(())
}

/// A title and `key: value` lines.
pub(super) fn label_value(title: &str, lines: &[(&str, Zeroizing<String>)]) -> Zeroizing<String> {
    // As long as it will be: what grows leaves copies behind that nobody wipes.
    let length: usize = lines.iter().map(|(key, value)| key.len() + value.len() + 3).sum();
    let mut text = Zeroizing::new(String::with_capacity(title.len() + length + 1));
    text.push_str(title);
    text.push('\n');
    for (key, value) in lines {
        for part in [key, ": ", value.as_str(), "\n"] {
            text.push_str(part);
        }
    }
    text
}

/// What the last line begins with.
const CHECKSUM: &[u8] = b"checksum: ";

/// A value, and the line that vouches for it.
pub(super) fn with_checksum(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let sum = checksum(value);
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(value.len() + CHECKSUM.len() + sum.len() + 1));
    for part in [value, CHECKSUM, sum.as_bytes(), b"\n"] {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn checksum(value: &[u8]) -> String {
    blake3::hash(value).to_hex().chars().take(32).collect()
}

/// What the last line vouches for.
fn covered(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let at = bytes.windows(CHECKSUM.len()).rposition(|window| window == CHECKSUM);
    let split = at.and_then(|at| bytes.split_at_checked(at));
    let (value, sum) = split.ok_or("the file is cut short")?;
    let wanted = [CHECKSUM, checksum(value).as_bytes(), b"\n"].concat();
    if sum != wanted {
        return Err("the file does not match its checksum");
    }
    Ok(value)
}

/// Reads one copy of a label file.
pub fn parse_label(text: &str, title: &str) -> Result<Lines, &'static str> {
    label_lines(covered(text.as_bytes())?, title)
}

/// What is wrong with a file that nothing is wrong with.
const NEWER: &str = "the file was written by a newer version of Lucid";

/// Whether a title is the one of a later version of the same file.
fn is_newer(found: &str, title: &str) -> bool {
    let version = |title: &str, name: &str| title.strip_prefix(name)?.parse::<u32>().ok();
    let name = title.trim_end_matches(|letter: char| letter.is_ascii_digit());
    version(found, name).is_some_and(|found| Some(found) > version(title, name))
}

/// The lines below the title.
pub(super) fn label_lines(value: &[u8], title: &str) -> Result<Lines, &'static str> {
    let mut lines = std::str::from_utf8(value).map_err(|_| "the file is not text")?.lines();
    let found = lines.next().unwrap_or_default();
    if found != title {
        return Err(if is_newer(found, title) { NEWER } else { "the file is of another kind" });
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
    sound.ok_or_else(|| neither(&why))
}

/// What is wrong with both copies.
pub(super) fn neither(why: &[String]) -> StoreError {
    StoreError::Folder(format!("{}; put one of them back from a copy", why.join(", and ")))
}

/// Reads one copy: its lines, or what is wrong with it. One of a newer version is not damaged, and must not be
/// healed from the other: nothing else is read then.
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
    match parsed {
        Err(NEWER) => Err(StoreError::newer(path)),
        parsed => Ok(parsed.map_err(|why| Damage::new(path, 0, why))),
    }
}
