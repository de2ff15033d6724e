//! What is archived: paths, lists of paths, and what of them is not wanted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use lucid_core::catalogue::{EntryKind, FileTime, Owner, check_path};
use lucid_core::time::Timestamp;
use lucid_http::config::process_environment;

use crate::cmd::fits;
use crate::ending::WrongUse;
use crate::folder::path::absolute;
use crate::folder::select::lists::{self, PathList, pattern_of};
use crate::folder::select::{self, Marker, Selection};
use crate::folder::walk::Sources;
use crate::folder::{Entry, names};
use crate::output::Output;
use crate::text;

/// What is archived.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is archived")]
pub struct Take {
    /// Folders and files, or `-` for standard input. One alone stands at the top of the archive; several, and those
    /// of lists, stand at their absolute paths.
    #[arg(
        value_name = "PATH",
        required_unless_present_any = ["files_from", "files_from_verbatim", "files_from_raw"]
    )]
    paths: Vec<PathBuf>,
    /// Leave out what a pattern takes: a name at any depth (`*.o`), a path from the root on (`/home/*/.cache`), with
    /// `**` for any folders; `!` takes back. May be given several times.
    #[arg(long, short, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// The same, regardless of case.
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// A file with such patterns, one a line; `#` begins a comment, `$NAME` is a variable.
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same, regardless of case.
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Leave out what is in folders that a CACHEDIR.TAG marks as caches, but for the tag.
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out what is in folders with a file of that name, but for the file; with HEADER only if it begins so.
    #[arg(long, value_name = "NAME[:HEADER]")]
    exclude_if_present: Vec<OsString>,
    /// Leave out files with more bytes: 2048, 10k, 1.5M, 20G, 2T.
    #[arg(long, value_name = "SIZE", value_parser = select::size)]
    exclude_larger_than: Option<u64>,
    /// Stay on the file systems of the paths that are named; the folders where others are mounted are kept empty.
    #[arg(long, short = 'x')]
    one_file_system: bool,
    /// Leave out what `.gitignore` files name.
    #[arg(long)]
    git_ignore: bool,
    /// A file with patterns of paths to archive, one a line; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// A file with paths to archive, one a line, each as it stands there.
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// A file with paths to archive, each ended by a zero byte.
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Keep standard input as one file of that name, which can be listed and restored like others.
    #[arg(long, value_name = "NAME")]
    stdin_filename: Option<OsString>,
}

/// What is archived, as it was understood.
pub(super) enum Taken {
    /// Standard input, raw.
    Stream,
    /// Standard input, as this file.
    File(Box<Entry>),
    /// Folders and files.
    Tree(Sources, Arc<Selection>),
}

impl Taken {
    /// Whether it comes from standard input, and only once.
    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Tree(..))
    }

    /// What the session says that it is of.
    pub fn origins(&self) -> Vec<PathBuf> {
        match self {
            Self::Stream | Self::File(_) => Vec::new(),
            Self::Tree(sources, _) => sources.origins(),
        }
    }
}

impl Take {
    /// Finds out what is meant, and refuses what makes no sense.
    pub fn understand(&self, now: Timestamp, output: &Output) -> anyhow::Result<Taken> {
        let is_stdin = |path: &PathBuf| path.as_os_str() == "-";
        let lists = [&self.files_from, &self.files_from_verbatim, &self.files_from_raw];
        let from_stdin = lists.iter().flat_map(|list| list.iter()).filter(|list| is_stdin(list));
        let streams = self.paths.iter().filter(|path| is_stdin(path)).count();
        fits(
            streams + from_stdin.count() < 2,
            "standard input is named twice, and can be read only once: leave all but one of the - out",
        )?;
        if streams == 0 {
            fits(
                self.stdin_filename.is_none(),
                "--stdin-filename names what comes in by standard input, which is not archived: name - \
                 instead of a path",
            )?;
            return self.tree(output);
        }
        fits(
            self.paths.len() == 1 && lists.iter().all(|list| list.is_empty()),
            "- is standard input, which is archived alone: leave the other paths out",
        )?;
        fits(
            self.wants_everything(),
            "- is standard input, of which nothing can be excluded: leave the options out that exclude",
        )?;
        let Some(name) = &self.stdin_filename else { return Ok(Taken::Stream) };
        let name = name.as_bytes();
        let is_name = !name.is_empty() && !name.contains(&b'/') && check_path(name).is_ok();
        fits(
            is_name,
            "--stdin-filename is the name of one file: name it without a folder and without slashes",
        )?;
        Ok(Taken::File(Box::new(file_of_stream(name, now))))
    }

    fn wants_everything(&self) -> bool {
        let patterns = [&self.exclude, &self.iexclude, &self.exclude_if_present];
        let files = [&self.exclude_file, &self.iexclude_file];
        patterns.iter().all(|list| list.is_empty())
            && files.iter().all(|list| list.is_empty())
            && self.exclude_larger_than.is_none()
            && !(self.exclude_caches || self.one_file_system || self.git_ignore)
    }

    fn tree(&self, output: &Output) -> anyhow::Result<Taken> {
        let selection = self.selection()?;
        let mut paths = self.paths.clone();
        let mut is_listed = false;
        for (files, how) in [
            (&self.files_from, PathList::Patterns),
            (&self.files_from_verbatim, PathList::Verbatim),
            (&self.files_from_raw, PathList::Raw),
        ] {
            for file in files {
                is_listed = true;
                paths.extend(lists::paths(file, how)?);
            }
        }
        fits(!paths.is_empty(), "the lists name no path: write one into them, or name it as PATH")?;
        let excluded =
            |path: &Path| selection.excludes(absolute(path).as_os_str().as_encoded_bytes());
        let (gone, left): (Vec<&PathBuf>, Vec<_>) = paths.iter().partition(|path| excluded(path));
        if let (Some(first), true) = (gone.first(), left.is_empty()) {
            let first = text::name(first.as_os_str().as_bytes());
            let why =
                format!("a pattern excludes \"{first}\" itself, and nothing is left to archive");
            return Err(WrongUse(format!("{why}: correct it")).into());
        }
        for path in gone {
            let path = text::name(path.as_os_str().as_bytes());
            output.warn(&format!("\"{path}\" was named, and a pattern excludes it"));
        }
        let sources = match paths.as_slice() {
            [path] if !is_listed => {
                std::fs::metadata(path)
                    .with_context(|| format!("\"{}\" cannot be archived", path.display()))?;
                Sources::Whole(path.clone())
            }
            _ => {
                let is_there = |path: &PathBuf| std::fs::metadata(path).is_ok();
                if !paths.iter().any(is_there) {
                    let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
                    let many = text::many(paths.len() as u64, "path");
                    let why = format!("none of the {many} that are named can be archived");
                    return Err(anyhow::Error::new(absent).context(why));
                }
                Sources::Each(paths)
            }
        };
        Ok(Taken::Tree(sources, Arc::new(selection)))
    }

    fn selection(&self) -> anyhow::Result<Selection> {
        let variables = process_environment();
        let read = |given: &[OsString], option: &str, files: &[PathBuf], ignores_case| {
            let mut patterns = Vec::new();
            for text in given {
                patterns.push(pattern_of(option, text, ignores_case)?);
            }
            for file in files {
                patterns.extend(lists::patterns(file, ignores_case, &variables)?);
            }
            anyhow::Ok(patterns)
        };
        let mut markers = Vec::new();
        if self.exclude_caches {
            markers.push(Marker::of_caches());
        }
        for text in &self.exclude_if_present {
            let marker = Marker::parse(text.as_bytes()).map_err(|why| {
                let text = text::name(text.as_bytes());
                WrongUse(format!(
                    "--exclude-if-present: \"{text}\" is not understood, {why}: correct it"
                ))
            })?;
            markers.push(marker);
        }
        Ok(Selection {
            patterns: read(&self.exclude, "--exclude", &self.exclude_file, false)?,
            patterns_of_any_case: read(&self.iexclude, "--iexclude", &self.iexclude_file, true)?,
            markers,
            largest: self.exclude_larger_than,
            one_file_system: self.one_file_system,
            git_ignore: self.git_ignore,
        })
    }
}

/// The file that a stream becomes: its owner's alone, as nobody gave it a mode, and of now.
fn file_of_stream(name: &[u8], now: Timestamp) -> Entry {
    let micros = now.as_micros();
    let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    let mut entry = Entry {
        path: name.to_vec(),
        kind: EntryKind::File,
        mode: 0o600,
        modified: FileTime { seconds: micros.div_euclid(1_000_000), nanos },
        owner: Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        },
        ..Entry::bare()
    };
    names::name_owner(&mut entry);
    entry
}
