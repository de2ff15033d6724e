//! Tells the programs which commit they are of: `LUCID_VERSION` is what `--version` says.
//!
//! Only builds for use say it. A build for development would be compiled anew, with all that rests on this crate,
//! whenever something is committed.

#![expect(clippy::disallowed_methods, reason = "this is how cargo speaks to a build script")]

use std::path::Path;

#[path = "build/commit.rs"]
mod commit;

/// The commit, where sources are built without a `.git`: the Dockerfiles hand it on.
const TOLD: &str = "LUCID_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/commit.rs");
    println!("cargo::rerun-if-env-changed={TOLD}");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut version = variable("CARGO_PKG_VERSION");
    if variable("PROFILE") == "release" {
        let archived = Path::new("build/COMMIT");
        let found = commit::find(Some(&variable(TOLD)), archived, Path::new("../.."));
        for path in &found.watched {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        if let Some(commit) = found.commit {
            version.push_str(&format!(" (commit {commit})"));
        }
    }
    println!("cargo::rustc-env=LUCID_VERSION={version}");
}
