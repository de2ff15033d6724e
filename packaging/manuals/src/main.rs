//! `lucid-manuals FOLDER`: writes the manual pages there, for a package.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

/// Writes the manual pages of the programs.
#[derive(Debug, Parser)]
struct Asked {
    /// The folder for `man1` and `man8`.
    folder: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Asked { folder } = Asked::parse();
    lucid_manuals::write(&folder)
        .with_context(|| format!("the manual pages cannot be written to {}", folder.display()))
}
