//! `lucid tree SESSION [PATH]`: an archived folder as a tree, as `tree` draws one.
//!
//! The catalogue is walked twice: whether a branch goes on below is known only behind all that hangs on it. Between
//! the walks one byte is kept of each path.

use std::ops::ControlFlow;
use std::path::PathBuf;

use lucid_core::catalogue::{Entry, EntryKind};
use lucid_data_chain::ops::sessions::read_session::{find_entry, visit_entries};
use lucid_data_chain::source::SessionSource;
use serde::Serialize;

use super::ls::{ListedFile, given_path};
use super::{DONE, Home, finish, open};
use crate::output::{Lines, Output};
use crate::text;
use crate::which::OneSession;

/// Arguments of `lucid tree`.
#[derive(Debug, clap::Args)]
pub struct Tree {
    #[command(flatten)]
    session: OneSession,
    /// The folder in it that is drawn; without it, all of it is.
    path: Option<PathBuf>,
    /// How many levels are drawn.
    #[arg(long, short = 'L', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
    /// Draw what begins with a dot, too.
    #[arg(long, short)]
    all: bool,
    /// Draw the branches of plain letters.
    #[arg(long)]
    ascii: bool,
}

/// What branches are drawn with: one that goes on, one that ends, what leads past, and nothing.
struct Pens {
    on: &'static str,
    end: &'static str,
    past: &'static str,
    none: &'static str,
}

const LINES: Pens = Pens { on: "├── ", end: "└── ", past: "│   ", none: "    " };
const LETTERS: Pens = Pens { on: "|-- ", end: "`-- ", past: "|   ", none: "    " };

/// What was drawn.
#[derive(Default, Serialize)]
struct Counted {
    directories: u64,
    files: u64,
}

impl Tree {
    /// Draws the tree; with `--json`, prints one object a line.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "tree", output)?;
        let id = self.session.choose(place.as_ref())?;
        let source = place.source(&id)?;
        let below = given_path(self.path.as_ref());
        if !below.is_empty() && find_entry(source.as_ref(), &below)?.is_none() {
            anyhow::bail!("session {id} has no file \"{}\"", text::name(&below));
        }
        self.draw(source.as_ref(), &below, output)?;
        drop(source);
        finish(place, DONE)
    }

    fn draw(
        &self,
        source: &dyn SessionSource,
        below: &[u8],
        output: &Output,
    ) -> anyhow::Result<()> {
        let mut ends = Ends::default();
        if !output.mode().json {
            self.visit(source, below, &mut |_, depth| {
                ends.note(depth);
                Ok(())
            })?;
            let root = if below.is_empty() { ".".to_owned() } else { text::name(below) };
            output.lines(&root.into())?;
        }
        let mut last = ends.found().into_iter();
        let pens = if self.ascii { LETTERS } else { LINES };
        let (mut counted, mut branches) = (Counted::default(), Vec::new());
        self.visit(source, below, &mut |entry, depth| {
            match entry.kind {
                EntryKind::Folder => counted.directories += 1,
                _ => counted.files += 1,
            }
            let is_last = last.next().unwrap_or(true);
            branches.resize(depth, true);
            if let Some(branch) = branches.last_mut() {
                *branch = is_last;
            }
            output.item(&ListedFile::of(entry), |_| drawn(&pens, &branches, entry))
        })?;
        if !output.mode().json {
            output.lines(&Lines::default())?;
        }
        output.item(&counted, |counted| {
            let directories = match counted.directories {
                1 => "1 directory".to_owned(),
                many => format!("{} directories", text::count(many)),
            };
            format!("{directories}, {}", text::many(counted.files, "file"))
        })?;
        Ok(())
    }

    /// Visits what is drawn below a path, with how deep it is there.
    fn visit(
        &self,
        source: &dyn SessionSource,
        below: &[u8],
        take: &mut dyn FnMut(&Entry, usize) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut taken = Ok(());
        visit_entries(source, below, None, |entry| {
            let inner = entry.path.get(below.len()..).unwrap_or_default();
            let inner = inner.strip_prefix(b"/").unwrap_or(inner);
            let depth = inner.split(|byte| *byte == b'/').count();
            let is_hidden = inner.split(|byte| *byte == b'/').any(|name| name.starts_with(b"."));
            let is_too_deep = self.depth.is_some_and(|most| depth > most as usize);
            if !inner.is_empty() && !is_too_deep && (self.all || !is_hidden) {
                taken = take(&entry, depth);
            }
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(taken?)
    }
}

/// One line of the tree: the branches of the folders above, its own, and its name.
fn drawn(pens: &Pens, branches: &[bool], entry: &Entry) -> String {
    let mut line = String::new();
    if let Some((own, above)) = branches.split_last() {
        above.iter().for_each(|last| line.push_str(if *last { pens.none } else { pens.past }));
        line.push_str(if *own { pens.end } else { pens.on });
    }
    let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    line.push_str(&text::name(name));
    if entry.kind == EntryKind::Symlink {
        line.push_str(" -> ");
        line.push_str(&text::name(&entry.target));
    }
    line
}

/// Which of the paths are the last in their folders, found on a walk over all of them.
#[derive(Default)]
struct Ends {
    is_last: Vec<bool>,
    /// The last path so far on each level of the folder that the walk is in.
    open: Vec<usize>,
}

impl Ends {
    /// Notes a path: of those that are deeper, none comes any more in the same folder, and the one on its own level is
    /// not the last.
    fn note(&mut self, depth: usize) {
        self.close(depth);
        self.open.truncate(depth.saturating_sub(1));
        self.open.resize(depth, self.is_last.len());
        self.is_last.push(false);
    }

    fn close(&mut self, depth: usize) {
        for path in self.open.iter().skip(depth) {
            if let Some(is_last) = self.is_last.get_mut(*path) {
                *is_last = true;
            }
        }
    }

    fn found(mut self) -> Vec<bool> {
        self.close(0);
        self.is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_folder_is_known_behind_all_that_hangs_on_it() {
        let mut ends = Ends::default();
        // a, a/b, a/b/c, a/d, e, e/f, g
        [1, 2, 3, 2, 1, 2, 1].into_iter().for_each(|depth| ends.note(depth));
        assert_eq!(ends.found(), [false, false, true, true, false, true, true]);
        assert_eq!(Ends::default().found(), Vec::<bool>::new());
    }

    #[test]
    fn branches_are_drawn_as_tree_draws_them() {
        let entry = Entry { path: b"a/b/c".to_vec(), ..Entry::bare() };
        assert_eq!(drawn(&LINES, &[false, true, false], &entry), "│       ├── c");
        assert_eq!(drawn(&LETTERS, &[true, false, true], &entry), "    |   `-- c");
        let link = Entry {
            path: b"l\n".to_vec(),
            kind: EntryKind::Symlink,
            target: b"a".to_vec(),
            ..Entry::bare()
        };
        assert_eq!(drawn(&LINES, &[true], &link), "└── l\\n -> a");
    }
}
