//! What of a tree is archived, and what is not because the user does not want it.
//!
//! The verb that archives makes a [`Selection`] of its options; the walk asks it about every name, before
//! anything of it is read. `pattern` says which paths a pattern takes, `lists` reads patterns and paths from files.
//! Invariant: what a selection excludes is a wish, and no loss: it is counted, and never makes an archive
//! incomplete.

pub mod lists;
pub mod pattern;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;

use self::pattern::{Components, Pattern};

/// The file by which a folder says that it is a cache, and how that file begins:
/// <https://bford.info/cachedir/>.
const CACHE_TAG: (&str, &[u8]) = ("CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
/// The longest beginning that a marker is compared with.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What is wanted of a tree. Without more, everything is.
#[derive(Debug, Default)]
pub struct Selection {
    /// Patterns of paths that are not wanted, in order: of those that take a path the last one counts.
    pub patterns: Vec<Pattern>,
    /// The same, regardless of case.
    pub patterns_of_any_case: Vec<Pattern>,
    /// Files that say of their folder that nothing else in it is wanted.
    pub markers: Vec<Marker>,
    /// How many bytes a file may have.
    pub largest: Option<u64>,
    /// Whether a walk stays on the file system that it began on.
    pub one_file_system: bool,
    /// Whether what `.gitignore` files name is not wanted.
    pub git_ignore: bool,
}

/// A file that says of its folder that nothing else in it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Its name.
    pub name: Vec<u8>,
    /// How it has to begin.
    pub header: Vec<u8>,
    /// What it says.
    pub says: Excluded,
}

/// Why something is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excluded {
    /// A pattern takes its path.
    #[error("a pattern excludes it")]
    Pattern,
    /// Its folder is a cache.
    #[error("what is in it is a cache, as its CACHEDIR.TAG says")]
    Cache,
    /// Its folder has a file that says so.
    #[error("a file in it says that the rest is not wanted (--exclude-if-present)")]
    Marked,
    /// It has more bytes than are wanted.
    #[error("it is larger than --exclude-larger-than allows")]
    Large,
    /// It is on another file system than the path that was named.
    #[error("it is on another file system")]
    OtherFileSystem,
    /// A `.gitignore` names it.
    #[error("a .gitignore names it")]
    GitIgnored,
}

/// How many paths were not wanted, and why. A folder counts once, regardless of what is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExcludedCounts {
    /// Taken by a pattern.
    pub patterns: u64,
    /// Folders that are caches: their content.
    pub caches: u64,
    /// Folders with a file that says so: their content.
    pub marked: u64,
    /// Files that are too large.
    pub large: u64,
    /// On another file system.
    pub other_file_systems: u64,
    /// Named by a `.gitignore`.
    pub git_ignored: u64,
}

impl ExcludedCounts {
    /// Counts one more.
    pub fn add(&mut self, why: Excluded) {
        let count = match why {
            Excluded::Pattern => &mut self.patterns,
            Excluded::Cache => &mut self.caches,
            Excluded::Marked => &mut self.marked,
            Excluded::Large => &mut self.large,
            Excluded::OtherFileSystem => &mut self.other_file_systems,
            Excluded::GitIgnored => &mut self.git_ignored,
        };
        *count += 1;
    }

    /// Each reason in a word or two, with how many there are.
    pub fn by_reason(&self) -> [(&'static str, u64); 6] {
        [
            ("by patterns", self.patterns),
            ("caches", self.caches),
            ("marked", self.marked),
            ("too large", self.large),
            ("on other file systems", self.other_file_systems),
            ("by .gitignore", self.git_ignored),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }
}

impl Marker {
    /// The tag of caches.
    pub fn of_caches() -> Self {
        let (name, header) = CACHE_TAG;
        Self { name: name.into(), header: header.to_vec(), says: Excluded::Cache }
    }

    /// Reads `NAME` or `NAME:HEADER`.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let at = text.iter().position(|byte| *byte == b':');
        let (name, header) = at.map_or((text, &[][..]), |at| {
            (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default())
        });
        if name.is_empty() || name.contains(&b'/') || matches!(name, b"." | b"..") {
            return Err("a name in a folder is wanted, or NAME:HEADER");
        }
        if header.len() > HEADER_BYTES_MAX {
            return Err("the header is too long");
        }
        Ok(Self { name: name.to_vec(), header: header.to_vec(), says: Excluded::Marked })
    }
}

impl Selection {
    /// Whether it has any patterns.
    pub fn has_patterns(&self) -> bool {
        !(self.patterns.is_empty() && self.patterns_of_any_case.is_empty())
    }

    /// Whether patterns exclude a path, which is absolute.
    pub fn excludes(&self, path: &[u8]) -> bool {
        let lists = [&self.patterns, &self.patterns_of_any_case];
        let path = Components::of(path, !self.patterns_of_any_case.is_empty());
        let hit = |list: &[Pattern]| {
            list.iter().fold(false, |hit, pattern| match pattern.is_negated() {
                true => hit && !pattern.takes(&path),
                false => hit || pattern.takes(&path),
            })
        };
        lists.iter().any(|list| hit(list))
    }

    /// What a file has to keep to, in a walk that began on this file system.
    pub fn bounds(&self, device: Option<u64>) -> Bounds {
        Bounds { largest: self.largest, device: device.filter(|_| self.one_file_system) }
    }
}

/// What a file has to keep to that only its inode tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    largest: Option<u64>,
    device: Option<u64>,
}

impl Bounds {
    /// Which bound a file breaks, if it breaks one.
    pub fn fault(&self, seen: &Metadata) -> Option<Excluded> {
        self.broken(seen.dev(), seen.size()).filter(|_| seen.is_file())
    }

    /// Whether they forbid a file of this size on this file system.
    pub fn forbid(&self, device: u64, size: u64) -> bool {
        self.broken(device, size).is_some()
    }

    fn broken(&self, device: u64, size: u64) -> Option<Excluded> {
        if self.device.is_some_and(|own| own != device) {
            return Some(Excluded::OtherFileSystem);
        }
        self.largest.is_some_and(|largest| size > largest).then_some(Excluded::Large)
    }
}

/// Reads a size: bytes, or with `k`, `m`, `g`, `t` so many KiB, MiB, GiB, TiB.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: 2048, 10k, 1.5M, 20G or 2T are");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = digits.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
    let bytes = number * 1024_f64.powi(power);
    // Beyond, not every number of bytes is one of these numbers.
    if bytes <= (1_u64 << 53) as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(patterns: &[&str], of_any_case: &[&str]) -> Selection {
        let parse = |texts: &[&str], any| {
            texts.iter().map(|text| Pattern::parse(text.as_bytes(), any).unwrap()).collect()
        };
        Selection {
            patterns: parse(patterns, false),
            patterns_of_any_case: parse(of_any_case, true),
            ..Selection::default()
        }
    }

    #[test]
    fn the_last_pattern_that_takes_a_path_counts() {
        // The selection of some folders of a home, as restic's manual has it.
        let of_home = selection(
            &["/home/ann/*", "!/home/ann/Documents", "!/home/ann/code", "node_modules", "*~"],
            &[],
        );
        for (path, wanted) in [
            ("/home/ann", false),
            ("/home/ann/Downloads", true),
            ("/home/ann/Downloads/x", true),
            ("/home/ann/Documents", false),
            ("/home/ann/Documents/a/b", false),
            ("/home/ann/Documents/a~", true),
            ("/home/ann/code/x/node_modules", true),
            ("/home/ann/code/x/node_modules/y", true),
            ("/home/bob/Downloads", false),
        ] {
            assert_eq!(of_home.excludes(path.as_bytes()), wanted, "{path}");
        }
    }

    #[test]
    fn a_list_that_ignores_case_takes_nothing_back_from_the_other_one() {
        let both = selection(&["*.tmp", "!keep.tmp"], &["*.BAK", "!*.TMP"]);
        for (path, wanted) in
            [("/a.tmp", true), ("/keep.tmp", false), ("/a.bak", true), ("/A.TMP", false)]
        {
            assert_eq!(both.excludes(path.as_bytes()), wanted, "{path}");
        }
        assert!(!Selection::default().excludes(b"/a"));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("2048", 2048),
            ("1k", 1024),
            ("10K", 10240),
            ("1.5m", 3 << 19),
            ("2T", 2 << 40),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "k", "-1", "1x", "1kk", "inf", "1e5", "9000000T", "1 k", "nan"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn markers_have_a_name_and_may_have_a_beginning() {
        let marker = Marker::parse(b".nobackup").unwrap();
        assert_eq!(
            (marker.name.as_slice(), marker.header.as_slice()),
            (&b".nobackup"[..], &b""[..])
        );
        let marker = Marker::parse(b"a:b:c").unwrap();
        assert_eq!((marker.name.as_slice(), marker.header.as_slice()), (&b"a"[..], &b"b:c"[..]));
        for wrong in [&b""[..], b":x", b"a/b", b".."] {
            assert!(Marker::parse(wrong).is_err());
        }
    }
}
