//! Which commit a tree of sources is of, found without running git: the build script asks, and a test does.

use std::fs;
use std::path::{Path, PathBuf};

/// As many digits of a commit as are shown: no two of a project of this size begin alike.
const SHOWN: usize = 12;

/// A commit, and the files that say something else when it changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its first digits; none where nothing says it.
    pub commit: Option<String>,
    /// What was read for it.
    pub watched: Vec<PathBuf>,
}

/// Looks at what the builder was told first, then at what `git archive` wrote into the tarball, then at `.git` of the
/// tree. What is no commit counts as not said.
pub fn find(told: Option<&str>, archived: &Path, tree: &Path) -> Found {
    if let Some(commit) = told.and_then(shown) {
        return Found { commit: Some(commit), watched: Vec::new() };
    }
    let mut watched = Vec::new();
    if let Some(commit) = read(archived, &mut watched).as_deref().and_then(shown) {
        return Found { commit: Some(commit), watched };
    }
    let commit = head(tree, &mut watched).as_deref().and_then(shown);
    Found { commit, watched }
}

/// The commit that is checked out, as `.git` has it.
fn head(tree: &Path, watched: &mut Vec<PathBuf>) -> Option<String> {
    let git = tree.join(".git");
    // A work tree beside the first one has a file there that says where the rest is.
    let own = match git.is_file() {
        false => git,
        true => tree.join(read(&git, watched)?.strip_prefix("gitdir: ")?),
    };
    let common = read(&own.join("commondir"), watched).map_or(own.clone(), |to| own.join(to));
    let head = read(&own.join("HEAD"), watched)?;
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head) };
    if let Some(commit) = read(&common.join(name), watched) {
        return Some(commit);
    }
    let packed = read(&common.join("packed-refs"), watched)?;
    let line = packed.lines().find(|line| line.split_once(' ').is_some_and(|of| of.1 == name))?;
    line.split_once(' ').map(|(commit, _)| commit.to_owned())
}

/// A file without the end of its line. One that is not there is nothing to watch: cargo would never be done.
fn read(path: &Path, watched: &mut Vec<PathBuf>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    watched.push(path.to_owned());
    Some(text.trim_end().to_owned())
}

fn shown(commit: &str) -> Option<String> {
    let is_commit = commit.len() >= SHOWN && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| commit.chars().take(SHOWN).collect())
}
