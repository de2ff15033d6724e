//! Looks for files by their path, over the catalogues of all archived folders, the newest session first.
//!
//! Catalogues are read page by page, so memory does not depend on how many paths there are, and what is found is
//! told at once.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use lucid_core::catalogue::Entry;
use lucid_core::session::Layout;
use lucid_store::vault::Vault;

use super::get_session::get_session;
use super::list_sessions::{SessionFilter, list_sessions};
use super::read_session::{StoredSession, visit_entries};
use crate::ops::OpError;
use crate::row::SessionRow;

/// Bytes of a pattern.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Sessions that are listed at once.
const SESSIONS: usize = 64;
/// Paths that are looked at before [`Step::Looking`] is told.
const STEP: usize = 1_024;

/// What paths are compared with: `*` is any part of a name, `?` one character, `[a-z]` one of those, `{a,b}` one
/// of these, and `**` any folders.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    ignores_case: bool,
    glob: GlobSet,
    /// Whether a name has to match, in any folder, and not a whole path.
    is_of_names: bool,
}

impl PathPattern {
    /// Reads a pattern. One without a slash is of names, in any folder; another one is of whole paths.
    pub fn new(text: &str, ignores_case: bool) -> Result<Self, OpError> {
        let wrong = |why: &str| Err(OpError::Invalid(format!("the pattern {why}")));
        if text.is_empty() {
            return wrong("is empty: '*' is every name");
        }
        if text.len() > PATTERN_BYTES_MAX {
            return wrong(&format!("has {} bytes; {PATTERN_BYTES_MAX} are allowed", text.len()));
        }
        let unreadable = |error: globset::Error| {
            OpError::Invalid(format!(
                "the pattern {text:?} cannot be read ({}): put a backslash before a sign that stands for itself",
                error.kind()
            ))
        };
        let path = text.strip_prefix('/').unwrap_or(text);
        let mut glob = GlobBuilder::new(path);
        let glob = glob.literal_separator(true).case_insensitive(ignores_case).build();
        let set = GlobSetBuilder::new().add(glob.map_err(unreadable)?).build();
        Ok(Self {
            text: text.to_owned(),
            ignores_case,
            glob: set.map_err(unreadable)?,
            is_of_names: !text.contains('/'),
        })
    }

    /// The pattern as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether capital letters are as small ones.
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Whether a path matches, or is below one that does.
    pub fn holds(&self, path: &[u8]) -> bool {
        let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        !path.is_empty()
            && (self.takes(path)
                || slashes.any(|(at, _)| path.get(..at).is_some_and(|above| self.takes(above))))
    }

    /// Whether a path matches.
    pub fn takes(&self, path: &[u8]) -> bool {
        let name = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if self.is_of_names => path.get(slash + 1..).unwrap_or_default(),
            _ => path,
        };
        self.glob.is_match(Path::new(std::ffi::OsStr::from_bytes(name)))
    }
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct FindFiles {
    /// Which paths.
    pub pattern: PathPattern,
    /// In which sessions.
    pub sessions: SessionFilter,
}

/// What becomes known on the way.
#[derive(Debug)]
pub enum Step<'a> {
    /// A path that matches.
    Found(&'a SessionRow, &'a Entry),
    /// Not all of a session's catalogue can be read; what can be was looked at.
    Damaged(&'a SessionRow, &'a OpError),
    /// Nothing: paths or sessions were passed over. A caller that waits no more can end the search here, too.
    Looking,
}

/// Looks for files, and tells `hear` of every step until that fails.
pub fn find_files(
    vault: &Vault,
    wanted: &FindFiles,
    hear: &mut dyn FnMut(Step<'_>) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut cursor = None;
    loop {
        let page = list_sessions(vault, &wanted.sessions, SESSIONS, cursor.as_deref())?;
        for session in &page.sessions {
            if session.layout == Layout::Tree && session.sealed.is_some() {
                look_through(vault, &wanted.pattern, session, hear)?;
            }
            hear(Step::Looking)?;
        }
        hear(Step::Looking)?;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

fn look_through(
    vault: &Vault,
    pattern: &PathPattern,
    session: &SessionRow,
    hear: &mut dyn FnMut(Step<'_>) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let source = match StoredSession::open(vault, &session.id) {
        // It was removed since it was listed.
        Err(OpError::NoSession(_) | OpError::Removed(_)) => return Ok(()),
        opened => opened?,
    };
    let (mut passed, mut heard) = (0, Ok(()));
    let looked = visit_entries(&source, b"", None, |entry| {
        passed += 1;
        // The folder itself has no path.
        heard = if !entry.path.is_empty() && pattern.takes(&entry.path) {
            hear(Step::Found(session, &entry))
        } else if passed % STEP == 0 {
            hear(Step::Looking)
        } else {
            Ok(())
        };
        if heard.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    heard?;
    match looked {
        Err(error) if error.is_damage() || session.has_gap => {
            // Of a session that is removed meanwhile, what is read goes away.
            match get_session(vault, &session.id) {
                Err(OpError::NoSession(_) | OpError::Removed(_)) => Ok(()),
                _ => hear(Step::Damaged(session, &error)),
            }
        }
        looked => looked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_names_or_of_whole_paths() {
        for (pattern, taken, left) in [
            ("*.conf", &["a.conf", "etc/b.conf"][..], &["a.conf/x", "conf", "A.CONF"][..]),
            ("etc/*.conf", &["etc/b.conf"], &["b.conf", "x/etc/b.conf", "etc/x/b.conf"]),
            ("/etc/*.conf", &["etc/b.conf"], &["x/etc/b.conf"]),
            ("**/etc/*.conf", &["etc/b.conf", "x/y/etc/b.conf"], &["etc/x/b.conf"]),
            ("etc/**", &["etc/a", "etc/a/b"], &["etc", "x/etc/a"]),
            ("/name", &["name"], &["a/name"]),
            ("{a,b}?[0-9]", &["ax1", "d/bx9"], &["a1", "cx1", "ax12"]),
        ] {
            let pattern = PathPattern::new(pattern, false).unwrap();
            for path in taken {
                assert!(pattern.takes(path.as_bytes()), "{pattern:?} and {path}");
            }
            for path in left {
                assert!(!pattern.takes(path.as_bytes()), "{pattern:?} and {path}");
            }
        }
        let folders = PathPattern::new("d?", false).unwrap();
        assert!(folders.holds(b"d1") && folders.holds(b"a/d1/b/c") && !folders.holds(b"d/1/dd1"));
        assert!(!PathPattern::new("*", false).unwrap().holds(b""), "the folder itself has no name");
        assert!(PathPattern::new("*.conf", true).unwrap().takes(b"etc/A.CONF"));
        assert!(PathPattern::new("a*", false).unwrap().takes(b"d/a\xff\xfe"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", "a[", "a{b", "x]{", &"a".repeat(PATTERN_BYTES_MAX + 1)] {
            if let Ok(pattern) = PathPattern::new(wrong, false) {
                panic!("{pattern:?}");
            }
        }
        // The longest and most branched patterns end, too.
        let branched = format!("{{{}}}*", vec!["a*b?"; 180].join(","));
        assert!(!PathPattern::new(&branched, true).unwrap().takes(&[b'a'; 4_000]));
    }
}
