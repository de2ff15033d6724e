//! Patterns and paths that stand in files, one a line.
//!
//! A fault names the file and the line. What is read is all there is: nothing of a list is passed over but empty
//! lines, and in lists of patterns comments.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::pattern::{NamePattern, Pattern, PatternFault};
use crate::ending::WrongUse;
use crate::text;

/// The most that a list may hold.
const LIST_BYTES_MAX: u64 = 1 << 30;
/// What a file of text may begin with, and nobody means.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a list of paths is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathList {
    /// Patterns of paths; lines that begin with `#` are comments.
    Patterns,
    /// Each line is a path as it stands.
    Verbatim,
    /// Each path ends with a zero byte.
    Raw,
}

/// Reads a list; `-` is standard input.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(file)
            .and_then(|list| list.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    let shown = shown(file);
    read.with_context(|| format!("the list in {shown} cannot be read"))?;
    anyhow::ensure!(bytes.len() as u64 <= LIST_BYTES_MAX, "the list in {shown} is too long");
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

fn shown(file: &Path) -> String {
    match file.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => format!("\"{}\"", text::name(file.as_os_str().as_bytes())),
    }
}

/// Reads a pattern of an option; a fault names the option.
pub fn pattern_of(option: &str, text: &OsStr, ignores_case: bool) -> Result<Pattern, WrongUse> {
    Pattern::parse(text.as_bytes(), ignores_case)
        .map_err(|fault| no_pattern(option, text.as_bytes(), fault))
}

fn no_pattern(place: &str, pattern: &[u8], fault: PatternFault) -> WrongUse {
    let pattern = text::name(pattern);
    WrongUse(format!("{place}: \"{pattern}\" is not a pattern, because {fault}: correct it"))
}

/// Reads patterns from a file: one a line, without the spaces around it; what begins with `#` is a comment.
/// `$NAME` and `${NAME}` stand for a variable, `$$` for a dollar.
pub fn patterns(
    file: &Path,
    ignores_case: bool,
    variables: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<Pattern>> {
    let bytes = read(file)?;
    let mut patterns = Vec::new();
    for (number, line) in lines(&bytes) {
        let place = format!("{}, line {number}", shown(file));
        let filled = filled(line, variables)
            .map_err(|why| WrongUse(format!("{place}: {why}: write $$ for a dollar")))?;
        patterns.push(
            Pattern::parse(&filled, ignores_case)
                .map_err(|fault| no_pattern(&place, line, fault))?,
        );
    }
    Ok(patterns)
}

/// Lines that say something, with their numbers.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    (1..).zip(lines).filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// A line with the values of the variables in it. A dollar before anything else is a dollar.
fn filled(line: &[u8], variables: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let mut filled = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        let (before, behind) = rest.split_at(at);
        filled.extend_from_slice(before);
        let behind = behind.get(1..).unwrap_or_default();
        let (name, after) = match behind.first() {
            Some(b'$') => {
                filled.push(b'$');
                rest = behind.get(1..).unwrap_or_default();
                continue;
            }
            Some(b'{') => {
                let end = behind.iter().position(|byte| *byte == b'}').ok_or("a ${ has no end")?;
                (behind.get(1..end), behind.get(end + 1..))
            }
            _ => {
                let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let end = behind.iter().position(|byte| !is_of_name(byte));
                behind.split_at_checked(end.unwrap_or(behind.len())).unzip()
            }
        };
        let (name, after) = (name.unwrap_or_default(), after.unwrap_or_default());
        if name.is_empty() {
            filled.push(b'$');
            rest = behind;
            continue;
        }
        let name = String::from_utf8_lossy(name);
        let value = variables.get(name.as_ref());
        // Nothing in its place would make another pattern of it, which may exclude far more.
        let value = value.ok_or_else(|| format!("no variable {name:?} is set"))?;
        filled.extend_from_slice(value.as_bytes());
        rest = after;
    }
    filled.extend_from_slice(rest);
    Ok(filled)
}

/// Reads a list of paths. A pattern that takes nothing stays as it stands, so that it is named as what is not
/// there.
pub fn paths(file: &Path, how: PathList) -> anyhow::Result<Vec<PathBuf>> {
    let bytes = read(file)?;
    let end = if how == PathList::Raw { b'\0' } else { b'\n' };
    let mut paths = Vec::new();
    if how != PathList::Patterns {
        for path in bytes.split(|byte| *byte == end).filter(|path| !path.is_empty()) {
            paths.push(path_of(path, &shown(file))?);
        }
        return Ok(paths);
    }
    for (number, line) in lines(&bytes) {
        let place = format!("{}, line {number}", shown(file));
        path_of(line, &place)?;
        let found = expanded(line).map_err(|fault| no_pattern(&place, line, fault))?;
        match found.is_empty() {
            true => paths.push(path_of(line, &place)?),
            false => paths.extend(found),
        }
    }
    Ok(paths)
}

fn path_of(path: &[u8], place: &str) -> Result<PathBuf, WrongUse> {
    match path.contains(&0) {
        true => Err(WrongUse(format!(
            "{place}: a path holds a zero byte: name a list whose paths end with one by --files-from-raw"
        ))),
        false => Ok(PathBuf::from(OsString::from_vec(path.to_vec()))),
    }
}

/// The paths that a pattern takes, in order; names that begin with a dot are like others.
fn expanded(pattern: &[u8]) -> Result<Vec<PathBuf>, PatternFault> {
    let root = if pattern.starts_with(b"/") { "/" } else { "" };
    let mut found = vec![PathBuf::from(root)];
    for part in pattern.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        let name = NamePattern::parse(part)?;
        let mut below = Vec::new();
        for folder in found {
            if let Some(plain) = name.plain() {
                let path = folder.join(OsStr::from_bytes(plain));
                if path.symlink_metadata().is_ok() {
                    below.push(path);
                }
                continue;
            }
            let listed = match folder.as_os_str().is_empty() {
                true => Path::new(".").read_dir(),
                false => folder.read_dir(),
            };
            // What cannot be listed has nothing that could be named.
            let names = listed.into_iter().flatten().flatten().map(|entry| entry.file_name());
            let mut names: Vec<_> = names.filter(|found| name.takes(found.as_bytes())).collect();
            names.sort_unstable();
            below.extend(names.into_iter().map(|name| folder.join(name)));
        }
        found = below;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Components;
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("HOME", "/home/ann"), ("A_1", "x")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn variables_are_filled_in_and_one_that_is_not_set_is_a_fault() {
        let fill = |line: &str| {
            filled(line.as_bytes(), &variables()).map(|line| String::from_utf8(line).unwrap())
        };
        for (line, wanted) in [
            ("$HOME/*", "/home/ann/*"),
            ("!$HOME/code", "!/home/ann/code"),
            ("${A_1}y$A_1-$A_1", "xyx-x"),
            ("a$$b", "a$b"),
            ("$", "$"),
            ("$.x$", "$.x$"),
            ("plain", "plain"),
        ] {
            assert_eq!(fill(line).as_deref(), Ok(wanted), "{line}");
        }
        assert!(fill("$NONE/x").unwrap_err().contains("NONE"));
        assert!(fill("${A_1").is_err());
    }

    #[test]
    fn a_file_of_patterns_has_comments_and_names_the_line_that_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        std::fs::write(&file, "\u{feff}# go\n*.go\n\n  foo/**/bar \r\n!a.go").unwrap();
        let read = patterns(&file, false, &variables()).unwrap();
        assert_eq!(read.len(), 3);
        assert!(read[1].takes(&Components::of(b"/foo/x/bar", false)));
        assert!(read[2].is_negated());
        std::fs::write(&file, "a\n# b\n[x\n").unwrap();
        let error = patterns(&file, false, &variables()).unwrap_err();
        assert!(error.is::<WrongUse>());
        let error = error.to_string();
        assert!(error.contains("list\", line 3: \"[x\" is not a pattern"), "{error}");
        std::fs::write(&file, "$NONE/*\n").unwrap();
        let error = patterns(&file, false, &variables()).unwrap_err().to_string();
        assert!(error.contains("line 1: no variable \"NONE\" is set"), "{error}");
    }

    #[test]
    fn lists_of_paths_are_patterns_or_what_stands_there() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        for name in ["a1", "a2", "b", "#c", "d*"] {
            std::fs::write(top.join(name), name).unwrap();
        }
        let list = top.join("list");
        let shown = |how| {
            let paths = paths(&list, how).unwrap();
            paths.into_iter().map(|path| path.into_os_string().into_string().unwrap()).collect()
        };
        let at = |name: &str| format!("{}/{name}", top.display());
        let written = [format!("# no path\n{}\n", at("a?")), at("none*\n"), at(r"d\*")].concat();
        std::fs::write(&list, written).unwrap();
        let found: Vec<String> = shown(PathList::Patterns);
        assert_eq!(found, [at("a1"), at("a2"), at("none*"), at("d*")]);
        std::fs::write(&list, format!("#c\n\n d*\n{}", at("b"))).unwrap();
        let found: Vec<String> = shown(PathList::Verbatim);
        assert_eq!(found, ["#c".to_owned(), " d*".to_owned(), at("b")]);
        std::fs::write(&list, "two\nlines\0b\0").unwrap();
        let found: Vec<String> = shown(PathList::Raw);
        assert_eq!(found, ["two\nlines", "b"]);
        let error = paths(&list, PathList::Verbatim).unwrap_err().to_string();
        assert!(error.contains("zero byte"), "{error}");
    }
}
