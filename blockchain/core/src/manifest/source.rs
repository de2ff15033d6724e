//! Where a session's content came from: a host, the paths that were read, and tags.
//!
//! All of it is the recorder's word. Paths are bytes and need not be UTF-8, but a manifest is JSON text,
//! so [`path_text`] spells them: a backslash is doubled, and a byte that is no part of a UTF-8 character
//! is `\x` and two lower-case hex digits. [`path_bytes`] reads exactly that spelling.

use std::fmt::Write as _;

/// A host's name, in bytes of UTF-8: as long as the name system allows.
pub const HOST_BYTES_MAX: usize = 255;
/// Paths of one session.
pub const PATHS_MAX: usize = 256;
/// Tags of one session.
pub const TAGS_MAX: usize = 64;
/// A tag, in bytes of UTF-8.
pub const TAG_BYTES_MAX: usize = 256;
/// Paths and tags together, in bytes: with full metadata, a manifest still has room for them.
pub const PATHS_AND_TAGS_BYTES_MAX: usize = 32 << 10;

/// Where a session's content came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The host's name; empty where nobody said.
    pub host: String,
    /// What was read there, in the order it was asked for.
    pub paths: Vec<Vec<u8>>,
    /// What the recorder sorts sessions by, ascending.
    pub tags: Vec<String>,
}

impl Source {
    /// The member that breaks a rule, and the rule, if there is one.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let bytes = self.paths.iter().map(Vec::len).chain(self.tags.iter().map(String::len));
        let tags = || self.tags.iter();
        let rules = [
            (self.host.len() <= HOST_BYTES_MAX, "host", "its host's name is too long"),
            (self.paths.len() <= PATHS_MAX, "paths", "it names too many paths"),
            (self.tags.len() <= TAGS_MAX, "tags", "it has too many tags"),
            (
                self.paths.iter().all(|path| !path.is_empty() && !path.contains(&0)),
                "paths",
                "a path of its source is empty or holds a zero byte",
            ),
            (
                tags().all(|tag| !tag.is_empty() && tag.len() <= TAG_BYTES_MAX),
                "tags",
                "a tag is empty or too long",
            ),
            (tags().zip(tags().skip(1)).all(|(a, b)| a < b), "tags", "its tags do not ascend"),
            (
                bytes.sum::<usize>() <= PATHS_AND_TAGS_BYTES_MAX,
                "paths",
                "its paths and tags are too long",
            ),
        ];
        rules.into_iter().find(|(kept, ..)| !kept).map(|(_, member, rule)| (member, rule))
    }
}

/// How a path is spelled in a manifest.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, r"\x{byte:02x}");
        }
    }
    text
}

/// The path that is spelled like this; `None` for what [`path_text`] never writes.
pub fn path_bytes(text: &str) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        path.extend_from_slice(plain.as_bytes());
        rest = match escape.strip_prefix('\\') {
            Some(rest) => {
                path.push(b'\\');
                rest
            }
            None => {
                let digits = escape.strip_prefix('x')?.get(..2)?;
                path.extend(hex::decode(digits).ok()?);
                escape.get(3..)?
            }
        };
    }
    path.extend_from_slice(rest.as_bytes());
    (path_text(&path) == text).then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        for (path, text) in [
            (&b"/var/log"[..], "/var/log"),
            ("/b\u{fc}ro".as_bytes(), "/b\u{fc}ro"),
            (br"a\b", r"a\\b"),
            (b"a\xff\xc3", r"a\xff\xc3"),
            (br"\xff", r"\\xff"),
        ] {
            assert_eq!(path_text(path), text);
            assert_eq!(path_bytes(text).as_deref(), Some(path));
        }
        for wrong in [r"\", r"\x", r"\xf", r"\xFF", r"\x41", r"\n", r"\xc3\xbc", "\\x\u{fc}"] {
            assert_eq!(path_bytes(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_path_reads_back(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(path_bytes(&path_text(&path)), Some(path));
        }

        #[test]
        fn any_text_is_a_spelling_or_refused(text in r"(\\|x|[0-9a-f]|\PC){0,20}") {
            if let Some(path) = path_bytes(&text) {
                prop_assert_eq!(path_text(&path), text);
            }
        }
    }
}
