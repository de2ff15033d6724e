//! Which commit the programs say they are of, for each way in which their sources come.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

#[path = "../../build/commit.rs"]
mod sources;

use self::sources::{Found, find};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SHOWN: &str = "0123456789ab";

/// A tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// What is found in it, and the names of what was read for it.
fn found(tree: &Path, told: Option<&str>) -> (Option<String>, Vec<String>) {
    let Found { commit, watched } = find(told, &tree.join("COMMIT"), tree);
    let name = |path: &Path| path.strip_prefix(tree).unwrap().to_str().unwrap().to_owned();
    (commit, watched.iter().map(|path| name(path)).collect())
}

#[test]
fn a_clone_says_what_is_checked_out() {
    let text = format!("{COMMIT}\n");
    let branch = tree(&[
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/refs/heads/main", &text),
        ("COMMIT", "$Format:%H$\n"),
    ]);
    let (commit, watched) = found(branch.path(), None);
    assert_eq!(commit.as_deref(), Some(SHOWN));
    // With the next commit, and with another branch, it is built anew.
    assert_eq!(watched, ["COMMIT", ".git/HEAD", ".git/refs/heads/main"]);

    let packed = format!("# pack-refs\n{} refs/heads/other\n{text}", "f".repeat(40));
    let packed = packed.replace(&text, &format!("{COMMIT} refs/heads/main\n"));
    let packed = tree(&[(".git/HEAD", "ref: refs/heads/main\n"), (".git/packed-refs", &packed)]);
    assert_eq!(found(packed.path(), None).0.as_deref(), Some(SHOWN));

    let detached = tree(&[(".git/HEAD", &text)]);
    assert_eq!(found(detached.path(), None).0.as_deref(), Some(SHOWN));
}

#[test]
fn a_second_work_tree_says_its_own_commit() {
    let text = format!("{COMMIT}\n");
    let both = tree(&[
        ("first/.git/HEAD", "ref: refs/heads/main\n"),
        ("first/.git/refs/heads/side", &text),
        ("first/.git/worktrees/side/HEAD", "ref: refs/heads/side\n"),
        ("first/.git/worktrees/side/commondir", "../..\n"),
        ("side/.git", "gitdir: ../first/.git/worktrees/side\n"),
    ]);
    let side = both.path().join("side");
    assert_eq!(find(None, &side.join("COMMIT"), &side).commit.as_deref(), Some(SHOWN));
}

#[test]
fn a_tarball_says_what_it_was_made_of_and_the_builder_what_it_knows() {
    let text = format!("{COMMIT}\n");
    let tarball = tree(&[("COMMIT", &text)]);
    assert_eq!(found(tarball.path(), None), (Some(SHOWN.to_owned()), vec!["COMMIT".to_owned()]));
    let other = "f".repeat(40);
    assert_eq!(found(tarball.path(), Some(&other)).0.as_deref(), Some("ffffffffffff"));
    // An empty build argument says nothing, and neither does one that is no commit.
    for told in ["", "unknown", "main-branch-of-us"] {
        assert_eq!(found(tarball.path(), Some(told)).0.as_deref(), Some(SHOWN), "{told}");
    }
}

#[test]
fn sources_that_nobody_says_anything_of_have_no_commit() {
    let bare = tree(&[("COMMIT", "$Format:%H$\n")]);
    assert_eq!(found(bare.path(), None), (None, vec!["COMMIT".to_owned()]));
    let broken = tree(&[(".git/HEAD", "ref: refs/heads/main\n")]);
    assert_eq!(found(broken.path(), None).0, None);
}
